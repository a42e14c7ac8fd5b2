"""What every provider that bakes machine images promises: an image says what it was made from, hosts of that
package start from it, and nothing else is left: not when a call fails, and not when the agent is killed in
the middle; then the next agent removes what is left. An image that is whole stays, it is what was ordered.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.clients.openstack.api import Api
from repave_agent.core.ports import HostSpec, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.aws.provider import AwsProvider
from repave_agent.providers.azure.provider import AzureProvider
from repave_agent.providers.cloud.first_boot import BAKED, NOT_BAKED
from repave_agent.providers.cloud.provider import CloudProvider
from repave_agent.providers.gcp.provider import GcpProvider
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_agent.settings import ImagesSettings
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import BakedImage, BakeOrder
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName
from tests.fakes.clock import FastClock, QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack, served
from tests.fakes.packages import plain, tarball
from tests.fakes.templates import a_template
from tests.support.bakes import GALLERY, ON_THIS_MACHINE, a_gallery
from tests.support.clouds import CLOUD_NAMES, CLOUDS, AnyProvider, CloudKind
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud

MOMENTS_MAX = 200
FAULTS: tuple[dict[str, Any], ...] = (
    {"do": "lose", "times": 2},
    {"do": "error", "status": 500, "code": "InternalError", "message": "Backend error"},
    {"do": "error", "status": 403, "code": "forbidden", "message": "Required permission is missing"},
    {"do": "fail_late", "seconds": 0.05, "code": "InternalError", "message": "Internal error"},
    {"do": "quota", "times": 0},
)
CALLS = {
    "gcp": (
        "instances.insert", "instances.aggregatedList", "instances.getSerialPortOutput", "instances.stop",
        "images.insert", "images.list", "instances.delete", "*Operations.wait",
    ),
    "azure": (
        "virtual_machines_create_or_update", "virtual_machines_list", "virtual_machines_list_all",
        "virtual_machines_retrieve_boot_diagnostics_data", "virtual_machines_deallocate",
        "virtual_machines_generalize", "gallery_image_versions_create_or_update",
        "gallery_image_versions_list_by_gallery_image", "virtual_machines_delete", "operations.get",
    ),
    "aws": (
        "ec2.RunInstances", "ec2.DescribeInstances", "ec2.GetConsoleOutput", "ec2.StopInstances",
        "ec2.CreateImage", "ec2.DescribeImages", "ec2.TerminateInstances",
    ),
}  # fmt: skip
"""Of a bake, as the stand-ins name them."""


class Killed(BaseException):
    """Nothing of the agent runs any more, its cleaning up neither."""


@dataclass
class Kitchen:
    """A cloud in which images are baked. `agent(n)`: one that is killed at its n-th call, never if n is 0;
    `agent(n, region)`: of another region than the usual one; `kept`: of its settings."""

    agent: Callable[..., CloudProvider]
    left: Callable[[], Awaitable[list[str]]]  # machines, their disks, and images that are not whole
    whole: Callable[[], Awaitable[list[str]]]  # baked images
    images_of: Callable[[], Awaitable[list[str]]]  # of the machines that there are
    moments: range


def mortal(call: Callable[..., Awaitable[Any]], killed_at: int) -> Callable[..., Awaitable[Any]]:
    """Calls of an agent that is killed at one of them, after the cloud has done it."""
    made = 0

    async def calling(*words: Any, **more: Any) -> Any:
        nonlocal made
        made += 1
        if killed_at and made > killed_at:
            raise Killed
        answer = await call(*words, **more)
        if made == killed_at:
            raise Killed
        return answer

    return calling


class Mortal(Api):
    """An API whose agent is killed at one of its calls."""

    def __init__(self, cloud: Any, clock: Any, killed_at: int) -> None:
        super().__init__(cloud, clock)
        self._calling = mortal(super().call, killed_at)

    async def call(self, *words: Any, **query: Any) -> dict[str, Any]:
        return dict(await self._calling(*words, **query))


@pytest.fixture(scope="module")
def rigs() -> Iterator[Callable[[str], CloudRig]]:
    """Stand-ins that the tests of this file share, each started when it is first asked for."""
    running: dict[str, tuple[CloudRig, Any, Any]] = {}

    def start(name: str) -> CloudRig:
        if reason := why_no_cloud(name):
            pytest.skip(reason)
        if name not in running:
            directory = TemporaryDirectory(prefix="rg")
            opened = cloud_rig(name, Path(directory.name), 120 + len(running))
            running[name] = (opened.__enter__(), opened, directory)
        return running[name][0]

    yield start
    for _, opened, directory in running.values():
        opened.__exit__(None, None, None)
        directory.cleanup()


@pytest.fixture(params=["openstack", *CLOUD_NAMES])
async def kitchen(
    request: pytest.FixtureRequest, rigs: Callable[[str], CloudRig], tmp_path: Path
) -> AsyncIterator[Kitchen]:
    opened: list[CloudProvider] = []
    kind = CLOUDS.get(request.param)
    if kind is not None:
        rig = rigs(kind.name)
        rig.reset(boot_seconds=0.0, operation_seconds=0.02, run_user_data=True)
        yield await a_rig_s_kitchen(kind, rig, tmp_path, opened)
        rig.forget_faults()
        assert not kind.tells_state or rig.state()["violations"] == []
    else:
        status = "queued" if request.param == "openstack-slow-image" else "active"
        async with served(FakeOpenstack(console=f"{BAKED} {{repave_bake}}\n", image_status=status)) as cloud:
            yield a_fake_s_kitchen(cloud, tmp_path, opened)
            for each in opened:
                await each.close()
            return
    for each in opened:
        await each.close()


def a_fake_s_kitchen(cloud: FakeOpenstack, directory: Path, opened: list[CloudProvider]) -> Kitchen:
    def agent(killed_at: int, region: str = "here", kept: ImagesSettings | None = None) -> OpenstackProvider:
        options = OpenstackOptions(flavor="small", image="base", network="fleet")
        state = directory / str(len(opened))
        state.mkdir()
        api = Mortal(cloud.cloud(region_name="one"), QuickClock(), killed_at)
        depot, clock = Depot(state, "127.0.0.1:0"), QuickClock()
        made = OpenstackProvider(RegionName(region), lambda: "ours", api, options, depot, clock, kept)
        opened.append(made)
        return made

    def baked() -> list[dict[str, Any]]:
        return [each for each in cloud.images if "repave_baked" in each]

    async def left() -> list[str]:
        return [*cloud.servers, *(each["id"] for each in baked() if each["status"] != "active")]

    async def whole() -> list[str]:
        return [each["id"] for each in baked() if each["status"] == "active"]

    async def images_of() -> list[str]:
        return [each["image"]["id"] for each in cloud.servers.values()]

    moments = range(1, 60) if cloud.image_status == "active" else range(8, 40, 2)
    return Kitchen(agent, left, whole, images_of, moments)


async def a_rig_s_kitchen(
    kind: CloudKind, rig: CloudRig, directory: Path, opened: list[CloudProvider]
) -> Kitchen:
    settings = kind.settings(rig) | ({"gallery": GALLERY} if kind.name == "azure" else {})

    def agent(killed_at: int, region: str = "here", kept: ImagesSettings | None = None) -> CloudProvider:
        state = directory / str(len(opened))
        state.mkdir()
        prepare = ON_THIS_MACHINE.format(root=state / "machine")
        made = kind.provider(rig, state, FastClock(50.0), f"ours/{region}", settings, prepare=prepare)
        made._oven._kept = kept or ImagesSettings()
        if killed_at:
            kill(made, killed_at)
        opened.append(made)
        return made

    observer = agent(0)
    assert isinstance(observer, AnyProvider)
    if isinstance(observer, AzureProvider):
        await a_gallery(observer)

    async def left() -> list[str]:
        halves = [each.id for each in await observer._oven._cloud.images() if each.state.name != "WHOLE"]
        machines = [each["name"] for each in rig.instances()]
        return [*machines, *halves, *(await kind.remains_of(observer) if not machines else [])]

    async def whole() -> list[str]:
        return [each.id for each in await observer._oven._cloud.images() if each.state.name == "WHOLE"]

    async def images_of() -> list[str]:
        return await kind.images_of(observer)

    return Kitchen(agent, left, whole, images_of, range(4, MOMENTS_MAX, 10))


def kill(provider: AnyProvider, killed_at: int) -> None:
    """At one of its calls."""
    caller: Any
    if isinstance(provider, AwsProvider):
        caller = provider._ec2
    else:
        caller = (provider._compute if isinstance(provider, GcpProvider) else provider._resources).rest
    caller.call = mortal(caller.call, killed_at)


def order_of(package: Path, *check: str, name: str = "shop-1") -> BakeOrder:
    return BakeOrder(sha256_of(package), name, check, "ann")


async def bake(agent: CloudProvider, package: Path) -> bool:
    """Whether it came to its end."""
    try:
        async with asyncio.timeout(20.0):
            await agent.bake(order_of(package), package, lambda _: None)
    except Killed:
        return False
    return True


def host_of(package: Path, number: int = 1) -> HostSpec:
    name, group = HostName(f"shop-v001-{number}"), GroupName("shop-v001")
    return HostSpec(name, group, ApplicationName("shop"), sha256_of(package), a_template(("true",)))


async def used(kitchen: Kitchen, agent: CloudProvider, package: Path, number: int) -> str:
    """The image from which a fresh host was made."""
    host = await agent.launch(host_of(package, number), package)
    (image,) = await kitchen.images_of()
    await agent.destroy(host.name)
    return image


async def test_an_image_says_what_it_was_made_from_and_hosts_of_its_package_start_from_it(
    kitchen: Kitchen, package: Path, tmp_path: Path
) -> None:
    agent = kitchen.agent(0)
    base = await used(kitchen, agent, package, 1)
    steps: list[str] = []
    made = await agent.bake(order_of(package, "test", "-e", "page.html"), package, steps.append)
    assert isinstance(made, BakedImage)
    assert (made.name, made.digest, made.by) == ("shop-1", sha256_of(package), "ann")
    assert made.is_current
    assert "image" in steps[-2]
    assert await kitchen.left() == []
    assert await agent.baked() == [made]
    assert await kitchen.agent(0, "elsewhere").baked() == [made], "for each region of the installation"
    agent._oven.forget()
    assert await used(kitchen, agent, package, 2) == made.image
    other = tarball(tmp_path / "other.tar.gz", plain("first"))
    assert await used(kitchen, agent, other, 3) == base
    assert await agent._oven.image_for(made.digest, "another base") == ""


async def test_hosts_start_from_the_base_when_their_image_was_deleted_meanwhile(
    kitchen: Kitchen, package: Path
) -> None:
    agent = kitchen.agent(0)
    base = await used(kitchen, agent, package, 1)
    made = await agent.bake(order_of(package), package, lambda _: None)
    assert await agent._oven.image_for(made.digest, made.base) == made.image
    await agent._oven._cloud.delete_image(made.image)
    assert await used(kitchen, agent, package, 2) == base


async def test_a_package_that_fails_its_check_becomes_no_image(
    request: pytest.FixtureRequest, kitchen: Kitchen, package: Path
) -> None:
    if "openstack" in request.node.name:
        pytest.skip("the fake runs nothing")
    with pytest.raises(RefusedError, match=r"could not be baked; the end of the console:[^$]*could not be"):
        await kitchen.agent(0).bake(order_of(package, "false"), package, lambda _: None)
    assert NOT_BAKED
    assert (await kitchen.left(), await kitchen.whole()) == ([], [])


async def test_old_images_go_by_the_rule_and_those_that_are_needed_stay(
    kitchen: Kitchen, tmp_path: Path
) -> None:
    packages = [tarball(tmp_path / f"{name}.tar.gz", plain(name)) for name in ("a", "b", "c")]
    strict = kitchen.agent(0, kept=ImagesSettings(keep=1, days=0.0))
    made = []
    for number, each in enumerate(packages):
        made.append(await strict.bake(order_of(each, name=f"shop-{number}"), each, lambda _: None))
    theirs = await kitchen.agent(0, "elsewhere").bake(order_of(packages[0]), packages[0], lambda _: None)
    await strict.remove_old_images({made[0].digest})
    kept = set(await kitchen.whole())
    assert {made[0].image, theirs.image} <= kept, "one is needed, and one is another region's"
    assert len(kept) in (2, 3), (
        "of bakes of one second, which the cloud tells apart no further, any is newest"
    )


@pytest.mark.parametrize("kitchen", ["openstack", "openstack-slow-image", *CLOUD_NAMES], indirect=True)
async def test_an_agent_that_is_killed_at_any_moment_of_a_bake_leaves_nothing_to_the_next_one(
    kitchen: Kitchen, package: Path
) -> None:
    left_at = []
    for moment in kitchen.moments:
        is_done = await bake(kitchen.agent(moment), package)
        left_at.append(len(await kitchen.left()))
        await kitchen.agent(0).start()
        assert await kitchen.left() == [], f"killed at call {moment}"
        if is_done:
            assert await kitchen.whole()
            break
    assert max(left_at) > 0, "some of it was to be found"


async def test_what_another_region_bakes_is_left_alone(kitchen: Kitchen, package: Path) -> None:
    for moment in kitchen.moments:
        await bake(kitchen.agent(moment, "elsewhere"), package)
        if await kitchen.left():
            break
    left = await kitchen.left()
    await kitchen.agent(0).start()
    assert await kitchen.left() == left


@pytest.mark.rig
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [*CALLS])
async def test_no_fault_of_any_call_leaves_more_than_an_image_that_is_whole(
    rigs: Callable[[str], CloudRig], tmp_path: Path, package: Path, name: str
) -> None:
    rig, opened = rigs(name), list[CloudProvider]()
    rig.reset(boot_seconds=0.0, operation_seconds=0.02, run_user_data=True)
    kitchen = await a_rig_s_kitchen(CLOUDS[name], rig, tmp_path, opened)
    agent = kitchen.agent(0)
    await agent.start()
    for call in CALLS[name]:
        for fault in FAULTS:
            before = set(await kitchen.whole())
            rig.fault(call, **fault)
            made = set()
            with contextlib.suppress(ProviderError):
                made = {(await agent.bake(order_of(package), package, lambda _: None)).image}
            rig.forget_faults()
            await agent._oven.tidy()  # as the next bake does first
            assert set(await kitchen.whole()) == before | made, (call, fault)
            assert await kitchen.left() == [], (call, fault)
    for each in opened:
        await each.close()
