"""Restores a backup: all of its files are checked beside what is there, and then take its place.

`restore.part` gathers them. Once whole and checked it becomes `restoring`, in one step: from then on the
restore has happened, and what a crash left undone the next start does.
"""

import hashlib
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from repave_controller.backups.manifest import (
    DATABASE,
    MANIFEST_BYTES_MAX,
    NAME,
    PACKAGES,
    SECURITY,
    BackupError,
    Manifest,
    read_manifest,
)
from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import Transaction
from repave_controller.fleet.packages import SUFFIX
from repave_controller.security.audit import Entry, audit_of, log_row
from repave_controller.security.principals import LOCAL_NAME
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.daemon.chain import Link
from repave_protos.daemon.files import make_directory, sync_folder
from repave_protos.daemon.lock import own

GATHERED, WHOLE = "restore.part", "restoring"
FORMER = "former"
KEPT = "before-restore"
BUFFER_BYTES = 1024 * 1024


class Target(Protocol):
    """A store that is not in the state directory, or packages that are not."""

    place: str

    async def incarnation(self) -> int:
        """Of the store that is there; 0: there is none. Raises StoreError."""

    async def fill(self, file: Path, *, force: bool) -> str:
        """Puts what `file` holds there. Returns where the former store is kept; "": there was none. Raises
        StoreError."""

    async def missing(self, digests: Collection[str]) -> Collection[str]:
        """Of these packages, which are in no shared place. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class Restored:
    """`missing` counts packages that the store knows and that are nowhere. `place` and `kept`, where the
    store is not in the state directory: where it is, and the former one."""

    manifest: Manifest
    missing: int
    place: str = ""
    kept: str = ""


async def restore(
    source: IO[bytes], state: Path, now: float, *, force: bool, target: Target | None = None
) -> Restored:
    """Raises BackupError, StoreError, OSError; then what was there is as it was."""
    make_directory(state)
    with own(state, "controller", f"{DATABASE}.lock"):
        put_in_place(state)
        if not force:
            _refuse_others(state)
        part, kept = state / GATHERED, ""
        shutil.rmtree(part, ignore_errors=True)
        try:
            manifest = gather(source, part)
            row = await _outrank(part, manifest, now, await target.incarnation() if target is not None else 0)
            missing = _missing(part / DATABASE, part / PACKAGES, state / PACKAGES)
            if target is not None:
                missing &= set(await target.missing(missing))
                kept = await target.fill(part / DATABASE, force=force)
                if target.place:
                    (part / DATABASE).unlink()
            _sync(part)
            part.rename(state / WHOLE)
            log_row(*row)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        sync_folder(state)
        put_in_place(state)
    return Restored(manifest, len(missing), target.place if target is not None else "", kept)


def _missing(database: Path, *folders: Path) -> set[str]:
    """Digests that the store knows, of packages in none of these folders."""
    with closing(sqlite3.connect(database)) as connection:
        known = connection.execute("SELECT digest FROM images").fetchall()
    return {
        digest
        for (digest,) in known
        if not any((folder / f"{digest}{SUFFIX}").is_file() for folder in folders)
    }


def _refuse_others(state: Path) -> None:
    there = [each for each in (DATABASE, SECURITY, PACKAGES) if _holds(state / each)]
    if there:
        raise BackupError(
            f"{state} is not empty: it holds {', '.join(there)}. With --force the backup takes their place, "
            f"and they are kept beside it, in {KEPT}-1 (packages stay)"
        )


def _holds(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


# ------------------------------------------------------------------------------------------------ gathering


def gather(source: IO[bytes], part: Path | None) -> Manifest:
    """Reads all of the archive and compares it with its manifest; lays it out in `part`, if there is one.
    Raises BackupError, OSError."""
    if part is not None:
        for folder in (part, part / SECURITY, part / PACKAGES, part / FORMER):
            folder.mkdir(mode=0o700)
    try:
        with tarfile.open(fileobj=source, mode="r|") as archive:
            return _gather(archive, part)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"the backup can't be read, or is cut off: {error}") from error


def _gather(archive: tarfile.TarFile, part: Path | None) -> Manifest:
    members = iter(archive)
    first = next(members, None)
    content = archive.extractfile(first) if first is not None and first.isreg() else None
    if first is None or first.name != NAME or first.size > MANIFEST_BYTES_MAX or content is None:
        raise BackupError(f"this is no backup of repave-controller: it does not begin with {NAME}")
    manifest = read_manifest(content.read())
    due = {each.path: each for each in manifest.files}
    for info in members:
        known = due.pop(info.name, None)
        content = archive.extractfile(info) if info.isreg() else None
        if known is None or content is None:
            raise BackupError(f"the backup holds {info.name!r}, which its {NAME} does not name")
        size, digest = _lay_out(content, part / info.name if part is not None else Path(os.devnull))
        if (size, digest) != (known.bytes, known.sha256):
            raise BackupError(f"{info.name} in the backup is damaged: its digest is not the one in {NAME}")
    if due:
        raise BackupError(f"the backup is cut off: it lacks {', '.join(sorted(due)[:3])}")
    return manifest


def _lay_out(content: IO[bytes], target: Path) -> tuple[int, str]:
    sha256, size = hashlib.sha256(), 0
    how = os.O_WRONLY if target == Path(os.devnull) else os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(target, how | os.O_CLOEXEC, 0o600), "wb") as file:
        while piece := content.read(BUFFER_BYTES):
            sha256.update(piece)
            size += len(piece)
            file.write(piece)
    return size, sha256.hexdigest()


async def _outrank(part: Path, manifest: Manifest, now: float, above: int) -> tuple[Link, Entry]:
    """Opens the store, which checks it and brings its schema up to date, and begins a new incarnation: what
    the former controller decided after the backup, or decides if it still runs, is older. Returns the row of
    the audit log that says so, for `log_row` once the restored store counts. Raises StoreError."""
    store = SqliteStore(part / DATABASE)
    loaded = await store.open()
    try:
        if loaded.installation != manifest.installation:
            raise BackupError(f"{NAME} of the backup is of another store: {manifest.installation}")
        await store.begin_incarnation(above)
        at = Instant(max(now, loaded.last_event_at))
        text = f"from the backup of {manifest.taken_at}; what was decided after it is not in this store"
        await store.commit(Transaction(events=(Event("store.restored", text, at=at),)))
        audit = await audit_of(store, loaded.installation, lambda: at)
        done = Entry(at, LOCAL_NAME, "local", "", "", "restore backup", outcome="done")
        row = await audit.write(done)
    finally:
        await store.close()
    (part / f"{DATABASE}.lock").unlink()
    return row, done


# -------------------------------------------------------------------------------------- putting in place


def put_in_place(state: Path) -> None:
    """Does what is left of a restore that has happened; by the process that has the lock. Raises OSError."""
    whole = state / WHOLE
    if not whole.exists():
        return
    (state / PACKAGES).mkdir(mode=0o750, exist_ok=True)
    for package in (whole / PACKAGES).glob("*"):
        package.replace(state / PACKAGES / package.name)
    _exchange(state, SECURITY)
    if (whole / DATABASE).exists():
        for name in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
            if (state / name).exists():
                (state / name).rename(whole / FORMER / name)
    _exchange(state, DATABASE)
    sync_folder(state / PACKAGES)
    sync_folder(state)
    former = whole / FORMER
    if former.exists() and any(former.iterdir()):
        former.rename(_free_name(state))
    shutil.rmtree(whole)
    sync_folder(state)


def _exchange(state: Path, name: str) -> None:
    """May be repeated at any point."""
    new, old = state / WHOLE / name, state / name
    if not new.exists():
        return
    if old.exists():
        old.rename(state / WHOLE / FORMER / name)
    new.rename(old)


def _free_name(state: Path) -> Path:
    numbers = (state / f"{KEPT}-{number}" for number in range(1, 10_000))
    return next(each for each in numbers if not each.exists())


def finish(state: Path) -> None:
    """Ends a restore that was cut off, before the store is opened. Raises OSError."""
    if (state / WHOLE).exists():
        with own(state, "controller", f"{DATABASE}.lock"):
            put_in_place(state)


def _sync(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
