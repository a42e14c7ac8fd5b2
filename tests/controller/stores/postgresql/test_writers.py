"""Who has saved in PostgreSQL: a row for each start, and which of them are kept."""

import asyncpg
import pytest

from repave_controller.core.domain.application import Application
from repave_controller.core.domain.freezes import Freezes, FullFreeze
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import Conflict, LeftBehind, Transaction
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.schema import MIGRATIONS, migrate
from repave_controller.stores.postgresql.store import PostgresStore
from repave_protos.protocol.values import ApplicationName

FROZEN = Freezes(full=FullFreeze("ann", "why", Instant(1.0)))
MEMBER = """
    INSERT INTO repave.controllers VALUES ('a', $1, '', '', '1', 0, clock_timestamp() - interval '2 days')
"""


async def started(url: str) -> PostgresStore:
    store = PostgresStore(Database(Place(url)))
    await store.open()
    return store


async def saves(store: PostgresStore, name: str) -> None:
    application = Application(ApplicationName(name), name, GroupNumber(1))
    await store.commit(Transaction(application=application))


async def of_before(url: str, name: str = "") -> str:
    """A process that was there two hours ago; what it saved last is `name`."""
    store = await started(url)
    if name:
        await saves(store, name)
    await store.database.fetch(
        "UPDATE repave.writers SET at = at - interval '2 hours' WHERE writer = $1", store.writer_name
    )
    await store.close()
    return store.writer_name


async def kept(store: PostgresStore) -> set[str]:
    return {row["writer"] for row in await store.database.fetch("SELECT writer FROM repave.writers")}


async def test_a_start_forgets_those_that_are_gone_but_for_the_two_newest_changes(database_url: str) -> None:
    gone = [await of_before(database_url, "shop") for _ in range(3)] + [await of_before(database_url)]
    young, now = await started(database_url), await started(database_url)
    assert await kept(now) == {*gone[1:3], young.writer_name, now.writer_name}
    for each in (young, now):
        await saves(each, "shop")
        await each.close()


async def test_one_that_is_there_and_has_saved_nothing_for_long_goes_on(database_url: str) -> None:
    quiet = await started(database_url)
    await quiet.database.fetch(MEMBER, quiet.writer_name)
    await quiet.database.fetch("UPDATE repave.writers SET at = at - interval '2 days'")
    for _ in range(3):
        await of_before(database_url, "shop")
    await saves(quiet, "wiki")
    await quiet.close()


async def test_what_others_saved_last_is_known_after_they_are_forgotten(database_url: str) -> None:
    for name in ("cart", "mail", "shop"):
        await of_before(database_url, name)
    store = await started(database_url)
    change = (await store.changes(0)).until
    with pytest.raises(Conflict, match=f"another controller has saved change {change}"):
        await store.commit(Transaction(freezes=FROZEN, seen=change - 1))
    await store.commit(Transaction(freezes=FROZEN, seen=change))
    await store.close()


async def test_one_that_was_forgotten_saves_nothing_more(database_url: str) -> None:
    late = await started(database_url)
    await late.database.fetch("UPDATE repave.writers SET at = at - interval '2 hours'")
    for _ in range(2):
        await of_before(database_url, "shop")
    await of_before(database_url)
    assert late.writer_name not in await kept(late)
    with pytest.raises(LeftBehind, match="restart it"):
        await saves(late, "wiki")
    await late.close()


async def test_a_store_of_before_is_taken_on(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    async with connection.transaction():
        assert await migrate(connection, "here", MIGRATIONS[:2]) == (0, 2)
        await connection.execute("INSERT INTO repave.store VALUES (1, 1, 0, 'x')")
        await connection.execute("INSERT INTO repave.writers VALUES ('w', 0, 0, 0, '{}', '{}')")
    await connection.close()
    store = await started(database_url)
    assert await kept(store) == {"w", store.writer_name}
    await saves(store, "shop")
    await store.close()
