"""The provider gcp against a stand-in that loses answers, refuses, fails late, runs out of room and forgets
tokens: every fault at every kind of call that a launch and a destruction make.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.clients.gcp.compute import name_of
from repave_agent.clients.gcp.login import find_credentials
from repave_agent.core.ports import HostSpec, OutOfCapacityError, ProviderError, RefusedError, TransientError
from repave_agent.packages.server import Depot
from repave_agent.providers.gcp.options import GcpOptions
from repave_agent.providers.gcp.provider import GcpProvider
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.fakes.clock import FastClock
from tests.fakes.templates import a_template
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

ZONES = ("europe-west1-b", "europe-west1-c")
IMAGE = "debian-cloud/family/debian-12"
STOPPED = "The instance was stopped by the rig."
SIZES = ("e2-small", "e2-medium")
CALLS = (
    "oauth2.token", "machineTypes.get", "images.list", "instances.insert", "zoneOperations.wait",
    "instances.aggregatedList", "instances.delete",
)  # fmt: skip
FAULTS: tuple[dict[str, object], ...] = (
    {"do": "lose", "times": 2},  # the first repetition is the HTTP client's own
    {"do": "refuse", "times": 2},
    {"do": "delay", "seconds": 0.2},
    {"do": "throttle", "seconds": 1},
    {"do": "error", "status": 500, "code": "backendError", "message": "Backend error"},
    {"do": "error", "status": 503, "code": "backendError", "message": "The service is unavailable"},
    {"do": "error", "status": 403, "code": "forbidden", "message": "Required permission is missing"},
    {"do": "unauthorized"},
    {"do": "capacity"},
    {"do": "quota"},
    {"do": "fail_late", "seconds": 0.05, "code": "INTERNAL_ERROR", "message": "Internal error"},
)


@pytest.fixture(scope="module")
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("gcp"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("gcp", Path(directory), 92) as made:
        yield made


@pytest.fixture
async def provider(rig: CloudRig, tmp_path: Path) -> AsyncIterator[GcpProvider]:
    rig.reset(boot_seconds=0.0, operation_seconds=0.05)
    made = provider_of(rig, tmp_path)
    yield made
    await made.close()
    assert rig.state()["violations"] == [], "Google's own document allows no such call"


def provider_of(rig: CloudRig, tmp_path: Path, **options: object) -> GcpProvider:
    usual = {"zones": ZONES, "machine_types": SIZES, "image": IMAGE}
    wanted = GcpOptions.model_validate({**usual, "endpoint": rig.url, "calls_per_second": 0.0, **options})
    depot, credentials = Depot(tmp_path, "127.0.0.1:0"), find_credentials(None, rig.variables)
    return GcpProvider(RegionName("here"), lambda: "ours", wanted, depot, FastClock(20.0), credentials)


def spec(package: Path, number: int = 1) -> HostSpec:
    name, group = HostName(f"shop-v001-{number}"), GroupName("shop-v001")
    return HostSpec(name, group, ApplicationName("shop"), sha256_of(package), a_template(("serve", "$PORT")))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: f"{each['do']}{each.get('status', '')}")
async def test_no_fault_of_any_call_makes_two_machines_or_leaves_one(
    rig: CloudRig, provider: GcpProvider, package: Path, fault: dict[str, object]
) -> None:
    for number, call in enumerate(CALLS):
        rig.fault(call, **fault)  # type: ignore[arg-type]  # `do` is in it
        wanted = spec(package, number)
        for _ in range(3):  # as the agent does after an error that may pass
            try:
                host = await provider.launch(wanted, package)
            except ProviderError:
                continue
            assert host.is_running
            break
        else:
            raise AssertionError(f"{call}: never launched")
        assert len(rig.instances()) == 1
        for _ in range(3):
            try:
                await provider.destroy(wanted.name)
            except ProviderError:
                continue
            break
        assert rig.instances() == [], call
        rig.reset(boot_seconds=0.0, operation_seconds=0.05)


async def test_a_zone_without_room_is_answered_by_the_next_one_and_then_by_the_next_size(
    rig: CloudRig, provider: GcpProvider, package: Path
) -> None:
    rig.fault("instances.insert", "capacity", times=1)
    first = await provider.launch(spec(package, 1), package)
    rig.fault("instances.insert", "capacity", times=2)
    second = await provider.launch(spec(package, 2), package)
    assert first.is_running
    assert second.is_running
    there = await provider._compute.list_all("aggregated/instances")
    assert sorted(name_of(each["machineType"]) for each in there) == ["e2-medium", "e2-small"]


async def test_where_no_zone_has_room_the_error_names_each_with_google_s_words(
    rig: CloudRig, provider: GcpProvider, package: Path
) -> None:
    rig.fault("instances.insert", "capacity", times=0)
    with pytest.raises(OutOfCapacityError) as caught:
        await provider.launch(spec(package), package)
    for place in ("e2-small in europe-west1-b", "e2-medium in europe-west1-c"):
        assert place in str(caught.value)
    assert "does not have enough resources" in str(caught.value)
    assert rig.instances() == []


async def test_a_machine_that_vanishes_or_dies_is_told(
    rig: CloudRig, provider: GcpProvider, package: Path
) -> None:
    hosts = await asyncio.gather(*(provider.launch(spec(package, number), package) for number in (1, 2)))
    names = sorted(each["name"] for each in rig.instances())
    rig.act(names[0], "vanish")
    rig.act(names[1], "die")
    (left,) = await provider.list_hosts()
    assert (left.is_running, left.ended) == (False, f"its instance is TERMINATED: {STOPPED}")
    assert left.name in {host.name for host in hosts}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"zones": ()}, "gcp.zones is not set"),
        ({"zones": ("europe-west1-b", "us-central1-a")}, "are not of one region"),
        ({"machine_types": ("e2-small", "x9")}, "gcp.machine_types: europe-west1-b has no x9"),
        ({"image": "debian-cloud/family/debian-1"}, "gcp.image: there is no image of family debian-1"),
        ({"image": "a/b/c/d"}, "names no image: write NAME, PROJECT/NAME or PROJECT/family/NAME"),
    ],
)
async def test_settings_that_can_t_work_are_refused_at_the_start_by_name(
    rig: CloudRig, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    rig.reset()
    provider = provider_of(rig, tmp_path, **options)
    with pytest.raises(RefusedError, match=said):
        await provider.start()
    await provider.close()


async def test_a_stranger_with_our_label_is_neither_listed_nor_ended(
    rig: CloudRig, provider: GcpProvider, package: Path
) -> None:
    await provider.launch(spec(package), package)
    compute, owner = provider._compute, provider._instances.owner()
    image = await provider._instances.image(IMAGE)
    body = {
        "name": "stranger",
        "labels": {"repave-owner": owner},
        "machineType": "zones/europe-west1-b/machineTypes/e2-small",
        "disks": [{"boot": True, "initializeParams": {"sourceImage": image}}],
        "networkInterfaces": [{"network": "global/networks/default"}],
    }
    await compute.settle(await compute.change("POST", "zones/europe-west1-b/instances", body), "insert")
    assert [host.name for host in await provider.list_hosts()] == ["shop-v001-1"]
    await provider.destroy(HostName("shop-v001-1"))
    assert [each["name"] for each in rig.instances()] == ["stranger"]


async def test_credentials_that_google_refuses_are_no_fault_that_passes(
    rig: CloudRig, tmp_path: Path
) -> None:
    rig.reset()
    rig.fault("oauth2.token", "error", times=0, status=400, code="invalid_grant", message="Invalid JWT")
    provider = provider_of(rig, tmp_path)
    with pytest.raises((RefusedError, TransientError), match="Google does not take the credentials of"):
        await provider.start()
    await provider.close()
