"""A store in memory that several controllers share: each has a SharedMemoryStore over the same SharedShelf.

Here is what concerns decisions: the fence, conflicts, changes and hints."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from operator import itemgetter
from typing import TypeVar

from repave_controller.core.domain.application import Event, Tenure
from repave_controller.core.ports import Conflict, Fenced, Loaded, Transaction
from repave_controller.peers.ports import Changes, ControllerId, Member, Shard, Standing, shard_of
from repave_simulation.tiers.shared_letters import LettersInMemory
from repave_simulation.tiers.shared_members import MemoryRoll
from repave_simulation.tiers.shared_reports import ReportsInMemory
from repave_simulation.tiers.shared_shelf import Changed, SharedShelf
from repave_simulation.tiers.store import MemoryStore

Key = TypeVar("Key")


class SharedMemoryStore(ReportsInMemory, LettersInMemory, MemoryStore):
    """Implements ports.Store, and those of peers.ports. `controller` has it open."""

    shelf: SharedShelf

    def __init__(self, shelf: SharedShelf | None = None, controller: ControllerId = "") -> None:
        super().__init__(shelf if shelf is not None else SharedShelf())
        self.controller = controller
        self._roll = MemoryRoll(self.shelf.roster)

    async def open(self) -> Loaded:
        return dataclasses.replace(await super().open(), change=self.shelf.change)

    async def begin_incarnation(self, above: int) -> Tenure:
        tenure = await super().begin_incarnation(above)
        self.shelf.change += 1
        self.shelf.hint()
        return tenure

    def put(self, transaction: Transaction) -> tuple[Event, ...]:
        """All of it or nothing, at once. Raises Fenced, Conflict, StoreError."""
        self._check_fence(transaction)
        return self.save(transaction)

    def save(self, transaction: Transaction) -> tuple[Event, ...]:
        """The same once it has passed the fence."""
        self._check()
        self._check_incarnation(transaction)
        self._check_seen(transaction)
        events = super().put(transaction)
        self._mark(transaction)
        self.shelf.hint()
        return events

    def _check_fence(self, transaction: Transaction) -> None:
        self._check_incarnation(transaction)
        tenure, application = transaction.tenure, transaction.application
        if tenure is None or application is None:
            return
        held = self.shelf.shards[shard_of(application.name)]
        if held.owner is None or held.term != tenure.term:
            raise Fenced(
                f"{application.name} is decided by {held.owner or 'no controller'}, term {held.term}"
            )

    def _check_incarnation(self, transaction: Transaction) -> None:
        if transaction.tenure is not None and transaction.tenure.incarnation != self.shelf.incarnation:
            raise Fenced(f"the store is in incarnation {self.shelf.incarnation} by now")

    def _check_seen(self, transaction: Transaction) -> None:
        if transaction.seen is not None:
            newest = max((each.change for each in self._changed() if each.by != self.controller), default=0)
            if newest > transaction.seen:
                raise Conflict(f"another controller has saved change {newest}; {transaction.seen} was seen")
        for row in transaction.audit:
            if row.number <= len(self.shelf.audit):
                raise Conflict(f"the audit log has a row {row.number} by now")

    def _changed(self) -> Iterator[Changed]:
        """What other decisions may depend on."""
        yield from self.shelf.applications_changed.values()
        yield self.shelf.freezes_changed

    def _mark(self, transaction: Transaction) -> None:
        shelf = self.shelf
        shelf.change += 1
        changed = Changed(shelf.change, self.controller)
        if transaction.application is not None:
            shelf.applications_changed[transaction.application.name] = changed
        for record in transaction.records:
            shelf.records_changed[record.kind, record.name] = changed
        if transaction.freezes is not None:
            shelf.freezes_changed = changed
        if transaction.events:
            shelf.events_changed = shelf.change

    # -------------------------------------------------------------------------------------- changes

    async def changes(self, after: int, shards: Collection[Shard] | None = None) -> Changes:
        self._check()
        shelf = self.shelf
        names = [
            name
            for name in _newer(shelf.applications_changed, after)
            if shards is None or shard_of(name) in shards
        ]
        return Changes(
            until=shelf.change,
            incarnation=shelf.incarnation,
            applications=tuple(
                shelf.applications[name] for name in names if shards is None or shard_of(name) in shards
            ),
            records=tuple(shelf.records[key] for key in _newer(shelf.records_changed, after)),
            freezes=shelf.freezes if shelf.freezes_changed.change > after else None,
            has_events=shelf.events_changed > after,
        )

    async def hints(self) -> AsyncIterator[None]:
        hinted = asyncio.Event()
        self.shelf.listeners.append(hinted.set)
        try:
            while True:
                await hinted.wait()
                hinted.clear()
                yield None
        finally:
            self.shelf.listeners.remove(hinted.set)

    # -------------------------------------------------------------------------------------- members

    async def beat(self, member: Member) -> Standing:
        self._check()
        self.shelf.roster.incarnation = self.shelf.incarnation
        return await self._roll.beat(member)

    async def take(self, member: Member, shards: Collection[Shard]) -> Mapping[Shard, int]:
        self._check()
        return await self._roll.take(member, shards)

    async def hand_over(self, member: Member, shards: Collection[Shard]) -> None:
        self._check()
        await self._roll.hand_over(member, shards)

    async def leave(self, member: Member) -> None:
        self._check()
        await self._roll.leave(member)


def _newer(changed: Mapping[Key, Changed], after: int) -> list[Key]:
    """In the order in which they were saved."""
    found = [(each.change, key) for key, each in changed.items() if each.change > after]
    return [key for _, key in sorted(found, key=itemgetter(0))]
