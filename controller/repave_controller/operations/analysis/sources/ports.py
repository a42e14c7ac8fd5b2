"""What an analysis needs of a source of metrics, whichever system that is: a number for each step of a window
of time, of one of the two sides that are compared."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

POINTS_MAX = 11_000
"""Of one series, as Prometheus has it."""

Point = tuple[float, float]
"""Unix time and value; NaN: there is none."""


class SourceError(Exception):
    """Nothing could be read that can be judged. The text is shown to people: it has no credentials."""


@dataclass(frozen=True, slots=True)
class Side:
    """The server group whose figures are wanted, in these regions together; "": all groups of the
    application."""

    application: ApplicationName
    regions: tuple[RegionName, ...]
    group: GroupName
    version: str


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` on, before `until` (Unix time)."""

    since: float
    until: float
    step_seconds: int

    @property
    def slots(self) -> int:
        return max(0, int((self.until - self.since) // self.step_seconds))


@dataclass(frozen=True, slots=True)
class Series:
    """A value for each step from `begins_at` on; NaN where there is none."""

    begins_at: float
    step_seconds: int
    values: tuple[float, ...]

    @property
    def is_empty(self) -> bool:
        return all(math.isnan(each) for each in self.values)


class Source(Protocol):
    """One of the settings, or the balancer."""

    @property
    def name(self) -> str:
        """What specs call it."""

    @property
    def kind(self) -> str:
        """prometheus, ..."""

    @property
    def applications(self) -> tuple[str, ...]:
        """Whose specs may use it, as globs."""

    def step_for(self, seconds: float) -> int:
        """The least step that it has numbers for, of a time that began so long ago."""

    def total_of(self, query: str) -> str:
        """What the events of this query are counted out of, where the source knows it. Raises SourceError."""

    def objection(self, query: str) -> str:
        """Why it can't be asked this, whatever of an application is meant; "": it can."""

    def objection_to_sides(self, query: str) -> str:
        """Why the sides of a comparison would have the same numbers; "": they would not."""

    async def is_by_version(self, query: str) -> bool:
        """Whether nothing but their versions tells two groups apart. Raises SourceError."""

    async def read(self, query: str, side: Side, window: Window) -> Series:
        """What the query comes to. The grid is that of the window, or a coarser one from where it begins.
        Bounded in time and size. Raises SourceError; what is not there is NaN, and no error."""


Sources = Mapping[str, Source]


def on_grid(points: Iterable[Point], window: Window, *, are_ends: bool = False) -> Series:
    """Of several points in a slot their mean. `are_ends`: a point tells of the time before it, so that the
    one at `until` belongs in. Others are left out. Infinite values are none, nor are such times."""
    step, slots = window.step_seconds, window.slots
    sums, counts = [0.0] * slots, [0] * slots
    for at, value in points:
        if not math.isfinite(at):
            continue
        place = (at - window.since) / step
        slot = math.ceil(place) - 1 if are_ends else math.floor(place)
        if 0 <= slot < slots and math.isfinite(value):
            sums[slot] += value
            counts[slot] += 1
    values = (sums[slot] / counts[slot] if counts[slot] else math.nan for slot in range(slots))
    return Series(window.since, step, tuple(values))


def only_one(series: list[list[Point]], what: str) -> list[Point]:
    """None is a series without points. Raises SourceError for several."""
    if len(series) > 1:
        raise SourceError(
            f"the query has {len(series)} {what}, and must have one: add them up, or choose one"
        )
    if series and len(series[0]) > POINTS_MAX:
        raise SourceError(
            f"the series has {len(series[0]):,} points, more than {POINTS_MAX:,}: take longer steps"
        )
    return series[0] if series else []


def number(value: object) -> float:
    """Of JSON, also as text, as Prometheus has it; null is NaN. Raises SourceError."""
    if value is None:
        return math.nan
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise SourceError(f"the source answered {str(value)[:60]!a} where a number was expected") from None
