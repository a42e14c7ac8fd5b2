"""Freezes: what operators stopped for the whole installation, beside what each application's spec says.

One freeze of everything stops every rollout until it is lifted; named freezes stop all applications, or those
whose names match, for a time. Here are the values and what may be done to them; the scheduler saves each
change before anything follows from it, and `held` is what the decisions ask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Happening, Reason, Refusal, Refused, Rule, cli, reason_of
from repave_controller.core.domain.windows import Closed, Freeze, Window, closed
from repave_protos.protocol.copies import replace

FREEZES_MAX = 100


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
        by, at, why = known.full.by, known.full.at, known.full.reason
        remedy = cli("unfreeze", all=True)
        return Closed(reason_of(Rule.FREEZE_ALL, remedy, by=by, at=at, reason=why), None)
    return closed(windows, (*known.of(application), *freezes), now)


# ---------------------------------------------------------------------------------------- what may be done


def freeze_all(known: Freezes, by: str, reason: str, now: Instant) -> Changed:
    """Nothing moves from now on. Again changes nothing: the first reason counts."""
    if known.full is not None:
        return known, ()
    frozen = replace(known, full=FullFreeze(by, reason, now))
    what = reason_of(Happening.ALL_FROZEN, reason=reason)
    return frozen, (Event("freeze.all.added", by=by, at=now, what=what),)


def unfreeze_all(known: Freezes, by: str, reason: str, now: Instant) -> Changed:
    """Rollouts may move again. Nothing changes when they may already."""
    if known.full is None:
        return known, ()
    what = reason_of(Happening.ALL_UNFROZEN, by=known.full.by, at=known.full.at, reason=reason)
    return replace(known, full=None), (Event("freeze.all.lifted", by=by, at=now, what=what),)


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
    what = _of_freeze(Happening.FREEZE_ADDED, added, freeze.reason)
    return changed, (Event("freeze.added", by=by, at=now, what=what),)


def lift_freeze(known: Freezes, identity: str, by: str, reason: str, now: Instant) -> Changed:
    """Takes a freeze away. Raises Refused."""
    lifted = find_freeze(known, identity)
    changed = replace(known, named=tuple(each for each in known.named if each.id != lifted.id))
    what = _of_freeze(Happening.FREEZE_LIFTED, lifted, reason)
    return changed, (Event("freeze.lifted", by=by, at=now, what=what),)


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


def _of_freeze(kind: Happening, freeze: NamedFreeze, reason: str) -> Reason:
    return reason_of(
        kind,
        name=freeze.id,
        applications=freeze.applications,
        begins_at=freeze.begins_at,
        ends_at=freeze.ends_at,
        zone=freeze.zone,
        reason=reason,
    )
