"""The controllers that share a database: their leases, the locks of their sessions, and whose each shard is.

A lease is renewed on a connection of its own, so that it waits for nothing else, and without waiting for the
disk: a database that crashes may forget some, which costs no more than a take-over.
"""

import json
import random
from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.reasons import Concern, Happening, Reason, reason_of
from repave_controller.core.ports import StoreError
from repave_controller.core.rules.divergence import RECOVER
from repave_controller.peers.ports import LEASE_SECONDS, SHARDS, Held, Member, Seen, Shard, Standing
from repave_controller.stores.postgresql.calls import Connection, Row
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.examination import concerns_of, note_identity
from repave_controller.stores.postgresql.faults import FAULTS, explain

log = structlog.get_logger()

FORGET_DAYS = 7
"""So long a controller that went without a word is shown."""
KEY_BITS = 62

LOCKS = """locks AS MATERIALIZED (
    SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)"""
LEASE = f"interval '{LEASE_SECONDS} seconds'"
IS_LIVE = f"(c.expires_at > clock_timestamp() AND c.expires_at <= clock_timestamp() + {LEASE})"
"""One that ends too late is of before the database's clock was set back."""
HOLDS_LOCK = "CASE WHEN c.lock_key IS NOT NULL THEN c.lock_key IN (SELECT key FROM locks) END"
IS_THERE = f"({IS_LIVE} AND ({HOLDS_LOCK}) IS NOT FALSE)"
HAS_NAME = f"coalesce({HOLDS_LOCK}, {IS_LIVE})"
"""A process that hangs has its name still: it may wake."""

BEAT = f"""
WITH {LOCKS},
quick AS (SELECT set_config('synchronous_commit', 'off', true)),
mine AS (
    INSERT INTO repave.controllers AS c
        (id, instance, url, agents, version, started_at, expires_at, lock_key)
    SELECT $1, $2, $3, $4, $5, $6, clock_timestamp() + {LEASE}, $7 FROM quick
    ON CONFLICT (id) DO UPDATE SET instance = excluded.instance, url = excluded.url, agents = excluded.agents,
        version = excluded.version, started_at = excluded.started_at, expires_at = excluded.expires_at,
        lock_key = excluded.lock_key
    WHERE c.instance = excluded.instance OR NOT {HAS_NAME}
    RETURNING c.*
),
everyone AS (SELECT * FROM repave.controllers WHERE id <> $1 UNION ALL SELECT * FROM mine)
SELECT (SELECT incarnation FROM repave.store),
    (SELECT count(*) FROM mine) AS renewed,
    (SELECT json_agg(json_build_array(id, instance, url, agents, version, started_at, {IS_LIVE}, {HOLDS_LOCK},
        extract(epoch FROM expires_at - clock_timestamp())) ORDER BY id)::text FROM everyone c) AS members,
    array_agg(number ORDER BY number) AS numbers,
    array_agg(owner ORDER BY number) AS owners,
    array_agg(term ORDER BY number) AS terms
FROM repave.shards
"""  # noqa: S608  # words of our own
TAKE = f"""
WITH {LOCKS},
free AS (
    SELECT number FROM repave.shards s
    WHERE number = ANY ($3)
        AND (SELECT count(*) FROM repave.controllers c WHERE id = $1 AND instance = $2 AND {IS_THERE}) = 1
        AND (owner IS NULL OR owner = $1
            OR (SELECT count(*) FROM repave.controllers c WHERE c.id = s.owner AND {IS_THERE}) = 0)
    ORDER BY number FOR UPDATE SKIP LOCKED
)
UPDATE repave.shards s SET owner = $1, term = term + 1 FROM free WHERE s.number = free.number
RETURNING s.number, s.term
"""  # noqa: S608  # our own words
"""Counts, not EXISTS: that would be joined, and not be looked at anew when the row has changed meanwhile. A
shard that a commit of its owner holds is left for the next time."""
HAND_OVER = """
WITH given AS (
    SELECT number FROM repave.shards
    WHERE number = ANY ($3) AND owner = $1
        AND EXISTS (SELECT FROM repave.controllers WHERE id = $1 AND instance = $2)
    ORDER BY number FOR UPDATE
)
UPDATE repave.shards s SET owner = NULL FROM given WHERE s.number = given.number
"""
LEAVE = "DELETE FROM repave.controllers WHERE id = $1 AND instance = $2"
NAMESAKE = "SELECT url, started_at FROM repave.controllers WHERE id = $1"
FORGET = f"""
DELETE FROM repave.controllers c WHERE expires_at < clock_timestamp() - interval '{FORGET_DAYS} days'
    AND NOT EXISTS (SELECT FROM repave.shards WHERE owner = c.id)
"""  # noqa: S608  # our own words
SEES_LOCK = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid = $2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32) | objid::bigint = $1
"""


class Members:
    """Implements peers.ports.Roll. Made before the database is opened: it takes its lock in each session.
    Changes of the database itself are told to `tell`."""

    def __init__(self, database: Database, chance: random.Random) -> None:
        self._database = database
        self._chance = chance
        database.session.greeters.append(self._take_lock)
        self._beats = _Way(database, self._noticed)
        self._moves = _Way(database, self._noticed)
        self._lock_key: int | None = None
        self._locked: Connection | None = None
        self._has_forgotten = False
        self._changed: Reason | None = None
        self.locks_tell = True
        self.tell: Callable[[Event], None] = lambda _: None

    async def beat(self, member: Member) -> Standing:
        mine = (member.id, member.instance, member.url, member.agents, member.version, member.started_at)
        (row,) = await self._beats.ask(BEAT, *mine, self._key_held())
        if not row["renewed"]:
            raise StoreError(await self._namesake(member))
        if not self._has_forgotten:
            self._has_forgotten = True
            await self._moves.ask(FORGET)
        return _standing(row)

    async def take(self, member: Member, shards: Collection[Shard]) -> Mapping[Shard, int]:
        rows = await self._moves.ask(TAKE, member.id, member.instance, sorted(shards))
        return {row["number"]: row["term"] for row in rows}

    async def hand_over(self, member: Member, shards: Collection[Shard]) -> None:
        await self._moves.ask(HAND_OVER, member.id, member.instance, sorted(shards))

    async def leave(self, member: Member) -> None:
        await self.hand_over(member, range(SHARDS))
        await self._beats.ask(LEAVE, member.id, member.instance)
        self.close()

    async def concerns(self) -> Sequence[Reason]:
        """What is wrong with the database. Raises StoreError."""
        found = await concerns_of(self._database)
        return [*found, self._changed] if self._changed is not None else found

    def close(self) -> None:
        """May be called twice."""
        self._beats.close()
        self._moves.close()

    async def _take_lock(self, session: Connection) -> None:
        """Of a key that no session had before: one that PostgreSQL takes to be there still keeps its own. It
        is looked for from another connection, since what is between may pass no session on."""
        key = self._chance.getrandbits(KEY_BITS)
        await session.fetchval("SELECT pg_try_advisory_lock($1)", key)
        seen = await self._database.fetch(SEES_LOCK, key, session.get_server_pid())
        self.locks_tell = bool(seen[0]["count"])
        self._lock_key, self._locked = key, session
        if not self.locks_tell:
            log.warning("members.locks_do_not_tell")

    def _key_held(self) -> int | None:
        """None: this controller's session tells nothing, only its lease does."""
        if not self.locks_tell or self._locked is None or self._locked.is_closed():
            return None
        return self._lock_key

    def _noticed(self, before: str, now: str) -> None:
        self._changed = reason_of(Concern.DATABASE_CHANGED, before=before, now=now)
        log.warning("database.changed", before=before, now=now)
        what = reason_of(Happening.DATABASE_CHANGED, RECOVER, before=before, now=now)
        self.tell(Event("database.changed", what=what))

    async def _namesake(self, member: Member) -> str:
        rows = await self._beats.ask(NAMESAKE, member.id)
        where = "".join(f" at {row['url']}" for row in rows if row["url"])
        return (
            f"another controller calls itself {member.id!r} and is there{where}. Give each controller a name "
            "of its own: name in its settings."
        )


class _Way:
    """One connection for one thing at a time, where sessions are kept; one that failed, or whose answer was
    waited for no longer, is not used again. With each, which database it leads to is looked at first."""

    def __init__(self, database: Database, noticed: Callable[[str, str], None]) -> None:
        self._database = database
        self._noticed = noticed
        self._connection: Connection | None = None
        self._is_known = False

    async def ask(self, query: str, *values: object) -> Sequence[Row]:
        """Raises StoreError."""
        try:
            if not self._database.keeps_sessions:
                async with self._database.transaction() as shared:
                    await self._look(shared)
                    return await shared.fetch(query, *values)
            if self._connection is None or self._connection.is_closed():
                self._is_known = False
                self._connection = await self._database.connect_direct()
            await self._look(self._connection)
            return await self._connection.fetch(query, *values)
        except BaseException as error:
            self.close()
            if isinstance(error, FAULTS):
                raise explain(error, self._database.place) from error
            raise

    def close(self) -> None:
        self._is_known = False
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None

    async def _look(self, connection: Connection) -> None:
        if self._is_known:
            return
        changed = await note_identity(connection)
        self._is_known = True
        if changed is not None:
            self._noticed(*changed)


def _standing(row: Row) -> Standing:
    members = tuple(
        Seen(Member(*about), is_live, holds_lock, left)
        for *about, is_live, holds_lock, left in json.loads(row["members"])
    )
    shards = zip(row["numbers"], row["owners"], row["terms"], strict=True)
    return Standing(row["incarnation"], members, tuple(Held(*each) for each in shards))
