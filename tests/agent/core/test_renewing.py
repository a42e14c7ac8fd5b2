"""The promises about replacing worn hosts: a fresh one first, and never fewer hosts than the group has for
the sake of it. Whole replacements are played here, in any order that the world may choose."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from repave_agent.core.observation import GroupFact, HostFact, Limits, Observation
from repave_agent.core.ports import Backend, BackendView, BalancerView, Frontend, Route, Structure
from repave_agent.core.reconcile import Arrange, Destroy, Launch, Plan, reconcile
from repave_agent.core.traffic import enabled
from repave_protos.protocol.values import FULL_WEIGHT_BP, DesiredGroup, DesiredState, HostName, HostPhase
from tests.fakes.agent.region_values import (
    BLUE,
    PORT,
    SERVED,
    SHOP,
    a_backend,
    a_group,
    a_host,
    a_state,
    a_view,
    seen,
    some_hosts,
)

LIMITS = Limits(launches_in_flight=3, destroys_in_flight=4)


def serving(count: int, *replaced: int) -> DesiredGroup:
    names = tuple(HostName(f"{BLUE}-{number}") for number in replaced)
    return a_group(BLUE, count=count, weight_bp=FULL_WEIGHT_BP, replace=names)


def planned(group: DesiredGroup, hosts: tuple[HostFact, ...], view: BalancerView, now: float = 100.0) -> Plan:
    return reconcile(seen(a_state(group), hosts, view, now=now, blue=SERVED), LIMITS)


def destroyed(plan: Plan) -> list[str]:
    return [action.host for action in plan.actions if isinstance(action, Destroy)]


def launches(plan: Plan) -> int:
    return sum(action.count for action in plan.actions if isinstance(action, Launch))


# --------------------------------------------------------------------------------------- single decisions


def test_a_replaced_host_gets_a_fresh_one_beside_it_and_goes_on_serving() -> None:
    group, hosts = serving(3, 2), some_hosts(3)
    view = a_view(a_backend(hosts), to=BLUE)
    assert planned(group, hosts, view).actions == (Launch(group, a_state(group), 1),)
    with_fresh = (*hosts, a_host(4, HostPhase.HEALTHY))
    assert launches(planned(group, with_fresh, view)) == 0
    assert enabled(group, seen(a_state(group), with_fresh, view)) == {host.name for host in hosts}


def test_it_leaves_traffic_once_the_balancer_sees_enough_others_up() -> None:
    group, hosts = serving(3, 2), some_hosts(4)
    three_up = a_view(a_backend(hosts), to=BLUE, up=3)
    assert f"{BLUE}-2" in enabled(group, seen(a_state(group), hosts, three_up))
    four_up = a_view(a_backend(hosts), to=BLUE, up=4)
    assert enabled(group, seen(a_state(group), hosts, four_up)) == {f"{BLUE}-{each}" for each in (1, 3, 4)}
    away = a_view(a_backend(hosts, 1, 3, 4), to=BLUE)
    assert f"{BLUE}-2" not in enabled(group, seen(a_state(group), hosts, away))


def test_it_is_ended_once_it_has_finished_its_requests() -> None:
    group = serving(3, 2)
    hosts = (a_host(1), replace(a_host(2), idle_since=95.0), a_host(3), a_host(4))
    busy = a_view(a_backend(hosts, 1, 3, 4), to=BLUE, in_flight=1)
    assert destroyed(planned(group, hosts, busy, now=104.9)) == []
    assert planned(group, hosts, busy, now=104.9).wake_at == 105.0
    assert destroyed(planned(group, hosts, busy, now=105.0)) == ["shop-v001-2"]


def test_it_comes_back_when_another_one_falls_ill_meanwhile() -> None:
    group = serving(3, 2)
    hosts = (a_host(1), a_host(2), a_host(3, HostPhase.UNHEALTHY), a_host(4))
    view = a_view(a_backend(hosts, 1, 4), to=BLUE)
    assert enabled(group, seen(a_state(group), hosts, view)) == {f"{BLUE}-{each}" for each in (1, 2, 4)}
    assert f"{BLUE}-2" not in destroyed(planned(group, hosts, view))


def test_an_ill_host_that_is_replaced_goes_first() -> None:
    group = serving(3, 3)
    ill = (a_host(2, HostPhase.UNHEALTHY), a_host(3, HostPhase.UNHEALTHY))
    hosts = (a_host(1), *ill, a_host(4))
    view = a_view(a_backend(hosts, 1, 4), to=BLUE)
    assert destroyed(planned(group, hosts, view)) == ["shop-v001-3"]


def test_replacements_wait_for_room_and_for_pauses_like_any_launch() -> None:
    group, hosts = serving(20, *range(1, 11)), some_hosts(20)
    view = a_view(a_backend(hosts), to=BLUE)
    assert launches(planned(group, hosts, view)) == LIMITS.launches_in_flight
    paused = seen(a_state(group), hosts, view, blue=replace(SERVED, retry_at=101.0))
    assert launches(reconcile(paused, LIMITS)) == 0


def test_launches_of_a_minute_are_bounded_and_that_is_told() -> None:
    limits = replace(LIMITS, launches_per_minute=5)
    begun = (10.0, 41.0, 42.0, 43.0, 44.0)
    observation = replace(seen(a_state(serving(9)), some_hosts(3)), launches_begun=begun)
    assert launches(reconcile(observation, limits)) == 1, "the first one is older than a minute"
    full = reconcile(replace(observation, launches_begun=(*begun, 45.0)), limits)
    assert launches(full) == 0
    assert full.wake_at == 101.0
    assert full.waits == ((BLUE, "launches wait: 5 were begun within a minute"),)


def test_a_retiring_group_replaces_nobody() -> None:
    group = replace(serving(3, 2), count=0, weight_bp=0)
    hosts = some_hosts(3)
    assert launches(planned(group, hosts, a_view(a_backend(hosts), to=BLUE))) == 0


def test_a_host_that_is_not_there_any_more_costs_nothing() -> None:
    hosts = some_hosts(3)
    assert planned(serving(3, 7, 8), hosts, a_view(a_backend(hosts), to=BLUE)).actions == ()


# ----------------------------------------------------------------------------------- whole replacements


class Place:
    """A region of one group, changed by the actions that the agent plans and by what the world does."""

    def __init__(self, group: DesiredGroup) -> None:
        self.group = group
        self.now = 1000.0
        self.hosts = {host.name: host for host in some_hosts(group.count)}
        self.next_number = group.count + 1
        self.structure = Structure((Frontend(SHOP, PORT),), (a_backend(self.hosts.values()),))
        self.seen_up = set(self.hosts)  # by the balancer's own checks

    @property
    def state(self) -> DesiredState:
        return a_state(self.group)

    def backend(self) -> Backend:
        (backend,) = self.structure.backends
        return backend

    def taking(self) -> set[HostName]:
        """Who takes requests and can serve them."""
        able = {name for name, host in self.hosts.items() if host.phase is HostPhase.VERIFIED}
        return {each.host for each in self.backend().servers if each.is_enabled} & able & self.seen_up

    def observation(self) -> Observation:
        up = sum(each.is_enabled and each.host in self.seen_up for each in self.backend().servers)
        view = BalancerView(
            True, self.structure, (Route(SHOP, BLUE),), (BackendView(BLUE, up, in_flight=1),), 0
        )
        hosts, facts = tuple(self.hosts.values()), {BLUE: GroupFact(is_proven=True, was_routed=True)}
        return Observation(self.now, (self.state,), hosts, facts, view)

    def act(self) -> None:
        for action in reconcile(self.observation(), LIMITS).actions:
            match action:
                case Launch(count=count):
                    for number in range(self.next_number, self.next_number + count):
                        fresh = replace(a_host(number, HostPhase.LAUNCHING), launched_at=self.now)
                        self.hosts[fresh.name] = fresh
                    self.next_number += count
                case Destroy(host):
                    assert host not in {each.host for each in self.backend().servers if each.is_enabled}
                    del self.hosts[host]
                    self.seen_up.discard(host)
                case Arrange(structure):
                    self.structure = structure
                    self._note_idle()

    def _note_idle(self) -> None:
        enabled_now = {each.host for each in self.backend().servers if each.is_enabled}
        for name, host in self.hosts.items():
            idle = None if name in enabled_now else (host.idle_since or self.now)
            self.hosts[name] = replace(host, idle_since=idle)

    def grow(self, name: HostName) -> None:
        """The host goes a step on in its life."""
        following = {
            HostPhase.LAUNCHING: HostPhase.STARTING,
            HostPhase.STARTING: HostPhase.HEALTHY,
            HostPhase.HEALTHY: HostPhase.VERIFIED,
        }
        host = self.hosts[name]
        self.hosts[name] = replace(host, phase=following.get(host.phase, host.phase))


@given(
    st.integers(1, 6),
    st.sets(st.integers(1, 6)),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=80),
    st.permutations(range(4)),
)
@settings(max_examples=40, deadline=None)
def test_no_replacement_takes_capacity_away(
    count: int, replaced: set[int], happenings: list[tuple[int, int]], order: list[int]
) -> None:
    """Whatever comes first: a host that becomes healthy, the balancer that sees it, the agent's next look."""
    wanted = sorted(each for each in replaced if each <= count)
    place = Place(serving(count, *wanted))
    times = (4, 16, 16, 16)  # by kind; the agent's next look sees all that has happened before
    in_the_end = [(kind, number) for _ in range(12) for kind in order for number in range(times[kind])]
    for kind, number in happenings + in_the_end * 2:
        names = sorted(place.hosts)
        name = names[number % len(names)]
        match kind:
            case 0:
                place.act()
            case 1:
                place.grow(name)
            case 2 if place.hosts[name].phase is HostPhase.VERIFIED:
                place.seen_up.add(name)
            case 3:
                place.now += 1.0
        assert len(place.taking()) >= count, "the group serves with fewer hosts than it has"
    assert not set(place.group.replace) & set(place.hosts), "all are replaced"
    assert len(place.taking()) == len(place.hosts) == count
