"""What is judged at a look: applications of which something has changed, however many rest beside them. An
application that is left out would have been judged as before."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_agent.core.fence import Accept
from repave_agent.core.host_health import PASSED, Health, HealthRecord, ProbeResult
from repave_agent.core.observation import EMPTY_VIEW, Limits
from repave_agent.core.ports import BackendView, BalancerView, Host, HostSpec, TransientError
from repave_agent.core.reconcile import Arrange
from repave_agent.core.region import Region, Step
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ApplicationName,
    DesiredGroup,
    DesiredState,
    Epoch,
    GroupName,
    HostName,
    HostPhase,
    RecordReport,
)
from tests.fakes.agent.region_values import a_group

ILL = ProbeResult(ok=False, reason="refused")
FULL_LOOK_SECONDS = 3_600.0
"""Rare enough that no test comes by one unmeant."""
LIMITS = Limits(launches_in_flight=4, destroys_in_flight=2)


def the_application(number: int) -> ApplicationName:
    return ApplicationName(f"app{number}")


def the_group(number: int, version: int, count: int = 2, weight_bp: int = 0) -> DesiredGroup:
    name = GroupName(f"app{number}-v{version:03d}")
    return a_group(name, count=count, weight_bp=weight_bp, min_healthy_seconds=1.0, drain_seconds=3.0)


class World:
    """A region of several applications, and a world that does what it says when it is told to. `twin` is the
    same region, judged as a whole at each look."""

    def __init__(self) -> None:
        self.now = 100.0
        self.region, self.twin = Region(LIMITS, FULL_LOOK_SECONDS), Region(LIMITS, full_look_seconds=0.0)
        self.view = replace(EMPTY_VIEW, is_running=True)
        self.hosts: dict[HostName, Host] = {}
        self.health: dict[HostName, Health] = {}
        self.in_flight: dict[GroupName, int] = {}
        self.down: set[HostName] = set()
        self.revs: dict[ApplicationName, int] = {}
        self.both(lambda region: region.adopt([], self.view, self.now))
        self.step: Step = self.look()

    def both(self, event: Callable[[Region], object]) -> None:
        for region in (self.region, self.twin):
            event(region)

    # ------------------------------------------------------------------------------------- what happens

    def accept(self, number: int, *groups: DesiredGroup) -> None:
        application = the_application(number)
        rev = self.revs[application] = self.revs.get(application, 0) + 1
        state = DesiredState(application, Epoch(1, 1, rev), 8000 + number, groups)
        for region in (self.region, self.twin):
            if region.hear(state) == Accept():
                region.accept(state)

    def probe(self, host: HostName, result: ProbeResult) -> None:
        target = self.step.probes.get(host)
        if target is None:
            return
        known = self.health.get(host)
        record = (
            known.record if known is not None and known.target == target else HealthRecord.of(target.probe)
        )
        self.health[host] = Health(target, record.after(result, self.now))

    def end(self, host: HostName) -> None:
        self.hosts[host] = replace(self.hosts[host], is_running=False, ended="it ended")
        self.list_hosts()

    def list_hosts(self) -> None:
        for region in (self.region, self.twin):
            known = region.begin_listing(self.now)
            region.listed(list(self.hosts.values()), known, self.now)

    def see(self) -> None:
        """The balancer is looked at."""
        self.view = replace(self.view, backends=self._backends())
        self.both(lambda region: region.viewed(replace(self.view), self.now))

    def _backends(self) -> tuple[BackendView, ...]:
        return tuple(
            BackendView(
                each.group,
                sum(server.is_enabled and server.host not in self.down for server in each.servers),
                self.in_flight.get(each.group, 0),
            )
            for each in self.view.structure.backends
        )

    # --------------------------------------------------------------------------------------- the loop

    def look(self, journal_trouble: str = "") -> Step:
        """Both decide, and the same; the twin has looked at everything."""
        self.both(lambda region: region.probed(self.health))
        mine, whole = self.region.decide(self.now), self.twin.decide(self.now)
        assert mine.plan.actions == whole.plan.actions
        assert (mine.launches, mine.destroys, mine.entries) == (whole.launches, whole.destroys, whole.entries)
        assert whole.judged == tuple(self.twin.desired)
        self.judged = mine.judged
        step = self.region.begin(mine, journal_trouble, self.now)
        twins = self.twin.begin(whole, journal_trouble, self.now)
        assert (step.reports, step.change, step.wake_at) == (twins.reports, twins.change, twins.wake_at)
        assert (step.probes, self.region.look_seconds) == (twins.probes, self.twin.look_seconds)
        assert self.region.take_notices() == self.twin.take_notices()
        self.step = step
        return step

    def carry_out(self, is_well: bool = True) -> None:
        """What the step has begun is done, or fails."""
        for spec in self.step.launches:
            self._launch(spec, is_well)
        for each in self.step.destroys:
            self._destroy(each.host, is_well)
        if self.step.change is not None:
            self._change(is_well)

    def _launch(self, spec: HostSpec, is_well: bool) -> None:
        if not is_well:
            self.both(lambda region: region.launch_failed(spec.name, TransientError("x"), self.now))
            return
        address = f"127.9.{len(self.hosts) // 250}.{len(self.hosts) % 250 + 1}"
        host = Host(
            spec.name, spec.group, spec.application, spec.digest, address, 8080, self.now, is_running=True
        )
        self.hosts[spec.name] = host
        self.both(lambda region: region.launched(host, self.now))

    def _destroy(self, name: HostName, is_well: bool) -> None:
        if is_well:
            self.hosts.pop(name, None)
            self.both(lambda region: region.destroyed(name, self.now))
        else:
            self.both(lambda region: region.not_destroyed(name, "x"))

    def _change(self, is_well: bool) -> None:
        assert self.step.change is not None
        if not is_well:
            self.both(lambda region: region.not_changed("x", self.now))
            return
        action = self.step.change.action
        if isinstance(action, Arrange):
            self.view = replace(self.view, structure=action.structure)
        else:
            self.view = replace(self.view, routes=action.routes)
        self.see()
        self.both(lambda region: region.changed())

    def settle(self) -> None:
        """Until nothing is left to do."""
        for _ in range(60):
            self.look()
            if not self.judged:
                return
            self.carry_out()
            self.now += 1.0
            for host in self.hosts:
                self.probe(host, PASSED)
            self.see()
        raise AssertionError(f"it does not come to rest: {self.judged}")


def a_world(applications: int) -> World:
    """Each of them serves."""
    world = World()
    for number in range(applications):
        world.accept(number, the_group(number, 1, weight_bp=FULL_WEIGHT_BP))
    world.settle()
    return world


# ------------------------------------------------------------------------------------------------ counts


def _fall_ill(world: World) -> None:
    for _ in range(3):
        world.probe(HostName("app0-v001-1"), ILL)


def _go_down(world: World) -> None:
    world.down.add(HostName("app0-v001-1"))
    world.see()


def _refuse(world: World) -> None:
    world.both(lambda region: region.refuse(the_application(0), "can't be read"))


def _look_up(world: World) -> None:
    record = RecordReport("app0.example.org", "in")
    world.both(lambda region: region.note_record(the_application(0), record))


CHANGES: dict[str, Callable[[World], None]] = {
    "desired": lambda world: world.accept(0, the_group(0, 1, 3, FULL_WEIGHT_BP)),
    "released": lambda world: world.accept(0, the_group(0, 1, 2, FULL_WEIGHT_BP), the_group(0, 2)),
    "host ended": lambda world: world.end(HostName("app0-v001-1")),
    "host ill": _fall_ill,
    "host drifted": lambda world: world.both(
        lambda region: region.inspected(HostName("app0-v001-1"), "/etc/passwd", world.now)
    ),
    "down behind the balancer": _go_down,
    "refused": _refuse,
    "record": _look_up,
}


@pytest.mark.parametrize("beside", [1, 30])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_has_its_application_judged_and_no_other(change: str, beside: int) -> None:
    world = a_world(1 + beside)
    CHANGES[change](world)
    world.look()
    assert world.judged == (the_application(0),)


@pytest.mark.parametrize("beside", [1, 30])
def test_a_whole_release_judges_one_application_at_each_look(beside: int) -> None:
    world, others = a_world(1 + beside), set[ApplicationName]()
    for groups in (
        (the_group(0, 1, 2, FULL_WEIGHT_BP), the_group(0, 2)),
        (the_group(0, 1, 2), the_group(0, 2, 2, FULL_WEIGHT_BP)),
        (the_group(0, 1, 0), the_group(0, 2, 2, FULL_WEIGHT_BP)),
    ):
        world.accept(0, *groups)
        for _ in range(8):
            world.look()
            others |= set(world.judged)
            world.carry_out()
            world.now += 0.5
            for host in world.hosts:
                world.probe(host, PASSED)
            world.see()
    assert set(world.hosts) >= {"app0-v002-1", "app0-v002-2"}
    assert others == {the_application(0)}


def test_nothing_is_judged_where_nothing_changes_and_requests_flow() -> None:
    world = a_world(5)
    reports, probes = world.step.reports, world.step.probes
    for requests in range(10):
        world.now += 1.0
        world.in_flight = {GroupName("app1-v001"): requests, GroupName("app2-v001"): requests % 2}
        for host in world.hosts:
            world.probe(host, PASSED)
        world.see()
        step = world.look()
        assert world.judged == ()
        assert step.reports is reports
        assert step.probes is probes


def test_what_was_missed_is_seen_at_the_next_full_look() -> None:
    world = a_world(3)
    world.region.records[HostName("app1-v001-1")].is_running = False  # and the region was not told
    decision = world.region.decide(world.now)
    world.region.begin(decision, "", world.now)
    assert decision.judged == ()
    world.now += FULL_LOOK_SECONDS
    decision = world.region.decide(world.now)
    assert decision.judged == tuple(world.region.desired)
    assert world.region.records[HostName("app1-v001-1")].judgement.phase is HostPhase.FAILED


# ----------------------------------------------------------------------------------------------- the same

NUMBERS = st.integers(0, 2)
SOME_GROUPS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 3), st.sampled_from([0, 0, 5_000, FULL_WEIGHT_BP])),
    max_size=2,
    unique_by=lambda each: each[0],
)


def _accept(world: World, number: int, groups: list[tuple[int, int, int]]) -> None:
    world.accept(number, *(the_group(number, *each) for each in groups))


def _nth(world: World, number: int) -> HostName | None:
    names = sorted(world.hosts)
    return names[number % len(names)] if names else None


def _probe(world: World, number: int, is_well: bool) -> None:
    if (host := _nth(world, number)) is not None:
        for _ in range(3):
            world.probe(host, PASSED if is_well else ILL)


def _probe_all(world: World) -> None:
    for host in world.hosts:
        world.probe(host, PASSED)


def _go_on(world: World) -> None:
    for _ in range(4):
        world.look()
        world.carry_out()
        world.now += 1.0
        _probe_all(world)
        world.see()


def _end(world: World, number: int) -> None:
    if (host := _nth(world, number)) is not None:
        world.end(host)


def _turn_over(world: World, number: int) -> None:
    if (host := _nth(world, number)) is not None:
        world.down ^= {host}
    world.see()


def _die(world: World, is_running: bool) -> None:
    former = world.view
    world.view = former if is_running else BalancerView(False, EMPTY_VIEW.structure, (), (), 0)
    world.see()
    world.view = former


def _send(world: World, number: int, requests: int) -> None:
    world.in_flight[GroupName(f"app{number}-v001")] = requests
    world.see()


def _wait(world: World, seconds: float) -> None:
    world.now += seconds


EVENTS = st.one_of(
    st.builds(lambda number, groups: lambda world: _accept(world, number, groups), NUMBERS, SOME_GROUPS),
    st.builds(lambda number, ok: lambda world: _probe(world, number, ok), st.integers(0, 9), st.booleans()),
    st.just(_probe_all),
    st.just(_go_on),
    st.builds(lambda number: lambda world: _end(world, number), st.integers(0, 9)),
    st.builds(lambda number: lambda world: _turn_over(world, number), st.integers(0, 9)),
    st.builds(lambda number, count: lambda world: _send(world, number, count), NUMBERS, st.integers(0, 2)),
    st.builds(lambda seconds: lambda world: _wait(world, seconds), st.sampled_from([0.1, 1.0, 4.0, 20.0])),
    st.builds(lambda is_running: lambda world: _die(world, is_running), st.booleans()),
    st.just(World.list_hosts),
    st.just(World.see),
)
MOMENTS = st.lists(
    st.tuples(st.lists(EVENTS, max_size=3), st.sampled_from(["", "", "", "", "no space"]), st.booleans()),
    min_size=5,
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(MOMENTS)
def test_who_is_left_out_would_have_been_judged_the_same(
    moments: list[tuple[list[Callable[[World], None]], str, bool]],
) -> None:
    world = a_world(2)
    for events, journal_trouble, is_well in moments:
        for event in events:
            event(world)
        world.look(journal_trouble)
        world.carry_out(is_well)
        world.now += 0.25
