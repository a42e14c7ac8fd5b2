"""Judges one look: which judge, and what an exception of it means."""

from collections.abc import Callable, Sequence

from repave_controller.core.analysis import kayenta, repave
from repave_controller.core.analysis.values import (
    JudgeConfig,
    Judgement,
    JudgeName,
    Metric,
    SamplesByMetric,
)

Judge = Callable[[JudgeConfig, Sequence[Metric], SamplesByMetric, SamplesByMetric, int, int], Judgement]

JUDGES: dict[JudgeName, Judge] = {JudgeName.REPAVE: repave.judge, JudgeName.KAYENTA: kayenta.judge}


def judge(
    config: JudgeConfig,
    metrics: Sequence[Metric],
    baseline: SamplesByMetric,
    canary: SamplesByMetric,
    look: int = 1,
    looks: int = 1,
) -> Judgement:
    """What look number `look` (from 1) of `looks` planned ones finds. A metric that is missing on a side has
    no data there. Nothing is raised for what samples hold: what can't be judged is inconclusive."""
    return JUDGES[config.name](config, metrics, baseline, canary, look, looks)
