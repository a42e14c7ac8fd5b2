"""What every judge promises, whatever it is sent."""

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import JudgeConfig, Metric, MetricKind, Outcome, Samples

ERRORS = Metric("errors", MetricKind.RATE)


def requests(errors: int, trials: int) -> dict[str, Samples]:
    return {"errors": Samples(events=(errors, 0.0), trials=(trials / 2, trials / 2))}


def test_errors_of_one_in_ten_fail_a_canary_whose_baseline_has_none() -> None:
    found = judge(JudgeConfig(), [ERRORS], requests(0, 1000), requests(10, 100))
    assert (found.outcome, found.decisive) == (Outcome.FAIL, ("errors",))


def test_a_canary_without_requests_is_never_passed() -> None:
    assert judge(JudgeConfig(), [ERRORS], requests(0, 1000), {}).outcome is Outcome.INCONCLUSIVE
