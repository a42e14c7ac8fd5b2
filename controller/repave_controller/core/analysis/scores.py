"""How the verdicts of metrics add up to one score: groups with weights, as Kayenta counts them."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal

from repave_controller.core.analysis.values import JudgeConfig, Metric, MetricVerdict, Rule, Verdict

COUNTED = (Verdict.PASS, Verdict.HIGH, Verdict.LOW)


def group_scores(
    metrics: Sequence[Metric], verdicts: Iterable[MetricVerdict]
) -> tuple[tuple[str, float | None], ...]:
    """For each group which percentage of its metrics passed; None where none could be judged. A metric counts
    in each of its groups, a muted one in none."""
    by_name = {verdict.metric: verdict for verdict in verdicts}
    groups: dict[str, list[bool]] = {}
    for metric in metrics:
        verdict = by_name[metric.name]
        if metric.is_muted:
            continue
        for group in metric.groups or (metric.name,):
            passed = groups.setdefault(group, [])
            if verdict.verdict in COUNTED or verdict.rule is Rule.NO_DATA_BUT_REQUIRED:
                passed.append(verdict.verdict is Verdict.PASS)
    return tuple(
        (name, sum(passed) / len(passed) * 100 if passed else None) for name, passed in groups.items()
    )


def summary(config: JudgeConfig, scores: Sequence[tuple[str, float | None]]) -> float:
    """The score of all groups by their weights, rounded to two decimals. Groups without a weight share what
    is left of 100; a group that could not be judged counts as 100."""
    weights = dict(config.group_weights)
    unweighted = sum(name not in weights for name, _ in scores)
    each = (100 - sum(weights.values())) / unweighted if unweighted else 0.0
    total = 0.0
    for name, score in scores:
        total += (100.0 if score is None else score) * (weights.get(name, each) / 100)
    return float(Decimal(repr(total)).quantize(Decimal("0.01"), ROUND_HALF_UP))
