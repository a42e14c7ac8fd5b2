"""Keeps the controller's decisions in one SQLite file. Implements ports.Store.

Commits that wait at the same time share one fsync (group commit): while the writer thread is busy with a
batch, the next one gathers here. Reads have a connection and a thread of their own.
"""

import asyncio
import dataclasses
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from repave_controller.core.domain.application import Event, Instant, Tenure
from repave_controller.core.domain.rollout import Rollout
from repave_controller.core.ports import (
    Aged,
    Image,
    Kept,
    Loaded,
    Look,
    Receipt,
    Record,
    Size,
    StoreError,
    Transaction,
)
from repave_controller.stores.codec import decode_rollout
from repave_controller.stores.group_commit import GroupCommit
from repave_controller.stores.kept import aged, oldest_of, tables_of
from repave_controller.stores.receipts import with_receipt
from repave_controller.stores.rows import Outcome, Rows, look_of, rows_of, rows_of_image
from repave_controller.stores.sqlite.file import MOUNTS, Connect, connect, explain, lock, open_reader
from repave_controller.stores.sqlite.sizes import sizes_of
from repave_controller.stores.sqlite.writer import SqliteWriter
from repave_protos.daemon.chain import Link
from repave_protos.protocol.values import ApplicationName, Digest

EVENTS_READ_MAX = 100_000
NUMBER_MAX = 2**53

EVENTS = "SELECT sequence, at, kind, text, application, region, server_group, host, by FROM events"
ROLLOUTS = "SELECT state FROM rollouts WHERE application = ? AND number < ?"
RECORDS = "SELECT kind, name, state FROM records WHERE kind = ? AND state IS NOT NULL ORDER BY name"
AUDIT = "SELECT number, text, hash FROM audit WHERE number > ?"
LOOKS = """
    SELECT application, rollout, id, at, outcome, details FROM analyses WHERE application = ?1
    AND rollout = coalesce(?2, (SELECT max(rollout) FROM analyses WHERE application = ?1))
    ORDER BY at DESC, id DESC LIMIT ?3
"""
IMAGES = "SELECT digest, size_bytes, files, name, pushed_at FROM images ORDER BY pushed_at DESC, digest"
RECEIPT = "SELECT key, body_hash, response, at FROM receipts WHERE key = ?"
KEPT = tables_of(lambda column, field: f"json_extract({column}, '$.{field}')")


def new_name() -> str:
    """For a store that is made."""
    return secrets.token_hex(6)


class SqliteStore:
    """Implements ports.Store. Only one at a time, over all processes, can have a path open."""

    def __init__(
        self,
        path: Path,
        *,
        new_name: Callable[[], str] = new_name,
        connect: Connect = connect,
        mounts: Path = MOUNTS,
    ) -> None:
        """`new_name` names a store that is created; `connect` and `mounts` are the ways to the machine."""
        self._path = path
        self._new_name = new_name
        self._connect = connect
        self._mounts = mounts
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._read_thread = ThreadPoolExecutor(1, thread_name_prefix="store-read")
        self._lock: IO[str] | None = None
        self._writer: SqliteWriter | None = None
        self._reader: sqlite3.Connection | None = None
        self._commits = GroupCommit(self._save)

    async def open(self) -> Loaded:
        """Locks the store, brings its schema up to date and begins a new term; see ports.Store."""
        assert self._writer is None, "the store is open"
        loop = asyncio.get_running_loop()
        try:
            self._lock = await loop.run_in_executor(self._write_thread, lock, self._path, self._mounts)
            self._writer, loaded = await loop.run_in_executor(self._write_thread, self._open_writer)
            self._reader = await loop.run_in_executor(
                self._read_thread, open_reader, self._path, self._connect
            )
        except BaseException:
            await self.close()
            raise
        return loaded

    async def begin_incarnation(self, above: int) -> Tenure:
        if self._writer is None:
            raise StoreError(f"{self._path}: the store is closed.")
        begin = self._writer.begin_incarnation
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, begin, above)

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        async with with_receipt(transaction) as whole:
            sequence = await self._write(rows_of(whole))
        return tuple(
            dataclasses.replace(event, sequence=sequence + index)
            for index, event in enumerate(transaction.events)
        )

    async def add_image(self, image: Image) -> None:
        await self._write(rows_of_image(image))

    async def events(
        self, after: int = 0, application: str = "", limit: int = 1000, newest: bool = False
    ) -> Sequence[Event]:
        values: tuple[int | str, ...] = (after, max(0, min(limit, EVENTS_READ_MAX)))
        where = "sequence > ?"
        if application:
            where, values = "application = ? AND sequence > ?", (application, *values)
        order = "DESC" if newest else "ASC"
        rows = await self._read(f"{EVENTS} WHERE {where} ORDER BY sequence {order} LIMIT ?", values)
        events = [_event(*row) for row in rows]
        return events[::-1] if newest else events

    async def rollouts(
        self, application: ApplicationName, limit: int = 50, before: int | None = None
    ) -> Sequence[Rollout]:
        bound, query = NUMBER_MAX if before is None else before, f"{ROLLOUTS} ORDER BY number DESC LIMIT ?"
        rows = await self._read(query, (application, bound, max(0, limit)))
        return [decode_rollout(state) for (state,) in rows]

    async def spec(self, application: ApplicationName, group: str) -> str | None:
        query = "SELECT text FROM specs WHERE application = ? AND server_group = ?"
        rows = await self._read(query, (application, group))
        return rows[0][0] if rows else None

    async def receipt(self, key: str) -> Receipt | None:
        rows = await self._read(RECEIPT, (key,))
        return Receipt(*rows[0]) if rows else None

    async def looks(
        self, application: ApplicationName, rollout: int | None = None, limit: int = 1000
    ) -> Sequence[Look]:
        rows = await self._read(LOOKS, (application, rollout, max(0, min(limit, EVENTS_READ_MAX))))
        return [look_of(*row) for row in reversed(rows)]

    async def records(self, kind: str) -> Sequence[Record]:
        return [Record(*row) for row in await self._read(RECORDS, (kind,))]

    async def images(self) -> Sequence[Image]:
        return [
            Image(Digest(digest), size, files, name, Instant(pushed_at))
            for digest, size, files, name, pushed_at in await self._read(IMAGES, ())
        ]

    async def audit(self, after: int = 0, limit: int = 1000, newest: bool = False) -> Sequence[Link]:
        order = "DESC" if newest else "ASC"
        bounds = (after, max(0, min(limit, EVENTS_READ_MAX)))
        rows = [Link(*row) for row in await self._read(f"{AUDIT} ORDER BY number {order} LIMIT ?", bounds)]
        return rows[::-1] if newest else rows

    async def oldest(self, kind: Kept, limit: int = 1000, after: Aged | None = None) -> Sequence[Aged]:
        most = max(0, min(limit, EVENTS_READ_MAX))
        query, values = oldest_of(KEPT[kind], most, after, lambda number: "?")
        return [aged(row) for row in await self._read(query, values)]

    async def count(self, kind: Kept) -> int:
        ((rows,),) = await self._read(f"SELECT count(*) FROM {KEPT[kind].name}", ())  # noqa: S608  # our own text
        return int(rows)

    async def sizes(self) -> Sequence[Size]:
        """On a connection of its own, since it reads through the file."""
        if self._writer is None:
            raise StoreError(f"{self._path}: the store is closed.")
        try:
            return await asyncio.to_thread(sizes_of, self._path)
        except sqlite3.Error as error:
            raise explain(error, self._path) from error

    @property
    def waiting(self) -> int:
        return self._commits.waiting

    async def close(self) -> None:
        """Saves what waits, then lets go of the files. May be called twice."""
        await self._commits.idle()
        loop = asyncio.get_running_loop()
        reader, writer, held = self._reader, self._writer, self._lock
        self._reader = self._writer = self._lock = None
        if reader is not None:
            await loop.run_in_executor(self._read_thread, reader.close)
        if writer is not None:
            await loop.run_in_executor(self._write_thread, writer.close)
        if held is not None:
            held.close()
        self._read_thread.shutdown(wait=False)
        self._write_thread.shutdown(wait=False)

    # ----------------------------------------------------------------------------------------- inside

    def _open_writer(self) -> tuple[SqliteWriter, Loaded]:
        writer = SqliteWriter(self._path, self._connect)
        try:
            return writer, writer.load(self._new_name)
        except BaseException:
            writer.close()
            raise

    async def _write(self, rows: Rows) -> int:
        """Returns the first event's sequence number. Once this is called the rows are saved if they can be,
        whether or not the caller still waits."""
        if self._writer is None:
            raise StoreError(f"{self._path}: the store is closed.")
        if self._commits.is_full:
            raise StoreError(f"{self._path}: the disk does not keep up; try again later.")
        return await self._commits.add(rows)

    async def _save(self, batch: Sequence[Rows]) -> Sequence[Outcome]:
        assert self._writer is not None, "close waits until nothing is saved"
        return await asyncio.get_running_loop().run_in_executor(self._write_thread, self._writer.write, batch)

    async def _read(self, query: str, values: Sequence[int | str | float | None]) -> list[tuple[Any, ...]]:
        reader = self._reader
        if reader is None:
            raise StoreError(f"{self._path}: the store is closed.")
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._read_thread, lambda: reader.execute(query, tuple(values)).fetchall()
            )
        except sqlite3.Error as error:
            raise explain(error, self._path) from error


def _event(
    sequence: int,
    at: float,
    kind: str,
    text: str,
    application: str,
    region: str,
    group: str,
    host: str,
    by: str,
) -> Event:
    return Event(kind, text, application, region, group, host, by, Instant(at), sequence)
