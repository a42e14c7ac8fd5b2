"""Gives a command to the controller, with who gives it and why, as all that change something do."""

from typing import Any

from repave_cli.render.output import tell
from repave_cli.transport.identity import who
from repave_cli.transport.terminal import Terminal
from repave_client.places import quoted


def add_who_and_why(command: Any) -> None:
    """What every command has that changes something."""
    command.add_argument("--reason", default="", help="kept in the history")
    command.add_argument("--key", default="", help="idempotency key: given twice, it is done once")


def ask(terminal: Terminal, app: str, verb: str, **body: object) -> dict[str, Any]:
    """Gives one command to the controller, with who gives it and why; returns what was accepted."""
    arguments = terminal.arguments
    path = f"applications/{quoted(app)}/{verb}"
    accepted: dict[str, Any] = terminal.client.post(
        path, {**body, "reason": arguments.reason, "by": who()}, arguments.key
    )
    return accepted


def tell_accepted(terminal: Terminal, accepted: dict[str, Any], text: str, *, name: str = "") -> None:
    """What was accepted, also where it was so before."""
    tell(terminal, accepted, f"that is so already: {text}" if accepted["is_joined"] else text, name=name)
