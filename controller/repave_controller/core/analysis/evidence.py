"""How strongly the samples of one metric speak for a worse canary, and for one that is not: what `repave-v1`
decides on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan

from repave_controller.core.analysis import counts, ranks
from repave_controller.core.analysis.cleaning import cleaned
from repave_controller.core.analysis.sequential import FIRST_STEPS, LAST_LOOK, staged
from repave_controller.core.analysis.values import (
    Direction,
    Incomparable,
    Metric,
    MetricKind,
    NanStrategy,
    Samples,
    Side,
    Trouble,
    Verdict,
)

Z = 1.959963984540054
"""Intervals that are shown have a confidence of 95 %."""
TRACED = 1e-4
"""How exactly an end of an interval is found, as a part of the spread of the samples."""
EVENTS_MIN = 3
"""Fewer events in the canary are no pattern, however unlikely they are."""
GOOD_DIFFERENCE = 0.005
"""A rate that is shown to be worse by no more is as good, where no least difference is given: without any
event there is no ratio that could show it."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Which look of how many, and whether each sees only the last part."""

    number: int
    planned: int
    is_sliding: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    baseline: Side
    canary: Side
    have: int
    """Samples of the side that has fewer."""
    p_worse: float = 1.0
    """For "it is no worse", by the metric's direction, at all looks."""
    p_good: float = 1.0
    """For "it is worse by the least effect or more", at all looks."""
    bad: Verdict = Verdict.HIGH
    effect: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    matters: bool = False
    """The change that is seen reaches the least effect and the least difference."""
    is_sparse: bool = False
    """Events, or values that are the same in most steps."""


def evidence_of(metric: Metric, baseline: Samples, canary: Samples, looks: Looks, least: float) -> Evidence:
    """Raises `Incomparable`, or `ArithmeticError` for numbers that are too large to reckon with."""
    if metric.kind is MetricKind.VALUE:
        return _of_values(metric, baseline, canary, looks, least)
    return _of_events(metric, baseline, canary, looks, least)


def _worse_of(
    direction: Direction, up: Callable[[], float], down: Callable[[], float]
) -> tuple[float, Verdict]:
    """The p-value of the bad direction; of either, both share the chance."""
    if direction is Direction.INCREASE:
        return up(), Verdict.HIGH
    if direction is Direction.DECREASE:
        return down(), Verdict.LOW
    high, low = up(), down()
    return min(1.0, 2 * min(high, low)), Verdict.HIGH if high <= low else Verdict.LOW


def _good_of(direction: Direction, not_up: Callable[[], float], not_down: Callable[[], float]) -> float:
    if direction is Direction.INCREASE:
        return not_up()
    if direction is Direction.DECREASE:
        return not_down()
    return max(not_up(), not_down())


# --- events ---


def _of_events(metric: Metric, baseline: Samples, canary: Samples, looks: Looks, least: float) -> Evidence:
    steps, of_baseline, of_canary = _steps(metric, baseline, canary)
    left, right = _side(of_baseline), _side(of_canary)
    have = int(min(_size(metric, left), _size(metric, right)))
    if not left.trials or not right.trials:
        return Evidence(left, right, have)
    is_mostly = metric.kind is MetricKind.RATE and sum(e for e, _ in of_baseline) > left.trials / 2
    if is_mostly:
        # Of successes the failures are what can be counted: 99.9 % and 98 % differ by a factor of 20, not by
        # 2 %.
        steps = [_other(step) for step in steps]
    flipped = {Direction.INCREASE: Direction.DECREASE, Direction.DECREASE: Direction.INCREASE}
    direction = flipped.get(metric.direction, metric.direction) if is_mostly else metric.direction
    p_worse, bad, p_good = _tested(steps, direction, looks, least)
    x, y = sum(s.canary for s in steps), sum(s.baseline for s in steps)
    effect = (x / right.trials) / (y / left.trials) - 1 if y else None
    difference = x / right.trials - y / left.trials
    if metric.kind is MetricKind.RATE:
        p_good = min(p_good, _good_by_difference(x, right.trials, y, left.trials, metric.least_difference))
    matters = _matters(effect, difference, bad, least, metric.least_difference)
    if bad is Verdict.HIGH and x < EVENTS_MIN:
        matters = False
    low, high = counts.difference_interval(x, right.trials, y, left.trials, Z, metric.kind is MetricKind.RATE)
    found = Evidence(left, right, have, p_worse, p_good, bad, effect, difference, (low, high), matters, True)
    return _of_the_others(found) if is_mostly else found


def _of_the_others(found: Evidence) -> Evidence:
    """What was found about failures, said of the successes that the metric counts."""
    was, now = found.baseline.mean or 0.0, found.canary.mean or 0.0
    low, high = found.interval or (0.0, 0.0)
    return replace(
        found,
        bad=Verdict.LOW if found.bad is Verdict.HIGH else Verdict.HIGH,
        effect=now / was - 1 if was else None,
        difference=now - was,
        interval=(-high, -low),
    )


def _tested(
    steps: Sequence[counts.Step], direction: Direction, looks: Looks, least: float
) -> tuple[float, Verdict, float]:
    """p of worse, which way, p of good."""
    x, y = round(sum(s.canary for s in steps)), round(sum(s.baseline for s in steps))
    share = counts.Step(
        0, 0, sum(s.canary_exposure for s in steps), sum(s.baseline_exposure for s in steps)
    ).share(1.0)
    p, bad = _worse_of(
        direction,
        lambda: _over_looks(
            looks, counts.chance_above(x, x + y, share), lambda: counts.evidence_above(steps)
        ),
        lambda: _over_looks(
            looks, counts.chance_below(x, x + y, share), lambda: counts.evidence_below(steps)
        ),
    )
    good = _good_of(
        direction,
        lambda: counts.evidence_below(steps, 1 + least),
        lambda: counts.evidence_above(steps, max(0.0, 1 - least)),
    )
    return p, bad, good


def _over_looks(looks: Looks, once: float, lasting: Callable[[], float]) -> float:
    """The p-value for all looks together: of the exact test at the last, and of the bets that hold at every
    one."""
    if looks.planned <= 1:
        return once
    if looks.is_sliding:
        return min(1.0, once * looks.planned)
    at_last = once / LAST_LOOK if looks.number >= looks.planned else 1.0
    return min(lasting() / (1 - LAST_LOOK), at_last, 1.0)


def _good_by_difference(x: float, exposed: float, y: float, other: float, least_difference: float) -> float:
    """0.05 or 1: whether bounds that hold at all looks put the canary's rate at most that far off."""
    _, high = counts.lasting_bounds(x, exposed, 0.025)
    low, _ = counts.lasting_bounds(y, other, 0.025)
    return 0.05 if high - low <= (least_difference or GOOD_DIFFERENCE) else 1.0


def _steps(
    metric: Metric, baseline: Samples, canary: Samples
) -> tuple[list[counts.Step], list[tuple[float, float]], list[tuple[float, float]]]:
    """Both sides step by step, then each for itself.

    A step without a number had no event: a counter is not there before its first one. So a baseline without
    any number had none, if the canary has some. But a canary without any is not one without errors: it may be
    dead.
    """
    is_zero = metric.nan is NanStrategy.REPLACE
    right = _counted(canary, is_zero)
    left = _counted(baseline, is_zero or bool(right))
    steps = [counts.Step(x, y, tx, ty) for (x, tx), (y, ty) in zip(right, left, strict=False) if tx and ty]
    return steps, left, right


def _counted(samples: Samples, is_zero: bool) -> list[tuple[float, float]]:
    """(events, exposure) by step; nothing of a side without any number, unless that `is_zero`."""
    if not samples.trials and not is_zero and all(map(isnan, samples.events)):
        return []
    events = samples.events or (0.0,) * len(samples.trials)
    pairs = []
    for event, exposed in zip(events, samples.trials or (1.0,) * len(events), strict=False):
        known = 0.0 if isnan(event) or isnan(exposed) else event
        trials = 0.0 if isnan(exposed) else exposed
        if known < 0 or trials < 0:
            raise Incomparable(Trouble.NEGATIVE)
        if not isfinite(known) or not isfinite(trials):
            raise Incomparable(Trouble.NOT_FINITE)
        pairs.append((known, trials))
    return pairs


def _side(pairs: Sequence[tuple[float, float]]) -> Side:
    known = [(e, t) for e, t in pairs if t > 0]
    if not known:
        return Side(0)
    events, trials = sum(e for e, _ in known), sum(t for _, t in known)
    rates = sorted(e / t for e, t in known)
    return Side(
        len(known), events / trials, ranks.percentile(rates, 0.5), rates[0], rates[-1], events, trials
    )


def _size(metric: Metric, side: Side) -> float:
    return (side.trials or 0.0) if metric.kind is MetricKind.RATE else side.samples


def _other(step: counts.Step) -> counts.Step:
    return counts.Step(
        max(0.0, step.canary_exposure - step.canary),
        max(0.0, step.baseline_exposure - step.baseline),
        step.canary_exposure,
        step.baseline_exposure,
    )


# --- values ---


def _of_values(metric: Metric, baseline: Samples, canary: Samples, looks: Looks, least: float) -> Evidence:
    y, x = cleaned(metric, baseline.values), cleaned(metric, canary.values)
    left, right = _side_of(y), _side_of(x)
    have = min(len(x), len(y))
    if not have:
        return Evidence(left, right, have)
    test = _Ranked(metric, x, y, looks, least)
    p_worse, bad = _worse_of(metric.direction, lambda: test.p(1), lambda: test.p(-1))
    p_good = _good_of(metric.direction, lambda: test.p_not_worse(1), lambda: test.p_not_worse(-1))
    of_x, of_y = sorted(x), sorted(y)
    effect, matters = _change(of_x, of_y, bad, least, metric.least_difference)
    if not matters and have >= 2 * FIRST_STEPS and looks.planned > 1:
        _, matters = _change(
            sorted(x[len(x) // 2 :]), sorted(y[len(y) // 2 :]), bad, least, metric.least_difference
        )
    difference, interval = _shift(of_x, of_y)
    return Evidence(
        left, right, have, p_worse, p_good, bad, effect, difference, interval, matters, _is_sparse(x, y)
    )


class _Ranked:
    """The rank tests of one metric: on which part of the samples, in which direction."""

    def __init__(
        self, metric: Metric, x: Sequence[float], y: Sequence[float], looks: Looks, least: float
    ) -> None:
        self._x, self._y, self._looks, self._least = x, y, looks, least
        self._least_difference = metric.least_difference
        self._steps = max(len(x), len(y))

    def p(self, sign: int) -> float:
        """For "the canary is no higher" (1) or "no lower" (-1). A part in which it isn't by what matters
        says nothing."""
        bad = Verdict.HIGH if sign > 0 else Verdict.LOW

        def p_of(begin: int, end: int) -> float:
            x, y = sorted(self._x[begin:end]), sorted(self._y[begin:end])
            if not x or not y or not _change(x, y, bad, self._least, self._least_difference)[1]:
                return 1.0
            return _p(x, y, sign)

        return self._over_looks(p_of)

    def p_not_worse(self, sign: int) -> float:
        """For "the canary is higher (1) or lower (-1) by the least effect or more"."""

        def p_of(begin: int, end: int) -> float:
            x = sorted(self._x[begin:end])
            y = sorted(
                v + sign * max(abs(v) * self._least, self._least_difference) for v in self._y[begin:end]
            )
            return _p(x, y, -sign) if x and y else 1.0

        return self._over_looks(p_of, has_recent=False)

    def _over_looks(self, p_of: Callable[[int, int], float], has_recent: bool = True) -> float:
        looks = self._looks
        if looks.is_sliding and looks.planned > 1:
            return min(1.0, p_of(0, self._steps) * looks.planned)
        return staged(self._steps, looks.number, looks.planned, p_of, has_recent)


def _p(x: Sequence[float], y: Sequence[float], sign: int) -> float:
    if sign < 0:
        x, y = [-v for v in reversed(x)], [-v for v in reversed(y)]
    return max(ranks.chance_of_ranks(x, y), _sparse(x, y))


def _sparse(x: Sequence[float], y: Sequence[float]) -> float:
    """Where most samples of both sides are one value (no error in most steps), ranks are few and far from
    normal: the exact chance that so many of those above it are the canary's."""
    if len(x) + len(y) <= ranks.EXACT_SAMPLES_MAX:
        return 0.0
    if not _is_sparse(x, y):
        return 0.0
    merged = sorted([*x, *y])
    usual = merged[len(merged) // 2]
    in_x, in_y = sum(v > usual for v in x), sum(v > usual for v in y)
    return counts.hypergeometric_above(in_x, len(x), in_x + in_y, len(merged))


def _is_sparse(x: Sequence[float], y: Sequence[float]) -> bool:
    merged = sorted([*x, *y])
    usual = merged[len(merged) // 2]
    return sum(v == usual for v in merged) > len(merged) / 2


def _change(
    x: Sequence[float], y: Sequence[float], bad: Verdict, least: float, least_difference: float
) -> tuple[float | None, bool]:
    """The relative change of the trimmed means, and whether it matters. Where most of the baseline is zero
    the trimmed means would be too: there the means count."""
    of_x, of_y = ranks.trimmed_mean(x), ranks.trimmed_mean(y)
    if not of_y:
        of_x, of_y = ranks.mean(x), ranks.mean(y)
    difference = of_x - of_y
    effect = difference / abs(of_y) if of_y else None
    return effect, _matters(effect, difference, bad, least, least_difference)


def _matters(
    effect: float | None, difference: float, bad: Verdict, least: float, least_difference: float
) -> bool:
    sign = 1 if bad is Verdict.HIGH else -1
    if sign * difference <= 0 or sign * difference < least_difference:
        return False
    return effect is None or sign * effect >= least


def _shift(x: Sequence[float], y: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """The Hodges-Lehmann estimate, and its interval."""
    if x[0] == x[-1] and y[0] == y[-1]:
        return x[0] - y[0], (x[0] - y[0],) * 2
    tolerance = TRACED * (max(x[-1], y[-1]) - min(x[0], y[0]))
    sides = ranks.Sides(x, y)
    return sides.hodges_lehmann(tolerance), (sides.shift_at(Z, tolerance), sides.shift_at(-Z, tolerance))


def _side_of(values: Sequence[float]) -> Side:
    if not values:
        return Side(0)
    ordered = sorted(values)
    return Side(len(values), ranks.mean(values), ranks.percentile(ordered, 0.5), ordered[0], ordered[-1])
