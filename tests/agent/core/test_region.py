"""The region's core by itself: what it decides from what has happened, without worker, clock or disk."""

from dataclasses import replace
from typing import Any

import pytest

from repave_agent.core.fence import Accept
from repave_agent.core.fleet import Fleet
from repave_agent.core.host_health import PASSED, Health, HealthRecord, ProbeResult
from repave_agent.core.observation import EMPTY_VIEW, LEFT_OUT_SECONDS, HostFact, Limits
from repave_agent.core.ports import BackendView, Host, RefusedError, TransientError, UnfitError
from repave_agent.core.reconcile import Arrange, Steer
from repave_agent.core.region import RETRY_SECONDS, Entries, Region, Step
from repave_protos.protocol.values import (
    DesiredState,
    GroupReport,
    HostName,
    HostPhase,
    Notice,
    Welcome,
)
from tests.fakes.agent.region_values import BLUE, SHOP, a_group, a_state

SERVES = a_state(a_group(weight_bp=10_000, min_healthy_seconds=1.0))
RUNNING = replace(EMPTY_VIEW, is_running=True)


class Ground:
    """A region, and what its agent would do for it: launches take no time."""

    def __init__(self, entries: Entries | None = None) -> None:
        self.now = 100.0
        self.region = Region(Limits())
        self.region.recall(entries or Entries(), self.now)
        self.region.adopt([], RUNNING, self.now)
        self.view = RUNNING

    def accept(self, state: DesiredState) -> None:
        assert self.region.hear(state) == Accept()
        self.region.accept(state)

    def step(self, journal_trouble: str = "") -> Step:
        decision = self.region.decide(self.now)
        return self.region.begin(decision, journal_trouble, self.now)

    def launch_all(self, step: Step) -> None:
        for spec in step.launches:
            address = f"127.9.0.{spec.name.rpartition('-')[2]}"
            host = Host(spec.name, spec.group, SHOP, spec.digest, address, 8080, self.now, is_running=True)
            self.region.launched(host, self.now)

    def probe_all(self, step: Step) -> None:
        """Every host passes its probes for long enough."""
        records = {name: HealthRecord.of(target.probe) for name, target in step.probes.items()}
        for _ in range(3):
            records = {name: record.after(PASSED, self.now) for name, record in records.items()}
            self.now += 1.0
        self.region.probed({name: Health(target, records[name]) for name, target in step.probes.items()})

    def carry_out(self, step: Step) -> None:
        """The balancer changes as the step says, and all that is enabled is up."""
        assert step.change is not None
        match step.change.action:
            case Arrange(structure):
                up = {
                    each.group: sum(server.is_enabled for server in each.servers)
                    for each in structure.backends
                }
                backends = tuple(BackendView(group, servers, 0) for group, servers in up.items())
                self.view = replace(self.view, structure=structure, backends=backends)
            case Steer(routes):
                self.view = replace(self.view, routes=routes)
        self.region.viewed(self.view, self.now)
        self.region.changed()


@pytest.fixture
def ground() -> Ground:
    return Ground()


def test_an_accepted_state_counts_only_once_it_is_saved(ground: Ground) -> None:
    assert ground.region.hear(SERVES) == Accept()
    assert ground.region.entries(accepting=SERVES).desired == (SERVES,)
    ground.region.not_accepted(SERVES, "the disk is full")
    step = ground.step()
    assert (step.launches, ground.region.entries().desired) == ((), ())
    assert step.reports is not None
    assert step.reports[SHOP].refusal == "the disk is full"


def test_names_are_used_up_before_a_host_is_made(ground: Ground) -> None:
    ground.accept(SERVES)
    decision = ground.region.decide(ground.now)
    assert [spec.name for spec in decision.launches] == ["shop-v001-1", "shop-v001-2"]
    assert decision.is_durable
    assert decision.entries.groups[BLUE].next_ordinal == 3
    again = Ground(decision.entries)
    assert [spec.name for spec in again.step().launches] == ["shop-v001-3", "shop-v001-4"]


def test_what_can_not_be_saved_is_put_off(ground: Ground) -> None:
    ground.accept(SERVES)
    step = ground.step("no space left")
    assert step.launches == ()
    assert step.reports is not None
    assert "no space left" in step.reports[SHOP].groups[0].trouble
    ground.now += 10.0
    assert [spec.name for spec in ground.step().launches] == ["shop-v001-3", "shop-v001-4"]


def test_a_release_goes_its_way_one_change_of_the_balancer_at_a_time(ground: Ground) -> None:
    ground.accept(SERVES)
    ground.launch_all(ground.step())
    step, kinds = ground.step(), []
    assert sorted(step.probes) == ["shop-v001-1", "shop-v001-2"]
    while step.change is not None:
        kinds.append(type(step.change.action))
        assert ground.step().change is None, "one is under way"
        assert not ground.region.wants_view(ground.now + 60.0), "what it shows may be over already"
        ground.carry_out(step)
        ground.probe_all(step)
        step = ground.step()
    assert kinds == [Arrange, Arrange, Steer], "disabled, enabled once verified, then in traffic"
    assert ground.region.entries().verified == ("shop-v001-1", "shop-v001-2")
    assert step.reports is not None
    assert step.reports[SHOP].groups[0].weight_bp == 10_000


def test_no_report_goes_up_while_traffic_moves(ground: Ground) -> None:
    ground.accept(SERVES)
    ground.launch_all(ground.step())
    step = ground.step()
    while step.change is not None and isinstance(step.change.action, Arrange):
        assert step.reports is not None
        ground.carry_out(step)
        ground.probe_all(step)
        step = ground.step()
    assert isinstance(step.change and step.change.action, Steer)
    assert step.reports is None


def test_hosts_are_judged_once_for_what_is_done_and_what_is_reported(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once more where something began, which is part of the report."""
    judged: list[float] = []
    real = Fleet.judge

    def judge(self: Fleet, *given: Any) -> tuple[HostFact, ...]:
        judged.append(ground.now)
        return real(self, *given)

    monkeypatch.setattr(Fleet, "judge", judge)
    ground.accept(SERVES)
    ground.launch_all(step := ground.step())
    assert step.launches
    assert len(judged) == 2
    ground.carry_out(ground.step())
    judged.clear()
    step = ground.step()
    assert (step.launches, step.change) == ((), None)
    assert len(judged) == 1


def test_a_change_that_was_planned_for_another_state_is_not_wanted_any_more(ground: Ground) -> None:
    ground.accept(SERVES)
    ground.launch_all(ground.step())
    change = ground.step().change
    assert change is not None
    assert ground.region.still_wants(change)
    ground.accept(replace(SERVES, epoch=replace(SERVES.epoch, rev=2)))
    assert not ground.region.still_wants(change)


def test_a_change_that_failed_is_tried_again_a_little_later(ground: Ground) -> None:
    ground.accept(SERVES)
    ground.launch_all(ground.step())
    assert ground.step().change is not None
    ground.region.not_changed("no answer", ground.now)
    assert ground.step().change is None
    assert [notice.kind for notice in ground.region.take_notices()][-1] == "balancer.failed"
    ground.now += RETRY_SECONDS
    assert ground.step().change is not None


def test_what_the_balancer_can_not_take_is_left_out_and_tried_again_later(ground: Ground) -> None:
    """Another application's change goes through in between; told once, reported until it is taken."""
    ground.accept(SERVES)
    ground.launch_all(ground.step())
    refused = ground.step().change
    assert refused is not None
    ground.region.unfit(UnfitError({SHOP: "port 8000 is taken"}), ground.now)
    ground.region.changed()
    assert ground.step().change is None, "without it there is nothing to arrange"
    assert _report(ground).trouble == "port 8000 is taken"
    ground.now += LEFT_OUT_SECONDS
    again = ground.step().change
    assert again is not None
    assert again.action == refused.action
    ground.region.unfit(UnfitError({SHOP: "port 8000 is taken"}), ground.now)
    ground.region.changed()
    ground.now += LEFT_OUT_SECONDS
    told = [each for each in ground.region.take_notices() if each.kind == "balancer.unfit"]
    assert told == [Notice("balancer.unfit", "left out: port 8000 is taken", SHOP)]
    ground.carry_out(ground.step())
    assert "port 8000" not in _report(ground).trouble


def test_a_fresh_group_that_the_balancer_refuses_for_long_has_given_up(ground: Ground) -> None:
    ground.accept(SERVES)
    ground.launch_all(ground.step())
    given_up = []
    for _ in range(6):
        ground.step()
        ground.region.unfit(UnfitError(backends={BLUE: "the path is odd"}), ground.now)
        ground.region.changed()
        report = _report(ground)
        assert "the path is odd" in report.trouble
        given_up.append(report.has_given_up)
        ground.now += LEFT_OUT_SECONDS
    assert given_up == [False] * 4 + [True] * 2


def _report(ground: Ground) -> GroupReport:
    reports = ground.step().reports
    assert reports is not None
    report = reports[SHOP].group(BLUE)
    assert report is not None
    return report


@pytest.mark.parametrize(("error", "failures"), [(TransientError("away"), 0), (RefusedError("no"), 1)])
def test_only_what_speaks_against_the_group_counts_as_its_failure(
    ground: Ground, error: Exception, failures: int
) -> None:
    ground.accept(SERVES)
    for spec in ground.step().launches[:1]:
        ground.region.launch_failed(spec.name, error, ground.now)
    assert ground.region.entries().groups[BLUE].failures == failures


def test_a_listing_is_due_from_time_to_time_and_at_once_after_a_hint(ground: Ground) -> None:
    assert not ground.region.wants_listing(ground.now + 4.0)
    assert ground.region.wants_listing(ground.now + 5.0)
    ground.region.hosts_changed()
    assert ground.region.wants_listing(ground.now)
    known = ground.region.begin_listing(ground.now)
    assert not ground.region.wants_listing(ground.now + 60.0), "one is under way"
    ground.region.listed([], known, ground.now)
    assert ground.region.wants_listing(ground.now + 60.0)


def test_a_region_belongs_to_the_first_controller_it_meets(ground: Ground) -> None:
    assert ground.region.welcome(Welcome("1", "ours", ""))
    assert ground.region.entries().installation == "ours"
    assert not ground.region.welcome(Welcome("1", "theirs", ""))
    assert ground.region.installation == "ours"


class Serving(Ground):
    """Two hosts are verified and serve, and their provider lists them."""

    def __init__(self) -> None:
        super().__init__()
        self.accept(SERVES)
        self.launch_all(self.step())
        step = self.step()
        while step.change is not None:
            self.carry_out(step)
            self.probe_all(step)
            step = self.step()
        self.hosts = [
            Host(each.name, each.group, SHOP, each.digest, each.address, 8080, self.now, is_running=True)
            for each in self.region.records.values()
        ]

    def show(self, *hosts: Host, seconds: float = 1.0) -> None:
        self.now += seconds
        self.region.listed(hosts, self.region.begin_listing(self.now), self.now)

    def probed(self, result: ProbeResult) -> None:
        """Every host, so often that it counts."""
        step = self.step()
        records = {name: HealthRecord.of(target.probe) for name, target in step.probes.items()}
        for _ in range(3):
            records = {name: record.after(result, self.now) for name, record in records.items()}
        self.region.probed({name: Health(target, records[name]) for name, target in step.probes.items()})

    def phases(self) -> list[HostPhase]:
        self.step()
        return [each.judgement.phase for each in self.region.records.values()]


@pytest.fixture
def serving() -> Serving:
    return Serving()


def test_a_host_that_has_lost_its_address_is_unhealthy_at_once_and_replaced(serving: Serving) -> None:
    first, second = serving.hosts
    assert serving.phases() == [HostPhase.VERIFIED] * 2
    serving.show(replace(first, address=""), second)
    step = serving.step()
    assert serving.phases()[:2] == [HostPhase.UNHEALTHY, HostPhase.VERIFIED]
    assert [launch.name for launch in step.launches] == ["shop-v001-3"]
    assert step.change is not None
    assert isinstance(step.change.action, Arrange)
    (backend,) = step.change.action.structure.backends
    assert [(server.host, server.is_enabled) for server in backend.servers] == [
        (first.name, False),
        (second.name, True),
    ]
    assert step.reports is not None
    assert "it has no address: nothing reaches it" in step.reports[SHOP].groups[0].trouble


def test_a_group_whose_hosts_have_all_lost_their_addresses_sends_no_request_to_none(
    serving: Serving,
) -> None:
    serving.show(*(replace(host, address="") for host in serving.hosts))
    step = serving.step()
    assert step.change is not None
    assert isinstance(step.change.action, Arrange)
    (backend,) = step.change.action.structure.backends
    assert [server.is_enabled for server in backend.servers] == [False, False]


def test_a_host_that_has_another_address_is_reached_there_by_the_balancer_as_well(serving: Serving) -> None:
    first, second = serving.hosts
    serving.show(replace(first, address="127.9.0.77"), second)
    step = serving.step()
    assert step.probes[first.name].address == "127.9.0.77"
    assert step.change is not None
    assert isinstance(step.change.action, Arrange)
    (backend,) = step.change.action.structure.backends
    assert [server.address for server in backend.servers] == ["127.9.0.77", second.address]


def test_a_host_that_its_provider_does_not_see_stays_for_as_long_as_it_answers(serving: Serving) -> None:
    unseen = [replace(host, unseen="its machine can't be reached for 61 s") for host in serving.hosts]
    serving.probed(PASSED)
    serving.show(*unseen)
    assert serving.phases() == [HostPhase.VERIFIED] * 2
    assert serving.step().destroys == ()
    serving.probed(ProbeResult(ok=False, reason="refused"))
    serving.step()
    serving.show(*unseen)
    assert set(serving.phases()[:2]) <= {HostPhase.FAILED, HostPhase.DESTROYING}


def test_what_counts_as_gone_and_may_still_run_is_no_host_of_its_group(serving: Serving) -> None:
    gone = replace(serving.hosts[0], name=HostName("shop-v001-9"), left="may still run on m1")
    serving.show(*serving.hosts, gone)
    assert len(serving.phases()) == 2
    assert [each.name for each in serving.region.left] == [gone.name]
    serving.show(*serving.hosts)
    assert serving.region.left == ()
