"""What analyses of a rollout have found, look by look, with the numbers that they went by."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.views import time_of
from repave_controller.core.analysis.values import Judgement, MetricVerdict, Samples, Side
from repave_controller.core.ports import Look
from repave_controller.operations.analysis.details import LookDetails, MetricLook, looks_in
from repave_controller.wording.analysis import judgement_text, metric_text


class SideItem(Answer):
    """What one side of a metric came to. Null: there is nothing of it."""

    samples: int = Field(description="Steps with a value.")
    mean: float | None = Field(description="Of a rate: events of one trial; of a count: events of one step.")
    median: float | None
    low: float | None
    high: float | None
    events: float | None
    trials: float | None


class SeriesItem(Answer):
    """One side, step by step. Null: a step without a value."""

    values: list[float | None] = Field(description="Of a value; else empty.")
    events: list[float | None] = Field(description="Of a rate or a count; else empty.")
    trials: list[float | None] = Field(description="What the events are out of, or happened in.")


class MetricLookItem(Answer):
    """One metric of a look."""

    name: str
    kind: str = Field(description="rate, count or value.")
    unit: str
    source: str
    query: str
    total: str
    verdict: str = Field(
        description="pass, high, low, suspect, nodata, inconclusive or error; empty: it has no numbers."
    )
    rule: str = Field(description="The rule that decided.")
    text: str = Field(description="A sentence with the numbers.")
    trouble: str = Field(description="Why its numbers could not be read.")
    is_critical: bool
    is_muted: bool
    baseline: SideItem | None
    canary: SideItem | None
    effect: float | None = Field(description="Relative change of the canary, 0.2 = 20 % more.")
    difference: float | None
    interval: list[float] = Field(description="Of the difference: low and high; empty: there is none.")
    p: float | None
    threshold: float | None
    step_seconds: float
    begins_at: float = Field(description="Unix time of the first step.")
    baseline_series: SeriesItem | None = Field(description="Null unless the numbers are asked for.")
    canary_series: SeriesItem | None


class ComparedItem(Answer):
    """Which groups are compared in a region."""

    region: str
    target: str
    origin: str


class LookItem(Answer):
    """One look of an analysis."""

    gate: str
    region: str = Field(description="Empty: those of a wave together.")
    run: int = Field(description="Which time that the step was entered, from 1.")
    look: int = Field(description="From 1; errors are counted.")
    judged: int = Field(description="Without errors.")
    count: int = Field(description="How many have to be judged.")
    at: datetime
    since: float = Field(description="Unix time: what it sees.")
    until: float
    regions: list[ComparedItem]
    judge: str
    outcome: str = Field(description="pass, marginal, fail, inconclusive or error.")
    score: float | None
    pass_score: float | None
    marginal_score: float | None
    is_final: bool = Field(description="More looks would not change it.")
    text: str
    metrics: list[MetricLookItem]


class AnalysesAnswer(Answer):
    """All looks at the new group of a rollout that are kept, in order of time."""

    application: str
    rollout: int = Field(description="0: no rollout has any.")
    items: list[LookItem]


def analyses(
    application: str,
    rollout: int,
    rows: Sequence[Look],
    *,
    has_numbers: bool,
    again: Mapping[str, Judgement] | None = None,
) -> AnalysesAnswer:
    """Numbers only of the last look of each analysis, for they have those before. `again`: judgements in
    place of those that were made, by the looks' ids."""
    details = looks_in(rows)
    last = {(each.gate, each.region): name for name, each in details.items()}
    return AnalysesAnswer(
        application=application,
        rollout=rollout,
        items=[
            _look(row, details[row.id], has_numbers and row.id in last.values(), (again or {}).get(row.id))
            for row in rows
            if row.id in details
        ],
    )


def _look(row: Look, look: LookDetails, has_numbers: bool, again: Judgement | None) -> LookItem:
    judgement = again if again is not None else look.judgement
    verdicts = {each.metric: each for each in judgement.verdicts} if judgement is not None else {}
    outcome = str(again.outcome if again is not None else look.outcome)
    trouble = look.trouble or next((each.trouble for each in look.metrics if each.trouble), "")
    text = judgement_text(judgement) if judgement is not None and outcome != "error" else f"error: {trouble}"
    return LookItem(
        gate=look.gate,
        region=look.region,
        run=look.run,
        look=look.look,
        judged=look.judged,
        count=look.count,
        at=time_of(row.at),
        since=look.since,
        until=look.until,
        regions=[
            ComparedItem(region=each.region, target=each.target, origin=each.origin) for each in look.regions
        ],
        judge=str(look.judge.name),
        outcome=outcome,
        score=judgement.score if judgement is not None else None,
        pass_score=judgement.pass_score if judgement is not None else None,
        marginal_score=judgement.marginal_score if judgement is not None else None,
        is_final=judgement.is_final if judgement is not None else False,
        text=text,
        metrics=[_metric(each, verdicts.get(each.metric.name), has_numbers) for each in look.metrics],
    )


def _metric(look: MetricLook, verdict: MetricVerdict | None, has_numbers: bool) -> MetricLookItem:
    return MetricLookItem(
        name=look.metric.name,
        kind=str(look.metric.kind),
        unit=look.metric.unit,
        source=look.source,
        query=look.query,
        total=look.total,
        verdict=str(verdict.verdict) if verdict is not None else "",
        rule=str(verdict.rule) if verdict is not None else "",
        text=metric_text(verdict) if verdict is not None else f"{look.metric.name}: {look.trouble}",
        trouble=look.trouble,
        is_critical=look.metric.is_critical,
        is_muted=look.metric.is_muted,
        baseline=_side(verdict.baseline) if verdict is not None else None,
        canary=_side(verdict.canary) if verdict is not None else None,
        effect=_finite(verdict.effect if verdict is not None else None),
        difference=_finite(verdict.difference if verdict is not None else None),
        interval=_interval(verdict),
        p=_finite(verdict.p if verdict is not None else None),
        threshold=_finite(verdict.threshold if verdict is not None else None),
        step_seconds=look.canary.step_seconds,
        begins_at=look.canary.begins_at,
        baseline_series=_series(look.baseline) if has_numbers else None,
        canary_series=_series(look.canary) if has_numbers else None,
    )


def _side(side: Side) -> SideItem:
    return SideItem(
        samples=side.samples,
        mean=_finite(side.mean),
        median=_finite(side.median),
        low=_finite(side.low),
        high=_finite(side.high),
        events=_finite(side.events),
        trials=_finite(side.trials),
    )


def _series(samples: Samples) -> SeriesItem:
    return SeriesItem(
        values=list(map(_finite, samples.values)),
        events=list(map(_finite, samples.events)),
        trials=list(map(_finite, samples.trials)),
    )


def _interval(verdict: MetricVerdict | None) -> list[float]:
    ends = verdict.interval if verdict is not None and verdict.interval is not None else ()
    return list(ends) if all(map(math.isfinite, ends)) else []


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
