"""How the answers of a host's probes add up: when it is healthy, since when, and what is known of a gap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.core.host_health import HealthRecord, ProbeResult
from repave_protos.protocol.values import Probe

OK = ProbeResult(True)
BAD = ProbeResult(False, "answered 500")

THRESHOLDS = st.integers(1, 5)
RESULTS = st.lists(st.booleans(), max_size=40)


def play(results: list[bool], healthy_after: int = 1, unhealthy_after: int = 2) -> list[HealthRecord]:
    """The record after each result, one second apart."""
    record, records = HealthRecord(healthy_after, unhealthy_after), []
    for now, ok in enumerate(results):
        record = record.after(OK if ok else BAD, float(now))
        records.append(record)
    return records


def run_length(results: list[bool], end: int, value: bool) -> int:
    length = 0
    while length <= end and results[end - length] is value:
        length += 1
    return length


@given(RESULTS, THRESHOLDS, THRESHOLDS)
def test_health_turns_exactly_at_its_thresholds(results: list[bool], up: int, down: int) -> None:
    was = False
    for now, record in enumerate(play(results, up, down)):
        passed, failed = run_length(results, now, True), run_length(results, now, False)
        expected = (was and failed < down) or (not was and passed >= up)
        assert record.is_healthy == expected
        assert (record.passed, record.failed) == (passed, failed)
        was = record.is_healthy


@given(RESULTS, THRESHOLDS, THRESHOLDS)
def test_healthy_since_is_the_moment_it_turned_healthy_last(results: list[bool], up: int, down: int) -> None:
    records = play(results, up, down)
    for now, record in enumerate(records):
        unhealthy = [index for index in range(now + 1) if not records[index].is_healthy]
        expected = float(unhealthy[-1] + 1) if unhealthy else 0.0
        assert record.healthy_since == (expected if record.is_healthy else None)


@given(RESULTS, THRESHOLDS, THRESHOLDS)
def test_steady_since_follows_the_last_failed_probe(results: list[bool], up: int, down: int) -> None:
    for now, record in enumerate(play(results, up, down)):
        length = run_length(results, now, True)
        assert record.steady_since == (float(now - length + 1) if length else None)


@pytest.mark.parametrize(("answered_at", "since"), [(6.0, 4.0), (8.0, 4.0), (8.5, 4.5), (60.0, 56.0)])
def test_a_gap_between_answers_counts_as_healthy_only_for_what_two_probes_are_apart(
    answered_at: float, since: float
) -> None:
    """Probes every 2 s with 2 s to answer: the answer after that of 4.0 comes by 8.0 at the latest."""
    asked = Probe("tcp", 80, interval_seconds=2.0, timeout_seconds=2.0)
    record = HealthRecord.of(asked).after(OK, 4.0).after(OK, answered_at)
    assert (record.healthy_since, record.steady_since) == (since, since)


def test_a_host_that_flaps_starts_its_healthy_time_again() -> None:
    records = play([True, True, False, False, True])
    assert [record.healthy_since for record in records] == [0.0, 0.0, 0.0, None, 4.0]
    assert records[-1].was_ever_healthy


def test_one_failed_probe_of_two_allowed_keeps_a_host_healthy_but_not_steady() -> None:
    record = play([True, True, False, True])[-1]
    assert (record.is_healthy, record.healthy_since, record.steady_since) == (True, 0.0, 3.0)


def test_the_last_reason_is_kept_until_a_probe_passes() -> None:
    assert [record.reason for record in play([False, True, False])] == ["answered 500", "", "answered 500"]
    assert HealthRecord().reason == "not probed yet"
