"""Comparisons of events: of all events of both sides, are more the canary's than its share of the exposure?

Given how many events there were in a step, the canary's are binomial with its share of the exposure, whatever
the common rate is. So a baseline without any event is no trouble, and neither is a load that changes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import erfc, exp, lgamma, log, log1p, sqrt

RISKS = tuple(exp(k * 0.3) for k in range(1, 21))
"""The relative risks that are betted on, 1.35 to 403, each with the same part of the stake."""

EXACT_MAX = 100_000_000
"""Events; of more the normal distribution can't be told from the binomial."""
NEGLIGIBLE = 1e-18


@dataclass(frozen=True, slots=True)
class Step:
    """Events of one step on both sides, and what they were exposed to."""

    canary: float
    baseline: float
    canary_exposure: float
    baseline_exposure: float

    def share(self, ratio: float) -> float:
        """The canary's share of the events, if its rate is `ratio` times the baseline's."""
        exposed = self.canary_exposure * ratio
        return exposed / (exposed + self.baseline_exposure)


def evidence_above(steps: Iterable[Step], ratio: float = 1.0) -> float:
    """The highest p-value that all looks so far allow for "the canary's rate is at most `ratio` times the
    baseline's". It holds at every look, however many there are.

    Each risk r of `RISKS` is a bet whose stake grows with P(events | r) / P(events | ratio). If the canary is
    no worse, the mean of the stakes is a supermartingale: the chance that it ever reaches 1/p is at most p
    (Ville).
    """
    return _least_p(steps, ratio, RISKS)


def evidence_below(steps: Iterable[Step], ratio: float = 1.0) -> float:
    """The same for "the canary's rate is at least `ratio` times the baseline's"."""
    return _least_p(steps, ratio, tuple(1 / risk for risk in RISKS))


def _least_p(steps: Iterable[Step], ratio: float, risks: Sequence[float]) -> float:
    stakes = [0.0] * len(risks)
    logs = [log(risk) for risk in risks]
    highest = 0.0
    for step in steps:
        events = step.canary + step.baseline
        share = step.share(ratio)
        if not events or not 0 < share < 1:
            continue
        for k, risk in enumerate(risks):
            stakes[k] += step.canary * logs[k] - events * log1p(share * (risk - 1))
        if max(stakes) > highest:
            highest = max(highest, _log_mean(stakes))
    return exp(-highest)


def _log_mean(logs: Sequence[float]) -> float:
    most = max(logs)
    return most + log(sum(exp(each - most) for each in logs) / len(logs))


def chance_above(events: int, of: int, share: float) -> float:
    """P(at least `events` of `of` are the canary's), when each is with the chance `share`: the exact test of
    one look."""
    if events <= 0:
        return 1.0
    if not 0 < share < 1:
        return float(share >= 1)
    if of > EXACT_MAX:
        z = (events - 0.5 - of * share) / sqrt(of * share * (1 - share))
        return erfc(z / sqrt(2)) / 2
    if events > of * share:
        return min(1.0, _tail(events, of, share))
    return max(0.0, 1.0 - _tail(of - events + 1, of, 1 - share))


def _tail(events: int, of: int, share: float) -> float:
    """P(at least `events`), more than are to be expected: each term is smaller than the one before, and
    where they don't count any more it ends."""
    odds = share / (1 - share)
    term = whole = exp(_log_chance(events, of, share)) if events <= of else 0.0
    for k in range(events, of):
        term *= (of - k) / (k + 1) * odds
        if term <= whole * NEGLIGIBLE:
            break
        whole += term
    return whole


def chance_below(events: int, of: int, share: float) -> float:
    """P(at most `events` of `of` are the canary's)."""
    return chance_above(of - events, of, 1 - share)


def _log_chance(k: int, of: int, share: float) -> float:
    ways = lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1)
    return ways + k * log(share) + (of - k) * log1p(-share)


def hypergeometric_above(hits: int, drawn: int, of_hits: int, of: int) -> float:
    """P(at least `hits` of `drawn`) when `drawn` are drawn of `of`, of which `of_hits` are hits."""
    whole = _log_choices(of, drawn)
    least = max(hits, drawn - (of - of_hits), 0)
    most = min(drawn, of_hits)
    return min(
        1.0,
        sum(
            exp(_log_choices(of_hits, k) + _log_choices(of - of_hits, drawn - k) - whole)
            for k in range(least, most + 1)
        ),
    )


def _log_choices(of: int, k: int) -> float:
    return lgamma(of + 1) - lgamma(k + 1) - lgamma(of - k + 1)


def lasting_bounds(events: float, trials: float, alpha: float) -> tuple[float, float]:
    """Between which rates a binomial's one is, for all looks together: where the stake of a bet with
    Jeffreys' prior stays below 1 / alpha (Robbins)."""
    if not trials:
        return 0.0, 1.0
    events = min(events, trials)
    misses = trials - events
    prior = _log_beta(events + 0.5, misses + 0.5) - _log_beta(0.5, 0.5)

    def is_outside(rate: float) -> bool:
        return prior - events * log(rate) - misses * log1p(-rate) > log(1 / alpha)

    seen = events / trials
    low = _edge(0.0, seen, is_outside) if events else 0.0
    high = _edge(1.0, seen, is_outside) if misses else 1.0
    return low, high


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _edge(outside: float, inside: float, is_outside: Callable[[float], bool]) -> float:
    for _ in range(50):
        middle = (outside + inside) / 2
        if not 0 < middle < 1:
            return outside
        if is_outside(middle):
            outside = middle
        else:
            inside = middle
    return outside


def difference_interval(
    canary: float, exposed: float, baseline: float, other: float, z: float, is_rate: bool
) -> tuple[float, float]:
    """Of the difference of two rates (Newcombe): the score intervals of both sides, put together."""
    low_x, high_x = _score_interval(canary, exposed, z, is_rate)
    low_y, high_y = _score_interval(baseline, other, z, is_rate)
    x, y = canary / exposed, baseline / other
    return (
        x - y - sqrt((x - low_x) ** 2 + (high_y - y) ** 2),
        x - y + sqrt((high_x - x) ** 2 + (y - low_y) ** 2),
    )


def _score_interval(events: float, exposure: float, z: float, is_rate: bool) -> tuple[float, float]:
    """Wilson's of a share of trials, or the like of events at an exposure."""
    if not is_rate:
        middle, half = events + z * z / 2, z * sqrt(events + z * z / 4)
        return (middle - half) / exposure, (middle + half) / exposure
    share = min(events / exposure, 1.0)
    middle = share + z * z / (2 * exposure)
    half = z * sqrt(share * (1 - share) / exposure + z * z / (4 * exposure * exposure))
    whole = 1 + z * z / exposure
    return (middle - half) / whole, (middle + half) / whole
