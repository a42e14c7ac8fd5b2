"""Streams of the API that outlive a restart of the controller, and one of an older version."""

from collections.abc import Generator
from typing import Any

from repave_cli.transport.errors import CliError
from repave_cli.transport.terminal import Terminal


def lasting(
    terminal: Terminal,
    path: str,
    *,
    deadline: float | None = None,
    was_there: bool = False,
    after: int | None = None,
    **query: Any,
) -> Generator[Any, None, None]:
    """What the stream gives, opened again when it breaks; of a log (`after`) each entry once.

    Ends at `deadline` (monotonic). Raises UnreachableError: at once if the controller was never there, else
    when it stays away.
    """
    while True:
        try:
            yield from terminal.client.follow(
                path,
                deadline=deadline,
                was_there=was_there,
                resumes=after is not None,
                said=lambda text: terminal.say(f"{text}; trying again"),
                after=after,
                **query,
            )
            return
        except CliError as error:  # of a controller of an older version, which gives all of it
            unknown = [name for name in query if query[name] and error.is_unknown_query(name)]
            if not unknown:
                raise
            query.pop(unknown[0])


def summed(terminal: Terminal) -> str | None:
    """As what `summary` is asked for: for people what fits a screen; all for programs, and with -o wide."""
    return "1" if terminal.format == "table" else None
