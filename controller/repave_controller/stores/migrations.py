"""The schema of the SQLite store, as numbered migrations, and the way from any older one to the newest.

`user_version` counts the migrations that were applied; each is one transaction. `application_id` tells a
repave database from those of other programs.
"""

import json
import sqlite3

from repave_controller.core.ports import StoreError
from repave_protos.protocol.older import with_templates

APPLICATION_ID = 0x72657076  # "repv"

AT_NEWEST = (
    "SET at = (SELECT coalesce(max(at), 0) FROM (SELECT at FROM events ORDER BY sequence DESC LIMIT 1000))"
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE store (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            incarnation INTEGER NOT NULL,
            term INTEGER NOT NULL,
            installation TEXT NOT NULL
        ) STRICT""",
        "CREATE TABLE applications (name TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT",
        """CREATE TABLE events (
            sequence INTEGER PRIMARY KEY,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            text TEXT NOT NULL,
            application TEXT NOT NULL,
            region TEXT NOT NULL,
            server_group TEXT NOT NULL,
            host TEXT NOT NULL,
            by TEXT NOT NULL
        ) STRICT""",
        "CREATE INDEX events_of_application ON events (application, sequence)",
        """CREATE TABLE rollouts (
            application TEXT NOT NULL,
            number INTEGER NOT NULL,
            state TEXT NOT NULL,
            PRIMARY KEY (application, number)
        ) STRICT, WITHOUT ROWID""",
        """CREATE TABLE specs (
            application TEXT NOT NULL,
            server_group TEXT NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (application, server_group)
        ) STRICT""",
        """CREATE TABLE receipts (
            key TEXT PRIMARY KEY,
            body_hash TEXT NOT NULL,
            response TEXT NOT NULL
        ) STRICT""",
        """CREATE TABLE images (
            digest TEXT PRIMARY KEY,
            size_bytes INTEGER NOT NULL,
            files INTEGER NOT NULL,
            name TEXT NOT NULL,
            pushed_at REAL NOT NULL
        ) STRICT""",
    ),
    (
        """CREATE TABLE line (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            state TEXT NOT NULL
        ) STRICT""",
    ),
    (
        "ALTER TABLE line RENAME TO freezes",
        """UPDATE freezes SET state = json_object(
            'full', json_extract(state, '$.stopped'),
            'named', json_extract(state, '$.freezes'),
            'named_total', json_extract(state, '$.freezes_total')
        )""",
    ),
    ("UPDATE applications SET state = with_templates(state)",),
    (
        """CREATE TABLE seal (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            base TEXT NOT NULL,
            top TEXT NOT NULL,
            former TEXT NOT NULL
        ) STRICT""",
        "INSERT INTO seal VALUES (1, '', '', '')",
    ),
    (
        """CREATE TABLE records (
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            state TEXT,
            PRIMARY KEY (kind, name)
        ) STRICT, WITHOUT ROWID""",
    ),
    ("CREATE TABLE audit (number INTEGER PRIMARY KEY, text TEXT NOT NULL, hash TEXT NOT NULL) STRICT",),
    (  # of what was saved before, it is not known since when it is there: since the newest event
        "ALTER TABLE receipts ADD COLUMN at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE specs ADD COLUMN at REAL NOT NULL DEFAULT 0",
        "UPDATE receipts " + AT_NEWEST,
        "UPDATE specs " + AT_NEWEST,
        "CREATE INDEX receipts_by_age ON receipts (at, key)",
    ),
    (
        """CREATE TABLE analyses (
            application TEXT NOT NULL,
            rollout INTEGER NOT NULL,
            id TEXT NOT NULL,
            at REAL NOT NULL,
            outcome TEXT NOT NULL,
            details TEXT NOT NULL,
            PRIMARY KEY (application, rollout, id)
        ) STRICT, WITHOUT ROWID""",
    ),
)


def migrate(
    connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS
) -> tuple[int, int]:
    """Brings the database to the newest schema; returns the versions (before, after).

    Raises StoreError for one of a newer repave or of another program, and leaves that as it is.
    """
    _check_owner(connection)
    connection.create_function("with_templates", 1, _with_templates, deterministic=True)
    before = _pragma(connection, "user_version")
    if before > len(migrations):
        raise StoreError(
            "this database was written by a newer repave "
            f"(schema {before}, this one knows {len(migrations)}). "
            "Run that version again, or restore the backup from before the upgrade."
        )
    for number in range(before, len(migrations)):
        _apply(connection, migrations[number], number + 1)
    return before, len(migrations)


def _with_templates(state: str) -> str:
    """An application of version 0.1. What it was offered had been written, and digested, in another way."""
    application = with_templates(json.loads(state))
    for _, offer in application.get("offered", ()):
        offer["fingerprint"] = ""
    return json.dumps(application, ensure_ascii=False)


def _check_owner(connection: sqlite3.Connection) -> None:
    owner = _pragma(connection, "application_id")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if owner != APPLICATION_ID and (owner != 0 or tables > 0):
        raise StoreError("this database belongs to another program. Name another file for the store.")


def _apply(connection: sqlite3.Connection, statements: tuple[str, ...], version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
