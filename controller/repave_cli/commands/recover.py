"""The controller's own commands: recover, after its store was restored from an older backup, or lost."""

import sys
from collections.abc import Iterable
from typing import Any

from repave_cli.render.output import Column, column, percent, short, show_whole, table
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, REFUSED, USAGE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal, answered

COLUMNS = (
    column("APPLICATION"),
    column("REGION"),
    column("GROUP"),
    Column("BECOMES", lambda line: line["state"] or "-"),
    column("HOSTS"),
    Column("TRAFFIC", lambda line: percent(line["weight_bp"])),
    Column("VERSION", lambda line: line["version"] or "-"),
    Column("PACKAGE", lambda line: _package(line)),
)


def register(commands: Any) -> None:
    controller = commands.add_parser("controller", help="Look after the controller itself")
    verbs = controller.add_subparsers(dest="verb", metavar="VERB", required=True)
    recover = verbs.add_parser(
        "recover", help="After its store was restored or lost: adopt what the regions run"
    )
    recover.add_argument("--application", default="", metavar="APP", help="only this one")
    recover.add_argument(
        "--serving", default="", metavar="GROUP", help="who serves, where regions do not agree on it"
    )
    recover.add_argument("--dry-run", action="store_true", help="show what would be adopted, change nothing")
    recover.add_argument("-y", "--yes", action="store_true", help="do not ask")
    recover.set_defaults(run=run_recover)


def run_recover(terminal: Terminal) -> int:
    arguments = terminal.arguments
    if arguments.serving and not arguments.application:
        raise CliError("--serving names a group of one application: add --application APP", USAGE)
    chosen = {"application": arguments.application, "serving": arguments.serving}
    found = terminal.client.post("recovery", {**chosen, "dry_run": True})
    is_over = arguments.dry_run or all(each["refused"] for each in found["items"])
    if is_over or terminal.is_for_people:
        _show(terminal, found)
    if is_over:
        return _exit_code(found["items"])
    if not arguments.yes:
        _ask(terminal)
    done = terminal.client.post("recovery", {**chosen, "id": found["id"], "by": who()})
    if not terminal.is_for_people:
        show_whole(terminal, done)
    _tell_end(terminal, done)
    return _exit_code(done["items"])


def _show(terminal: Terminal, found: dict[str, Any]) -> None:
    if not terminal.is_for_people:
        show_whole(terminal, found)
        return
    if not found["items"]:
        terminal.say("nothing needs recovery: no region that is connected is ahead of the store")
        return
    lines = [line for item in found["items"] for line in item["lines"]]
    if lines:
        terminal.out(table(COLUMNS, lines))
    for item in found["items"]:
        for note in item["notes"]:
            terminal.say(f"{item['application']}: {note}")
        if item["refused"]:
            terminal.say(f"NOT ADOPTED: {item['refused']}")


def _package(line: dict[str, Any]) -> str:
    return f"{short(line['digest'])}{'' if line['is_stored'] else ' (not stored here)'}"


def _ask(terminal: Terminal) -> None:
    """Raises CliError unless a person says yes."""
    if not (terminal.is_interactive and terminal.is_for_people and sys.stdin.isatty()):
        raise CliError("nothing was changed: there is no terminal to confirm it at; --yes adopts it", USAGE)
    answer = answered("Adopt this, and begin a new incarnation of the store? [y/N] ")
    if answer.lower() not in ("y", "yes"):
        raise CliError("nothing was changed", USAGE)


def _tell_end(terminal: Terminal, done: dict[str, Any]) -> None:
    for item in done["items"]:
        if item["adopted"]:
            serves = f"{item['serving']} serves" if item["serving"] else "no group serves yet"
            terminal.say(f"adopted {item['application']}: {serves}, {_regions(item['lines'])}")
        else:
            terminal.say(f"NOT ADOPTED: {item['refused']}")
    for region, why in done["waiting"].items():
        terminal.say(f"{region} still waits: {why}")


def _regions(lines: Iterable[dict[str, Any]]) -> str:
    return f"as it is in {', '.join(sorted({line['region'] for line in lines}))}"


def _exit_code(items: list[dict[str, Any]]) -> int:
    return REFUSED if any(item["refused"] for item in items) else DONE
