"""Points in time, and what a clock on the wall of a zone shows at them. Knows no windows: windows.py does.

Zones are IANA names. Clocks are put forward (some times of that day do not exist) and back (some are there
twice); dates are those of the proleptic calendar.
"""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NewType
from zoneinfo import ZoneInfo

Instant = NewType("Instant", float)
"""Seconds of the controller's clock: Unix time that never runs backwards."""

DAY_SECONDS = 86_400


def wall_clock(at: float, zone: str) -> datetime:
    """What the zone's clocks show then; without a zone of its own, so that it is compared as it is shown."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def reached(shown: datetime, zone: str) -> Instant:
    """The first instant at which clocks show that or, where they skip it, have just skipped it: 02:30, where
    02:00 is followed by 03:00, is reached when they show 03:00."""
    at = instant_of(shown, zone)
    if wall_clock(at, zone) == shown:
        return at
    return _shift_between(math.floor(instant_of(shown, zone, is_second=True)), math.ceil(at), zone)


def instant_of(shown: datetime, zone: str, *, is_second: bool = False) -> Instant:
    """When clocks show that: the first time, or the second one of a doubled hour. Where they skip it, the
    first is after the gap and the second before it."""
    return Instant(shown.replace(tzinfo=ZoneInfo(zone), fold=int(is_second)).timestamp())


def shifts(zone: str, after: float, until: float) -> Iterator[Instant]:
    """The instants at which the zone's clocks are put forward or back; at most one a day is found."""
    at = math.floor(after)
    while at < until:
        following = at + DAY_SECONDS
        if _offset(at, zone) != _offset(following, zone):
            yield _shift_between(at, following, zone)
        at = following


def _shift_between(before: int, after: int, zone: str) -> Instant:
    """The first second that has the offset of `after`."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(middle, zone) == _offset(after, zone):
            after = middle
        else:
            before = middle
    return Instant(after)


def _offset(at: float, zone: str) -> timedelta | None:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset()


def show(at: float, zone: str) -> str:
    """`Mon 2026-01-05 09:00 Europe/Berlin`."""
    return f"{wall_clock(at, zone):%a %Y-%m-%d %H:%M} {zone}"
