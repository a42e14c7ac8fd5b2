"""What each table of a SQLite store takes on disk, its indexes included."""

import sqlite3
from contextlib import closing
from pathlib import Path

from repave_controller.core.ports import Size
from repave_controller.stores.sqlite.file import open_reader

FREE = "free"
TABLES = "SELECT name, tbl_name FROM sqlite_schema"


def sizes_of(path: Path) -> list[Size]:
    """By name. Raises sqlite3.Error, StoreError. Reads through the file."""
    with closing(open_reader(path)) as connection:
        taken = _bytes(connection)
        found = [
            Size(table, _rows(connection, table), taken.get(table, 0))
            for table in sorted(set(_tables(connection).values()))
        ]
        (page,), (free,) = (
            connection.execute(f"PRAGMA {of}").fetchone() for of in ("page_size", "freelist_count")
        )
    return [*found, Size(FREE, 0, page * free)]


def _bytes(connection: sqlite3.Connection) -> dict[str, int]:
    """Of each table with its indexes; empty where this SQLite was built without dbstat."""
    try:
        rows = connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name").fetchall()
    except sqlite3.OperationalError:
        return {}
    tables, taken = _tables(connection), dict[str, int]()
    for name, size in rows:
        table = tables.get(name)
        if table is not None:
            taken[table] = taken.get(table, 0) + size
    return taken


def _tables(connection: sqlite3.Connection) -> dict[str, str]:
    """Of each table and index, the table."""
    return {name: table for name, table in connection.execute(TABLES) if not table.startswith("sqlite_")}


def _rows(connection: sqlite3.Connection, table: str) -> int:
    (rows,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()  # noqa: S608  # of the schema
    return int(rows)
