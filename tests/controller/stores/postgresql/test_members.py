"""What PostgreSQL and what is before it do to leases and locks of controllers."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from repave_controller.peers.ports import Member, Seen
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.members import Members
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from tests.fakes.waiting import until, until_async
from tests.support.postgresql import Server, needs_pgbouncer, pgbouncer

A = Member("a", "a-1", "http://a:7400", "a:7443", "1.0", 12.5)
B = Member("b", "b-1", "http://b:7400", "b:7443", "1.0", 12.5)


@asynccontextmanager
async def joined(url: str, direct_url: str = "") -> AsyncIterator[tuple[Database, Members]]:
    database = Database(Place(url, direct_url))
    members = Members(database, random.Random())
    await database.open()
    await database.fetch(
        "INSERT INTO repave.store (one, incarnation, term, installation) VALUES (1, 1, 1, 'x') "
        "ON CONFLICT DO NOTHING"
    )
    await until(lambda: database.session.connection or not database.keeps_sessions)
    try:
        yield database, members
    finally:
        members.close()
        await database.close()


async def seen(members: Members, member: Member, name: str) -> Seen:
    return {each.member.id: each for each in (await members.beat(member)).members}[name]


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "session"])
async def test_behind_a_pooler_the_lease_alone_tells(
    postgresql_server: Server, database_url: str, mode: str
) -> None:
    async with AsyncExitStack() as stack:
        port = stack.enter_context(pgbouncer(postgresql_server, mode=mode, default_pool_size="2"))
        pooled = database_url.replace(f":{postgresql_server.port}", f":{port}")
        database, a = await stack.enter_async_context(joined(pooled))
        _, b = await stack.enter_async_context(joined(database_url))
        assert not database.keeps_sessions
        assert (await seen(a, A, "a")).holds_lock is None
        assert (await seen(b, B, "b")).holds_lock is True
        assert await a.take(A, [1, 2]) == {1: 1, 2: 1}
        assert await b.take(B, [1, 3]) == {3: 1}
        found = await seen(b, B, "a")
        assert (found.is_live, found.holds_lock) == (True, None)


@needs_pgbouncer
async def test_a_direct_way_beside_the_pooler_keeps_the_lock(
    postgresql_server: Server, database_url: str
) -> None:
    with pgbouncer(postgresql_server) as port:
        pooled = database_url.replace(f":{postgresql_server.port}", f":{port}")
        async with joined(pooled, database_url) as (_, a):
            assert (await seen(a, A, "a")).holds_lock is True
            assert await a.take(A, [1]) == {1: 1}


async def test_one_whose_session_was_ended_says_so_at_once_and_takes_a_new_lock(database_url: str) -> None:
    async with joined(database_url) as (database, a):
        await a.beat(A)
        session = database.session.connection
        assert session is not None
        await database.fetch("SELECT pg_terminate_backend($1)", session.get_server_pid())
        await until(session.is_closed)
        assert (await seen(a, A, "a")).holds_lock is not False, "else others would take its shards"
        await until(lambda: database.session.connection)

        async def holds_lock() -> bool:
            return (await seen(a, A, "a")).holds_lock is True

        await until_async(holds_lock)


async def test_a_shard_in_the_middle_of_a_commit_is_left_until_that_is_done(database_url: str) -> None:
    async with joined(database_url) as (database, a), joined(database_url) as (_, b):
        await a.beat(A)
        await a.take(A, [1, 2])
        await b.beat(B)
        async with database.transaction() as commit:
            await commit.fetch("SELECT FROM repave.shards WHERE number = 1 FOR SHARE")
            await database.fetch(
                "UPDATE repave.controllers SET expires_at = clock_timestamp() WHERE id = 'a'"
            )
            assert await b.take(B, [1, 2]) == {2: 2}
        assert await b.take(B, [1]) == {1: 2}


async def test_a_beat_that_was_given_up_costs_its_connection_alone(database_url: str) -> None:
    async with joined(database_url) as (database, a):
        await a.beat(A)
        async with database.transaction() as lock:
            await lock.fetch("SELECT FROM repave.controllers FOR UPDATE")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await a.beat(A)
        assert (await seen(a, A, "a")).is_live


async def test_a_controller_that_went_without_a_word_is_shown_for_days_and_then_forgotten(
    database_url: str,
) -> None:
    async with joined(database_url) as (database, a), joined(database_url) as (_, b):
        await a.beat(A)
        await database.fetch(
            "UPDATE repave.controllers SET expires_at = clock_timestamp() - interval '6 days'"
        )
        assert (await seen(b, B, "a")).is_live is False
        await database.fetch(
            "UPDATE repave.controllers SET expires_at = clock_timestamp() - interval '8 days' WHERE id = 'a'"
        )
    async with joined(database_url) as (_, again):
        await again.beat(B)
        assert [each.member.id for each in (await again.beat(B)).members] == ["b"]


async def test_a_start_waits_for_its_turn_among_the_commits_of_others(database_url: str) -> None:
    first = PostgresStore(Database(Place(database_url)))
    await first.open()
    second = PostgresStore(Database(Place(database_url)))
    async with first.database.transaction() as commit:
        await commit.fetch("SELECT FROM repave.store FOR UPDATE")
        opening = asyncio.create_task(second.open())
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"

        async def is_waiting() -> bool:
            return bool((await first.database.fetch(waits))[0]["count"])

        await until_async(is_waiting)
        (row,) = await first.database.fetch("SELECT pg_sleep(0.7), 1 AS one")  # longer than commits may wait
        assert row["one"] == 1
    await opening
    for each in (first, second):
        await each.close()
