"""`repave regions drain` and `undrain`: take a region out of the world's traffic, and back."""

import argparse
from typing import Any

from repave_cli.commands.asking import add_who_and_why, ask, tell_accepted
from repave_cli.render.output import tell
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DONE, USAGE
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted


def register(verbs: Any) -> None:
    """Below `repave regions`."""
    drain = verbs.add_parser("drain", help="Take a region out of DNS; its hosts go on")
    _add_where(drain)
    drain.add_argument(
        "--override",
        action="store_true",
        help="also where no other region is in DNS; needs APP and --reason",
    )
    add_who_and_why(drain)
    drain.set_defaults(run=run_drain)
    undrain = verbs.add_parser("undrain", help="Put a region back into DNS")
    _add_where(undrain)
    add_who_and_why(undrain)
    undrain.set_defaults(run=run_undrain)


def _add_where(command: argparse.ArgumentParser) -> None:
    command.add_argument("region", metavar="REGION")
    command.add_argument("app", metavar="APP", nargs="?", help="only this one; else all that are there")


def run_drain(terminal: Terminal) -> int:
    arguments = terminal.arguments
    region, app = arguments.region, arguments.app
    if arguments.override and not app:
        raise CliError("--override is of one application: repave regions drain REGION APP --override", USAGE)
    if not app:
        return _whole(terminal, "drain")
    verb = "drain-last-region" if arguments.override else "drain-region"
    text = f"{app} is taken out of DNS in {region}; see how far it is with: repave why {app}"
    return _one(terminal, verb, text)


def run_undrain(terminal: Terminal) -> int:
    region, app = terminal.arguments.region, terminal.arguments.app
    if not app:
        return _whole(terminal, "undrain")
    return _one(terminal, "undrain-region", f"{app} goes back into DNS in {region}")


def _one(terminal: Terminal, verb: str, text: str) -> int:
    accepted = ask(terminal, terminal.arguments.app, verb, region=terminal.arguments.region)
    tell_accepted(terminal, accepted, text)
    return DONE


def _whole(terminal: Terminal, verb: str) -> int:
    arguments = terminal.arguments
    body = {"by": who(), "reason": arguments.reason}
    done = terminal.client.post(f"regions/{quoted(arguments.region)}/{verb}", body, arguments.key)
    tell(terminal, done, done["text"], name=arguments.region)
    return DONE
