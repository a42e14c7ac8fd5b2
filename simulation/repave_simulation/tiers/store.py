"""A store in memory: everything but the disk. Another one over the same `Shelf` is a restarted controller."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from repave_controller.core.domain.application import Application, Event, Instant, Tenure
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.rollout import Rollout
from repave_controller.core.ports import (
    DuplicateKey,
    Image,
    Loaded,
    Receipt,
    Record,
    StoreError,
    Transaction,
)
from repave_protos.daemon.chain import Link
from repave_protos.protocol.values import ApplicationName, Digest


@dataclass
class Shelf:
    """What outlives a controller."""

    terms: int = 0
    incarnation: int = 1
    applications: dict[ApplicationName, Application] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    rollouts: dict[tuple[ApplicationName, int], Rollout] = field(default_factory=dict)
    specs: dict[tuple[ApplicationName, str], str] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    images: dict[Digest, Image] = field(default_factory=dict)
    freezes: Freezes = field(default_factory=Freezes)
    records: dict[tuple[str, str], Record] = field(default_factory=dict)
    audit: list[Link] = field(default_factory=list)


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
        return self.put(transaction)

    def put(self, transaction: Transaction) -> tuple[Event, ...]:
        """All of it or nothing, at once."""
        self._check()
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
            shelf.specs[spec.application, spec.group] = spec.text
        shelf.freezes = transaction.freezes if transaction.freezes is not None else shelf.freezes
        shelf.records.update({(each.kind, each.name): each for each in transaction.records})
        shelf.audit += transaction.audit
        first = len(shelf.events) + 1
        events = (dataclasses.replace(event, sequence=n) for n, event in enumerate(transaction.events, first))
        shelf.events += events
        return tuple(shelf.events[first - 1 :])

    async def events(
        self, after: int = 0, application: str = "", limit: int = 1000, newest: bool = False
    ) -> Sequence[Event]:
        found = [each for each in self.shelf.events[after:] if application in ("", each.application)]
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def rollouts(self, application: ApplicationName, limit: int = 50) -> Sequence[Rollout]:
        numbers = sorted(
            (number for name, number in self.shelf.rollouts if name == application), reverse=True
        )
        return [self.shelf.rollouts[application, number] for number in numbers[:limit]]

    async def spec(self, application: ApplicationName, group: str) -> str | None:
        return self.shelf.specs.get((application, group))

    async def receipt(self, key: str) -> Receipt | None:
        return self.shelf.receipts.get(key)

    async def records(self, kind: str) -> Sequence[Record]:
        found = [each for each in self.shelf.records.values() if each.kind == kind and each.state is not None]
        return sorted(found, key=lambda each: each.name)

    async def add_image(self, image: Image) -> None:
        self._check()
        self.shelf.images.setdefault(image.digest, image)

    async def images(self) -> Sequence[Image]:
        return sorted(self.shelf.images.values(), key=lambda image: (-image.pushed_at, image.digest))

    async def audit(self, after: int = 0, limit: int = 1000, newest: bool = False) -> Sequence[Link]:
        found = self.shelf.audit[after:]
        return found[max(0, len(found) - limit) :] if newest else found[:limit]

    async def close(self) -> None:
        self._is_open = False

    def _check(self) -> None:
        if self.trouble or not self._is_open:
            raise StoreError(self.trouble or "the store is closed.")
