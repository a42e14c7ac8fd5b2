"""A whole store as one file, wherever it is kept: the tables of SQLite's newest schema, filled.

So a backup of a store in PostgreSQL can be restored into SQLite, and the other way round. What only
controllers know of each other (leases, shards, reports, letters) is not in it: it begins anew.
"""

import asyncio
import sqlite3
import urllib.parse
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import shard_of
from repave_controller.stores.migrations import migrate as migrate_file
from repave_controller.stores.postgresql.connection import Connection, Database
from repave_controller.stores.postgresql.schema import migrate as migrate_schema
from repave_controller.stores.sqlite.file import explain
from repave_protos.protocol.values import ApplicationName

PAGE = 200
SECONDS = 600
KEPT = "repave_before_restore"
COLUMNS: dict[str, tuple[str, ...]] = {
    "store": ("one", "incarnation", "term", "installation"),
    "applications": ("name", "state"),
    "events": (
        "sequence",
        "at",
        "kind",
        "text",
        "application",
        "region",
        "server_group",
        "host",
        "by",
    ),
    "rollouts": ("application", "number", "state"),
    "specs": ("application", "server_group", "text", "at"),
    "receipts": ("key", "body_hash", "response", "at"),
    "images": ("digest", "size_bytes", "files", "name", "pushed_at"),
    "freezes": ("one", "state"),
    "records": ("kind", "name", "state"),
    "audit": ("number", "text", "hash"),
    "analyses": ("application", "rollout", "id", "at", "outcome", "details"),
}
"""Of each table, both stores' columns."""
KEYS = {"rollouts": 2, "specs": 2, "records": 2, "analyses": 3}
"""How many of the first columns tell rows apart; else one."""
PACKAGES = ("packages", "package_pieces")
"""They stay where they are."""
WAITS = f"SET LOCAL statement_timeout = '{SECONDS}s'; SET LOCAL idle_in_transaction_session_timeout = 0"
NEXT = """
    UPDATE repave.store SET change = 1, event_change = 1, forgotten_change = 1,
        next_event = 1 + (SELECT coalesce(max(sequence), 0) FROM repave.events)
"""
LIVE = "SELECT id FROM repave.controllers WHERE expires_at > clock_timestamp() ORDER BY id"

Row = Sequence[object]


async def copy_out(database: Database, file: Path) -> None:
    """Makes `file` of the store in this open database as it is at one moment, whatever is saved meanwhile.
    Raises StoreError."""
    with closing(await asyncio.to_thread(_make, file)) as target:
        async with database.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY") as connection:
            await connection.execute(WAITS)
            for table in COLUMNS:
                last: Row = ()
                while page := await _page(connection, table, last):
                    await asyncio.to_thread(_fill, target, table, page)
                    last = page[-1]


async def copy_in(file: Path, database: Database, *, force: bool = False) -> str:
    """Fills this open database with what `file` holds, all of it or nothing. A store that is there is an
    error; with `force` it is kept beside, in the schema whose name is returned; else "".

    The file's incarnation must be above all that agents of this installation have heard: the terms of shards
    begin anew. No controller may run. Raises StoreError.
    """
    async with database.transaction() as connection:
        await connection.execute(WAITS)
        live = [str(row["id"]) for row in await connection.fetch(LIVE)]
        if live:
            raise StoreError(
                f"{database.place}: controllers run on it ({', '.join(live)}). Stop them, then try again"
            )
        kept = await _put_aside(connection, database, force=force)
        with closing(_opened(file)) as source:
            for table in COLUMNS:
                rows = _selected(source, table, file)
                while page := await asyncio.to_thread(_next, rows, file):
                    await _insert(connection, table, page)
        await connection.execute(NEXT)
    return kept


async def incarnation_of(database: Database) -> int:
    """Of the store in this open database; 0: there is none. Raises StoreError."""
    rows = await database.fetch("SELECT incarnation FROM repave.store")
    return int(rows[0]["incarnation"]) if rows else 0


# ------------------------------------------------------------------------------------------- PostgreSQL


async def _page(connection: Connection, table: str, last: Row) -> list[Row]:
    columns, key = COLUMNS[table], ", ".join(COLUMNS[table][: KEYS.get(table, 1)])
    values = tuple(last[: KEYS.get(table, 1)])
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    where = f"WHERE ({key}) > ({places})" if values else ""
    shown = ", ".join(columns)
    query = f"SELECT {shown} FROM repave.{table} {where} ORDER BY {key} LIMIT {PAGE}"  # noqa: S608  # our own text
    return [tuple(row[column] for column in columns) for row in await connection.fetch(query, *values)]


async def _put_aside(connection: Connection, database: Database, *, force: bool) -> str:
    """Makes place for another store. Returns the name of the schema that has the former one."""
    if await connection.fetchval("SELECT count(*) FROM repave.store") == 0:
        return ""
    if not force:
        raise StoreError(
            f"{database.place}: there is a store already. With --force the backup takes its place, and it is "
            f"kept beside it, in the schema {KEPT}_1"
        )
    taken = "SELECT to_regnamespace($1) IS NOT NULL"
    number = 1
    while await connection.fetchval(taken, f"{KEPT}_{number}"):
        number += 1
    await connection.execute(f"ALTER SCHEMA repave RENAME TO {KEPT}_{number}")
    await migrate_schema(connection, str(database.place))
    for table in PACKAGES:
        await connection.execute(f"DROP TABLE repave.{table}")
        await connection.execute(f"ALTER TABLE {KEPT}_{number}.{table} SET SCHEMA repave")
    return f"{KEPT}_{number}"


async def _insert(connection: Connection, table: str, rows: Sequence[Row]) -> None:
    columns, values = COLUMNS[table], list(map(tuple, rows))
    if table in ("applications", "freezes", "records"):
        columns, values = (*columns, "change"), [(*each, 1) for each in values]
    if table == "applications":
        columns = (*columns, "shard")
        values = [(*each, shard_of(ApplicationName(str(each[0])))) for each in values]
    if table == "records":
        values = [each for each in values if each[2] is not None]  # gone
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    shown = ", ".join(columns)
    statement = f"INSERT INTO repave.{table} ({shown}) VALUES ({places})"  # noqa: S608  # our own text
    await connection.executemany(statement, values)


# ------------------------------------------------------------------------------------------------ SQLite


def _make(file: Path) -> sqlite3.Connection:
    """Used by one thread after the other."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = OFF")  # it is read at once, or thrown away
    migrate_file(connection)
    return connection


def _fill(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    columns = COLUMNS[table]
    places = ", ".join("?" * len(columns))
    connection.execute("BEGIN")
    connection.executemany(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})",  # noqa: S608  # our own text
        [tuple(each) for each in rows],
    )
    connection.execute("COMMIT")


def _opened(file: Path) -> sqlite3.Connection:
    """Used by one thread after the other."""
    address = f"file:{urllib.parse.quote(str(file))}?mode=ro"
    return sqlite3.connect(address, uri=True, check_same_thread=False)


def _selected(source: sqlite3.Connection, table: str, file: Path) -> sqlite3.Cursor:
    """Raises StoreError."""
    try:
        return source.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table}")  # noqa: S608  # our own text
    except sqlite3.Error as error:
        raise explain(error, file) from error


def _next(rows: sqlite3.Cursor, file: Path) -> list[Row]:
    """Raises StoreError."""
    try:
        return rows.fetchmany(PAGE)
    except sqlite3.Error as error:
        raise explain(error, file) from error
