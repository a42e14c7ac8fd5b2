"""How a store in PostgreSQL is opened, by several at once too, and what people are told when it can't be."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.peers.ports import BEAT_SECONDS, LEASE_SECONDS
from repave_controller.stores.postgresql.connection import SETTINGS, Connection, Database, Unreached
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.schema import MIGRATIONS
from repave_controller.stores.postgresql.store import PostgresStore
from tests.support.ports import free_port
from tests.support.postgresql import Server, needs_pgbouncer, pgbouncer


async def refusal(place: Place) -> str:
    with pytest.raises(StoreError) as refused:
        await Database(place).open()
    return str(refused.value)


async def shown(database: Database, name: str) -> str:
    (row,) = await database.fetch(f"SHOW {name}")
    return str(row[name])


async def test_several_that_start_at_once_make_the_tables_once(database_url: str) -> None:
    databases = [Database(Place(database_url)) for _ in range(4)]
    await asyncio.gather(*(each.open() for each in databases))
    assert [dict(each) for each in await databases[0].fetch("SELECT version FROM repave.schema")] == [
        {"version": len(MIGRATIONS)}
    ]
    await asyncio.gather(*(each.close() for each in databases))
    with pytest.raises(StoreError, match="closed"):
        await databases[0].fetch("SELECT 1")


async def test_every_transaction_has_its_bounds(database_url: str) -> None:
    database = Database(Place(database_url))
    await database.open()
    for name, value in SETTINGS.items():
        assert await shown(database, name) == value
    await database.close()


def test_a_transaction_that_stopped_is_over_before_the_lease_of_its_controller() -> None:
    bound = SETTINGS["idle_in_transaction_session_timeout"]
    assert float(bound.removesuffix("s")) < LEASE_SECONDS - 2 * BEAT_SECONDS


@needs_pgbouncer
async def test_a_pooler_is_recognised_and_the_direct_way_leads_past_it(
    postgresql_server: Server, database_url: str
) -> None:
    with pgbouncer(postgresql_server) as port:
        pooled = database_url.replace(f":{postgresql_server.port}", f":{port}")
        database = Database(Place(pooled, database_url))
        greeted = asyncio.Event()

        async def greet(connection: Connection) -> None:
            greeted.set()

        database.session.greeters.append(greet)
        await database.open()
        assert database.is_pooled
        for name, value in SETTINGS.items():
            assert await shown(database, name) == value
        await asyncio.wait_for(greeted.wait(), 10.0)
        await database.close()


async def test_a_session_that_was_lost_is_made_anew(postgresql_server: Server, database_url: str) -> None:
    greeted: asyncio.Queue[int] = asyncio.Queue()

    async def greet(connection: Connection) -> None:
        greeted.put_nowait(connection.get_server_pid())

    database = Database(Place(database_url))
    database.session.greeters.append(greet)
    await database.open()
    first = await asyncio.wait_for(greeted.get(), 10.0)
    await database.fetch("SELECT pg_terminate_backend($1)", first)
    assert await asyncio.wait_for(greeted.get(), 10.0) != first
    await database.close()


async def test_a_newer_schema_is_left_as_it_is(postgresql_server: Server, database_url: str) -> None:
    database = Database(Place(database_url))
    await database.open()
    await database.fetch("UPDATE repave.schema SET version = version + 1")
    await database.close()
    assert "written by a newer repave" in await refusal(Place(database_url))


async def test_a_schema_of_another_program_is_left_as_it_is(
    postgresql_server: Server, database_url: str
) -> None:
    name = database_url.rpartition("/")[2]
    postgresql_server.psql("CREATE SCHEMA repave; CREATE TABLE repave.street (length int)", name)
    assert "belongs to another program" in await refusal(Place(database_url))


async def test_it_says_what_is_wrong_and_what_to_do(postgresql_server: Server, tmp_path: Path) -> None:
    server = postgresql_server
    server.psql("CREATE USER stranger")
    server.psql("CREATE DATABASE closed TEMPLATE template0")
    server.psql("CREATE USER late CONNECTION LIMIT 0")
    server.psql("CREATE DATABASE standing TEMPLATE template0")
    server.psql("ALTER DATABASE standing SET default_transaction_read_only = on")
    gone = f"postgresql://repave:secret@127.0.0.1:{free_port()}/hello"
    expected = {
        Place(gone): "the connection was refused",
        Place(server.url("absent")): "no such database",
        Place(f"{server.url()}?sslmod=require"): '"sslmod". Correct store.url',
        Place(server.url("postgres", "nobody-known")): "lets this user in from here not at all",
        Place(server.url("closed", "stranger")): "ALTER DATABASE NAME OWNER TO USER",
        Place(server.url("closed", "late")): "no connection left",
        Place(server.url("standing")): "takes no writes",
        Place("postgresql://repave@no-such-host.invalid/hello"): "name of its host is not known",
        Place(f"{server.url()}?sslmode=require"): "does no TLS",
        Place(server.url(), password_file=tmp_path / "absent"): "password_file",
    }
    for place, words in expected.items():
        told = await refusal(place)
        assert words in told
        assert "secret" not in told


async def test_a_password_that_can_not_be_read_leaves_no_doubt_that_nothing_was_asked(
    database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("none is asked for")
    database = Database(Place(database_url, password_file=file))
    await database.open()
    try:
        file.unlink()
        async with database.connection() as connection:
            connection.terminate()  # the next one is new
        with pytest.raises(Unreached, match="password_file"):
            await database.fetch("SELECT 1")
    finally:
        await database.close()


@pytest.mark.parametrize(
    ("url", "checks"),
    [
        ("postgresql://ann@127.0.0.1:5432/repave", False),
        ("postgresql://ann@localhost/repave", False),
        ("postgresql://ann@[::1]:5432/repave", False),
        ("postgresql:///repave?host=/run/postgresql", False),
        ("postgresql://ann@db.example/repave", True),
        ("postgresql://ann@localhost,db.example/repave", True),
        ("postgresql://ann@/repave?host=db.example", True),
        ("postgresql://ann@db.example/repave?sslmode=disable", False),
    ],
)
def test_beyond_this_machine_the_certificate_is_checked_unless_the_url_says_otherwise(
    url: str, checks: bool
) -> None:
    assert ("ssl" in Place(url).options(url)) is checks


@needs_pgbouncer
async def test_a_store_behind_a_pooler_saves_in_transactions_and_hears_past_it(
    postgresql_server: Server, database_url: str
) -> None:
    with pgbouncer(postgresql_server, default_pool_size="1") as port:
        pooled = database_url.replace(f":{postgresql_server.port}", f":{port}")
        one, two = (PostgresStore(Database(Place(pooled, database_url))) for _ in range(2))
        await one.open()
        await two.open()
        hints = two.hints()
        heard = asyncio.ensure_future(anext(hints))
        sequences = [
            (await store.commit(Transaction(events=(Event("told", str(n)),))))[0].sequence
            for n in range(4)
            for store in (one, two)
        ]
        assert sequences == list(range(1, 9))
        async with asyncio.timeout(20):
            await heard
        assert (await two.changes(0)).has_events
        await one.close()
        await two.close()


async def test_it_closes_though_its_session_loses_a_cancellation(database_url: str) -> None:
    """As asyncio.wait_for of Python 3.11 does with one that comes as its result does."""
    database = Database(Place(database_url))
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    database.session.run = run  # type: ignore[method-assign]  # the session is its own
    await database.open()
    await begun.wait()
    async with asyncio.timeout(30):
        await database.close()
