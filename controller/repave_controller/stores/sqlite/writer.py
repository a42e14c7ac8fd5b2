"""Writes transactions into SQLite, many in one commit. Synchronous: lives in the store's writer thread.

All of a batch are written together; only if one of them is at fault are they written again, each behind a
savepoint of its own, so that a bad one fails alone.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from repave_controller.core.domain.application import Instant, Tenure
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.ports import Conflict, Drop, DuplicateKey, Kept, Loaded, StoreError, Unsavable
from repave_controller.stores.codec import decode_application, decode_freezes
from repave_controller.stores.rows import Outcome, Rows
from repave_controller.stores.sqlite.file import (
    BUSY_TIMEOUT_MILLISECONDS,
    Connect,
    explain,
    is_beyond_repair,
    open_writer,
)
from repave_controller.stores.sqlite.seal import LOG_BYTES_MAX, end, fold, log_of

log = structlog.get_logger()

EVENTS_LOOKED_AT = 1000  # at a start, for the newest instant: they are nearly in order of time
BEGIN = "BEGIN IMMEDIATE"
APPLICATION = "INSERT INTO applications VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state"
EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
ROLLOUT = (
    "INSERT INTO rollouts VALUES (?, ?, ?) "
    "ON CONFLICT (application, number) DO UPDATE SET state = excluded.state"
)
SPEC = "INSERT OR REPLACE INTO specs VALUES (?, ?, ?, ?)"
RECEIPT = "INSERT INTO receipts VALUES (?, ?, ?, ?)"
FREEZES = "INSERT OR REPLACE INTO freezes VALUES (1, ?)"
RECORD = "INSERT OR REPLACE INTO records VALUES (?, ?, ?)"  # also of what is gone: the order of a batch holds
STATE = "SELECT state FROM records WHERE kind = ? AND name = ?"
GONE_RECORDS = "DELETE FROM records WHERE state IS NULL"
IMAGE = (
    "INSERT INTO images VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (digest) DO UPDATE SET pushed_at = max(pushed_at, excluded.pushed_at)"
)
LOOK = "INSERT OR REPLACE INTO analyses VALUES (?, ?, ?, ?, ?, ?)"
AUDIT = "INSERT INTO audit VALUES (?, ?, ?)"

DROPS = {
    Kept.EVENTS: "DELETE FROM events WHERE sequence = ?",
    Kept.RECEIPTS: "DELETE FROM receipts WHERE key = ?",
    Kept.ROLLOUTS: "DELETE FROM rollouts WHERE application = ? AND number = ?",
    Kept.SPECS: "DELETE FROM specs WHERE application = ? AND server_group = ?",
    Kept.IMAGES: "DELETE FROM images WHERE digest = ?",
    Kept.AUDIT: "DELETE FROM audit WHERE number = ?",
    Kept.ANALYSES: "DELETE FROM analyses WHERE application = ? AND rollout = ?",
}

OWN_FAULTS = (
    Conflict,
    DuplicateKey,
    UnicodeError,  # half a surrogate pair
    OverflowError,  # an integer beyond 64 bits
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""Errors of one transaction, not of the disk: the others of its batch are saved all the same."""


class SqliteWriter:
    """The one writing connection. All calls come from one thread."""

    def __init__(self, path: Path, connect: Connect) -> None:
        """Raises StoreError."""
        self._path = path
        self._connection = open_writer(path, connect)
        self._next_sequence = 0
        self._term = 0
        self._fold_from = LOG_BYTES_MAX  # bytes of the log
        self._broken = ""  # why nothing is taken any more

    def load(self, new_name: Callable[[], str]) -> Loaded:
        """Begins a new term, durably, and reads all that was decided. Raises StoreError."""
        try:
            tenure, installation = self._begin_term(new_name)
            return self._read(tenure, installation)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    def begin_incarnation(self, above: int) -> Tenure:
        """Durably; see ports.Store. Raises StoreError."""
        if self._broken:
            raise StoreError(self._broken)
        run = self._connection.execute
        try:
            self._begin()
            run("UPDATE store SET incarnation = max(incarnation, ?) + 1", (above,))
            incarnation, term = run("SELECT incarnation, term FROM store").fetchone()
            run("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise StoreError(self._failure(error)) from error
        return Tenure(incarnation, term)

    def write(self, batch: Sequence[Rows]) -> list[Outcome]:
        """Saves each of the batch or tells why not; returns when what was saved is on disk."""
        if self._broken:
            return [StoreError(self._broken) for _ in batch]
        try:
            return self._write(batch)
        except StoreError as error:
            return [error for _ in batch]
        except sqlite3.Error as error:
            self._undo()
            failure = self._failure(error)
            return [StoreError(failure) for _ in batch]
        except Exception as error:  # the thread's root: nothing above could answer the waiters
            log.exception("store.writer_failed")
            self._undo()
            self._broken = f"the store's writer failed: {error!r}. Restart the controller."
            return [StoreError(self._broken) for _ in batch]

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            end(self._connection)
        self._connection.close()  # the last connection moves the log into the database

    # ------------------------------------------------------------------------------------------ starting

    def _begin_term(self, new_name: Callable[[], str]) -> tuple[Tenure, str]:
        run = self._connection.execute
        run(BEGIN)
        run("INSERT OR IGNORE INTO store VALUES (1, 1, 0, ?)", (new_name(),))
        run("UPDATE store SET term = term + 1")
        run(GONE_RECORDS)
        incarnation, term, name = run("SELECT incarnation, term, installation FROM store").fetchone()
        run("COMMIT")
        self._term = term
        return Tenure(incarnation, term), name

    def _read(self, tenure: Tenure, installation: str) -> Loaded:
        run = self._connection.execute
        applications = run("SELECT state FROM applications ORDER BY name").fetchall()
        (last,) = run("SELECT max(sequence) FROM events").fetchone()
        newest = "SELECT at FROM events ORDER BY sequence DESC LIMIT ?"
        (at,) = run(f"SELECT max(at) FROM ({newest})", (EVENTS_LOOKED_AT,)).fetchone()  # noqa: S608  # our own text
        freezes = run("SELECT state FROM freezes").fetchone()
        self._next_sequence = (last or 0) + 1
        return Loaded(
            tenure=tenure,
            installation=installation,
            applications=tuple(decode_application(state) for (state,) in applications),
            last_event_at=Instant(at or 0.0),
            freezes=decode_freezes(freezes[0]) if freezes is not None else Freezes(),
        )

    # ------------------------------------------------------------------------------------------- writing

    def _write(self, batch: Sequence[Rows]) -> list[Outcome]:
        self._begin()
        try:
            outcomes, following = self._write_together(batch)
        except OWN_FAULTS:
            self._connection.execute("ROLLBACK")
            self._begin()
            outcomes, following = self._write_apart(batch)
        self._connection.execute("COMMIT")
        self._next_sequence = following
        self._fold_long_log()
        return outcomes

    def _fold_long_log(self) -> None:
        """What was saved is on disk already: if this fails now, it is tried again later."""
        try:
            size = log_of(self._path).stat().st_size
            if size >= self._fold_from:
                is_done = fold(self._connection, BUSY_TIMEOUT_MILLISECONDS)
                self._fold_from = LOG_BYTES_MAX if is_done else size + LOG_BYTES_MAX
        except (OSError, sqlite3.Error) as error:
            log.warning("store.log_not_folded", why=str(error))

    def _begin(self) -> None:
        """Raises StoreError when another controller has begun a term since: its decisions count, not ours."""
        self._connection.execute(BEGIN)
        (term,) = self._connection.execute("SELECT term FROM store").fetchone()
        if term != self._term:
            self._undo()
            self._broken = (
                f"{self._path}: another controller has this store now (term {term}, this one had "
                f"{self._term}). End one of them; this one saves nothing more."
            )
            log.error("store.taken_over", term=term, own_term=self._term)
            raise StoreError(self._broken)

    def _write_together(self, batch: Sequence[Rows]) -> tuple[list[Outcome], int]:
        if any(rows.expected for rows in batch):  # what one expects another one may change
            return self._write_apart(batch)
        outcomes, following = self._insert_events(batch, self._next_sequence)
        self._insert(APPLICATION, (rows.application for rows in batch))
        self._insert(ROLLOUT, (rows.rollout for rows in batch))
        self._insert(SPEC, (rows.spec for rows in batch))
        self._insert(RECEIPT, (rows.receipt for rows in batch))
        self._insert(FREEZES, (rows.freezes for rows in batch))
        self._insert(RECORD, (record for rows in batch for record in rows.records))
        self._insert(IMAGE, (rows.image for rows in batch))
        self._insert(AUDIT, (row for rows in batch for row in rows.audit))
        self._insert(LOOK, (row for rows in batch for row in rows.looks))
        self._drop(drop for rows in batch for drop in rows.drops)
        return outcomes, following

    def _write_apart(self, batch: Sequence[Rows]) -> tuple[list[Outcome], int]:
        following, outcomes = self._next_sequence, []
        for rows in batch:
            self._connection.execute("SAVEPOINT one")
            try:
                outcomes.append(self._write_one(rows, following))
                following += len(rows.events)
            except OWN_FAULTS as error:
                self._connection.execute("ROLLBACK TO one")
                outcomes.append(_refusal(error))
            self._connection.execute("RELEASE one")
        return outcomes, following

    def _write_one(self, rows: Rows, sequence: int) -> Outcome:
        self._check_expected(rows)
        self._insert_events([rows], sequence)
        self._insert(APPLICATION, [rows.application])
        self._insert(ROLLOUT, [rows.rollout])
        self._insert(SPEC, [rows.spec])
        self._insert(FREEZES, [rows.freezes])
        self._insert(RECORD, rows.records)
        self._insert(IMAGE, [rows.image])
        self._insert(AUDIT, rows.audit)
        self._insert(LOOK, rows.looks)
        self._drop(rows.drops)
        if rows.receipt is not None and not self._is_repeated(rows.receipt):
            self._insert(RECEIPT, [rows.receipt])
        return sequence

    def _check_expected(self, rows: Rows) -> None:
        """Raises Conflict."""
        for kind, name, state in rows.expected:
            found = self._connection.execute(STATE, (kind, name)).fetchone()
            if (found[0] if found is not None else None) != state:
                raise Conflict(f"{kind} {name} is another one by now")

    def _is_repeated(self, receipt: tuple[str, str, str, float]) -> bool:
        key, body_hash, *_ = receipt
        known = self._connection.execute("SELECT body_hash FROM receipts WHERE key = ?", (key,)).fetchone()
        if known is not None and known != (body_hash,):
            raise DuplicateKey(f"the key {key!r} was used for another request; use a new key")
        return known is not None

    def _insert_events(self, batch: Sequence[Rows], sequence: int) -> tuple[list[Outcome], int]:
        outcomes: list[Outcome] = []
        numbered: list[tuple[object, ...]] = []
        for rows in batch:
            outcomes.append(sequence)
            for event in rows.events:
                numbered.append((sequence, *event))
                sequence += 1
        self._insert(EVENT, numbered)
        return outcomes, sequence

    def _insert(self, statement: str, rows: Iterable[tuple[object, ...] | None]) -> None:
        present = [row for row in rows if row is not None]
        if present:
            self._connection.executemany(statement, present)

    def _drop(self, drops: Iterable[Drop]) -> None:
        for drop in drops:
            self._insert(DROPS[drop.kind], drop.keys)

    # ------------------------------------------------------------------------------------------- failing

    def _failure(self, error: sqlite3.Error) -> str:
        text = str(explain(error, self._path))
        if is_beyond_repair(error):
            log.error("store.broken", error=text)
            self._broken = f"{text} The store takes nothing more until the controller is restarted."
        return text

    def _undo(self) -> None:
        """SQLite has rolled back by itself after some errors; after others it waits to be told."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._broken = str(explain(error, self._path))


def _refusal(error: Exception) -> Exception:
    return (
        error if isinstance(error, Conflict | DuplicateKey) else Unsavable(f"this cannot be saved: {error}")
    )
