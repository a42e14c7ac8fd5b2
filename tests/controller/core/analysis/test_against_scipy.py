"""The statistics against SciPy, over thousands of random cases: ties, constants, tiny and empty sides, NaN,
tiny and huge units.

SciPy is a tool of tests only. It is imported when these run, for it takes a second.
"""

import importlib
import random
from collections.abc import Callable, Sequence
from math import isnan, nan, sqrt
from typing import Any, NamedTuple

import pytest

from repave_controller.core.analysis.counts import (
    Step,
    chance_above,
    evidence_above,
    hypergeometric_above,
    lasting_bounds,
)
from repave_controller.core.analysis.kayenta import QUANTILE, verdict_of
from repave_controller.core.analysis.ranks import (
    Sides,
    chance_of_ranks,
    common_language,
    mean,
    percentile,
    trimmed_mean,
)
from repave_controller.core.analysis.values import (
    Direction,
    EffectMeasure,
    EffectSize,
    Incomparable,
    Metric,
    NanStrategy,
    OutlierStrategy,
    Samples,
    Verdict,
)


class Oracle(NamedTuple):
    stats: Any
    special: Any
    numpy: Any


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(*map(importlib.import_module, ("scipy.stats", "scipy.special", "numpy")))


def side(chance: random.Random, size: int, kind: int) -> list[float]:
    scale = 10.0 ** chance.randrange(-4, 6)
    shift = chance.choice((0.0, 0.1, 1.0))
    draws: tuple[Callable[[], float], ...] = (
        lambda: chance.gauss(10, 2) + shift,
        lambda: scale * chance.lognormvariate(0, 0.5),
        lambda: float(chance.randrange(3)),
        lambda: chance.choice((0.0, 0.0, 0.0, 0.0, chance.random())),
        lambda: 5.0 + shift,
        lambda: chance.choice((chance.gauss(10, 1), nan)),
        lambda: chance.choice((1.0, 2.0, 500.0)),
        lambda: -chance.random(),
    )
    return [draws[kind % len(draws)]() for _ in range(size)]


def cases(count: int, largest: int, seed: int = 1) -> list[tuple[list[float], list[float]]]:
    chance = random.Random(seed)
    return [
        (
            side(chance, chance.randrange(largest), k),
            side(chance, chance.randrange(largest), chance.choice((k, k // 8))),
        )
        for k in range(count)
    ]


def known(count: int, largest: int, seed: int = 1) -> list[tuple[list[float], list[float]]]:
    """Sorted, without NaN, neither empty."""
    cleaned = [[sorted(v for v in s if not isnan(v)) for s in pair] for pair in cases(count, largest, seed)]
    return [(x, y) for x, y in cleaned if x and y]


def deviations(oracle: Oracle, x: Sequence[float], y: Sequence[float], shift: float) -> float:
    """By ranks of SciPy; NaN if all are tied."""
    m, n = len(x), len(y)
    both = oracle.numpy.concatenate((oracle.numpy.array(x) - shift, y))
    excess = oracle.stats.rankdata(both)[:m].sum() - m * (m + 1) / 2 - m * n / 2
    _, t = oracle.numpy.unique(both, return_counts=True)
    t = t.astype(float)
    spread = sqrt(max(0.0, m * n / 12 * ((m + n + 1) - (t**3 - t).sum() / ((m + n) * (m + n - 1)))))
    return float((excess - oracle.numpy.sign(excess) / 2) / spread) if spread > 1e-12 else nan


def check_ranks(oracle: Oracle, count: int, largest: int) -> None:
    chance = random.Random(2)
    for x, y in known(count, largest):
        sides = Sides(x, y)
        shift = chance.choice((0.0, chance.choice(x) - chance.choice(y), chance.uniform(-1, 1)))
        wanted = deviations(oracle, x, y, shift)
        if isnan(wanted):
            with pytest.raises(Incomparable):
                sides.standardised(shift, 0.0)
            continue
        assert sides.standardised(shift, 0.0) == pytest.approx(wanted, abs=1e-9)
        u = oracle.stats.mannwhitneyu(x, y, alternative="greater", method="asymptotic")
        assert common_language(x, y) == pytest.approx(u.statistic / (len(x) * len(y)))
        if len(x) + len(y) > 30 and common_language(x, y) > 0.5 and len({*x, *y}) > 1:
            assert chance_of_ranks(x, y) == pytest.approx(u.pvalue, rel=1e-6, abs=1e-12)


def check_exact_ranks(oracle: Oracle, count: int) -> None:
    compared = 0
    for x, y in known(count, 13):
        if len({*x, *y}) == len(x) + len(y):
            wanted = oracle.stats.mannwhitneyu(x, y, alternative="greater", method="exact").pvalue
            assert chance_of_ranks(x, y) == pytest.approx(wanted)
            compared += 1
    assert compared > count / 10


def check_roots(oracle: Oracle, count: int, largest: int) -> None:
    """Just below the shift that is found the ranks are on the one side, just above on the other."""
    for x, y in known(count, largest, 3):
        if (x[0] == x[-1] and y[0] == y[-1]) or max(abs(v) for v in (*x, *y)) > 1e4:
            continue
        sides = Sides(x, y)
        for quantile in (QUANTILE, 0.0, -QUANTILE):
            found = sides.hodges_lehmann(1e-4) if not quantile else sides.shift_at(quantile, 1e-4)
            below, above = (deviations(oracle, x, y, found + e) for e in (-1.01e-4, 1.01e-4))
            if found > x[0] - y[-1]:
                assert isnan(below) or below >= quantile - 1e-9
            if found < x[-1] - y[0]:
                assert isnan(above) or above <= quantile + 1e-9


def check_counts(oracle: Oracle, count: int) -> None:
    chance = random.Random(4)
    for _ in range(count):
        of = chance.choice((chance.randrange(1, 40), chance.randrange(1, 4000)))
        events, share = chance.randrange(of + 1), chance.choice((0.5, chance.random(), 0.001))
        wanted = oracle.stats.binom.sf(events - 1, of, share)
        assert chance_above(events, of, share) == pytest.approx(wanted, rel=1e-6, abs=1e-200)
        drawn, hits = chance.randrange(of + 1), chance.randrange(of + 1)
        wanted = oracle.stats.hypergeom.sf(events - 1, of, hits, drawn)
        assert hypergeometric_above(events, drawn, hits, of) == pytest.approx(wanted, rel=1e-6, abs=1e-12)
        low, high = lasting_bounds(events, of, 0.05)
        prior = oracle.special.betaln(events + 0.5, of - events + 0.5) - oracle.special.betaln(0.5, 0.5)
        for end in {low, high} - {0.0, 1.0}:
            stake = prior - oracle.stats.binom.logpmf(events, of, end)
            stake += oracle.special.gammaln(of + 1) - oracle.special.gammaln(events + 1)
            stake -= oracle.special.gammaln(of - events + 1)
            assert stake == pytest.approx(oracle.numpy.log(20), abs=1e-3)


def check_evidence_is_never_stronger_than_the_exact_test(count: int) -> None:
    """What holds at every look can't say more than a test that looks once: by a factor of two, for the mean
    of all bets is at one number of events above the best test's level."""
    chance = random.Random(5)
    for _ in range(count):
        of = chance.randrange(1, 60)
        events = chance.randrange(of + 1)
        once = chance_above(events, of, 0.5)
        assert evidence_above([Step(events, of - events, 1.0, 1.0)]) >= once / 2


def check_summaries(oracle: Oracle, count: int, largest: int) -> None:
    chance = random.Random(6)
    for x, _ in known(count, largest, 6):
        share = chance.random()
        assert percentile(x, share) == pytest.approx(
            oracle.numpy.percentile(x, share * 100), rel=1e-9, abs=1e-12
        )
        assert mean(x) == pytest.approx(oracle.numpy.mean(x))
        assert trimmed_mean(x) == pytest.approx(oracle.stats.trim_mean(x, 0.1))


def decided(oracle: Oracle, metric: Metric, x: Sequence[float], y: Sequence[float]) -> Verdict | None:
    """Kayenta's verdict in terms of NumPy; None where rounding decides."""
    numpy = oracle.numpy
    sides = []
    for values in (x, y):
        kept = numpy.array(values, dtype=float)
        kept = numpy.nan_to_num(kept) if metric.nan is NanStrategy.REPLACE else kept[~numpy.isnan(kept)]
        if metric.outliers is OutlierStrategy.REMOVE and len(kept):
            p1, q1, q3, p99 = numpy.percentile(kept, (1, 25, 75, 99))
            reach = metric.outlier_factor * (q3 - q1)
            kept = kept[(kept >= min(p1, q1 - reach)) & (kept <= max(p99, q3 + reach))]
        sides.append(numpy.sort(kept))
    a, b = sides
    if not len(a) or not len(b):
        return Verdict.PASS if metric.nan is NanStrategy.REPLACE else Verdict.NODATA
    if numpy.array_equal(a, b) or len(numpy.unique(numpy.concatenate(sides))) == 1:
        return Verdict.PASS
    if len(numpy.unique(a)) == len(numpy.unique(b)) == 1:
        if len(a) * len(b) == 1:
            return Verdict.ERROR
        low = estimate = high = a[0] - b[0]
    else:
        low, estimate, high = (_root(oracle, a, b, q) for q in (-QUANTILE, 0.0, QUANTILE))
        if any(not deviations(oracle, a, b, estimate + e) for e in (-3e-4, 3e-4)):
            return None  # many shifts show no difference: which one is found is the root finder's choice
    bound = 0.25 * abs(estimate)
    near = 2e-4 * 1.25
    if abs(low - bound) < near or abs(high + bound) < near:
        return None
    size = a.mean() / b.mean() if a.mean() and b.mean() else nan
    if metric.effect_size.measure is EffectMeasure.CLES:
        size = oracle.stats.mannwhitneyu(a, b).statistic / (len(a) * len(b))
    none = 0.5 if metric.effect_size.measure is EffectMeasure.CLES else 1.0
    if abs(size - none) < 1e-9:
        return None
    if metric.direction is not Direction.DECREASE and low > bound and not size < none:
        return Verdict.HIGH
    if metric.direction is not Direction.INCREASE and high < -bound and not size > none:
        return Verdict.LOW
    return Verdict.PASS


def _root(oracle: Oracle, x: Sequence[float], y: Sequence[float], quantile: float) -> float:
    low, high = float(x[0] - y[-1]), float(x[-1] - y[0])
    if quantile and deviations(oracle, x, y, low) <= quantile:
        return low
    if quantile and deviations(oracle, x, y, high) >= quantile:
        return high
    while high - low > 5e-5:
        middle = (low + high) / 2
        at = deviations(oracle, x, y, middle) - quantile
        low, high = (middle, high) if at > 0 else (low, middle)
    return (low + high) / 2


def check_verdicts(oracle: Oracle, count: int, largest: int) -> None:
    chance = random.Random(7)
    compared = 0
    for x, y in cases(count, largest, 7):
        if any(abs(v) > 1e4 for v in (*x, *y)):
            continue
        metric = Metric(
            "m",
            direction=chance.choice(list(Direction)),
            nan=chance.choice(list(NanStrategy)),
            outliers=chance.choice(list(OutlierStrategy)),
            effect_size=EffectSize(chance.choice(list(EffectMeasure))),
        )
        wanted = decided(oracle, metric, x, y)
        if wanted is not None:
            assert verdict_of(metric, Samples(tuple(y)), Samples(tuple(x))).verdict is wanted, (metric, x, y)
            compared += 1
    assert compared > count / 4


def test_all_of_it_in_some_hundred_cases(oracle: Oracle) -> None:
    check_ranks(oracle, 250, 60)
    check_exact_ranks(oracle, 150)
    check_roots(oracle, 150, 20)
    check_counts(oracle, 300)
    check_evidence_is_never_stronger_than_the_exact_test(300)
    check_summaries(oracle, 300, 60)
    check_verdicts(oracle, 120, 15)


@pytest.mark.rig
@pytest.mark.timeout(900)
def test_all_of_it_in_many_thousand_cases(oracle: Oracle) -> None:
    check_ranks(oracle, 6000, 200)
    check_exact_ranks(oracle, 4000)
    check_roots(oracle, 4000, 60)
    check_counts(oracle, 8000)
    check_evidence_is_never_stronger_than_the_exact_test(8000)
    check_summaries(oracle, 5000, 200)
    check_verdicts(oracle, 1500, 40)
