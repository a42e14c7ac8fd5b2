"""What a sweep of retention costs commits that are made meanwhile, on a real disk: beside commits of the same
minute without a sweep, and the sweep's own rate."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from repave_controller.core.domain.application import Application, Event, Instant
from repave_controller.core.ports import Transaction
from repave_controller.core.rules.retention import DAY_SECONDS, Rule, Rules
from repave_controller.operations.retention import Retention
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.protocol.values import Digest
from tests.benchmarks.table import Line

NOW = Instant(1000 * DAY_SECONDS)
BATCH = 5_000
COMMITS = 200
TEXT = "the release of hello-v001 entered step weight in paris, and has given it 25 % of the traffic there"
SLOWER_MAX = 2.0


class Nothing:
    """No applications, and no packages."""

    def all_applications(self) -> tuple[Application, ...]:
        return ()

    async def catch_up(self) -> None: ...

    def note(self, event: Event) -> None: ...

    async def remove(self, digest: Digest) -> None: ...

    def was_asked_for(self, digest: Digest, since: Instant) -> bool:
        return False

    def strays(self, known: object, before: Instant) -> dict[Digest, int]:
        return {}


def run(place: Path, events: int) -> Iterator[Line]:
    yield from asyncio.run(_run(place, events))


async def _run(place: Path, events: int) -> list[Line]:
    store = SqliteStore(place / "controller.db")
    await store.open()
    for first in range(0, events, BATCH):
        old = (Event("step.entered", TEXT, "hello", "paris", at=Instant(first + n)) for n in range(BATCH))
        await store.commit(Transaction(events=tuple(old)))
    nothing = Nothing()
    retention = Retention(store, nothing, nothing, Rules(events=Rule(days=1)), lambda: NOW)
    alone = await _commits(store, COMMITS)
    began = time.perf_counter()
    sweeping = asyncio.create_task(retention.sweep())
    meanwhile: list[float] = []
    while not sweeping.done():
        meanwhile += await _commits(store, 1)
    took = time.perf_counter() - began
    alone += await _commits(store, COMMITS)
    freed = next(each for each in sweeping.result() if each.rows)
    await store.close()
    p50, floor = statistics.median(meanwhile), statistics.median(alone)
    p99, floor99 = (sorted(each)[int(len(each) * 0.99)] for each in (meanwhile, alone))
    beside = f"p50 {p50 * 1000:.1f} / {floor * 1000:.1f} ms, p99 {p99 * 1000:.1f} / {floor99 * 1000:.1f} ms"
    rate = freed.rows / took
    return [
        Line("a commit while events are removed / without, p50", p50 / floor, "x", beside, goal=SLOWER_MAX),
        Line("events removed a second, decisions first", rate, "/s", f"{freed.rows:,} events"),
    ]


async def _commits(store: SqliteStore, count: int) -> list[float]:
    """Seconds of each, one after the other, as a decision takes."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await store.commit(Transaction(events=(Event("told", TEXT, at=NOW),)))
        found.append(time.perf_counter() - began)
    return found
