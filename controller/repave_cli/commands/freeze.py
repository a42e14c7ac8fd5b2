"""Freezes of the whole installation: freeze, unfreeze. What they hold up is shown by status and why.

`stop` and `go` are version 0.1's words for freeze --all and unfreeze --all: they work, and are not shown.
"""

from datetime import UTC, datetime
from typing import Any

from repave_cli.render.output import Column, ago, clock, column, show, tell
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

FREEZES = (
    column("ID"),
    Column("FROM", lambda item: _time(item, "begins_at")),
    Column("TO", lambda item: _time(item, "ends_at")),
    Column("APPS", lambda item: ",".join(item["applications"]) or "all"),
    Column("NOW", lambda item: "frozen" if item["is_on"] else "-"),
    column("BY"),
    column("REASON"),
    Column("ADDED", lambda item: ago(item["added_at"]), is_wide=True),
)


def register(commands: Any) -> None:
    freeze = commands.add_parser(
        "freeze", help="Stop releases: all from now on (--all), or for a time (add); list"
    )
    freeze.add_argument("--all", action="store_true", help="everything, until repave unfreeze --all")
    _add_reason(freeze)
    freeze.set_defaults(run=run_freeze)
    verbs = freeze.add_subparsers(dest="verb", metavar="VERB")
    _register_add(verbs)
    verbs.add_parser("list", help="Freezes that are on or to come").set_defaults(run=run_list)
    unfreeze = commands.add_parser("unfreeze", help="Lift a freeze by its id, or that of everything (--all)")
    lift = verbs.add_parser("lift")
    for command in (unfreeze, lift):
        command.add_argument("id", nargs="?", default="", help="as repave freeze list shows it")
        command.add_argument("--all", action="store_true", help="what repave freeze --all began")
        _add_reason(command)
        command.set_defaults(run=run_unfreeze)
    for name, run in (("stop", freeze_all), ("go", unfreeze_all)):
        command = commands.add_parser(name)
        _add_reason(command)
        command.set_defaults(run=run)


def _add_reason(command: Any) -> None:
    command.add_argument("--reason", default="", help="kept in the log of events")


def _register_add(verbs: Any) -> None:
    add = verbs.add_parser("add", help="Stop releases for a time")
    add.add_argument(
        "--from", dest="begins", default="", metavar="TIME", help="2026-12-20 or 2026-12-20T18:00 (now)"
    )
    add.add_argument(
        "--to",
        dest="ends",
        required=True,
        metavar="TIME",
        help="its last day, or date and time of its end",
    )
    add.add_argument("--zone", default="UTC", help="IANA zone of these times, such as Europe/Berlin (UTC)")
    add.add_argument(
        "--app",
        action="append",
        default=[],
        metavar="GLOB",
        help="only these, such as 'web-*' (default: all); may be repeated",
    )
    add.add_argument("--reason", default="", help="shown with every release that waits for it")
    add.set_defaults(run=run_add)


def run_freeze(terminal: Terminal) -> int:
    if not terminal.arguments.all:
        raise CliError("say what: repave freeze --all, or repave freeze add --to TIME", USAGE)
    return freeze_all(terminal)


def run_unfreeze(terminal: Terminal) -> int:
    arguments = terminal.arguments
    if arguments.all == bool(arguments.id):
        raise CliError("say what: repave unfreeze ID, which repave freeze list shows, or --all", USAGE)
    if arguments.all:
        return unfreeze_all(terminal)
    answer = _change(terminal, f"freezes/{quoted(arguments.id)}/lift")
    lifted = arguments.id.upper()
    tell(terminal, answer, f"{lifted} is lifted", name=lifted)
    return DONE


def freeze_all(terminal: Terminal) -> int:
    answer = _change(terminal, "freezes/all")
    tell(terminal, answer, frozen_line(answer))
    return DONE


def unfreeze_all(terminal: Terminal) -> int:
    answer = _change(terminal, "freezes/all/lift")
    left = ", ".join(each["id"] for each in answer["items"] if each["is_on"])
    tell(terminal, answer, "rollouts may move" + (f"; these freezes are still on: {left}" if left else ""))
    return DONE


def run_add(terminal: Terminal) -> int:
    arguments = terminal.arguments
    if arguments.all:
        raise CliError("--all is everything from now on: leave it out, or leave add out", USAGE)
    body = {
        "from": arguments.begins or _now(),
        "to": arguments.ends,
        "zone": arguments.zone,
        "reason": arguments.reason,
        "applications": arguments.app,
        "by": who(),
    }
    added = terminal.client.post("freezes", body)
    whom = f"no release of {', '.join(added['applications'])}" if added["applications"] else "no release"
    span = f"from {_time(added, 'begins_at')} to {_time(added, 'ends_at')}"
    tell(terminal, added, f"{added['id']}: {whom} moves {span}")
    return DONE


def run_list(terminal: Terminal) -> int:
    answer = terminal.client.get("freezes")
    tell_frozen(terminal, answer)
    show(terminal, answer, FREEZES, "no freezes; those of specs are shown by repave why")
    return DONE


def tell_frozen(terminal: Terminal, answer: dict[str, Any] | None = None) -> None:
    """On top of what a person looks at, when everything is frozen."""
    if terminal.is_for_people:
        text = frozen_line(answer or terminal.client.get("freezes"))
        if text:
            terminal.out(text)


def frozen_line(answer: dict[str, Any]) -> str:
    """One line; "" while rollouts may move."""
    full = answer["everything"]
    if full is None:
        return ""
    why = f": {full['reason']}" if full["reason"] else ""
    by = full["by"] or "an unnamed operator"
    return f"EVERYTHING IS FROZEN by {by}, {ago(full['at'])}{why}; lift it with: repave unfreeze --all"


def _change(terminal: Terminal, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = terminal.client.post(path, {"reason": terminal.arguments.reason, "by": who()})
    return answer


def _time(freeze: dict[str, Any], field: str) -> str:
    return clock(freeze[field], freeze["zone"])


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
