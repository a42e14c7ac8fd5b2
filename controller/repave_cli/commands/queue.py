"""The releases that wait behind a rollout: queue list, move, drop, resume."""

import argparse
from typing import Any

from repave_cli.commands.asking import add_who_and_why, ask
from repave_cli.render.output import Column, ago, column, show, tell
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

PLACE_MAX = 1000

APP = column("APP", "application")
QUEUE = (
    column("NO", "number"),
    column("VERSION"),
    Column("REGIONS", lambda item: ", ".join(item["regions"])),
    Column("QUEUED", lambda item: ago(item["queued_at"]) if item["queued_at"] else "-"),
    Column("BY", lambda item: item["by"] or "-"),
    Column("REASON", lambda item: item["reason"] or "-"),
    column("DIGEST", is_wide=True),
)


def register(commands: Any) -> None:
    queue = commands.add_parser(
        "queue", help="Releases that wait: list them, change their order, drop some, let them go on"
    )
    verbs = queue.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="What waits, and why it stands still where it does")
    listed.add_argument("app", metavar="APP", nargs="?", default="")
    listed.set_defaults(run=run_list)
    drop = verbs.add_parser("drop", help="Take a release out of the queue")
    drop.add_argument("app", metavar="APP")
    drop.add_argument("release", nargs="?", default="", metavar="NO", help="its number, or its version")
    drop.add_argument("--all", action="store_true", help="all that wait")
    drop.set_defaults(run=run_drop)
    move = verbs.add_parser("move", help="Give a release another place in the queue")
    move.add_argument("app", metavar="APP")
    move.add_argument("release", metavar="NO", help="its number, or its version")
    move.add_argument("place", metavar="PLACE", type=_place, help="1: it is the next; last: it is the last")
    move.set_defaults(run=run_move)
    resume = verbs.add_parser("resume", help="Go on with it after a rollout that did not succeed")
    resume.add_argument("app", metavar="APP")
    resume.set_defaults(run=run_resume)
    for verb in (move, drop, resume):
        add_who_and_why(verb)


def _place(text: str) -> int:
    if text == "last":
        return PLACE_MAX
    if not text.isdecimal() or not 1 <= int(text) <= PLACE_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no place in a queue; write 1, 2, ... or last")
    return int(text)


def run_list(terminal: Terminal) -> int:
    app = terminal.arguments.app
    if not app:
        return _list_all(terminal)
    answer = _queue(terminal, app)
    show(terminal, answer, QUEUE, "no release waits")
    _tell_standing(terminal, answer)
    return DONE


def _list_all(terminal: Terminal) -> int:
    """The queues of all applications as one list."""
    apps = [each["name"] for each in terminal.client.get("applications")["items"] if each["queued"]]
    queues = {app: _queue(terminal, app) for app in apps}
    items = [{"application": app, **item} for app, queue in queues.items() for item in queue["items"]]
    show(terminal, {"items": items}, (APP, *QUEUE), "no release waits")
    for queue in queues.values():
        _tell_standing(terminal, queue)
    return DONE


def _queue(terminal: Terminal, app: str) -> dict[str, Any]:
    answer: dict[str, Any] = terminal.client.get(f"applications/{quoted(app)}/queue")
    return answer


def _tell_standing(terminal: Terminal, queue: dict[str, Any]) -> None:
    if terminal.is_for_people and queue["stands"]:
        terminal.say(f"{queue['stands']}; {queue['remedy']['text']}")


def run_drop(terminal: Terminal) -> int:
    arguments = terminal.arguments
    if arguments.all == bool(arguments.release):
        raise CliError(f"say which: repave queue drop {arguments.app} NO, or --all", USAGE)
    accepted = ask(terminal, arguments.app, "queue/drop", name=arguments.release, all=arguments.all)
    dropped = f"release {arguments.release}" if arguments.release else "every release"
    tell(terminal, accepted, f"{dropped} is dropped from the queue of {arguments.app}")
    return DONE


def run_move(terminal: Terminal) -> int:
    arguments = terminal.arguments
    accepted = ask(terminal, arguments.app, "queue/move", name=arguments.release, place=arguments.place)
    where = "last" if arguments.place == PLACE_MAX else f"number {arguments.place}"
    tell(terminal, accepted, f"release {arguments.release} is {where} in the queue of {arguments.app}")
    return DONE


def run_resume(terminal: Terminal) -> int:
    app = terminal.arguments.app
    accepted = ask(terminal, app, "queue/resume")
    tell(terminal, accepted, f"the queue of {app} goes on; follow it with: repave watch {app}")
    return DONE
