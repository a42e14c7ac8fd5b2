"""The file of the SQLite store: which process may use it, how it opens, and what its errors mean."""

import errno
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import IO

from repave_controller.core.ports import StoreError
from repave_controller.stores.migrations import migrate
from repave_controller.stores.sqlite.seal import begin, refuse_foreign_log
from repave_protos.daemon.files import MODE, UnsafeDirectoryError, make_directory, open_file, sync_folder
from repave_protos.daemon.lock import AlreadyRunningError, own

BUSY_TIMEOUT_SECONDS = 5.0
BUSY_TIMEOUT_MILLISECONDS = int(BUSY_TIMEOUT_SECONDS * 1000)
CHECKED_BYTES_MAX = 64 * 1024**2
"""A larger database is not read through at each start."""
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "fuse.sshfs", "fuse.glusterfs"}
)
MOUNTS = Path("/proc/self/mountinfo")

Connect = Callable[[Path], sqlite3.Connection]


def connect(path: Path) -> sqlite3.Connection:
    """A plain connection; transactions are begun and ended by hand."""
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)


def lock(path: Path, mounts: Path = MOUNTS) -> IO[str]:
    """Makes the folder and an empty database where there are none, and locks the store for the life of this
    process. Raises StoreError."""
    try:
        make_directory(path.parent)
        _refuse_network(path, mounts)
        held = own(path.parent, "controller", f"{path.name}.lock")
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        os.fchmod(descriptor, MODE)
        os.close(descriptor)
        sync_folder(path.parent)
    except (AlreadyRunningError, UnsafeDirectoryError) as error:
        raise StoreError(str(error)) from error
    except OSError as error:
        why, place = error.strerror or str(error), error.filename or path
        fix = "Free some space." if error.errno == errno.ENOSPC else "Check the folder and its owner."
        raise StoreError(f"{place}: {why}. {fix}") from error
    return held


def open_writer(path: Path, connect: Connect = connect) -> sqlite3.Connection:
    """The one connection that writes, on the newest schema. Raises StoreError."""
    try:
        refuse_foreign_log(path)
        connection = connect(path)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    return connection


def open_reader(path: Path, connect: Connect = connect) -> sqlite3.Connection:
    """A connection that cannot write."""
    try:
        connection = connect(path)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return connection


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """What went wrong and what to do, for people."""
    return StoreError(f"{path}: {_words(code_of(error), error)}")


def code_of(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 when the error is not SQLite's own."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def is_beyond_repair(error: sqlite3.Error) -> bool:
    """Whether it is unknown what is on disk now: after a failed fsync the kernel may have dropped pages
    and would report success the next time."""
    return code_of(error) in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _words(code: int, error: sqlite3.Error) -> str:
    match code:
        case sqlite3.SQLITE_FULL:
            return "the disk is full; nothing of this was saved. Free some space."
        case sqlite3.SQLITE_IOERR:
            name = getattr(error, "sqlite_errorname", "")
            return f"the disk failed ({name}). See the kernel's log, then restart the controller."
        case sqlite3.SQLITE_CORRUPT:
            return "the database is damaged. Restore it from a backup, with its -wal file moved away."
        case sqlite3.SQLITE_NOTADB:
            return "this file is no SQLite database. Name another store, or restore it from a backup."
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another program holds a lock on the database. End it (sqlite3 shell, backup tool)."
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return f"{error}. Check that the controller's user owns the file and its folder."
    return str(error)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")
    if path.stat().st_size <= CHECKED_BYTES_MAX:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise StoreError(
                f"the database is damaged ({str(finding).splitlines()[-1]}). Restore it from a backup."
            )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # seal.py's fold does it
    migrate(connection)
    begin(connection, BUSY_TIMEOUT_MILLISECONDS)


def _refuse_network(path: Path, mounts: Path) -> None:
    kind = _file_system(path.parent, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StoreError(
            f"{path} is on a network file system ({kind}), where SQLite's locks and fsync cannot be relied "
            "on. Put the store on a local disk."
        )


def _file_system(folder: Path, mounts: Path) -> str:
    """The kind of file system that `folder` is on; "" when that can't be told."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        place, _, source = line.partition(" - ")
        if place.split()[2:3] == [wanted]:
            return source.split()[0]
    return ""
