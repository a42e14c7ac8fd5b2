"""The worlds in which tests/contracts/test_balancer.py asks every balancer for its promises."""

import asyncio
import itertools
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.balancers import azure_lb, haproxy, haproxy_runtime, octavia
from repave_agent.balancers.apart import owner_of_group
from repave_agent.balancers.azure_lb.balancer import AzureBalancer
from repave_agent.balancers.azure_lb.load_balancer import AzureLoadBalancer
from repave_agent.balancers.by_front import BalancerByFront
from repave_agent.balancers.cloud.balancer import CloudBalancer
from repave_agent.balancers.octavia.load_balancer import OctaviaLoadBalancer
from repave_agent.balancers.octavia.model import NO_TLS, Tls
from repave_agent.clients.openstack.api import Api
from repave_agent.clients.openstack.login import Cloud
from repave_agent.clock import SystemClock
from repave_agent.core.ports import Backend, Balancer, Clock, Frontend
from repave_protos.protocol.capabilities import BalancerAbilities
from repave_protos.protocol.values import GroupName
from tests.contracts.alb_worlds import AlbRig, StandInAlbRig
from tests.contracts.balancer_rig import Rig
from tests.contracts.google_worlds import google_rig
from tests.fakes.agent.balancer import FakeBalancer, FakeMachine
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, get, haproxy_rig, needs_haproxy
from tests.fakes.agent.operators_haproxy import ObligingBalancer, OperatorsHaproxy
from tests.fakes.clock import FastClock, QuickClock
from tests.fakes.clouds.octavia import FakeOctavia
from tests.fakes.clouds.openstack import FakeOpenstack, served
from tests.fakes.many_requests import ask_all
from tests.fakes.web import Web
from tests.support.azure_front import STRANGER, STRANGERS_PORT, AzureFront
from tests.support.clouds import QUICK
from tests.support.ports import free_port
from tests.support.rigs import (
    CloudRig,
    cloud_rig,
    load_balancer,
    rig_cloud,
    why_no_cloud,
    why_no_openstack,
    why_no_rigs,
)


class FakeRig(Rig):
    """The world around fake balancers."""

    abilities = BalancerAbilities(counts_requests=True, takes_baselines=True)

    def __init__(self) -> None:
        self.machine = FakeMachine()

    def balancer(self) -> Balancer:
        return FakeBalancer(self.machine)

    def rival(self) -> Balancer:
        return FakeBalancer(self.machine, owner="rival")

    async def restart(self) -> None:
        self.machine.die()

    @contextmanager
    def taken_port(self) -> Iterator[int]:
        self.machine.taken_ports.add(81)
        yield 81
        self.machine.taken_ports.clear()

    async def backend(self, group: str, is_enabled: bool = True) -> Backend:
        return backend(group, 1, is_enabled=is_enabled)

    async def begin_request(self, _: Frontend, group: GroupName) -> None:
        self.machine.in_flight[group] += 1

    async def end_requests(self) -> None:
        self.machine.in_flight.clear()

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        pairs = (header.partition(": ") for header in headers)
        asked = (self.machine.served_by(frontend.application, {name: value}) for name, _, value in pairs)
        return [group or "" for group in asked]


class FrontsRig(FakeRig):
    """The same, where each front of an application has a pool of its own."""

    abilities = replace(FakeRig.abilities, fronts=("http", "tcp", "several", "to"))

    def balancer(self, owner: str = "agent") -> Balancer:
        return BalancerByFront(FakeBalancer(self.machine, owner=owner, takes=self.abilities.fronts))

    def rival(self) -> Balancer:
        return self.balancer("rival")

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        there = self.machine.structure.frontends
        at_port = next(each for each in there if each.port == frontend.port)
        return [owner_of_group(GroupName(each))[0] for each in await super().sides(at_port, headers)]


class RealRig(Rig):
    """The world around HAProxy: one application process per group."""

    abilities = haproxy.ABILITIES

    def __init__(self, rig: HaproxyRig) -> None:
        self._rig = rig
        self._requests: list[asyncio.Task[str]] = []

    def balancer(self) -> Balancer:
        return self._rig.balancer()

    def rival(self) -> Balancer:
        return self._rig.balancer("rival")

    @contextmanager
    def taken_port(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as other:
            yield int(other.getsockname()[1])

    async def restart(self) -> None:
        os.kill(self._rig.balancers[0]._sides[0].instance.process.socket.workers().master, signal.SIGKILL)

    async def backend(self, group: str, is_enabled: bool = True) -> Backend:
        return backend(group, (await self._rig.web(group)).port, is_enabled=is_enabled)

    async def begin_request(self, frontend: Frontend, group: GroupName) -> None:
        self._requests.append(asyncio.create_task(get(frontend.port, "/slow")))

    async def end_requests(self) -> None:
        for web in self._rig.webs:
            web.release()
        assert all(await asyncio.gather(*self._requests)), "a request in flight was lost"

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        return await ask_all(frontend.port, headers)


class OperatorsRig(RealRig):
    """The world around an HAProxy, or a pair of them, that an operator runs."""

    def __init__(self, rig: HaproxyRig, addresses: tuple[str, ...], *, has_map: bool) -> None:
        super().__init__(rig)
        self.abilities = haproxy_runtime.WITH_MAP if has_map else haproxy_runtime.BY_WEIGHTS
        self._made: list[BalancerByFront] = []
        self._sides = [
            OperatorsHaproxy(rig.directory / address, address, has_map=has_map) for address in addresses
        ]

    def balancer(self, agent: str = "agent") -> Balancer:
        sockets, directory = [str(side.socket) for side in self._sides], self._rig.directory / agent
        mapped = str(self._sides[0].map) if self._sides[0].has_map else ""
        made = ObligingBalancer(directory, sockets, mapped, "127.0.0.1", "here")
        made.operators = self._sides
        self._made.append(BalancerByFront(made))
        return self._made[-1]

    def rival(self) -> Balancer:
        return self.balancer("rival")

    @contextmanager
    def taken_port(self) -> Iterator[int]:
        """One at which the operators let nothing in."""
        for side in self._sides:
            side.is_stubborn = True
        yield free_port()
        for side in self._sides:
            side.is_stubborn = False

    async def restart(self) -> None:
        for side in self._sides:
            side.reload()

    async def end(self) -> None:
        for balancer in self._made:
            await balancer.close()
        for side in self._sides:
            side.kill()


class OctaviaRig(Rig):
    """The world around a load balancer of Octavia. `fake` is None where the real API answers."""

    abilities, sees_requests = octavia.ABILITIES, False

    def __init__(
        self, directory: Path, cloud: Cloud, name: str, fake: FakeOctavia | None, tls: Mapping[int, Tls]
    ) -> None:
        self._tls = tls
        self._directory, self._cloud, self._name, self._octavia = directory, cloud, name, fake
        self._made: list[BalancerByFront] = []
        self._numbers = itertools.count(1)
        self._clock: Clock = SystemClock() if fake is None else QuickClock()

    def balancer(self, agent: str = "agent") -> Balancer:
        there = OctaviaLoadBalancer(
            Api(self._cloud, self._clock), self._name, clock=self._clock, tls=self._tls
        )
        takes = self.abilities.fronts
        inner: CloudBalancer[Any, Any] = CloudBalancer(
            self._directory / agent, there, "here", clock=self._clock, takes=takes
        )
        self._made.append(BalancerByFront(inner))
        return self._made[-1]

    def rival(self) -> Balancer:
        return self.balancer("rival")

    @contextmanager
    def taken_port(self) -> Iterator[int]:
        if self._octavia is None:
            pytest.skip("a stranger's listener would stay there")
        stranger = self._octavia.add_listener(81)
        yield 81
        stranger()

    async def restart(self) -> None:
        if self._octavia is None:
            pytest.skip("the rig's amphorae do not exist: they can't be restarted")
        self._octavia.forget_all()

    async def backend(self, group: str, is_enabled: bool = True) -> Backend:
        found = backend(group, 8080, is_enabled=is_enabled)
        address = f"10.77.9.{next(self._numbers)}"
        return replace(found, servers=tuple(replace(each, address=address) for each in found.servers))

    async def begin_request(self, frontend: Frontend, group: GroupName) -> None:
        raise AssertionError("nothing counts requests here")

    async def end_requests(self) -> None: ...

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        if self._octavia is None:
            pytest.skip("the rig's amphorae do not exist: nothing is balanced")
        pairs = (header.partition(": ") for header in headers)
        hosts = [self._octavia.ask(frontend.port, {name: value}) for name, _, value in pairs]
        return [host.rpartition("-")[0] for host in hosts]

    async def end(self) -> None:
        for balancer in self._made:
            await balancer.close()


class AzureRig(Rig):
    """The world around a load balancer of the stand-in for Azure, which carries real requests."""

    abilities, sees_requests, reaches_ipv6 = azure_lb.ABILITIES, False, False

    def __init__(self, directory: Path, front: AzureFront) -> None:
        self._directory, self._front = directory, front
        self._made: list[BalancerByFront] = []
        self._webs: list[Web] = []

    def balancer(self, agent: str = "agent") -> Balancer:
        clock = FastClock(5.0)
        there = AzureLoadBalancer(self._front.resources(clock), self._front.name, clock=clock)
        takes = self.abilities.fronts
        inner = AzureBalancer(self._directory / agent, there, "here", clock=clock, takes=takes)
        self._made.append(BalancerByFront(inner))
        return self._made[-1]

    def rival(self) -> Balancer:
        return self.balancer("rival")

    @contextmanager
    def taken_port(self) -> Iterator[int]:
        _meanwhile(self._front.add_rule())
        yield STRANGERS_PORT
        _meanwhile(self._front.remove_rule(STRANGER["name"]))

    async def restart(self) -> None:
        await self._front.delete()
        await self._front.make()

    async def backend(self, group: str, is_enabled: bool = True) -> Backend:
        """At an address of the network, which on this machine is one of loopback."""
        inside = f"{AZURE_NET}.9.{len(self._webs) + 1}"
        web = Web(group, (f"127.{inside}",))
        await web.start()
        self._webs.append(web)
        found = backend(group, web.port, is_enabled=is_enabled)
        return replace(found, servers=tuple(replace(each, address=f"10.{inside}") for each in found.servers))

    async def begin_request(self, frontend: Frontend, group: GroupName) -> None:
        raise AssertionError("nothing counts requests here")

    async def end_requests(self) -> None: ...

    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        return await ask_all(frontend.port, headers, self._front.loopback)

    async def end(self) -> None:
        for balancer in self._made:
            await balancer.close()
        for web in self._webs:
            await web.stop()


def _meanwhile(doing: Coroutine[Any, Any, None]) -> None:
    """Done by somebody else, while this process waits."""
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, doing).result()


@pytest.fixture(scope="session")
def azure() -> Iterator[CloudRig]:
    """The stand-in, for all tests of a process."""
    if reason := why_no_cloud("azure"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("azure", Path(directory), AZURE_NET) as made:
        yield made


@asynccontextmanager
async def octavia_rig(
    directory: Path, *, is_real: bool, tls: Mapping[int, Tls] = NO_TLS
) -> AsyncIterator[OctaviaRig]:
    async with AsyncExitStack() as opened:
        if is_real:
            cloud, name, balancers = rig_cloud(), await opened.enter_async_context(load_balancer()), None
        else:
            fake = await opened.enter_async_context(served(FakeOpenstack()))
            cloud, balancers, name = fake.cloud(), fake.octavia, "front"
            balancers.add(name)
            balancers.certificates = {each.default for each in tls.values()}
        made = OctaviaRig(directory, cloud, name, balancers, tls)
        yield made
        await made.end()


AZURE_NET = 112
TLS_EVERYWHERE = dict.fromkeys(range(1, 65_536), Tls("https://barbican/v1/secrets/one"))
KINDS = [
    "fake",
    "fake-by-front",
    "octavia",
    "octavia-tls",
    "aws_alb",
    pytest.param("aws_alb-real", marks=pytest.mark.rig),
    pytest.param("azure", marks=pytest.mark.rig),
    pytest.param("gcp_lb", marks=pytest.mark.rig),
    pytest.param("octavia-real", marks=pytest.mark.rig),
    *(pytest.param(kind, marks=needs_haproxy) for kind in ("haproxy", "operators", "pair", "weights")),
]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudRig]:
    if reason := why_no_cloud("aws"):
        pytest.skip(reason)
    with cloud_rig("aws", tmp_path_factory.mktemp("aws"), 113) as made:
        yield made


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudRig]:
    if reason := why_no_rigs() or why_no_cloud("gcp"):
        pytest.skip(reason)
    with cloud_rig("gcp", tmp_path_factory.mktemp("google"), 114) as made:
        yield made


@pytest.fixture(params=KINDS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    if request.param in ("fake", "fake-by-front"):
        yield FakeRig() if request.param == "fake" else FrontsRig()
        return
    if request.param == "aws_alb":
        yield AlbRig(tmp_path / "alb")
        return
    if request.param == "aws_alb-real":
        stand_in = StandInAlbRig(tmp_path / "alb", request.getfixturevalue("aws"))
        async with stand_in.opened():
            yield stand_in
        return
    if request.param == "gcp_lb":
        async with google_rig(tmp_path / "gcp_lb", request.getfixturevalue("google")) as world:
            yield world
        return
    if request.param.startswith("octavia"):
        is_real = request.param == "octavia-real"
        if is_real and (reason := why_no_openstack()):
            pytest.skip(reason)
        tls = TLS_EVERYWHERE if request.param == "octavia-tls" else NO_TLS
        async with octavia_rig(tmp_path / "octavia", is_real=is_real, tls=tls) as made:
            yield made
        return
    if request.param == "azure":
        stand_in = request.getfixturevalue("azure")
        stand_in.reset(**QUICK)
        front = AzureFront(stand_in)
        await front.make()
        azure_rig = AzureRig(tmp_path / "azure", front)
        yield azure_rig
        await azure_rig.end()
        assert stand_in.state()["violations"] == [], "Azure's own description allows no such call"
        return
    async with haproxy_rig() as real:
        if request.param == "haproxy":
            yield RealRig(real)
            return
        addresses = ("127.0.0.1", "127.0.0.2")
        operators = OperatorsRig(
            real, addresses if request.param == "pair" else addresses[:1], has_map=request.param != "weights"
        )
        try:
            yield operators
        finally:
            await operators.end()
