"""What is lost when the database, or the wire to it, fails in the middle of a commit: nothing that was
acknowledged, and nothing that was refused is there."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.stores.postgresql.connection import Bounds, Database
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from tests.support import postgresql
from tests.support.postgresql import Server, needs_postgresql
from tests.support.wire import Fate, Wire, wire

QUICK = Bounds(connect_seconds=0.5, answer_seconds=0.3, settle_seconds=0.5)


@dataclass
class Wired:
    store: PostgresStore
    wire: Wire

    async def texts(self) -> list[str]:
        return [each.text for each in await self.store.events()]


@pytest.fixture
async def wired(postgresql_server: Server, database_url: str) -> AsyncIterator[Wired]:
    async with wire(postgresql_server.port) as made:
        url = database_url.replace(f":{postgresql_server.port}", f":{made.port}")
        store = PostgresStore(Database(Place(url, direct_url=database_url)))
        await store.open()
        yield Wired(store, made)
        await store.close()


def telling(text: str) -> Transaction:
    return Transaction(events=(Event("told", text),))


async def test_a_commit_whose_answer_was_lost_is_found_to_be_saved(wired: Wired) -> None:
    await wired.store.commit(telling("first"))
    wired.wire.strike("middle", Fate.ANSWER_LOST)
    one, two = await asyncio.gather(
        wired.store.commit(telling("middle")), wired.store.commit(telling("beside"))
    )
    assert wired.wire.struck.is_set()
    assert [one[0].sequence, two[0].sequence] == [2, 3]
    (last,) = await wired.store.commit(telling("last"))
    assert last.sequence == 4
    assert await wired.texts() == ["first", "middle", "beside", "last"]


async def test_a_commit_that_was_given_up_does_nothing_however_late_it_arrives(wired: Wired) -> None:
    await wired.store.commit(telling("first"))
    wired.wire.strike("middle", Fate.HELD)
    with pytest.raises(StoreError, match="connection was lost"):
        await wired.store.commit(telling("middle"))
    await wired.store.commit(telling("last"))
    await wired.wire.deliver()
    await wired.store.commit(telling("after"))  # the late one waits for the same lock
    assert await wired.texts() == ["first", "last", "after"]


@needs_postgresql
async def test_a_database_that_is_killed_keeps_what_was_acknowledged_and_nothing_that_was_refused() -> None:
    with postgresql.server() as server:
        store = PostgresStore(Database(Place(server.fresh())))
        await store.open()
        acknowledged: list[str] = []
        refused: list[str] = []
        is_busy, is_over = asyncio.Event(), asyncio.Event()

        async def commit(text: str) -> None:
            try:
                await store.commit(telling(text))
                acknowledged.append(text)
                if len(acknowledged) == 50:
                    is_busy.set()
            except StoreError:
                refused.append(text)

        async def keep_on(name: int) -> None:
            for n in itertools.count():
                await commit(f"{name}-{n}")
                if is_over.is_set():
                    return

        working = [asyncio.create_task(keep_on(name)) for name in range(8)]
        await asyncio.wait_for(is_busy.wait(), 30.0)
        server.kill()
        server.start()
        is_over.set()
        await asyncio.wait(working)
        await commit("last")
        assert acknowledged[-1] == "last"
        stored = [each.text for each in await store.events(limit=100_000)]
        assert sorted(stored) == sorted(acknowledged)
        assert [each.sequence for each in await store.events()] == list(range(1, len(stored) + 1))
        await store.close()


async def test_a_database_that_stands_still_is_not_waited_for_without_end_and_then_it_goes_on(
    postgresql_server: Server, database_url: str
) -> None:
    store = PostgresStore(Database(Place(database_url)))
    await store.open()
    await store.commit(telling("first"))
    with postgresql_server.frozen():
        store.database.bounds = QUICK
        with pytest.raises(StoreError, match="not known whether this was saved"):
            await store.commit(telling("middle"))
        with pytest.raises(StoreError):
            await store.events()  # what it holds would be no answer
    store.database.bounds = Bounds()
    await store.commit(telling("last"))
    texts = [each.text for each in await store.events()]
    assert texts in (["first", "middle", "last"], ["first", "last"])
    await store.commit(telling("after"))
    assert [each.text for each in await store.events()] == [*texts, "after"]
    await store.close()


async def test_a_restored_database_takes_nothing_of_a_controller_that_has_seen_more(
    postgresql_server: Server, database_url: str
) -> None:
    store = PostgresStore(Database(Place(database_url)))
    await store.open()
    await store.commit(telling("first"))
    name = database_url.rpartition("/")[2]
    backup = postgresql_server.psql("SELECT writer || ' ' || number FROM repave.writers", name)
    await store.commit(telling("second"))
    writer, number = backup.split()
    seen = (await store.changes(0)).until
    postgresql_server.psql(
        f"UPDATE repave.writers SET number = {number} WHERE writer = '{writer}'; "
        "UPDATE repave.store SET change = change - 1; DELETE FROM repave.events WHERE text = 'second'",
        name,
    )
    for _ in range(2):
        with pytest.raises(StoreError, match="restored from a backup"):
            await store.commit(telling("third"))
    with pytest.raises(StoreError, match="restored from a backup"):
        await store.changes(seen)
    await store.close()


async def test_a_lock_that_another_controller_has_for_long_is_waited_for(
    postgresql_server: Server, database_url: str
) -> None:
    store, other = PostgresStore(Database(Place(database_url))), Database(Place(database_url))
    await store.open()
    await other.open()
    async with other.transaction() as connection:
        await connection.execute("SELECT 1 FROM repave.store FOR UPDATE")
        saving = asyncio.create_task(store.commit(telling("patient")))
        await connection.execute("SELECT pg_sleep(0.7)")  # longer than the bound of one try
        assert not saving.done()
    await saving
    assert [each.text for each in await store.events()] == ["patient"]
    await store.close()
    await other.close()
