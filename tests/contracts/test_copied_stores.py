"""A store as one file: out of PostgreSQL, into it, and back, with all that it holds."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repave_controller.backups.copying import COLUMNS, copy_in, copy_out, incarnation_of
from repave_controller.core.domain.freezes import Freezes, FullFreeze
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Drop, Kept, Receipt, Record, Spec, Store, StoreError, Transaction
from repave_controller.security.audit import Entry, audit_of
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from repave_controller.stores.sqlite.store import SqliteStore
from tests.contracts.test_store import HELLO, OTHER, a_rollout, an_application, an_event, shelve


async def fill(store: Store, installation: str) -> None:
    """Something in every table, and a hole in the events."""
    await shelve(store)
    await store.commit(Transaction(application=an_application(OTHER)))
    await store.commit(
        Transaction(
            events=(an_event("Grüße \U0001f980"),),
            freezes=Freezes(FullFreeze("ann", "prices", Instant(3.0))),
            records=(Record("token", "a", "1"), Record("token", "b", "2")),
            drops=(Drop(Kept.EVENTS, ((1,),)), Drop(Kept.AUDIT, ((1,), (2,), (3,)))),
        )
    )
    await store.commit(Transaction(records=(Record("token", "b", None),)))
    audit = await audit_of(store, installation, lambda: Instant(7.0))
    await audit.add(Entry(Instant(0), "ann", "token", "", "", "release", outcome="done"))


async def content(store: Store) -> dict[str, object]:
    """All that can be read of it."""
    return {
        "events": list(await store.events()),
        "rollouts": [list(await store.rollouts(name)) for name in (HELLO, OTHER)],
        "specs": [await store.spec(HELLO, f"hello-v00{n}") for n in (1, 2, 3)],
        "receipts": [await store.receipt(f"key{n}") for n in (1, 2, 3)],
        "records": [list(await store.records(kind)) for kind in ("token", "agent")],
        "images": list(await store.images()),
        "audit": list(await store.audit()),
        "aged": [list(await store.oldest(kind)) for kind in Kept if kind is not Kept.ROLLOUTS],
    }


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(Place(database_url))
    await opened.open()
    yield opened
    await opened.close()


async def test_a_store_goes_into_the_other_kind_and_back_without_a_loss(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    store: Store = SqliteStore(first)
    loaded = await store.open()
    await fill(store, loaded.installation)
    expected = await content(store)
    await store.close()

    assert await copy_in(first, database) == ""
    moved = PostgresStore(Database(Place(database_url)))
    in_postgres = await moved.open()
    assert in_postgres.installation == loaded.installation
    assert in_postgres.tenure.incarnation == loaded.tenure.incarnation
    assert {each.name for each in in_postgres.applications} == {HELLO, OTHER}
    assert in_postgres.freezes.full is not None
    assert await content(moved) == expected
    (event,) = await moved.commit(Transaction(events=(an_event("next"),)))
    assert event.sequence == 5, "numbers go on"
    await moved.close()

    await copy_out(database, second)
    back = SqliteStore(second)
    again = await back.open()
    assert (again.installation, again.freezes) == (loaded.installation, in_postgres.freezes)
    assert {each.name for each in again.applications} == {HELLO, OTHER}
    found = await content(back)
    assert found == {**expected, "events": list(await back.events()), "aged": found["aged"]}
    assert [each.text for each in await back.events()][-1] == "next"
    await back.close()


async def test_what_is_saved_while_it_is_copied_is_in_it_whole_or_not_at_all(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """Each transaction has an event and a rollout of the same number."""
    store = PostgresStore(Database(Place(database_url)))
    await store.open()
    numbers = iter(range(1, 10_000))
    stopping = asyncio.Event()

    async def write() -> None:
        while not stopping.is_set():
            n = next(numbers)
            application = an_application(rollouts=n)
            await store.commit(
                Transaction(application=application, events=(an_event(str(n)),), rollout=a_rollout(n))
            )

    writing = asyncio.create_task(write())
    for n in range(3):
        await copy_out(database, tmp_path / f"{n}.db")
    stopping.set()
    await writing
    await store.close()
    for n in range(3):
        copy = SqliteStore(tmp_path / f"{n}.db")
        loaded = await copy.open()
        events = [int(each.text) for each in await copy.events(limit=10_000)]
        rollouts = [each.number for each in await copy.rollouts(HELLO, 10_000)]
        assert events == rollouts[::-1]
        assert [each.rollouts_total for each in loaded.applications] == events[-1:]
        await copy.close()


async def test_a_store_that_is_there_stays_unless_forced_and_is_kept_beside(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "file.db"
    store = SqliteStore(file)
    await store.open()
    await store.commit(Transaction(application=an_application(), spec=Spec(HELLO, "hello-v001", "new")))
    await store.close()
    former = PostgresStore(Database(Place(database_url)))
    await former.open()
    await former.begin_incarnation(7)
    await former.commit(Transaction(receipt=Receipt("key", "hash", "former")))
    await former.close()
    await database.fetch("INSERT INTO repave.packages VALUES ('digest', 1, 1)")
    assert await incarnation_of(database) == 8
    with pytest.raises(StoreError, match="there is a store already"):
        await copy_in(file, database)
    assert await copy_in(file, database, force=True) == "repave_before_restore_1"
    assert await copy_in(file, database, force=True) == "repave_before_restore_2"
    (row,) = await database.fetch("SELECT response FROM repave_before_restore_1.receipts")
    assert row["response"] == "former"
    assert len(await database.fetch("SELECT 1 FROM repave.packages")) == 1, "packages stay"
    moved = PostgresStore(Database(Place(database_url)))
    await moved.open()
    assert await moved.spec(HELLO, "hello-v001") == "new"
    await moved.close()
    for n in (1, 2):
        await database.fetch(f"DROP SCHEMA repave_before_restore_{n} CASCADE")


async def test_nothing_is_put_under_controllers_that_run_and_half_of_a_copy_is_none(
    database: Database, tmp_path: Path
) -> None:
    file = tmp_path / "file.db"
    store = SqliteStore(file)
    await store.open()
    await store.commit(Transaction(application=an_application()))
    await store.close()
    await database.fetch(
        "INSERT INTO repave.controllers (id, instance, url, agents, version, started_at, expires_at) "
        "VALUES ('one', 'i', '', '', '0.1', 0, now() + interval '9 s')"
    )
    with pytest.raises(StoreError, match=r"controllers run on it \(one\)"):
        await copy_in(file, database)
    await database.fetch("DELETE FROM repave.controllers")
    await database.fetch("INSERT INTO repave.audit VALUES (1, 'in the way', '')")
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(StoreError):
        await copy_in(damaged, database)
    assert await incarnation_of(database) == 0
    assert await database.fetch("SELECT 1 FROM repave.applications") == []


async def test_every_column_of_a_store_is_copied(database: Database, tmp_path: Path) -> None:
    """One that a later migration adds to either store must be named, or be found by controllers anew."""
    store = SqliteStore(tmp_path / "any.db")
    await store.open()
    sizes = {each.table for each in await store.sizes()}
    await store.close()
    assert sizes - {"seal", "free"} == set(COLUMNS)
    own = {"change", "shard", "gone_at"}
    own |= {"next_event", "event_change", "forgotten_change", "system", "timeline"}
    named = "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
    for table, columns in COLUMNS.items():
        rows = await database.fetch(named, "repave", table)
        assert {row["column_name"] for row in rows} - own == set(columns), table
