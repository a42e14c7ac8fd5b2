"""Several fronts on a balancer that has one port for each application: what becomes of a move that only some
of them have made, and what is told of hosts that not all of them have."""

from dataclasses import replace

import pytest

from repave_agent.balancers.apart import apart, together
from repave_agent.balancers.by_front import BalancerByFront
from repave_agent.core.ports import (
    Backend,
    BalancerError,
    Closed,
    Counted,
    FallenBack,
    Frontend,
    Route,
    Structure,
    UnfitError,
)
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.values import ApplicationName, GroupName, Split
from tests.fakes.agent.balancer import FakeBalancer, FakeMachine
from tests.fakes.agent.haproxy_rig import backend

SHOP = ApplicationName("shop")
BLUE, GREEN, BASE = GroupName("shop-v001"), GroupName("shop-v002"), GroupName("shop-v003")
TO_BLUE, TO_GREEN = Route(SHOP, BLUE), Route(SHOP, GREEN)
WEB, DB = plain_front(80), TrafficFront("db", 5432, "tcp", to=5433)
FRONTS = (WEB, DB)
TAKES = ("http", "tcp", "several", "to")
TESTERS = Split("request", "", "header", "X-Tester", "yes")


class Halting(FakeBalancer):
    """Of a move or a change the first parts are done, and then it fails, as often as it is told to. `lags`:
    the fronts at which it stands still."""

    lags: tuple[str, ...] = ()

    async def arrange(self, structure: Structure) -> None:
        before = self.machine.structure
        if not self.lags:
            await super().arrange(structure)
            return
        frontends = [each for each in structure.frontends if not self._lags(each.application)]
        frontends += [each for each in before.frontends if self._lags(each.application)]
        backends = [each for each in structure.backends if not self._lags(each.group)]
        backends += [each for each in before.backends if self._lags(each.group)]
        await super().arrange(Structure(tuple(frontends), tuple(backends)))
        raise BalancerError("no answer within 60 s")

    async def route(self, routes: tuple[Route, ...]) -> None:
        if not self.lags:
            await super().route(routes)
            return
        moved = [each for each in routes if not self._lags(each.application)]
        stale = [each for each in self.machine.routes if self._lags(each.application)]
        await super().route((*moved, *stale))
        raise BalancerError("no answer within 15 s")

    def _lags(self, name: str) -> bool:
        return any(f".{front}" in name for front in self.lags) or ("web" in self.lags and "." not in name)


def servers(group: GroupName, *, is_enabled: bool = True) -> Backend:
    return replace(backend(group, 8080, is_enabled=is_enabled), fronts=FRONTS)


def structure(*groups: GroupName) -> Structure:
    return Structure((Frontend(SHOP, 80, fronts=FRONTS),), tuple(map(servers, groups)))


async def started() -> tuple[BalancerByFront, Halting]:
    """Blue has the traffic of both fronts."""
    inner = Halting(FakeMachine(), takes=TAKES)
    made = BalancerByFront(inner)
    await made.start()
    await made.arrange(structure(BLUE, GREEN))
    await made.route((TO_BLUE,))
    return made, inner


def served(inner: Halting) -> dict[str, str]:
    return {each.application: each.first for each in inner.machine.routes}


async def test_each_front_has_a_pool_of_its_own_with_its_port() -> None:
    _, inner = await started()
    there = inner.machine.structure
    assert [(each.application, each.port) for each in there.frontends] == [("shop", 80), ("shop.db", 5432)]
    assert {each.group: each.servers[0].port for each in there.backends} == {
        "shop-v001": 8080,
        "shop.db-v001": 5433,
        "shop-v002": 8080,
        "shop.db-v002": 5433,
    }
    probes = {str(each.group): (each.probe.kind, each.probe.port) for each in there.backends}
    assert (probes["shop-v001"], probes["shop.db-v001"]) == (("http", 80), ("tcp", 5433))


@pytest.mark.parametrize("lagging", ["web", "db"])
async def test_a_move_that_one_front_has_not_made_is_not_made_and_is_made_again(lagging: str) -> None:
    made, inner = await started()
    inner.lags = (lagging,)
    with pytest.raises(BalancerError, match="no answer"):
        await made.route((TO_GREEN,))
    assert sorted(served(inner).values()) in (["shop-v001", "shop.db-v002"], ["shop-v002", "shop.db-v001"])
    assert (await made.observe()).routes == ()
    inner.lags = ()
    await made.route((TO_GREEN,))
    assert served(inner) == {"shop": "shop-v002", "shop.db": "shop.db-v002"}
    assert (await made.observe()).routes == (TO_GREEN,)


@pytest.mark.parametrize("lagging", ["web", "db"])
async def test_a_move_that_only_one_front_has_made_can_be_taken_back(lagging: str) -> None:
    made, inner = await started()
    inner.lags = (lagging,)
    with pytest.raises(BalancerError):
        await made.route((Route(SHOP, BLUE, GREEN, 5_000),))
    inner.lags = ()
    await made.route((TO_BLUE,))
    assert (await made.observe()).routes == (TO_BLUE,)


@pytest.mark.parametrize("lagging", ["web", "db"])
async def test_a_host_counts_as_enabled_until_every_front_has_let_it_go(lagging: str) -> None:
    made, inner = await started()
    gone = replace(structure(BLUE, GREEN), backends=(servers(BLUE), servers(GREEN, is_enabled=False)))
    inner.lags = (lagging,)
    with pytest.raises(BalancerError):
        await made.arrange(gone)
    there = (await made.observe()).structure
    assert there != gone
    green = there.backend(GREEN)
    assert green is not None
    assert [each.is_enabled for each in green.servers] == [True]
    inner.lags = ()
    await made.arrange(gone)
    assert (await made.observe()).structure == gone


@pytest.mark.parametrize("wanted", [Structure(), structure(BLUE)], ids=["application", "group"])
async def test_a_front_that_is_left_of_what_has_gone_is_still_to_go(wanted: Structure) -> None:
    made, inner = await started()
    if not wanted.backends:
        await made.route(())
    inner.lags = ("db",)
    with pytest.raises(BalancerError, match="no answer"):
        await made.arrange(wanted)
    there = (await made.observe()).structure
    assert there != wanted
    assert there.backend(GroupName("shop.db-v002")) is not None
    inner.lags = ()
    await made.arrange(wanted)
    assert (await made.observe()).structure == wanted
    assert inner.machine.structure == apart(wanted)


async def test_a_group_is_up_as_far_as_its_front_with_the_fewest_hosts() -> None:
    made, inner = await started()
    inner.machine.in_flight.update({BLUE: 2, GroupName("shop.db-v001"): 3})
    inner.machine.counted = {BLUE: Counted(9, 1, 0.1), GroupName("shop.db-v001"): Counted(1, 0, 0.2)}
    blue = (await made.observe()).backend(BLUE)
    assert blue is not None
    assert (blue.servers_up, blue.in_flight) == (1, 5)
    assert blue.counted == Counted(10, 1, (9 * 0.1 + 0.2) / 10)
    there = inner.machine.structure
    emptied = [replace(each, servers=()) for each in there.backends if "db-v001" in each.group]
    others = [each for each in there.backends if "db-v001" not in each.group]
    inner.machine.structure = replace(there, backends=(*others, *emptied))
    blue = (await made.observe()).backend(BLUE)
    assert blue is not None
    assert blue.servers_up == 0
    inner.machine.structure = replace(there, backends=tuple(others))
    inner.machine.routes = ()
    blue = (await made.observe()).backend(BLUE)
    assert blue is not None
    assert blue.servers_up == 0, "its pool of db was deleted"


async def test_what_one_front_is_refused_is_told_of_its_application() -> None:
    inner = Halting(FakeMachine(taken_ports={5432}), takes=TAKES)
    made = BalancerByFront(inner)
    await made.start()
    with pytest.raises(UnfitError) as refused:
        await made.arrange(structure(BLUE))
    assert refused.value.frontends == {"shop": "front db: port 5432 is taken"}
    assert (await made.way_in(Frontend(SHOP, 80, fronts=FRONTS))).lack == "port 5432 is taken"
    assert (await made.way_in(Frontend(SHOP, 80))).lack == ""
    sticky = (replace(WEB, sticky="cookie"), DB)
    assert "has no clients that stay" in (await made.way_in(Frontend(SHOP, 80, fronts=sticky))).lack


async def test_testers_and_baselines_are_those_of_every_front_that_can_tell_them() -> None:
    machine = FakeMachine()
    made = BalancerByFront(FakeBalancer(machine, takes=TAKES))
    await made.start()
    fronts = (WEB, TrafficFront("admin", 81), DB)
    backends = tuple(replace(servers(group), fronts=fronts) for group in (BLUE, GREEN, BASE))
    await made.arrange(Structure((Frontend(SHOP, 80, TESTERS, fronts=fronts),), backends))
    route = Route(SHOP, BLUE, GREEN, 2_000, testers=GREEN, baseline=BASE, baseline_bp=2_000)
    await made.route((route,))
    assert (await made.observe()).routes == (route,)
    told = {each.application: (each.testers, each.baseline, each.second_bp) for each in machine.routes}
    assert told == {
        "shop": ("shop-v002", "shop-v003", 2_000),
        "shop.admin": ("shop.admin-v002", "shop.admin-v003", 2_000),
        "shop.db": (None, "shop.db-v003", 2_000),
    }


async def test_what_fronts_tell_is_told_of_the_application() -> None:
    made, inner = await started()
    look = inner.observe

    async def observe() -> object:
        told = (
            FallenBack(SHOP, GREEN, BLUE, 2),
            FallenBack(ApplicationName("shop.db"), GroupName("shop.db-v002"), GroupName("shop.db-v001"), 3),
        )
        closed = (Closed(BLUE, 1), Closed(GroupName("shop.db-v001"), 4))
        return replace(await look(), fallen_back=told, closed=closed)

    inner.observe = observe  # type: ignore[method-assign,assignment]
    view = await made.observe()
    assert view.fallen_back == (FallenBack(SHOP, GREEN, BLUE, 5),)
    assert view.closed == (Closed(BLUE, 5),)


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked", "adopted"])
def test_what_was_taken_apart_is_put_together(is_asked: bool) -> None:
    plain = Structure((Frontend(ApplicationName("blog"), 81),), (backend("blog-v001", 8080),))
    whole = structure(BLUE, GREEN)
    both = Structure((*plain.frontends, *whole.frontends), (*plain.backends, *whole.backends))
    assert together(apart(both), (both,) if is_asked else ()) == both
    assert apart(plain) == plain
