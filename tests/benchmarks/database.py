"""What a durable transition costs with the store in PostgreSQL, with one controller and with three, beside
the same rows saved by bare asyncpg."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from repave_controller.core.domain.application import Application, Event, Tenure
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import Transaction
from repave_controller.stores.codec import encode_application
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from repave_protos.protocol.values import ApplicationName
from tests.benchmarks.table import Line
from tests.support import postgresql

WRITERS = 100
BATCH = 100
TEXT = "a line of text for people, about as long as such lines are" * 2
TABLES = """
    CREATE TABLE application (name text PRIMARY KEY, body text);
    CREATE TABLE event (sequence bigint PRIMARY KEY, body text)
"""
OWNED = "UPDATE repave.shards SET owner = 'bench', term = 1"


def transitions(_: Path, each: int) -> Iterator[Line]:
    """One event and one application row in a transaction, fenced, from a hundred tasks, fsync and all."""
    if postgresql.binaries() is None:
        print("postgresql: it is not installed: make tools")
        return
    with postgresql.server(**postgresql.DURABLE) as server:
        bare, bare_spent = asyncio.run(_bare(server.fresh(), each))
        rate, spent = asyncio.run(_commit(server.fresh(), 1, each))
        beside = f"bare asyncpg, batches of {BATCH}: {bare:,.0f}/s"
        yield Line("durable transitions, PostgreSQL", rate, "/s", beside, 5_000, True)
        beside = f"bare asyncpg {bare_spent * 1e6:.1f} us"
        yield Line("CPU of a durable transition, PostgreSQL", spent * 1e6, "us", beside, 60)
        shared, _spent = asyncio.run(_commit(server.fresh(), 3, each))
        yield Line("durable transitions, PostgreSQL, three stores", shared, "/s", "in one process")


async def _commit(url: str, stores: int, each: int) -> tuple[float, float]:
    opened = [PostgresStore(Database(Place(url))) for _ in range(stores)]
    for store in opened:
        await store.open()
    await opened[0].database.fetch(OWNED)

    async def write(number: int) -> None:
        store, application = opened[number % stores], _an_application(number)
        event, tenure = Event("step.entered", TEXT), Tenure(1, 1)
        for _ in range(each):
            await store.commit(Transaction(application=application, events=(event,), tenure=tenure))

    await asyncio.gather(*(write(number) for number in range(WRITERS)))  # plans and pages are warm after it
    began, before = time.perf_counter(), time.process_time()
    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    wall, spent = time.perf_counter() - began, time.process_time() - before
    for store in opened:
        await store.close()
    return WRITERS * each / wall, spent / (WRITERS * each)


async def _bare(url: str, each: int) -> tuple[float, float]:
    connection = await asyncpg.connect(url)
    await connection.execute(TABLES)
    body, count = encode_application(_an_application(1)), WRITERS * each
    began, before = time.perf_counter(), time.process_time()
    for number in range(0, count, BATCH):
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO event SELECT * FROM unnest($1::bigint[], $2::text[])",
                list(range(number, number + BATCH)),
                [TEXT] * BATCH,
            )
            await connection.execute(
                "INSERT INTO application SELECT * FROM unnest($1::text[], $2::text[]) "
                "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                [f"app{writer}" for writer in range(BATCH)],
                [body] * BATCH,
            )
    wall, spent = time.perf_counter() - began, time.process_time() - before
    await connection.close()
    return count / wall, spent / count


def _an_application(number: int) -> Application:
    return Application(ApplicationName(f"app{number}"), f"app{number}", GroupNumber(1))
