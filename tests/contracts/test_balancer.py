"""What every balancer promises to the agent: the fake one, the HAProxy that repave runs, one that an operator
runs, a pair of these, and Octavia's API as tests/fakes/octavia.py and (make test-rigs) the real one speak it.
"""

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.balancers import octavia
from repave_agent.balancers.octavia import OctaviaBalancer
from repave_agent.openstack_api import Api
from repave_agent.openstack_cloud import Cloud
from repave_agent.ports import Backend, Balancer, BalancerError, Frontend, Route, Structure
from repave_protos.values import ApplicationName, GroupName, Split
from tests.fakes.balancer import FakeBalancer, FakeMachine
from tests.fakes.haproxy_rig import HaproxyRig, backend, free_port, frontend, get, haproxy_rig, needs_haproxy
from tests.fakes.many_requests import ask_all
from tests.fakes.octavia import FakeOctavia
from tests.fakes.openstack import FakeOpenstack, served
from tests.fakes.operators_haproxy import ObligingBalancer, OperatorsHaproxy
from tests.fakes.waiting import until_async
from tests.rigs import load_balancer, rig_cloud, why_no_openstack

SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
TO_BLUE, TO_GREEN = Route(SHOP, BLUE), Route(SHOP, GREEN)


class Rig(ABC):
    """The world around a balancer."""

    precision_bp = 1
    tells_users_apart = True
    """Whether requests can be split by a cookie or header."""
    sees_requests = True
    """Whether it sends requests somewhere, and counts those of each group."""

    @abstractmethod
    def balancer(self) -> Balancer: ...

    @abstractmethod
    async def backend(self, group: str, is_enabled: bool = True) -> Backend: ...

    @abstractmethod
    async def begin_request(self, frontend: Frontend, group: GroupName) -> None: ...

    @abstractmethod
    async def end_requests(self) -> None: ...

    @abstractmethod
    async def sides(self, frontend: Frontend, headers: list[str]) -> list[str]:
        """Which group answers each request with such a header line."""

    def needs_users_apart(self) -> None:
        if not self.tells_users_apart:
            pytest.skip("this balancer can't split by a cookie or header, and says so")

    def needs_requests(self) -> None:
        if not self.sees_requests:
            pytest.skip("nothing counts the requests of each group here")


class FakeRig(Rig):
    """The world around fake balancers."""

    def __init__(self) -> None:
        self.machine = FakeMachine()

    def balancer(self) -> Balancer:
        return FakeBalancer(self.machine)

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


class RealRig(Rig):
    """The world around HAProxy: one application process per group."""

    def __init__(self, rig: HaproxyRig) -> None:
        self._rig = rig
        self._requests: list[asyncio.Task[str]] = []

    def balancer(self) -> Balancer:
        return self._rig.balancer()

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

    def __init__(self, rig: HaproxyRig, addresses: tuple[str, ...]) -> None:
        super().__init__(rig)
        self._made: list[ObligingBalancer] = []
        self._sides = [OperatorsHaproxy(rig.directory / address, address) for address in addresses]

    def balancer(self) -> Balancer:
        sockets, directory = [str(side.socket) for side in self._sides], self._rig.directory / "agent"
        made = ObligingBalancer(directory, sockets, str(self._sides[0].map), "127.0.0.1", "here")
        made.operators = self._sides
        self._made.append(made)
        return made

    async def end(self) -> None:
        for balancer in self._made:
            await balancer.close()
        for side in self._sides:
            side.kill()


class OctaviaRig(Rig):
    """The world around a load balancer of Octavia. `octavia` is None where the real API answers."""

    precision_bp, tells_users_apart, sees_requests = 100, False, False

    def __init__(self, directory: Path, cloud: Cloud, name: str, octavia: FakeOctavia | None) -> None:
        self._directory, self._cloud, self._name, self._octavia = directory, cloud, name, octavia
        self._made: list[OctaviaBalancer] = []
        self._numbers = itertools.count(1)

    def balancer(self) -> Balancer:
        self._made.append(OctaviaBalancer(self._directory, Api(self._cloud), self._name, "here"))
        return self._made[-1]

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


@asynccontextmanager
async def octavia_rig(directory: Path, *, is_real: bool) -> AsyncIterator[OctaviaRig]:
    async with AsyncExitStack() as opened:
        if is_real:
            cloud, name, octavia = rig_cloud(), await opened.enter_async_context(load_balancer()), None
        else:
            fake = await opened.enter_async_context(served(FakeOpenstack()))
            cloud, octavia, name = fake.cloud(), fake.octavia, "front"
            octavia.add(name)
        made = OctaviaRig(directory, cloud, name, octavia)
        yield made
        await made.end()


KINDS = [
    "fake",
    "octavia",
    pytest.param("octavia-real", marks=pytest.mark.rig),
    *(pytest.param(kind, marks=needs_haproxy) for kind in ("haproxy", "operators", "pair")),
]


@pytest.fixture(params=KINDS)
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    if request.param == "fake":
        yield FakeRig()
        return
    if request.param.startswith("octavia"):
        is_real = request.param == "octavia-real"
        if is_real and (reason := why_no_openstack()):
            pytest.skip(reason)
        monkeypatch.setattr(octavia, "LOOK_SECONDS", 0.2 if is_real else 0.001)
        async with octavia_rig(tmp_path / "octavia", is_real=is_real) as made:
            yield made
        return
    async with haproxy_rig() as real:
        if request.param == "haproxy":
            yield RealRig(real)
            return
        addresses = ("127.0.0.1", "127.0.0.2")
        operators = OperatorsRig(real, addresses[:1] if request.param == "operators" else addresses)
        try:
            yield operators
        finally:
            await operators.end()


@pytest.fixture
def shop() -> Frontend:
    return frontend("shop", free_port())


async def test_a_balancer_that_was_told_nothing_shows_nothing(rig: Rig) -> None:
    balancer = rig.balancer()
    await balancer.start()
    view = await balancer.observe()
    assert view.is_running
    assert (view.structure, view.routes, view.backends, view.restarts) == (Structure(), (), (), 0)


async def test_what_is_arranged_and_routed_is_read_back(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN)))
    await balancer.arrange(wanted)
    split = Route(SHOP, BLUE, GREEN, 500)
    await balancer.route((split,))
    view = await balancer.observe()
    assert view.structure == wanted
    assert view.route(SHOP) == split
    assert view.backend(BLUE) is not None


async def test_only_enabled_servers_count_as_up(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    waiting = await rig.backend(BLUE, is_enabled=False)
    await balancer.arrange(Structure((shop,), (waiting,)))
    assert await _servers_up(balancer) == 0
    ready = replace(waiting, servers=tuple(replace(each, is_enabled=True) for each in waiting.servers))
    await balancer.arrange(Structure((shop,), (ready,)))
    await until_async(lambda: _servers_up(balancer))
    assert (await balancer.observe()).structure == Structure((shop,), (ready,))
    await balancer.arrange(Structure((shop,), (waiting,)))
    assert await _servers_up(balancer) == 0


async def test_a_route_to_what_is_not_arranged_is_refused_and_changes_nothing(
    rig: Rig, shop: Frontend
) -> None:
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE),)))
    await balancer.route((TO_BLUE,))
    for refused in (TO_GREEN, Route(SHOP, BLUE, GREEN, 1)):
        with pytest.raises(BalancerError, match=GREEN):
            await balancer.route((refused,))
    assert (await balancer.observe()).routes == (TO_BLUE,)


async def test_a_backend_that_takes_traffic_cannot_be_removed(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    wanted = Structure((shop,), (await rig.backend(BLUE),))
    await balancer.arrange(wanted)
    await balancer.route((TO_BLUE,))
    with pytest.raises(BalancerError, match=BLUE):
        await balancer.arrange(Structure((shop,), ()))
    assert (await balancer.observe()).structure == wanted


async def test_it_says_how_exactly_it_splits(rig: Rig) -> None:
    assert rig.balancer().traffic_precision_bp == rig.precision_bp


@pytest.mark.parametrize("split", [Split("cookie", "uid"), Split("header", "uid")], ids=lambda each: each.by)
async def test_users_stay_on_their_side_while_a_share_grows(rig: Rig, shop: Frontend, split: Split) -> None:
    rig.needs_users_apart()
    balancer = rig.balancer()
    await balancer.start()
    shop = replace(shop, split=split)
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN))))
    users = [f"Cookie: uid={user}" if split.by == "cookie" else f"uid: {user}" for user in range(100)]
    before: list[str] = [BLUE] * 100
    for share_bp, sides in [(0, {BLUE}), (2_500, {BLUE, GREEN}), (7_500, {BLUE, GREEN}), (10_000, {GREEN})]:
        await balancer.route((Route(SHOP, BLUE, GREEN, share_bp),))
        after = await rig.sides(shop, users)
        assert all(new in (old, GREEN) for old, new in zip(before, after, strict=True))
        assert set(after) == sides
        before = after


async def test_testers_reach_their_group_whatever_the_weights(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    shop = replace(shop, split=Split("request", "", "header", "X-Tester", "yes"))
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN)))
    await balancer.arrange(wanted)
    route = Route(SHOP, BLUE, testers=GREEN)
    await balancer.route((route,))
    view = await balancer.observe()
    assert (view.structure, view.routes) == (wanted, (route,))
    assert await rig.sides(shop, ["X-Tester: yes", "X-Tester: no", ""] * 5) == [GREEN, BLUE, BLUE] * 5
    with pytest.raises(BalancerError, match=GREEN):
        await balancer.arrange(Structure((shop,), wanted.backends[:1]))
    await balancer.route((TO_BLUE,))
    assert set(await rig.sides(shop, ["X-Tester: yes"] * 5)) == {BLUE}


async def test_testers_need_a_group_that_is_arranged_and_a_mark(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE),)))
    await balancer.route((TO_BLUE,))
    with pytest.raises(BalancerError, match=GREEN):
        await balancer.route((Route(SHOP, BLUE, testers=GREEN),))
    with pytest.raises(BalancerError, match="nothing says who is a tester"):
        await balancer.route((Route(SHOP, BLUE, testers=BLUE),))
    assert (await balancer.observe()).routes == (TO_BLUE,)


async def test_routes_and_structures_are_whole_states(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    blog = frontend("blog", free_port())
    shop_backend, blog_backend = await rig.backend(BLUE), await rig.backend("blog-v001")
    to_blog = Route(blog.application, blog_backend.group)
    await balancer.arrange(Structure((shop, blog), (shop_backend, blog_backend)))
    await balancer.route((TO_BLUE, to_blog))
    assert set((await balancer.observe()).routes) == {TO_BLUE, to_blog}
    await balancer.route((TO_BLUE,))
    assert (await balancer.observe()).routes == (TO_BLUE,)
    await balancer.arrange(Structure((shop,), (shop_backend,)))
    assert (await balancer.observe()).structure == Structure((shop,), (shop_backend,))


async def test_a_second_agent_adopts_what_runs(rig: Rig, shop: Frontend) -> None:
    first = rig.balancer()
    await first.start()
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN, is_enabled=False)))
    await first.arrange(wanted)
    await first.route((TO_BLUE,))
    await first.close()
    second = rig.balancer()
    await second.start()
    view = await second.observe()
    assert (view.structure, view.routes, view.restarts) == (wanted, (TO_BLUE,), 0)


async def test_requests_in_flight_are_counted_until_they_end(rig: Rig, shop: Frontend) -> None:
    rig.needs_requests()
    balancer = rig.balancer()
    await balancer.start()
    blue, green = await rig.backend(BLUE), await rig.backend(GREEN)
    await balancer.arrange(Structure((shop,), (blue,)))
    await balancer.route((TO_BLUE,))
    for _ in range(3):
        await rig.begin_request(shop, BLUE)
    await until_async(lambda: _has_in_flight(balancer, BLUE, 3))
    await balancer.arrange(Structure((shop,), (blue, green)))  # after it an old worker has them
    await balancer.route((TO_GREEN,))
    assert await _has_in_flight(balancer, BLUE, 3)
    assert await _has_in_flight(balancer, GREEN, 0)
    await rig.end_requests()
    await until_async(lambda: _has_in_flight(balancer, BLUE, 0))


async def _servers_up(balancer: Balancer) -> int:
    return sum(each.servers_up for each in (await balancer.observe()).backends)


async def _has_in_flight(balancer: Balancer, group: GroupName, count: int) -> bool:
    view = (await balancer.observe()).backend(group)
    return view is not None and view.in_flight == count
