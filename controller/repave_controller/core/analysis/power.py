"""How long `repave-v1` must watch to see a change, at the traffic that is expected.

It asks the judge's own tests: how many events must a canary have at a given time to be bad, and how likely
has one that is worse so many by then?
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, exp, lgamma, log, sqrt
from statistics import NormalDist

from repave_controller.core.analysis.counts import Step, evidence_above
from repave_controller.core.analysis.evidence import EVENTS_MIN
from repave_controller.core.analysis.repave import ALPHA_WATCHED, LEAST_EFFECT, MIN_SAMPLES
from repave_controller.core.analysis.sequential import FIRST_STEPS, LAST_LOOK, stages
from repave_controller.core.analysis.values import MetricKind

SEEN = 0.8
"""Seen is what is found in 8 of 10 releases."""
SECONDS_MAX = 365 * 86_400.0
NORMAL_FROM = 5_000.0
"""Events from which on their number is taken as normal."""
RANKS_EFFICIENCY = 0.955
"""Of ranks against means, for normal samples (3 / pi)."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is expected while the canary is watched."""

    requests_per_second: float
    """Of both sides together."""
    share: float
    """The canary's part of them, 0 to 1."""

    @property
    def canary(self) -> float:
        return self.requests_per_second * self.share

    @property
    def baseline(self) -> float:
        return self.requests_per_second * (1 - self.share)


def seconds_to_see_rate(
    traffic: Traffic,
    rate: float,
    usual: float = 0.0,
    *,
    alpha: float = ALPHA_WATCHED,
    metrics: int = 1,
    needed: int | None = None,
) -> float | None:
    """How long until errors in `rate` of the canary's requests are seen, when the baseline has them in
    `usual` of its own. None: not within a year. `needed`: the least number of requests."""
    if rate <= usual or not traffic.canary or not traffic.baseline:
        return None
    requests = MIN_SAMPLES[MetricKind.RATE] if needed is None else needed
    threshold = alpha / metrics * (1 - LAST_LOOK)

    def is_seen(seconds: float) -> bool:
        expected = rate * traffic.canary * seconds
        return _chance_of(_events_needed(traffic, usual, seconds, threshold), expected) >= SEEN

    seen = _first(is_seen)
    return None if seen is None else max(seen, requests / traffic.canary)


def least_rate_seen(
    traffic: Traffic, seconds: float, usual: float = 0.0, *, alpha: float = ALPHA_WATCHED, metrics: int = 1
) -> float | None:
    """Which rate of errors is seen within `seconds`; None if not even all of them failing is."""
    low, high = usual, 1.0
    if not _is_within(seconds_to_see_rate(traffic, high, usual, alpha=alpha, metrics=metrics), seconds):
        return None
    for _ in range(30):
        middle = (low + high) / 2
        if _is_within(seconds_to_see_rate(traffic, middle, usual, alpha=alpha, metrics=metrics), seconds):
            high = middle
        else:
            low = middle
    return high


def seconds_to_see_change(
    traffic: Traffic,
    change: float,
    *,
    spread: float = 0.5,
    step_seconds: float = 60.0,
    alpha: float = ALPHA_WATCHED,
    metrics: int = 1,
) -> float | None:
    """How long until a value that is `change` (0.2 = 20 %) higher is seen. `spread` is the deviation of one
    request's value, as a part of the mean: a step's mean varies by that, divided by the root of its
    requests."""
    in_step = traffic.canary * step_seconds
    if change <= 0 or in_step < 1 or traffic.baseline * step_seconds < 1:
        return None
    variance = spread**2 * (1 / in_step + 1 / (traffic.baseline * step_seconds))
    normal = NormalDist()
    for steps, part in stages(int(SECONDS_MAX / step_seconds)):
        # Half of the part where the last half is tested as well; ranks of few steps can't be rarer than 1 in
        # so many.
        threshold = alpha / metrics * (1 - LAST_LOOK) * part / (2 if steps >= 2 * FIRST_STEPS else 1)
        if _rarest(steps) > threshold:
            continue
        needed = (
            (normal.inv_cdf(1 - threshold) + normal.inv_cdf(SEEN)) ** 2
            * variance
            / change**2
            / RANKS_EFFICIENCY
        )
        if steps >= needed:
            return steps * step_seconds
    return None


def _is_within(needed: float | None, seconds: float) -> bool:
    return needed is not None and needed <= seconds


def _rarest(steps: int) -> float:
    """1 of all ways to choose half of twice as many."""
    return exp(2 * lgamma(steps + 1) - lgamma(2 * steps + 1))


def _events_needed(traffic: Traffic, usual: float, seconds: float, threshold: float) -> int:
    """How many events of the canary are bad, when the baseline has as many as usual."""
    baseline = usual * traffic.baseline * seconds

    def is_bad(events: int) -> bool:
        step = Step(events, baseline, traffic.canary * seconds, traffic.baseline * seconds)
        return evidence_above([step]) <= threshold

    high = max(EVENTS_MIN, ceil(usual * traffic.canary * seconds * (1 + LEAST_EFFECT[MetricKind.RATE])))
    low = high - 1
    while not is_bad(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_bad(middle) else (middle, high)
    return high


def _chance_of(events: int, expected: float) -> float:
    """P(at least `events`) of a Poisson number."""
    if expected > NORMAL_FROM:
        return 1 - NormalDist(expected, sqrt(expected)).cdf(events - 0.5)
    return 1 - sum(exp(k * log(expected) - expected - lgamma(k + 1)) for k in range(events))


def _first(is_seen: Callable[[float], bool]) -> float | None:
    """The least time from which on it is, to a hundredth."""
    high = 1.0
    while not is_seen(high):
        high *= 2
        if high > SECONDS_MAX:
            return None
    low = high / 2
    while high - low > high / 100:
        middle = (low + high) / 2
        low, high = (low, middle) if is_seen(middle) else (middle, high)
    return high
