"""What a look saw and found, as the store keeps it beside the rollout: enough to show it, and to judge it
again with other thresholds.

Each look of a run sees what those before it saw, and more: the numbers are kept once, in a row of their own
that each look replaces. Only looks that see no more than the last while each keep theirs.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

from pydantic import TypeAdapter

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import (
    JudgeConfig,
    Judgement,
    Metric,
    MetricVerdict,
    Outcome,
    Samples,
)
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Look
from repave_controller.core.rules.looks import Compared, DueLook
from repave_controller.operations.analysis.reading import NOTHING, Found
from repave_protos.protocol.values import ApplicationName, RegionName


@dataclass(frozen=True, slots=True)
class MetricLook:
    """One metric. `trouble`: why it has no numbers."""

    metric: Metric
    source: str
    query: str
    total: str = ""
    baseline: Samples = NOTHING
    canary: Samples = NOTHING
    verdict: MetricVerdict | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class LookDetails:
    """`look` counts all of this run, `judged` those of `count` that were judged, this one among them.
    `outcome` is that of `judgement`, or "error"."""

    gate: str
    region: RegionName
    run: int
    look: int
    judged: int
    count: int
    since: float
    until: float
    regions: tuple[Compared, ...]
    judge: JudgeConfig
    outcome: Outcome
    judgement: Judgement | None = None
    metrics: tuple[MetricLook, ...] = ()
    trouble: str = ""

    def judged_again(self, config: JudgeConfig, metrics: Sequence[Metric] = ()) -> Judgement:
        """With other thresholds, by the same numbers. `metrics`: in place of those of the same names."""
        others = {each.name: each for each in metrics}
        known = [each for each in self.metrics if not each.trouble]
        return judge(
            config,
            [others.get(each.metric.name, each.metric) for each in known],
            {each.metric.name: each.baseline for each in known},
            {each.metric.name: each.canary for each in known},
            max(1, self.judged),
            self.count,
        )


DETAILS = TypeAdapter(LookDetails)
NUMBERS = "numbers"
"""In place of the outcome, in a row that has the numbers of the last look of a run."""
PACKED = "zlib:"
PACKED_FROM = 1000
"""Characters of details; shorter ones stay as they are."""


def details_of(
    look: DueLook, found: Sequence[Found], outcome: Outcome, judgement: Judgement | None, trouble: str = ""
) -> LookDetails:
    verdicts = {each.metric: each for each in judgement.verdicts} if judgement is not None else {}
    return LookDetails(
        look.gate,
        look.region,
        look.run,
        look.look,
        look.judged + (outcome is not Outcome.ERROR),
        look.plan.count,
        look.since,
        look.until,
        look.regions,
        look.plan.judge,
        outcome,
        judgement,
        tuple(
            MetricLook(
                each.reading.metric,
                each.reading.source,
                each.reading.query,
                each.reading.total,
                each.baseline,
                each.canary,
                verdicts.get(each.reading.metric.name),
                each.trouble,
            )
            for each in found
        ),
        trouble,
    )


def rows_of(
    application: ApplicationName, look: DueLook, details: LookDetails, at: Instant
) -> tuple[Look, ...]:
    """Takes a while, as does `looks_in`: not for the event loop."""
    run = f"{look.gate}/{look.region}/{look.run:04d}"

    def row(name: str, outcome: str, details: LookDetails) -> Look:
        return Look(application, look.rollout, f"{run}/{name}", at, outcome, row_text(details))

    own, outcome = f"{look.look:06d}", str(details.outcome)
    if details.judge.is_sliding or not any(_has_numbers(each) for each in details.metrics):
        return (row(own, outcome, details),)
    return row(own, outcome, without_numbers(details)), row(NUMBERS, NUMBERS, details)


def _has_numbers(metric: MetricLook) -> bool:
    return metric.baseline != NOTHING or metric.canary != NOTHING


def without_numbers(look: LookDetails) -> LookDetails:
    return replace(look, metrics=tuple(replace(m, baseline=NOTHING, canary=NOTHING) for m in look.metrics))


def looks_in(rows: Sequence[Look]) -> dict[str, LookDetails]:
    """By the rows' ids, with the numbers that each saw."""
    read = [(row, of_row(row)) for row in rows]
    kept = {_run_of(look): look for row, look in read if row.outcome == NUMBERS}
    return {
        row.id: _with_numbers(look, kept[_run_of(look)]) if _run_of(look) in kept else look
        for row, look in read
        if row.outcome != NUMBERS
    }


def _run_of(look: LookDetails) -> tuple[str, RegionName, int]:
    return look.gate, look.region, look.run


def _with_numbers(look: LookDetails, last: LookDetails) -> LookDetails:
    of = {each.metric.name: each for each in last.metrics}

    def filled(metric: MetricLook) -> MetricLook:
        kept = of.get(metric.metric.name)
        if kept is None or metric.trouble or _has_numbers(metric):
            return metric
        at = min((each.baseline_until for each in look.regions), default=look.until)
        is_moved = at < look.until  # the old group's time before a switch: later looks see more of it
        baseline = _from(kept.baseline, at - (look.until - look.since)) if is_moved else kept.baseline
        if not is_moved:
            baseline = _until(baseline, look.until, last.until)
        return replace(metric, baseline=baseline, canary=_until(kept.canary, look.until, last.until))

    return replace(look, metrics=tuple(map(filled, look.metrics)))


def _until(samples: Samples, until: float, last: float) -> Samples:
    """Those that a look saw at that time, of what the last one saw."""
    step = samples.step_seconds
    gone = floor(last / step) - floor(until / step)
    slots = max(1, round(floor(last / step) - samples.begins_at / step))
    return _part(samples, 0, -gone, slots) if gone > 0 else samples


def _from(samples: Samples, since: float) -> Samples:
    step = samples.step_seconds
    gone = round(ceil(since / step) - samples.begins_at / step)
    slots = max(len(samples.values), len(samples.events), 1)
    if gone <= 0:
        return samples
    return replace(_part(samples, gone, 0, slots), begins_at=samples.begins_at + gone * step)


def _part(samples: Samples, begin: int, end: int, slots: int) -> Samples:
    """Without so many steps of `slots` at its ends; a step has a value of each group of a side."""

    def part(column: tuple[float, ...]) -> tuple[float, ...]:
        each = max(1, round(len(column) / slots))
        return column[begin * each : len(column) + end * each]

    values, events, trials = map(part, (samples.values, samples.events, samples.trials))
    return replace(samples, values=values, events=events, trials=trials)


def row_text(details: LookDetails) -> str:
    """As it is kept. NaN is written so, which only Python reads."""
    return packed(json.dumps(DETAILS.dump_python(details, mode="python"), ensure_ascii=False))


def of_row(row: Look) -> LookDetails:
    return DETAILS.validate_python(json.loads(unpacked(row.details)), strict=False)


def packed(text: str) -> str:
    """Samples are long, and mostly alike."""
    if len(text) < PACKED_FROM:
        return text
    return PACKED + base64.b85encode(zlib.compress(text.encode(), 6)).decode()


def unpacked(text: str) -> str:
    if not text.startswith(PACKED):
        return text
    return zlib.decompress(base64.b85decode(text.removeprefix(PACKED))).decode()
