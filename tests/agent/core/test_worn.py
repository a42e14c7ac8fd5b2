"""The promises about worn hosts: which ones they are, what is reported of them, that looking at hosts finds
what somebody did to them, and that healing slows down where it does not help."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.core.fleet import Fleet
from repave_agent.core.observation import GroupFact, HostFact, Limits
from repave_agent.core.ports import Host
from repave_agent.core.reconcile import Launch, reconcile
from repave_agent.core.reports import reports, with_troubles
from repave_agent.core.worn import oldest_age, wear_of
from repave_protos.protocol.bounds import WORN_MAX
from repave_protos.protocol.values import GroupReport, HostName, HostPhase, Worn
from tests.fakes.agent.region_values import BLUE, SHOP, a_group, a_host, a_state, seen, some_hosts
from tests.fakes.agent.worker_rig import fast_group, worker_rig
from tests.fakes.waiting import until

WEEK = 7 * 86_400.0
AGING = a_group(max_age_seconds=WEEK)
NOTHING = GroupFact()


def aged(number: int, seconds: float) -> HostFact:
    return replace(a_host(number), made_at=1e6 - seconds, launch_time=1.7e9 - seconds)


def why(host: HostFact, fact: GroupFact = NOTHING, **changes: object) -> str:
    worn = wear_of(host, replace(AGING, **changes), fact, 1e6)  # type: ignore[arg-type]  # one at a time
    return worn.why if worn is not None else ""


@given(st.integers(1, 100_000))
def test_a_host_is_worn_in_the_last_tenth_of_its_life_and_never_lives_longer(number: int) -> None:
    assert why(aged(number, 0.9 * WEEK - 1)) == ""
    assert why(aged(number, WEEK)) == "age"


def test_hosts_that_were_launched_together_are_worn_one_after_the_other() -> None:
    ages = sorted(oldest_age(HostName(f"shop-v001-{number}"), 1000.0) for number in range(1, 101))
    assert ages == sorted(set(ages))
    assert ages[0] < 910
    assert ages[-1] > 990
    for start in range(900, 1000, 20):  # spread evenly enough: a fifth of them would be 20
        assert 8 <= sum(start <= age < start + 20 for age in ages) <= 32


def test_without_a_highest_age_no_host_is_too_old() -> None:
    assert why(aged(1, 1e6), max_age_seconds=0.0) == ""


def test_a_changed_host_is_worn_where_drift_is_watched() -> None:
    changed = replace(aged(1, 0), drift="app.py has other content")
    assert [why(changed, drift=each) for each in ("ignore", "report", "taint")] == ["", "drift", "drift"]


def test_a_host_that_was_there_when_its_group_is_renewed_is_worn() -> None:
    fact = GroupFact(next_ordinal=4, generation=1, fresh_from=3)
    assert [why(aged(number, 0), fact) for number in (1, 2, 3, 4)] == ["renewal", "renewal", "", ""]


def test_a_renewed_group_remembers_which_hosts_were_there() -> None:
    fleet = Fleet()
    group = a_group(count=2)
    for generation in (0, 1, 1, 2):
        renewed = replace(group, generation=generation)
        fleet.judge({BLUE: renewed}, 100.0)
        for spec in fleet.launching(Launch(renewed, a_state(renewed), 1), 100.0):
            fleet.launched(Host(spec.name, BLUE, SHOP, spec.digest, "127.9.0.1", 80, 5.0, True), 100.0)
    # Hosts 1 to 4; the second generation began with 2, the third with 4.
    assert (fleet.fact(BLUE).generation, fleet.fact(BLUE).fresh_from) == (2, 4)


# ------------------------------------------------------------------------------------------------ reported


def reported(*hosts: HostFact, now: float = 1e6, **changes: object) -> GroupReport:
    state = a_state(replace(AGING, **changes))  # type: ignore[arg-type]  # keyword arguments of the dataclass
    (group,) = reports(seen(state, hosts, now=now), {}, {})[SHOP].groups
    return group


def test_a_report_says_who_is_worn_who_is_oldest_and_who_is_next() -> None:
    old, young = aged(1, 8 * 86_400.0), aged(2, 3600.0)
    report = reported(young, old)
    assert [(worn.host, worn.why) for worn in report.worn] == [(old.name, "age")]
    assert "older than" in report.worn[0].text
    assert (report.aged, report.drifted, report.outdated) == (1, 0, 0)
    assert report.oldest_at == 1.7e9 - 8 * 86_400
    assert 1.7e9 + 0.9 * WEEK - 3600 <= report.due_at + 1 <= 1.7e9 + WEEK


def test_a_report_stays_the_same_while_nothing_happens() -> None:
    hosts = [aged(number, 3600.0 * number) for number in range(1, 20)]
    assert len({reported(*hosts, now=1e6 + second) for second in range(100)}) == 1


def test_hosts_that_are_made_or_ended_are_not_worn_but_a_replaced_one_is_told_until_it_is_gone() -> None:
    old = [replace(aged(1, WEEK), phase=phase) for phase in (HostPhase.LAUNCHING, HostPhase.DESTROYING)]
    assert [reported(host).worn for host in old] == [(), ()]
    assert [worn.host for worn in reported(old[1], replace=(old[1].name,)).worn] == [old[1].name]
    assert reported(replace=(old[1].name,)).worn == ()


def test_a_report_names_a_bounded_number_of_hosts_and_those_that_are_replaced_are_among_them() -> None:
    hosts = [aged(number, WEEK) for number in range(1, 301)]
    asked = tuple(host.name for host in hosts[-WORN_MAX:])
    report = reported(*hosts, count=300, replace=asked)
    assert {worn.host for worn in report.worn} == set(asked)
    assert report.aged == 300
    assert list(report.worn) == sorted(report.worn, key=lambda worn: worn.host)


def test_the_most_urgent_are_named_first() -> None:
    hosts = [aged(number, WEEK) for number in range(1, 201)]
    hosts[150] = replace(hosts[150], drift="somebody was here")
    report = reported(*hosts, count=200, drift="report")
    assert Worn(hosts[150].name, "drift", "somebody was here") in report.worn


@pytest.mark.parametrize("drift", ["report", "taint"])
async def test_a_changed_host_is_found_and_told_once(tmp_path: Path, drift: str) -> None:
    async with worker_rig(tmp_path) as rig:
        await rig.desire(a_state(fast_group(count=2, drift=drift, weight_bp=10_000)))
        await until(lambda: rig.report().balancer_up == 2)
        name = HostName(f"{BLUE}-1")
        rig.cloud.changes[name] = "app.py has other content"
        rig.skip(301.0)
        await until(lambda: bool(rig.report().worn))
        assert rig.report().worn == (Worn(name, "drift", "app.py has other content"),)
        assert rig.report().drifted == 1
        del rig.cloud.changes[name]  # put back as it was: that does not make it fresh
        before = len(rig.told.reports)
        rig.skip(301.0)
        await until(lambda: len(rig.told.reports) > before + 2)
        assert rig.report().drifted == 1
        assert [notice.host for notice in rig.told.notices if notice.kind == "host.worn"] == [name]


async def test_hosts_are_not_looked_at_where_nobody_asks_for_it(tmp_path: Path) -> None:
    async with worker_rig(tmp_path) as rig:
        rig.cloud.changes[HostName(f"{BLUE}-1")] = "app.py has other content"
        state = a_state(fast_group(count=1, weight_bp=10_000))
        await rig.desire(state)
        await rig.converged(state)
        before = len(rig.told.reports)
        rig.skip(1000.0)
        await until(lambda: len(rig.told.reports) > before + 2)
        assert (rig.report().drifted, rig.report().worn) == (0, ())


# --------------------------------------------------------------------------------- healing that slows down


def test_an_image_that_falls_ill_again_and_again_is_replaced_ever_more_slowly() -> None:
    """Each time all are verified first; else it would not be proven and give up."""
    pauses = pauses_of_deaths(every_seconds=30.0, times=12)
    assert pauses[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 180.0


def test_a_host_that_dies_now_and_then_is_replaced_at_once() -> None:
    assert set(pauses_of_deaths(every_seconds=1300.0, times=10)) == {0.5}


def pauses_of_deaths(every_seconds: float, times: int) -> list[float]:
    fleet = Fleet()
    group, now, pauses = a_group(count=1), 1000.0, []
    for _ in range(times):
        (spec,) = fleet.launching(Launch(group, a_state(group), 1), now)
        fleet.launched(Host(spec.name, BLUE, SHOP, spec.digest, "127.9.0.1", 80, 5.0, True), now)
        fleet.records[spec.name].was_verified = True
        fleet.judge({BLUE: group}, now)
        assert fleet.fact(BLUE).is_proven
        fleet.records[spec.name].is_running = False
        fleet.judge({BLUE: group}, now)
        pauses.append(fleet.fact(BLUE).retry_at - now)
        fleet.destroying(spec.name, now)
        fleet.destroyed(spec.name, now)
        now = fleet.fact(BLUE).retry_at + every_seconds
    return pauses


def test_hosts_that_were_ended_because_they_were_ill_count_as_well() -> None:
    fleet = Fleet()
    group = a_group(count=1)
    fleet.groups[BLUE] = GroupFact(is_proven=True)
    pauses = []
    for number in range(4):
        now = 1000.0 + 100.0 * number
        (spec,) = fleet.launching(Launch(group, a_state(group), 1), now)
        fleet.launched(Host(spec.name, BLUE, SHOP, spec.digest, "127.9.0.1", 80, 5.0, True), now)
        record = fleet.records[spec.name]
        record.judgement = replace(record.judgement, phase=HostPhase.UNHEALTHY)
        fleet.destroying(spec.name, now)
        pauses.append(fleet.fact(BLUE).retry_at - now)
    assert pauses == [0.5, 1.0, 2.0, 4.0]


def test_people_are_told_why_nothing_is_launched() -> None:
    state = a_state(a_group(count=3))
    failing = GroupFact(is_proven=True, setbacks=6, setback_at=90.0, retry_at=106.0)
    observation = seen(state, some_hosts(2), blue=failing)
    plan = reconcile(observation, Limits())
    told = with_troubles(observation, plan, {}, ())[BLUE]
    assert told == "its hosts keep failing: the next one is launched 16 s after the last"
    whole = seen(state, some_hosts(3), blue=failing)
    assert with_troubles(whole, reconcile(whole, Limits()), {}, ())[BLUE] == ""
