"""The line: what people decided for the whole installation, beside what each application's spec says.

Anybody may stop it: then no rollout moves until somebody says go. Freezes are added and lifted, for all
applications or for those whose names match. Here are the values and what may be done to them; the scheduler
saves each change before anything follows from it, and `held` is what the decisions ask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.instants import Instant, show
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.domain.windows import Closed, Freeze, Window, closed

FREEZES_MAX = 100
GO = "repave go"


@dataclass(frozen=True, slots=True)
class Stop:
    """The line stands still."""

    by: str
    reason: str
    at: Instant


@dataclass(frozen=True, slots=True)
class NamedFreeze:
    """A freeze that a person added. `applications`: globs such as `web-*`; none: every application."""

    id: str
    begins_at: Instant
    ends_at: Instant
    zone: str
    reason: str
    by: str
    added_at: Instant
    applications: tuple[str, ...] = ()

    def concerns(self, application: str) -> bool:
        return not self.applications or any(fnmatchcase(application, glob) for glob in self.applications)

    @property
    def freeze(self) -> Freeze:
        return Freeze(self.begins_at, self.ends_at, self.zone, self.reason, self.id)


@dataclass(frozen=True, slots=True)
class Line:
    """One for the whole installation; saved whole."""

    stopped: Stop | None = None
    freezes: tuple[NamedFreeze, ...] = ()  # in the order in which they were added
    freezes_total: int = 0  # ever added: an id is never used again

    def freezes_of(self, application: str) -> tuple[Freeze, ...]:
        return tuple(each.freeze for each in self.freezes if each.concerns(application))


Changed = tuple[Line, tuple[Event, ...]]
Command = Callable[[Line, Instant], Changed]
"""What a person makes of the line. Raises Refused."""


# ------------------------------------------------------------------------------------------- what it says


def held(
    line: Line, application: str, windows: Sequence[Window], freezes: Sequence[Freeze], now: Instant
) -> Closed | None:
    """Why the application may not move now, by the line or by its own windows and freezes; None: it may."""
    if line.stopped is not None:
        return Closed("stop", describe(line.stopped), None, GO)
    return closed(windows, (*line.freezes_of(application), *freezes), now)


def describe(stop: Stop) -> str:
    why = f": {stop.reason}" if stop.reason else ""
    return f"the line was stopped by {stop.by or 'somebody'} at {show(stop.at, 'UTC')}{why}"


# ---------------------------------------------------------------------------------------- what may be done


def stop(line: Line, by: str, reason: str, now: Instant) -> Changed:
    """Nothing moves from now on. A line that stands still stays as it is: the first reason counts."""
    if line.stopped is not None:
        return line, ()
    stopped = Stop(by, reason, now)
    return replace(line, stopped=stopped), (_event("line.stopped", "the line is stopped", by, reason, now),)


def go(line: Line, by: str, reason: str, now: Instant) -> Changed:
    """Rollouts may move again. Nothing changes when they may already."""
    if line.stopped is None:
        return line, ()
    stopped_by = line.stopped.by or "somebody"
    text = f"the line that {stopped_by} stopped at {show(line.stopped.at, 'UTC')} goes on"
    return replace(line, stopped=None), (_event("line.started", text, by, reason, now),)


def add_freeze(line: Line, freeze: Freeze, applications: Sequence[str], by: str, now: Instant) -> Changed:
    """A new freeze; the same one again is the one there is. Raises Refused."""
    if freeze.ends_at <= now:
        raise Refused(Refusal.FREEZE_OVER, ended_at=freeze.ends_at, zone=freeze.zone)
    number = line.freezes_total + 1
    added = NamedFreeze(
        f"F{number}",
        freeze.begins_at,
        freeze.ends_at,
        freeze.zone,
        freeze.reason,
        by,
        now,
        tuple(applications),
    )
    current = tuple(each for each in line.freezes if each.ends_at > now)
    if any(_is_alike(each, added) for each in current):
        return line, ()
    if len(current) >= FREEZES_MAX:
        raise Refused(Refusal.TOO_MANY_FREEZES, limit=FREEZES_MAX)
    changed = replace(line, freezes=(*current, added), freezes_total=number)
    text = f"freeze {added.id} of {_whom(added)} is added: {_span(added)}"
    return changed, (_event("freeze.added", text, by, freeze.reason, now),)


def lift_freeze(line: Line, identity: str, by: str, reason: str, now: Instant) -> Changed:
    """Takes a freeze away. Raises Refused."""
    lifted = find_freeze(line, identity)
    text = f"freeze {lifted.id} of {_whom(lifted)} is lifted: {_span(lifted)}"
    changed = replace(line, freezes=tuple(each for each in line.freezes if each.id != lifted.id))
    return changed, (_event("freeze.lifted", text, by, reason, now),)


def find_freeze(line: Line, identity: str) -> NamedFreeze:
    """The freeze with this id, in upper or lower case. Raises Refused."""
    found = next((each for each in line.freezes if each.id == identity.upper()), None)
    if found is None:
        known = tuple(each.id for each in line.freezes)
        raise Refused(Refusal.UNKNOWN_FREEZE, name=identity, known=known)
    return found


def _is_alike(one: NamedFreeze, other: NamedFreeze) -> bool:
    """But for its id and for when and by whom it was added: a command that was repeated."""
    return replace(one, id="", by="", added_at=other.added_at) == replace(other, id="", by="")


def _whom(freeze: NamedFreeze) -> str:
    return ", ".join(freeze.applications) or "every application"


def _span(freeze: NamedFreeze) -> str:
    return f"from {show(freeze.begins_at, freeze.zone)} to {show(freeze.ends_at, freeze.zone)}"


def _event(kind: str, text: str, by: str, reason: str, now: Instant) -> Event:
    return Event(kind, f"{text}: {reason}" if reason else text, by=by, at=now)
