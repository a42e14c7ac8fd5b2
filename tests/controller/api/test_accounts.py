"""A controller with accounts: who may what, from when until when, in whose name."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repave_controller.api.web.access import Bounds
from repave_controller.api.web.policy import POLICY, Scope
from repave_controller.security.principals import PERMISSIONS, Permission, Role
from tests.controller.api.conftest import SPEC, Asked, a_package
from tests.fakes.controller.asking import Answered
from tests.fakes.controller.scheduler import ServedController, served

UNBOUNDED = Bounds(*[(1e6, 1e6)] * 5)
GATED = SPEC.replace(
    "strategy: {blue_green: {warm: 0s}}",
    "strategy: {steps: [{scale: 100%}, {verify: {}}, {approve: {role: sre}}, {weight: 100%}]}",
)


@dataclass(frozen=True)
class Signed(Asked):
    """A client that shows a token."""

    token: str = ""

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None) -> Answered:
        shown = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return super().ask(method, path, body, {**shown, **(headers or {})})


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path, has_accounts=True, bounds=UNBOUNDED) as started:
        yield started


@pytest.fixture
def admin(controller: ServedController) -> Signed:
    return Signed(controller.url, controller.admin)


def made(admin: Signed, name: str, *roles: tuple[str, str], **token: Any) -> Signed:
    """One who has these roles for these applications, with a token."""
    for role, applications in roles:
        given = admin.post("roles/grant", {"to": name, "role": role, "applications": applications})
        assert given.status == 200, given.content
    answer = admin.post("tokens", {"name": name, **token})
    assert answer.status == 201, answer.content
    return Signed(admin.url, answer.json["token"])


def released(client: Signed, spec: str = SPEC, **changes: Any) -> Answered:
    pushed = client.post("images", a_package("v1"))
    digest = pushed.json.get("digest", "d" * 64)
    return client.post("applications/hello/releases", {"spec": spec, "digest": digest, **changes})


# ------------------------------------------------------------------------------------------- the deny matrix


def called(client: Signed, route: str) -> tuple[int, str]:
    """Status and rule of a call with an empty body."""
    method, path = re.sub(r"\{\w+\}", "hello", route.replace("{digest}", "d" * 64)).split(" ")
    path = f"/{path}" if path in ("healthz", "metrics") else path
    if path.endswith("stream") and not client.token:
        return client.ask(method, path).status, "not-signed-in"
    answer = client.ask(
        method, path, b"{}" if method == "POST" else None, {"Content-Type": "application/json"}
    )
    told = {401: "not-signed-in", 403: "denied"} if method == "HEAD" else {}
    try:
        return answer.status, answer.json.get("rule", "")
    except ValueError:  # of a HEAD, and of a package
        return answer.status, told.get(answer.status, "")


ASKING = {name: rule for name, rule in POLICY.items() if rule.permission is not Permission.OPEN}


def strangers(controller: ServedController, admin: Signed) -> dict[str, Signed]:
    ended = admin.post("tokens", {"name": "gone"}).json
    admin.post(f"tokens/{ended['item']['id']}/revoke", {})
    late = made(admin, "late", ("admin", "*"), expires_seconds=0.001)
    other = admin.token[:-1] + ("0" if admin.token[-1] != "0" else "1")
    return {
        "anonymous": Signed(controller.url),
        "no token at all": Signed(controller.url, "admin"),
        "unknown": Signed(controller.url, f"rpv_{'0' * 12}_{'0' * 64}"),
        "wrong secret": Signed(controller.url, other),
        "expired": late,
        "revoked": Signed(controller.url, ended["token"]),
        "forged ticket": Signed(controller.url, f"rpa_{'0' * 64}_oslo"),
    }


def test_no_route_answers_who_is_not_recognised(controller: ServedController, admin: Signed) -> None:
    for who, client in strangers(controller, admin).items():
        for route in ASKING:
            assert called(client, route) == (401, "not-signed-in"), (who, route)


def test_no_route_answers_a_role_that_it_does_not_ask_for(admin: Signed) -> None:
    released(admin)
    for role in Role:
        here, elsewhere = (
            made(admin, f"{role}-{number}", (str(role), applications))
            for number, applications in enumerate(("hello", "web-*"))
        )
        for route, rule in ASKING.items():
            if route.endswith("stream"):
                continue
            has = rule.permission is Permission.KNOWN or rule.permission in PERMISSIONS[role]
            in_part = rule.permission is Permission.KNOWN or rule.scope is not Scope.INSTALLATION
            if route == "POST logout":
                continue
            assert (called(here, route)[1] != "denied") == (has and in_part), (role, route)
            if rule.scope is Scope.APPLICATION:
                assert called(elsewhere, route) == (403, "denied"), (role, route)


def test_an_agent_s_ticket_fetches_packages_and_nothing_else(
    controller: ServedController, admin: Signed
) -> None:
    digest = admin.push()
    agent = Signed(controller.url, controller.tickets.of("oslo"))
    assert agent.get(f"images/{digest}").json["rule"] == "package-of-another-region"
    released(admin)
    assert agent.get(f"images/{digest}").status == 200
    assert agent.get(f"images/{'0' * 64}").json["rule"] == "package-of-another-region"
    elsewhere = Signed(controller.url, controller.tickets.of("lima"))
    assert elsewhere.get(f"images/{digest}").json["rule"] == "package-of-another-region"
    known = {"GET whoami", "POST logout", "GET openapi.json"}
    for route, rule in ASKING.items():
        if rule.permission is not Permission.FETCH and route not in known:
            assert called(agent, route) == (403, "denied"), route


def test_a_package_is_for_those_who_may_see_an_application_of_it_or_have_brought_it(
    controller: ServedController, admin: Signed
) -> None:
    """To all others it is as if it were not stored: to see, to fetch, to plan with and to release."""
    released(admin)
    digest = admin.push()
    mine, theirs = made(admin, "mine", ("deployer", "hello")), made(admin, "theirs", ("deployer", "web-*"))
    looks, operates = made(admin, "looks", ("viewer", "hello")), made(admin, "all", ("deployer", "*"))

    def seen(client: Signed) -> tuple[int, int]:
        """How many are listed, and what fetching it gives."""
        return len(client.get("images").json["items"]), client.ask("GET", f"images/{digest}").status

    assert [seen(client) for client in (admin, mine, operates)] == [(1, 200)] * 3
    assert seen(looks) == (1, 403)  # a viewer sees it, and fetches none
    assert seen(theirs) == (0, 404)
    assert theirs.ask("HEAD", f"images/{digest}").status == 404  # so that its CLI sends it again
    web = SPEC.replace("app: hello", "app: web-1").replace("8000", "8001")
    body = {"spec": web, "digest": digest}
    refused = theirs.post("applications/web-1/releases", body)
    assert (refused.status, refused.json["rule"]) == (422, "unknown-image")
    assert "no package" in theirs.post("plan", body).json["problems"][0]
    assert theirs.push() == digest  # who has its bytes may have it
    assert seen(theirs) == (1, 200)
    assert theirs.post("applications/web-1/releases", body).status == 202
    unused = admin.push("not run yet")
    assert mine.get(f"images/{unused}").status == 404
    assert mine.post("applications/hello/releases", {"spec": SPEC, "digest": unused}).status == 202


def test_an_agent_fetches_what_it_is_asked_to_bake(controller: ServedController, admin: Signed) -> None:
    digest = admin.push()
    agent = Signed(controller.url, controller.tickets.of("oslo"))
    assert agent.get(f"images/{digest}").status == 403
    admin.post("baked-images", {"digest": digest, "name": "hello-1", "regions": ["oslo"]})
    assert agent.get(f"images/{digest}").status == 200
    assert Signed(controller.url, controller.tickets.of("paris")).get(f"images/{digest}").status == 403


def test_health_answers_everyone(controller: ServedController) -> None:
    assert Signed(controller.url).get("/healthz").status == 200
    assert Signed(controller.url).get("no-such-route").status == 401


# --------------------------------------------------------------------------------------------- what one sees


def test_lists_and_events_leave_out_what_one_may_not_see(admin: Signed) -> None:
    released(admin)
    stranger = made(admin, "web", ("viewer", "web-*"))
    for path in ("applications", "groups", "hosts", "ages", "events"):
        assert admin.get(path).json["items"], path
        assert stranger.get(path).json["items"] == [], path
    assert stranger.get("events?application=hello").json["rule"] == "denied"
    assert "hello" not in stranger.get("applications/web-x").json["detail"].replace("web-x", "")


def test_a_plan_and_a_release_are_of_an_application_that_one_may_see(admin: Signed) -> None:
    web = made(admin, "web", ("deployer", "web-*"))
    plan = web.post("plan", {"spec": SPEC, "digest": "d" * 64})
    assert (plan.status, plan.json["rule"]) == (403, "denied")
    body = {"spec": SPEC, "digest": "d" * 64}
    assert web.post("applications/web-front/releases", body).json["rule"] == "spec"


# ---------------------------------------------------------------------------------- in whose name, which role


def test_events_name_who_has_the_token_not_whom_the_client_says(admin: Signed) -> None:
    ci = made(admin, "ci", ("deployer", "hello"))
    assert released(ci, by="the boss").status == 202
    started = [each for each in admin.get("events").json["items"] if each["kind"] == "release.started"]
    assert [each["by"] for each in started] == ["ci"]


def waits_at_the_gate(admin: Signed) -> None:
    assert released(admin, GATED).status == 202
    with admin.stream("applications/hello/stream", Authorization=f"Bearer {admin.token}") as snapshots:
        for _, status in snapshots:
            if "must say yes" in json.dumps(status) and "waits" in json.dumps(status):
                return


def test_an_approval_takes_the_role_and_not_its_name(admin: Signed) -> None:
    waits_at_the_gate(admin)
    anna = made(admin, "anna", ("approver", "hello"))
    for body in ({}, {"role": "sre"}):
        answer = anna.post("applications/hello/promote", body)
        assert (answer.status, answer.json["rule"]) == (403, "role-missing"), answer.content
        assert "repave roles join sre anna" in answer.json["detail"]
    assert admin.post("teams/sre/join", {"name": "anna"}).status == 200
    assert anna.post("applications/hello/promote", {}).status == 202
    approved = [each for each in admin.get("events").json["items"] if "approved" in each["text"]]
    assert {each["by"] for each in approved} == {"anna"}


def test_who_released_does_not_approve_too_though_an_admin_may_both(admin: Signed) -> None:
    waits_at_the_gate(admin)
    admin.post("teams/sre/join", {"name": "admin"})
    for body in ({}, {"skip": True}, {"full": True}):
        answer = admin.post("applications/hello/promote", body)
        assert (answer.status, answer.json["rule"]) == (409, "own-release"), answer.content
    assert "distinct: false" in answer.json["detail"]
    anna = made(admin, "anna", ("approver", "hello"))
    admin.post("teams/sre/join", {"name": "anna"})
    assert anna.post("applications/hello/promote", {}).status == 202


def test_who_releases_neither_approves_nor_overrides(admin: Signed) -> None:
    waits_at_the_gate(admin)
    ci = made(admin, "ci", ("deployer", "hello"))
    admin.post("teams/sre/join", {"name": "ci"})
    for path, body in (("promote", {}), ("override", {"rule": "freeze", "reason": "x"}), ("object", {})):
        assert ci.post(f"applications/hello/{path}", body).json["rule"] == "denied"


# ------------------------------------------------------------------------------------------- tokens and roles


def test_a_token_is_shown_once_and_only_its_hash_is_kept(controller: ServedController, admin: Signed) -> None:
    anna = made(admin, "anna", ("viewer", "*"), note="laptop")
    secret = anna.token.split("_")[2]
    assert secret not in json.dumps(admin.get("tokens").json)
    assert secret not in repr(controller.store.shelf)
    item = next(each for each in admin.get("tokens").json["items"] if each["name"] == "anna")
    assert (item["state"], item["note"], item["created_by"]) == ("active", "laptop", "admin")
    anna.get("applications")
    used = next(each for each in admin.get("tokens").json["items"] if each["name"] == "anna")
    assert used["used_from"] == "127.0.0.1"


def test_scopes_narrow_a_token(admin: Signed) -> None:
    narrow = made(admin, "ops", ("admin", "*"), scopes=[{"role": "viewer", "applications": "hello"}])
    released(admin)
    assert narrow.get("applications/hello").status == 200
    assert narrow.post("applications/hello/pause", {}).json["rule"] == "denied"
    assert narrow.get("tokens").json["rule"] == "denied"


def test_logout_ends_the_token(admin: Signed) -> None:
    anna = made(admin, "anna", ("viewer", "*"))
    assert anna.get("whoami").json["name"] == "anna"
    assert anna.post("logout", {}).json["state"] == "revoked"
    assert anna.get("whoami").status == 401


def test_a_role_that_is_taken_away_is_gone_at_once(admin: Signed) -> None:
    anna = made(admin, "anna", ("viewer", "*"))
    assert anna.get("applications").status == 200
    assert admin.post("roles/withdraw", {"to": "anna", "role": "viewer"}).status == 200
    assert anna.get("applications").json["rule"] == "denied"
    assert admin.post("roles/withdraw", {"to": "anna", "role": "viewer"}).json["rule"] == "unknown-role"


def test_the_last_admin_stays(admin: Signed) -> None:
    own = admin.get("whoami").json["token"]
    for path, body in (
        ("roles/withdraw", {"to": "admin", "role": "admin"}),
        ("logout", {}),
        (f"tokens/{own}/revoke", {}),
    ):
        assert admin.post(path, body).json["rule"] == "last-admin"
    made(admin, "eve", ("admin", "*"))
    assert admin.post("logout", {}).status == 200


def test_accounts_outlive_the_controller(tmp_path: Path) -> None:
    with served(tmp_path, has_accounts=True) as first:
        anna = made(Signed(first.url, first.admin), "anna", ("viewer", "hello"))
    with served(tmp_path, former=first, has_accounts=True) as second:
        admin, again = Signed(second.url, first.admin), Signed(second.url, anna.token)
        assert again.get("whoami").json["roles"] == [{"role": "viewer", "applications": "hello"}]
        assert len(admin.get("tokens").json["items"]) == 2


@pytest.mark.parametrize("name", ["", "local", "agent", "a b", "team:x", "../x", "a\n", "x" * 101])
def test_names_that_could_mislead_are_refused(admin: Signed, name: str) -> None:
    assert admin.post("tokens", {"name": name}).status == 400


# ----------------------------------------------------------------------------------------------- live streams


def revoked(controller: ServedController, admin: Signed, token: str) -> None:
    admin.post(f"tokens/{token.split('_')[1]}/revoke", {})


def stripped(controller: ServedController, admin: Signed, token: str) -> None:
    admin.post("roles/withdraw", {"to": "anna", "role": "viewer", "applications": "hello"})


@pytest.mark.parametrize("ending", [revoked, stripped])
@pytest.mark.parametrize("path", ["applications/hello/stream", "events/stream"])
def test_a_live_stream_ends_with_the_right_to_it(
    controller: ServedController, admin: Signed, ending: Callable[..., None], path: str
) -> None:
    released(admin)
    anna = made(admin, "anna", ("viewer", "hello"))
    with anna.stream(path, Authorization=f"Bearer {anna.token}") as messages:
        next(messages)
        ending(controller, admin, anna.token)
        assert all(True for _ in messages), "it ends, well before the client's time is up"


def test_a_live_stream_ends_when_some_of_what_it_shows_may_be_seen_no_longer(admin: Signed) -> None:
    released(admin)
    anna = made(admin, "anna", ("viewer", "web-*"), ("viewer", "hello"))
    with anna.stream("events/stream", Authorization=f"Bearer {anna.token}") as messages:
        next(messages)
        stripped(None, admin, anna.token)  # type: ignore[arg-type]  # not looked at
        assert all(True for _ in messages)
    assert anna.get("events").json["items"] == []


def test_a_live_stream_outlives_a_role_that_is_added(admin: Signed) -> None:
    released(admin)
    anna = made(admin, "anna", ("viewer", "hello"))
    with anna.stream("events/stream", Authorization=f"Bearer {anna.token}") as messages:
        next(messages)
        made(admin, "anna", ("approver", "web-*"))
        released(admin, version="v2", queue=True)
        assert any("v2" in event["text"] for _, event in messages)


def test_a_live_stream_ends_when_its_token_expires(admin: Signed) -> None:
    released(admin)
    anna = made(admin, "anna", ("viewer", "hello"), expires_seconds=1.0)
    with anna.stream("events/stream", Authorization=f"Bearer {anna.token}") as messages:
        assert all(True for _ in messages)


# ----------------------------------------------------------------------------------------------------- bounds


def test_guesses_are_slowed_down_and_a_good_token_still_passes(tmp_path: Path) -> None:
    with served(tmp_path, has_accounts=True, bounds=Bounds(wrong=(0.001, 3.0))) as controller:
        guess = Signed(controller.url, f"rpv_{'0' * 12}_{'0' * 64}")
        assert [guess.get("whoami").status for _ in range(5)] == [401, 401, 401, 429, 429]
        assert Signed(controller.url, controller.admin).get("whoami").status == 200


def test_a_token_has_its_rate(tmp_path: Path) -> None:
    with served(tmp_path, has_accounts=True, bounds=Bounds(token=(0.001, 2.0))) as controller:
        admin = Signed(controller.url, controller.admin)
        answers = [admin.get("whoami") for _ in range(3)]
        assert [each.status for each in answers] == [200, 200, 429]
        assert int(answers[2].headers["Retry-After"]) > 0


# ------------------------------------------------------------------------------------------------------ audit


def rows(admin: Signed) -> list[dict[str, Any]]:
    return [json.loads(each["text"]) for each in admin.get("audit?limit=1000").json["items"]]


def test_every_command_is_written_down_before_and_after(admin: Signed) -> None:
    ci = made(admin, "ci", ("deployer", "hello"))
    released(ci, reason="friday")
    ci.post("applications/hello/delete", {})
    told = [each for each in rows(admin) if each["who"] == "ci" and "hello" in each["action"]]
    asked, done, denied = told
    assert (asked["outcome"], asked["of"]) == ("asked", 0)
    assert (done["outcome"], done["status"], done["reason"]) == ("done", 202, "friday")
    assert (done["address"], done["application"]) == ("127.0.0.1", "hello")
    assert done["facts"]["spec.regions[0].name"] == "- -> paris"
    assert (denied["outcome"], denied["status"]) == ("denied", 403)


def test_a_release_shows_what_it_changes_in_the_spec(admin: Signed) -> None:
    admin.release()
    admin.post("freezes/all/lift", {})
    with admin.stream("applications/hello/stream", Authorization=f"Bearer {admin.token}") as snapshots:
        next(each for _, each in snapshots if each["phase"] == "succeeded")
    admin.release("v2", spec=SPEC.replace("size: 2", "size: 4"))
    done = [each for each in rows(admin) if each["outcome"] == "done" and each["action"].endswith("releases")]
    assert done[-1]["facts"]["spec.regions[0].size"] == "2 -> 4"
    assert sum(name.startswith("spec.") for name in done[-1]["facts"]) == 1


def test_nothing_is_done_that_can_t_be_written_down(controller: ServedController, admin: Signed) -> None:
    released(admin)
    controller.store.trouble = "the disk is full"
    assert admin.post("applications/hello/pause", {}).json["rule"] == "store"
    controller.store.trouble = ""
    assert not any("pause" in each["action"] for each in rows(admin))


def test_no_secret_comes_into_audit_events_or_answers(
    controller: ServedController, admin: Signed, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = "canary5up3r"
    spec = SPEC.replace(
        "host: {image: local, run: ./serve}",
        f"host: {{image: local, run: './serve --password={canary}', env: {{PLAIN: {canary}}}}}",
    ).replace("http: {port: 8080, path: /}", f"http: {{port: 8080, path: /, headers: {{X-Door: {canary}}}}}")
    ci = made(admin, "ci", ("deployer", "hello"))
    assert released(ci, spec, reason=f"token={canary}").status == 202
    seen = json.dumps([rows(admin), admin.get("events").json, admin.get("tokens").json])
    assert canary not in seen
    for client in (admin, ci):
        assert client.token.split("_")[2] not in seen + capsys.readouterr().out
    assert any("spec.host.env.PLAIN" in each["facts"] for each in rows(admin))
