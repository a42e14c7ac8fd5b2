"""The machines of regions whose hosts are machines of a pool: pool list, quarantine, return, release."""

from typing import Any

from repave_cli.render.output import Column, ago, column, show, tell
from repave_cli.transport.exit_codes import DONE, ERROR
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted

MACHINES = (
    column("REGION"),
    column("MACHINE", "name"),
    column("ADDRESS", is_wide=True),
    column("STATE"),
    Column("SINCE", lambda item: ago(item["since"])),
    Column("HOST", lambda item: item["host"] or "-"),
    Column("REASON", lambda item: item["reason"] or "-"),
)
VERBS = {
    "quarantine": "Take a machine that has no host out of use",
    "return": "Put a quarantined machine (or --all) back into use; it is reset first",
    "release": "End the lease of a machine that is gone or unknown; it stays quarantined",
}


def register(commands: Any) -> None:
    pool = commands.add_parser("pool", help="Machines of pools: list them, take them out, put them back")
    verbs = pool.add_subparsers(dest="verb", metavar="VERB", required=True)
    listed = verbs.add_parser("list", help="Every machine, what it is used for, and why one is not used")
    listed.add_argument("--region", default="")
    listed.set_defaults(run=run_list)
    for verb, text in VERBS.items():
        parser = verbs.add_parser(verb, help=text)
        parser.add_argument("region", metavar="REGION")
        if verb == "return":
            which = parser.add_mutually_exclusive_group(required=True)
            which.add_argument("machine", metavar="MACHINE", nargs="?")
            which.add_argument("--all", action="store_true", help="every quarantined machine of the region")
        else:
            parser.add_argument("machine", metavar="MACHINE")
        parser.add_argument("--reason", default="", help="shown by repave pool list")
        parser.set_defaults(run=run_change)


def run_list(terminal: Terminal) -> int:
    answer = terminal.client.get("pool", region=terminal.arguments.region)
    none = "" if answer["unreachable"] else "no region has a pool of machines (provider ssh_pool)"
    show(terminal, answer, MACHINES, none)
    for region, why in answer["unreachable"].items():
        terminal.say(f"{region}: {why}")
    return ERROR if answer["unreachable"] else DONE


def run_change(terminal: Terminal) -> int:
    arguments = terminal.arguments
    which = f"/{quoted(arguments.machine)}" if arguments.machine else ""
    path = f"regions/{quoted(arguments.region)}/pool{which}/{arguments.verb}"
    done = terminal.client.post(path, {"reason": arguments.reason, "by": who()})
    tell(terminal, done, done["text"], name=arguments.machine)
    return DONE
