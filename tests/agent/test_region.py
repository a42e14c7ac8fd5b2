"""The agent's core in a world of faults: two applications, told what to be by the controller's own rollout,
in any order of releases, rollbacks, failures and restarts. `Region` checks each promise at each action; when
the faults end, the region becomes exactly what is desired and then holds still."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from repave_agent.admission import Accept, Again, Outdated, Refuse
from repave_controller.commands import request_abort, request_release, request_rollback
from repave_controller.model import (
    Application,
    Because,
    GroupNumber,
    Instant,
    Policy,
    Refused,
    RegionView,
    ReleaseOrder,
    Scale,
    Soak,
    Tenure,
    Verify,
    Weight,
)
from repave_controller.rollout import step
from repave_protos.values import ApplicationName, DesiredState, Digest, Probe, RegionName
from tests.fakes.region import LIMITS, Region

HERE = RegionName("here")
APPLICATIONS = (ApplicationName("shop"), ApplicationName("till"))
PROBE = Probe("http", 8080, healthy_after=2, unhealthy_after=2)
FLIP = (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(2.0, 60.0))
CANARY = (Scale(100, 60.0), Verify(60.0), Weight(2_500, 60.0), *FLIP[2:])
ROUNDS_MAX = 400


def an_order(size: int, *, is_good: bool, is_first: bool, port: int) -> ReleaseOrder:
    return ReleaseOrder(
        version="1",
        digest=Digest("good" if is_good else "bad"),
        frontend_port=port,
        sizes=((HERE, size),),
        run=("./serve",),
        environment=(),
        probe=PROBE,
        min_healthy_seconds=1.0,
        start_deadline_seconds=20.0,
        drain_seconds=5.0,
        steps=FLIP if is_first else CANARY,
        policy=Policy(keep_seconds=10.0),
    )


class Controller:
    """Both applications, decided by the real step function."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.is_connected = True
        self.applications = {name: Application(name, name, GroupNumber(1)) for name in APPLICATIONS}
        self.sent: list[DesiredState] = []
        self.because: dict[ApplicationName, tuple[Because, ...]] = {}
        self.wake_at: dict[ApplicationName, Instant | None] = {}

    def release(self, name: ApplicationName, size: int, *, is_good: bool) -> None:
        is_first = self.applications[name].serving is None
        order = an_order(size, is_good=is_good, is_first=is_first, port=8000 + APPLICATIONS.index(name))
        self._command(name, lambda each, now: request_release(each, order, False, now)[0])

    def rollback(self, name: ApplicationName) -> None:
        self._command(
            name,
            lambda each, now: request_rollback(each, self._observed(name), "", "", force=False, now=now)[0],
        )

    def abort(self, name: ApplicationName) -> None:
        self._command(name, lambda each, now: request_abort(each, "", "", now)[0])

    def _command(self, name: ApplicationName, command) -> None:  # type: ignore[no-untyped-def]
        try:
            self.applications[name] = command(self.applications[name], Instant(self.region.now))
        except Refused:
            return
        self.decide(name)

    def decide(self, name: ApplicationName) -> bool:
        """One decision, published when the region is connected; whether anything moved."""
        now = Instant(self.region.now)
        before = self.applications[name]
        decision = step(before, self._observed(name), now, Tenure(1, 1))
        self.applications[name] = decision.application
        self.wake_at[name], self.because[name] = decision.wake_at, decision.because
        is_heard = self._send(name)
        return is_heard or decision.application != before

    def _send(self, name: ApplicationName) -> bool:
        """Whether the region heard something new."""
        state = self.applications[name].desired_in(HERE)
        if state is None or not self.is_connected:
            return False
        self.sent.append(state)
        answer = self.region.accept(state)
        assert not isinstance(answer, Refuse)
        return isinstance(answer, Accept)

    def _observed(self, name: ApplicationName) -> dict[RegionName, RegionView]:
        return {HERE: RegionView(self.is_connected, self.region.reports.get(name))}


class AnyInterleaving(RuleBasedStateMachine):
    """Each rule is one thing that may happen next."""

    def __init__(self) -> None:
        super().__init__()
        self.region = Region()
        self.controller = Controller(self.region)

    @initialize(size=st.integers(1, 3))
    def one_serves(self, size: int) -> None:
        self.controller.release(APPLICATIONS[0], size, is_good=True)
        self.settle()

    @rule(name=st.sampled_from(APPLICATIONS), size=st.integers(1, 4), is_good=st.booleans())
    def release(self, name: ApplicationName, size: int, is_good: bool) -> None:
        self.controller.release(name, size, is_good=is_good)

    @rule(name=st.sampled_from(APPLICATIONS), is_abort=st.booleans())
    def go_back(self, name: ApplicationName, is_abort: bool) -> None:
        (self.controller.abort if is_abort else self.controller.rollback)(name)

    @rule(is_connected=st.booleans())
    def connect(self, is_connected: bool) -> None:
        self.controller.is_connected = is_connected

    @rule(number=st.integers(0, 50))
    def hear_an_older_controller(self, number: int) -> None:
        if self.controller.sent:
            state = self.controller.sent[number % len(self.controller.sent)]
            known = self.region.desired[state.application]
            answer = self.region.accept(state)
            assert isinstance(answer, Again if state == known else Outdated | Accept)
            assert self.region.desired[state.application].epoch >= known.epoch

    @rule(count=st.integers(1, 6))
    def some_rounds_go_well(self, count: int) -> None:
        for _ in range(count):
            self._round()

    @rule(seconds=st.sampled_from([0.0, 0.6, 3.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        """Hosts and servers are asked for their health; the agent looks, and the controller decides."""
        self.region.now += seconds
        self.region.send_requests()
        self.region.probe()
        self.region.check_servers()
        self.region.look()
        for name in APPLICATIONS:
            self.controller.decide(name)

    @rule()
    def wake(self) -> None:
        """Right now, with the view of the balancer that it has."""
        self.region.converge()

    @rule(outcome=st.sampled_from(["runs", "runs", "refused", "no room"]), count=st.integers(1, 3))
    def finish_launches(self, outcome: str, count: int) -> None:
        for _ in range(count):
            self.region.finish_launch(outcome)

    @rule(is_done=st.sampled_from([True, True, False]))
    def finish_what_is_under_way(self, is_done: bool) -> None:
        self.region.finish_balancing(is_done=is_done)
        self.region.finish_destroy()

    @rule(what=st.sampled_from(["falls ill", "recovers", "ends"]), number=st.integers(0, 50))
    def strike_a_host(self, what: str, number: int) -> None:
        machines = list(self.region.machines.values())
        if not machines:
            return
        machine = machines[number % len(machines)]
        machine.is_well = what == "recovers" and not machine.host.digest.startswith("bad")
        if what == "ends":
            machine.host = replace(machine.host, is_running=False, ended="killed")

    @rule(what=st.sampled_from(["dies", "workers disagree", "workers agree", "answers"]))
    def strike_the_balancer(self, what: str) -> None:
        balancer = self.region.balancer
        balancer.is_running = what != "dies"
        balancer.is_agreed = what != "workers disagree"
        if what in ("dies", "answers"):
            balancer.in_flight.clear()

    @rule(is_work_done=st.booleans())
    def restart_agent(self, is_work_done: bool) -> None:
        self.region.restart_agent(is_work_done=is_work_done)

    # ------------------------------------------------------------------------------------- it converges

    def teardown(self) -> None:
        self.controller.is_connected = self.region.balancer.is_agreed = True
        for machine in self.region.machines.values():
            # A bad image stays one: no host of it is ever well.
            machine.is_well = not machine.host.digest.startswith("bad")
        self.settle()
        self.check_exactly_as_desired()

    def settle(self) -> None:
        for _ in range(ROUNDS_MAX):
            if not self._round():
                wake_at = self._next_instant()
                if wake_at is None:
                    return
                self.region.now = max(self.region.now, wake_at)
        waits = [str(each.what) for name in APPLICATIONS for each in self.controller.because[name]]
        raise AssertionError(f"it never settles: {self._plan}; {waits}")

    def _round(self) -> bool:
        """Everything that is under way goes well; whether anything is."""
        region = self.region
        region.now += 0.5
        region.send_requests()  # they are never answered: only the drain's end lets a group go
        region.probe()
        region.check_servers()
        plan = region.look()
        was_busy = bool(plan.actions or region.launching or region.destroying or region.balancing)
        for _ in range(LIMITS.launches_in_flight):
            region.finish_launch("runs")
        while region.destroying:
            region.finish_destroy()
        region.finish_balancing(is_done=True)
        self._plan = region.look()
        has_moved = [self.controller.decide(name) for name in APPLICATIONS]
        return was_busy or any(has_moved)

    def _next_instant(self) -> float | None:
        instants: list[float | None] = [self._plan.wake_at]
        instants += [self.controller.wake_at[name] for name in APPLICATIONS]
        return min((each for each in instants if each is not None), default=None)

    def check_exactly_as_desired(self) -> None:
        region = self.region
        wanted = {}
        for name, application in self.controller.applications.items():
            state = region.desired.get(name)
            assert application.running is None
            for group in state.groups if state else ():
                report = region.reports[name].group(group.name)
                assert report is not None
                is_whole = report.verified == report.present == group.count
                assert report.has_given_up or is_whole, f"{report} is not {group.count} hosts; {self._plan}"
                assert report.weight_bp == group.weight_bp
                wanted[group.name] = report.present
        assert {machine.host.group for machine in region.machines.values()} <= wanted.keys()
        assert len(region.machines) == sum(wanted.values())
        assert {each.group for each in region.balancer.structure.backends} <= wanted.keys()
        assert region.look().actions == ()


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


# ------------------------------------------------------------------------------------------------ storms


@pytest.mark.parametrize("seed", range(40))
def test_a_long_storm_ends_exactly_as_desired(seed: int) -> None:
    """Longer histories than those that Hypothesis looks for, with everything going wrong all the time."""
    chance = Random(seed)
    machine = AnyInterleaving()
    machine.one_serves(chance.randint(1, 3))
    for _ in range(60):
        _strike(machine, chance)
        machine.some_rounds_go_well(chance.randint(0, 3))
    machine.teardown()


def _strike(machine: AnyInterleaving, chance: Random) -> None:
    name, number = chance.choice(APPLICATIONS), chance.randrange(50)
    match chance.randrange(12):
        case 0 | 1:
            machine.release(name, chance.randint(1, 4), chance.random() < 0.7)
        case 2:
            machine.go_back(name, chance.random() < 0.5)
        case 3:
            machine.connect(chance.random() < 0.7)
        case 4 | 5 | 6:
            machine.strike_a_host(chance.choice(["falls ill", "recovers", "ends"]), number)
        case 7:
            machine.strike_the_balancer(
                chance.choice(["dies", "workers disagree", "workers agree", "answers"])
            )
        case 8:
            machine.restart_agent(chance.random() < 0.5)
        case 9:
            machine.finish_launches(chance.choice(["runs", "refused", "no room"]), 2)
        case 10:
            machine.finish_what_is_under_way(chance.random() < 0.5)
        case _:
            machine.time_passes(chance.choice([0.0, 0.6, 3.0, 25.0]))
            machine.wake()
