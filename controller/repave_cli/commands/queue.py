"""The releases that wait behind a rollout: queue list, drop, resume."""

from typing import Any

from repave_cli.commands.release import add_who_and_why, ask
from repave_cli.render.output import Column, ago, column, show, show_whole
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.paths import quoted
from repave_cli.transport.terminal import Terminal

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
    queue = commands.add_parser("queue", help="Releases that wait: list them, drop some, let them go on")
    verbs = queue.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="What waits, and why it stands still where it does")
    listed.add_argument("app")
    listed.set_defaults(run=run_list)
    drop = verbs.add_parser("drop", help="Take a release out of the queue")
    drop.add_argument("app")
    drop.add_argument("release", nargs="?", default="", metavar="NO", help="its number, or its version")
    drop.add_argument("--all", action="store_true", help="all that wait")
    drop.set_defaults(run=run_drop)
    resume = verbs.add_parser("resume", help="Go on with it after a rollout that did not succeed")
    resume.add_argument("app")
    resume.set_defaults(run=run_resume)
    for verb in (drop, resume):
        add_who_and_why(verb)


def run_list(terminal: Terminal) -> int:
    answer = terminal.client.get(f"applications/{quoted(terminal.arguments.app)}/queue")
    show(terminal, answer, QUEUE, "no release waits")
    if terminal.is_for_people and answer["stands"]:
        terminal.say(f"{answer['stands']}; {answer['remedy']['text']}")
    return DONE


def run_drop(terminal: Terminal) -> int:
    arguments = terminal.arguments
    if arguments.all == bool(arguments.release):
        raise CliError(f"say which: repave queue drop {arguments.app} NO, or --all", USAGE)
    accepted = ask(terminal, arguments.app, "queue/drop", name=arguments.release, all=arguments.all)
    dropped = f"release {arguments.release}" if arguments.release else "every release"
    return _report(terminal, accepted, f"{dropped} is dropped from the queue of {arguments.app}")


def run_resume(terminal: Terminal) -> int:
    app = terminal.arguments.app
    accepted = ask(terminal, app, "queue/resume")
    return _report(terminal, accepted, f"the queue of {app} goes on; follow it with: repave watch {app}")


def _report(terminal: Terminal, accepted: dict[str, Any], text: str) -> int:
    if terminal.is_for_people:
        terminal.say(text)
    else:
        show_whole(terminal, accepted)
    return DONE
