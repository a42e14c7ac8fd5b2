"""Takes a backup: one archive of the store as it is at one moment, the authority, and the packages if wanted.

The controller may run, or may have been killed: a store in a file is copied by SQLite's own way, over a
connection that cannot write, so nothing in the state directory changes. Of one in PostgreSQL (copying.py) the
archive has the same file.
"""

import hashlib
import io
import sqlite3
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Protocol

from repave_controller.backups.manifest import (
    DATABASE,
    NAME,
    PACKAGES,
    PATH,
    SECURITY,
    BackupError,
    Manifest,
    Member,
)
from repave_controller.fleet.packages import SUFFIX
from repave_controller.stores.sqlite.file import explain
from repave_controller.stores.sqlite.seal import refuse_foreign_log
from repave_protos.daemon.files import read_file
from repave_protos.daemon.lock import AlreadyRunningError, own

BUFFER_BYTES = 1024 * 1024
FILE_MODE = 0o600


class StoreSource(Protocol):
    """Where the store is."""

    def copy(self, file: Path) -> None:
        """Makes a database of SQLite of it, as it is at one moment. Raises BackupError, StoreError."""


class PackageSource(Protocol):
    """Where the packages are."""

    def members(self, copy: Path) -> list[Member]:
        """Those that there are; `copy` is the store. Raises StoreError."""

    def opened(self, member: Member) -> AbstractContextManager[IO[bytes]]:
        """One of them, to be read."""


class StoreHere:
    """In the state directory."""

    def __init__(self, state: Path) -> None:
        self._store = state / DATABASE

    def copy(self, file: Path) -> None:
        if not self._store.is_file() or self._store.is_symlink():
            raise BackupError(
                f"{self._store}: there is no store here; name the controller's state directory (--config)"
            )
        with _undisturbed(self._store):
            copy_store(self._store, file)


class PackagesHere:
    """In the state directory."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def members(self, _: Path) -> list[Member]:
        """Named by their digests, so their content need not be read yet."""
        return [
            Member(
                path=str(path.relative_to(self._state)),
                bytes=path.stat().st_size,
                sha256=path.name.removesuffix(SUFFIX),
            )
            for path in sorted((self._state / PACKAGES).glob(f"*{SUFFIX}"))
        ]

    def opened(self, member: Member) -> AbstractContextManager[IO[bytes]]:
        return (self._state / member.path).open("rb")


@dataclass(frozen=True, slots=True)
class Sources:
    """Of one controller."""

    store: StoreSource
    packages: PackageSource

    @staticmethod
    def here(state: Path) -> "Sources":
        return Sources(StoreHere(state), PackagesHere(state))


def back_up(
    state: Path, out: IO[bytes], now: float, *, with_packages: bool, sources: Sources | None = None
) -> Manifest:
    """Writes the archive to `out`. Raises BackupError, StoreError, OSError; then `out` has no backup."""
    sources = sources or Sources.here(state)
    with tempfile.TemporaryDirectory(prefix="repave-backup-") as scratch:
        copy = Path(scratch) / DATABASE
        sources.store.copy(copy)
        keys = {
            str(path.relative_to(state)): read_file(path)
            for path in sorted((state / SECURITY).glob("*"))
            if PATH.fullmatch(str(path.relative_to(state)))
        }
        files = (
            Member(path=DATABASE, bytes=copy.stat().st_size, sha256=_digest_of(copy)),
            *(
                Member(path=path, bytes=len(key), sha256=hashlib.sha256(key).hexdigest())
                for path, key in keys.items()
            ),
            *(sources.packages.members(copy) if with_packages else []),
        )
        manifest = _manifest(copy, now, files, with_packages=with_packages)
        if manifest is None:
            raise BackupError(_empty(state, sources))
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _add(archive, NAME, manifest.text, now)
            with copy.open("rb") as file:
                _add_file(archive, files[0], file, now)
            for path, key in keys.items():
                _add(archive, path, key, now)
            for member in files[1 + len(keys) :]:
                with sources.packages.opened(member) as package:
                    _add_file(archive, member, package, now)
    return manifest


@contextmanager
def _undisturbed(store: Path) -> Iterator[None]:
    """While no controller runs none can begin; one that runs has looked at its files already. Raises
    StoreError."""
    try:
        held = own(store.parent, "controller", f"{store.name}.lock")
    except AlreadyRunningError:
        yield
        return
    with held:
        refuse_foreign_log(store)
        yield


def copy_store(store: Path, copy: Path) -> None:
    """As it is at one moment, whatever writes to it. Raises StoreError."""
    source_name = f"file:{urllib.parse.quote(str(store))}?mode=ro"
    try:
        with (
            closing(sqlite3.connect(source_name, uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            (finding,) = target.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise explain(error, store) from error
    if finding != "ok":
        raise BackupError(f"{store} is damaged ({finding}): restore it from a former backup")


def _empty(state: Path, sources: Sources) -> str:
    here = state / DATABASE
    if here.is_file() and not isinstance(sources.store, StoreHere):
        return (
            f"the store at store.url is empty, and there is one in {here}: `repave-controller migrate --to "
            "postgresql` moves it, or back it up without the setting store.url"
        )
    return "the store is empty: start the controller once"


def _manifest(copy: Path, now: float, files: tuple[Member, ...], *, with_packages: bool) -> Manifest | None:
    """None of an empty store."""
    try:
        with closing(sqlite3.connect(copy)) as connection:
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            row = connection.execute("SELECT installation, incarnation FROM store").fetchone()
            names = connection.execute("SELECT name FROM applications ORDER BY name").fetchall()
    except sqlite3.Error as error:
        raise explain(error, copy) from error
    if row is None:
        return None
    return Manifest(
        schema_version=schema,
        installation=row[0],
        incarnation=row[1],
        taken_at=datetime.fromtimestamp(int(now), UTC).isoformat().replace("+00:00", "Z"),
        applications=tuple(name for (name,) in names),
        has_packages=with_packages,
        files=files,
    )


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(archive: tarfile.TarFile, path: str, content: bytes, now: float) -> None:
    archive.addfile(_info(path, len(content), now), io.BytesIO(content))


def _add_file(archive: tarfile.TarFile, member: Member, file: IO[bytes], now: float) -> None:
    watched = _Watched(file)
    archive.addfile(_info(member.path, member.bytes, now), watched)
    if watched.digest != member.sha256:
        raise BackupError(f"{member.path} is damaged: move it away, or back up without --packages")


def _info(path: str, size: int, now: float) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.mtime = size, FILE_MODE, int(now)
    return info


class _Watched(io.RawIOBase):
    """What is read from it is hashed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256 = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._sha256.update(content)
        return content

    @property
    def digest(self) -> str:
        return self._sha256.hexdigest()
