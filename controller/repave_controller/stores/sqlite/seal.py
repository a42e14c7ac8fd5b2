"""Whether the write-ahead log beside a database belongs to it. SQLite does not ask: it would lay an old log
over a database that was restored, and so undo the restore without a word.

The table `seal` has one row. `base` is written anew before each checkpoint, which brings it into the database
itself, and only then copied to `top`. So:

    the database alone    base differs from top; where they are the same, it is a copy of both files
    with its log          the same base; while top differs, a checkpoint was under way, and it may be `former`
"""

import sqlite3
import urllib.parse
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from repave_controller.core.ports import StoreError

LOG_BYTES_MAX = 16 * 1024**2
"""A longer log is moved into the database."""
LOG_HEADER_BYTES = 32
ANEW = "UPDATE seal SET former = base, base = lower(hex(randomblob(8)))"
BASE = f"{ANEW} WHERE base = top"
TOP = "UPDATE seal SET top = base"


@dataclass(frozen=True, slots=True)
class Seal:
    """What the one row says."""

    base: str
    top: str
    former: str


def log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def refuse_foreign_log(path: Path) -> None:
    """Raises StoreError. Changes neither file."""
    log = log_of(path)
    if not log.exists() or log.stat().st_size <= LOG_HEADER_BYTES:
        return
    if path.stat().st_size == 0:  # SQLite would remove the log
        raise StoreError(
            f"the database is empty, and {log.name} beside it is not: it was emptied, or removed. Put it "
            f"back, or restore a backup and move {log.name} and {path.name}-shm away."
        )
    together = _seal(path, "mode=ro")
    if together is None or not together.top:
        return  # of a version that sealed nothing, or was just beginning to
    alone = _seal(path, "immutable=1")
    expected = {together.base} if together.base == together.top else {together.base, together.former}
    if alone is None or alone.base == alone.top or alone.base not in expected:
        raise StoreError(
            f"{log.name} beside it belongs to another database: this one was restored, or replaced. SQLite "
            f"would mix the two. To use what was restored, move {log.name} and {path.name}-shm away. If "
            f"nothing was replaced: sqlite3 {path} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        )


def _seal(path: Path, how: str) -> Seal | None:
    """By a connection that can't write; None when there is none, or nothing can be read."""
    try:
        with closing(sqlite3.connect(f"file:{urllib.parse.quote(str(path))}?{how}", uri=True)) as connection:
            row = connection.execute("SELECT base, top, former FROM seal").fetchone()
    except sqlite3.Error:
        return None
    return None if row is None else Seal(*row)


def begin(connection: sqlite3.Connection, busy_milliseconds: int) -> None:
    """At a start, so that a copy of the stopped store is another one from now on. Raises sqlite3.Error."""
    if _checkpoint(connection, busy_milliseconds):
        connection.execute(ANEW)
        fold(connection, busy_milliseconds)


def fold(connection: sqlite3.Connection, busy_milliseconds: int) -> bool:
    """Moves the log into the database, sealed; whether all of it, which readers may prevent for now. Raises
    sqlite3.Error."""
    connection.execute(BASE)
    is_done = _checkpoint(connection, busy_milliseconds)
    if is_done:
        connection.execute(TOP)
    return is_done


def end(connection: sqlite3.Connection) -> None:
    """Before the last connection closes, which moves the log into the database. Raises sqlite3.Error."""
    connection.execute(BASE)


def _checkpoint(connection: sqlite3.Connection, busy_milliseconds: int) -> bool:
    connection.execute("PRAGMA busy_timeout = 0")  # readers are not waited for
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {busy_milliseconds}")
    return not busy
