"""`kayenta-v1`: decides what Kayenta's NetflixACAJudge-v1.0 decides, number for number, for those who come
from it.

Its constants and its order are Kayenta's. The one difference: two constant sides are compared by their shift,
where Kayenta adds random noise to be able to rank them. What it is blind to is in docs/canary.md; `repave-v1`
is not.
"""

from collections.abc import Sequence
from dataclasses import replace

from repave_controller.core.analysis.cleaning import cleaned, series
from repave_controller.core.analysis.ranks import Sides, common_language, mean, percentile
from repave_controller.core.analysis.scores import group_scores, summary
from repave_controller.core.analysis.values import (
    Direction,
    EffectMeasure,
    Grounds,
    Incomparable,
    JudgeConfig,
    Judgement,
    Metric,
    MetricVerdict,
    NanStrategy,
    Outcome,
    Rule,
    Samples,
    SamplesByMetric,
    Side,
    Verdict,
)

TOLERANCE = 0.25
"""Of the estimated shift: the interval must be further from zero than that."""
QUANTILE = -2.3263478740408408
"""Of the normal distribution at (1 - 0.98) / 2: the interval has a confidence of 98 %."""
BRENT_TOLERANCE = 1e-4
NO_DATA_PERCENT_MAX = 50
PASS_SCORE = 75.0
MARGINAL_SCORE = 50.0


def judge(
    config: JudgeConfig,
    metrics: Sequence[Metric],
    baseline: SamplesByMetric,
    canary: SamplesByMetric,
    look: int,
    looks: int,
) -> Judgement:
    """A run of several looks is decided as Kayenta's stage does: a score not above the marginal one ends it
    at once, and the last look must pass. A single look may be marginal."""
    nothing = Samples()
    verdicts = tuple(
        verdict_of(m, baseline.get(m.name, nothing), canary.get(m.name, nothing)) for m in metrics
    )
    counted = tuple(v for v in verdicts if not v.is_muted)
    pass_score = PASS_SCORE if config.pass_score is None else config.pass_score
    marginal_score = MARGINAL_SCORE if config.marginal_score is None else config.marginal_score
    scores = group_scores(metrics, verdicts)
    score, grounds, decisive = _scored(config, scores, counted)
    stops = score <= marginal_score
    if score >= pass_score:
        outcome = Outcome.PASS
    elif looks > 1 and (stops or look >= looks):
        outcome = Outcome.FAIL
    else:
        outcome = Outcome.MARGINAL if score >= marginal_score else Outcome.FAIL
    return Judgement(
        outcome, score, grounds, decisive, verdicts, look, looks,
        is_final=stops and outcome is Outcome.FAIL,
        pass_score=pass_score,
        marginal_score=marginal_score,
        group_scores=tuple((name, s) for name, s in scores if s is not None),
    )  # fmt: skip


def _scored(
    config: JudgeConfig, scores: Sequence[tuple[str, float | None]], counted: Sequence[MetricVerdict]
) -> tuple[float, Grounds, tuple[str, ...]]:
    critical = tuple(v.metric for v in counted if v.is_critical and v.verdict is not Verdict.PASS)
    if critical:
        return 0.0, Grounds.CRITICAL, critical
    missing = tuple(v.metric for v in counted if v.rule is Rule.NO_DATA)
    if not counted:
        return 0.0, Grounds.NO_METRICS, ()
    if len(missing) / len(counted) * 100 >= NO_DATA_PERCENT_MAX:
        return 0.0, Grounds.TOO_MUCH_MISSING, missing
    bad = tuple(v.metric for v in counted if v.verdict in (Verdict.HIGH, Verdict.LOW))
    required = tuple(v.metric for v in counted if v.rule is Rule.NO_DATA_BUT_REQUIRED)
    return summary(config, scores), Grounds.SCORE, bad + required


def verdict_of(metric: Metric, baseline: Samples, canary: Samples) -> MetricVerdict:
    try:
        y = cleaned(metric, series(metric, baseline))
        x = cleaned(metric, series(metric, canary))
        found = _compared(metric, y, x)
    except Incomparable as error:
        found = MetricVerdict(
            metric.name, Verdict.ERROR, Rule.FAILED_TO_JUDGE, Side(0), Side(0), trouble=error.trouble
        )
    return replace(found, is_muted=metric.is_muted, kind=metric.kind, unit=metric.unit)


def _compared(metric: Metric, y: Sequence[float], x: Sequence[float]) -> MetricVerdict:
    sides = (side_of(y), side_of(x))
    if not x or not y:
        return _missing(metric, *sides)
    ordered_x, ordered_y = sorted(x), sorted(y)
    if ordered_x == ordered_y or ordered_x[0] == ordered_x[-1] == ordered_y[0] == ordered_y[-1]:
        return MetricVerdict(metric.name, Verdict.PASS, Rule.SAME, *sides, effect=1.0)
    low, estimate, high = _interval(ordered_x, ordered_y)
    bound = TOLERANCE * abs(estimate)
    effect = _effect(metric, x, y)
    verdict, rule = _classified(metric, low, high, bound, effect)
    return MetricVerdict(
        metric.name, verdict, rule, *sides,
        effect=effect,
        difference=estimate,
        interval=(low, high),
        threshold=bound,
        is_critical=metric.is_critical and _is_critical(metric, verdict, effect),
    )  # fmt: skip


def _missing(metric: Metric, baseline: Side, canary: Side) -> MetricVerdict:
    if metric.nan is NanStrategy.REPLACE:
        return MetricVerdict(
            metric.name,
            Verdict.PASS,
            Rule.NO_DATA_IS_ZERO,
            baseline,
            canary,
            effect=1.0,
            is_muted=metric.is_muted,
        )
    fails = metric.must_have_data and not metric.is_critical
    rule = Rule.NO_DATA_BUT_REQUIRED if fails else Rule.NO_DATA
    return MetricVerdict(
        metric.name, Verdict.NODATA, rule, baseline, canary,
        effect=1.0, is_critical=metric.is_critical,
    )  # fmt: skip


def _interval(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    if x[0] == x[-1] and y[0] == y[-1] and len(x) * len(y) > 1:
        return (x[0] - y[0],) * 3
    sides = Sides(x, y)
    return (
        sides.shift_at(-QUANTILE, BRENT_TOLERANCE),
        sides.hodges_lehmann(BRENT_TOLERANCE),
        sides.shift_at(QUANTILE, BRENT_TOLERANCE),
    )


def _effect(metric: Metric, x: Sequence[float], y: Sequence[float]) -> float | None:
    """None where it says nothing: a mean is zero."""
    if metric.effect_size.measure is EffectMeasure.CLES:
        return common_language(x, sorted(y))
    of_x, of_y = mean(x), mean(y)
    return of_x / of_y if of_x and of_y else None


def _classified(
    metric: Metric, low: float, high: float, bound: float, effect: float | None
) -> tuple[Verdict, Rule]:
    size = metric.effect_size
    allowed = False
    if metric.direction is not Direction.DECREASE and low > bound:
        if effect is None or effect >= _or_none(metric, size.allowed_increase):
            return Verdict.HIGH, Rule.BEYOND
        allowed = True
    if metric.direction is not Direction.INCREASE and high < -bound:
        if effect is None or effect <= _or_none(metric, size.allowed_decrease):
            return Verdict.LOW, Rule.BEYOND
        allowed = True
    return Verdict.PASS, Rule.EFFECT_ALLOWED if allowed else Rule.WITHIN


def _is_critical(metric: Metric, verdict: Verdict, effect: float | None) -> bool:
    size = metric.effect_size
    if verdict is Verdict.HIGH:
        return effect is None or effect >= _or_none(metric, size.critical_increase)
    return verdict is Verdict.LOW and (effect is None or effect <= _or_none(metric, size.critical_decrease))


def _or_none(metric: Metric, limit: float | None) -> float:
    if limit is not None:
        return limit
    return 0.5 if metric.effect_size.measure is EffectMeasure.CLES else 1.0


def side_of(values: Sequence[float]) -> Side:
    if not values:
        return Side(0)
    ordered = sorted(values)
    return Side(len(values), mean(values), percentile(ordered, 0.5), ordered[0], ordered[-1])
