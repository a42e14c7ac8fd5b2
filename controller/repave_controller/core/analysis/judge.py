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


SCORES = {
    JudgeName.REPAVE: (repave.PASS_SCORE, repave.MARGINAL_SCORE),
    JudgeName.KAYENTA: (kayenta.PASS_SCORE, kayenta.MARGINAL_SCORE),
}
"""Of a judge that is told no others."""


def scores_objection(config: JudgeConfig) -> str:
    """Why its scores contradict each other; "": they don't."""
    own_pass, own_marginal = SCORES[config.name]
    least = own_pass if config.pass_score is None else config.pass_score
    marginal = own_marginal if config.marginal_score is None else config.marginal_score
    if marginal <= least:
        return ""
    own = f" (of {config.name})"
    return (
        f"marginal_score {marginal:g}{own if config.marginal_score is None else ''} is above pass_score "
        f"{least:g}{own if config.pass_score is None else ''}: less than the first fails, the second or "
        "more passes"
    )


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
