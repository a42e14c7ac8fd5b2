"""Keeps what other controllers saved known here: applications, freezes, records, that there are events.

Reads whenever the store hints at something new, and each second behind the hints, which may be lost. What
this controller saves itself it knows without the mirror.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

import structlog

from repave_controller.core.domain.application import Application
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.ports import LeftBehind, Record, StoreError
from repave_controller.peers.ports import ChangeLog, Changes, Shard

log = structlog.get_logger()

POLL_SECONDS = 1.0

TakeRecords = Callable[[Sequence[Record]], None]
"""Hears of records of a kind that were changed; one whose state is None is gone."""


class Audience(Protocol):
    """Takes what others saved; the scheduler is one."""

    def others(self) -> Collection[Shard]:
        """The shards of other controllers."""

    def take_in(self, application: Application) -> None:
        """Of an application, as it is now."""

    def take_freezes(self, freezes: Freezes) -> None:
        """As they are now."""

    def take_events(self) -> None:
        """There are new ones in the store."""


class Mirror:
    """One for a controller. `run` must be running."""

    def __init__(self, changes: ChangeLog, audience: Audience, seen: int) -> None:
        """`seen`: the newest change that is known here."""
        self.seen = seen
        self._changes = changes
        self._audience = audience
        self._by_kind: dict[str, list[TakeRecords]] = defaultdict(list)
        self._reading = asyncio.Lock()
        self._unknown: set[Shard] = set()  # their applications have to be read whole
        self._incarnation: int | None = None  # of the store, when it was read last
        self._begun = 0  # readings
        self._read = 0  # the newest of them that came to its end

    def hear(self, kind: str, take: TakeRecords) -> None:
        """Records of this kind are told from now on."""
        self._by_kind[kind].append(take)

    async def run(self) -> None:
        """Until cancelled. Raises LeftBehind."""
        hints = self._changes.hints()
        waiting = asyncio.ensure_future(anext(hints))
        try:
            while True:
                await asyncio.wait({waiting}, timeout=POLL_SECONDS)
                if waiting.done():
                    waiting.result()
                    waiting = asyncio.ensure_future(anext(hints))
                try:
                    await self.catch_up()
                except LeftBehind:  # else it would keep shards for which it can't decide
                    raise
                except StoreError as error:
                    log.warning("mirror.behind", why=str(error))
        finally:
            waiting.cancel()

    async def catch_up(self) -> None:
        """All that was saved before this call is known after it. Raises StoreError."""
        begun_before = self._begun
        async with self._reading:
            if self._read > begun_before:
                return
            self._begun += 1
            unknown, self._unknown = self._unknown, set()
            try:
                await self._look(unknown)
            except BaseException:
                self._unknown |= unknown
                raise
            self._read = self._begun

    async def _look(self, unknown: Collection[Shard]) -> None:
        changes = await self._changes.changes(self.seen, self._audience.others())
        if self._incarnation not in (None, changes.incarnation):  # it may have lost what was read of it
            changes = await self._changes.changes(0, self._audience.others())
        whole = await self._changes.changes(0, unknown) if unknown else None
        self._take(changes)
        for application in whole.applications if whole is not None else ():
            self._audience.take_in(application)
        self.seen, self._incarnation = max(self.seen, changes.until), changes.incarnation

    def forget(self, shards: Collection[Shard]) -> None:
        """Another controller decides for them now: what it saved is read at the next look."""
        self._unknown |= set(shards)

    async def applications(self, shards: Collection[Shard]) -> Sequence[Application]:
        """Those of these shards as the store holds them now. Raises StoreError."""
        async with self._reading:  # what is read before is told before
            return (await self._changes.changes(0, shards)).applications

    def _take(self, changes: Changes) -> None:
        if changes.freezes is not None:
            self._audience.take_freezes(changes.freezes)
        kinds: dict[str, list[Record]] = defaultdict(list)
        for record in changes.records:
            kinds[record.kind].append(record)
        for kind, records in kinds.items():
            for take in self._by_kind[kind]:
                take(records)
        for application in changes.applications:
            self._audience.take_in(application)
        if changes.has_events:
            self._audience.take_events()
