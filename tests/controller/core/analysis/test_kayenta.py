"""`kayenta-v1` decides as NetflixACAJudge-v1.0 does, blind spots included. Its numbers come from what users
of Kayenta published of its runs, its rules from its own tests' cases."""

from math import inf, nan

import pytest

from repave_controller.core.analysis.cleaning import without_outliers
from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.kayenta import verdict_of
from repave_controller.core.analysis.values import (
    Direction,
    EffectMeasure,
    EffectSize,
    Grounds,
    JudgeConfig,
    Judgement,
    JudgeName,
    Metric,
    MetricKind,
    NanStrategy,
    Outcome,
    OutlierStrategy,
    Rule,
    Samples,
    Verdict,
)

ONES = (1.0,) * 10


def verdict(metric: Metric, baseline: tuple[float, ...], canary: tuple[float, ...]) -> Verdict:
    return verdict_of(metric, Samples(baseline), Samples(canary)).verdict


def judged(
    verdicts: str, *, look: int = 1, looks: int = 1, marked: dict[str, Metric] | None = None, **config: object
) -> Judgement:
    """A judgement of metrics a, b, c, ..., each with samples that make it pass (p), high (h), have no data
    (n) or fail to be judged (e)."""
    of = {"p": (1.0, 2.0), "h": (50.0,) * 20, "n": (), "e": (inf,)}
    base = {"p": (1.0, 2.0), "h": tuple(float(k) for k in range(20)), "n": (1.0,), "e": (1.0,)}
    names = [chr(ord("a") + k) for k in range(len(verdicts))]
    metrics = [(marked or {}).get(name, Metric(name)) for name in names]
    return judge(
        JudgeConfig(JudgeName.KAYENTA, **config),  # type: ignore[arg-type]  # of the test's own
        metrics,
        {name: Samples(base[v]) for name, v in zip(names, verdicts, strict=True)},
        {name: Samples(of[v]) for name, v in zip(names, verdicts, strict=True)},
        look,
        looks,
    )


def test_the_digits_are_kayentas() -> None:
    found = verdict_of(Metric("latency"), Samples(ONES), Samples((100.0,) * 7 + (1.0,) * 3))
    assert found.interval is not None
    assert found.interval == pytest.approx((6.825022991538781e-05, 99.0), abs=1e-18)
    assert found.difference == 98.99992904170193
    assert found.threshold == 24.749982260425483
    assert found.effect == 70.3
    assert found.verdict is Verdict.PASS


def test_the_eighth_of_ten_makes_it_high() -> None:
    assert verdict(Metric("latency"), ONES, (100.0,) * 8 + (1.0,) * 2) is Verdict.HIGH


@pytest.mark.parametrize(
    ("direction", "higher", "lower"),
    [
        (Direction.EITHER, Verdict.HIGH, Verdict.LOW),
        (Direction.INCREASE, Verdict.HIGH, Verdict.PASS),
        (Direction.DECREASE, Verdict.PASS, Verdict.LOW),
    ],
)
def test_only_the_bad_direction_counts(direction: Direction, higher: Verdict, lower: Verdict) -> None:
    low, high = tuple(float(k) for k in range(20)), tuple(20.0 + k for k in range(20))
    metric = Metric("load", direction=direction)
    assert (verdict(metric, low, high), verdict(metric, high, low)) == (higher, lower)


@pytest.mark.parametrize(
    ("metric", "verdict_", "rule"),
    [
        (Metric("m"), Verdict.NODATA, Rule.NO_DATA),
        (Metric("m", must_have_data=True), Verdict.NODATA, Rule.NO_DATA_BUT_REQUIRED),
        (Metric("m", must_have_data=True, is_critical=True), Verdict.NODATA, Rule.NO_DATA),
        (Metric("m", nan=NanStrategy.REPLACE), Verdict.PASS, Rule.NO_DATA_IS_ZERO),
    ],
)
def test_what_no_data_is(metric: Metric, verdict_: Verdict, rule: Rule) -> None:
    found = verdict_of(metric, Samples((1.0, 2.0)), Samples())
    assert (found.verdict, found.rule, found.is_critical) == (verdict_, rule, metric.is_critical)


def test_nan_is_left_out_or_zero() -> None:
    sides = Samples((0.0, 0.0, 0.0)), Samples((nan, 0.0, nan))
    assert verdict_of(Metric("m"), *sides).canary.samples == 1
    assert verdict_of(Metric("m", nan=NanStrategy.REPLACE), *sides).rule is Rule.SAME


def test_equal_samples_in_any_order_and_one_value_all_over_pass() -> None:
    assert verdict_of(Metric("m"), Samples((1.0, 2.0, 3.0)), Samples((3.0, 1.0, 2.0))).rule is Rule.SAME
    assert verdict_of(Metric("m"), Samples((1.0, 1.0, 1.0)), Samples((1.0, 1.0))).rule is Rule.SAME


def test_two_constants_differ_by_their_shift_each_time_the_same() -> None:
    """Kayenta adds random noise here: one run may differ from the next."""
    found = verdict_of(Metric("m"), Samples((4.5,) * 10), Samples((5.0,) * 10))
    assert (found.verdict, found.difference, found.interval) == (Verdict.HIGH, 0.5, (0.5, 0.5))


def test_one_sample_against_one_cannot_be_ranked() -> None:
    assert verdict(Metric("m"), (1.0,), (2.0,)) is Verdict.ERROR


@pytest.mark.parametrize("allowed", [1.5, 2.0])
def test_an_increase_that_is_allowed_passes(allowed: float) -> None:
    metric = Metric("m", effect_size=EffectSize(allowed_increase=allowed))
    found = verdict_of(metric, Samples((1.0, 1.1) * 10), Samples((1.8, 1.9) * 10))
    assert found.verdict is (Verdict.HIGH if allowed == 1.5 else Verdict.PASS)
    assert found.rule is (Rule.BEYOND if allowed == 1.5 else Rule.EFFECT_ALLOWED)


def test_the_effect_may_be_how_often_the_canary_is_above() -> None:
    metric = Metric("m", effect_size=EffectSize(EffectMeasure.CLES, allowed_increase=0.9))
    found = verdict_of(
        metric, Samples(tuple(map(float, range(20)))), Samples(tuple(map(float, range(8, 28))))
    )
    assert found.effect == pytest.approx((400 - 12 * 13 / 2) / 400 + 12 / 800)
    assert found.rule is Rule.EFFECT_ALLOWED


def test_a_critical_metric_is_so_only_beyond_its_critical_effect() -> None:
    size = EffectSize(critical_increase=3.0)
    base = Samples(tuple(1.0 + k / 100 for k in range(20)))
    twice, more = (Samples(tuple(f * (1.0 + k / 100) for k in range(20))) for f in (2.0, 4.0))
    metric = Metric("m", is_critical=True, effect_size=size)
    assert not verdict_of(metric, base, twice).is_critical
    assert verdict_of(metric, base, more).is_critical


def test_a_mean_of_zero_has_no_effect_and_needs_none() -> None:
    metric = Metric("m", effect_size=EffectSize(allowed_increase=10.0))
    found = verdict_of(metric, Samples((0.0,) * 20), Samples((1.0, 2.0) * 10))
    assert (found.effect, found.verdict) == (None, Verdict.HIGH)


def test_outliers_are_outside_of_the_fences_and_of_the_outer_percentiles() -> None:
    assert without_outliers((*map(float, range(10)), 500.0, -500.0), 3.0) == (*map(float, range(10)),)
    assert without_outliers((1.0,) * 99 + (9.0,), 3.0) == (1.0,) * 99
    assert without_outliers((), 3.0) == ()
    metric = Metric("m", outliers=OutlierStrategy.REMOVE)
    found = verdict_of(metric, Samples((*map(float, range(10)), 500.0, -500.0)), Samples((1.0, 2.0)))
    assert found.baseline.samples == 10


def test_a_rate_is_compared_by_its_steps() -> None:
    metric = Metric("errors", MetricKind.RATE)
    found = verdict_of(
        metric,
        Samples(events=(1.0, 2.0), trials=(10.0, 10.0)),
        Samples(events=(1.0, 5.0), trials=(0.0, 10.0)),
    )
    assert found.baseline.mean == pytest.approx(0.15)
    assert (found.canary.samples, found.canary.mean) == (1, 0.5)


@pytest.mark.parametrize(
    ("verdicts", "score", "outcome"),
    [
        ("pppp", 100.0, Outcome.PASS),
        ("ppph", 75.0, Outcome.PASS),
        ("pphh", 50.0, Outcome.MARGINAL),
        ("phhh", 25.0, Outcome.FAIL),
        ("pph", 66.67, Outcome.MARGINAL),
        ("ppn", 100.0, Outcome.PASS),
        ("pn", 0.0, Outcome.FAIL),
        ("pe", 100.0, Outcome.PASS),
        ("eee", 100.0, Outcome.PASS),
    ],
)
def test_the_score_is_the_share_that_passed(verdicts: str, score: float, outcome: Outcome) -> None:
    """A group without any verdict counts as 100, half without data as 0, and an error nowhere: its blind
    spot."""
    found = judged(verdicts)
    assert (found.score, found.outcome) == (score, outcome)


def test_groups_have_weights_and_the_others_share_the_rest() -> None:
    marked = {"a": Metric("a", groups=("errors",)), "b": Metric("b", groups=("load", "errors"))}
    found = judged("hpp", marked=marked, group_weights=(("errors", 60.0),))
    assert found.group_scores == (("errors", 50.0), ("load", 100.0), ("c", 100.0))
    assert found.score == 70.0


def test_a_critical_metric_fails_all_and_a_muted_one_nothing() -> None:
    found = judged("hpppp", marked={"a": Metric("a", is_critical=True)})
    assert (found.score, found.grounds, found.decisive) == (0.0, Grounds.CRITICAL, ("a",))
    assert judged("npppp", marked={"a": Metric("a", is_critical=True)}).grounds is Grounds.CRITICAL
    assert judged("hp", marked={"a": Metric("a", is_muted=True)}).score == 100.0


def test_required_data_that_is_missing_counts_as_failed() -> None:
    assert judged("np", marked={"a": Metric("a", must_have_data=True)}).score == 50.0


@pytest.mark.parametrize(
    ("verdicts", "look", "outcome", "is_final"),
    [
        ("ppph", 1, Outcome.PASS, False),
        ("pph", 1, Outcome.MARGINAL, False),
        ("pph", 3, Outcome.FAIL, False),
        ("ph", 1, Outcome.FAIL, True),
        ("ph", 3, Outcome.FAIL, True),
        ("hhh", 2, Outcome.FAIL, True),
    ],
)
def test_a_run_of_looks_stops_at_a_marginal_score_and_must_pass_at_last(
    verdicts: str, look: int, outcome: Outcome, is_final: bool
) -> None:
    found = judged(verdicts, look=look, looks=3)
    assert (found.outcome, found.is_final) == (outcome, is_final)
