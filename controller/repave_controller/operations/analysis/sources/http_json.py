"""Whatever answers with JSON over HTTP: the settings say at which address, and where in the answer the values
and their times are."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from repave_controller.operations.analysis.sources.asking import Request
from repave_controller.operations.analysis.sources.credentials import Credentials
from repave_controller.operations.analysis.sources.placing import in_url
from repave_controller.operations.analysis.sources.ports import (
    POINTS_MAX,
    Point,
    Side,
    SourceError,
    Window,
    number,
)

MILLISECONDS_FROM = 1e11
"""A time that is larger counts milliseconds: as seconds it would be in the year 5138."""
_WORD = re.compile(r"[A-Za-z_][\w-]*|\[(?:\d+|\*)\]")


@dataclass(frozen=True, slots=True)
class HttpJson:
    """Implements http_source.Dialect. `values` and `times` are ways as in
    `data.points[*].value`; without `times` the
    answer is one value for the whole window. `url` has placeholders."""

    url: str
    values: str
    times: str
    credentials: Credentials = field(repr=False)
    kind: str = "http"
    are_ends: bool = False

    def objection(self, query: str) -> str:
        return ""

    def window(self, window: Window) -> Window:
        """Of an answer that is one value it is one step."""
        return (
            window
            if self.times
            else Window(window.since, window.until, max(1, int(window.until - window.since)))
        )

    def request(self, query: str, side: Side, window: Window, now: float) -> Request:
        return Request(in_url(self.url, query, side, window), self.credentials())

    def points(self, answer: Any, window: Window) -> list[Point]:
        values = [number(each) for each in values_at(answer, self.values)]
        if not self.times:
            if len(values) > 1:
                raise SourceError(
                    "the answer has several values, and the settings don't say where their times are"
                )
            return [(window.since, each) for each in values]
        times = [time_of(each) for each in values_at(answer, self.times)]
        if len(times) != len(values):
            raise SourceError(f"the answer has {len(values)} values and {len(times)} times")
        return list(zip(times, values, strict=True))


def values_at(answer: Any, path: str) -> list[Any]:
    """What is there; a name that is not there is nothing. Raises SourceError."""
    at = [answer]
    for word in _WORD.findall(path):
        if word == "[*]":
            at = [each for one in at if isinstance(one, list) for each in one]
        elif word.startswith("["):
            n = int(word[1:-1])
            at = [one[n] for one in at if isinstance(one, list) and n < len(one)]
        else:
            at = [one[word] for one in at if isinstance(one, dict) and word in one]
        if len(at) > POINTS_MAX:
            raise SourceError(f"the answer has more than {POINTS_MAX:,} values at {path}")
    return at


def time_of(value: Any) -> float:
    """Seconds or milliseconds since 1970, or ISO 8601. Raises SourceError."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            pass
    at = number(value)
    return at / 1000 if abs(at) >= MILLISECONDS_FROM else at
