"""`repave-v1`, the default judge: is the canary worse than its baseline by what matters, and how sure is
that?

A metric is bad when two things hold: the change that is seen reaches the least effect, and a canary as good
as its baseline would show such a change, in any metric and at any look, in `alpha` of all releases at most.
What has too few samples or can't be judged is never passed.
"""

from collections.abc import Sequence
from dataclasses import replace

from repave_controller.core.analysis.evidence import Evidence, Looks, evidence_of
from repave_controller.core.analysis.scores import group_scores, summary
from repave_controller.core.analysis.sequential import holm
from repave_controller.core.analysis.values import (
    Grounds,
    Incomparable,
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
    Trouble,
    Verdict,
)

LEAST_EFFECT = {MetricKind.RATE: 0.25, MetricKind.COUNT: 0.25, MetricKind.VALUE: 0.1}
GOOD = 0.05
"""How often at most a canary that is worse by the least effect is called clearly good."""
MIN_SAMPLES = {MetricKind.RATE: 50, MetricKind.COUNT: 5, MetricKind.VALUE: 5}
PASS_SCORE = 100.0
MARGINAL_SCORE = 75.0
ALPHA_WATCHED = 0.01
"""Of a release that is watched: the controller acts on it by itself."""
ALPHA_ONCE = 0.05
"""Of a single look, which a person asks for."""
SUSPICION = 6.0
"""A few events, which no more samples may come of, are for a person when they are this many times likelier
than what a bad verdict needs."""

Judged = Evidence | MetricVerdict
"""Evidence, or the verdict where there is none."""


def judge(
    config: JudgeConfig,
    metrics: Sequence[Metric],
    baseline: SamplesByMetric,
    canary: SamplesByMetric,
    look: int,
    looks: int,
) -> Judgement:
    nothing, at = Samples(), Looks(look, looks, config.is_sliding)
    alpha = (ALPHA_WATCHED if looks > 1 else ALPHA_ONCE) if config.alpha is None else config.alpha
    found = [_found(m, baseline.get(m.name, nothing), canary.get(m.name, nothing), at) for m in metrics]
    counted = [each for metric, each in zip(metrics, found, strict=True) if not metric.is_muted]
    thresholds = iter(holm([e.p_worse if isinstance(e, Evidence) else 1.0 for e in counted], alpha))
    verdicts = tuple(
        _verdict(metric, each, alpha if metric.is_muted else next(thresholds))
        for metric, each in zip(metrics, found, strict=True)
    )
    return _concluded(config, metrics, verdicts, look, looks)


def _found(metric: Metric, baseline: Samples, canary: Samples, looks: Looks) -> Judged:
    try:
        return evidence_of(metric, baseline, canary, looks, _least(metric))
    except Incomparable as error:
        return _error(metric, error.trouble)
    except ArithmeticError:
        return _error(metric, Trouble.ARITHMETIC)


def _error(metric: Metric, trouble: Trouble) -> MetricVerdict:
    return MetricVerdict(
        metric.name, Verdict.ERROR, Rule.FAILED_TO_JUDGE, Side(0), Side(0),
        is_critical=metric.is_critical, is_muted=metric.is_muted, trouble=trouble, kind=metric.kind,
    )  # fmt: skip


def _least(metric: Metric) -> float:
    return LEAST_EFFECT[metric.kind] if metric.least_effect is None else metric.least_effect


def _verdict(metric: Metric, found: Judged, threshold: float) -> MetricVerdict:
    if isinstance(found, MetricVerdict):
        return found
    needed = MIN_SAMPLES[metric.kind] if metric.min_samples is None else metric.min_samples
    verdict, rule = _ruled(metric, found, threshold, needed)
    return MetricVerdict(
        metric.name, verdict, rule, found.baseline, found.canary,
        effect=found.effect,
        difference=found.difference,
        interval=found.interval,
        p=found.p_worse,
        threshold=threshold,
        least_effect=_least(metric),
        needed=needed,
        is_critical=metric.is_critical and verdict is not Verdict.PASS,
        is_muted=metric.is_muted,
        kind=metric.kind,
        unit=metric.unit,
    )  # fmt: skip


def _ruled(metric: Metric, found: Evidence, threshold: float, needed: int) -> tuple[Verdict, Rule]:
    if not found.baseline.samples or not found.canary.samples:
        one_sided = bool(found.baseline.samples or found.canary.samples)
        if metric.must_have_data or metric.is_critical:
            return Verdict.NODATA, Rule.NO_DATA_BUT_REQUIRED
        return Verdict.NODATA, Rule.ONE_SIDED if one_sided else Rule.NO_DATA
    few = found.have < needed
    # The tests of events are exact for any number of them; ranks of a few samples are not worth a release.
    if found.matters and found.p_worse <= threshold and not (few and metric.kind is MetricKind.VALUE):
        return found.bad, Rule.CLEARLY_BAD
    if few:
        return Verdict.INCONCLUSIVE, Rule.TOO_FEW_SAMPLES
    if found.matters and found.is_sparse and found.p_worse <= SUSPICION * threshold:
        return Verdict.SUSPECT, Rule.SUSPICIOUS
    if found.p_good <= GOOD:
        return Verdict.PASS, Rule.CLEARLY_GOOD
    return Verdict.PASS, Rule.NOT_WORSE


def _concluded(
    config: JudgeConfig, metrics: Sequence[Metric], verdicts: tuple[MetricVerdict, ...], look: int, looks: int
) -> Judgement:
    pass_score = PASS_SCORE if config.pass_score is None else config.pass_score
    marginal_score = MARGINAL_SCORE if config.marginal_score is None else config.marginal_score
    scores = group_scores(metrics, verdicts)
    counted = [v for v in verdicts if not v.is_muted]
    judgement = Judgement(
        Outcome.PASS, summary(config, scores) if scores else 0.0, Grounds.SCORE,
        verdicts=verdicts, look=look, looks=looks, pass_score=pass_score, marginal_score=marginal_score,
        group_scores=tuple((name, score) for name, score in scores if score is not None),
    )  # fmt: skip
    bad = sorted((v for v in counted if v.verdict in (Verdict.HIGH, Verdict.LOW)), key=lambda v: v.p or 0.0)
    critical = tuple(v.metric for v in bad if v.is_critical)
    if critical:
        failed = replace(judgement, outcome=Outcome.FAIL, score=0.0, is_final=True)
        return replace(failed, grounds=Grounds.CRITICAL, decisive=critical)
    if judgement.score < marginal_score and bad:
        return replace(judgement, outcome=Outcome.FAIL, decisive=_names(bad), is_final=True)
    undecided = [v for v in counted if _is_undecided(v)]
    if undecided:
        return replace(
            judgement, outcome=Outcome.INCONCLUSIVE, grounds=Grounds.UNDECIDED, decisive=_names(undecided)
        )
    if all(v.verdict is Verdict.NODATA for v in counted):
        grounds = Grounds.NO_DATA if counted else Grounds.NO_METRICS
        return replace(
            judgement, outcome=Outcome.INCONCLUSIVE, score=0.0, grounds=grounds, decisive=_names(counted)
        )
    if judgement.score < pass_score:
        return replace(judgement, outcome=Outcome.MARGINAL, decisive=_names(bad))
    suspects = [v for v in counted if v.verdict is Verdict.SUSPECT]
    if suspects:
        return replace(
            judgement, outcome=Outcome.MARGINAL, grounds=Grounds.SUSPECT, decisive=_names(suspects)
        )
    return replace(judgement, is_final=all(v.rule is Rule.CLEARLY_GOOD for v in counted))


def _is_undecided(verdict: MetricVerdict) -> bool:
    if verdict.verdict is Verdict.NODATA:
        return verdict.rule is not Rule.NO_DATA
    return verdict.verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR)


def _names(verdicts: Sequence[MetricVerdict]) -> tuple[str, ...]:
    return tuple(verdict.metric for verdict in verdicts)
