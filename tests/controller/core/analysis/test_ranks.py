"""The statistics by ranks, against definitions that a reader can check at a glance."""

import random
from collections.abc import Sequence
from itertools import combinations
from math import sqrt

import pytest

from repave_controller.core.analysis.ranks import (
    Sides,
    above,
    chance_of_ranks,
    mean,
    percentile,
    trimmed_mean,
)
from repave_controller.core.analysis.values import Incomparable


def samples(chance: random.Random, kind: int, size: int) -> list[float]:
    def draw() -> float:
        match kind % 4:
            case 0:
                return float(chance.randrange(4))
            case 1:
                return chance.gauss(100, 15)
            case 2:
                return chance.choice((0.0, 0.0, 0.0, chance.random()))
        return 7.0

    return sorted(draw() for _ in range(size))


def pairs(count: int) -> list[tuple[list[float], list[float]]]:
    chance = random.Random(17)
    return [
        (samples(chance, k, chance.randrange(1, 12)), samples(chance, k // 4, chance.randrange(1, 12)))
        for k in range(count)
    ]


def mid_ranks(values: Sequence[float]) -> list[float]:
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


def by_definition(x: Sequence[float], y: Sequence[float], shift: float, quantile: float) -> float:
    m, n = len(x), len(y)
    both = [*(v - shift for v in x), *y]
    ranked = mid_ranks(both)
    excess = sum(ranked[:m]) - m * (m + 1) / 2 - m * n / 2
    ties = sum(both.count(v) ** 3 - both.count(v) for v in set(both))
    deviation = sqrt(m * n / 12 * ((m + n + 1) - ties / ((m + n) * (m + n - 1))))
    sign = (excess > 0) - (excess < 0)
    return (excess - sign / 2) / deviation - quantile


def test_counting_in_sorted_lists_is_the_definition_to_the_last_digit() -> None:
    chance = random.Random(3)
    for x, y in pairs(400):
        sides = Sides(x, y)
        for shift in (0.0, x[0] - y[-1], x[-1] - y[0], chance.choice(x) - chance.choice(y), 0.5):
            try:
                wanted = by_definition(x, y, shift, 2.3)
            except ZeroDivisionError:
                with pytest.raises(Incomparable):
                    sides.standardised(shift, 2.3)
            else:
                assert sides.standardised(shift, 2.3) == wanted


def test_the_exact_chance_counts_all_choices() -> None:
    for x, y in pairs(200):
        if len(x) + len(y) > 11:
            continue
        both = [*x, *y]
        ranked = mid_ranks(both)
        seen = sum(ranked[: len(x)])
        all_sums = [sum(chosen) for chosen in combinations(ranked, len(x))]
        assert chance_of_ranks(x, y) == pytest.approx(sum(s >= seen for s in all_sums) / len(all_sums))


def test_the_shift_is_the_middle_of_all_differences() -> None:
    for x, y in pairs(400):
        differences = sorted(a - b for a in x for b in y)
        if len(set(differences)) < len(differences) or len(differences) == 1:
            continue
        middle = (len(differences) - 1) // 2
        low, high = differences[max(0, middle - 1)], differences[min(middle + 2, len(differences) - 1)]
        assert low - 1e-6 <= Sides(x, y).hodges_lehmann(1e-9) <= high + 1e-6


def test_an_interval_holds_the_estimate_and_the_more_confidence_the_wider() -> None:
    for x, y in pairs(400):
        if x[0] == x[-1] and y[0] == y[-1]:
            continue
        sides = Sides(x, y)
        low98, low90, high90, high98 = (sides.shift_at(q, 1e-6) for q in (2.33, 1.64, -1.64, -2.33))
        assert low98 <= low90 + 1e-6
        assert low90 <= sides.hodges_lehmann(1e-6) + 1e-5
        assert sides.hodges_lehmann(1e-6) <= high90 + 1e-5
        assert high90 <= high98 + 1e-6


def test_the_small_ones() -> None:
    assert percentile([1.0], 0.25) == 1.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.25) == 1.75
    assert mean([0.1] * 3) == 0.1
    assert trimmed_mean([1.0] * 9 + [100.0]) == 1.0
    assert above([1.0, 2.0], [1.0, 1.0]) == 3.0
    assert chance_of_ranks([], [1.0]) == chance_of_ranks([1.0], [1.0]) == 1.0
    assert chance_of_ranks([6.0, 7.0, 8.0, 9.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(1 / 252)
