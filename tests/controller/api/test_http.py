"""What HTTP itself promises of every route: methods, media types, tags, pages, repeats, what was seen."""

import hashlib
import threading
from typing import Any

import pytest

from repave_controller.api.web.negotiation import accepts, is_among
from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from tests.controller.api.conftest import SPEC, Asked, routes
from tests.controller.api.test_hostile import is_a_problem
from tests.fakes.controller.scheduler import ServedController, served

GETS = [each.path for each in routes() if each.method == "GET"]
LISTS = ["applications", "groups", "ages", "regions", "events", "images", "agents"]


def filled(path: str) -> str:
    names = {"application": "hello", "digest": "a" * 64, "artifact": "x"}
    for name, value in names.items():
        path = path.replace(f"{{{name}}}", value)
    return path


# ------------------------------------------------------------------------------------------------ methods


def test_every_get_is_a_head_with_the_same_headers_and_no_body(api: Asked) -> None:
    api.release()
    api.ended()
    for path in GETS:
        if path.endswith("stream") or path.startswith("login/oidc"):
            continue
        get, head = api.get(filled(path)), api.ask("HEAD", filled(path))
        assert (head.status, head.content) == (get.status, b""), path
        assert head.headers["Content-Type"] == get.headers["Content-Type"], path
        moves = ("hosts", "doctor", "regions", "summary", "why")  # times of now are in them
        if get.status == 200 and not any(each in path for each in moves) and path != one:
            assert head.headers.get("ETag") == get.headers.get("ETag"), path


one = "applications/{application}"


@pytest.mark.parametrize(
    "path", ["events/stream", "applications/hello/stream", "applications/hello/logs/stream"]
)
def test_a_head_of_a_stream_ends_at_once(api: Asked, path: str) -> None:
    api.release()
    head = api.ask("HEAD", path)
    assert (head.status, head.headers["Content-Type"], head.content) == (200, "text/event-stream", b"")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("plan", {"POST", "OPTIONS"}),
        ("freezes", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("openapi.json", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_options_says_which_methods_there_are(api: Asked, path: str, allowed: set[str]) -> None:
    answer = api.ask("OPTIONS", path)
    assert (answer.status, answer.content) == (204, b"")
    assert set(answer.headers["Allow"].split(",")) == allowed


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE"])
def test_other_methods_are_a_problem_with_those_allowed(api: Asked, method: str) -> None:
    answer = api.ask(method, "freezes")
    is_a_problem(answer, 405)
    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}
    is_a_problem(api.ask(method, "nothing"), 404)


# -------------------------------------------------------------------------------------------- media types


@pytest.mark.parametrize(
    ("told", "gives", "is_so"),
    [
        ([], "application/json", True),
        (["*/*"], "application/json", True),
        (["application/*"], "application/json", True),
        (["text/html, application/xhtml+xml, */*;q=0.8"], "application/json", True),
        (["text/html"], "application/json", False),
        (["text/html", "application/json"], "application/json", True),
        (["application/json;q=0, */*"], "application/json", False),
        (["*/*;q=0"], "application/json", False),
        (["application/json;charset=utf-8"], "application/json", True),
        (["APPLICATION/JSON"], "application/json", True),
        (["application/json"], "text/event-stream", False),
        (["no range at all"], "application/json", True),
    ],
)
def test_accept_is_read_as_http_says(told: list[str], gives: str, is_so: bool) -> None:
    assert accepts(told, gives) is is_so


@pytest.mark.parametrize("path", ["applications", "events/stream", "freezes"])
def test_what_cannot_be_given_is_not_acceptable(api: Asked, path: str) -> None:
    problem = is_a_problem(api.get(path, Accept="image/png"), 406)
    assert problem["rule"] == "not-acceptable"


def test_a_body_of_another_type_is_refused(api: Asked) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", ""):
        is_a_problem(api.post("plan", b"{}", **{"Content-Type": kind}), 415)


# --------------------------------------------------------------------------------------------------- tags


def test_what_has_not_changed_is_not_sent_again(api: Asked) -> None:
    api.release()
    api.ended()
    for path in ("applications", "events", "freezes", "images", "groups", "applications/hello/history"):
        first = api.get(path)
        tag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "private, no-cache"
        for told in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = api.get(path, **{"If-None-Match": told})
            assert (again.status, again.content, again.headers["ETag"]) == (304, b"", tag), (path, told)
        assert api.get(path, **{"If-None-Match": '"other"'}).status == 200
    before = api.get("freezes").headers["ETag"]
    api.post("freezes/all", {"by": "ann", "reason": "x"})
    assert api.get("freezes", **{"If-None-Match": before}).status == 200


def test_a_tag_is_compared_as_a_whole() -> None:
    assert not is_among('"ab"', ['"a", "b"'])
    assert not is_among('"ab"', ["ab"])


def test_what_is_secret_has_no_tag_and_is_not_kept(tmp_path: Any) -> None:
    with served(tmp_path, has_accounts=True) as controller:
        api, signed = Asked(controller.url), {"Authorization": f"Bearer {controller.admin}"}
        made = api.post("tokens", {"name": "ci"}, **signed)
        assert made.status == 201
        assert made.headers["Cache-Control"] == "no-store"
        assert "ETag" not in made.headers


# -------------------------------------------------------------------------------------------------- pages


def pages_of(api: Asked, path: str, limit: int) -> list[list[Any]]:
    """By the Link headers alone."""
    found, where = [], f"/v1/{path}?limit={limit}"
    while where:
        answer = api.get(where)
        assert answer.status == 200, answer.content
        found.append(answer.json["items"])
        link = answer.headers.get("Link", "")
        assert bool(link) == bool(answer.json.get("next"))
        where = link.partition(">")[0].removeprefix("<")
        assert not link or link.endswith('>; rel="next"')
    return found


@pytest.mark.parametrize("path", [*LISTS, "applications/hello/history", "applications/hello/regions"])
def test_pages_have_all_of_a_list_once(api: Asked, path: str) -> None:
    for version in ("v1", "v2", "v3"):
        api.release(version)
        api.ended()
    whole = api.get(path).json["items"]
    pages = pages_of(api, path, 1)
    if path != "events":  # it grows
        assert [item for each in pages for item in each] == whole
    assert all(len(each) <= 1 for each in pages)


def test_an_item_that_goes_moves_no_page(tmp_path: Any) -> None:
    with served(tmp_path, has_accounts=True) as controller:
        api, signed = Asked(controller.url), {"Authorization": f"Bearer {controller.admin}"}
        api.post("roles/grant", {"role": "viewer", "to": "x"}, **signed)
        for number in range(3):
            api.post("tokens", {"name": f"ci{number}"}, **signed)
        first = api.get("tokens?limit=2", **signed).json
        ids = [each["id"] for each in api.get("tokens", **signed).json["items"]]
        assert [each["id"] for each in first["items"]] == ids[:2]
        rest = api.get(f"tokens?limit=2&cursor={first['next']}", **signed).json
        assert [each["id"] for each in rest["items"]] == ids[2:]
        assert [each["name"] for each in api.get("tokens?name=ci1", **signed).json["items"]] == ["ci1"]
        assert api.get("tokens?state=revoked", **signed).json["items"] == []


def test_lists_are_filtered(api: Asked) -> None:
    api.release()
    api.ended()
    assert [each["name"] for each in api.get("applications?prefix=he").json["items"]] == ["hello"]
    assert api.get("applications?prefix=x").json["items"] == []
    assert len(api.get("applications?phase=succeeded").json["items"]) == 1
    assert api.get("applications?phase=running").json["items"] == []
    assert api.get("groups?state=warm").json["items"] == []
    started = api.get("events?kind=release.started").json["items"]
    assert [each["kind"] for each in started] == ["release.started"]
    assert {each["region"] for each in api.get("events?region=paris").json["items"]} <= {"paris"}


# ------------------------------------------------------------------------------------- what was seen


def test_a_command_on_what_has_changed_since_says_what_moved(
    api: Asked, controller: ServedController
) -> None:
    api.release("v1")
    api.ended()
    seen = api.get("applications/hello").json["generation"]
    assert api.get("applications/hello/summary").json["generation"] == seen
    assert api.get("applications").json["items"][0]["generation"] == seen
    api.release("v2")
    api.ended()
    for path in ("rollback", "delete", "renew"):
        answer = api.post(f"applications/hello/{path}", {}, **{"If-Match": f'"{seen}"'})
        problem = is_a_problem(answer, 412)
        assert problem["rule"] == "moved"
        assert "rollout 2 (of v2) is succeeded" in problem["detail"]
        assert "rollout 1 was the newest then" in problem["detail"]
    assert api.get("applications/hello").json["version"] == "v2"
    now = api.get("applications/hello").json["generation"]
    assert problem["facts"]["generation"] == now
    assert api.post("applications/hello/rollback", {}, **{"If-Match": f'"{seen}", "{now}"'}).status == 202


def test_what_a_person_goes_by_changes_the_generation_and_reports_do_not(
    api: Asked, controller: ServedController
) -> None:
    controller.hold()
    api.release("v1")
    seen = api.get("applications/hello").json["generation"]
    assert api.post("applications/hello/pause", {"by": "ann"}, **{"If-Match": f'"{seen}"'}).status == 202
    problem = is_a_problem(api.post("applications/hello/abort", {}, **{"If-Match": f'"{seen}"'}), 412)
    assert "paused by ann" in problem["detail"]
    paused = api.get("applications/hello").json["generation"]
    controller.connect("oslo", False)
    assert api.get("applications/hello").json["generation"] == paused
    controller.connect("oslo", True)


def test_a_repeat_with_a_key_is_answered_whatever_has_changed(api: Asked) -> None:
    api.release("v1")
    api.ended()
    seen = api.get("applications/hello").json["generation"]
    headers = {"If-Match": f'"{seen}"', "Idempotency-Key": "k"}
    assert api.post("applications/hello/sizes", {"sizes": {"paris": 3}}, **headers).status == 202
    again = api.post("applications/hello/sizes", {"sizes": {"paris": 3}}, **headers)
    assert (again.status, again.json["is_joined"]) == (202, True)


@pytest.mark.parametrize("told", ["7", "W/", "hello", '"', ""])
def test_what_is_no_generation_is_told(api: Asked, told: str) -> None:
    api.release("v1")
    answer = api.post("applications/hello/pause", {}, **{"If-Match": told})
    if told:
        is_a_problem(answer, 400)
    problem = is_a_problem(api.post("applications/hello/pause", {}, **{"If-Match": '"abc"'}), 412)
    assert "expected a generation" in problem["detail"]
    is_a_problem(api.post("plan", {}, **{"If-Match": '"abc"'}), 400)


# ------------------------------------------------------------------------------------------- repeats

FREEZE = {"from": "2099-12-24T00:00", "to": "2099-12-27T00:00", "zone": "UTC", "reason": "holidays"}


def test_a_write_with_a_key_is_done_once(api: Asked) -> None:
    first = api.post("freezes", FREEZE, **{"Idempotency-Key": "k"})
    again = api.post("freezes", FREEZE, **{"Idempotency-Key": "k"})
    assert (first.status, again.status) == (201, 201)
    assert (again.json, again.headers["Idempotent-Replayed"]) == (first.json, "true")
    assert len(api.get("freezes").json["items"]) == 1
    other = api.post("freezes", {**FREEZE, "reason": "other"}, **{"Idempotency-Key": "k"})
    assert is_a_problem(other, 409)["rule"] == "key-reused"


def test_keys_of_refused_writes_are_not_used_up(api: Asked) -> None:
    is_a_problem(api.post("freezes", {**FREEZE, "to": "2001-01-01T00:00"}, **{"Idempotency-Key": "k"}))
    assert api.post("freezes", FREEZE, **{"Idempotency-Key": "k"}).status == 201


def test_equal_writes_at_once_are_done_once(api: Asked) -> None:
    answers: list[Any] = []

    def ask() -> None:
        answers.append(api.post("freezes", FREEZE, **{"Idempotency-Key": "k"}))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {each.status for each in answers} == {201}
    assert len({each.json["id"] for each in answers}) == 1
    assert len(api.get("freezes").json["items"]) == 1


@pytest.mark.parametrize("path", ["freezes", "tokens"])
def test_a_controller_that_dies_before_it_answers_does_not_do_it_again(tmp_path: Any, path: str) -> None:
    """What it changes is saved with a receipt, its answer after that."""
    with served(tmp_path, has_accounts=True) as controller:
        api, signed = Asked(controller.url), {"Authorization": f"Bearer {controller.admin}"}
        body = FREEZE if path == "freezes" else {"name": "ci"}
        keyed, commit = {**signed, "Idempotency-Key": "k"}, controller.store.commit

        async def dying(transaction: Transaction) -> tuple[Event, ...]:
            receipt = transaction.receipt
            if receipt is not None and not (transaction.freezes or transaction.records):
                raise StoreError("the controller has died")
            return await commit(transaction)

        controller.store.commit = dying  # type: ignore[method-assign]  # what is saved alone is lost
        before = len(api.get(path, **signed).json["items"])
        assert api.post(path, body, **keyed).status == 201
        controller.store.commit = commit  # type: ignore[method-assign]
        for _ in range(2):
            assert is_a_problem(api.post(path, body, **keyed), 409)["rule"] == "done-already"
        assert len(api.get(path, **signed).json["items"]) == before + 1
        changed = {**body, "reason": "other"} if path == "freezes" else {"name": "cd"}
        assert is_a_problem(api.post(path, changed, **keyed), 409)["rule"] == "key-reused"


def test_a_secret_is_made_once_and_not_shown_again(tmp_path: Any) -> None:
    with served(tmp_path, has_accounts=True) as controller:
        api, signed = Asked(controller.url), {"Authorization": f"Bearer {controller.admin}"}
        keyed = {**signed, "Idempotency-Key": "k"}
        made = api.post("tokens", {"name": "ci"}, **keyed)
        again = api.post("tokens", {"name": "ci"}, **keyed)
        assert (made.status, is_a_problem(again, 409)["rule"]) == (201, "done-already")
        assert len([each for each in api.get("tokens", **signed).json["items"] if each["name"] == "ci"]) == 1
        receipts = repr(controller.store.shelf.__dict__)
        assert made.json["token"] not in receipts
        assert hashlib.sha256(b"k").hexdigest() in receipts


def test_keys_of_different_callers_are_different(tmp_path: Any) -> None:
    with served(tmp_path, has_accounts=True) as controller:
        api, signed = Asked(controller.url), {"Authorization": f"Bearer {controller.admin}"}
        api.post("roles/grant", {"role": "admin", "to": "bob"}, **signed)
        bob = api.post("tokens", {"name": "bob"}, **signed).json["token"]
        first = api.post("freezes", FREEZE, **signed, **{"Idempotency-Key": "k"})
        other = {**FREEZE, "reason": "of bob"}
        second = api.post("freezes", other, Authorization=f"Bearer {bob}", **{"Idempotency-Key": "k"})
        assert (first.status, second.status) == (201, 201)


def test_a_release_still_takes_its_key(api: Asked) -> None:
    body = {"spec": SPEC, "digest": api.push("v1"), "version": "v1"}
    keyed = {"Idempotency-Key": "k"}
    assert api.post("applications/hello/releases", body, **keyed).json["is_joined"] is False
    assert api.post("applications/hello/releases", body, **keyed).json["is_joined"] is True


# --------------------------------------------------------------------------------------------- streams


def test_a_stream_of_a_log_that_is_not_the_clients_says_reset(api: Asked) -> None:
    """A backup was restored: the client knows more events than there are."""
    api.release("v1")
    api.ended()
    number = api.get("events?newest=1&limit=1").json["items"][-1]["sequence"]
    with api.stream("events/stream", **{"Last-Event-ID": str(number + 1000)}) as events:
        found, event = next(events)
    assert event["kind"] == "events.dropped"
    assert found == event["sequence"] >= number
