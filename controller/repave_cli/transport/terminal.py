"""What every command works with: its arguments, where it prints, and how it ends. Standard library only."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from repave_cli.transport.client import Client

DONE: Final = 0
ERROR: Final = 1
USAGE: Final = 2
ROLLED_BACK: Final = 3
REFUSED: Final = 5
WAITS: Final = 6
TIMED_OUT: Final = 7
HELD: Final = 8
CHANGES: Final = 10
DETACHED: Final = 130

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name")
DEFAULT_URL = "http://127.0.0.1:7400"


class CliError(Exception):
    """The command ends with `exit_code`; the text says what is wrong and what to do."""

    def __init__(self, text: str, exit_code: int = ERROR, problem: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.exit_code = exit_code
        self.problem = problem


class Terminal:
    """Data goes to standard output, prose to standard error."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.format: str = getattr(arguments, "output", None) or os.environ.get("REPAVE_OUTPUT") or "table"
        if self.format not in FORMATS:
            raise CliError(
                f"REPAVE_OUTPUT: {self.format} is no format; there are: {', '.join(FORMATS)}", USAGE
            )
        is_smart = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self.is_interactive = is_smart and not os.environ.get("REPAVE_NO_INPUT")
        self.uses_colour = is_smart and not os.environ.get("NO_COLOR")
        self._client: Client | None = None

    @property
    def client(self) -> "Client":
        """The API of the controller that --url, REPAVE_URL or the context names."""
        if self._client is None:
            from repave_cli.transport.client import Client
            from repave_cli.transport.context import url

            self._client = Client(url(self.arguments))
        return self._client

    @property
    def is_for_people(self) -> bool:
        return self.format in ("table", "wide")

    def out(self, text: str) -> None:
        print(text, flush=True)

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def seconds(text: str) -> float:
    """A duration such as 90s, 5m, 2h; for argparse."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not number.replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 30s, 5m or 2h")
    return float(number) * units[unit]
