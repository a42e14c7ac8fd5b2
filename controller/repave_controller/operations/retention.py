"""Drops what is no longer kept from the store, and packages that no rollback needs, a few rows at a time.

Each sweep looks at the oldest rows, so one that was cut off is done again by the next. What goes is decided
by core/rules/retention.py.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol

import structlog

from repave_controller.core.domain.application import Application, Event, Instant
from repave_controller.core.domain.naming import NamingError, parse_group
from repave_controller.core.ports import Aged, Drop, Kept, Record, Store, StoreError, Transaction
from repave_controller.core.rules import retention
from repave_controller.core.rules.retention import Needed, Rules, needed_by
from repave_controller.runtime.gaps import record_of_dropped
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.audit import Audit, Entry
from repave_protos.protocol.values import Digest

log = structlog.get_logger()

SWEEP_SECONDS = 3600.0
"""Also before the first one, and a package that was asked for within it stays."""
ROWS_MAX = 500
"""Of one transaction."""
PAGE_OF_APPLICATION = 20
"""Its oldest rollouts or specs, which are looked at first."""
PACE_SECONDS = 0.05
BEHIND_SECONDS = 1.0
FORECAST_PAGES_MAX = 20
"""A forecast looks at no more pages of a kind: what it tells is then "at least"."""
ITSELF = "repave"
NUMBERED = (Kept.EVENTS, Kept.ROLLOUTS, Kept.AUDIT)


class Packages(Protocol):
    """The packages that are stored."""

    async def remove(self, digest: Digest) -> None:
        """One that is gone already is no mistake. Raises OSError, StoreError."""

    def was_asked_for(self, digest: Digest, since: Instant) -> bool: ...

    def strays(self, known: Collection[Digest], before: Instant) -> Mapping[Digest, int]:
        """Packages of before that moment which are not known, and their bytes."""


class Office(Protocol):
    """What is decided, by this controller and by others."""

    def all_applications(self) -> Iterable[Application]:
        """Also those of which only their history is left."""

    async def catch_up(self) -> None:
        """What other controllers decided until now is among them. Raises StoreError."""

    def note(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Freed:
    """Rows of a kind that go, and about what they take."""

    kind: Kept
    rows: int = 0
    bytes: int = 0
    is_all: bool = True  # False: there are more


@dataclass(frozen=True, slots=True)
class _Look:
    """What one sweep goes by."""

    needed: Needed
    now: Instant
    newest: Mapping[Kept, int] = field(default_factory=dict)  # numbers of events and audit rows
    rows: Mapping[Kept, int] = field(default_factory=dict)  # how many receipts and images there are


class Retention:
    """One for a controller."""

    def __init__(
        self,
        store: Store,
        packages: Packages,
        office: Office,
        rules: Rules,
        clock: Callable[[], Instant],
        *,
        audit: Audit | None = None,
        holds: Callable[[], str] = str,
        is_mine: Callable[[], bool] = lambda: True,
        forget: Callable[[Digest], Awaitable[None]] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`holds` says why history and packages are all kept now; "" when they need not be. `is_mine`: no
        other controller sweeps. `forget` is told of packages that go; `pause` waits for seconds."""
        self._store, self._packages, self._office = store, packages, office
        self._rules, self._clock, self._audit = rules, clock, audit
        self._holds, self._is_mine, self._forget, self._pause = holds, is_mine, forget, pause

    @property
    def rules(self) -> Rules:
        return self._rules

    @property
    def held(self) -> str:
        return self._holds()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._pause(SWEEP_SECONDS)
            try:
                if self._is_mine():
                    await self.sweep()
            except (StoreError, OSError) as error:
                log.warning("retention.stopped", why=str(error), text="it goes on with the next sweep")

    async def sweep(self) -> tuple[Freed, ...]:
        """Drops what may go. Raises StoreError, OSError; what was dropped until then stays so."""
        found = tuple([await self._sweep(kind) for kind in self._kinds()])
        for each in found:
            if each.rows:
                log.info("retention.dropped", what=each.kind, rows=each.rows, bytes=each.bytes)
        return found

    async def forecast(self) -> tuple[Freed, ...]:
        """What a sweep would drop now. Raises StoreError."""
        return tuple([await self._count(kind) for kind in self._kinds()])

    def _kinds(self) -> tuple[Kept, ...]:
        """Those that a rule bounds, and that are not held."""
        rules, free = self._rules, not self.held
        bounded = {
            Kept.EVENTS: rules.events,
            Kept.RECEIPTS: rules.receipts,
            Kept.ROLLOUTS: rules.history,
            Kept.SPECS: rules.history,
            Kept.IMAGES: rules.packages,
            Kept.AUDIT: rules.audit,
            Kept.ANALYSES: rules.analyses,
        }
        always = (Kept.EVENTS, Kept.RECEIPTS, Kept.ANALYSES)
        return tuple(
            kind
            for kind, rule in bounded.items()
            if (rule.days or rule.count)
            and (free or kind in always)
            and (kind is not Kept.AUDIT or self._audit is not None)
        )

    # ------------------------------------------------------------------------------------------ looking

    async def _look(self, kind: Kept) -> _Look:
        needed, now = needed_by(self._office.all_applications()), self._clock()
        match kind:
            case Kept.EVENTS:
                events = await self._store.events(limit=1, newest=True)
                return _Look(needed, now, newest={kind: events[-1].sequence if events else 0})
            case Kept.AUDIT:
                links = await self._store.audit(limit=1, newest=True)
                return _Look(needed, now, newest={kind: links[-1].number if links else 0})
            case Kept.RECEIPTS | Kept.IMAGES:
                return _Look(needed, now, rows={kind: await self._store.count(kind)})
        return _Look(needed, now)

    async def _pages(self, kind: Kept, look: _Look) -> AsyncIterator[list[Aged]]:
        """Rows that go, in pages, from the oldest on."""
        if kind in (Kept.ROLLOUTS, Kept.SPECS, Kept.ANALYSES):
            least = 0 if kind is Kept.ANALYSES else retention.HISTORY_LEAST
            for name, newest in sorted(look.needed.rollouts.items()):
                if newest > least:
                    async for page in self._pages_of(kind, look, name):
                        yield page
            return
        oldest: Aged | None = None
        position = 0
        while rows := await self._store.oldest(kind, ROWS_MAX, oldest):
            going = self._going(kind, look, rows, position)
            yield going
            oldest, position = rows[-1], position + len(rows)
            if kind is not Kept.IMAGES and not going:
                return  # those that come are younger

    async def _pages_of(self, kind: Kept, look: _Look, application: str) -> AsyncIterator[list[Aged]]:
        """Of one application, until a page has nothing that goes."""
        after = Aged((application, "" if kind is Kept.SPECS else 0), Instant(0))
        while page := [
            each
            for each in await self._store.oldest(kind, PAGE_OF_APPLICATION, after)
            if each.key[0] == application
        ]:
            going = self._going(kind, look, page, 0)
            if not going:
                return
            yield going
            after = page[-1]

    def _going(self, kind: Kept, look: _Look, page: Sequence[Aged], position: int) -> list[Aged]:
        """Of what is numbered, only the first ones without a gap."""
        judged = [(each, self._goes(kind, look, each, n)) for n, each in enumerate(page, position)]
        if kind in NUMBERED:
            judged = list(takewhile(lambda one: one[1], judged))
        return [each for each, goes in judged if goes]

    def _goes(self, kind: Kept, look: _Look, row: Aged, position: int) -> bool:
        """`position` counts the older ones that there were."""
        rules, needed, now, at = self._rules, look.needed, look.now, row.at
        match kind, row.key:
            case Kept.EVENTS, (int(sequence),):
                return not retention.keeps_event(rules, at, look.newest[kind] - sequence, now)
            case Kept.AUDIT, (int(number),):
                return not retention.keeps_audit(rules, at, look.newest[kind] - number, now)
            case Kept.RECEIPTS, (str(key),):
                return not retention.keeps_receipt(
                    rules, needed, key, at, look.rows[kind] - 1 - position, now
                )
            case Kept.IMAGES, (str(digest),):
                newer = look.rows[kind] - 1 - position
                return not self._keeps_package(look, Digest(digest), at, newer)
            case Kept.ROLLOUTS, (str(name), int(number)):
                return not retention.keeps_rollout(rules, needed, name, number, at, now)
            case Kept.ANALYSES, (str(name), int(number)):
                return not retention.keeps_analyses(rules, needed, name, number, at, now)
            case Kept.SPECS, (str(name), str(group)):
                of_group = _number_of(group)
                return of_group is not None and not retention.keeps_spec(
                    rules, needed, name, group, of_group, at, now
                )
        raise AssertionError(f"{kind} has no key {row.key}")

    def _keeps_package(self, look: _Look, digest: Digest, at: Instant, newer: int) -> bool:
        since = Instant(look.now - SWEEP_SECONDS)
        return self._packages.was_asked_for(digest, since) or retention.keeps_package(
            self._rules, look.needed, digest, at, newer, look.now
        )

    # ----------------------------------------------------------------------------------------- dropping

    async def _count(self, kind: Kept) -> Freed:
        look, rows, size, pages = await self._look(kind), 0, 0, 0
        async for page in self._pages(kind, look):
            rows, size, pages = rows + len(page), size + sum(each.bytes for each in page), pages + 1
            if pages >= FORECAST_PAGES_MAX:
                return Freed(kind, rows, size, is_all=False)
        return Freed(kind, rows, size)

    async def _sweep(self, kind: Kept) -> Freed:
        look, rows, size = await self._look(kind), 0, 0
        async for page in self._pages(kind, look):
            if page:
                await self._keep_pace()
                if not self._is_mine():
                    break
                dropped = await self._drop(kind, page)
                rows, size = rows + len(dropped), size + sum(each.bytes for each in dropped)
        if kind is Kept.IMAGES:
            await self._remove_strays(look)
        return Freed(kind, rows, size)

    async def _remove_strays(self, look: _Look) -> None:
        """Packages without a row go by the same rule."""
        days = self._rules.packages.days
        if not days:
            return
        before = Instant(look.now - max(days * retention.DAY_SECONDS, retention.YOUNG_SECONDS))
        known = {each.digest for each in await self._store.images()} | look.needed.packages
        strays = await asyncio.to_thread(self._packages.strays, known, before)
        rows = [Aged((digest,), before, size) for digest, size in strays.items()]
        if rows:
            await self._remove(rows)

    async def _keep_pace(self) -> None:
        """Decisions go first."""
        await self._pause(PACE_SECONDS)
        while self._store.waiting:
            await self._pause(BEHIND_SECONDS)

    async def _drop(self, kind: Kept, rows: Sequence[Aged]) -> Sequence[Aged]:
        records: tuple[Record, ...] = ()
        match kind:
            case Kept.EVENTS:
                records = (record_of_dropped(int(rows[-1].key[0]), rows[-1].at),)
            case Kept.AUDIT:
                await self._tell_audit(rows)
            case Kept.IMAGES:
                rows = await self._remove(rows)
        drops = (Drop(kind, tuple(each.key for each in rows)),)
        await self._store.commit(Transaction(drops=drops, records=records))
        return rows

    async def _remove(self, rows: Sequence[Aged]) -> Sequence[Aged]:
        """Those packages that still may go: meanwhile one may have been released, or asked for."""
        removed = []
        for each in rows:
            digest = Digest(str(each.key[0]))
            await self._office.catch_up()
            if not self._is_mine():  # this process may have stood still for long
                break
            look = _Look(needed_by(self._office.all_applications()), self._clock())
            if digest in look.needed.packages or self._packages.was_asked_for(
                digest, Instant(look.now - SWEEP_SECONDS)
            ):
                continue
            await self._packages.remove(digest)
            if self._forget is not None:
                await self._forget(digest)
            removed.append(each)
        if removed:
            names = ", ".join(str(each.key[0])[:12] for each in removed[:5])
            more = f" and {len(removed) - 5} more" if len(removed) > 5 else ""
            size = sum(each.bytes for each in removed)
            text = f"no longer kept: packages {names}{more}, {size / 1e6:,.1f} MB"
            self._office.note(Event("packages.dropped", text))
        return removed

    async def _tell_audit(self, rows: Sequence[Aged]) -> None:
        """The log itself says what is taken from it, and goes on from the hash of the last of these rows."""
        assert self._audit is not None
        last = int(rows[-1].key[0])
        (link,) = await self._store.audit(after=last - 1, limit=1)
        facts = (("through", str(link.number)), ("hash", link.hash))
        await self._audit.add(
            Entry(Instant(0), ITSELF, "local", "", "", "trim audit", outcome="done", facts=facts)
        )


def reason_to_hold(scheduler: Scheduler) -> str:
    """Why what regions may run is not known, so that no history and no package goes; "" where it is."""
    heard = scheduler.regions.views()
    served = {region for each in scheduler.all_applications() for region in each.regions}
    ahead = sorted(scheduler.fence.ahead)
    if ahead:
        return f"{ahead[0]} is ahead of the store"
    unheard = sorted(served - heard.keys())
    return f"{unheard[0]} has not been heard since this controller began" if unheard else ""


def _number_of(group: str) -> int | None:
    try:
        return parse_group(group).number
    except NamingError:
        return None
