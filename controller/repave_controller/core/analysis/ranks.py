"""Comparisons of two samples by ranks: the Mann-Whitney test, the shift that it allows for, percentiles.

Nothing holds all pairs: a shift is looked for by counting in two sorted lists, so 850 against 850 samples
need a few kilobytes.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from math import comb, erfc, sqrt
from operator import mul

from repave_controller.core.analysis.values import Incomparable, Trouble

BRENT_ITERATIONS_MAX = 1001
EPSILON = 2.220446049250313e-16
EXACT_SAMPLES_MAX = 30
"""Of both sides together. More, and the normal approximation is as good (and faster)."""


def mean(values: Sequence[float]) -> float:
    """In two passes, which takes the rounding of the first back."""
    first = sum_in_order(values) / len(values)
    return first + sum_in_order(v - first for v in values) / len(values)


def sum_in_order(values: Iterable[float]) -> float:
    """The built-in sum compensates from Python 3.12 on; a judgement is the same on every Python."""
    total = 0.0
    for value in values:
        total += value
    return total


def percentile(ordered: Sequence[float], share: float) -> float:
    """Linear between neighbours (type 7 of Hyndman and Fan). `ordered` is sorted and not empty."""
    at = (len(ordered) - 1) * share
    below = int(at)
    if below + 1 >= len(ordered):
        return ordered[-1]
    return ordered[below] + (at - below) * (ordered[below + 1] - ordered[below])


def trimmed_mean(ordered: Sequence[float], share: float = 0.1) -> float:
    """The mean without the lowest and the highest `share` of the samples."""
    away = int(len(ordered) * share)
    return mean(ordered[away : len(ordered) - away])


def above(x: Sequence[float], y: Sequence[float]) -> float:
    """In how many of all pairs the one of `x` is above the one of `y`; a tie is half a pair. `y` is
    sorted."""
    return (sum(map(bisect_left, repeat(y), x)) + sum(map(bisect_right, repeat(y), x))) / 2


def common_language(x: Sequence[float], y: Sequence[float]) -> float:
    """How often a sample of `x` is above one of `y`: 0.5 is no difference. `y` is sorted."""
    return above(x, y) / (len(x) * len(y))


class Sides:
    """Two samples, neither empty, that are shifted against each other. Both are sorted."""

    def __init__(self, x: Sequence[float], y: Sequence[float]) -> None:
        self.x, self.y = x, y
        of_x = Counter(x)
        self._values, self._times = list(of_x), list(of_x.values())
        self._of_y = Counter(y)
        self._ties_of_y = sum(t**3 - t for t in self._of_y.values())

    def standardised(self, shift: float, quantile: float) -> float:
        """How many deviations the ranks of `x - shift` are from their mean, less `quantile`; with half a rank
        of correction for continuity, and the correction for ties. Raises `Incomparable`."""
        m, n = len(self.x), len(self.y)
        shifted, times = [value - shift for value in self._values] if shift else self._values, self._times
        excess = self._above(shifted, times) - m * n / 2
        together = m + n
        ties = self._ties(shifted, times) / (together * (together - 1.0))
        deviation = sqrt((m * n / 12) * ((together + 1) - ties))
        if deviation == 0:
            raise Incomparable(Trouble.ALL_TIED)
        return (excess - (excess > 0) * 0.5 + (excess < 0) * 0.5) / deviation - quantile

    def _above(self, values: Sequence[float], times: Sequence[int]) -> float:
        """As `above`, of values that are there so many times."""
        if len(values) == len(self.x):
            return above(values, self.y)
        left: Iterable[int] = map(mul, map(bisect_left, repeat(self.y), values), times)
        right: Iterable[int] = map(mul, map(bisect_right, repeat(self.y), values), times)
        return (sum(left) + sum(right)) / 2

    def _ties(self, values: Sequence[float], times: Sequence[int]) -> int:
        """The sum of t^3 - t over all groups of t equal samples. `values` are in order; neighbours may have
        become equal by a shift."""
        of_x, of_y = dict(zip(values, times, strict=True)), self._of_y
        if len(of_x) < len(values):
            of_x = Counter[float]()
            for value, t in zip(values, times, strict=True):
                of_x[value] += t
        if len(of_x) == len(self.x) and of_y.keys().isdisjoint(of_x):
            return self._ties_of_y
        total = self._ties_of_y
        for value, t in of_x.items():
            there = of_y.get(value, 0)
            both = t + there
            total += both**3 - both - (there**3 - there)
        return total

    def shift_at(self, quantile: float, tolerance: float) -> float:
        """The shift at which the ranks are `quantile` deviations off: an end of a confidence interval,
        clamped to the differences there are. Raises `Incomparable`."""
        low, high = self.x[0] - self.y[-1], self.x[-1] - self.y[0]
        at_low, at_high = self.standardised(low, quantile), self.standardised(high, quantile)
        if at_low <= 0:
            return low
        if at_high >= 0:
            return high
        return brent(low, high, at_low, at_high, lambda shift: self.standardised(shift, quantile), tolerance)

    def hodges_lehmann(self, tolerance: float) -> float:
        """The shift at which the ranks show none. Raises `Incomparable`."""
        low, high = self.x[0] - self.y[-1], self.x[-1] - self.y[0]
        at_low, at_high = self.standardised(low, 0.0), self.standardised(high, 0.0)
        return brent(low, high, at_low, at_high, lambda shift: self.standardised(shift, 0.0), tolerance)


def brent(
    low: float,
    high: float,
    at_low: float,
    at_high: float,
    function: Callable[[float], float],
    tolerance: float,
) -> float:
    """A root of `function` between `low` and `high` by Brent's method, step for step as R's `zeroin`, which
    decides the last digits."""
    a, b, c = low, high, low
    fa, fb, fc = at_low, at_high, at_low
    if fa == 0.0:
        return a
    if fb == 0.0:
        return b
    for _ in range(BRENT_ITERATIONS_MAX):
        before = b - a
        if abs(fc) < abs(fb):
            a, b, c = b, c, b
            fa, fb, fc = fb, fc, fb
        near = 2 * EPSILON * abs(b) + tolerance / 2
        step = (c - b) / 2
        if abs(step) <= near or abs(fb) <= 5e-324:
            return b
        if abs(before) >= near and abs(fa) > abs(fb):
            step = _interpolated(a, b, c, fa, fb, fc, before, near, step)
        if abs(step) < near:
            step = near if step > 0 else -near
        a, fa = b, fb
        b += step
        fb = function(b)
        if (fb > 0 and fc > 0) or (fb < 0 and fc < 0):
            c, fc = a, fa
    return b


def _interpolated(
    a: float, b: float, c: float, fa: float, fb: float, fc: float, before: float, near: float, half: float
) -> float:
    """The step to where a line or a parabola through the last points is zero, if that is a good one."""
    width = c - b
    if a == c:
        t1 = fb / fa
        p = width * t1
        q = 1.0 - t1
    else:
        q, t1, t2 = fa / fc, fb / fc, fb / fa
        p = t2 * (width * q * (q - t1) - (b - a) * (t1 - 1.0))
        q = (q - 1.0) * (t1 - 1.0) * (t2 - 1.0)
    if p > 0.0:
        q = -q
    else:
        p = -p
    if p < (0.75 * width * q - abs(near * q) / 2) and p < abs(before * q / 2):
        return p / q
    return half


def chance_of_ranks(x: Sequence[float], y: Sequence[float]) -> float:
    """P(ranks of `x` at least so high) if both sides have one distribution: exact with all ties for few
    samples, else normal. Both are sorted."""
    if not x or not y:
        return 1.0
    if x[0] == x[-1] == y[0] == y[-1]:
        return 1.0
    if len(x) + len(y) <= EXACT_SAMPLES_MAX:
        return _exact_chance(x, y)
    return 0.5 * erfc(Sides(x, y).standardised(0.0, 0.0) / sqrt(2))


def _exact_chance(x: Sequence[float], y: Sequence[float]) -> float:
    """Counts, of all ways to choose the samples of `x` out of all, those of no lower ranks.

    `ways[k]` has the number of ways to choose k samples of each sum of ranks, as digits of one long number:
    adding a sample is one shift and one addition.
    """
    merged = sorted(chain(x, y))
    ranks = [bisect_left(merged, v) + bisect_right(merged, v) + 1 for v in merged]  # twice the mid-rank
    lowest = min(ranks)
    ranks = [rank - lowest for rank in ranks]
    total = comb(len(merged), len(x))
    digit = total.bit_length() + 1
    ways = [1] + [0] * len(x)
    for rank in ranks:
        for k in range(len(x), 0, -1):
            if ways[k - 1]:
                ways[k] += ways[k - 1] << (rank * digit)
    seen = sum(bisect_left(merged, v) + bisect_right(merged, v) + 1 - lowest for v in x)
    tail, mask, count = ways[len(x)] >> (seen * digit), (1 << digit) - 1, 0
    while tail:
        count += tail & mask
        tail >>= digit
    return count / total
