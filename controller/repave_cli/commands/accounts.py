"""Who one is to a controller: login, logout, whoami, tokens, roles. A token is typed or read, no argument."""

import argparse
import getpass
import sys
import urllib.parse
from pathlib import Path
from typing import Any

from repave_cli.render.output import Column, ago, column, show, show_whole
from repave_cli.transport.context import url as url_of
from repave_cli.transport.credentials import Credentials, credentials_for, forget, keep, read_authority
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.paths import quoted
from repave_cli.transport.terminal import Terminal, seconds

AUDIENCE = "repave"
TOKENS = (
    column("ID"),
    column("NAME"),
    column("STATE"),
    Column("MAY AT MOST", lambda item: _scopes(item["scopes"])),
    Column("EXPIRES", lambda item: item["expires_at"][:10]),
    Column("USED", lambda item: ago(item["used_at"]) if item["used_at"] else "never"),
    column("NOTE"),
    Column("FROM", lambda item: item["used_from"], is_wide=True),
    Column("CREATED BY", lambda item: item["created_by"], is_wide=True),
)
TRUSTS = (
    column("ID"),
    column("NAME"),
    column("ISSUER"),
    Column("CLAIMS", lambda item: ", ".join(f"{name}={value}" for name, value in item["claims"].items())),
    column("AUDIENCE", is_wide=True),
)
ISSUERS = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}
ROLES = (column("TO"), column("ROLE"), Column("APPS", lambda item: item["applications"]))
ROLE_NAMES = ("viewer", "deployer", "approver", "admin", "metrics")


def register(commands: Any) -> None:
    login = commands.add_parser("login", help="Keep a token for this controller; asks for it, or reads it")
    login.add_argument("--ca", type=Path, metavar="FILE", help="the certificate of its private authority")
    login.add_argument("--pin", default="", metavar="sha256:HEX", help="the fingerprint of that authority")
    login.add_argument(
        "--job",
        action="store_true",
        help="in CI: by the token that GitHub, GitLab or CircleCI signs for the job",
    )
    login.set_defaults(run=run_login)
    logout = commands.add_parser("logout", help="End the token that is kept, and forget it")
    logout.set_defaults(run=run_logout)
    commands.add_parser("whoami", help="Who you are to this controller, and what you may").set_defaults(
        run=run_whoami
    )
    _register_tokens(commands)
    _register_roles(commands)


def _register_tokens(commands: Any) -> None:
    tokens = commands.add_parser("tokens", help="Tokens of people and machines: create, list, revoke")
    verbs = tokens.add_subparsers(dest="verb", metavar="VERB", required=True)
    create = verbs.add_parser("create", help="Make one; it is shown once, on standard output")
    create.add_argument("name", metavar="NAME", help="whose it is, as roles name it: anna, ci@shop")
    create.add_argument("--expires", type=seconds, default=None, metavar="TIME", help="30d, 12h (90d)")
    create.add_argument(
        "--scope",
        action="append",
        default=[],
        type=_scope,
        metavar="ROLE[:GLOB]",
        help="at most this role, for apps such as 'web-*' (default: all that its owner may); may be repeated",
    )
    create.add_argument("--note", default="", help="what it is for")
    _add_reason(create)
    create.set_defaults(run=run_create)
    verbs.add_parser("list", help="All, newest first").set_defaults(run=run_list)
    revoke = verbs.add_parser("revoke", help="End one at once, and the streams that it has open")
    revoke.add_argument("id", help="as repave tokens list shows it")
    _add_reason(revoke)
    revoke.set_defaults(run=run_revoke)
    trust = verbs.add_parser("trust", help="Let jobs of a CI log in by the token that it signs for them")
    trust.add_argument("name", metavar="NAME", help="what such jobs are called; roles are given to this name")
    trust.add_argument(
        "--issuer", required=True, metavar="URL", help="github, gitlab, or the address of another issuer"
    )
    trust.add_argument(
        "--claim",
        action="append",
        default=[],
        type=_claim,
        metavar="NAME=VALUE",
        help="what the token must say, such as repository=acme/web; may be repeated",
    )
    trust.add_argument("--audience", default=AUDIENCE, help=f"among the token's audiences ({AUDIENCE})")
    trust.add_argument("--expires", type=seconds, default=3600.0, metavar="TIME", help="of a log-in (1h)")
    _add_reason(trust)
    trust.set_defaults(run=run_trust)
    verbs.add_parser("trusts", help="Which jobs may log in").set_defaults(run=run_trusts)
    distrust = verbs.add_parser("distrust", help="Let such jobs log in no longer")
    distrust.add_argument("id", help="as repave tokens trusts shows it")
    _add_reason(distrust)
    distrust.set_defaults(run=run_distrust)


def _register_roles(commands: Any) -> None:
    roles = commands.add_parser("roles", help="Who may what: list, grant, withdraw; teams: join, leave")
    verbs = roles.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="Roles and teams").set_defaults(run=run_roles)
    for verb, text in (("grant", "Give a role"), ("withdraw", "Take a role away")):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("to", metavar="NAME", help="of a person or machine, or team:NAME")
        command.add_argument("role", choices=ROLE_NAMES)
        command.add_argument("--app", default="*", metavar="GLOB", help="for these, such as 'web-*' (all)")
        _add_reason(command)
        command.set_defaults(run=run_change)
    for verb, text in (("join", "Put a name into a team"), ("leave", "Take a name out of a team")):
        command = verbs.add_parser(verb, help=text)
        command.add_argument("team")
        command.add_argument("name", metavar="NAME")
        _add_reason(command)
        command.set_defaults(run=run_move)


def _add_reason(command: Any) -> None:
    command.add_argument("--reason", default="", help="kept in the audit log")


def _claim(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is no claim; write NAME=VALUE")
    return name, value


def _scope(text: str) -> dict[str, str]:
    role, _, applications = text.partition(":")
    if role not in ROLE_NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} begins with no role: {', '.join(ROLE_NAMES)}")
    return {"role": role, "applications": applications or "*"}


# ---------------------------------------------------------------------------------------------- log-ins


def run_login(terminal: Terminal) -> int:
    from repave_cli.transport.client import Client  # http.client is slow to import

    url = url_of(terminal.arguments)
    authority = _authority(terminal, url)
    token = _token_of_job(url, authority) if terminal.arguments.job else _asked_token(terminal)
    who = Client(url, credentials=Credentials(token, authority)).get("whoami")
    if who["kind"] == "local":
        raise CliError(f"the controller at {url} has no accounts: nothing to log in to", USAGE)
    where = keep(url, Credentials(token, authority))
    terminal.say(f"you are {who['name']} at {url}; kept in {where}")
    return DONE


def _authority(terminal: Terminal, url: str) -> str:
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


def _asked_token(terminal: Terminal) -> str:
    token = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not token.strip():
        raise CliError("no token was given; an admin makes one: repave tokens create NAME", USAGE)
    return token.strip()


def _token_of_job(url: str, authority: str) -> str:
    """What the controller gives for the job's own token."""
    from repave_cli.transport.client import Client
    from repave_cli.transport.jobs import job_token

    signed = job_token(AUDIENCE)
    answer = Client(url, credentials=Credentials("", authority)).post("login", {"token": signed})
    return str(answer["token"])


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
    terminal.say(f"{text}, and forgotten" if is_kept else f"{text}; REPAVE_TOKEN still holds it")
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
    terminal.out(f"  roles: {_scopes(who['roles'])}")
    if who["teams"]:
        terminal.out(f"  teams: {', '.join(who['teams'])}")
    if who["scopes"]:
        terminal.out(f"  this token at most: {_scopes(who['scopes'])}")
    return DONE


def _scopes(items: list[dict[str, str]]) -> str:
    named = (f"{each['role']} of {each['applications']}" for each in items)
    return ", ".join(named).replace(" of *", "") or "-"


# ----------------------------------------------------------------------------------------------- tokens


def run_create(terminal: Terminal) -> int:
    arguments = terminal.arguments
    expires = {} if arguments.expires is None else {"expires_seconds": arguments.expires}
    body = {
        "name": arguments.name,
        "scopes": arguments.scope,
        "note": arguments.note,
        "reason": arguments.reason,
        **expires,
    }
    made = terminal.client.post("tokens", body)
    if not terminal.is_for_people:
        show_whole(terminal, made)
        return DONE
    terminal.say(f"token {made['item']['id']} of {arguments.name}, until {made['item']['expires_at']}:")
    terminal.out(made["token"])
    terminal.say("it is not shown again; its owner gives it to repave login")
    return DONE


def run_list(terminal: Terminal) -> int:
    show(terminal, terminal.client.get("tokens"), TOKENS, "no tokens")
    return DONE


def run_trust(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {
        "name": arguments.name,
        "issuer": ISSUERS.get(arguments.issuer, arguments.issuer),
        "claims": dict(arguments.claim),
        "audience": arguments.audience,
        "expires_seconds": arguments.expires,
        "reason": arguments.reason,
    }
    made = terminal.client.post("trusts", body)
    return _told(terminal, made, f"{made['id']}: such jobs of {made['issuer']} are {made['name']}")


def run_trusts(terminal: Terminal) -> int:
    show(terminal, terminal.client.get("trusts"), TRUSTS, "no jobs may log in")
    return DONE


def run_distrust(terminal: Terminal) -> int:
    arguments = terminal.arguments
    gone = terminal.client.post(f"trusts/{quoted(arguments.id)}/remove", {"reason": arguments.reason})
    return _told(terminal, gone, f"jobs as {gone['name']} of {gone['issuer']} log in no longer")


def run_revoke(terminal: Terminal) -> int:
    arguments = terminal.arguments
    ended = terminal.client.post(f"tokens/{quoted(arguments.id)}/revoke", {"reason": arguments.reason})
    if terminal.is_for_people:
        terminal.say(f"token {ended['id']} of {ended['name']} is revoked")
    else:
        show_whole(terminal, ended)
    return DONE


# ------------------------------------------------------------------------------------------------ roles


def run_roles(terminal: Terminal) -> int:
    answer = terminal.client.get("roles")
    show(terminal, answer, ROLES, "no roles are given")
    _tell_teams(terminal, answer)
    return DONE


def _tell_teams(terminal: Terminal, answer: dict[str, Any]) -> None:
    if terminal.is_for_people:
        for team in answer["teams"]:
            terminal.out(f"team {team['name']}: {', '.join(team['members'])}")


def run_change(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {
        "to": arguments.to,
        "role": arguments.role,
        "applications": arguments.app,
        "reason": arguments.reason,
    }
    answer = terminal.client.post(f"roles/{arguments.verb}", body)
    has = "has" if arguments.verb == "grant" else "no longer has"
    return _told(terminal, answer, f"{arguments.to} {has} the role {arguments.role} for {arguments.app}")


def run_move(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {"name": arguments.name, "reason": arguments.reason}
    answer = terminal.client.post(f"teams/{quoted(arguments.team)}/{arguments.verb}", body)
    state = "is in" if arguments.verb == "join" else "is no longer in"
    return _told(terminal, answer, f"{arguments.name} {state} the team {arguments.team}")


def _told(terminal: Terminal, answer: dict[str, Any], text: str) -> int:
    if terminal.is_for_people:
        terminal.say(text)
    else:
        show_whole(terminal, answer)
    return DONE
