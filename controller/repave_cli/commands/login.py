"""Who one is to a controller: login, logout, whoami. A token is typed or read, no argument."""

import getpass
import sys
import time
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repave_cli.render.output import show_whole, tell
from repave_cli.transport.context import url as url_of
from repave_cli.transport.credentials import (
    Credentials,
    credentials_for,
    forget,
    keep,
    read_authority,
)
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DENIED, DONE, USAGE
from repave_cli.transport.terminal import Terminal
from repave_client.places import urls_in

if TYPE_CHECKING:
    from repave_cli.transport.client import Client

AUDIENCE = "repave"
PATIENCE_SECONDS = 1.0
"""Between two questions at least where the controller or its issuer can't answer for a moment."""
PASSING = ("issuer", "too-many-requests")


def register(commands: Any) -> None:
    login = commands.add_parser(
        "login", help="Log in: with the issuer of the controller, or with a token, which it asks for or reads"
    )
    way = login.add_mutually_exclusive_group()
    way.add_argument("--browser", action="store_true", help="with the issuer, in a browser of this machine")
    way.add_argument("--device", action="store_true", help="with the issuer, by a code on any machine")
    way.add_argument("--token", action="store_true", help="with a token, though there is an issuer")
    way.add_argument(
        "--job",
        action="store_true",
        help="in CI: by the token that GitHub, GitLab or CircleCI signs for the job",
    )
    login.add_argument("--ca", type=Path, metavar="FILE", help="the certificate of its private authority")
    login.add_argument("--pin", default="", metavar="sha256:HEX", help="the fingerprint of that authority")
    login.set_defaults(run=run_login)
    logout = commands.add_parser("logout", help="End the token that is kept, and forget it")
    logout.set_defaults(run=run_logout)
    commands.add_parser("whoami", help="Who you are to this controller, and what you may").set_defaults(
        run=run_whoami
    )


def run_login(terminal: Terminal) -> int:
    from repave_cli.transport.client import Client  # http.client is slow to import

    url = url_of(terminal.arguments)
    authority = _authority(terminal, url)
    token = _token(terminal, Client(url, credentials=Credentials("", authority)))
    who = Client(url, credentials=Credentials(token, authority)).get("whoami")
    if who["kind"] == "local":
        raise CliError(f"the controller at {url} has no accounts: nothing to log in to", USAGE)
    where = keep(url, Credentials(token, authority))
    until = f", until {who['expires_at']}" if who.get("issuer") else ""
    terminal.say(f"you are {who['name']} at {url}{until}; kept in {where}")
    if not terminal.is_for_people:
        show_whole(terminal, who)
    return DONE


def _authority(terminal: Terminal, url: str) -> str:
    url = next(iter(urls_in(url)), url)  # they have one authority
    arguments, parts = terminal.arguments, urllib.parse.urlsplit(url)
    if arguments.ca and arguments.pin:
        raise CliError("give --ca or --pin, not both", USAGE)
    if (arguments.ca or arguments.pin) and parts.scheme != "https":
        raise CliError(f"{url} is no https address: there is no certificate to check", USAGE)
    if arguments.ca:
        return read_authority(arguments.ca)
    if arguments.pin:
        from repave_cli.transport.trust import fetched_authority

        return fetched_authority(parts.hostname or "", parts.port or 443, arguments.pin)
    return credentials_for(url).authority


def _token(terminal: Terminal, client: "Client") -> str:
    """As asked for; else with the issuer, if there is one and a person is here to answer."""
    arguments = terminal.arguments
    if arguments.job:
        return _token_of_job(client)
    is_asked = arguments.browser or arguments.device
    if arguments.token or not (is_asked or sys.stdin.isatty()):
        return _asked_token()
    ways = _ways(client)
    if not ways["issuer"]:
        if is_asked:
            raise CliError(f"the controller at {client.url} has no issuer: repave login --token", USAGE)
        return _asked_token()
    if arguments.browser or not (arguments.device or (ways["device"] and not _has_browser())):
        return _token_by_browser(terminal, client, ways["issuer"])
    return _token_by_device(terminal, client)


def _ways(client: "Client") -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.get("login")
    except CliError as error:
        if error.problem is None or error.problem.get("status") not in (404, 405):
            raise
        return {"issuer": "", "device": False}  # a controller of before there were issuers
    return answer


def _asked_token() -> str:
    token = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise CliError("no token was given; an admin makes one: repave tokens create NAME", USAGE)
    return token.strip()


def _token_of_job(client: "Client") -> str:
    """What the controller gives for the job's own token."""
    from repave_cli.transport.jobs import job_token

    return str(client.post("login", {"token": job_token(AUDIENCE)})["token"])


def _has_browser() -> bool:
    from repave_cli.transport.loopback import has_browser

    return has_browser()


def _token_by_browser(terminal: Terminal, client: "Client", issuer: str) -> str:
    from repave_cli.transport.loopback import Loopback, open_browser

    with Loopback() as loopback:
        begun = client.post("login/browser", {"port": loopback.port})
        loopback.expect(begun["url"])
        terminal.say(f"log in with {issuer}, in your browser; if none opens, visit:\n{begun['url']}")
        open_browser(begun["url"])
        told = loopback.wait()
        try:
            answer = client.post("login/browser/finish", {"handle": begun["handle"], **told})
        except CliError as error:
            loopback.say(f"You are not logged in: {error}. This page may be closed.")
            raise
        loopback.say(f"You are {answer['name']}. This page may be closed.")
    return str(answer["token"])


def _token_by_device(terminal: Terminal, client: "Client") -> str:
    begun = client.post("login/device", {})
    terminal.say(
        f"on any machine, visit {begun['verification_uri']}\nand give the code {begun['user_code']}"
        f"\n(or visit {begun['verification_uri_complete']} and compare the code)"
    )
    ends_at, pause = time.monotonic() + begun["expires_seconds"], begun["interval_seconds"]
    while time.monotonic() + pause < ends_at:
        time.sleep(pause)
        try:
            found = client.post("login/device/poll", {"handle": begun["handle"]})
        except CliError as error:
            if (error.problem or {}).get("rule") not in PASSING:
                raise
            pause = max(2 * pause, PATIENCE_SECONDS)  # RFC 8628, 3.5
            continue
        if not found["pending"]:
            return str(found["token"])
        pause = found["interval_seconds"]
    raise CliError("the code has expired; begin anew: repave login", DENIED)


def run_logout(terminal: Terminal) -> int:
    url = url_of(terminal.arguments)
    known = credentials_for(url)
    if not known.token:
        raise CliError(f"no token is kept for {url}", USAGE)
    try:
        terminal.client.post("logout", {})
        text = "the token is revoked"
    except CliError as error:
        if error.problem is None or error.problem.get("rule") != "not-signed-in":
            raise
        text = "the token had ended before"
    is_kept = forget(url)
    text += ", and forgotten" if is_kept else "; REPAVE_TOKEN still holds it"
    tell(terminal, {"url": url, "is_forgotten": is_kept}, text)
    return DONE


def run_whoami(terminal: Terminal) -> int:
    who = terminal.client.get("whoami")
    if not terminal.is_for_people:
        show_whole(terminal, who)
        return DONE
    if who["kind"] == "local":
        terminal.out("local: this controller has no accounts; who reaches it may do everything")
        return DONE
    terminal.out(f"{who['name']} (token {who['token']}, until {who['expires_at']})")
    if who.get("issuer"):
        terminal.out(f"  logged in with {who['issuer']} ({who['method']})")
    terminal.out(f"  roles: {scopes_of(who['roles'])}")
    if who["teams"]:
        terminal.out(f"  teams: {', '.join(who['teams'])}")
    if who["scopes"]:
        terminal.out(f"  this token at most: {scopes_of(who['scopes'])}")
    return DONE


def scopes_of(items: list[dict[str, str]]) -> str:
    """Roles in words."""
    named = (f"{each['role']} of {each['applications']}" for each in items)
    return ", ".join(named).replace(" of *", "") or "-"
