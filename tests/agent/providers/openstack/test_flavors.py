"""Flavors by application: those that a spec names, by words of the settings or as the cloud calls them; which
one is taken where there is no room; what is said of one that is not there."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repave_agent.core.ports import HostSpec, MisfitError, OutOfCapacityError, RefusedError
from repave_agent.providers.openstack.flavors import FULL_SECONDS
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_protos.protocol.queries import FindRoom
from tests.agent.providers.openstack.test_provider import cloud, provider_of, spec
from tests.fakes.clouds.openstack import FLAVOR, FakeOpenstack

__all__ = ["cloud"]  # a fixture
SIZES = {"xl": ("large", "huge"), "s": ("small",)}
NO_ROOM = "No valid host was found. There are not enough hosts available."


@pytest.fixture
def provider(cloud: FakeOpenstack, tmp_path: Path) -> OpenstackProvider:
    for number, name in enumerate(("large", "huge"), start=2):
        cloud.flavors.append({**FLAVOR, "id": f"f{number}", "name": name, "vcpus": 8})
    return provider_of(cloud, tmp_path, sizes=SIZES)


def of(package: Path, *sizes: str, number: int = 1, image: str = "") -> HostSpec:
    made = spec(package, number)
    return replace(made, template=replace(made.template, machine_sizes=sizes, machine_image=image))


def flavors_of(cloud: FakeOpenstack) -> list[str]:
    return [server["flavor"]["original_name"] for server in cloud.servers.values()]


@pytest.mark.parametrize(
    ("sizes", "made"),
    [
        ((), "small"),
        (("xl",), "large"),
        (("s", "xl"), "small"),
        (("huge",), "huge"),
        (("f3",), "huge"),
        (("none", "huge"), "huge"),
    ],
)
async def test_a_host_has_the_flavor_that_its_spec_names(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path, sizes: tuple[str, ...], made: str
) -> None:
    await provider.launch(of(package, *sizes), package)
    assert flavors_of(cloud) == [made]
    await provider.close()


async def test_the_flavor_of_the_settings_may_be_a_word_too(
    cloud: FakeOpenstack, provider: OpenstackProvider, tmp_path: Path, package: Path
) -> None:
    (tmp_path / "more").mkdir()
    other = provider_of(cloud, tmp_path / "more", sizes=SIZES, flavor="xl")
    await other.launch(spec(package), package)
    assert flavors_of(cloud) == ["large"]
    await other.close()
    await provider.close()


async def test_where_one_flavor_is_refused_for_its_quota_the_next_is_taken(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    said = "Quota exceeded for cores: Requested 8, but already used 0 of 5 cores"
    cloud.refusals = [(403, said)]
    await provider.launch(of(package, "xl"), package)
    assert flavors_of(cloud) == ["huge"]
    cloud.refusals = [(403, said), (403, said)]
    with pytest.raises(OutOfCapacityError) as caught:
        await provider.launch(of(package, "xl", number=2), package)
    assert str(caught.value).count("cores") == 4
    await provider.close()


async def test_a_flavor_without_a_hypervisor_for_it_is_tried_last_for_a_while(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    """Nova takes the order, and tells later that there is no room."""
    cloud.faults = [NO_ROOM]
    with pytest.raises(OutOfCapacityError):
        await provider.launch(of(package, "xl", number=1), package)
    await provider.launch(of(package, "xl", number=2), package)
    await provider._clock.sleep(FULL_SECONDS)
    await provider.launch(of(package, "xl", number=3), package)
    assert flavors_of(cloud) == ["huge", "large"]
    await provider.close()


async def test_whether_there_are_the_sizes_and_the_image_is_told_by_the_plan(
    cloud: FakeOpenstack, provider: OpenstackProvider
) -> None:
    for sizes in ((), ("xl",), ("huge", "s"), ("f2",)):
        assert await provider.room(FindRoom(1, sizes)) == ""
    with pytest.raises(MisfitError) as caught:
        await provider.room(FindRoom(1, ("xl", "m9")))
    assert str(caught.value) == (
        "host.size: there is no flavor m9 here, and no such word among openstack.sizes in the agent's "
        "settings; there: s, xl; flavors: huge, large, small"
    )
    with pytest.raises(MisfitError, match=r"^host\.image: there is no image debian-99$"):
        await provider.room(FindRoom(1, (), "debian-99"))
    await provider.close()


async def test_room_counts_by_the_best_of_the_sizes(
    cloud: FakeOpenstack, provider: OpenstackProvider
) -> None:
    cloud.cores_max = 8
    assert await provider.room(FindRoom(2, ("s",))) == ""
    assert await provider.room(FindRoom(2, ("xl", "s"))) == "cores: 0 of 8 are used, 16 more are needed"
    await provider.close()


async def test_words_for_flavors_that_are_not_there_are_refused_at_the_start(
    cloud: FakeOpenstack, tmp_path: Path
) -> None:
    provider = provider_of(cloud, tmp_path, sizes={"xl": ("large",)})
    with pytest.raises(
        RefusedError, match=r"^openstack\.sizes\.xl: the project has no large; it has: small$"
    ):
        await provider.start()
    await provider.close()


def forget(cloud: FakeOpenstack, *names: str) -> None:
    cloud.flavors = [each for each in cloud.flavors if each["name"] not in names]


async def test_a_flavor_of_a_spec_that_disappears_during_a_release_is_named(
    cloud: FakeOpenstack, provider: OpenstackProvider, tmp_path: Path, package: Path
) -> None:
    cloud.flavors.append({**FLAVOR, "id": "f9", "name": "special"})
    await provider.launch(of(package, "special", number=1), package)
    forget(cloud, "special")
    with pytest.raises(MisfitError) as caught:
        await provider.launch(of(package, "special", number=2), package)
    assert str(caught.value) == (
        "host.size: there is no flavor special here; there are: huge, large, small. host.size disappeared "
        "from the cloud while the agent ran: hosts that run and their traffic stay as they are; no host is "
        "made before it is there again, or another one is named"
    )
    await provider.launch(of(package, "special", "huge", number=3), package)
    assert flavors_of(cloud)[-1:] == ["huge"]
    await provider.close()


async def test_a_flavor_of_a_spec_that_was_made_anew_is_found_and_told(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.flavors.append({**FLAVOR, "id": "f9", "name": "special"})
    await provider.launch(of(package, "special", number=1), package)
    cloud.flavors[-1]["id"] = "f10"
    await provider.launch(of(package, "special", number=2), package)
    told: list[Any] = await provider.troubles()
    assert told == [
        "note: host.size: special was replaced under its name: hosts made from now on have the new one"
    ]
    await provider.close()


async def test_launches_that_name_another_flavor_or_image_while_names_are_looked_up_disturb_nothing(
    cloud: FakeOpenstack, provider: OpenstackProvider, package: Path
) -> None:
    cloud.images += [
        {**cloud.images[0], "id": f"i{number}", "name": f"base-{number}"} for number in range(4, 7)
    ]
    await provider.start()
    launches = [
        provider.launch(of(package, size, number=number, image=f"base-{number}"), package)
        for number, size in enumerate(("s", "large", "huge"), start=4)
    ]
    looks = [provider._names.look_anew() for _ in range(12)]
    hosts, _ = await asyncio.gather(asyncio.gather(*launches), asyncio.gather(*looks))
    assert all(host.is_running for host in hosts)
    await provider.close()
