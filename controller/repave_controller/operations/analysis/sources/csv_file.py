"""A CSV file on the controller's machine that something else writes: a row has a time, what it is of, and a
column for each figure. The query names the column."""

import asyncio
import csv
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from repave_controller.operations.analysis.sources.http_json import time_of
from repave_controller.operations.analysis.sources.ports import (
    Point,
    Series,
    Side,
    SourceError,
    Window,
    number,
    on_grid,
)

FILE_BYTES_MAX = 32 * 1024 * 1024
TIME = "time"
OF = ("application", "region", "group", "version")
"""Columns that say what a row is of; a file may lack some of them."""
WINDOWS_KEPT_MAX = 4

State = tuple[int, int, int]
"""Of a file: another one is another content."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Those of a window, each with its time."""

    columns: Sequence[str]
    rows: Sequence[tuple[float, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class CsvFile:
    """Implements ports.Source. Read in a thread, once for all that is asked of the same window, and anew when
    the file has changed."""

    name: str
    path: Path
    step_seconds: int
    applications: tuple[str, ...]
    kind: str = "file"
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _kept: "OrderedDict[tuple[State, str, float, float], Rows]" = field(
        default_factory=OrderedDict, repr=False, compare=False
    )

    def step_for(self, seconds: float) -> int:
        return self.step_seconds

    def total_of(self, query: str) -> str:
        raise SourceError("say what the events are counted out of: total: ...")

    def objection(self, query: str) -> str:
        return f"it must name a column, and {query} says what a row is of" if query in (TIME, *OF) else ""

    def objection_to_sides(self, query: str) -> str:
        return ""

    async def is_by_version(self, query: str) -> bool:
        nothing = Window(0.0, 0.0, self.step_seconds)
        return "group" not in (await asyncio.to_thread(self._rows, "", nothing)).columns

    async def read(self, query: str, side: Side, window: Window) -> Series:
        return on_grid(await asyncio.to_thread(self._points, query, side, window), window)

    def _points(self, column: str, side: Side, window: Window) -> list[Point]:
        found = self._rows(side.application, window)
        if column not in found.columns:
            raise SourceError(f"{self.path} has no column {column}: it has {', '.join(found.columns)[:200]}")
        if side.group and "group" not in found.columns and "version" not in found.columns:
            raise SourceError(
                f"{self.path} has neither a column group nor version: both sides would be the same"
            )
        points = [(at, number(row[column] or None)) for at, row in found.rows if _is_of(row, side)]
        return points if side.group else _added_up(points)

    def _rows(self, application: str, window: Window) -> Rows:
        """Raises SourceError."""
        with self._lock:
            try:
                status = self.path.stat()
                state = status.st_mtime_ns, status.st_size, status.st_ino
                key = state, application, window.since, window.until
                if key not in self._kept:
                    self._kept[key] = self._parsed(status.st_size, application, window)
                    while len(self._kept) > WINDOWS_KEPT_MAX:
                        self._kept.popitem(last=False)
                return self._kept[key]
            except (OSError, UnicodeDecodeError, csv.Error) as error:
                why = getattr(error, "strerror", None) or str(error)
                raise SourceError(f"{self.path} can't be read: {why}") from None

    def _parsed(self, size: int, application: str, window: Window) -> Rows:
        if size > FILE_BYTES_MAX:
            raise SourceError(f"{self.path} is larger than {FILE_BYTES_MAX >> 20} MiB")
        with self.path.open(newline="", encoding="utf-8") as opened:
            rows = csv.DictReader(opened)
            columns = rows.fieldnames or ()
            if TIME not in columns:
                raise SourceError(f"{self.path} has no column {TIME}")
            if window.since >= window.until:
                return Rows(columns, ())
            own = (row for row in rows if row.get("application", application) == application)
            times = ((time_of(row[TIME]), row) for row in own)
            return Rows(columns, [each for each in times if window.since <= each[0] < window.until])


def _is_of(row: Mapping[str, str], side: Side) -> bool:
    own = {"group": side.group, "version": side.version} if side.group else {}
    return all(row.get(name, value) == value for name, value in own.items()) and (
        "region" not in row or row["region"] in side.regions
    )


def _added_up(points: Sequence[Point]) -> list[Point]:
    """The rows of one time together."""
    sums: dict[float, float] = {}
    for at, value in points:
        sums[at] = sums.get(at, 0.0) + value
    return sorted(sums.items())
