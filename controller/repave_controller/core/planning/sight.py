"""Does the traffic that is expected let an analysis see what is bad in the time that it has?

Told by the plan of a release, so that a release does not come back undecided, or bad, for want of requests.
Nothing is told where the spec says no expected rate, or no old group serves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from repave_controller.core.analysis.power import (
    Traffic,
    least_rate_seen,
    seconds_to_see_change,
    seconds_to_see_rate,
)
from repave_controller.core.analysis.repave import ALPHA_WATCHED, LEAST_EFFECT, MIN_SAMPLES
from repave_controller.core.analysis.values import JudgeName, Metric, MetricKind
from repave_controller.core.domain.analyses import AnalysisPlan
from repave_controller.core.domain.reasons import Forecast, Reason, reason_of
from repave_controller.core.domain.rollout import Rollout, Track
from repave_protos.protocol.values import RegionName

ERRORS = 0.01
"""Of the new group's requests: an analysis that does not see so many is not worth its time."""
SLOWER = 0.2
STEP_SECONDS = 5.0
"""The least step of a balancer's numbers."""
WHOLE_BP = 10_000


@dataclass(frozen=True, slots=True)
class _Side:
    """Requests a second of that which one analysis compares."""

    region: RegionName  # "": those of a wave together
    all: float
    new: float
    old: float

    @property
    def share_bp(self) -> int:
        return round(self.new / self.all * WHOLE_BP)

    @property
    def traffic(self) -> Traffic:
        return Traffic(self.new + self.old, self.new / (self.new + self.old))


def unseen(
    rollout: Rollout, sizes: Mapping[RegionName, int], shares: Mapping[RegionName, tuple[int, ...]]
) -> tuple[Reason, ...]:
    """What an analysis of the rollout would not see in its time. `shares`: the new group's of each region,
    in basis points, once each step is entered. Traffic goes by the sizes of the regions."""
    hosts = sum(sizes.values())
    found: list[Reason] = []
    for index, step in enumerate(rollout.steps):
        plan = step.analysis
        if plan is None or not plan.expected_rate or plan.judge.name is not JudgeName.REPAVE:
            continue
        rates = {region: plan.expected_rate * size / hosts for region, size in sizes.items()}
        sides = [
            _side(plan, region, tracks, rates, {name: each[index] for name, each in shares.items()})
            for region, tracks in _compared(rollout, plan)
        ]
        poorest = min((each for each in sides if each.new), key=lambda each: each.new, default=None)
        if poorest is not None:
            found += _told(plan, index + 1, poorest)
    return tuple(found)


def _compared(rollout: Rollout, plan: AnalysisPlan) -> Iterable[tuple[RegionName, tuple[Track, ...]]]:
    """Whose numbers are put together."""
    for number, wave in enumerate(rollout.waves):
        tracks = tuple(each for each in rollout.tracks if each.wave == number and each.origin is not None)
        if wave.is_lockstep and plan.scope != "region":
            yield RegionName(""), tracks
        else:
            yield from ((each.region, (each,)) for each in tracks)


def _side(
    plan: AnalysisPlan,
    region: RegionName,
    tracks: Iterable[Track],
    rates: Mapping[RegionName, float],
    shares: Mapping[RegionName, int],
) -> _Side:
    """An old group without traffic is compared by its last while of all of it, a fresh one has as much as the
    new one."""
    parts = [(rates[each.region], shares[each.region] / WHOLE_BP) for each in tracks]
    new = sum(rate * share for rate, share in parts)
    old = sum(rate * (1 - share if share < 1 else 1) for rate, share in parts)
    return _Side(region, sum(rate for rate, _ in parts), new, new if plan.baseline == "fresh" else old)


def _told(plan: AnalysisPlan, step: int, side: _Side) -> Iterable[Reason]:
    counted = [each for each in plan.readings if not each.metric.is_muted]
    rates = [each.metric for each in counted if each.metric.kind is MetricKind.RATE]
    latency = [each.metric for each in counted if (each.source, each.query) == ("balancer", "latency")]
    has, alpha = _watched(plan), _alpha(plan)
    if rates:
        needed = seconds_to_see_rate(
            side.traffic, ERRORS, alpha=alpha, metrics=len(counted), needed=max(map(_min_samples, rates))
        )
        if needed is None or needed > has:
            sees = least_rate_seen(side.traffic, has, alpha=alpha, metrics=len(counted))
            yield _reason(Forecast.ERRORS_UNSEEN, step, side, ERRORS, needed, has, sees)
    if latency:
        change = max(SLOWER, 2 * max(map(_least, latency)))
        seconds = max(STEP_SECONDS, 1 / side.new)
        needed = seconds_to_see_change(
            side.traffic, change, step_seconds=seconds, alpha=alpha, metrics=len(counted)
        )
        if needed is None or needed > has:
            yield _reason(Forecast.SLOWNESS_UNSEEN, step, side, change, needed, has)


def _watched(plan: AnalysisPlan) -> float:
    """Seconds that the last look sees."""
    seconds = plan.count * plan.interval_seconds
    return min(seconds, plan.look_back_seconds) if plan.look_back_seconds else seconds


def _alpha(plan: AnalysisPlan) -> float:
    """A window that slides shares it between the looks."""
    alpha = ALPHA_WATCHED if plan.judge.alpha is None else plan.judge.alpha
    return alpha / plan.count if plan.judge.is_sliding else alpha


def _min_samples(metric: Metric) -> int:
    return MIN_SAMPLES[metric.kind] if metric.min_samples is None else metric.min_samples


def _least(metric: Metric) -> float:
    return LEAST_EFFECT[metric.kind] if metric.least_effect is None else metric.least_effect


def _reason(
    kind: Forecast,
    step: int,
    side: _Side,
    bad: float,
    needed: float | None,
    has: float,
    sees: float | None = None,
) -> Reason:
    return reason_of(
        kind,
        step=step,
        region=side.region,
        share_bp=side.share_bp,
        rate=side.all,
        bad=bad,
        needed=needed,
        has=has,
        sees=sees,
    )
