"""Streams of the API that outlive a restart of the controller."""

import time
from collections.abc import Generator
from typing import Any

from repave_cli.transport.errors import CliError, UnreachableError
from repave_cli.transport.terminal import Terminal

RECONNECTS_MAX = 60
RECONNECT_SECONDS = 1.0
NEXT_SECONDS = 0.1
"""Before the next one of several controllers is asked."""


def lasting(
    terminal: Terminal,
    path: str,
    *,
    deadline: float | None = None,
    was_there: bool = False,
    after: int | None = None,
    **query: object,
) -> Generator[Any, None, None]:
    """What the stream gives, opened again when it breaks; of a log (`after`) each entry once.

    Ends at `deadline` (monotonic). Raises UnreachableError: at once if the controller was never there, else
    when it stays away.
    """
    failures = 0
    while deadline is None or time.monotonic() < deadline:
        try:
            for number, item in terminal.client.stream(path, deadline, after=after, **query):
                failures, was_there = 0, True
                after = after if after is None else number
                yield item
        except UnreachableError as error:
            failures += 1
            if not was_there or failures > RECONNECTS_MAX:
                raise
            if failures == 1:
                terminal.say(f"{error.text}; trying again")
        except CliError as error:  # of a controller of an older version, which gives all of it
            unknown = [name for name in query if query[name] and error.is_unknown_query(name)]
            if not unknown:
                raise
            query.pop(unknown[0])
            continue
        time.sleep(_pause_seconds(deadline, terminal.client.controllers > max(1, failures)))


def summed(terminal: Terminal) -> str | None:
    """As what `summary` is asked for: for people what fits a screen; all for programs, and with -o wide."""
    return "1" if terminal.format == "table" else None


def _pause_seconds(deadline: float | None, has_another: bool = False) -> float:
    """`has_another`: the next try is at a controller that has not been asked since."""
    pause = NEXT_SECONDS if has_another else RECONNECT_SECONDS
    left = pause if deadline is None else deadline - time.monotonic()
    return max(0.0, min(pause, left))
