"""What an analysis found, as sentences: one for each metric, and one for the whole.

A sentence has the numbers of both sides and what decided, so that a person can agree or disagree with it.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from repave_controller.core.analysis.values import (
    Grounds,
    Judgement,
    MetricKind,
    MetricVerdict,
    Outcome,
    Rule,
    Side,
    Trouble,
    Verdict,
)
from repave_controller.wording.phrases import some

DIGITS = 3


def metric_text(verdict: MetricVerdict) -> str:
    """`errors: 1.2 % of 850 against 0.1 % of 16,150, 12 times as many: clearly worse (p 0.0004 is at most
    0.025)`"""
    muted = " (muted: counts for nothing)" if verdict.is_muted else ""
    return f"{verdict.metric}: {_TEXTS[verdict.rule](verdict)}{muted}"


def judgement_text(judgement: Judgement) -> str:
    """`fail: errors is clearly worse`, with the score where it decides."""
    return f"{judgement.outcome.value}: {_grounds(judgement)}"


def _grounds(judgement: Judgement) -> str:
    names = some(judgement.decisive)
    match judgement.grounds:
        case Grounds.CRITICAL:
            return f"{names} is critical and bad"
        case Grounds.SUSPECT:
            return f"{names} looks worse, but it may be chance: a person should look"
        case Grounds.UNDECIDED:
            return f"{names} can't be judged yet"
        case Grounds.NO_DATA:
            return f"there are no samples of {names}"
        case Grounds.TOO_MUCH_MISSING:
            return f"half of the metrics or more have no data: {names}"
        case Grounds.NO_METRICS:
            return "no metric counts"
        case Grounds.SCORE:
            return _scored(judgement, names)
        case _:
            assert_never(judgement.grounds)


def _scored(judgement: Judgement, names: str) -> str:
    if judgement.outcome is Outcome.PASS:
        clear = "; more samples would not change it" if judgement.is_final else ""
        worse = f", though {names} is worse" if names else ""
        return f"score {judgement.score:g} of at least {judgement.pass_score:g}{worse}{clear}"
    limit = judgement.pass_score if judgement.outcome is Outcome.MARGINAL else judgement.marginal_score
    return f"score {judgement.score:g} is below {limit:g}: {names} is worse"


def value_text(value: float | None, verdict: MetricVerdict) -> str:
    """A number in the metric's unit: `1.2 %` of a rate, `0.28` events a step, `212 ms`."""
    if value is None:
        return "nothing"
    if verdict.kind is MetricKind.RATE:
        return f"{_number(value * 100)} %"
    return f"{_number(value)} {verdict.unit}".rstrip()


def side_text(side: Side, verdict: MetricVerdict) -> str:
    """`1.2 % of 850`, `0.28 (7 in 25)`, `212 ms`: what one side came to."""
    if not side.samples:
        return "nothing"
    value = value_text(side.mean, verdict)
    if side.events is None or side.trials is None:
        return value
    if verdict.kind is MetricKind.RATE:
        return f"{value} of {_number(side.trials)}"
    return f"{value} ({_number(side.events)} in {_number(side.trials)})"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{DIGITS}g}"


def _sides(verdict: MetricVerdict) -> str:
    return f"{side_text(verdict.canary, verdict)} against {side_text(verdict.baseline, verdict)}"


def effect_text(verdict: MetricVerdict) -> str:
    """`20 % more`, `12 times as many`, `where the baseline has none`"""
    if verdict.effect is None:
        return "the baseline has none" if not verdict.baseline.mean else "no ratio"
    if verdict.effect >= 1:
        return f"{_number(verdict.effect + 1)} times as much"
    return f"{_number(abs(verdict.effect) * 100)} % {'more' if verdict.effect >= 0 else 'less'}"


def _clearly_bad(v: MetricVerdict) -> str:
    return f"{_sides(v)}, {effect_text(v)}: clearly worse (p {_p(v.p)} is at most {_p(v.threshold)})"


def _suspicious(v: MetricVerdict) -> str:
    return f"{_sides(v)}, {effect_text(v)}: may be chance (p {_p(v.p)}; {_p(v.threshold)} would be clear)"


def _clearly_good(v: MetricVerdict) -> str:
    return f"{_sides(v)}: shown not to be worse by what matters{_least(v)}"


def _not_worse(v: MetricVerdict) -> str:
    return f"{_sides(v)}: not shown to be worse{_least(v)}{_interval(v)}"


def _least(v: MetricVerdict) -> str:
    return "" if v.least_effect is None else f" ({_number(v.least_effect * 100)} %)"


def _interval(v: MetricVerdict) -> str:
    if v.interval is None:
        return ""
    low, high = (value_text(end, v) for end in v.interval)
    return f"; the difference is between {low} and {high}"


def _too_few(v: MetricVerdict) -> str:
    noun = {MetricKind.RATE: "trials", MetricKind.COUNT: "steps", MetricKind.VALUE: "samples"}[v.kind]
    have = [
        int((side.trials or 0) if v.kind is MetricKind.RATE else side.samples)
        for side in (v.canary, v.baseline)
    ]
    return f"{have[0]:,} {noun} against {have[1]:,} are too few; {v.needed:,} of each are needed"


def _one_sided(v: MetricVerdict) -> str:
    side = "the canary" if not v.canary.samples else "the baseline"
    remedy = "; write missing: zero if none means 0" if v.kind is MetricKind.VALUE else ""
    return f"{side} has no samples, the other side has{remedy}"


def _no_data(v: MetricVerdict) -> str:
    if v.canary.samples or v.baseline.samples:
        return _one_sided(v)
    return "neither side has samples"


def _required(v: MetricVerdict) -> str:
    missing = [name for name, side in (("canary", v.canary), ("baseline", v.baseline)) if not side.samples]
    return f"no samples of the {' and the '.join(missing)}, which must have some"


def _failed(v: MetricVerdict) -> str:
    why = {
        Trouble.NEGATIVE: "a count is below zero",
        Trouble.NOT_FINITE: "a sample is infinite",
        Trouble.ALL_TIED: "there is one sample on each side",
        Trouble.ARITHMETIC: "the numbers are too large to reckon with",
        None: "the judge failed",
    }[v.trouble]
    return f"can't be judged: {why}"


def _shift(v: MetricVerdict) -> str:
    low, high = v.interval or (None, None)
    return f"{_sides(v)}: the shift is between {value_text(low, v)} and {value_text(high, v)}"


def _beyond(v: MetricVerdict) -> str:
    return f"{_shift(v)}, all of it beyond {value_text(v.threshold, v)}: {v.verdict.value}"


def _within(v: MetricVerdict) -> str:
    return f"{_shift(v)}, which reaches within {value_text(v.threshold, v)} of none"


def _allowed(v: MetricVerdict) -> str:
    effect = "none" if v.effect is None else f"{v.effect:.{DIGITS}g}"
    return f"{_shift(v)}, but the effect, {effect}, is allowed"


_TEXTS: dict[Rule, Callable[[MetricVerdict], str]] = {
    Rule.SAME: lambda v: f"both sides are the same, {side_text(v.canary, v)}",
    Rule.WITHIN: _within,
    Rule.BEYOND: _beyond,
    Rule.EFFECT_ALLOWED: _allowed,
    Rule.NOT_WORSE: _not_worse,
    Rule.CLEARLY_GOOD: _clearly_good,
    Rule.CLEARLY_BAD: _clearly_bad,
    Rule.SUSPICIOUS: _suspicious,
    Rule.TOO_FEW_SAMPLES: _too_few,
    Rule.NO_DATA: _no_data,
    Rule.NO_DATA_BUT_REQUIRED: _required,
    Rule.NO_DATA_IS_ZERO: lambda _: "no samples, which means 0",
    Rule.ONE_SIDED: _one_sided,
    Rule.FAILED_TO_JUDGE: _failed,
}


def _p(p: float | None) -> str:
    return "unknown" if p is None else f"{p:.2g}"


def worst_first(verdicts: Sequence[MetricVerdict]) -> list[MetricVerdict]:
    """Bad ones, doubtful ones, those that say nothing, good ones; each in the order of the metrics."""
    return sorted(verdicts, key=lambda v: _ORDER.index(v.verdict))


_ORDER = (
    Verdict.HIGH,
    Verdict.LOW,
    Verdict.SUSPECT,
    Verdict.ERROR,
    Verdict.INCONCLUSIVE,
    Verdict.NODATA,
    Verdict.PASS,
)
