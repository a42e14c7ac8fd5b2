"""A store that is timed, and whose commits are shown to the ledger. Implements ports.Store over another."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from prometheus_client import Counter, Histogram
from prometheus_client.registry import CollectorRegistry

from repave_controller.core.domain.application import Event, Tenure
from repave_controller.core.domain.rollout import Rollout
from repave_controller.core.ports import (
    Aged,
    Image,
    Kept,
    Loaded,
    Look,
    Receipt,
    Record,
    Size,
    Store,
    StoreError,
    Transaction,
)
from repave_protos.daemon.chain import Link
from repave_protos.daemon.metrics import CALL_BUCKETS
from repave_protos.protocol.values import ApplicationName

OPERATIONS = ("decision", "audit", "events", "other", "image", "read")
"""What is saved, by the most that depends on it; and reading."""


def _operation(transaction: Transaction) -> str:
    if transaction.application is not None:
        return "decision"
    if transaction.audit:
        return "audit"
    return "events" if transaction.events else "other"


class MeasuredStore:
    """`committed` hears of each transaction that was saved, `received` of each package."""

    def __init__(
        self,
        store: Store,
        registry: CollectorRegistry,
        committed: Callable[[Transaction], None],
        received: Callable[[Image], None],
        seconds: Callable[[], float],
    ) -> None:
        self._store, self._committed, self._received, self._seconds = store, committed, received, seconds
        self._durations = Histogram(
            "repave_store_operation_duration_seconds",
            "How long the store took, by what was saved; waiting for the disk is in it.",
            ("operation",),
            registry=registry,
            buckets=CALL_BUCKETS,
        )
        self._failures = Counter(
            "repave_store_failures_total",
            "Operations that the store did not do.",
            ("operation",),
            registry=registry,
        )
        for each in OPERATIONS:
            self._durations.labels(each)
            self._failures.labels(each)

    async def open(self) -> Loaded:
        return await self._store.open()

    async def begin_incarnation(self, above: int) -> Tenure:
        return await self._store.begin_incarnation(above)

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        async with self._timed(_operation(transaction)):
            events = await self._store.commit(transaction)
        self._committed(transaction)
        return events

    async def events(
        self, after: int = 0, application: str = "", limit: int = 1000, newest: bool = False
    ) -> Sequence[Event]:
        async with self._timed("read"):
            return await self._store.events(after, application, limit, newest)

    async def rollouts(
        self, application: ApplicationName, limit: int = 50, before: int | None = None
    ) -> Sequence[Rollout]:
        async with self._timed("read"):
            return await self._store.rollouts(application, limit, before)

    async def spec(self, application: ApplicationName, group: str) -> str | None:
        async with self._timed("read"):
            return await self._store.spec(application, group)

    async def receipt(self, key: str) -> Receipt | None:
        async with self._timed("read"):
            return await self._store.receipt(key)

    async def looks(
        self, application: ApplicationName, rollout: int | None = None, limit: int = 1000
    ) -> Sequence[Look]:
        async with self._timed("read"):
            return await self._store.looks(application, rollout, limit)

    async def records(self, kind: str) -> Sequence[Record]:
        async with self._timed("read"):
            return await self._store.records(kind)

    async def audit(self, after: int = 0, limit: int = 1000, newest: bool = False) -> Sequence[Link]:
        async with self._timed("read"):
            return await self._store.audit(after, limit, newest)

    async def oldest(self, kind: Kept, limit: int = 1000, after: Aged | None = None) -> Sequence[Aged]:
        async with self._timed("read"):
            return await self._store.oldest(kind, limit, after)

    async def count(self, kind: Kept) -> int:
        async with self._timed("read"):
            return await self._store.count(kind)

    async def sizes(self) -> Sequence[Size]:
        return await self._store.sizes()

    @property
    def waiting(self) -> int:
        return self._store.waiting

    async def add_image(self, image: Image) -> None:
        async with self._timed("image"):
            await self._store.add_image(image)
        self._received(image)

    async def images(self) -> Sequence[Image]:
        async with self._timed("read"):
            return await self._store.images()

    async def close(self) -> None:
        await self._store.close()

    @asynccontextmanager
    async def _timed(self, operation: str) -> AsyncIterator[None]:
        began = self._seconds()
        try:
            yield
        except StoreError:
            self._failures.labels(operation).inc()
            raise
        finally:
            self._durations.labels(operation).observe(max(0.0, self._seconds() - began))
