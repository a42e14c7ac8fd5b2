"""The promises about a host's life: when it counts as verified, when as failed, and what a restarted agent
still knows of it. Health records go through the real counting of probes."""

from dataclasses import replace

import pytest

from repave_agent.core.fleet import GONE_GROUPS_MAX, Fleet
from repave_agent.core.host_health import PASSED, ProbeResult
from repave_agent.core.host_phase import Judgement, Signs, judge_host
from repave_agent.core.observation import GroupFact
from repave_agent.core.ports import TAKEN_BACK, Host
from repave_agent.core.reconcile import Launch
from repave_protos.protocol.values import GroupName, HostName, HostPhase
from tests.fakes.agent.fleet import answer
from tests.fakes.agent.region_values import BLUE, PROBE, SHOP, a_group, a_state
from tests.fakes.templates import changed

GROUP = a_group(min_healthy_seconds=2.0, launch_deadline_seconds=10.0)
NEW = Signs(launched_at=100.0)
VERIFIED = replace(NEW, was_verified=True)
RECOVERING = replace(VERIFIED, is_recovering=True)


def phase(signs: Signs, now: float = 101.0) -> HostPhase:
    return judge_host(signs, GROUP, now).phase


# ------------------------------------------------------------------------------------------ one judgement


def test_a_host_is_verified_once_it_was_healthy_for_long_enough_and_not_before() -> None:
    healthy = replace(NEW, is_healthy=True, healthy_since=101.0)
    assert judge_host(healthy, GROUP, 102.9) == Judgement(HostPhase.HEALTHY, due_at=103.0)
    assert phase(healthy, 103.0) is HostPhase.VERIFIED


def test_no_host_is_verified_by_time_in_which_nobody_asked_it() -> None:
    """A probe at 102.5 was the newest one, and the next is due at 102.9: since then the agent stood still."""
    unseen = replace(NEW, is_healthy=True, healthy_since=101.0, known_until=102.9)
    assert phase(unseen, 103.0) is HostPhase.HEALTHY
    assert phase(replace(unseen, known_until=103.0), 103.0) is HostPhase.VERIFIED
    assert phase(replace(unseen, was_verified=True), 103.0) is HostPhase.VERIFIED


def test_a_host_that_misses_its_deadline_fails_with_what_its_probe_said() -> None:
    silent = replace(NEW, health_reason="connection refused")
    assert judge_host(silent, GROUP, 109.9) == Judgement(HostPhase.STARTING, "connection refused", 110.0)
    judgement = judge_host(silent, GROUP, 110.0)
    assert judgement == Judgement(HostPhase.FAILED, "not verified within 10 s: connection refused")


def test_a_host_that_turns_healthy_too_late_fails_too() -> None:
    late = replace(NEW, is_healthy=True, healthy_since=109.0)
    assert judge_host(late, GROUP, 109.5).due_at == 110.0
    judgement = judge_host(late, GROUP, 110.5)
    assert judgement.phase is HostPhase.FAILED
    assert "it was not healthy for 2 s on end" in judgement.trouble


def test_a_verified_host_has_no_deadline_any_more() -> None:
    assert phase(replace(VERIFIED, is_healthy=True, healthy_since=500.0), 501.0) is HostPhase.VERIFIED


def test_a_host_that_ended_has_failed_whatever_it_was() -> None:
    for signs in (NEW, VERIFIED, RECOVERING):
        ended = replace(signs, is_running=False, ended="exited with code 1")
        assert judge_host(ended, GROUP, 101.0) == Judgement(HostPhase.FAILED, "exited with code 1")


def test_a_failed_host_never_comes_back() -> None:
    assert phase(replace(NEW, failure="it failed", is_healthy=True, healthy_since=0.0)) is HostPhase.FAILED


def test_a_host_that_is_being_destroyed_is_nothing_else() -> None:
    assert phase(replace(VERIFIED, is_destroying=True, is_running=False)) is HostPhase.DESTROYING


def test_a_restarted_agent_takes_a_verified_host_as_verified_until_a_probe_says_otherwise() -> None:
    assert phase(VERIFIED) is HostPhase.VERIFIED
    assert phase(replace(VERIFIED, is_healthy=True, healthy_since=101.0)) is HostPhase.VERIFIED
    assert phase(replace(VERIFIED, is_healthy=False, health_reason="500")) is HostPhase.UNHEALTHY


def test_a_restarted_agent_verifies_a_new_host_from_the_beginning() -> None:
    assert phase(NEW) is HostPhase.STARTING


def test_an_unhealthy_host_must_prove_itself_again() -> None:
    healthy = replace(RECOVERING, is_healthy=True, healthy_since=200.0)
    assert judge_host(healthy, GROUP, 201.0).phase is HostPhase.UNHEALTHY
    assert judge_host(healthy, GROUP, 201.0).due_at == 202.0
    assert phase(healthy, 202.0) is HostPhase.VERIFIED


def test_nobody_judges_the_health_of_a_host_that_nobody_wants() -> None:
    assert judge_host(NEW, None, 1e9).phase is HostPhase.STARTING


# -------------------------------------------------------------------------------- through probes and fleet


class Life:
    """One host, launched at 100, probed by hand."""

    def __init__(self, healthy_after: int = 2, unhealthy_after: int = 2) -> None:
        probe = replace(PROBE, healthy_after=healthy_after, unhealthy_after=unhealthy_after)
        self.group = changed(GROUP, {"probe": probe, "count": 1})
        self.fleet = Fleet()
        (spec,) = self.fleet.launching(Launch(self.group, a_state(self.group), 1), 100.0)
        host = Host(spec.name, BLUE, SHOP, spec.digest, "127.9.0.1", spec.port, 0.0, is_running=True)
        self.fleet.launched(host, 100.0)
        self.name = spec.name
        self.at(100.0)

    def at(self, now: float, *answers: bool) -> HostPhase:
        """Its phase at `now`, after these answers."""
        for ok in answers:
            answer(self.fleet, self.name, PASSED if ok else ProbeResult(False, "500"), now)
            self._judge(now)
        return self._judge(now)

    def _judge(self, now: float) -> HostPhase:
        (fact,) = self.fleet.judge({BLUE: self.group}, now)
        return fact.phase


def test_thresholds_count_before_anything_is_believed() -> None:
    life = Life(healthy_after=3, unhealthy_after=2)
    assert life.at(101.0, True, True) is HostPhase.STARTING
    assert life.at(101.0, True) is HostPhase.HEALTHY
    assert life.at(103.0, True) is HostPhase.VERIFIED
    assert life.at(104.0, False) is HostPhase.VERIFIED
    assert life.at(104.0, False) is HostPhase.UNHEALTHY


def test_one_failed_probe_sends_a_new_host_back_to_the_start_of_its_proof() -> None:
    life = Life(healthy_after=1, unhealthy_after=3)
    assert life.at(101.0, True) is HostPhase.HEALTHY
    assert life.at(102.5, False) is HostPhase.STARTING
    assert life.at(103.5, True) is HostPhase.HEALTHY
    assert life.at(105.5, True) is HostPhase.VERIFIED


def test_a_host_that_fell_ill_is_not_trusted_again_for_one_good_answer() -> None:
    life = Life(healthy_after=2)
    life.at(101.0, True, True)
    assert life.at(103.0) is HostPhase.VERIFIED
    assert life.at(104.0, False, False) is HostPhase.UNHEALTHY
    assert life.at(105.0, True) is HostPhase.UNHEALTHY
    assert life.at(106.0, True) is HostPhase.UNHEALTHY
    assert life.at(108.0, True) is HostPhase.VERIFIED


def test_a_listing_that_lags_fails_nobody_and_a_lost_host_fails_in_the_end() -> None:
    life = Life()
    life.fleet.adopt([], life.fleet.known(), set(), 101.0)
    assert life.at(101.0) is HostPhase.STARTING
    life.fleet.adopt([], life.fleet.known(), set(), 131.0)
    assert life.at(131.0) is HostPhase.FAILED
    assert "its provider has lost it" in life.fleet.troubles[BLUE]
    assert TAKEN_BACK not in life.fleet.troubles[BLUE]


def test_a_spot_machine_that_is_lost_is_told_as_one() -> None:
    life = Life()
    (record,) = life.fleet.records.values()
    record.is_spot = True
    for now in (101.0, 131.0):
        life.fleet.adopt([], life.fleet.known(), set(), now)
    assert life.at(131.0) is HostPhase.FAILED
    assert f"its provider has lost it: {TAKEN_BACK}" in life.fleet.troubles[BLUE]


def test_a_host_that_answers_its_probe_is_there_whatever_a_listing_says() -> None:
    life = Life()
    life.at(101.0, True, True)
    for now in (104.0, 140.0, 200.0):
        life.fleet.adopt([], life.fleet.known(), set(), now)
        assert life.at(now) is HostPhase.VERIFIED


def test_a_listing_may_show_a_destroyed_host_for_a_while() -> None:
    life = Life()
    host = Host(life.name, BLUE, SHOP, GROUP.digest, "127.9.0.1", 80, 0.0, is_running=True)
    life.fleet.destroyed(life.name, 100.0)
    life.fleet.adopt([host], life.fleet.known(), set(), 219.0)
    assert life.fleet.records == {}
    life.fleet.adopt([host], life.fleet.known(), set(), 221.0)
    assert list(life.fleet.records) == [life.name]


def test_a_host_whose_end_is_uncertain_is_never_used_again() -> None:
    life = Life()
    life.at(101.0, True, True)
    life.fleet.records[life.name].is_destroying = True
    life.fleet.not_destroyed(life.name, "no answer")
    assert life.at(105.0) is HostPhase.FAILED
    assert life.at(106.0) is HostPhase.FAILED
    assert life.fleet.fact(BLUE).failures == 0


def test_time_in_which_nobody_looked_counts_against_no_starting_host() -> None:
    life = Life()
    assert life.at(105.0) is HostPhase.STARTING
    assert life.at(165.0) is HostPhase.STARTING  # the agent was frozen for a minute
    assert life.at(168.0) is HostPhase.STARTING
    assert life.at(175.5) is HostPhase.FAILED


def test_a_restarted_agent_asks_an_idle_host_first_and_leaves_a_busy_one_in_traffic() -> None:
    assert judge_host(Signs(100.0, was_verified=True), GROUP, 101.0).phase is HostPhase.VERIFIED
    assert judge_host(Signs(100.0, was_verified=True, is_idle=True), GROUP, 101.0).phase is HostPhase.HEALTHY


def test_many_hosts_that_end_at_once_are_one_setback() -> None:
    fleet = Fleet()
    group = a_group(count=20)
    hosts = []
    for spec in fleet.launching(Launch(group, a_state(group), 20), 0.0):
        hosts.append(Host(spec.name, BLUE, SHOP, spec.digest, "127.9.0.1", spec.port, 0.0, is_running=True))
        fleet.launched(hosts[-1], 0.0)
    fleet.adopt(
        [replace(host, is_running=False, ended="power") for host in hosts], fleet.known(), set(), 50.0
    )
    fleet.judge({BLUE: group}, 50.0)
    assert fleet.fact(BLUE).failures == 20
    assert fleet.fact(BLUE).retry_at == 50.5


def test_pauses_grow_with_setbacks_and_end_when_all_are_verified() -> None:
    life = Life()
    pauses = []
    for now in (200.0, 300.0, 400.0):
        (spec,) = life.fleet.launching(Launch(life.group, a_state(life.group), 1), now)
        life.fleet.launch_failed(spec.name, "corrupt", now, counts=True, is_final=False)
        pauses.append(life.fleet.fact(BLUE).retry_at - now)
    assert pauses == [0.5, 1.0, 2.0]
    life.at(101.0, True, True)
    assert life.at(103.0) is HostPhase.VERIFIED
    assert (life.fleet.fact(BLUE).failures, life.fleet.fact(BLUE).setbacks) == (0, 0)


def test_another_attempt_forgets_what_failed_and_a_group_that_grows_proves_itself_anew() -> None:
    life = Life()
    (spec,) = life.fleet.launching(Launch(life.group, a_state(life.group), 1), 100.0)
    life.fleet.launch_failed(spec.name, "corrupt", 100.0, counts=True, is_final=True)
    life.fleet.judge({BLUE: life.group}, 101.0)
    assert life.fleet.fact(BLUE).refused == "corrupt"
    life.fleet.judge({BLUE: replace(life.group, attempt=1)}, 102.0)
    fact = life.fleet.fact(BLUE)
    assert (fact.refused, fact.failures, fact.retry_at, fact.attempt) == ("", 0, 0.0, 1)

    life.fleet.groups[BLUE] = replace(fact, is_proven=True, proven_count=1)
    life.fleet.judge({BLUE: replace(life.group, attempt=1, count=8, is_proven=True)}, 103.0)
    assert life.fleet.fact(BLUE).is_proven
    life.fleet.judge({BLUE: replace(life.group, attempt=1, count=8)}, 104.0)
    assert not life.fleet.fact(BLUE).is_proven


# ------------------------------------------------------------------------------------------------ adoption


@pytest.mark.parametrize(("remembered", "expected"), [(True, "verified"), (False, "starting")])
def test_adopted_hosts_are_what_the_journal_says(remembered: bool, expected: str) -> None:
    fleet = Fleet()
    host = Host(HostName("shop-v001-7"), BLUE, SHOP, GROUP.digest, "127.9.0.1", 80, 0.0, is_running=True)
    fleet.adopt([host], fleet.known(), {host.name} if remembered else set(), 100.0)
    (fact,) = fleet.judge({BLUE: GROUP}, 100.0)
    assert (fact.phase, fact.address) == (expected, "127.9.0.1")


def test_the_name_of_an_adopted_host_is_never_given_again_even_when_the_journal_was_lost() -> None:
    fleet = Fleet()
    host = Host(HostName("shop-v001-7"), BLUE, SHOP, GROUP.digest, "127.9.0.1", 80, 0.0, is_running=True)
    fleet.adopt([host], fleet.known(), set(), 100.0)
    (spec,) = fleet.launching(Launch(GROUP, a_state(GROUP), 1), 100.0)
    assert spec.name == "shop-v001-8"


def test_a_host_that_was_destroyed_while_the_provider_was_asked_is_not_adopted_again() -> None:
    life = Life()
    known = life.fleet.known()
    host = Host(life.name, BLUE, SHOP, GROUP.digest, "127.9.0.1", 80, 0.0, is_running=True)
    life.fleet.destroyed(life.name, 100.0)
    life.fleet.adopt([host], known, set(), 101.0)
    assert life.fleet.records == {}


def test_a_group_that_is_wanted_again_begins_a_new_drain_when_it_goes() -> None:
    life = Life()
    life.fleet.begin_drain(BLUE, 100.0)
    life.fleet.desired_changed([a_state(replace(life.group, count=0))])
    assert life.fleet.fact(BLUE).drain_since == 100.0
    life.fleet.desired_changed([a_state(life.group)])
    assert life.fleet.fact(BLUE).drain_since is None


def test_a_group_that_comes_back_gets_no_name_twice_and_is_otherwise_as_new() -> None:
    """A region that was skipped on the way gives up the group, and gets it again when it is caught up."""
    fleet = Fleet()
    fleet.launching(Launch(GROUP, a_state(GROUP), 3), 100.0)
    fleet.records.clear()
    fleet.note_routed([BLUE])
    fleet.desired_changed([])
    assert fleet.fact(BLUE) == GroupFact(next_ordinal=4)


def test_only_so_many_groups_that_are_gone_are_remembered() -> None:
    fleet = Fleet()
    names = [GroupName(f"shop-v{number:03}") for number in range(1, GONE_GROUPS_MAX + 10)]
    for name in names:
        fleet.groups[name] = GroupFact(next_ordinal=7)
        fleet.desired_changed([])
    assert list(fleet.groups) == names[-GONE_GROUPS_MAX:]


def test_a_group_that_gets_traffic_after_all_begins_its_drain_anew() -> None:
    """A switch that was given up may still be carried out late."""
    life = Life()
    life.fleet.begin_drain(BLUE, 100.0)
    life.fleet.note_routed([BLUE])
    assert life.fleet.fact(BLUE).drain_since is None


def test_a_host_that_is_being_destroyed_is_not_probed_any_more() -> None:
    life = Life()
    assert life.fleet.health_of(life.name) is not None
    life.fleet.records[life.name].is_destroying = True
    life.at(101.0)
    assert life.fleet.health_of(life.name) is None
