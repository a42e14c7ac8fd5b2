"""`repave-controller migrate`: moves a store from a file into the database of `store.url`, or back.

The target must be empty. The copy begins a new incarnation, so that nothing of the former store counts beside
it, and is compared with its source before it counts. At the end the source is put aside: no controller starts
on it by mistake. `controller.db.moving` stays until then, so that a move that was cut off is done again, or,
where only its end was missing, ended.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from repave_controller.backups.commands import owner_of
from repave_controller.backups.manifest import DATABASE, PACKAGES
from repave_controller.backups.putting_back import finish
from repave_controller.backups.taking import copy_store
from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import Store, StoreError, Transaction
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.security.audit import Entry, audit_of, log_row
from repave_controller.security.principals import LOCAL_NAME
from repave_controller.serving.opening import MOVED, shared_of
from repave_controller.serving.packages import shared_of as packages_of
from repave_controller.settings import ControllerSettings
from repave_controller.stores.sqlite.file import open_writer
from repave_controller.stores.sqlite.seal import end
from repave_controller.stores.sqlite.store import SqliteStore, new_name
from repave_protos.daemon.chain import Link, first_hash, link
from repave_protos.daemon.files import make_directory, replace, sync_folder
from repave_protos.daemon.lock import AlreadyRunningError, own
from repave_protos.daemon.owner import acting_as

if TYPE_CHECKING:  # asyncpg is there only where it is used
    from repave_controller.stores.postgresql.connection import Database
    from repave_controller.stores.postgresql.shared import Shared

Kind = Literal["postgresql", "sqlite"]
MOVING = f"{DATABASE}.moving"
PART = f"{DATABASE}.part"
ASIDE = "repave_moved"
PAGE = 1000
COUNTED = {
    table: table
    for table in (
        "applications",
        "events",
        "rollouts",
        "specs",
        "receipts",
        "images",
        "freezes",
        "audit",
        "analyses",
    )
} | {"records": "records WHERE state IS NOT NULL"}
AUDIT_END = "SELECT hash FROM {}audit ORDER BY number DESC LIMIT 1"
SUFFIXES = ("", "-wal", "-shm", ".lock")


def move(
    settings: ControllerSettings,
    to: Kind,
    clock: Callable[[], Instant],
    tell: Callable[[str], None],
    *,
    is_trial: bool,
) -> None:
    """`tell` hears how far it is. Raises StoreError, OSError; then no controller is to be started on the
    target, and the source is as it was."""
    if not settings.store.url:
        raise StoreError("store.url: name the database to move to, or from")
    with acting_as(owner_of(settings.state, service=None)), _alone(settings.state):
        finish(settings.state)
        asyncio.run(Move(settings, clock, tell).run(to, is_trial=is_trial))


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    make_directory(state)
    try:
        with own(state, "controller", f"{DATABASE}.lock"):
            yield
    except AlreadyRunningError as error:
        raise StoreError(f"{error}: stop the controller first") from error


@dataclass(frozen=True, slots=True)
class Content:
    """What a store holds, to be compared."""

    rows: Mapping[str, int]
    audit_end: str

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {table}" for table, count in self.rows.items())


class Move:
    """One, in a state directory that no controller uses meanwhile."""

    def __init__(
        self, settings: ControllerSettings, clock: Callable[[], Instant], tell: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._tell = tell
        self._file = settings.state / DATABASE
        self._marker = settings.state / MOVING

    async def run(self, to: Kind, *, is_trial: bool) -> None:
        async with self._database() as shared:
            if to == "postgresql":
                await self._into_database(shared, is_trial=is_trial)
            else:
                await self._into_file(shared, is_trial=is_trial)

    @asynccontextmanager
    async def _database(self) -> AsyncIterator["Shared"]:
        """Only the database; the store in it begins no term."""
        shared = shared_of(self._settings.store, new_name)
        await shared.store.database.open()
        try:
            yield shared
        finally:
            await shared.store.database.close()

    # -------------------------------------------------------------------------------- file to database

    async def _into_database(self, shared: "Shared", *, is_trial: bool) -> None:
        from repave_controller.backups.copying import copy_in, incarnation_of

        database = shared.store.database
        source = self._file
        if not (source.exists() and source.stat().st_size):
            raise StoreError(f"{source}: there is no store here to be moved")
        mark = {"to": str(database.place), "of": _mark_of(source)}
        is_copied = await incarnation_of(database) > 0
        if is_copied and self._marked() != mark:
            raise StoreError(f"{database.place}: there is a store already. Name an empty database")
        if not is_copied:
            part = self._file.with_name(PART)
            with _scratch(part):
                copy_store(source, part)
                told = await self._begin_anew(part, f"from {source} to {database.place}")
                content = _content_of(part)
                self._tell(f"{source} holds {content}")
                if is_trial:
                    self._tell(f"{database.place} is empty and can be used; nothing was changed")
                    return
                replace(self._marker, json.dumps(mark).encode())
                await copy_in(part, database)
                self._compare(content, await _content_in(database))
                log_row(*told)
        elif is_trial:
            self._tell("all was copied before; only the end is missing; nothing was changed")
            return
        await self._share_packages(shared)
        self._put_file_aside()
        self._tell(f"moved; the former store is {source.with_name(MOVED)}. Start the controller")

    async def _share_packages(self, shared: "Shared") -> None:
        packages = packages_of(self._settings, shared.store, self._clock)
        found = sorted((self._settings.state / PACKAGES).glob("*.tar.gz"))
        if packages is None or not found:
            return
        images = ImageDirectory(self._settings.state / PACKAGES, self._clock, shared=packages)
        known = {each.digest for each in await shared.store.images()}
        here = [each for each in found if each.name.removesuffix(".tar.gz") in known]
        self._tell(f"{len(here)} packages, {sum(each.stat().st_size for each in here) / 1e6:,.1f} MB")
        images.know(known)
        await images.share()

    def _put_file_aside(self) -> None:
        connection = open_writer(self._file)
        with closing(connection):
            end(connection)  # its log is in it once it is closed
        self._file.rename(self._file.with_name(MOVED))
        self._marker.unlink()
        sync_folder(self._file.parent)

    # -------------------------------------------------------------------------------- database to file

    async def _into_file(self, shared: "Shared", *, is_trial: bool) -> None:
        from repave_controller.backups.copying import LIVE, copy_out, incarnation_of

        database = shared.store.database
        if await incarnation_of(database) == 0:
            raise StoreError(f"{database.place}: there is no store here to be moved")
        live = [str(row["id"]) for row in await database.fetch(LIVE)]
        if live:
            raise StoreError(f"{database.place}: controllers run on it ({', '.join(live)}). Stop them first")
        (row,) = await database.fetch("SELECT term, change FROM repave.store")
        mark = {"from": str(database.place), "of": [row["term"], row["change"]]}
        is_copied = self._file.exists() and self._file.stat().st_size > 0
        if is_copied and self._marked() != mark:
            raise StoreError(f"{self._file}: there is a store already. Name another state directory")
        if not is_copied:
            part = self._file.with_name(PART)
            with _scratch(part):
                await copy_out(database, part)
                content = await _content_in(database)
                self._compare(content, _content_of(part))
                told = await self._begin_anew(part, f"from {database.place} to {self._file}")
                self._tell(f"{database.place} holds {content}")
                if is_trial:
                    self._tell(f"{self._settings.state} can be used; nothing was changed")
                    return
                await self._fetch_packages(shared)
                replace(self._marker, json.dumps(mark).encode())
                part.rename(self._file)
                sync_folder(self._file.parent)
                log_row(*told)
        elif is_trial:
            self._tell("all was copied before; only the end is missing; nothing was changed")
            return
        aside = await _put_schema_aside(shared)
        self._file.with_name(MOVED).unlink(missing_ok=True)
        self._marker.unlink()
        sync_folder(self._file.parent)
        self._tell(f"moved; the former store is the schema {aside} there. Take store.url out of the settings")

    async def _fetch_packages(self, shared: "Shared") -> None:
        if self._settings.packages.store == "s3":
            return  # they stay where they are
        packages = packages_of(self._settings, shared.store, self._clock)
        images = ImageDirectory(self._settings.state / PACKAGES, self._clock, shared=packages)
        known = [each.digest for each in await shared.store.images()]
        self._tell(f"{len(known)} packages")
        missing = [each for each in known if await images.bring(each) is None]
        if missing:
            self._tell(f"packages that the store knows and that are nowhere: {', '.join(missing)}")

    # -------------------------------------------------------------------------------------------- both

    def _marked(self) -> object:
        try:
            return json.loads(self._marker.read_bytes())
        except (OSError, ValueError):
            return None

    async def _begin_anew(self, copy: Path, what: str) -> tuple[Link, Entry]:
        """Brings the copy to the newest schema, which checks it, and begins a new incarnation there. Returns
        the row of the audit log that says so, for `log_row` once the copy counts."""
        store = SqliteStore(copy)
        loaded = await store.open()
        try:
            await store.begin_incarnation(0)
            at = Instant(max(self._clock(), loaded.last_event_at))
            await store.commit(Transaction(events=(Event("store.moved", what, at=at),)))
            fault = await _audit_fault(store, loaded.installation)
            audit = await audit_of(store, loaded.installation, lambda: at)
            entry = Entry(at, LOCAL_NAME, "local", "", "", "move store", outcome="done")
            row = await audit.write(entry)
        finally:
            await store.close()
        if fault:
            self._tell(f"the audit log is broken since before the move ({fault}); it is moved as it is")
        return row, entry

    def _compare(self, expected: Content, found: Content) -> None:
        if found != expected:
            raise StoreError(
                f"what was copied is not what the source holds ({found}, and not {expected}). Empty the "
                "target, and move again"
            )


def _content_of(file: Path) -> Content:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        counts = connection.execute(_counts_in("")).fetchone()
        ends = connection.execute(AUDIT_END.format("")).fetchall()
    return Content(dict(zip(COUNTED, counts, strict=True)), "".join(row[0] for row in ends))


async def _content_in(database: "Database") -> Content:
    (row,) = await database.fetch(_counts_in("repave."))
    ends = await database.fetch(AUDIT_END.format("repave."))
    return Content({table: row[table] for table in COUNTED}, "".join(each["hash"] for each in ends))


def _counts_in(schema: str) -> str:
    each = (f"(SELECT count(*) FROM {schema}{what}) AS {table}" for table, what in COUNTED.items())  # noqa: S608  # our own words
    return f"SELECT {', '.join(each)}"


async def _audit_fault(store: Store, installation: str) -> str:
    former, number = first_hash(installation), 0
    while page := await store.audit(number, PAGE):
        for each in page:
            is_first = number == 0 and each.number > 1  # older ones were trimmed
            if not is_first and each.number != number + 1:
                return f"row {number + 1} is missing"
            if not is_first and each != link(each.number, each.text, former):
                return f"row {each.number} was changed, or a row before it"
            former, number = each.hash, each.number
    return ""


async def _put_schema_aside(shared: "Shared") -> str:
    database = shared.store.database
    async with database.transaction() as connection:
        number = 1
        while await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", f"{ASIDE}_{number}"):
            number += 1
        await connection.execute(f"ALTER SCHEMA repave RENAME TO {ASIDE}_{number}")
    return f"{ASIDE}_{number}"


def _mark_of(file: Path) -> list[int]:
    """Another one after each start of a controller on it. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return list(connection.execute("SELECT incarnation, term FROM store").fetchone())
    except (sqlite3.Error, TypeError) as error:
        raise StoreError(f"{file}: there is no store here to be moved: {error}") from error


@contextmanager
def _scratch(part: Path) -> Iterator[None]:
    """Nothing of it is left after the block, but what was renamed."""
    try:
        for suffix in SUFFIXES:
            part.with_name(part.name + suffix).unlink(missing_ok=True)
        yield
    finally:
        for suffix in SUFFIXES:
            with contextlib.suppress(OSError):
                part.with_name(part.name + suffix).unlink(missing_ok=True)
