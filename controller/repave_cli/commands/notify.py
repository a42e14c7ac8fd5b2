"""Who is told of what happens: notify list, replay, test."""

from typing import Any

from repave_cli.render.output import Column, ago, column, show, tell
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, ERROR
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal, whole
from repave_client.places import quoted

TARGETS = (
    column("TARGET", "name"),
    column("KIND"),
    column("STATE"),
    column("SENT", "delivered"),
    Column("LAST", lambda item: ago(item["delivered_at"]) if item["delivered_at"] else "-"),
    column("BEHIND", "waiting"),
    Column("DEAD", lambda item: len(item["dead"])),
    column("PLACE"),
    Column("ERROR", lambda item: item["error"] or "-", is_wide=True),
)


def register(commands: Any) -> None:
    notify = commands.add_parser("notify", help="Who is told of what happens: list, test, tell again")
    verbs = notify.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("list", help="Targets, and how far each was told").set_defaults(run=run_list)
    replay = verbs.add_parser("replay", help="Send all from an event on again, under the ids that they had")
    replay.add_argument("target", metavar="TARGET")
    replay.add_argument(
        "--from", dest="first", type=whole, required=True, metavar="SEQ", help="see repave events -o wide"
    )
    replay.set_defaults(run=run_replay)
    test = verbs.add_parser("test", help="Send one notice of nothing, and say whether it was taken")
    test.add_argument("target", metavar="TARGET")
    test.set_defaults(run=run_test)


def run_list(terminal: Terminal) -> int:
    answer = terminal.client.get("notices")
    show(terminal, answer, TARGETS, "the controller's settings name no target")
    if terminal.is_for_people:
        for item in answer["items"]:
            for dead in item["dead"]:
                terminal.say(f"{item['name']}: event {dead['sequence']} ({dead['kind']}) {dead['error']}")
    return DONE


def run_replay(terminal: Terminal) -> int:
    arguments = terminal.arguments
    path = f"notices/{quoted(arguments.target)}/replay"
    answer = terminal.client.post(path, {"from_sequence": arguments.first, "by": who()})
    text = f"{arguments.target} is told again of everything from event {arguments.first} on"
    tell(terminal, answer, text, name=arguments.target)
    return DONE


def run_test(terminal: Terminal) -> int:
    target = terminal.arguments.target
    answer = terminal.client.post(f"notices/{quoted(target)}/test", {"by": who()})
    if answer["error"]:
        raise CliError(f"{target} has not taken it: {answer['error']}", ERROR)
    tell(terminal, answer, f"{target} has taken it", name=target)
    return DONE
