"""Commands about worn hosts: ages shows them, taint and renew have them replaced."""

from typing import Any

from repave_cli.render import output
from repave_cli.render.output import Column, column, show, tell
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

AGES = (
    Column("APP", lambda item: item["application"]),
    column("REGION"),
    column("GROUP"),
    column("STATE"),
    column("HOSTS"),
    Column("OLDEST", lambda item: output.ago(item["oldest_at"])),
    Column("MAX AGE", lambda item: output.span(item["max_age_seconds"]) if item["max_age_seconds"] else "-"),
    Column("TOO OLD", lambda item: item["aged"]),
    column("CHANGED", "drifted"),
    column("TAINTED"),
    Column("TO RENEW", lambda item: item["outdated"]),
    column("REPLACING"),
    Column("NEXT DUE", lambda item: output.left(item["due_at"])),
)


def register(commands: Any) -> None:
    ages = commands.add_parser("ages", help="How old hosts are, which are worn, when the next are due")
    ages.add_argument("app", metavar="APP", nargs="?")
    ages.set_defaults(run=run_ages)
    taint = commands.add_parser("taint", help="Replace a host once a fresh one is up")
    taint.add_argument("host", metavar="HOST")
    taint.add_argument("--region", default="", help="where it is, if several regions have a host of its name")
    renew = commands.add_parser("renew", help="Replace every host by a fresh one of the same release")
    renew.add_argument("app", metavar="APP")
    for command, run in ((taint, run_taint), (renew, run_renew)):
        command.add_argument("--reason", default="", help="kept in the history")
        command.add_argument("--key", default="", help="idempotency key: the same key acts once")
        command.set_defaults(run=run)


def run_ages(terminal: Terminal) -> int:
    app = terminal.arguments.app
    answer = terminal.client.get(f"applications/{quoted(app)}/ages" if app else "ages")
    show(terminal, answer, AGES, "no server groups")
    if terminal.is_for_people:
        for item in answer["items"]:
            for worn in item["worn"]:
                terminal.out(worn_line(item["region"], worn))
    return DONE


def worn_line(region: str, worn: dict[str, Any]) -> str:
    """One line: which host, why, by whom, how far."""
    why = f"{worn['why']} by {worn['by']}" if worn["by"] else worn["why"]
    text = f": {worn['text']}" if worn["text"] else ""
    return f"  {region} {worn['host']}  {why}{text}" + ("; being replaced" if worn["is_replaced"] else "")


def run_taint(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {"region": arguments.region, "reason": arguments.reason, "by": who()}
    answer = terminal.client.post(f"hosts/{quoted(arguments.host)}/taint", body, arguments.key)
    text = f"{answer['host']} in {answer['region']} is tainted: it serves until a fresh host has its place"
    tell(terminal, answer, f"{text}; see repave ages {answer['application']}", name=answer["host"])
    return DONE


def run_renew(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {"reason": arguments.reason, "by": who()}
    answer = terminal.client.post(f"applications/{quoted(arguments.app)}/renew", body, arguments.key)
    text = f"every host of {answer['group']} is replaced by a fresh one, a few at a time"
    tell(terminal, answer, f"{text}; see repave ages {answer['application']}")
    return DONE
