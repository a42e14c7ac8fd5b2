"""Tokens, trusts, roles and teams."""

import argparse
from typing import Any

from repave_cli.commands.login import AUDIENCE, scopes_of
from repave_cli.render.output import Column, ago, column, show, show_whole, tell
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.terminal import Terminal, seconds
from repave_client.places import quoted

TOKENS = (
    column("ID"),
    column("NAME"),
    column("STATE"),
    Column("MAY AT MOST", lambda item: scopes_of(item["scopes"])),
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
ROLE_NAMES = ("viewer", "deployer", "approver", "admin", "scaler", "metrics")


def register(commands: Any) -> None:
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
    if terminal.format == "name":
        terminal.out(made["item"]["id"])
        return DONE
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
    tell(terminal, made, f"{made['id']}: such jobs of {made['issuer']} are {made['name']}", name=made["id"])
    return DONE


def run_trusts(terminal: Terminal) -> int:
    show(terminal, terminal.client.get("trusts"), TRUSTS, "no jobs may log in")
    return DONE


def run_distrust(terminal: Terminal) -> int:
    arguments = terminal.arguments
    gone = terminal.client.post(f"trusts/{quoted(arguments.id)}/remove", {"reason": arguments.reason})
    tell(terminal, gone, f"jobs as {gone['name']} of {gone['issuer']} log in no longer", name=gone["id"])
    return DONE


def run_revoke(terminal: Terminal) -> int:
    arguments = terminal.arguments
    ended = terminal.client.post(f"tokens/{quoted(arguments.id)}/revoke", {"reason": arguments.reason})
    tell(terminal, ended, f"token {ended['id']} of {ended['name']} is revoked", name=ended["id"])
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
    text = f"{arguments.to} {has} the role {arguments.role} for {arguments.app}"
    tell(terminal, answer, text, name=arguments.to)
    return DONE


def run_move(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {"name": arguments.name, "reason": arguments.reason}
    answer = terminal.client.post(f"teams/{quoted(arguments.team)}/{arguments.verb}", body)
    state = "is in" if arguments.verb == "join" else "is no longer in"
    tell(terminal, answer, f"{arguments.name} {state} the team {arguments.team}", name=arguments.name)
    return DONE
