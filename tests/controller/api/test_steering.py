"""Steering over HTTP: every command of the API, what it answers, what it refuses and with which way on."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.controller.api.conftest import SPEC, Asked
from tests.fakes.controller.scheduler import ServedController

CANARY = SPEC.replace(
    "strategy: {blue_green: {warm: 0s}}",
    """\
waves: [{regions: [paris], bake: 1h}, {regions: rest, approve: sre}]
strategy: {canary: {steps: [{traffic: 50%, hold: 1h, approve: leads}]}}""",
)
APP = "applications/hello"
DEADLINE_SECONDS = 40.0


def seen(api: Asked, is_so: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first snapshot of which it is so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    status: dict[str, Any]
    with api.stream(f"{APP}/stream") as snapshots:
        for _, status in snapshots:
            if is_so(status):
                return status
            assert time.monotonic() < deadline, status
    raise AssertionError("the stream ended")


def in_step(region: str, kind: str) -> Callable[[dict[str, Any]], bool]:
    def is_there(status: dict[str, Any]) -> bool:
        tracks = [track for wave in status["current_rollout"]["waves"] for track in wave["regions"]]
        return any(track["region"] == region and track["kind"] == kind for track in tracks)

    return is_there


@pytest.fixture
def canary(api: Asked) -> Asked:
    """A canary soaks in paris, the first of two waves."""
    api.release()
    api.ended()
    assert api.release("v2", spec=CANARY).status == 202
    seen(api, in_step("paris", "soak"))
    return api


def refused(api: Asked, verb: str, **body: object) -> tuple[str, str]:
    answer = api.post(f"{APP}/{verb}", body)
    assert answer.status == 409, answer.json
    return answer.json["rule"], answer.json["detail"]


def test_a_canary_is_led_through_its_gates_and_waits(canary: Asked) -> None:
    assert refused(canary, "promote")[0] == "no-gate"
    assert canary.post(f"{APP}/promote", {"skip": True}).status == 202
    status = seen(canary, in_step("paris", "approve"))
    assert status["gates"] == [
        {
            "gate": "step 1.5",
            "kind": "approval",
            "regions": ["paris"],
            "role": "leads",
            "distinct": True,
            "command": "repave promote hello --role leads",
        }
    ]
    assert refused(canary, "promote") == (
        "role-missing",
        "this waits for the role leads; say so with --role leads",
    )
    assert canary.post(f"{APP}/promote", {"role": "leads", "by": "ann", "reason": "fine"}).status == 202
    status = seen(canary, lambda each: any(because["kind"] == "bake" for because in each["because"]))
    (bake,) = status["because"]
    assert bake["then"] == "then wave 2, once a person with the role sre has approved: oslo"
    assert canary.post(f"{APP}/promote", {"skip": True}).status == 202
    seen(canary, lambda each: each["gates"])
    assert canary.post(f"{APP}/promote", {"full": True, "role": "sre"}).json["rule"] == "role-missing"
    assert canary.post(f"{APP}/promote", {"role": "sre"}).status == 202
    seen(canary, in_step("oslo", "soak"))
    assert canary.post(f"{APP}/promote", {"full": True}).json["rule"] == "role-missing"
    assert canary.post(f"{APP}/promote", {"full": True, "role": "leads"}).status == 202
    ended = canary.ended()
    assert ended["phase"] == "succeeded"
    assert [(each["gate"], each["kind"], each["by"], each["reason"]) for each in ended["passes"]][1] == (
        "step 1.5",
        "approved",
        "ann",
        "fine",
    )


def test_a_pause_is_told_and_ended_by_resume(canary: Asked) -> None:
    assert refused(canary, "resume")[0] == "not-paused"
    assert canary.post(f"{APP}/pause", {"by": "ann", "reason": "lunch"}).status == 202
    status = seen(canary, lambda each: each["phase"] == "paused")
    assert status["current_rollout"]["paused_by"] == "ann"
    (because,) = status["because"]
    assert (because["kind"], because["text"]) == ("paused", "paused by ann: lunch")
    assert because["remedy"] == {
        "command": "resume",
        "arguments": ["hello"],
        "options": {},
        "text": "repave resume hello lets it go on, repave rollback hello goes back",
    }
    assert refused(canary, "promote") == ("paused", "it is paused; repave resume hello lets it go on")
    assert canary.post(f"{APP}/resume", {}).status == 202
    seen(canary, lambda each: each["phase"] == "running")


def test_a_step_back_gives_the_share_back_and_pauses(canary: Asked) -> None:
    assert canary.post(f"{APP}/step-back", {"by": "ann"}).status == 202
    status = seen(canary, lambda each: _share(each, "paris", "hello-v002") == 0)
    assert status["phase"] == "paused"


def _share(status: dict[str, Any], region: str, group: str) -> int:
    (groups,) = [each["groups"] for each in status["region_items"] if each["name"] == region]
    return next(int(each["weight_bp"]) for each in groups if each["name"] == group)


def test_a_region_is_taken_out_and_the_others_go_on(canary: Asked) -> None:
    assert canary.post(f"{APP}/abort", {"region": "rome"}).json["rule"] == "unknown-region"
    assert canary.post(f"{APP}/abort", {"region": "oslo"}).status == 202
    status = seen(canary, lambda each: each["current_rollout"]["waves"][1]["regions"][0]["phase"] == "undone")
    assert status["phase"] == "running"


def test_a_held_step_is_tried_again(api: Asked, controller: ServedController) -> None:
    api.release()
    api.ended()
    controller.sessions.broken.add("hello-v002")
    api.release("v2", spec=SPEC + "rollback: {on: []}\n")
    status = seen(api, lambda each: each["phase"] == "held")
    assert "exited with code 1" in status["current_rollout"]["outcome"]
    assert refused(api, "resume")[0] == "held"
    controller.sessions.broken.clear()
    assert api.post(f"{APP}/retry", {"by": "ann"}).status == 202
    assert api.ended()["phase"] == "succeeded"
    assert refused(api, "retry")[0] == "nothing-running"


def test_sizes_change_while_a_release_runs(canary: Asked) -> None:
    assert canary.post(f"{APP}/sizes", {"sizes": {"paris": 4, "oslo": 5}}).status == 202
    seen(
        canary,
        lambda each: (
            {
                (region["name"], group["name"]): group["size"]
                for region in each["region_items"]
                for group in region["groups"]
            }
            == {
                ("paris", "hello-v001"): 4,
                ("paris", "hello-v002"): 4,
                ("oslo", "hello-v001"): 5,
                ("oslo", "hello-v002"): 5,
            }
        ),
    )
    assert canary.post(f"{APP}/sizes", {"sizes": {"rome": 5}}).json["rule"] == "unknown-region"


def test_a_rollback_goes_to_the_version_and_the_regions_asked_for(api: Asked) -> None:
    spec = SPEC + "rollback: {keep: {for: 24h, groups: 3}}\n"
    for version in ("v1", "v2", "v3"):
        api.release(version, spec=spec)
        api.ended()
    answer = api.post(f"{APP}/rollback", {"to": "v9"})
    assert (answer.status, answer.json["rule"], answer.json["detail"]) == (
        422,
        "unknown-group",
        "no older group of hello is called v9; there are: hello-v002 (v2), hello-v001 (v1)",
    )
    back = api.post(f"{APP}/rollback", {"to": "v1", "regions": ["paris"]})
    assert (back.status, back.json["group"]) == (202, "hello-v001")
    assert api.ended()["phase"] == "succeeded"
    status = api.get(APP).json
    assert _share(status, "paris", "hello-v001") == _share(status, "oslo", "hello-v003") == 10_000


def test_a_command_given_twice_under_one_key_is_done_once(canary: Asked) -> None:
    first = canary.post(f"{APP}/pause", {}, **{"Idempotency-Key": "k"})
    canary.post(f"{APP}/resume", {})
    again = canary.post(f"{APP}/pause", {}, **{"Idempotency-Key": "k"})
    assert again.json == {**first.json, "is_joined": True}
    assert seen(canary, lambda each: True)["phase"] == "running"


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("pause", {"resaon": "x"}, "resaon"),
        ("promote", {"skip": 2}, "skip"),
        ("override", {}, "rule"),
        ("sizes", {"sizes": {}}, "sizes"),
        ("sizes", {"sizes": {"paris": 0}}, "sizes.paris"),
        ("rollback", {"regions": "paris"}, "regions"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_field(
    api: Asked, verb: str, body: dict[str, object], field: str
) -> None:
    answer = api.post(f"{APP}/{verb}", body)
    assert (answer.status, answer.json["problems"][0]["field"]) == (400, field)


def test_an_override_takes_a_reason_and_is_kept(canary: Asked) -> None:
    assert refused(canary, "override", rule="capacity") == (
        "reason-missing",
        "an override needs a reason: --reason",
    )
    assert canary.post(f"{APP}/override", {"rule": "capacity", "reason": "known", "by": "ann"}).status == 202
    (passed,) = seen(canary, lambda each: each["current_rollout"]["passes"])["current_rollout"]["passes"]
    assert (passed["gate"], passed["kind"], passed["reason"]) == ("guard capacity", "overridden", "known")


# --------------------------------------------------------------------------------------------------- plans


def test_a_plan_that_does_not_hold_says_what_has_changed(api: Asked) -> None:
    body = {"spec": SPEC, "digest": api.push("v1"), "version": "v1"}
    plan = api.post("plan", body).json["id"]
    changed = {**body, "version": "v1b", "spec": SPEC.replace("size: 2", "size: 4"), "plan": plan}
    answer = api.post(f"{APP}/releases", changed)
    assert (answer.status, answer.json["detail"]) == (
        409,
        f"plan {plan} does not hold any more: changed since: the version (v1 -> v1b); the sizes of the "
        "regions; look at repave plan again",
    )
    api.release("v0")
    api.ended()
    detail = api.post(f"{APP}/releases", {**body, "plan": plan}).json["detail"]
    assert "who serves (no group serves -> hello-v001 serves)" in detail


def test_a_plan_of_a_former_life_is_refused_in_general_words(api: Asked) -> None:
    body = {"spec": SPEC, "digest": api.push("v1"), "version": "v1", "plan": "ABCDEF12"}
    detail = api.post(f"{APP}/releases", body).json["detail"]
    assert "the spec, the package or the application has changed since" in detail


def test_a_plan_has_the_present_answers_of_the_guards(api: Asked, controller: ServedController) -> None:
    api.release()
    api.ended()
    body = {"spec": SPEC, "digest": api.push("v2"), "version": "v2"}
    guards = api.post("plan", body).json["guards"]
    assert [each["text"] for each in guards if each["rule"] == "capacity"] == [
        "paris: 2 hosts of hello-v001 can serve, the floor is 2 of 2",
        "oslo: 3 hosts of hello-v001 can serve, the floor is 3 of 3",
    ]
    controller.connect("oslo", False)
    refusing = [each for each in api.post("plan", body).json["guards"] if each["refuses"]]
    assert [each["text"] for each in refusing] == ["oslo: its agent is not connected"]
