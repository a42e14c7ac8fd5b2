"""Promotions between stacks: promotions list, approve, dismiss."""

from typing import Any

from repave_cli.render.output import Column, ago, column, show, show_whole
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

PROMOTIONS = (
    column("APP", "application"),
    column("FROM", "source"),
    column("VERSION"),
    column("STATE"),
    Column("SINCE", lambda item: ago(item["ended_at"] or item["proposed_at"])),
    Column("BY", lambda item: item["by"] or "-"),
    Column("TEXT", lambda item: item["text"] or "-"),
    column("DIGEST", is_wide=True),
)


def register(commands: Any) -> None:
    promotions = commands.add_parser("promotions", help="Promotions between stacks: list, approve, dismiss")
    verbs = promotions.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="What is proposed, and what became of it").set_defaults(run=run_list)
    approve = verbs.add_parser("approve", help="Release what is proposed for an application")
    approve.add_argument("app", metavar="APP")
    approve.set_defaults(run=run_approve)
    dismiss = verbs.add_parser("dismiss", help="Propose it no more, until there is another release")
    dismiss.add_argument("app", metavar="APP")
    dismiss.add_argument("--reason", default="", help="kept with it")
    dismiss.set_defaults(run=run_dismiss)


def run_list(terminal: Terminal) -> int:
    show(terminal, terminal.client.get("promotions"), PROMOTIONS, "nothing is proposed")
    return DONE


def run_approve(terminal: Terminal) -> int:
    app = terminal.arguments.app
    answer = terminal.client.post(f"applications/{quoted(app)}/promotion/approve", {"by": who()})
    version = answer["proposal"]["version"]
    return _report(terminal, answer, f"{version} is released to {app}; follow it with: repave watch {app}")


def run_dismiss(terminal: Terminal) -> int:
    app, reason = terminal.arguments.app, terminal.arguments.reason
    body = {"by": who(), "reason": reason}
    answer = terminal.client.post(f"applications/{quoted(app)}/promotion/dismiss", body)
    return _report(terminal, answer, f"{answer['version']} is not proposed to {app} any more")


def _report(terminal: Terminal, answer: dict[str, Any], text: str) -> int:
    if terminal.is_for_people:
        terminal.say(text)
    else:
        show_whole(terminal, answer)
    return DONE
