"""Hosts that were there before: taken in, probed, behind the balancer, let go; never made, never ended."""

from dataclasses import replace

from repave_agent.core.host_health import Health, HealthRecord, ProbeResult
from repave_agent.core.reconcile import Arrange
from repave_agent.core.region import Entries
from repave_protos.protocol.values import (
    NO_PACKAGE,
    DesiredGroup,
    GivenHost,
    HostName,
    HostPhase,
    contradictions,
)
from tests.agent.core.test_region import Ground
from tests.fakes.agent.region_values import BLUE, GREEN, SHOP, a_group, a_state

GIVEN = tuple(GivenHost(f"10.0.0.{number}", 8000 + number, f"web{number}") for number in (1, 2, 3))


def adopted(count: int = 3, weight_bp: int = 10_000) -> DesiredGroup:
    group = a_group(weight_bp=weight_bp, count=count, min_healthy_seconds=1.0)
    return replace(group, digest=NO_PACKAGE, given=GIVEN, is_proven=True)


def taken_in() -> Ground:
    """All three serve."""
    ground = Ground()
    ground.accept(a_state(adopted()))
    settle(ground)
    return ground


def settle(ground: Ground, *, probes: bool = True) -> None:
    for _ in range(6):
        step = ground.step()
        assert (step.launches, step.destroys) == ((), ()), "no provider is asked for anything"
        if step.change is not None:
            ground.carry_out(step)
        elif probes and step.probes:
            ground.probe_all(step)


def named(ordinal: int) -> HostName:
    return HostName(f"{BLUE}-{ordinal}")


def verdict(ground: Ground, host: int, result: ProbeResult) -> None:
    target = ground.step().probes[named(host)]
    record = HealthRecord.of(target.probe)
    for _ in range(5):
        record = record.after(result, ground.now)
    ground.region.probed({named(host): Health(target, record)})


def phases(ground: Ground) -> list[HostPhase]:
    return [each.judgement.phase for each in ground.region.records.values()]


def test_they_are_probed_where_they_listen_and_get_all_requests() -> None:
    ground = taken_in()
    probes = ground.step().probes
    assert {(each.address, each.probe.port) for each in probes.values()} == {
        (each.address, each.port) for each in GIVEN
    }
    assert phases(ground) == [HostPhase.VERIFIED] * 3
    (backend,) = ground.view.structure.backends
    assert {(each.address, each.port, each.is_enabled) for each in backend.servers} == {
        (each.address, each.port, True) for each in GIVEN
    }
    assert ground.view.routes[0].first == BLUE


def test_a_dead_one_is_told_and_not_replaced() -> None:
    ground = taken_in()
    verdict(ground, 2, ProbeResult(False, "no answer"))
    settle(ground, probes=False)
    step = ground.step()
    assert step.reports is not None
    (report,) = step.reports[SHOP].groups
    assert (report.verified, report.unhealthy, report.present) == (2, 1, 3)
    assert "no answer" in report.trouble
    assert not report.has_given_up
    (backend,) = ground.view.structure.backends
    assert [each.is_enabled for each in backend.servers] == [True, False, True]


def test_one_that_never_answers_is_not_given_up() -> None:
    ground = Ground()
    ground.accept(a_state(adopted()))
    ground.step()
    verdict(ground, 1, ProbeResult(False, "refused"))
    ground.now += 10_000.0
    ground.step()
    step = ground.step()
    assert ground.region.records[named(1)].judgement.phase is HostPhase.STARTING, "it gets no request"
    assert step.reports is not None
    assert "refused" in step.reports[SHOP].groups[0].trouble


def test_once_retired_they_are_drained_and_let_go_and_no_provider_hears_of_it() -> None:
    ground = taken_in()
    ground.accept(a_state(adopted(count=0, weight_bp=0), rev=2, port=0))
    settle(ground)
    assert ground.region.records == {}
    assert [each.kind for each in ground.region.take_notices()].count("host.let_go") == 3


def test_fewer_are_wanted_and_then_all_again() -> None:
    ground = taken_in()
    ground.accept(a_state(adopted(count=1), rev=2))
    settle(ground)
    assert len(ground.region.records) == 1
    ground.accept(a_state(adopted(count=3), rev=3))
    settle(ground)
    assert phases(ground) == [HostPhase.VERIFIED] * 3


def test_an_agent_that_starts_anew_goes_on_with_them_without_a_gap() -> None:
    before = taken_in()
    for entries in (before.region.entries(), Entries(desired=before.region.entries().desired)):
        ground = Ground(entries)
        ground.view = before.view
        ground.region.adopt([], before.view, ground.now)
        step = ground.step()
        assert phases(ground) == [HostPhase.VERIFIED] * 3
        assert not isinstance(step.change, Arrange)


def test_one_that_drains_at_the_restart_keeps_its_hosts_until_no_request_comes() -> None:
    before = taken_in()
    desired = a_state(adopted(count=0, weight_bp=0), a_group(GREEN, weight_bp=10_000), rev=2)
    ground = Ground(Entries(desired=(desired,)))
    ground.view = before.view
    ground.region.adopt([], before.view, ground.now)
    ground.step()
    left = [each for each in ground.region.records.values() if each.group == BLUE]
    assert len(left) == 3, "they still have the traffic"


def test_a_listing_that_lacks_them_says_nothing() -> None:
    ground = taken_in()
    for _ in range(20):
        ground.now += 10.0
        ground.region.listed([], ground.region.begin_listing(ground.now), ground.now)
    assert phases(ground) == [HostPhase.VERIFIED] * 3


def test_what_no_state_names_any_more_is_left_alone() -> None:
    ground = taken_in()
    ground.accept(replace(a_state(rev=2), frontend_port=0))
    for _ in range(3):
        step = ground.step()
        assert step.destroys == ()
        if step.change is not None:
            ground.carry_out(step)
    assert ground.region.records == {}


def test_a_state_that_asks_for_more_of_them_than_there_are_is_refused() -> None:
    assert contradictions(a_state(adopted(count=4)))
    assert contradictions(a_state(replace(adopted(), replace=(named(1),))))
    assert not contradictions(a_state(adopted()))
