"""What every command works with: its arguments, where it prints, and the controller that it asks."""

import argparse
import os
import sys
from typing import TYPE_CHECKING

from repave_cli.transport.context import url
from repave_cli.transport.credentials import credentials_for
from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import USAGE
from repave_protos.daemon.printable import printable

if TYPE_CHECKING:
    from repave_cli.transport.client import Client

FORMATS = ("table", "wide", "json", "jsonl", "yaml", "name", "markdown")


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
        self._client: Client | None = None
        self.has_answered = False

    @property
    def client(self) -> "Client":
        """The API of the controller that --url, REPAVE_URL or the context names."""
        if self._client is None:
            from repave_cli.transport.client import Client  # http.client is slow to import: email, ssl

            where = url(self.arguments)
            known = credentials_for(where)
            self._client = Client(where, is_for_people=self.is_for_people, credentials=known)
        return self._client

    @property
    def is_for_people(self) -> bool:
        return self.format in ("table", "wide", "markdown")

    def out(self, text: str) -> None:
        self.has_answered = True
        print(text, flush=True)

    def write(self, text: str) -> None:
        """A part of what goes to standard output."""
        self.has_answered = True
        sys.stdout.write(text)

    def say(self, text: str) -> None:
        """Errors quote what others wrote, so what controls the terminal is escaped here."""
        print(printable(text, keeps="\n"), file=sys.stderr, flush=True)


def answered(question: str) -> str:
    """What a person types; "" at the end of the input. The question is prose: on standard error."""
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def seconds(text: str) -> float:
    """A duration such as 90s, 5m, 2h; for argparse."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    number, unit = text[:-1], text[-1:]
    if unit not in units or not number.replace(".", "", 1).isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 30s, 5m or 2h")
    return float(number) * units[unit]


def whole(text: str) -> int:
    """A whole number that is not negative; for argparse."""
    if not text.isascii() or not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; write for example 3")
    return int(text)
