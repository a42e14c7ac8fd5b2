"""Spans as values, and how their ids come about.

The ids of a trace are derived from what it is of, not drawn: any controller, also one that was started anew,
and every agent that is told the parent's id, adds to the same trace. So spans are told whole, once they are
over.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class Context(NamedTuple):
    """Where a span stands: its trace, and its own id."""

    trace: int
    span: int

    def __str__(self) -> str:
        """As W3C's `traceparent`."""
        return f"00-{self.trace:032x}-{self.span:016x}-01"

    def child(self, *names: object) -> "Context":
        """That of a span below this one, by its names."""
        return Context(self.trace, _hashed(8, str(self), *names))


def context_of(*names: object) -> Context:
    """Of the first span of the trace of what is named so."""
    trace = _hashed(16, *names)
    return Context(trace, _hashed(8, f"{trace:032x}"))


def context_in(traceparent: str) -> Context | None:
    """None: it is none."""
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return Context(int(found[1], 16), int(found[2], 16))


def _hashed(size: int, *names: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, names)).encode()).digest()[:size], "big") or 1


@dataclass(frozen=True, slots=True)
class Span:
    """Something that is over. Instants are Unix time; `error`: why it failed, "" if it did not."""

    name: str
    context: Context
    parent: Context | None
    began: float
    ended: float
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    error: str = ""
    links: tuple[Context, ...] = ()
    is_server: bool = False


class Spans(Protocol):
    """Where spans go."""

    def tell(self, span: Span) -> None:
        """Returns at once; what can't be sent in time is dropped."""

    def close(self) -> None:
        """Sends what waits, within seconds."""
