"""Commands that end what is no more: delete, groups retire, regions leave and remove; and regions take-over.

What can't be undone asks for the name to be typed; `--yes` is for scripts.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from repave_cli.commands import draining
from repave_cli.commands.asking import add_who_and_why, ask, tell_accepted
from repave_cli.render.output import tell
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal, answered
from repave_client.places import quoted

Run = Callable[[Terminal], int]


def register(commands: Any) -> None:
    delete = commands.add_parser(
        "delete", help="End an application: close its ports, destroy its hosts, keep its history"
    )
    delete.add_argument("app", metavar="APP")
    _add_confirmation(delete)
    add_who_and_why(delete)
    delete.set_defaults(run=run_delete)


def register_groups(commands: Any, run: Run) -> None:
    """`repave groups [APP]` lists, `repave groups retire APP NAME` ends one."""
    groups = commands.add_parser(
        "groups",
        help="Server groups: state, health, traffic; retire ends one that is kept",
        usage="repave groups [APP]\n       repave groups retire APP NAME [--region REGION] [--reason TEXT]",
    )
    groups.add_argument("words", nargs="*", metavar="APP", help="only its groups; or: retire APP NAME")
    groups.add_argument(
        "--region",
        action="append",
        default=[],
        dest="regions",
        metavar="REGION",
        help="of retire: only there; may be repeated",
    )
    add_who_and_why(groups)
    groups.set_defaults(run=lambda terminal: _groups(terminal, run))


def register_regions(commands: Any, run: Run) -> None:
    """`repave regions` lists; its verbs end or change what a region is."""
    regions = commands.add_parser(
        "regions", help="Regions and their agents; drain, undrain, leave, remove, take-over"
    )
    regions.set_defaults(run=run)
    verbs = regions.add_subparsers(dest="verb", metavar="VERB")
    draining.register(verbs)
    leave = verbs.add_parser("leave", help="Take one application out of a region")
    leave.add_argument("region", metavar="REGION")
    leave.add_argument("app", metavar="APP")
    _add_confirmation(leave)
    add_who_and_why(leave)
    leave.set_defaults(run=run_leave)
    remove = verbs.add_parser("remove", help="Take every application out of a region, and forget it")
    remove.add_argument("region", metavar="REGION")
    remove.add_argument(
        "--lost", action="store_true", help="it will never be heard again: wait for nothing there"
    )
    _add_confirmation(remove)
    remove.add_argument("--reason", default="")
    remove.set_defaults(run=run_remove)
    take_over = verbs.add_parser("take-over", help="Let another agent have the region")
    take_over.add_argument("region", metavar="REGION")
    take_over.add_argument("--reason", default="")
    take_over.set_defaults(run=run_take_over)


def _add_confirmation(command: argparse.ArgumentParser) -> None:
    command.add_argument("-y", "--yes", action="store_true", help="do not ask for the name to be typed")


# -------------------------------------------------------------------------------------------------- commands


def run_delete(terminal: Terminal) -> int:
    app = terminal.arguments.app
    status = terminal.client.get(f"applications/{quoted(app)}")
    regions = ", ".join(region["name"] for region in status["region_items"])
    _confirm(terminal, app, f"This closes {app}, and destroys its hosts in {regions or 'no region'}.")
    accepted = ask(terminal, app, "delete")
    return _report(
        terminal, accepted, f"{app} is being drained and destroyed; follow it with: repave why {app}"
    )


def _groups(terminal: Terminal, run: Run) -> int:
    words = terminal.arguments.words
    match words:
        case ["retire", app, name]:
            return _retire(terminal, app, name)
        case ["retire", *rest] if rest:
            raise CliError("write: repave groups retire APP NAME", USAGE)
        case [] | [_]:
            terminal.arguments.app = words[0] if words else None
            return run(terminal)
        case _:
            raise CliError("write: repave groups [APP], or repave groups retire APP NAME", USAGE)


def _retire(terminal: Terminal, app: str, name: str) -> int:
    accepted = ask(terminal, app, "retire-group", group=name, regions=terminal.arguments.regions)
    return _report(
        terminal,
        accepted,
        f"{name} is being drained and destroyed; follow it with: repave groups {app}",
        name=name,
    )


def run_leave(terminal: Terminal) -> int:
    region, app = terminal.arguments.region, terminal.arguments.app
    _confirm(terminal, region, f"This closes {app} in {region}, and destroys its hosts there.")
    accepted = ask(terminal, app, "leave-region", region=region)
    text = f"{app} leaves {region}; take the region out of its spec, and see it with: repave status {app}"
    return _report(terminal, accepted, text)


def run_remove(terminal: Terminal) -> int:
    region, is_lost = terminal.arguments.region, terminal.arguments.lost
    end = "forgets what was there" if is_lost else "destroys all hosts there"
    _confirm(terminal, region, f"This takes every application out of {region}, and {end}.")
    body = {"lost": is_lost, "by": who(), "reason": terminal.arguments.reason}
    return _tell(terminal, terminal.client.post(f"regions/{quoted(region)}/remove", body))


def run_take_over(terminal: Terminal) -> int:
    body = {"by": who(), "reason": terminal.arguments.reason}
    return _tell(
        terminal, terminal.client.post(f"regions/{quoted(terminal.arguments.region)}/take-over", body)
    )


# ---------------------------------------------------------------------------------------------------- people


def _confirm(terminal: Terminal, name: str, text: str) -> None:
    """Raises CliError unless the name is typed."""
    if terminal.arguments.yes:
        return
    if not (terminal.is_interactive and terminal.is_for_people and sys.stdin.isatty()):
        raise CliError("nothing was changed: there is no terminal to confirm it at; --yes confirms it", USAGE)
    terminal.say(text)
    typed = answered(f"Type {name} to go on: ")
    if typed != name:
        raise CliError(f"nothing was changed: {name} was not typed", USAGE)


def _report(terminal: Terminal, accepted: dict[str, Any], text: str, *, name: str = "") -> int:
    tell_accepted(terminal, accepted, text, name=name)
    return DONE


def _tell(terminal: Terminal, done: dict[str, Any]) -> int:
    tell(terminal, done, done["text"], name=terminal.arguments.region)
    return DONE
