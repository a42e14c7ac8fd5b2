"""Is an application's release allowed to move now, by its windows and freezes; if not, from when on?

A window by days and times is open while a clock on the wall of its zone shows a time in it: nothing of it is
left on a day that skips these times, and it is open in both of two hours with the same name. A window by cron
opens when cron would run and stays open for so many seconds that pass. No windows: always open; several:
while any of them is. A freeze wins over all windows. The freezes of the whole installation are freezes.py's.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal

from cronsim import CronSim

from repave_controller.core.domain.instants import (
    DAY_SECONDS,
    Instant,
    instant_of,
    reached,
    shifts,
    wall_clock,
)
from repave_controller.core.domain.reasons import Reason, Rule, cli, reason_of

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
QUARTER_SECONDS = 15 * 60
DAYS_SEARCHED = 16
"""A window by days opens in each week, but for one that falls into an hour which is skipped."""
CRON_SECONDS_SEARCHED = 366 * DAY_SECONDS


@dataclass(frozen=True, slots=True)
class Window:
    """Times in which releases may move: by `days` and minutes of the day, or, with `cron`, by that.

    Over midnight when `to_minute` is not after `from_minute`; it then belongs to the day on which it begins.
    """

    days: tuple[Day, ...] = DAYS
    from_minute: int = 0
    to_minute: int = DAY_MINUTES  # the first one that is out again
    zone: str = "UTC"
    cron: str = ""  # five fields
    duration_seconds: float = 0.0  # with cron: how long it stays open


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing is released. `name`: of one that a person added, "" for one of the spec."""

    begins_at: Instant
    ends_at: Instant  # the first instant that is free again
    zone: str = "UTC"  # in which it is shown
    reason: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Closed:
    """Why nothing may move now. `opens_at`: None when it is not known."""

    reason: Reason
    opens_at: Instant | None


def closed(windows: Sequence[Window], freezes: Sequence[Freeze], now: Instant) -> Closed | None:
    """What is in the way now; None while it is open. Found anew at each call, for nothing is kept."""
    frozen_by = _longest(freezes, now)
    if frozen_by is not None:
        return _frozen(frozen_by, opens_at(windows, freezes, now), now)
    if is_open(windows, now):
        return None
    return _between_windows(windows, opens_at(windows, freezes, now), now)


def is_open(windows: Sequence[Window], at: float) -> bool:
    """Whether the windows alone are open."""
    return not windows or any(_is_in(window, at) for window in windows)


def opens_at(windows: Sequence[Window], freezes: Sequence[Freeze], now: Instant) -> Instant | None:
    """The first instant from now on that is in a window and in no freeze; None when there is none within a
    year, or for windows by days within two weeks, after the freezes."""
    at = now
    while True:
        freeze = _longest(freezes, at)
        if freeze is not None:
            at = freeze.ends_at
        elif is_open(windows, at):
            return at
        else:
            opening = _next_opening(windows, at)
            if opening is None:
                return None
            at = opening


def openings(windows: Sequence[Window], begin: Instant, end: Instant) -> Iterator[tuple[Instant, Instant]]:
    """Each time between these in which the windows are open, in order; freezes are not looked at."""
    at = begin
    while at < end:
        opening = at if is_open(windows, at) else _next_opening(windows, at)
        if opening is None or opening >= end:
            return
        at = _closing(windows, opening, end)
        yield opening, at


def _closing(windows: Sequence[Window], opened: Instant, end: Instant) -> Instant:
    """To the second. What is closed for less than a quarter of an hour may count as open."""
    before, at = opened, opened
    while at < end and is_open(windows, at):
        before, at = at, Instant(min(end, at + QUARTER_SECONDS))
    if is_open(windows, at):
        return end
    while at - before > 1:
        middle = Instant((before + at) // 2)
        before, at = (middle, at) if is_open(windows, middle) else (before, middle)
    return at


def _longest(freezes: Iterable[Freeze], at: float) -> Freeze | None:
    """Of those that are on, the one that ends last."""
    on = [freeze for freeze in freezes if freeze.begins_at <= at < freeze.ends_at]
    return max(on, key=lambda freeze: freeze.ends_at, default=None)


# -------------------------------------------------------------------------------------------- one window


def _is_in(window: Window, at: float) -> bool:
    if window.cron:
        fired_at = _next_firing(window, at - window.duration_seconds)
        return fired_at is not None and fired_at <= at
    shown = wall_clock(at, window.zone)
    minute, today = shown.hour * 60 + shown.minute, shown.weekday()
    if window.from_minute < window.to_minute:
        return DAYS[today] in window.days and window.from_minute <= minute < window.to_minute
    began_today = DAYS[today] in window.days and minute >= window.from_minute
    began_yesterday = DAYS[today - 1] in window.days and minute < window.to_minute
    return began_today or began_yesterday


def _next_opening(windows: Sequence[Window], after: float) -> Instant | None:
    """Of windows that are all closed: the first instant at which one opens."""
    found = (_next_firing(each, after) if each.cron else _next_by_days(each, after) for each in windows)
    return min((opening for opening in found if opening is not None), default=None)


def _next_firing(window: Window, after: float) -> Instant | None:
    """When cron would run next, strictly after that: once in an hour that is there twice, and for what is
    skipped when it has been skipped. cronsim counts without zones: it can't differ from our clocks."""
    for shown in CronSim(window.cron, wall_clock(math.floor(after), window.zone)):
        at = reached(shown, window.zone)
        if at > after + CRON_SECONDS_SEARCHED:
            return None
        if at > after:  # clocks that show an hour for the second time have run there already
            return at
    return None


def _next_by_days(window: Window, after: float) -> Instant | None:
    candidates = sorted(at for at in _possible_openings(window, after) if at > after)
    return next((at for at in candidates if _is_in(window, at)), None)


def _possible_openings(window: Window, after: float) -> Iterator[Instant]:
    """A window opens when clocks show its beginning, or jump into it."""
    today = wall_clock(after, window.zone).date()
    begins = time(window.from_minute // 60, window.from_minute % 60)
    for days in range(-1, DAYS_SEARCHED):
        date = today + timedelta(days=days)
        if DAYS[date.weekday()] in window.days:
            shown = datetime.combine(date, begins)
            yield instant_of(shown, window.zone)
            yield instant_of(shown, window.zone, is_second=True)
    yield from shifts(window.zone, after, after + DAYS_SEARCHED * DAY_SECONDS)


# --------------------------------------------------------------------------------------------- the answer


def _frozen(freeze: Freeze, opening: Instant | None, now: Instant) -> Closed:
    reason = reason_of(
        Rule.FREEZE,
        *((cli("unfreeze", freeze.name),) if freeze.name else ()),
        name=freeze.name,
        ends_at=freeze.ends_at,
        zone=freeze.zone,
        reason=freeze.reason,
        opens_at=opening,
        now=now,
    )
    return Closed(reason, opening)


def _between_windows(windows: Sequence[Window], opening: Instant | None, now: Instant) -> Closed:
    """Times are shown in the zone of the window that opens next."""
    opened = (each for each in windows if opening is not None and _is_in(each, opening))
    zone = next(opened, windows[0]).zone
    named = tuple(describe(each) for each in windows)
    return Closed(reason_of(Rule.WINDOW, windows=named, zone=zone, opens_at=opening, now=now), opening)


def describe(window: Window) -> str:
    """`mon-thu 09:00-16:00 Europe/Berlin`, `cron 0 9 * * mon-fri for 7 h Europe/Berlin`"""
    if window.cron:
        return f"cron {window.cron} for {_length(window.duration_seconds)} {window.zone}"
    times = f"{_clock(window.from_minute)}-{_clock(window.to_minute)}"
    return f"{_days(window.days)} {times} {window.zone}"


def _days(days: Sequence[Day]) -> str:
    """Days that follow each other in the week as one: `mon-thu,sat`."""
    runs: list[list[Day]] = []
    for number, day in enumerate(DAYS):
        if day in days:
            if runs and DAYS[number - 1] == runs[-1][-1]:
                runs[-1].append(day)
            else:
                runs.append([day])
    return ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _length(seconds: float) -> str:
    for size, unit in ((DAY_SECONDS, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"
