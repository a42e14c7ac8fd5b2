"""Types of the CLI tests' fixtures."""

from typing import Protocol


class Ran(Protocol):
    """What a command printed and how it ended."""

    @property
    def code(self) -> int: ...
    @property
    def out(self) -> str: ...
    @property
    def err(self) -> str: ...


class Run(Protocol):
    """Runs the CLI with these arguments."""

    def __call__(self, *arguments: str) -> Ran: ...
