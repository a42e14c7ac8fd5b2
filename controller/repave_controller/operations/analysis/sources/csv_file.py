"""A CSV file on the controller's machine that something else writes: a row has a time, what it is of, and a
column for each figure. The query names the column."""

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class CsvFile:
    """Implements ports.Source. Read in a thread, each time anew."""

    name: str
    path: Path
    step_seconds: int
    applications: tuple[str, ...]
    kind: str = "file"

    def total_of(self, query: str) -> str:
        raise SourceError("say what the events are counted out of: total: ...")

    def objection(self, query: str) -> str:
        return f"it must name a column, and {query} says what a row is of" if query in (TIME, *OF) else ""

    def is_by_version(self, query: str) -> bool:
        return False  # which columns it has is seen when it is read

    async def read(self, query: str, side: Side, window: Window) -> Series:
        points = await asyncio.to_thread(self._points, query, side, window)
        return on_grid(points, window)

    def _points(self, column: str, side: Side, window: Window) -> list[Point]:
        try:
            if self.path.stat().st_size > FILE_BYTES_MAX:
                raise SourceError(f"{self.path} is larger than {FILE_BYTES_MAX >> 20} MiB")
            with self.path.open(newline="", encoding="utf-8") as opened:
                rows = csv.DictReader(opened)
                self._check(rows.fieldnames or (), column)
                return [
                    (at, number(row[column] or None))
                    for row in rows
                    if _is_of(row, side) and window.since <= (at := time_of(row[TIME])) < window.until
                ]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise SourceError(f"{self.path} can't be read: {why}") from None

    def _check(self, columns: Sequence[str], wanted: str) -> None:
        """Raises SourceError."""
        if TIME not in columns:
            raise SourceError(f"{self.path} has no column {TIME}")
        if "group" not in columns and "version" not in columns:
            raise SourceError(
                f"{self.path} has neither a column group nor version: both sides would be the same"
            )
        if wanted not in columns:
            raise SourceError(f"{self.path} has no column {wanted}: it has {', '.join(columns)[:200]}")


def _is_of(row: dict[str, str], side: Side) -> bool:
    own = {"application": side.application, "group": side.group, "version": side.version}
    return all(row.get(name, value) == value for name, value in own.items()) and (
        "region" not in row or row["region"] in side.regions
    )
