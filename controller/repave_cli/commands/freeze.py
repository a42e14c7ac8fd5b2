"""Commands for the whole installation: stop, go, freeze. What they hold is shown by status and why."""

from datetime import UTC, datetime
from typing import Any

from repave_cli.render.output import Column, ago, clock, column, show, show_whole
from repave_cli.transport.exit_codes import DONE
from repave_cli.transport.identity import who
from repave_cli.transport.paths import quoted
from repave_cli.transport.terminal import Terminal

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
    for name, run, text in (
        ("stop", run_stop, "Stop the line: no rollout of any application moves"),
        ("go", run_go, "Let rollouts move again after repave stop"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--reason", default="", help="kept in the log of events")
        command.set_defaults(run=run)
    freeze = commands.add_parser("freeze", help="Times in which nothing is released: add, list, lift")
    verbs = freeze.add_subparsers(dest="verb", metavar="VERB", required=True)
    _register_add(verbs)
    verbs.add_parser("list", help="Freezes that are on or to come").set_defaults(run=run_list)
    lift = verbs.add_parser("lift", help="Take a freeze away")
    lift.add_argument("id", help="as repave freeze list shows it")
    lift.add_argument("--reason", default="", help="kept in the log of events")
    lift.set_defaults(run=run_lift)


def _register_add(verbs: Any) -> None:
    add = verbs.add_parser("add", help="Release nothing in these times")
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
        help="only these: 'web-*' (all); repeatable",
    )
    add.add_argument("--reason", default="", help="shown to who meets it")
    add.set_defaults(run=run_add)


def run_stop(terminal: Terminal) -> int:
    answer = _change(terminal, "line/stop")
    _show(terminal, answer, stopped_line(answer))
    return DONE


def run_go(terminal: Terminal) -> int:
    _show(terminal, _change(terminal, "line/go"), "rollouts may move")
    return DONE


def run_add(terminal: Terminal) -> int:
    arguments = terminal.arguments
    body = {
        "from": arguments.begins or _now(),
        "to": arguments.ends,
        "zone": arguments.zone,
        "reason": arguments.reason,
        "applications": arguments.app,
        "by": who(),
    }
    added = terminal.client.post("freezes", body)
    whom = ", ".join(added["applications"]) or "every application"
    span = f"from {_time(added, 'begins_at')} to {_time(added, 'ends_at')}"
    _show(terminal, added, f"{added['id']}: nothing of {whom} is released {span}")
    return DONE


def run_list(terminal: Terminal) -> int:
    items = terminal.client.get("line")["freezes"]
    show(terminal, {"items": items}, FREEZES, "no freezes; those of specs are shown by repave why")
    return DONE


def run_lift(terminal: Terminal) -> int:
    answer = _change(terminal, f"freezes/{quoted(terminal.arguments.id)}/lift")
    _show(terminal, answer, f"{terminal.arguments.id.upper()} is lifted")
    return DONE


def tell_stopped(terminal: Terminal) -> None:
    """On top of what a person looks at, when nothing moves."""
    if terminal.is_for_people:
        text = stopped_line(terminal.client.get("line"))
        if text:
            terminal.out(text)


def stopped_line(answer: dict[str, Any]) -> str:
    """One line; "" while rollouts may move."""
    stop = answer["stopped"]
    if stop is None:
        return ""
    why = f": {stop['reason']}" if stop["reason"] else ""
    return (
        f"THE LINE IS STOPPED by {stop['by'] or 'somebody'}, {ago(stop['at'])}{why}; let it move: repave go"
    )


def _change(terminal: Terminal, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = terminal.client.post(path, {"reason": terminal.arguments.reason, "by": who()})
    return answer


def _show(terminal: Terminal, answer: dict[str, Any], text: str) -> None:
    if terminal.is_for_people:
        terminal.say(text)
    else:
        show_whole(terminal, answer)


def _time(freeze: dict[str, Any], field: str) -> str:
    return clock(freeze[field], freeze["zone"])


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
