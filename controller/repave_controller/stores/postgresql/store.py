"""Keeps the decisions of one or several controllers in PostgreSQL. Implements ports.Store.

Commits that wait at the same time are one transaction of the database (group commit): while a batch is being
saved, the next one gathers here.
"""

import dataclasses
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence

from repave_controller.core.domain.application import Event, Instant, Tenure
from repave_controller.core.domain.freezes import Freezes
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
from repave_controller.peers.ports import Changes, Shard
from repave_controller.stores.codec import decode_application, decode_freezes, decode_rollout
from repave_controller.stores.group_commit import GroupCommit
from repave_controller.stores.kept import aged, oldest_of
from repave_controller.stores.postgresql.changes import Hints, changes
from repave_controller.stores.postgresql.connection import Database, Row
from repave_controller.stores.postgresql.reading import (
    AUDIT,
    EVENTS,
    IMAGES,
    KEPT,
    LOOKS,
    NEWEST,
    RECEIPT,
    RECORDS,
    ROLLOUTS,
    SPEC,
    TABLES,
)
from repave_controller.stores.postgresql.saving import CHANNEL
from repave_controller.stores.postgresql.writer import Writer
from repave_controller.stores.receipts import with_receipt
from repave_controller.stores.rows import Outcome, Rows, look_of, rows_of, rows_of_image
from repave_protos.daemon.chain import Link
from repave_protos.protocol.values import ApplicationName

BEGIN_SECONDS = 4
"""So long a start waits for its turn among the commits of other controllers."""
ROWS_READ_MAX = 100_000
TOMBSTONES_KEPT = "1 day"
"""A controller that was cut off for longer must start anew: it might not hear that a record is gone."""

FORGET = f"""
    WITH gone AS (
        DELETE FROM repave.records WHERE state IS NULL AND gone_at < clock_timestamp() - '{TOMBSTONES_KEPT}'::interval
        RETURNING change
    )
    UPDATE repave.store SET forgotten_change = greatest(forgotten_change, (SELECT coalesce(max(change), 0) FROM gone))
"""  # noqa: E501, S608  # our own text

BEGIN_WRITING = """
    INSERT INTO repave.writers (writer, number, change, first_event, outcomes, details)
    VALUES ($1, 0, 0, 0, '{}', '{}')
"""
TRIM = """
    DELETE FROM repave.writers w WHERE at < clock_timestamp() - interval '1 hour'
        AND NOT EXISTS (SELECT FROM repave.controllers c WHERE c.instance = w.writer)
        AND writer NOT IN (SELECT writer FROM repave.writers ORDER BY change DESC, at DESC LIMIT 2)
"""
"""Each start adds a row. Those of processes that may save still stay, and the two newest changes, for what
others than a writer saved last is compared: of whichever writer, that is one of the two. A batch that arrives
after its row is gone is refused."""


def new_name() -> str:
    """For a store that is made, or a writer."""
    return secrets.token_hex(6)


class PostgresStore:
    """Implements ports.Store and peers.ports.ChangeLog. Several may have one database open."""

    def __init__(self, database: Database, *, new_name: Callable[[], str] = new_name) -> None:
        """`new_name` names a store that is made; it may raise StoreError."""
        self.database = database
        self._hints = Hints()
        database.session.greeters.append(self._hints.greet)
        self._new_name = new_name
        self.writer_name = ""  # once it is open; as the instance of a member it keeps the writer's row
        self._writer: Writer | None = None
        self._commits = GroupCommit(self._save, _together)

    async def open(self) -> Loaded:
        """Brings the tables up to date and begins a new term; see ports.Store."""
        assert self._writer is None, "the store is open"
        await self.database.open()
        try:
            self.writer_name = secrets.token_hex(8)
            tenure, installation = await self._begin_term()
            loaded = await self._load(tenure, installation)
        except BaseException:
            await self.database.close()
            raise
        self._writer = Writer(self.database, self.writer_name)
        return loaded

    async def begin_incarnation(self, above: int) -> Tenure:
        self._opened()
        async with self.database.transaction() as connection:
            row = await connection.fetchrow(
                "UPDATE repave.store SET incarnation = greatest(incarnation, $1) + 1, change = change + 1 "
                "RETURNING incarnation, term",
                above,
            )
            await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
        assert row is not None
        return Tenure(row["incarnation"], row["term"])

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
        values: tuple[object, ...] = (_bounded(limit), after)
        where = "sequence > $2"
        if application:
            where, values = "application = $3 AND sequence > $2", (*values, application)
        order = "DESC" if newest else "ASC"
        rows = await self._read(f"{EVENTS} WHERE {where} ORDER BY sequence {order} LIMIT $1", *values)
        events = [_event(row) for row in rows]
        return events[::-1] if newest else events

    async def rollouts(
        self, application: ApplicationName, limit: int = 50, before: int | None = None
    ) -> Sequence[Rollout]:
        rows = await self._read(ROLLOUTS, application, before, max(0, limit))
        return [decode_rollout(row["state"]) for row in rows]

    async def spec(self, application: ApplicationName, group: str) -> str | None:
        rows = await self._read(SPEC, application, group)
        return rows[0]["text"] if rows else None

    async def receipt(self, key: str) -> Receipt | None:
        rows = await self._read(RECEIPT, key)
        return Receipt(**rows[0]) if rows else None

    async def looks(
        self, application: ApplicationName, rollout: int | None = None, limit: int = 1000
    ) -> Sequence[Look]:
        rows = await self._read(LOOKS, application, rollout, _bounded(limit))
        return [look_of(*row.values()) for row in reversed(rows)]

    async def records(self, kind: str) -> Sequence[Record]:
        return [Record(**row) for row in await self._read(RECORDS, kind)]

    async def images(self) -> Sequence[Image]:
        rows = await self._read(IMAGES)
        return [Image(**row) for row in rows]

    async def audit(self, after: int = 0, limit: int = 1000, newest: bool = False) -> Sequence[Link]:
        order = "DESC" if newest else "ASC"
        rows = await self._read(f"{AUDIT} ORDER BY number {order} LIMIT $2", after, _bounded(limit))
        links = [Link(**row) for row in rows]
        return links[::-1] if newest else links

    async def oldest(self, kind: Kept, limit: int = 1000, after: Aged | None = None) -> Sequence[Aged]:
        query, values = oldest_of(KEPT[kind], _bounded(limit), after, "${}".format, "repave.")
        return [aged(tuple(row)) for row in await self._read(query, *values)]

    async def count(self, kind: Kept) -> int:
        (row,) = await self._read(f"SELECT count(*) AS rows FROM repave.{KEPT[kind].name}")  # noqa: S608  # our own words
        return int(row["rows"])

    async def sizes(self) -> Sequence[Size]:
        found = []
        for table in await self._read(TABLES):
            (row,) = await self._read(f"SELECT count(*) AS rows FROM repave.{table['name']}")  # noqa: S608  # our own words
            found.append(Size(table["name"], row["rows"], table["bytes"]))
        return found

    async def changes(self, after: int, shards: Collection[Shard] | None = None) -> Changes:
        """See peers.ports.ChangeLog."""
        await self._opened().settle()
        return await changes(self.database, after, shards)

    def hints(self) -> AsyncIterator[None]:
        """See peers.ports.ChangeLog."""
        return self._hints.listen()

    @property
    def waiting(self) -> int:
        return self._commits.waiting

    async def close(self) -> None:
        """Saves what waits, then lets go of the database. May be called twice."""
        await self._commits.idle()
        self._writer = None
        await self.database.close()

    # ----------------------------------------------------------------------------------------- inside

    def _opened(self) -> Writer:
        if self._writer is None:
            raise StoreError(f"{self.database.place}: the store is closed.")
        return self._writer

    async def _begin_term(self) -> tuple[Tenure, str]:
        async with self.database.transaction() as connection:
            await connection.execute(f"SET LOCAL lock_timeout = '{BEGIN_SECONDS}s'")
            if not await connection.fetchval("SELECT count(*) FROM repave.store"):
                begin = "INSERT INTO repave.store VALUES (1, 1, 0, $1) ON CONFLICT DO NOTHING"
                await connection.execute(begin, self._new_name())
            row = await connection.fetchrow(
                "UPDATE repave.store SET term = term + 1 RETURNING incarnation, term, installation"
            )
            await connection.execute(BEGIN_WRITING, self.writer_name)
            await connection.execute(FORGET)
            await connection.execute(TRIM)
        assert row is not None
        return Tenure(row["incarnation"], row["term"]), row["installation"]

    async def _load(self, tenure: Tenure, installation: str) -> Loaded:
        async with self.database.transaction("ISOLATION LEVEL REPEATABLE READ READ ONLY") as connection:
            applications = await connection.fetch("SELECT state FROM repave.applications ORDER BY name")
            freezes = await connection.fetchval("SELECT state FROM repave.freezes")
            at = await connection.fetchval(NEWEST)
            change = await connection.fetchval("SELECT change FROM repave.store")
        return Loaded(
            tenure=tenure,
            installation=installation,
            applications=tuple(decode_application(row["state"]) for row in applications),
            last_event_at=Instant(at),
            freezes=decode_freezes(freezes) if freezes is not None else Freezes(),
            change=change,
        )

    async def _write(self, rows: Rows) -> int:
        """Returns the first event's sequence number. Once this is called the rows are saved if they can be,
        whether or not the caller still waits."""
        self._opened()
        if self._commits.is_full:
            raise StoreError(f"{self.database.place}: it does not keep up; try again later.")
        return await self._commits.add(rows)

    async def _save(self, batch: Sequence[Rows]) -> Sequence[Outcome]:
        return await self._opened().write(batch)

    async def _read(self, query: str, *values: object) -> Sequence[Row]:
        """Also where only the database is open."""
        if self._writer is not None:
            await self._writer.settle()
        return await self.database.fetch(query, *values)


def _together(waiting: Iterable[Rows]) -> int:
    """What one decides of another one's record, or repeats of a request, are apart, for a batch is judged by
    what was there before it."""
    keys, changed, count = set[str](), set[tuple[str, str]](), 0
    for rows in waiting:
        expected = {(kind, name) for kind, name, _ in rows.expected}
        if (rows.receipt is not None and rows.receipt[0] in keys) or expected & changed:
            break
        keys |= {rows.receipt[0]} if rows.receipt is not None else set()
        changed |= {(kind, name) for kind, name, _ in rows.records}
        count += 1
    return count


def _bounded(limit: int) -> int:
    return max(0, min(limit, ROWS_READ_MAX))


def _event(row: Row) -> Event:
    return Event(
        row["kind"],
        row["text"],
        row["application"],
        row["region"],
        row["server_group"],
        row["host"],
        row["by"],
        Instant(row["at"]),
        row["sequence"],
    )
