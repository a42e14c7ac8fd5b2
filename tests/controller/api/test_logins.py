"""People log in with an issuer: by a code, by a browser for a command line, by a browser for pages."""

import http.client
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from repave_controller.api.web.cookies import csrf_of
from repave_controller.settings import OidcSettings
from tests.controller.api.test_accounts import UNBOUNDED, Signed, rows
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.issuer import Issuer, an_issuer
from tests.support.openid import Browser

POLLS_MAX = 1000
ANNA = "oidc:anna@acme.example"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with an_issuer() as made:
        made.interval = 0.01
        yield made


def settings(issuer: Issuer, **changes: Any) -> OidcSettings:
    teams, scopes = {"sre-oncall": "sre"}, ("openid", "email", "groups")
    known = {"issuer": issuer.url, "client_id": "repave-public", "scopes": scopes, "teams": teams}
    return OidcSettings(**{**known, "admins": ("platform",), **changes})


@pytest.fixture
def controller(tmp_path: Path, issuer: Issuer) -> Iterator[ServedController]:
    with served(tmp_path, has_accounts=True, bounds=UNBOUNDED, oidc=settings(issuer)) as started:
        Signed(started.url, started.admin).post("roles/grant", {"to": "team:sre", "role": "viewer"})
        yield started


@pytest.fixture
def admin(controller: ServedController) -> Signed:
    return Signed(controller.url, controller.admin)


def on_device(controller: ServedController) -> tuple[int, Any]:
    """Status and answer of the last question."""
    asker = Signed(controller.url)
    begun = asker.post("login/device", {}).json
    Browser().visit(begun["verification_uri_complete"])
    answer = asker.post("login/device/poll", {"handle": begun["handle"]})
    for _ in range(POLLS_MAX):
        if answer.status != 202:
            break
        answer = asker.post("login/device/poll", {"handle": begun["handle"]})
    return answer.status, answer.json


def in_browser(controller: ServedController, **changes: str) -> tuple[int, Any]:
    asker = Signed(controller.url)
    begun = asker.post("login/browser", {"port": 50_123}).json
    back = Browser().visit(begun["url"], "http://127.0.0.1:50123/callback")
    told = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back).query))
    answer = asker.post("login/browser/finish", {"handle": begun["handle"], **told, **changes})
    return answer.status, answer.json


@pytest.mark.parametrize("log_in", [on_device, in_browser])
def test_what_comes_of_it_is_a_token_of_the_person(
    controller: ServedController, admin: Signed, issuer: Issuer, log_in: Any
) -> None:
    status, told = log_in(controller)
    assert (status, told["name"]) == (201, ANNA)
    anna = Signed(controller.url, told["token"])
    who = anna.get("whoami").json
    assert (who["name"], who["teams"], who["issuer"], who["subject"]) == (ANNA, ["sre"], issuer.url, "anna")
    assert who["method"] == {on_device: "device", in_browser: "browser"}[log_in]
    assert anna.get("applications").status == 200
    row = next(each for each in rows(admin) if each["who"] == ANNA)
    assert (row["kind"], row["outcome"], row["facts"]["teams"]) == ("oidc", "done", "sre")
    assert told["token"] not in json.dumps(rows(admin))
    assert anna.post("logout", {}).status == 200
    assert anna.get("whoami").status == 401


def test_how_one_may_log_in_is_told_to_all(controller: ServedController, issuer: Issuer) -> None:
    assert Signed(controller.url).get("login").json == {"issuer": issuer.url, "device": True, "browser": True}


def test_where_no_issuer_is_set_one_is_told_so(tmp_path: Path) -> None:
    with served(tmp_path, has_accounts=True, bounds=UNBOUNDED) as bare:
        asker = Signed(bare.url)
        assert asker.get("login").json == {"issuer": "", "device": False, "browser": False}
        for path, body in (("login/device", {}), ("login/browser", {"port": 1})):
            assert asker.post(path, body).json["rule"] == "no-issuer"
        assert asker.get("login/oidc").json["rule"] == "no-issuer"


def test_codes_can_be_switched_off(tmp_path: Path, issuer: Issuer) -> None:
    with served(tmp_path, has_accounts=True, bounds=UNBOUNDED, oidc=settings(issuer, device=False)) as one:
        assert Signed(one.url).get("login").json["device"] is False
        assert Signed(one.url).post("login/device", {}).json["rule"] == "no-device"


def test_one_who_may_not_is_told_why_and_it_is_written_down(
    controller: ServedController, admin: Signed, issuer: Issuer
) -> None:
    issuer.answer("")
    assert on_device(controller)[1]["rule"] == "login-denied"
    issuer.answer("ben")
    status, told = in_browser(controller)
    assert (status, told["rule"]) == (403, "no-role")
    assert "repave roles grant oidc:ben@acme.example viewer" in told["detail"]
    denied = [each for each in rows(admin) if each["outcome"] == "denied"]
    assert [each["facts"]["rule"] for each in denied] == ["login-denied", "no-role"]
    assert denied[1]["who"] == "oidc:ben@acme.example"


def test_an_issuer_that_is_away_is_named(controller: ServedController, issuer: Issuer) -> None:
    begun = Signed(controller.url).post("login/browser", {"port": 50_123}).json
    issuer.fails["/token"] = [(502, b"<html>")]
    told = {"handle": begun["handle"], "code": "c", "state": _state_of(begun["url"])}
    answer = Signed(controller.url).post("login/browser/finish", told)
    assert (answer.status, answer.json["rule"]) == (503, "issuer")
    assert "/token answered 502" in answer.json["detail"]


def test_doctor_looks_at_the_issuer(controller: ServedController, admin: Signed, issuer: Issuer) -> None:
    def told() -> Any:
        return next(each for each in admin.get("doctor").json["items"] if each["name"] == "log-in")

    issuer.described = {"device_authorization_endpoint": None}
    issuer.fails["/.well-known/openid-configuration"] = [(503, {})]
    assert (told()["state"], "answered 503" in told()["text"]) == ("fail", True)


def test_doctor_warns_of_an_issuer_without_codes(
    controller: ServedController, admin: Signed, issuer: Issuer
) -> None:
    issuer.described = {"device_authorization_endpoint": None}
    found = admin.get("doctor").json["items"]
    assert next(each["state"] for each in found if each["name"] == "log-in") == "warn"


def _state_of(url: str) -> str:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))["state"]


def test_an_issuer_is_asked_no_more_often_than_it_wants(controller: ServedController, issuer: Issuer) -> None:
    issuer.interval = 30
    asker = Signed(controller.url)
    begun = asker.post("login/device", {}).json
    answers = [asker.post("login/device/poll", {"handle": begun["handle"]}) for _ in range(5)]
    assert {each.status for each in answers} == {202}
    assert all(20 < each.json["interval_seconds"] <= 30 for each in answers)
    assert "/token" not in issuer.asked


@pytest.mark.parametrize("path", ["login/device/poll", "login/browser/finish"])
def test_a_handle_that_is_not_known_is_worth_nothing(controller: ServedController, path: str) -> None:
    body = {"handle": "x" * 43, **({"state": "s"} if "finish" in path else {})}
    answer = Signed(controller.url).post(path, body)
    assert (answer.status, answer.json["rule"]) == (410, "login-expired")


def test_log_ins_are_bounded(tmp_path: Path, issuer: Issuer) -> None:
    with served(tmp_path, has_accounts=True, oidc=settings(issuer)) as bounded:
        answers = {Signed(bounded.url).post("login/device", {}).status for _ in range(40)}
    assert answers == {200, 429}


# ------------------------------------------------------------------------------------ groups, names, ends


def test_groups_are_read_anew_at_each_log_in_for_every_token_of_the_person(
    controller: ServedController, issuer: Issuer
) -> None:
    first = Signed(controller.url, on_device(controller)[1]["token"])
    assert first.get("whoami").json["teams"] == ["sre"]
    issuer.people["anna"] = {**issuer.people["anna"], "groups": ["platform"]}
    second = Signed(controller.url, in_browser(controller)[1]["token"])
    assert first.get("whoami").json["teams"] == second.get("whoami").json["teams"] == []
    assert first.get("tokens").status == 200, "the group makes admins"
    issuer.people["anna"] = {**issuer.people["anna"], "groups": []}
    assert in_browser(controller)[1]["rule"] == "no-role"


def test_no_token_can_be_made_in_the_name_of_such_a_person(admin: Signed) -> None:
    assert admin.post("tokens", {"name": ANNA}).status == 400
    claims = {"sub": "x"}
    assert admin.post("trusts", {"name": ANNA, "issuer": "https://i.example", "claims": claims}).status == 400
    admin.post("roles/grant", {"to": "anna@acme.example", "role": "admin"})
    assert admin.post("roles/grant", {"to": ANNA, "role": "viewer"}).status == 200
    assert admin.post("teams/ops/join", {"name": ANNA}).status == 200
    assert admin.post("roles/grant", {"to": "oidc:", "role": "viewer"}).status == 400
    assert admin.post("roles/grant", {"to": "team:oidc:x", "role": "viewer"}).status == 400


def test_a_name_is_bound_to_its_account_until_an_admin_ends_it(
    controller: ServedController, admin: Signed, issuer: Issuer
) -> None:
    anna = Signed(controller.url, on_device(controller)[1]["token"])
    issuer.people["anna2"], issuer.person = issuer.people["anna"], "anna2"
    status, told = in_browser(controller)
    assert (status, told["rule"]) == (403, "other-account")
    assert f"repave people end {ANNA}" in told["detail"]
    assert [each["subject"] for each in admin.get("people").json["items"]] == ["anna"]
    assert admin.post(f"people/{ANNA}/end", {"reason": "left"}).status == 200
    assert anna.get("whoami").status == 401
    assert in_browser(controller)[0] == 201
    assert admin.post("people/oidc:none/end", {}).json["rule"] == "unknown-person"


def test_a_person_s_oldest_log_in_gives_way(controller: ServedController, admin: Signed) -> None:
    tokens = [in_browser(controller)[1]["token"] for _ in range(21)]
    states = [Signed(controller.url, each).get("whoami").status for each in tokens]
    assert states == [401] + [200] * 20


# ----------------------------------------------------------------------------------------- a browser's pages


@dataclass
class Page:
    """A browser at the controller's own pages."""

    controller: ServedController
    cookies: dict[str, str] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: object = None
    ) -> tuple[int, str, Any]:
        """Status, where it leads, answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.controller.port, timeout=10)
        shown = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"Cookie": shown, "Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, json.dumps(body or {}) if method == "POST" else None, sent)
        answer = connection.getresponse()
        content = answer.read()
        self.given = answer.headers.get_all("Set-Cookie") or []
        for each in self.given:
            name, _, value = each.split(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        connection.close()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, answer.headers.get("Location", ""), json.loads(content) if is_json else content

    def write(self, path: str, **headers: str) -> tuple[int, str]:
        status, _, told = self.ask(
            "POST", path, {name.replace("_", "-"): each for name, each in headers.items()}
        )
        return status, told.get("rule", "")

    def paste(self, token: str) -> tuple[int, Any]:
        """Into the page that asks for one."""
        sent = {"Origin": self.controller.url}
        status, _, told = self.ask("POST", "/v1/login/session", sent, {"token": token})
        return status, told

    def callback(self) -> str:
        _, url, _ = self.ask("GET", "/v1/login/oidc")
        back = urllib.parse.urlsplit(Browser().visit(url, "http://127.0.0.1/v1/login/oidc/callback"))
        return f"{back.path}?{back.query}&session_state=more"


@pytest.fixture
def page(controller: ServedController, issuer: Issuer) -> Page:
    """Of a person who has logged in, and is an admin."""
    issuer.answer("root")
    page = Page(controller)
    assert page.ask("GET", page.callback())[0] == 303
    return page


def test_a_browser_gets_a_session_that_no_script_can_read(page: Page) -> None:
    session = next(each for each in page.given if each.startswith("__Host-repave-session="))
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {each.strip() for each in session.split(";")}
    assert "Domain" not in session
    who = page.ask("GET", "/v1/whoami")[2]
    assert (who["name"], who["method"]) == ("oidc:root@acme.example", "web")
    assert who["csrf"] == csrf_of(page.cookies["__Host-repave-session"])


def test_a_session_writes_with_our_origin_and_its_csrf_token_only(
    page: Page, controller: ServedController
) -> None:
    origin, csrf = controller.url, page.ask("GET", "/v1/whoami")[2]["csrf"]
    path = "/v1/freezes/all"
    assert page.write(path) == (403, "foreign-origin")
    assert page.write(path, Origin=origin) == (403, "csrf")
    assert page.write(path, X_Repave_CSRF=csrf) == (403, "foreign-origin")
    assert page.write(path, Origin=origin, X_Repave_CSRF="x" * 64) == (403, "csrf")
    assert page.write(path, Origin="https://evil.example", X_Repave_CSRF=csrf) == (403, "foreign-origin")
    assert page.write(path, Origin="null", X_Repave_CSRF=csrf) == (403, "foreign-origin")
    assert page.write(path, Origin=origin, X_Repave_CSRF=csrf) == (200, "")


def test_a_session_is_no_token_and_a_token_no_session(page: Page, controller: ServedController) -> None:
    session = page.cookies["__Host-repave-session"]
    assert Signed(controller.url, session).get("whoami").status == 401
    page.cookies["__Host-repave-session"] = controller.admin
    assert page.ask("GET", "/v1/whoami")[0] == 401


def test_a_pasted_token_opens_a_session_that_ends_with_it(controller: ServedController) -> None:
    made = Signed(controller.url, controller.admin).post("tokens", {"name": "admin", "expires_seconds": 3600})
    page, pasted = Page(controller), made.json["token"]
    assert page.paste("rpv_none")[0] == 401
    status, opened = page.paste(pasted)
    assert status == 201
    session = page.cookies["__Host-repave-session"]
    who = page.ask("GET", "/v1/whoami")[2]
    assert (who["name"], who["token"]) == ("admin", opened["id"])
    assert who["csrf"] == csrf_of(session)
    assert Signed(controller.url, session).get("whoami").status == 401
    assert Signed(controller.url, pasted).post(f"tokens/{made.json['item']['id']}/revoke", {}).status == 200
    assert page.ask("GET", "/v1/whoami")[0] == 401


def test_a_session_is_no_admin_that_could_take_the_last_token_s_place(controller: ServedController) -> None:
    assert Page(controller).paste(controller.admin)[0] == 201
    last = Signed(controller.url, controller.admin)
    refused = last.post(f"tokens/{last.get('whoami').json['token']}/revoke", {})
    assert refused.status == 409, refused.content


def test_a_log_out_ends_the_session(page: Page, controller: ServedController) -> None:
    csrf, session = page.ask("GET", "/v1/whoami")[2]["csrf"], page.cookies["__Host-repave-session"]
    assert page.write("/v1/logout", Origin=controller.url, X_Repave_CSRF=csrf) == (200, "")
    assert page.cookies["__Host-repave-session"] == ""
    page.cookies["__Host-repave-session"] = session
    assert page.ask("GET", "/v1/whoami")[0] == 401


def test_a_log_in_that_another_browser_began_gives_no_session(controller: ServedController) -> None:
    """Else an attacker could log a person in as the attacker."""
    attacker, victim = Page(controller), Page(controller)
    path = attacker.callback()
    status, _, told = victim.ask("GET", path)
    assert (status, told["rule"]) == (410, "login-expired")
    assert "__Host-repave-session" not in victim.cookies
    assert attacker.ask("GET", path)[0] == 303
    assert attacker.ask("GET", path)[0] == 410, "once only"


def test_a_command_line_s_log_in_can_t_be_ended_as_a_page_s(controller: ServedController) -> None:
    begun = Signed(controller.url).post("login/browser", {"port": 50_123}).json
    page = Page(controller, {"__Host-repave-login": begun["handle"]})
    assert page.ask("GET", f"/v1/login/oidc/callback?code=c&state={_state_of(begun['url'])}")[0] == 410
