"""Whether the time that is promised is the time that the judge needs."""

import random

import pytest

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.power import (
    Traffic,
    least_rate_seen,
    seconds_to_see_change,
    seconds_to_see_rate,
)
from repave_controller.core.analysis.values import (
    Direction,
    JudgeConfig,
    Metric,
    MetricKind,
    Outcome,
    Samples,
)

FIVE_PERCENT = Traffic(20.0, 0.05)


def test_errors_in_one_of_a_hundred_requests_take_minutes_at_a_twentieth_of_twenty_a_second() -> None:
    """One request a second, an error in 100 seconds, three of them in 8 of 10 releases."""
    seen = seconds_to_see_rate(FIVE_PERCENT, 0.01)
    assert seen is not None
    assert 400 < seen < 460
    assert least_rate_seen(FIVE_PERCENT, seen) == pytest.approx(0.01, rel=0.02)


def test_more_traffic_a_larger_share_and_more_errors_are_seen_sooner() -> None:
    def needed(*args: float, **kwargs: int) -> float:
        return seconds_to_see_rate(Traffic(args[0], args[1]), args[2], *args[3:], **kwargs) or float("inf")

    assert needed(200, 0.05, 0.01) < needed(20, 0.05, 0.01) < needed(20, 0.01, 0.01)
    assert needed(20, 0.05, 0.10) < needed(20, 0.05, 0.01) < needed(20, 0.05, 0.01, 0.001)
    assert needed(20, 0.05, 0.02, 0.01) < needed(20, 0.05, 0.02, 0.01, metrics=10)


@pytest.mark.parametrize(
    ("traffic", "rate", "usual"),
    [
        (Traffic(0, 0.05), 1.0, 0.0),
        (Traffic(20, 0), 1.0, 0.0),
        (FIVE_PERCENT, 0.01, 0.01),
        (FIVE_PERCENT, 0.0, 0.0),
    ],
)
def test_what_never_shows_has_no_time(traffic: Traffic, rate: float, usual: float) -> None:
    assert seconds_to_see_rate(traffic, rate, usual) is None


def test_a_change_of_a_value_takes_the_longer_the_more_it_varies() -> None:
    steady, wild = (seconds_to_see_change(FIVE_PERCENT, 0.2, spread=s, step_seconds=10) for s in (0.2, 1.0))
    assert steady is not None
    assert wild is not None
    assert 50 <= steady < wild
    assert seconds_to_see_change(FIVE_PERCENT, 0.2, step_seconds=0.5) is None
    assert seconds_to_see_change(FIVE_PERCENT, 0.0) is None


@pytest.mark.parametrize(
    ("traffic", "rate", "usual"),
    [(FIVE_PERCENT, 0.05, 0.0), (Traffic(20, 0.5), 0.05, 0.0), (Traffic(100, 0.1), 0.03, 0.01)],
)
def test_in_the_time_that_is_promised_the_judge_finds_it_in_about_eight_of_ten(
    traffic: Traffic, rate: float, usual: float
) -> None:
    seen = seconds_to_see_rate(traffic, rate, usual)
    assert seen is not None
    chance, found, runs = random.Random(4), 0, 60
    for _ in range(runs):
        errors, base = (
            Samples(events=(sum(chance.random() < r for _ in range(n)),), trials=(n,))
            for n, r in ((round(traffic.canary * seen), rate), (round(traffic.baseline * seen), usual))
        )
        metric = Metric("errors", MetricKind.RATE, Direction.INCREASE)
        found += (
            judge(JudgeConfig(), [metric], {"errors": base}, {"errors": errors}, 1, 9).outcome is Outcome.FAIL
        )
    assert 0.65 <= found / runs <= 0.98
