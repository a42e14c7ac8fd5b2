"""What analyses found is shown with its numbers, and judged again with other thresholds; a metric that can't
be read is refused before a release begins."""

from dataclasses import replace

import pytest

from repave_controller.core.analysis.values import JudgeConfig, Metric, MetricKind, Outcome, Samples
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Look, Transaction
from repave_controller.core.rules.looks import Compared
from repave_controller.operations.analysis.details import LookDetails, MetricLook, row_text
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName
from tests.controller.api.conftest import SPEC, Asked
from tests.fakes.controller.api_rig import RealController
from tests.fakes.controller.scheduler import ServedController

ERRORS = Metric("errors", MetricKind.RATE)
QUEUE = Metric("queue")
PARIS = RegionName("paris")


def a_look(n: int, errors: float, *, outcome: Outcome = Outcome.FAIL, trouble: str = "") -> Look:
    """Of rollout 7: `errors` of 40 requests a step, against none."""
    steps = (float("nan"), 0.0, 0.0)
    old = Samples(events=(0.0,) * 3, trials=(400.0,) * 3, step_seconds=5.0, begins_at=1000.0)
    new = replace(old, events=(errors,) * 3, trials=(40.0,) * 3)
    metrics = (
        MetricLook(ERRORS, "balancer", "errors", "", old, new, trouble=trouble),
        MetricLook(QUEUE, "prom", "q", "", Samples(values=steps), Samples(values=steps), trouble=trouble),
    )
    groups = (Compared(PARIS, GroupName("hello-v002"), GroupName("hello-v001"), Instant(0)),)
    details = LookDetails(
        "step 1.3", PARIS, 1, n, n, 10, 1000.0, 1015.0, groups, JudgeConfig(), outcome, None, metrics
    )
    if not trouble:
        judgement = details.judged_again(JudgeConfig())
        details = replace(details, judgement=judgement, outcome=judgement.outcome)
    name = f"step 1.3/paris/0001/{n:06d}"
    return Look(
        ApplicationName("hello"), 7, name, Instant(1000.0 + n), str(details.outcome), row_text(details)
    )


@pytest.fixture
def kept(api: Asked, controller: ServedController) -> Asked:
    api.release("v1")
    looks = (
        a_look(1, 0.0),
        a_look(2, 0.0, outcome=Outcome.ERROR, trouble="connection refused"),
        a_look(3, 8.0),
    )
    controller.in_loop(lambda: controller.store.put(Transaction(looks=looks)))
    return api


def test_each_look_is_told_and_the_last_has_its_numbers(kept: Asked) -> None:
    answer = kept.get("applications/hello/analyses").json
    assert (answer["application"], answer["rollout"]) == ("hello", 7)
    first, second, third = answer["items"]
    assert (first["look"], first["region"], first["count"]) == (1, "paris", 10)
    assert first["outcome"] == "inconclusive"
    assert first["metrics"][0]["canary_series"] is None
    assert (second["outcome"], second["text"]) == ("error", "error: connection refused")
    assert second["score"] is None
    assert third["outcome"] == "fail"
    errors, queue = third["metrics"]
    assert (errors["verdict"], errors["rule"]) == ("high", "clearly-bad")
    assert "clearly worse" in errors["text"]
    assert errors["canary_series"] == {"values": [], "events": [8.0] * 3, "trials": [40.0] * 3}
    assert (errors["step_seconds"], errors["begins_at"]) == (5.0, 1000.0)
    assert queue["canary_series"]["values"] == [None, 0.0, 0.0]
    brief = kept.get("applications/hello/analyses?rollout=7&numbers=0").json
    assert {each["canary_series"] for look in brief["items"] for each in look["metrics"]} == {None}
    assert kept.get("applications/hello/analyses?rollout=6").json["items"] == []
    assert kept.get("applications/moon/analyses").status == 404


def test_old_looks_are_judged_again_and_nothing_is_changed(kept: Asked) -> None:
    path = "applications/hello/analyses/replay"
    lenient = kept.post(path, {"judge": "kayenta-v1", "pass_score": 0, "marginal_score": 0}).json
    assert [each["outcome"] for each in lenient["items"]] == ["pass", "error", "pass"]
    strict = kept.post(path, {"rollout": 7, "false_alarms_percent": 1}).json
    assert [each["outcome"] for each in strict["items"]] == ["inconclusive", "error", "fail"]
    tolerant = SPEC.replace(
        "{blue_green: {warm: 0s}}",
        "{canary: {steps: [{traffic: 5%, hold: 10m, analyse: {metrics: [{name: errors, muted: true}, "
        "{name: queue, source: prom, query: q}]}}]}}",
    )
    muted = kept.post(path, {"spec": tolerant}).json
    assert muted["items"][2]["outcome"] != "fail"
    assert kept.get("applications/hello/analyses").json["items"][2]["outcome"] == "fail"


@pytest.mark.parametrize(
    ("body", "status", "rule"),
    [
        ({"rollout": 6}, 404, "no-analysis"),
        ({"pass_score": 101}, 400, "bad-request"),
        ({"judge": "me"}, 400, "bad-request"),
        ({"pass_score": 50, "marginal_score": 80}, 400, "bad-request"),
        ({"pass_score": 50}, 400, "bad-request"),
        ({"spec": SPEC}, 422, "spec"),
        ({"spec": "repave: 2"}, 422, "spec"),
    ],
)
def test_what_can_not_be_judged_again_is_refused(
    kept: Asked, body: dict[str, object], status: int, rule: str
) -> None:
    refused = kept.post("applications/hello/analyses/replay", body)
    assert (refused.status, refused.json["rule"]) == (status, rule), refused.json


def with_metrics(metrics: str) -> str:
    canary = f"{{canary: {{steps: [{{traffic: 5%, hold: 10m, analyse: {{metrics: [{metrics}]}}}}]}}}}"
    return SPEC.replace("{blue_green: {warm: 0s}}", canary)


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ("{name: queue, source: prom, query: q}", "queue: the controller's settings have no source prom"),
        ("{name: errors}", "errors: paris: its balancer, haproxy, does not count the requests"),
    ],
)
async def test_a_metric_that_can_not_be_read_is_refused_before_anything_begins(
    real: RealController, metrics: str, told: str
) -> None:
    for path in ("plan", "applications/hello/releases"):
        body = {"spec": with_metrics(metrics), "digest": "a" * 64, "version": "1"}
        async with real.client.post(path, json=body) as answer:
            refused = await answer.json()
            assert (answer.status, refused["rule"]) == (422, "disagreement"), refused
            assert told in refused["detail"]
            assert refused["problems"][0]["field"] == "analysis.metrics"
