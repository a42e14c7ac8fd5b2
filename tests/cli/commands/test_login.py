"""repave login with the issuer of a controller: by a code, by a browser; and what one is told otherwise."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from repave_cli.transport import loopback
from repave_cli.transport.credentials import path
from repave_controller.settings import OidcSettings
from tests.fakes.controller.command_line import CommandLine
from tests.fakes.controller.scheduler import ServedController, served
from tests.fakes.issuer import Issuer, an_issuer
from tests.support.openid import Browser

ANNA = "oidc:anna@acme.example"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with an_issuer() as made:
        made.interval = 0.01
        yield made


@pytest.fixture
def controller(tmp_path: Path, issuer: Issuer) -> Iterator[ServedController]:
    scopes = ("openid", "email", "groups")
    oidc = OidcSettings(
        issuer=issuer.url, client_id="repave-public", scopes=scopes, admins=("sre-oncall", "platform")
    )
    with served(tmp_path / "controller", has_accounts=True, oidc=oidc) as started:
        yield started


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Opens what the command line asks a browser to open; gives the addresses."""
    opened: list[str] = []
    visits: list[threading.Thread] = []

    def open_browser(url: str) -> None:
        opened.append(url)
        visits.append(threading.Thread(target=lambda: Browser().visit(url)))
        visits[-1].start()

    monkeypatch.setattr(loopback, "open_browser", open_browser)
    yield opened
    for each in visits:
        each.join(10)


@pytest.fixture
def at_once(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The person confirms each code as soon as it is shown."""
    device = issuer._device

    def confirmed(form: dict[str, str]) -> dict[str, Any]:
        told = device(form)
        issuer.respond("GET", f"/device?user_code={told['user_code']}", {}, "")
        return told

    monkeypatch.setattr(issuer, "_device", confirmed)


@pytest.mark.usefixtures("at_once")
def test_by_a_code_which_is_shown_with_where_to_give_it(
    repave: CommandLine, controller: ServedController, issuer: Issuer
) -> None:
    ran = repave("login", "--device")
    assert ran.code == 0, ran.err
    assert f"visit {issuer.url}/device" in ran.err
    assert "and give the code" in ran.err
    assert f"you are {ANNA} at {controller.url}, until 20" in ran.err
    shown = repave("whoami").out
    assert shown.startswith(f"{ANNA} (token ")
    assert f"logged in with {issuer.url} (device)" in shown
    who = repave("whoami", "-o", "json").json
    assert (who["method"], who["issuer"], who["subject"]) == ("device", issuer.url, "anna")
    assert repave("logout").code == 0
    assert repave("whoami").code == 4


def test_by_a_browser_of_this_machine(
    repave: CommandLine, controller: ServedController, person: list[str]
) -> None:
    ran = repave("login", "--browser", "-o", "json")
    assert (ran.code, ran.json["name"], ran.json["method"]) == (0, ANNA, "browser")
    assert person[0] in ran.err, "for a person whose browser does not open"
    assert ran.json["token"] in path().read_text()
    assert repave("apps").code == 0


@pytest.mark.usefixtures("person", "at_once")
@pytest.mark.parametrize("way", ["--browser", "--device"])
def test_one_who_is_denied_is_told_so_and_keeps_nothing(
    repave: CommandLine, controller: ServedController, issuer: Issuer, way: str
) -> None:
    issuer.answer("")
    ran = repave("login", way)
    assert (ran.code, ran.out) == (4, "")
    assert "the log-in was denied at the issuer: the person said no" in ran.err
    issuer.answer("ben")
    ran = repave("login", way)
    assert (ran.code, path().exists()) == (4, False)
    assert "repave roles grant oidc:ben@acme.example viewer" in ran.err


def test_an_issuer_that_is_away_is_named(
    repave: CommandLine, controller: ServedController, issuer: Issuer
) -> None:
    issuer.fails["/.well-known/openid-configuration"] = [(503, {})]
    ran = repave("login", "--device")
    assert ran.code == 1
    assert f"{issuer.url}/.well-known/openid-configuration answered 503" in ran.err


@pytest.mark.usefixtures("at_once")
def test_a_moment_without_the_issuer_does_no_harm(
    repave: CommandLine, controller: ServedController, issuer: Issuer
) -> None:
    issuer.fails["/token"] = [(502, b"")]
    assert repave("login", "--device").code == 0


@pytest.mark.usefixtures("controller")
def test_an_expired_code_says_how_to_go_on(repave: CommandLine, issuer: Issuer) -> None:
    issuer.fails["/token"] = [(400, {"error": "authorization_pending"}), (400, {"error": "expired_token"})]
    ran = repave("login", "--device")
    assert ran.code != 0
    assert "the code has expired; begin anew: repave login" in ran.err


@pytest.mark.usefixtures("at_once")
def test_people_are_listed_and_ended(repave: CommandLine, controller: ServedController) -> None:
    assert repave("login", "--device").code == 0
    shown = repave("people", "list")
    assert ANNA in shown.out
    assert repave("people", "list", "-o", "json").json["items"][0]["subject"] == "anna"
    ran = repave("people", "end", ANNA)
    assert (ran.code, "have ended" in ran.err) == (0, True), ran.err
    assert repave("whoami").code == 4


def test_only_the_browser_that_comes_back_from_this_log_in_counts() -> None:
    """And it may be back before anybody waits: an issuer that knows the person asks nothing."""
    with loopback.Loopback() as waiting:
        here = f"http://127.0.0.1:{waiting.port}"
        waiting.expect("https://i.example/?state=right")
        waiting.say("You are <b>.")
        for wrong in ("/", "/callback", "/callback?state=wrong&code=c", "/favicon.ico", "/x?state=right"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(here + wrong, timeout=60)
        with urllib.request.urlopen(f"{here}/callback?state=right&code=c&x=y", timeout=60) as answer:
            page = answer.read().decode()
        assert waiting.wait() == {"state": "right", "code": "c"}
    assert "You are &lt;b&gt;." in page
