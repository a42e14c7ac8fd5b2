"""A store in memory: everything but the disk. Another one over the same `Shelf` is a restarted controller."""

import dataclasses
import json
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from repave_controller.core.domain.application import Application, Event, Instant, Tenure
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.rollout import Rollout
from repave_controller.core.ports import (
    Aged,
    Conflict,
    Drop,
    DuplicateKey,
    Image,
    Kept,
    Loaded,
    Look,
    Receipt,
    Record,
    Size,
    Spec,
    StoreError,
    Transaction,
)
from repave_controller.stores.receipts import with_receipt
from repave_protos.daemon.chain import Link
from repave_protos.protocol.values import ApplicationName, Digest

Row = TypeVar("Row")


@dataclass
class Shelf:
    """What outlives a controller."""

    terms: int = 0
    incarnation: int = 1
    applications: dict[ApplicationName, Application] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    next_event: int = 1
    rollouts: dict[tuple[ApplicationName, int], Rollout] = field(default_factory=dict)
    specs: dict[tuple[ApplicationName, str], Spec] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    images: dict[Digest, Image] = field(default_factory=dict)
    freezes: Freezes = field(default_factory=Freezes)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    audit: list[Link] = field(default_factory=list)
    looks: dict[tuple[ApplicationName, int, str], Look] = field(default_factory=dict)


class MemoryStore:
    """Implements ports.Store. While `trouble` is set every commit fails with it."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self.shelf = shelf if shelf is not None else Shelf()
        self.trouble = ""
        self._is_open = False

    async def open(self) -> Loaded:
        self._is_open = True
        self.shelf.terms += 1
        applications = tuple(self.shelf.applications[name] for name in sorted(self.shelf.applications))
        newest = max((event.at for event in self.shelf.events), default=Instant(0.0))
        tenure = Tenure(self.shelf.incarnation, self.shelf.terms)
        return Loaded(tenure, "memory", applications, newest, self.shelf.freezes)

    async def begin_incarnation(self, above: int) -> Tenure:
        self._check()
        self.shelf.incarnation = max(self.shelf.incarnation, above) + 1
        return Tenure(self.shelf.incarnation, self.shelf.terms)

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        async with with_receipt(transaction) as whole:
            return self.put(whole)

    def put(self, transaction: Transaction) -> tuple[Event, ...]:
        """All of it or nothing, at once."""
        self._check()
        for record in transaction.expected:
            there = self.shelf.records.get((record.kind, record.name))
            if (there.state if there is not None else None) != record.state:
                raise Conflict(f"{record.kind} {record.name} is another one by now")
        shelf, receipt, spec = self.shelf, transaction.receipt, transaction.spec
        if receipt is not None:
            known = shelf.receipts.setdefault(receipt.key, receipt)
            if known.body_hash != receipt.body_hash:
                raise DuplicateKey(f"the key {receipt.key!r} was used for another request; use a new key")
        if transaction.application is not None:
            shelf.applications[transaction.application.name] = transaction.application
            if transaction.rollout is not None:
                shelf.rollouts[transaction.application.name, transaction.rollout.number] = transaction.rollout
        if spec is not None:
            shelf.specs[spec.application, spec.group] = spec
        shelf.freezes = transaction.freezes if transaction.freezes is not None else shelf.freezes
        shelf.records.update({(each.kind, each.name): each for each in transaction.records})
        shelf.audit += transaction.audit
        shelf.looks.update({(each.application, each.rollout, each.id): each for each in transaction.looks})
        numbered = enumerate(transaction.events, shelf.next_event)
        events = tuple(dataclasses.replace(event, sequence=n) for n, event in numbered)
        shelf.next_event += len(events)
        shelf.events += events
        for drop in transaction.drops:
            self._drop(drop)
        return events

    async def events(
        self, after: int = 0, application: str = "", limit: int = 1000, newest: bool = False
    ) -> Sequence[Event]:
        found = [
            each
            for each in _above(self.shelf.events, after, _sequence)
            if application in ("", each.application)
        ]
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def rollouts(
        self, application: ApplicationName, limit: int = 50, before: int | None = None
    ) -> Sequence[Rollout]:
        known = (number for name, number in self.shelf.rollouts if name == application)
        numbers = sorted((each for each in known if before is None or each < before), reverse=True)
        return [self.shelf.rollouts[application, number] for number in numbers[:limit]]

    async def spec(self, application: ApplicationName, group: str) -> str | None:
        found = self.shelf.specs.get((application, group))
        return found.text if found is not None else None

    async def receipt(self, key: str) -> Receipt | None:
        return self.shelf.receipts.get(key)

    async def looks(
        self, application: ApplicationName, rollout: int | None = None, limit: int = 1000
    ) -> Sequence[Look]:
        of = [each for each in self.shelf.looks.values() if each.application == application]
        number = rollout if rollout is not None else max((each.rollout for each in of), default=0)
        found = sorted((each for each in of if each.rollout == number), key=lambda each: (each.at, each.id))
        return found[max(0, len(found) - limit) :]

    async def records(self, kind: str) -> Sequence[Record]:
        found = [each for each in self.shelf.records.values() if each.kind == kind and each.state is not None]
        return sorted(found, key=lambda each: each.name)

    async def add_image(self, image: Image) -> None:
        self._check()
        known = self.shelf.images.get(image.digest, image)
        at = max(known.pushed_at, image.pushed_at)
        self.shelf.images[image.digest] = dataclasses.replace(known, pushed_at=at)

    async def images(self) -> Sequence[Image]:
        return sorted(self.shelf.images.values(), key=lambda image: (-image.pushed_at, image.digest))

    async def audit(self, after: int = 0, limit: int = 1000, newest: bool = False) -> Sequence[Link]:
        found = _above(self.shelf.audit, after, _number)
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def oldest(self, kind: Kept, limit: int = 1000, after: Aged | None = None) -> Sequence[Aged]:
        is_by_age = kind in (Kept.RECEIPTS, Kept.IMAGES)

        def order(each: Aged) -> tuple[Any, ...]:
            return (each.at, *each.key) if is_by_age else each.key

        rows = sorted(self._aged(kind), key=order)
        return [each for each in rows if after is None or order(each) > order(after)][:limit]

    async def count(self, kind: Kept) -> int:
        return len(self._aged(kind))

    async def sizes(self) -> Sequence[Size]:
        found = {kind: self._aged(kind) for kind in Kept}
        return [
            Size(kind, len(rows), sum(each.bytes for each in rows)) for kind, rows in sorted(found.items())
        ]

    @property
    def waiting(self) -> int:
        return 0

    def _aged(self, kind: Kept) -> list[Aged]:
        shelf = self.shelf
        match kind:
            case Kept.EVENTS:
                return [Aged((each.sequence,), each.at, len(each.text)) for each in shelf.events]
            case Kept.RECEIPTS:
                return [Aged((key,), each.at, len(each.response)) for key, each in shelf.receipts.items()]
            case Kept.ROLLOUTS:
                return [Aged(key, each.started_at) for key, each in shelf.rollouts.items()]
            case Kept.SPECS:
                return [Aged(key, each.at, len(each.text)) for key, each in shelf.specs.items()]
            case Kept.IMAGES:
                return [Aged((key,), each.pushed_at, each.size_bytes) for key, each in shelf.images.items()]
            case Kept.AUDIT:
                at = [Instant(json.loads(each.text).get("at", 0.0)) for each in shelf.audit]
                return [Aged((each.number,), at[n], len(each.text)) for n, each in enumerate(shelf.audit)]
            case Kept.ANALYSES:
                looks = shelf.looks.values()
                return [Aged((each.application, each.rollout), each.at, len(each.details)) for each in looks]

    def _drop(self, drop: Drop) -> None:
        shelf, keys = self.shelf, set(drop.keys)
        match drop.kind:
            case Kept.EVENTS:
                shelf.events = [each for each in shelf.events if (each.sequence,) not in keys]
            case Kept.RECEIPTS:
                shelf.receipts = {key: each for key, each in shelf.receipts.items() if (key,) not in keys}
            case Kept.ROLLOUTS:
                shelf.rollouts = {key: each for key, each in shelf.rollouts.items() if key not in keys}
            case Kept.SPECS:
                shelf.specs = {key: each for key, each in shelf.specs.items() if key not in keys}
            case Kept.IMAGES:
                shelf.images = {key: each for key, each in shelf.images.items() if (key,) not in keys}
            case Kept.AUDIT:
                shelf.audit = [each for each in shelf.audit if (each.number,) not in keys]
            case Kept.ANALYSES:
                shelf.looks = {key: each for key, each in shelf.looks.items() if key[:2] not in keys}

    async def close(self) -> None:
        self._is_open = False

    def _check(self) -> None:
        if self.trouble or not self._is_open:
            raise StoreError(self.trouble or "the store is closed.")


def _above(rows: Sequence[Row], after: int, number: Callable[[Row], int]) -> Sequence[Row]:
    """Of rows in order of their number, those above `after`."""
    return rows[bisect_right(rows, after, key=number) :]


def _sequence(event: Event) -> int:
    return event.sequence


def _number(link: Link) -> int:
    return link.number
