"""Commands over HTTP: what is accepted, what joins, and what is refused with which rule."""

import pytest

from tests.controller.api.conftest import SPEC, Asked, a_package, sha256
from tests.fakes.controller.scheduler import ServedController


def test_an_accepted_release_names_its_group(api: Asked) -> None:
    answer = api.release()
    assert answer.status == 202
    assert answer.json == {
        "application": "hello",
        "group": "hello-v001",
        "rollout": 1,
        "kind": "release",
        "is_queued": False,
        "is_joined": False,
    }


def test_a_provider_that_a_region_does_not_have_is_refused_and_changes_nothing(api: Asked) -> None:
    other = SPEC.replace("{name: oslo,", "{name: oslo, provider: ssh_pool,")
    for path in ("plan", "applications/hello/releases"):
        body = {"spec": other, "digest": api.push("v1"), "version": "v1"}
        answer = api.post(path, body)
        assert (answer.status, answer.json["rule"]) == (422, "disagreement")
        assert answer.json["detail"].endswith(
            ".provider: the agent of oslo has the provider local, the spec says ssh_pool: correct one of them"
        )
    assert api.get("applications").json["items"] == []


def test_the_same_key_joins_and_another_request_under_it_is_refused(api: Asked) -> None:
    first = api.release(key="ci-7").json
    again = api.release(key="ci-7").json
    assert again == {**first, "is_joined": True}
    clash = api.release("v2", key="ci-7")
    assert (clash.status, clash.json["rule"]) == (409, "key-reused")


def test_a_second_release_is_refused_with_the_ways_on_or_queued(
    api: Asked, controller: ServedController
) -> None:
    controller.hold()
    api.release()
    refused = api.release("v2")
    assert (refused.status, refused.headers["Content-Type"].split(";")[0]) == (
        409,
        "application/problem+json",
    )
    assert refused.json == {
        "type": "urn:repave:problem:rollout-running",
        "title": "rollout running",
        "status": 409,
        "detail": "hello-v001 is being rolled out; repave watch hello follows it, repave abort hello ends "
        "it; --queue releases this after it, --replace at once",
        "rule": "rollout-running",
        "problems": [],
        "facts": {"running": "hello-v001"},
        "remedy": {
            "command": "watch",
            "arguments": ["hello"],
            "options": {},
            "text": "repave watch hello",
        },
    }
    queued = api.release("v2", queue=True)
    assert (queued.status, queued.json["is_queued"]) == (202, True)


def test_rollback_and_abort_answer_with_what_they_turned_round(
    api: Asked, controller: ServedController
) -> None:
    api.release()
    api.ended()
    api.release("v2")
    api.ended()
    back = api.post("applications/hello/rollback", {"reason": "slow", "by": "ann"})
    assert (back.status, back.json["kind"], back.json["group"]) == (202, "rollback", "hello-v001")
    assert api.ended()["phase"] == "succeeded"
    controller.hold()
    api.release("v3")
    ended = api.post("applications/hello/abort", {})
    assert (ended.status, ended.json["group"]) == (202, "hello-v003")
    controller.let_go()
    assert api.ended()["phase"] == "aborted"


@pytest.mark.parametrize(
    ("path", "rule"), [("rollback", "nothing-to-roll-back-to"), ("abort", "nothing-to-abort")]
)
def test_nothing_to_undo_is_a_refusal(api: Asked, path: str, rule: str) -> None:
    api.release()
    api.ended()
    answer = api.post(f"applications/hello/{path}", {})
    assert (answer.status, answer.json["rule"]) == (409, rule)


def test_an_unknown_application_is_named_with_those_there_are(api: Asked) -> None:
    answer = api.get("applications/helo")
    assert (answer.status, answer.json["rule"]) == (404, "unknown-application")
    assert answer.json["detail"] == "no application is called helo; nothing has been released yet"
    api.release()
    assert api.post("applications/helo/abort", {}).json["detail"].endswith("there are: hello")


# --------------------------------------------------------------------------------------------------- plan


def test_a_plan_foretells_and_binds_the_release(api: Asked) -> None:
    body = {"spec": SPEC, "digest": api.push("v1"), "version": "v1"}
    plan = api.post("plan", body).json
    assert (plan["group"], plan["creates_hosts"], plan["problems"]) == ("hello-v001", 5, [])
    assert api.post("applications/hello/releases", {**body, "plan": plan["id"].lower()}).status == 202


@pytest.mark.parametrize("changed", ["version", "drain", "application"])
def test_a_plan_does_not_hold_when_something_changed_since(api: Asked, changed: str) -> None:
    body = {"spec": SPEC, "digest": api.push("v1"), "version": "v1"}
    plan = api.post("plan", body).json
    if changed == "version":
        body["version"] = "v1b"
    if changed == "drain":
        body["spec"] = SPEC.replace("port: 8000", "port: 8000, drain: 1s")
    if changed == "application":
        api.release("v0")
        api.ended()
    answer = api.post("applications/hello/releases", {**body, "plan": plan["id"]})
    assert (answer.status, answer.json["rule"]) == (409, "plan-changed")


def test_a_plan_misses_the_package_unless_it_will_be_pushed(api: Asked) -> None:
    body = {"spec": SPEC, "digest": "a" * 64}
    assert api.post("plan", body).json["problems"] == [
        f"no package {'a' * 64} is stored here; repave image push adds one"
    ]
    assert api.post("plan", {**body, "will_push": True}).json["problems"] == []


def test_a_plan_says_why_the_release_would_be_refused(api: Asked) -> None:
    body = {"spec": SPEC.replace("oslo", "rome"), "digest": "a" * 64, "will_push": True}
    plan = api.post("plan", body).json
    assert plan["problems"] == ["regions: no agent has ever spoken for rome; known are: oslo, paris"]
    assert api.get("applications").json["items"] == []


# ---------------------------------------------------------------------------------------------- bad input


def test_errors_of_a_spec_name_file_line_column_field_and_fix(api: Asked) -> None:
    body = {"spec": SPEC.replace("strategy", "strategie"), "filename": "web.yaml", "digest": "a" * 64}
    answer = api.post("plan", body)
    assert (answer.status, answer.json["rule"]) == (422, "spec")
    found = {problem["field"]: problem for problem in answer.json["problems"]}
    assert found["strategie"] == {
        "file": "web.yaml",
        "line": 10,
        "column": 12,
        "field": "strategie",
        "message": "unknown option",
        "fix": "did you mean strategy?",
    }


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "the body is no JSON"),
        (b'{"reason": "a", "reason": "b"}', "the body names a field twice"),
        (b"[]", "Input should be a valid dictionary"),
        (b'{"raeson": "a"}', "raeson: Extra inputs are not permitted"),
        (b'{"reason": 7}', "reason: Input should be a valid string"),
        (b"\xff", "the body is no JSON"),
        (b'{"reason": "' + b"x" * 501 + b'"}', "reason: String should have at most 500 characters"),
        (b"[" * 100_000, "the body is no JSON"),
    ],
)
def test_a_body_that_is_not_understood_is_refused(api: Asked, body: bytes, detail: str) -> None:
    api.release()
    answer = api.post("applications/hello/abort", body)
    assert answer.status == 400
    assert answer.json["detail"].startswith(detail)


def test_a_body_beyond_the_limit_is_refused(api: Asked) -> None:
    answer = api.post("plan", b"x" * (5 << 20))
    assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (413, "application/problem+json")


@pytest.mark.parametrize(
    "path", ["events?after=x", "events?limit=100000", "hosts?log_lines=-1", "events?after=" + "9" * 30]
)
def test_a_query_that_is_not_understood_is_refused(api: Asked, path: str) -> None:
    answer = api.get(path)
    assert (answer.status, answer.json["rule"]) == (400, "bad-request")


def test_an_unknown_route_is_a_problem_too(api: Asked) -> None:
    answer = api.get("aplications")
    assert (answer.status, answer.json["rule"]) == (404, "not-found")
    assert api.ask("PUT", "applications").json["rule"] == "method-not-allowed"


def test_a_full_disk_of_the_store_is_told_and_starts_nothing(
    api: Asked, controller: ServedController
) -> None:
    digest = api.push()
    controller.store.trouble = "the disk is full: free some space"
    answer = api.post("applications/hello/releases", {"spec": SPEC, "digest": digest, "version": "v1"})
    assert (answer.status, answer.json["detail"]) == (503, "the disk is full: free some space")
    assert api.get("applications").json["items"] == []


# ------------------------------------------------------------------------------------------------- images


def test_a_pushed_package_is_listed_and_can_be_fetched(api: Asked) -> None:
    package = a_package("v1")
    digest = api.push("v1")
    assert digest == sha256(package)
    (item,) = api.get("images").json["items"]
    assert (item["digest"], item["name"], item["size_bytes"], item["files"]) == (
        digest,
        "app",
        len(package),
        1,
    )
    assert api.get(f"images/{digest}").content == package
    assert api.ask("HEAD", f"images/{digest}").status == 200
    assert api.ask("HEAD", f"images/{'0' * 64}").status == 404
    assert api.get("images/..%2f..%2fetc%2fpasswd").status == 404


def test_a_package_that_is_not_the_announced_one_is_refused(api: Asked) -> None:
    answer = api.post("images", a_package("v1"), **{"X-Repave-Digest": "0" * 64})
    assert (answer.status, answer.json["rule"]) == (422, "image")
    assert api.get("images").json["items"] == []


def test_what_is_no_package_is_refused(api: Asked) -> None:
    answer = api.post("images", b"hello")
    assert (answer.status, answer.json["rule"]) == (422, "image")


def test_a_release_of_a_package_that_is_not_stored_is_refused(api: Asked) -> None:
    answer = api.post("applications/hello/releases", {"spec": SPEC, "digest": "a" * 64})
    assert (answer.status, answer.json["rule"]) == (422, "unknown-image")
