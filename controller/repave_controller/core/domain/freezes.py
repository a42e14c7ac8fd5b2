"""Freezes: what operators stopped for the whole installation, beside what each application's spec says.

One freeze of everything stops every rollout until it is lifted; named freezes stop all applications, or those
whose names match, for a time. Here are the values and what may be done to them; the scheduler saves each
change before anything follows from it, and `held` is what the decisions ask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.instants import Instant, show
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.domain.windows import Closed, Freeze, Window, closed

FREEZES_MAX = 100
UNFREEZE_ALL = "repave unfreeze --all"


@dataclass(frozen=True, slots=True)
class FullFreeze:
    """Every application is frozen, until it is lifted."""

    by: str
    reason: str
    at: Instant


@dataclass(frozen=True, slots=True)
class NamedFreeze:
    """A freeze for a time. `applications`: globs such as `web-*`; none: every application."""

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
class Freezes:
    """One for the whole installation; saved whole."""

    full: FullFreeze | None = None
    named: tuple[NamedFreeze, ...] = ()  # in the order in which they were added
    named_total: int = 0  # ever added: an id is never used again

    def of(self, application: str) -> tuple[Freeze, ...]:
        return tuple(each.freeze for each in self.named if each.concerns(application))


Changed = tuple[Freezes, tuple[Event, ...]]
Command = Callable[[Freezes, Instant], Changed]
"""What an operator makes of the freezes. Raises Refused."""


# ------------------------------------------------------------------------------------------- what it says


def held(
    known: Freezes, application: str, windows: Sequence[Window], freezes: Sequence[Freeze], now: Instant
) -> Closed | None:
    """Why the application may not move now, by the installation's freezes or its spec; None: it may."""
    if known.full is not None:
        return Closed("freeze-all", describe(known.full), None, UNFREEZE_ALL)
    return closed(windows, (*known.of(application), *freezes), now)


def describe(full: FullFreeze) -> str:
    why = f": {full.reason}" if full.reason else ""
    return f"everything is frozen by {full.by or 'an operator'} since {show(full.at, 'UTC')}{why}"


# ---------------------------------------------------------------------------------------- what may be done


def freeze_all(known: Freezes, by: str, reason: str, now: Instant) -> Changed:
    """Nothing moves from now on. Again changes nothing: the first reason counts."""
    if known.full is not None:
        return known, ()
    frozen = replace(known, full=FullFreeze(by, reason, now))
    return frozen, (_event("freeze.all.added", "everything is frozen", by, reason, now),)


def unfreeze_all(known: Freezes, by: str, reason: str, now: Instant) -> Changed:
    """Rollouts may move again. Nothing changes when they may already."""
    if known.full is None:
        return known, ()
    frozen_by = known.full.by or "an operator"
    text = f"the freeze of everything by {frozen_by} since {show(known.full.at, 'UTC')} is lifted"
    return replace(known, full=None), (_event("freeze.all.lifted", text, by, reason, now),)


def add_freeze(known: Freezes, freeze: Freeze, applications: Sequence[str], by: str, now: Instant) -> Changed:
    """A new freeze; the same one again is the one there is. Raises Refused."""
    if freeze.ends_at <= now:
        raise Refused(Refusal.FREEZE_OVER, ended_at=freeze.ends_at, zone=freeze.zone)
    number = known.named_total + 1
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
    current = tuple(each for each in known.named if each.ends_at > now)
    if any(_is_alike(each, added) for each in current):
        return known, ()
    if len(current) >= FREEZES_MAX:
        raise Refused(Refusal.TOO_MANY_FREEZES, limit=FREEZES_MAX)
    changed = replace(known, named=(*current, added), named_total=number)
    text = f"freeze {added.id} of {_whom(added)} is added: {_span(added)}"
    return changed, (_event("freeze.added", text, by, freeze.reason, now),)


def lift_freeze(known: Freezes, identity: str, by: str, reason: str, now: Instant) -> Changed:
    """Takes a freeze away. Raises Refused."""
    lifted = find_freeze(known, identity)
    text = f"freeze {lifted.id} of {_whom(lifted)} is lifted: {_span(lifted)}"
    changed = replace(known, named=tuple(each for each in known.named if each.id != lifted.id))
    return changed, (_event("freeze.lifted", text, by, reason, now),)


def find_freeze(known: Freezes, identity: str) -> NamedFreeze:
    """The freeze with this id, in upper or lower case. Raises Refused."""
    found = next((each for each in known.named if each.id == identity.upper()), None)
    if found is None:
        there = tuple(each.id for each in known.named)
        raise Refused(Refusal.UNKNOWN_FREEZE, name=identity, known=there)
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
