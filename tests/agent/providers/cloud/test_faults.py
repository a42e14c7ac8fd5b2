"""Providers of clouds against stand-ins that lose answers, refuse, fail late, have no room and forget tokens:
every fault at every kind of call that a launch and a destruction make.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.core.ports import (
    TAKEN_BACK,
    HostSpec,
    MisfitError,
    OutOfCapacityError,
    ProviderError,
    RefusedError,
    TransientError,
)
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import ApplicationName, GroupName, HostName
from tests.fakes.clock import FastClock
from tests.fakes.templates import a_template
from tests.support.clouds import CLOUD_NAMES, CLOUDS, QUICK, AnyProvider, CloudKind
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

FAULTS: tuple[dict[str, Any], ...] = (
    {"do": "lose", "times": 2},  # the first repetition is the HTTP client's own
    {"do": "refuse", "times": 2},
    {"do": "delay", "seconds": 0.2},
    {"do": "throttle", "seconds": 1},
    {"do": "error", "status": 500, "code": "InternalError", "message": "Backend error"},
    {"do": "error", "status": 503, "code": "backendError", "message": "The service is unavailable"},
    {"do": "error", "status": 403, "code": "forbidden", "message": "Required permission is missing"},
    {"do": "unauthorized"},
    {"do": "capacity"},
    {"do": "quota"},
    {"do": "fail_late", "seconds": 0.05, "code": "InternalError", "message": "Internal error"},
)
TRIES = 4


@pytest.fixture(scope="module", params=CLOUD_NAMES)
def world(request: pytest.FixtureRequest) -> Iterator[tuple[CloudKind, CloudRig]]:
    kind = CLOUDS[request.param]
    if reason := why_no_cloud(kind.name):
        pytest.skip(reason)
    net = 100 + [*CLOUDS].index(kind.name)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig(kind.name, Path(directory), net) as rig:
        yield kind, rig


@pytest.fixture
def kind(world: tuple[CloudKind, CloudRig]) -> CloudKind:
    return world[0]


@pytest.fixture
def rig(world: tuple[CloudKind, CloudRig]) -> CloudRig:
    rig = world[1]
    rig.reset(**QUICK)
    return rig


@pytest.fixture
async def provider(kind: CloudKind, rig: CloudRig, tmp_path: Path) -> AsyncIterator[AnyProvider]:
    made = kind.provider(rig, tmp_path, FastClock(20.0))
    yield made
    await made.close()
    assert not kind.tells_state or rig.state()["violations"] == [], (
        "the vendor's own description allows no such call"
    )


def spec(package: Path, number: int = 1) -> HostSpec:
    name, group = HostName(f"shop-v001-{number}"), GroupName("shop-v001")
    return HostSpec(name, group, ApplicationName("shop"), sha256_of(package), a_template(("serve", "$PORT")))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: f"{each['do']}{each.get('status', '')}")
async def test_no_fault_of_any_call_makes_two_machines_or_leaves_one(
    kind: CloudKind, rig: CloudRig, provider: AnyProvider, package: Path, fault: dict[str, Any]
) -> None:
    for number, call in enumerate(kind.calls):
        rig.fault(call, **fault)
        wanted = spec(package, number)
        for _ in range(TRIES):  # as the agent does after an error that may pass
            try:
                host = await provider.launch(wanted, package)
            except ProviderError:
                continue
            assert host.is_running
            break
        else:
            raise AssertionError(f"{call}: never launched")
        assert len(rig.instances()) == 1
        for _ in range(TRIES):
            try:
                await provider.destroy(wanted.name)
            except ProviderError:
                continue
            break
        assert rig.instances() == [], call
        rig.forget_faults()


async def test_a_zone_without_room_is_answered_by_the_next_one_and_then_by_the_next_size(
    kind: CloudKind, rig: CloudRig, provider: AnyProvider, package: Path
) -> None:
    rig.fault(kind.create, "capacity", times=kind.tries)
    first = await provider.launch(spec(package, 1), package)
    rig.fault(kind.create, "capacity", times=2 * kind.tries)
    second = await provider.launch(spec(package, 2), package)
    assert first.is_running
    assert second.is_running
    assert sorted(await kind.sizes_of(provider)) == sorted(kind.sizes)
    assert len(rig.instances()) == 2


async def test_where_no_zone_has_room_the_error_names_each_place_with_the_cloud_s_words(
    kind: CloudKind, rig: CloudRig, provider: AnyProvider, package: Path
) -> None:
    rig.fault(kind.create, "capacity", times=0)
    with pytest.raises(OutOfCapacityError) as caught:
        await provider.launch(spec(package), package)
    settings = kind.settings(rig)
    for size in kind.sizes:
        for zone in settings.get("zones") or settings["subnets"]:
            assert f"{size} in {zone}" in str(caught.value)
    assert re.search("sufficient .*capacity|enough resources", str(caught.value))
    assert rig.instances() == []


def of(wanted: HostSpec, **template: Any) -> HostSpec:
    return replace(wanted, template=replace(wanted.template, **template))


async def test_sizes_of_the_spec_come_before_the_settings_and_stand_for_each_other(
    kind: CloudKind, rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    """Both settings' sizes in the spec, the other way round: a word, then the cloud's own name."""
    first, second = kind.sizes
    provider = kind.provider(rig, tmp_path, FastClock(20.0), sizes={"xl": (second,)})
    wanted = [of(spec(package, number), machine_sizes=("xl", first)) for number in (1, 2)]
    await provider.launch(wanted[0], package)
    assert await kind.sizes_of(provider) == [second]
    rig.fault(kind.create, "capacity", times=2 * kind.tries)
    await provider.launch(wanted[1], package)
    assert sorted(await kind.sizes_of(provider)) == sorted(kind.sizes)
    rig.fault(kind.create, "capacity", times=0)
    with pytest.raises(OutOfCapacityError) as caught:
        await provider.launch(of(spec(package, 3), machine_sizes=("xl",)), package)
    assert f"{second} in " in str(caught.value)
    assert f"{first} in " not in str(caught.value), "the spec named another"
    assert len(rig.instances()) == 2
    await provider.close()


async def test_a_size_that_no_zone_has_is_refused_at_a_launch_too(
    kind: CloudKind, rig: CloudRig, provider: AnyProvider, package: Path
) -> None:
    """The region may have been away when the release was planned."""
    if kind.name == "aws":
        pytest.skip("moto makes instances of any type")
    with pytest.raises(RefusedError, match="x9none"):
        await provider.launch(of(spec(package), machine_sizes=("x9none",)), package)
    assert rig.instances() == []


async def test_a_size_or_an_image_that_there_is_not_is_told_before_the_first_launch(
    kind: CloudKind, rig: CloudRig, tmp_path: Path
) -> None:
    first, second = kind.sizes
    provider = kind.provider(rig, tmp_path, FastClock(20.0), sizes={"xl": (second,), "l": (first,)})
    for sizes in ((), ("xl",), (first, "l", second)):
        assert await provider.room(FindRoom(1, sizes)) == ""
    for none in ("xxl", "x9.none", "e9-none-4", "Standard_X9", "m1 large", "9", "ä"):
        words = rf"^host\.size: there is no .* {none} here, .*sizes .*: l, xl$"
        with pytest.raises(MisfitError, match=words):
            await provider.room(FindRoom(0, ("xl", none)))
    with pytest.raises(MisfitError, match=r"^host\.image: .*x9"):
        await provider.room(FindRoom(0, (), "x9"))
    await provider.close()


async def test_a_spot_machine_that_is_taken_or_gone_is_told_as_one(
    kind: CloudKind, rig: CloudRig, provider: AnyProvider, package: Path
) -> None:
    wanted = [of(spec(package, number), is_spot=number == 1) for number in (1, 2)]
    hosts = [await provider.launch(each, package) for each in wanted]
    assert [each.is_spot for each in hosts] == [True, False]
    for instance in rig.instances():
        rig.act(instance["name"], "die")
    ended = {each.name: each.ended for each in await provider.list_hosts()}
    assert ended[wanted[0].name].endswith(TAKEN_BACK)
    assert TAKEN_BACK not in ended[wanted[1].name]
    await asyncio.gather(*(provider.destroy(each.name) for each in wanted))
    assert rig.instances() == []


async def test_a_machine_that_vanishes_or_dies_is_told(
    rig: CloudRig, provider: AnyProvider, package: Path
) -> None:
    hosts = await asyncio.gather(*(provider.launch(spec(package, number), package) for number in (1, 2)))
    names = sorted(each["name"] for each in rig.instances())
    rig.act(names[0], "vanish")
    rig.act(names[1], "die")
    left = await provider.list_hosts()
    assert {host.name for host in left} <= {host.name for host in hosts}
    assert [host.is_running for host in left] in ([False], [False, False]), "AWS lists what was ended"
    assert all(host.ended for host in left)


async def test_settings_that_can_t_work_are_refused_at_the_start_by_name(
    kind: CloudKind, rig: CloudRig, tmp_path: Path
) -> None:
    for options, said in kind.wrong:
        provider = kind.provider(rig, tmp_path, FastClock(), **options)
        with pytest.raises(RefusedError, match=said):
            await provider.start()
        await provider.close()


async def test_nothing_is_made_before_the_agent_has_met_its_controller(
    kind: CloudKind, rig: CloudRig, tmp_path: Path, package: Path
) -> None:
    provider = kind.provider(rig, tmp_path, FastClock(), owner="/here")
    assert await provider.list_hosts() == []
    with pytest.raises(TransientError, match="before the agent has met its controller"):
        await provider.launch(spec(package), package)
    await provider.close()
    assert kind.calls_of(provider) == 0
