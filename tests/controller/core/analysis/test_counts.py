"""The bets on counts of events: what they may win by chance, and how fast they win when there is
something."""

import random
from collections.abc import Iterator
from itertools import product
from math import comb, exp, prod

import pytest

from repave_controller.core.analysis.counts import (
    RISKS,
    Step,
    chance_above,
    chance_below,
    evidence_above,
    evidence_below,
    hypergeometric_above,
    lasting_bounds,
)


def even(*events: tuple[int, int]) -> list[Step]:
    return [Step(x, y, 100.0, 100.0) for x, y in events]


def splits(events: int, share: float) -> Iterator[tuple[int, float]]:
    for k in range(events + 1):
        yield k, comb(events, k) * share**k * (1 - share) ** (events - k)


@pytest.mark.parametrize("ratio", [1.0, 1.25, 0.8])
def test_whoever_bets_against_a_canary_that_is_no_worse_wins_nothing_on_average(ratio: float) -> None:
    """All outcomes of four steps of changing shares: the chance that p is ever at most 0.05 is at most
    0.05."""
    steps = [(3, 50.0, 1000.0), (2, 100.0, 900.0), (4, 500.0, 500.0), (3, 700.0, 100.0)]
    shares = [Step(0, 0, x, y).share(ratio) for _, x, y in steps]
    alarms, total = 0.0, 0.0
    for outcome in product(*(splits(n, s) for (n, _, _), s in zip(steps, shares, strict=True))):
        chance = prod(p for _, p in outcome)
        seen = [Step(k, n - k, x, y) for (k, _), (n, x, y) in zip(outcome, steps, strict=True)]
        total += chance
        alarms += chance * (evidence_above(seen, ratio) <= 0.05)
        # What has been seen at an earlier look is not taken back.
        assert evidence_above(seen, ratio) <= evidence_above(seen[:2], ratio)
    assert total == pytest.approx(1)
    assert 0 < alarms <= 0.05


def test_evidence_for_more_and_for_less_mirror_each_other() -> None:
    more, less = even((7, 1), (3, 0)), even((1, 7), (0, 3))
    assert evidence_above(more) == pytest.approx(evidence_below(less))
    assert evidence_above(less) == evidence_below(more) == 1.0


def test_a_baseline_without_any_error_is_no_trouble() -> None:
    assert evidence_above(even((0, 0), (7, 0))) < 0.05
    assert evidence_above(even((0, 0), (3, 0))) > 0.05
    assert evidence_above([Step(2, 0, 5.0, 95.0)]) < 0.05


def test_steps_that_say_nothing_change_nothing() -> None:
    some = even((3, 1))
    assert evidence_above([*some, Step(0, 0, 9.0, 9.0), Step(3, 0, 9.0, 0.0)]) == evidence_above(some)


def test_the_bets_reach_from_a_third_more_to_hundreds_of_times() -> None:
    assert RISKS[0] == pytest.approx(exp(0.3))
    assert RISKS[-1] > 400


def test_the_exact_chance_of_a_share() -> None:
    assert chance_above(7, 7, 0.5) == pytest.approx(0.5**7)
    assert chance_above(0, 9, 0.5) == 1.0
    assert chance_below(0, 7, 0.5) == pytest.approx(0.5**7)
    assert (chance_above(1, 3, 1.0), chance_above(1, 3, 0.0)) == (1.0, 0.0)
    assert hypergeometric_above(5, 10, 5, 20) == pytest.approx(comb(15, 5) / comb(20, 10))


def test_the_exact_chance_takes_no_longer_for_more_events() -> None:
    """By the normal distribution, whose skew counts for less and less."""
    for of in (10**7, 10**12, 10**17):
        middle, spread = of // 2, round(of**0.5 / 2)
        assert chance_above(middle, of, 0.5) == pytest.approx(0.5, abs=1e-3)
        assert chance_above(middle + 2 * spread, of, 0.5) == pytest.approx(0.02275, rel=0.01)
        assert chance_above(middle - 2 * spread, of, 0.5) == pytest.approx(1 - 0.02275, rel=0.01)
        assert chance_above(of, of, 0.5) == 0.0


def test_bounds_that_last_hold_at_every_look() -> None:
    chance = random.Random(5)
    misses = 0
    for _ in range(60):
        events = 0
        for trials in range(1, 100):
            events += chance.random() < 0.1
            low, high = lasting_bounds(events, trials, 0.05)
            if not low <= 0.1 <= high:
                misses += 1
                break
    assert misses <= 5
    assert lasting_bounds(0, 2000, 0.025)[1] < 0.005
    assert lasting_bounds(0, 0, 0.05) == (0.0, 1.0)
