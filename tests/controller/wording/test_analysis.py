"""What people read of a judgement."""

from dataclasses import replace

import pytest

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import (
    Direction,
    Grounds,
    JudgeConfig,
    Judgement,
    JudgeName,
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
from repave_controller.wording.analysis import judgement_text, metric_text, worst_first

ERRORS = Metric("errors", MetricKind.RATE, Direction.INCREASE)
LATENCY = Metric("latency", direction=Direction.INCREASE, unit="ms")
NONE: SamplesByMetric = {}


def rate(events: float, trials: float) -> SamplesByMetric:
    return {"errors": Samples(events=(events,), trials=(trials,))}


def values(*samples: float) -> SamplesByMetric:
    return {"latency": Samples(samples)}


@pytest.mark.parametrize(
    ("metric", "baseline", "canary", "whole", "sentence"),
    [
        (
            ERRORS,
            rate(12, 10_000),
            rate(12, 1_000),
            "fail: score 0 is below 75: errors is worse",
            "errors: 1.2 % of 1,000 against 0.12 % of 10,000, 10 times as much: clearly worse "
            "(p 3e-07 is at most 0.05)",
        ),
        (
            ERRORS,
            rate(0, 100),
            rate(4, 100),
            "marginal: errors looks worse, but it may be chance: a person should look",
            "errors: 4 % of 100 against 0 % of 100, the baseline has none: may be chance (p 0.062; "
            "0.05 would be clear)",
        ),
        (
            ERRORS,
            rate(1, 100),
            rate(1, 100),
            "pass: score 100 of at least 100",
            "errors: 1 % of 100 against 1 % of 100: not shown to be worse (25 %); the difference is between "
            "-4.52 % and 4.52 %",
        ),
        (
            ERRORS,
            rate(0, 10_000),
            rate(0, 10),
            "inconclusive: errors can't be judged yet",
            "errors: 10 trials against 10,000 are too few; 50 of each are needed",
        ),
        (
            LATENCY,
            values(100.0, 100.0, 100.0, 100.0, 100.0),
            values(103.0, 103.0, 103.0, 103.0, 103.0),
            "pass: score 100 of at least 100; more samples would not change it",
            "latency: 103 ms against 100 ms: shown not to be worse by what matters (10 %)",
        ),
        (
            LATENCY,
            values(100.0),
            NONE,
            "inconclusive: latency can't be judged yet",
            "latency: the canary has no samples, the other side has; write missing: zero if none means 0",
        ),
        (
            replace(LATENCY, must_have_data=True, is_muted=True),
            NONE,
            NONE,
            "inconclusive: no metric counts",
            "latency: no samples of the canary and the baseline, which must have some (muted: counts for "
            "nothing)",
        ),
        (
            LATENCY,
            values(1.0),
            values(float("inf")),
            "inconclusive: latency can't be judged yet",
            "latency: can't be judged: a sample is infinite",
        ),
    ],
)
def test_a_sentence_has_the_numbers_and_what_decided(
    metric: Metric, baseline: SamplesByMetric, canary: SamplesByMetric, whole: str, sentence: str
) -> None:
    found = judge(JudgeConfig(), [metric], baseline, canary)
    assert judgement_text(found) == whole
    assert metric_text(found.verdicts[0]) == sentence


def test_what_kayenta_says_is_told_by_its_interval() -> None:
    found = judge(JudgeConfig(JudgeName.KAYENTA), [LATENCY], values(*[1.0] * 10), values(*[5.0] * 10))
    assert metric_text(found.verdicts[0]) == (
        "latency: 5 ms against 1 ms: the shift is between 4 ms and 4 ms, all of it beyond 1 ms: high"
    )


@pytest.mark.parametrize("kind", list(MetricKind))
@pytest.mark.parametrize("rule", list(Rule))
@pytest.mark.parametrize("trouble", [None, *Trouble])
def test_every_rule_has_a_sentence_with_whatever_is_known(
    rule: Rule, kind: MetricKind, trouble: Trouble | None
) -> None:
    bare = MetricVerdict("m", Verdict.PASS, rule, Side(0), Side(0), needed=1, kind=kind, trouble=trouble)
    full = replace(
        bare, baseline=Side(3, 1.0, 1.0, 0.0, 2.0, 3.0, 3.0), effect=-0.5, interval=(0.0, 1.0), p=0.1
    )
    for verdict in (bare, full):
        assert metric_text(verdict).startswith("m: ")


@pytest.mark.parametrize("grounds", list(Grounds))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_grounds_have_a_sentence(grounds: Grounds, outcome: Outcome) -> None:
    assert judgement_text(Judgement(outcome, 50.0, grounds, ("m",))).startswith(f"{outcome}: ")


def test_the_worst_comes_first() -> None:
    verdicts = [MetricVerdict(str(k), v, Rule.SAME, Side(0), Side(0)) for k, v in enumerate(Verdict)]
    assert [v.verdict for v in worst_first(verdicts)][:3] == [Verdict.HIGH, Verdict.LOW, Verdict.SUSPECT]
