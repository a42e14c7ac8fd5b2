"""Whether what PostgreSQL has saved outlasts a crash or a fail-over, and whether it is the one it was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from repave_controller.core.domain.reasons import Concern
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.examination import concerns_of, note_identity
from repave_controller.stores.postgresql.place import Place
from repave_controller.wording.render import remedy_of, text_of

MADE = "INSERT INTO repave.store (one, incarnation, term, installation) VALUES (1, 1, 1, 'x')"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = Database(Place(url))
    await database.open()
    await database.fetch(MADE)
    try:
        yield database
    finally:
        await database.close()


async def test_what_a_crash_of_the_database_may_lose_is_said(database_url: str) -> None:
    async with opened(database_url) as database:
        (found,) = await concerns_of(database)  # the tests' own runs so
    assert found.kind is Concern.NOT_ON_DISK
    assert text_of(found) == "fsync = off: a crash of the database may lose commands that were acknowledged"
    assert "fsync" in remedy_of(found)


STANDBY = """CREATE VIEW repave.pg_stat_replication AS
    SELECT * FROM (VALUES {}) s(application_name, state, sync_state)"""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("('s1', 'streaming', 'sync'), ('s2', 'streaming', 'async')", ""),
        ("('s1', 'streaming', 'quorum')", ""),
        ("('base', 'backup', 'async')", ""),
        ("('s1', 'streaming', 'async')", "the standby s1 may be behind the primary"),
        ("('s1', 'streaming', 'async'), ('s2', 'catchup', 'async')", "the standbys s1, s2 may be behind"),
        ("(NULL::text, NULL::text, NULL::text)", "there is 1 standby server, and this user may not see"),
    ],
)
async def test_a_standby_that_no_commit_waits_for_is_said(database_url: str, rows: str, said: str) -> None:
    """A view in the place of PostgreSQL's own: a standby costs a second server."""
    async with opened(database_url) as database:
        await database.fetch(STANDBY.format(rows))
        name = database_url.rpartition("/")[2]
        await database.fetch(f"ALTER DATABASE {name} SET search_path = repave, pg_catalog")
    database = Database(Place(database_url))
    await database.open()
    found = [each for each in await concerns_of(database) if each.kind is not Concern.NOT_ON_DISK]
    await database.close()
    assert [text_of(each)[: len(said)] for each in found] == ([said] if said else [])
    assert all(remedy_of(each) for each in found)


async def test_a_database_that_was_restored_or_failed_over_begins_a_new_incarnation_once(
    database_url: str,
) -> None:
    async def look(database: Database) -> tuple[tuple[str, str] | None, int]:
        async with database.transaction() as connection:
            changed = await note_identity(connection)
            return changed, await connection.fetchval("SELECT incarnation FROM repave.store")

    async with opened(database_url) as database:
        assert await look(database) == (None, 1), "the first look only notes"
        assert await look(database) == (None, 1)
        (own,) = await database.fetch("SELECT system FROM repave.store")
        await database.fetch("UPDATE repave.store SET system = '7'")
        changed, incarnation = await look(database)
        assert changed == ("cluster 7 on timeline 1", f"cluster {own['system']} on timeline 1")
        assert incarnation == 2
        await database.fetch("UPDATE repave.store SET timeline = '00000009', incarnation = 20")
        assert (await look(database))[1] == 21
        assert await look(database) == (None, 21)
