"""What every provider promises, run over the fake one, the local one with and without bubblewrap and with
networks of its hosts' own, a pool of real sshd machines, OpenStack's API as tests/fakes/clouds speaks it, and
stand-ins for Google Cloud, Azure and AWS.

Programs used: those that the fake knows too (`true`, `false`, `sleep`, `echo`).
"""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import Cloud
from repave_agent.clients.ssh_identity import Identity
from repave_agent.clock import SystemClock
from repave_agent.core.host_secrets import HostSecret
from repave_agent.core.ports import Host, HostSpec, OutOfCapacityError, Provider, ProviderError, RefusedError
from repave_agent.packages.server import Depot
from repave_agent.providers.command import Isolation, choose_sandbox
from repave_agent.providers.listening import ListeningProvider
from repave_agent.providers.local.provider import ADDRESS_RANGE, LocalProvider
from repave_agent.providers.openstack.options import OpenstackOptions
from repave_agent.providers.openstack.provider import OpenstackProvider
from repave_agent.providers.ssh_pool.inventory import Inventory
from repave_agent.providers.ssh_pool.leases import Leases
from repave_agent.providers.ssh_pool.machines import Access, Machines
from repave_agent.providers.ssh_pool.options import ResetOptions
from repave_agent.providers.ssh_pool.provider import SshPoolProvider
from repave_agent.registry import PROVIDERS
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, RegionName, SecretReference
from tests.fakes.agent.interruptions import cancelled_at, waits_of
from tests.fakes.agent.provider import FakeCloud, FakeProvider
from tests.fakes.clock import FastClock, QuickClock
from tests.fakes.clouds.openstack import FakeOpenstack
from tests.fakes.clouds.openstack import served as cloud_served
from tests.fakes.packages import EVIL, RELEASED, plain, tarball
from tests.fakes.templates import a_template
from tests.fakes.waiting import until, until_async
from tests.support.clouds import CLOUD_NAMES, CLOUDS, QUICK, CloudKind
from tests.support.processes import Words
from tests.support.rigs import CloudRig, cloud_rig, rig_cloud, why_no_cloud, why_no_openstack
from tests.support.sshd_hosts import PORT as SSH_PORT
from tests.support.sshd_hosts import ROOT, Pool, pool, why_not

PORT = 18_431
OCTET = 252
NETWORKS = "10.83.252.0/24"
MOMENTS_MAX = 10
"""At so many of the moments at which a launch waits it is cancelled."""
RUN_FOR_LONG = ("sleep", "600")


@dataclass
class World:
    """One implementation: `provider` works, `another` makes one more over the same hosts, for an installation
    in this region or, as "installation/region", in another one."""

    provider: Provider
    package: Path
    another: Callable[[str], Provider]
    is_clean: Callable[[], bool]
    tinker: Callable[[HostName], None]  # somebody changes a running host
    sees_inside: bool = True  # whether it can be seen what happens in its hosts
    runs_programs: bool = True  # whether its hosts are processes at all
    limit: Callable[[int], None] | None = None  # from now on there is room for so many hosts
    tells_quota: bool = True  # before it is used up

    def needs_inside(self) -> None:
        """Skips the test where hosts are closed: a server of a cloud outlives its command; health tells."""
        if not self.sees_inside:
            pytest.skip("nobody sees what happens inside its hosts")

    def needs_programs(self) -> None:
        if not (self.sees_inside and self.runs_programs):
            pytest.skip("nothing runs in its hosts that could print something")

    def has_room_for(self, hosts: int) -> None:
        """Skips the test where nobody knows how many hosts there can be."""
        if self.limit is None:
            pytest.skip("how many hosts there can be shows when they run")
        self.limit(hosts)

    def spec(self, number: int = 1, run: tuple[str, ...] = RUN_FOR_LONG) -> HostSpec:
        name = HostName(f"shop-v001-{number}")
        group, application = GroupName("shop-v001"), ApplicationName("shop")
        digest = sha256_of(self.package)
        template = a_template(run, (("COLOUR", "blue"),), PORT)
        return HostSpec(name, group, application, digest, template, released_at=RELEASED + 0.5)

    async def launch(self, number: int = 1, run: tuple[str, ...] = RUN_FOR_LONG) -> Host:
        return await self.provider.launch(self.spec(number, run), self.package)

    async def listed(self, provider: Provider | None = None) -> dict[HostName, Host]:
        return {host.name: host for host in await (provider or self.provider).list_hosts()}

    async def ended(self, name: HostName) -> Host:
        async def has_ended() -> bool:
            return not (await self.listed())[name].is_running

        await until_async(has_ended)
        return (await self.listed())[name]


def fake_world(package: Path) -> World:
    cloud = FakeCloud()
    return World(
        FakeProvider(cloud, "ours/here"),
        package,
        lambda owner: FakeProvider(cloud, owner if "/" in owner else f"{owner}/here"),
        lambda: not cloud.hosts,
        lambda host: cloud.changes.update({host: "page.html has other content"}),
        runs_programs=False,
        limit=lambda hosts: setattr(cloud, "capacity", hosts),
    )


def local_world(package: Path, root: Path, kind: str) -> World:
    def make(owner: str) -> LocalProvider:
        chosen: Isolation = "none" if kind == "none" else "bwrap"
        installation, _, region = owner.partition("/")
        return LocalProvider(
            root,
            RegionName(region or "here"),
            lambda: installation,
            clock=SystemClock(),
            address_range=NETWORKS if kind == "networks" else ADDRESS_RANGE,
            has_networks=kind == "networks",
            isolation=chosen,
        )

    def tinker(host: HostName) -> None:
        page = root / "hosts" / host / "app" / "page.html"
        page.chmod(0o644)
        page.write_text("ships")  # as long as before
        page.chmod(0o444)

    return World(make("ours"), package, make, lambda: not list((root / "hosts").iterdir()), tinker)


@pytest.fixture(scope="module")
def machines() -> Iterator[Pool]:
    """Sshd machines that the tests of this file share."""
    if reason := why_not():
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rp") as directory, pool(Path(directory) / "pool", 7, OCTET) as made:
        yield made


@pytest.fixture(scope="module")
def gcp_rig() -> Iterator[CloudRig]:
    """A stand-in for Google Cloud that the tests of this file share."""
    yield from a_rig("gcp", 91)


@pytest.fixture(scope="module")
def aws_rig() -> Iterator[CloudRig]:
    """A stand-in for AWS that the tests of this file share."""
    yield from a_rig("aws", 93)


@pytest.fixture(scope="module")
def azure_rig() -> Iterator[CloudRig]:
    """A stand-in for Azure that the tests of this file share."""
    yield from a_rig("azure", 92)


def a_rig(name: str, net: int) -> Iterator[CloudRig]:
    if reason := why_no_cloud(name):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig(name, Path(directory), net) as rig:
        yield rig


def pool_world(package: Path, root: Path, machines: Pool) -> World:
    """Its machines are emptied by a command on them, which leaves its marker: quicker than a new start."""
    empty = f"chmod -R u+w {ROOT}; rm -rf {ROOT}/*; printf %s $REPAVE_NONCE > {ROOT}/.fresh"
    reset = ResetOptions(remote=("sh", "-c", empty), proof="marker", marker=f"{ROOT}/.fresh", seconds=30.0)
    kept: list[Leases] = []

    def make(owner: str) -> SshPoolProvider:
        installation, _, region = owner.partition("/")
        leases = Leases(
            root / ("ours" if installation in ("ours", "") else installation) / (region or "here")
        )
        kept.append(leases)
        access = Access("root", Identity("ssh_pool", machines.key), SSH_PORT, root=ROOT)
        reached = Machines(Inventory(machines.inventory), access, leases)
        return SshPoolProvider(
            RegionName(region or "here"),
            lambda: installation,
            reached,
            reset,
            clock=SystemClock(),
            stop_grace_seconds=1.0,
        )

    def tinker(host: HostName) -> None:
        name = next(
            name for name, each in kept[0].all().items() if each.lease and each.lease.spec.name == host
        )
        page = f"{ROOT}/packages/{sha256_of(package)}/app/page.html"
        machines.run(name, "sh", "-c", f"chmod u+w {page}; printf ships > {page}; chmod a-w {page}")

    def is_clean() -> bool:
        return not any(each.lease for leases in kept for each in leases.all().values())

    def limit(hosts: int) -> None:
        for name in machines.names[hosts:]:
            kept[0].put(name, state="quarantined", reason="there shall be less room")

    return World(make("ours"), package, make, is_clean, tinker, limit=limit)


def openstack_world(
    package: Path, root: Path, cloud: Cloud, fake: FakeOpenstack | None, **more: object
) -> World:
    """`fake` is None where the real API answers. `more`: settings."""

    def make(owner: str) -> OpenstackProvider:
        installation, _, region = owner.partition("/")
        state = root / f"{len(list(root.iterdir()))}"
        state.mkdir()
        depot = Depot(state, "127.0.0.1:0")
        flavor, image = ("m1.tiny", "tiny") if fake is None else ("small", "base")
        options = OpenstackOptions.model_validate(
            {"flavor": flavor, "image": image, "network": "fleet", **more}
        )
        named = RegionName(region or "here")
        return OpenstackProvider(named, lambda: installation, Api(cloud, clock), options, depot, clock)

    root.mkdir()
    clock = SystemClock() if fake is None else QuickClock()
    if fake is None:
        return World(make("ours"), package, make, lambda: True, lambda _: None, sees_inside=False)
    return World(
        make("ours"),
        package,
        make,
        lambda: (
            not (fake.servers or fake.groups or fake.floating or fake.volumes)
            and all(each["device_id"] == "" and "by_nova" not in each for each in fake.ports.values())
        ),
        lambda _: None,
        sees_inside=False,
        limit=lambda hosts: setattr(fake, "instances_max", hosts),
    )


def a_grown_openstack() -> FakeOpenstack:
    made = FakeOpenstack(leaves_ports=True, leaves_volumes=True)
    made.networks.append({"id": "n3", "name": "world", "router:external": True})
    for name in GROWN["ports"]:  # type: ignore[attr-defined]
        unused = {"device_id": "", "device_owner": ""}
        made.ports[name] = {"id": name, "name": name, "network_id": "n1", **unused}
    return made


def cloud_world(package: Path, root: Path, kind: CloudKind, rig: CloudRig) -> World:
    def make(owner: str) -> Provider:
        state = root / f"{len(list(root.iterdir()))}"
        state.mkdir()
        return kind.provider(rig, state, FastClock(), owner if "/" in owner else f"{owner}/here")

    def limit(hosts: int) -> None:
        """Azure's stand-in counts a machine against its quota only when it is made."""
        rig.set(quota_instances=hosts)
        rig.fault(kind.create, "quota", skip=hosts, times=0)

    root.mkdir()
    return World(
        make("ours"),
        package,
        make,
        lambda: not rig.instances(),
        lambda _: None,
        sees_inside=False,
        limit=limit,
        tells_quota=kind.tells_quota,
    )


GROWN: dict[str, object] = {
    "ports": tuple(f"port-of-ours-{number}" for number in range(12)),
    "floating_ip_pool": "world",
    "volume_size": 20,
    "hints": {"rack": "one"},
}
"""Settings with which servers have parts of their own, all of which go with them."""
KINDS = [
    "fake",
    "local-none",
    "local-bwrap",
    "local-networks",
    "ssh_pool",
    "openstack",
    "openstack-grown",
    *CLOUD_NAMES,
]
REAL_CLOUD = pytest.param("openstack-real", marks=[pytest.mark.rig, pytest.mark.timeout(400)])


@pytest.fixture(params=[*KINDS, REAL_CLOUD])
async def world(request: pytest.FixtureRequest, package: Path, tmp_path: Path) -> AsyncIterator[World]:
    undo = AsyncExitStack()
    kind = str(request.param).removeprefix("local-")
    if kind in ("bwrap", "networks") and choose_sandbox("auto", tmp_path)[0] is None:
        pytest.skip("bubblewrap does not work on this machine")
    if kind == "networks" and os.geteuid() != 0:
        pytest.skip("only root can make networks")
    if kind == "openstack":
        cloud = await undo.enter_async_context(cloud_served(FakeOpenstack()))
        made = openstack_world(package, tmp_path / "agents", cloud.cloud(region_name="one"), cloud)
    elif kind == "openstack-grown":
        cloud = await undo.enter_async_context(cloud_served(a_grown_openstack()))
        made = openstack_world(package, tmp_path / "agents", cloud.cloud(region_name="one"), cloud, **GROWN)
    elif kind == "openstack-real":
        if reason := why_no_openstack():
            pytest.skip(reason)
        made = openstack_world(package, tmp_path / "agents", rig_cloud(), None)
    elif kind in CLOUDS:
        rig = request.getfixturevalue(f"{kind}_rig")
        rig.reset(**QUICK)
        made = cloud_world(package, tmp_path / "agents", CLOUDS[kind], rig)
    elif kind == "ssh_pool":
        made = pool_world(package, tmp_path / "agents", request.getfixturevalue("machines"))
    else:
        made = fake_world(package) if kind == "fake" else local_world(package, tmp_path / "region", kind)
    opened: list[Provider] = [made.provider]
    make = made.another

    def another(owner: str) -> Provider:
        opened.append(make(owner))
        return opened[-1]

    made.another = another
    yield made
    for provider in opened:
        for host in await provider.list_hosts():
            await provider.destroy(host.name)
        await provider.close()
    await undo.aclose()
    assert made.is_clean()


async def refusal(work: Awaitable[object]) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await work
    return caught.value


async def test_a_launched_host_runs_and_is_listed_as_it_was_asked_for(world: World) -> None:
    host = await world.launch()
    assert host.is_running
    assert (host.group, host.application, host.digest, host.port) == (
        "shop-v001",
        "shop",
        sha256_of(world.package),
        PORT,
    )
    assert await world.listed() == {host.name: host}


async def test_every_host_has_its_own_address(world: World) -> None:
    hosts = await asyncio.gather(*(world.launch(number) for number in range(5)))
    assert len({host.address for host in hosts}) == 5
    assert len(await world.listed()) == 5


async def test_an_address_is_not_used_again_soon(world: World) -> None:
    first = await world.launch(1)
    await world.provider.destroy(first.name)
    assert (await world.launch(2)).address != first.address


async def test_a_repeated_launch_gives_the_host_that_is_there(world: World) -> None:
    first = await world.launch()
    assert await world.launch() == first
    assert len(await world.listed()) == 1


async def test_launches_of_one_host_at_the_same_time_make_one_host(world: World) -> None:
    hosts = await asyncio.gather(*(world.launch() for _ in range(3)))
    assert len(set(hosts)) == 1
    assert len(await world.listed()) == 1


async def test_a_destroyed_host_is_gone_and_destroying_is_repeatable(world: World) -> None:
    host = await world.launch()
    await asyncio.gather(world.provider.destroy(host.name), world.provider.destroy(host.name))
    assert await world.listed() == {}
    await world.provider.destroy(host.name)
    await world.provider.destroy(HostName("never-was"))
    assert world.is_clean()


async def test_a_host_that_ended_by_itself_is_listed_as_ended_and_told(world: World) -> None:
    world.needs_inside()
    told = asyncio.Event()
    world.provider.on_change(told.set)
    launched = await world.launch(1, ("false",))
    await until(told.is_set)
    host = await world.ended(launched.name)
    assert host.ended.startswith("exited with code 1")
    assert not world.runs_programs or re.match(
        r"exited with code 1 after \d+\.\d s; its log is empty$", host.ended
    )
    assert host.exit_code in (1, None), "not every provider can tell"
    back = replace(host, is_running=True, ended="", exit_code=None)
    assert back == replace(launched, is_running=True, ended="", exit_code=None)


async def test_an_ended_host_can_be_destroyed(world: World) -> None:
    world.needs_inside()
    host = await world.launch(1, ("true",))
    await world.ended(host.name)
    await world.provider.destroy(host.name)
    assert await world.listed() == {}
    assert world.is_clean()


@pytest.mark.parametrize("owner", ["theirs", "ours/another-region"])
async def test_hosts_of_another_owner_are_neither_listed_nor_destroyed(world: World, owner: str) -> None:
    stranger = world.another(owner)
    theirs = await stranger.launch(world.spec(7), world.package)
    await world.launch(1)
    assert theirs.name not in await world.listed()
    await world.provider.destroy(theirs.name)
    assert (await world.listed(stranger))[theirs.name].is_running


async def test_a_host_s_age_goes_on_when_another_provider_takes_over(world: World) -> None:
    await world.launch()
    (before,) = await world.provider.list_hosts()
    await world.provider.close()
    (after,) = await world.another("ours").list_hosts()
    assert 0.0 <= before.age_seconds <= after.age_seconds < 60.0


async def test_whoever_does_not_know_its_installation_lists_and_destroys_nothing(world: World) -> None:
    host = await world.launch()
    unknown = world.another("")
    assert await unknown.list_hosts() == []
    await unknown.destroy(host.name)
    assert (await world.listed())[host.name].is_running


async def test_hosts_outlive_their_provider_and_are_adopted_by_the_next_one(world: World) -> None:
    host = await world.launch()
    await world.provider.close()
    heir = world.another("ours")
    assert await world.listed(heir) == {host.name: host}
    assert await heir.launch(world.spec(), world.package) == host
    assert (await heir.launch(world.spec(2), world.package)).address != host.address
    if world.sees_inside:
        assert await heir.execute(host.name, ("true",), 10.0) == 0
    await heir.destroy(host.name)
    assert host.name not in await world.listed(heir)


async def test_an_adopted_host_that_ends_is_told_too(world: World) -> None:
    world.needs_inside()
    host = await world.launch(1, ("false",))
    await world.ended(host.name)
    await world.provider.close()
    heir = world.another("ours")
    adopted = (await world.listed(heir))[host.name]
    assert not adopted.is_running
    assert adopted.ended


async def test_a_host_finds_the_system_s_path_its_own_variables_and_nothing_of_the_agent_s(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.needs_programs()
    impostor = tmp_path / ".venv" / "bin" / "env"
    impostor.parent.mkdir(parents=True)
    impostor.write_text("#!/bin/sh\necho developer=1\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", f"{impostor.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("VIRTUAL_ENV", str(impostor.parent.parent))
    monkeypatch.setenv("REPAVE_AGENT_JOIN_TOKEN", "secret")
    before = os.umask(0o077)
    try:
        host = await world.launch(1, ("sh", "-c", "umask; exec env"))
    finally:
        os.umask(before)
    await world.ended(host.name)
    umask, *lines = (await world.provider.log_tail(host.name, 100)).splitlines()
    found = dict(line.split("=", 1) for line in lines)
    for name in ("PWD", "SHLVL", "_"):  # the host's own shell says where it is
        found.pop(name, None)
    assert (umask, found) == (
        "0022",
        {
            "COLOUR": "blue",
            "HOST": host.address,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PORT": str(PORT),
            "REPAVE_APPLICATION": "shop",
            "REPAVE_DIGEST": host.digest,
            "REPAVE_GROUP": "shop-v001",
            "REPAVE_HOST": host.name,
            "REPAVE_REGION": "here",
        },
    )


async def test_a_command_in_a_host_finds_the_host_s_environment_too(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.needs_programs()
    host = await world.launch()
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    same = '[ "$COLOUR $PATH $VIRTUAL_ENV$HOME$LC_ALL" = "blue $1 " ]'
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert (
        await world.provider.execute(host.name, ("sh", "-c", same.replace("$", "$$"), "-", path), 10.0) == 0
    )


async def test_a_path_of_the_spec_is_where_a_host_s_programs_are_looked_for(world: World) -> None:
    world.needs_programs()
    wanted = world.spec(1, ("echo", "found"))
    template = replace(wanted.template, environment=(("PATH", "/nowhere:/usr/bin:/bin"),))
    host = await world.provider.launch(replace(wanted, template=template), world.package)
    await world.ended(host.name)
    assert await world.provider.log_tail(host.name, 1) == "found"
    nowhere = replace(wanted, name=HostName("shop-v001-2"))
    template = replace(wanted.template, environment=(("PATH", "/nowhere"),))
    error = await refusal(world.provider.launch(replace(nowhere, template=template), world.package))
    assert "'echo' is neither in the package nor on the host's PATH (/nowhere)" in str(error)
    assert "set env.PATH" in str(error)


async def test_what_a_host_said_in_the_end_fits_a_row(world: World) -> None:
    world.needs_programs()
    host = await world.launch(1, ("sh", "-c", "printf 'Traceback:\\n  a\\n\\n  b\\n' >&2; exit 3"))
    ended = (await world.ended(host.name)).ended
    assert re.fullmatch(r"exited with code 3 after \d+\.\d s; its log ends: Traceback: \| a \| b", ended)


async def test_where_a_host_s_processes_listen_is_seen(world: World) -> None:
    world.needs_programs()
    assert isinstance(world.provider, ListeningProvider)
    serves = "import socket,time; s=socket.create_server(('127.0.0.1', 18432)); time.sleep(600)"
    host = await world.launch(1, ("/usr/bin/python3", "-c", serves))
    provider: ListeningProvider = world.provider

    async def is_seen() -> bool:
        return await provider.listeners(host.name) == ("127.0.0.1:18432",)

    await until_async(is_seen)
    silent = await world.launch(2)
    assert await provider.listeners(silent.name) == ()


async def test_files_of_a_package_without_times_have_that_of_its_release_and_can_not_be_written(
    world: World,
) -> None:
    world.needs_programs()
    host = await world.launch(1, ("stat", "-c", "%a %Y %n", ".", "page.html"))
    await world.ended(host.name)
    told = await world.provider.log_tail(host.name, 2)
    assert told.splitlines() == [f"555 {RELEASED} .", f"444 {RELEASED} page.html"]


async def test_an_evil_package_is_refused_with_the_words_for_what_it_is(world: World, tmp_path: Path) -> None:
    if not world.runs_programs:
        pytest.skip("nothing is unpacked in its hosts")
    members, words = EVIL["link-absolute"]
    evil = tarball(tmp_path / "evil.tar.gz", plain("first"), *members)
    wanted = replace(world.spec(), digest=sha256_of(evil))
    error = await refusal(world.provider.launch(wanted, evil))
    assert isinstance(error, RefusedError)
    assert re.search(f"the package cannot be unpacked: .*{words}", str(error))
    assert await world.listed() == {}
    assert world.is_clean()


async def test_a_launch_that_fails_leaves_nothing(world: World) -> None:
    if world.sees_inside:
        error = await refusal(world.launch(1, ("no-such-program",)))
        assert isinstance(error, RefusedError)
        assert "'no-such-program'" in str(error)
    await refusal(world.provider.launch(world.spec(2), world.package.with_name("missing")))
    assert await world.listed() == {}
    assert world.is_clean()


async def test_whether_there_is_room_is_said_before(world: World) -> None:
    world.has_room_for(3)
    if not world.tells_quota:
        pytest.skip("its quota shows when it is used up")
    assert await world.provider.room(FindRoom(3)) == ""
    assert "4 more are needed" in await world.provider.room(FindRoom(4))
    await world.launch(1)
    assert await world.provider.room(FindRoom(2)) == ""
    assert "3 more are needed" in await world.provider.room(FindRoom(3))


async def test_hosts_that_have_no_room_are_refused_as_such_and_the_others_are_made(world: World) -> None:
    world.has_room_for(2)
    made = await asyncio.gather(*(world.launch(number) for number in range(3)), return_exceptions=True)
    refused = [each for each in made if isinstance(each, BaseException)]
    assert [type(each) for each in refused] == [OutOfCapacityError], refused
    assert set((await world.listed()).values()) == {each for each in made if isinstance(each, Host)}


async def test_a_launch_that_is_cancelled_anywhere_can_be_repeated_and_makes_one_host(world: World) -> None:
    moments = await waits_of(lambda: world.launch(0))
    await world.provider.destroy(HostName("shop-v001-0"))
    for moment in sorted({1 + moments * part // MOMENTS_MAX for part in range(MOMENTS_MAX)}):
        await cancelled_at(moment, lambda number=moment: world.launch(number))  # type: ignore[misc]
        host = await world.launch(moment)
        assert await world.listed() == {host.name: host}
        await cancelled_at(moment, lambda name=host.name: world.provider.destroy(name))  # type: ignore[misc]
        await world.provider.destroy(host.name)
        assert await world.listed() == {}


async def test_a_command_in_a_host_gives_its_exit_code(world: World) -> None:
    world.needs_inside()
    host = await world.launch()
    assert await world.provider.execute(host.name, ("true",), 10.0) == 0
    assert await world.provider.execute(host.name, ("false",), 10.0) == 1
    with pytest.raises(TimeoutError):
        await world.provider.execute(host.name, RUN_FOR_LONG, 0.05)


async def test_a_command_that_cannot_be_run_is_a_provider_error(world: World) -> None:
    world.needs_inside()
    await refusal(world.provider.execute(HostName("never-was"), ("true",), 1.0))
    host = await world.launch()
    assert "'no-such-program'" in str(
        await refusal(world.provider.execute(host.name, ("no-such-program",), 1.0))
    )


async def test_a_host_that_nobody_changed_is_as_it_was_made(world: World) -> None:
    host = await world.launch()
    assert await world.provider.inspect(host.name) == ""


async def test_a_host_that_somebody_changed_is_found_also_by_the_next_provider(world: World) -> None:
    world.needs_inside()
    host, other = await world.launch(1), await world.launch(2)
    assert await world.provider.inspect(host.name) == ""
    world.tinker(host.name)
    assert await world.provider.inspect(host.name) == "page.html has other content"
    assert await world.provider.inspect(other.name) == ""
    await world.provider.close()
    heir = world.another("ours")
    assert set(await world.listed(heir)) == {host.name, other.name}
    assert await heir.inspect(host.name) == "page.html has other content"


async def test_a_host_that_does_not_run_can_not_be_looked_at(world: World) -> None:
    await refusal(world.provider.inspect(HostName("never-was")))


async def test_the_log_of_a_host_can_be_read_even_after_its_end(world: World) -> None:
    world.needs_inside()
    host = await world.launch(1, ("echo", "hello", "world"))
    await world.ended(host.name)
    assert await world.provider.log_tail(host.name, 10) == "hello world"
    assert await world.provider.log_tail(host.name, 0) == ""
    assert await world.provider.log_tail(HostName("never-was"), 10) == ""


CANARY = f"{os.getpid()}-" + "canary-5ecret$HOME'\"`x`"
"""What a shell, or a substitution, would make something else of."""
SECRETS = (
    HostSecret("TOKEN", CANARY.encode() + b"\nand a line", as_file=False, origin="env X"),
    HostSecret("KEY", CANARY.encode() + b"\0\n", as_file=True, origin="file /x"),
)
CHECK = """\
import os, sys
token, key = (bytes.fromhex(word) for word in sys.argv[1:3])
file = open(sys.argv[3], "rb").read()
is_there = os.environb[b"TOKEN"] == token, file == key, os.environ["KEY_FILE"] == sys.argv[3]
found = *is_there, "KEY" not in os.environ"""
REFERENCES = (
    SecretReference("KEY", "file", "/x", as_file=True),
    SecretReference("TOKEN", "env", "X"),
)


def with_secrets(world: World, *run: str, number: int = 1) -> HostSpec:
    asked = world.spec(number, run)
    return replace(asked, template=replace(asked.template, secrets=REFERENCES))


def in_memory() -> set[Path]:
    """Folders with the secrets of this process's tests: others run beside it."""
    found = (each for top in ("/dev/shm", "/run") for each in Path(top).glob("repave-secrets.*/file/KEY"))
    mine = set()
    for each in found:
        with contextlib.suppress(OSError):
            mine |= {each.parent.parent} if each.read_bytes() == SECRETS[1].value else set()
    return mine


async def test_a_host_finds_its_secrets_in_memory_and_nothing_else_does(world: World, tmp_path: Path) -> None:
    world.needs_programs()
    assert next(each for each in PROVIDERS if each.name == world.provider.name).abilities.takes_secrets
    before = in_memory()
    words = (SECRETS[0].value.hex(), SECRETS[1].value.hex(), "$KEY_FILE")  # in plain they would show it
    serve = f"{CHECK}; print(*found, flush=True); import time; time.sleep(600)"
    asked = with_secrets(world, "/usr/bin/python3", "-c", serve, *words)
    with Words().watched() as said:
        host = await world.provider.launch(asked, world.package, SECRETS)

        async def has_told() -> bool:
            return bool(await world.provider.log_tail(host.name, 5))

        await until_async(has_told)
        told = await world.provider.log_tail(host.name, 5)
        probe = f"{CHECK}; sys.exit(not all(found))"
        assert await world.provider.execute(host.name, ("/usr/bin/python3", "-c", probe, *words), 20.0) == 0
    assert told == "True True True True"
    assert not [each for each in said.seen if b"canary-5ecret" in each]
    (folder,) = in_memory() - before
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in folder.glob("*/*")} == {0o400}
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert not [each for each in files if b"canary-5ecret" in each.read_bytes()]
    await world.provider.close()
    heir = world.another("ours")
    await world.listed(heir)
    await heir.destroy(host.name)
    assert in_memory() == before


async def test_secrets_go_with_a_host_that_ends_by_itself(world: World) -> None:
    world.needs_programs()
    before = in_memory()
    host = await world.provider.launch(with_secrets(world, "true"), world.package, SECRETS)
    await world.ended(host.name)
    await until(lambda: in_memory() == before)


async def test_nothing_is_left_in_memory_of_a_launch_that_fails(world: World) -> None:
    world.needs_programs()
    before = in_memory()
    error = await refusal(world.provider.launch(with_secrets(world, "./not-there"), world.package, SECRETS))
    assert isinstance(error, RefusedError)
    assert "canary" not in str(error)
    await until(lambda: in_memory() == before)
    error = await refusal(
        world.provider.launch(with_secrets(world, "echo", "$TOKEN", number=2), world.package, SECRETS)
    )
    assert "$TOKEN is not set" in str(error)
    await until(lambda: in_memory() == before)


async def test_a_server_of_a_cloud_is_not_made_with_secrets(world: World) -> None:
    kind = next((each for each in PROVIDERS if each.name == world.provider.name), None)
    if kind is None or kind.abilities.takes_secrets:
        pytest.skip("it hands secrets to hosts")
    error = await refusal(world.provider.launch(world.spec(), world.package, SECRETS))
    assert isinstance(error, RefusedError)
    assert str(error).startswith("host.secrets: ")
    assert await world.listed() == {}
