"""What a look saw and found, as the store keeps it beside the rollout: enough to show it, and to judge it
again with other thresholds."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

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


def row_of(application: ApplicationName, look: DueLook, details: LookDetails, at: Instant) -> Look:
    """Takes a while, as does `of_row`: not for the event loop."""
    name = f"{look.gate}/{look.region}/{look.run:04d}/{look.look:06d}"
    return Look(application, look.rollout, name, at, str(details.outcome), row_text(details))


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
