"""`repave-v1`, the default judge: is the canary worse than its baseline by what matters?"""

from collections.abc import Sequence
from math import comb, isnan

from repave_controller.core.analysis.values import (
    Direction,
    Grounds,
    JudgeConfig,
    Judgement,
    Metric,
    MetricKind,
    MetricVerdict,
    Outcome,
    Rule,
    Samples,
    SamplesByMetric,
    Side,
    Verdict,
)

LEAST_EFFECT = {MetricKind.RATE: 0.25, MetricKind.COUNT: 0.25, MetricKind.VALUE: 0.1}
MIN_SAMPLES = {MetricKind.RATE: 20, MetricKind.COUNT: 5, MetricKind.VALUE: 5}
PASS_SCORE = 100.0
MARGINAL_SCORE = 75.0


def judge(
    config: JudgeConfig,
    metrics: Sequence[Metric],
    baseline: SamplesByMetric,
    canary: SamplesByMetric,
    look: int,
    looks: int,
) -> Judgement:
    nothing = Samples()
    verdicts = tuple(_verdict(m, baseline.get(m.name, nothing), canary.get(m.name, nothing)) for m in metrics)
    counted = [v for v in verdicts if not v.is_muted]
    bad = tuple(v.metric for v in counted if v.verdict in (Verdict.HIGH, Verdict.LOW))
    undecided = tuple(v.metric for v in counted if v.verdict in (Verdict.NODATA, Verdict.INCONCLUSIVE))
    score = 100.0 * (1 - len(bad) / len(counted)) if counted else 0.0
    if bad:
        return Judgement(Outcome.FAIL, score, Grounds.SCORE, bad, verdicts, look, looks, is_final=True)
    if undecided or not counted:
        return Judgement(Outcome.INCONCLUSIVE, score, Grounds.UNDECIDED, undecided, verdicts, look, looks)
    return Judgement(Outcome.PASS, score, Grounds.SCORE, (), verdicts, look, looks)


def _verdict(metric: Metric, baseline: Samples, canary: Samples) -> MetricVerdict:
    left, right = _side(metric, baseline), _side(metric, canary)
    least = LEAST_EFFECT[metric.kind] if metric.least_effect is None else metric.least_effect
    needed = MIN_SAMPLES[metric.kind] if metric.min_samples is None else metric.min_samples

    def found(verdict: Verdict, rule: Rule, p: float | None = None) -> MetricVerdict:
        return MetricVerdict(
            metric.name, verdict, rule, left, right, p=p, least_effect=least, needed=needed,
            is_critical=metric.is_critical, is_muted=metric.is_muted,
        )  # fmt: skip

    have = min(_have(metric, left), _have(metric, right))
    if not have:
        return found(Verdict.NODATA, Rule.NO_DATA)
    if have < needed:
        return found(Verdict.INCONCLUSIVE, Rule.TOO_FEW_SAMPLES)
    if metric.kind is MetricKind.VALUE:
        ratio = (right.mean or 0.0) / left.mean if left.mean else 1.0
        worse = ratio > 1 + least if metric.direction is not Direction.DECREASE else ratio < 1 - least
        return found(Verdict.HIGH if worse else Verdict.PASS, Rule.CLEARLY_BAD if worse else Rule.NOT_WORSE)
    p = _binomial(
        int(right.events or 0), int(left.events or 0), right.trials or 1, (left.trials or 1) * (1 + least)
    )
    bad = p < 0.05
    return found(Verdict.HIGH if bad else Verdict.PASS, Rule.CLEARLY_BAD if bad else Rule.NOT_WORSE, p)


def _have(metric: Metric, side: Side) -> float:
    return (side.trials or 0) if metric.kind is MetricKind.RATE else side.samples


def _side(metric: Metric, samples: Samples) -> Side:
    if metric.kind is MetricKind.VALUE:
        values = sorted(v for v in samples.values if not isnan(v))
        if not values:
            return Side(0)
        return Side(len(values), sum(values) / len(values), values[len(values) // 2], values[0], values[-1])
    events = [v for v in samples.events if not isnan(v)]
    trials = sum(v for v in samples.trials if not isnan(v)) or float(len(events))
    if not events or not trials:
        return Side(0)
    return Side(len(events), sum(events) / trials, events=sum(events), trials=trials)


def _binomial(canary: int, baseline: int, exposed: float, other: float) -> float:
    """P(at least so many of all events in the canary) when both have the same rate."""
    total, share = canary + baseline, exposed / (exposed + other)
    return sum(comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(canary, total + 1))
