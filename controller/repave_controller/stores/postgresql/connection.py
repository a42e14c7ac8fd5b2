"""The way to PostgreSQL: a few connections for transactions, and one past any pooler for what belongs to a
session (LISTEN, a lock). Every wait is bounded, and every error is explained as StoreError.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import asyncpg
import structlog

from repave_controller.core.ports import StoreError
from repave_controller.stores.postgresql.calls import Connection as Connection
from repave_controller.stores.postgresql.calls import Row as Row
from repave_controller.stores.postgresql.faults import FAULTS, explain
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.schema import migrate

log = structlog.get_logger()

APPLICATION_NAME = "repave-controller"
OLDEST = 13  # PostgreSQL's version
CONNECTIONS_MAX = 8
GREET_SECONDS = 8.0
PING_SECONDS = 2.0
CANCEL_SECONDS = 0.1
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.05, 2.0
SETTINGS = {
    "lock_timeout": "500ms",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "1s",
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
}
"""Of each transaction. What a controller that stops in the middle has locked is free before its lease ends:
through a pooler each statement is a transaction of several messages."""
KEPT_ALIVE = {"tcp_keepalives_idle": "1", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "2"}
"""So that PostgreSQL ends the session, and gives its lock back, of a machine that is gone without a word."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a connection and an answer are waited for; PostgreSQL itself gives up before. `settle`: how
    long it is tried to find out what became of a batch before its callers are told that it isn't known."""

    connect_seconds: float = 5.0
    answer_seconds: float = 8.0
    settle_seconds: float = 15.0


class Unreached(StoreError):
    """There was no connection: nothing was asked of the database."""


Greet = Callable[[Connection], Awaitable[None]]


class Session:
    """One connection past any pooler, made anew whenever it ends. Each of `greeters` is called with it first,
    and nothing else may use it. `connection` is None while there is none; `is_direct` is False where it has
    turned out to lead to a pooler: then nothing of a session can be relied on, and no greeter is called."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], chance: random.Random) -> None:
        self._connect = connect
        self._chance = chance
        self.greeters: list[Greet] = []
        self.connection: Connection | None = None
        self.is_direct = True

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = PAUSE_SECONDS_MIN
        while True:
            try:
                await self._live()
                pause = PAUSE_SECONDS_MIN
            except (*FAULTS, StoreError) as error:
                log.warning("store.session_lost", error=str(error))
                pause = min(PAUSE_SECONDS_MAX, pause * 2)
            except Exception:  # the session's root: without it no hint comes, and no lock tells
                log.exception("store.session_failed")
                pause = min(PAUSE_SECONDS_MAX, pause * 2)
            await asyncio.sleep(pause * self._chance.uniform(0.5, 1.0))

    async def _live(self) -> None:
        """One connection, from its beginning to its end."""
        connection = await self._connect()
        try:
            self.is_direct = await is_direct(connection)
            if self.is_direct:
                for greet in self.greeters:
                    await asyncio.wait_for(greet(connection), GREET_SECONDS)
            ended = asyncio.Event()
            connection.add_termination_listener(lambda _: ended.set())
            self.connection = connection
            while not (ended.is_set() or connection.is_closed()):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), PING_SECONDS)
                    return
                await asyncio.wait_for(connection.fetchval("SELECT 1"), PING_SECONDS)
        finally:
            self.connection = None
            connection.terminate()


class Database:
    """PostgreSQL with the tables of a store. `is_pooled`: transactions go through a pooler that may give each
    of them another session."""

    def __init__(self, place: Place, chance: random.Random | None = None, bounds: Bounds = Bounds()) -> None:
        self.place = place
        self.bounds = bounds
        self.is_pooled = False
        self.session = Session(self.connect_direct, chance or random.Random())  # noqa: S311  # only pauses
        self._pool: Any = None  # asyncpg has no types
        self._session_task: asyncio.Task[None] | None = None
        self._begin = "BEGIN"

    async def open(self) -> None:
        """Brings the tables to the newest schema. Raises StoreError."""
        assert self._pool is None, "the database is open"
        try:
            await self._look()
            self._pool = await self._make_pool()
        except FAULTS as error:
            raise explain(error, self.place) from error
        try:
            async with self.transaction() as connection:
                await migrate(connection, str(self.place))
        except BaseException:
            await self.close()
            raise
        self._session_task = asyncio.create_task(self.session.run(), name="store-session")

    async def close(self) -> None:
        """May be called twice."""
        task, pool = self._session_task, self._pool
        self._session_task = self._pool = None
        if task is not None:
            while not task.done():  # asyncio.wait_for of Python 3.11 may lose a cancellation
                task.cancel()
                await asyncio.wait({task}, timeout=CANCEL_SECONDS)
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), self.bounds.connect_seconds)
            except (*FAULTS, TimeoutError):
                pool.terminate()

    async def fetch(self, query: str, *values: object) -> Sequence[Row]:
        """One statement, a transaction of its own. Raises StoreError."""
        if self.is_pooled:  # else each half of the statement might reach another session
            async with self.transaction() as connection:
                return await connection.fetch(query, *values)
        async with self.connection() as connection:
            return await connection.fetch(query, *values, timeout=self.bounds.answer_seconds)

    @asynccontextmanager
    async def transaction(self, how: str = "") -> AsyncIterator[Connection]:
        """Committed at the end of the block; `how` as in BEGIN, such as "ISOLATION LEVEL REPEATABLE READ".

        Raises StoreError. Where the connection is lost meanwhile it may have been committed: this is for what
        may be repeated. Errors of PostgreSQL that the block is to handle it must catch itself.
        """
        async with self.connection() as connection:
            begin, semicolon, settings = self._begin.partition(";")
            await connection.execute(f"{begin} {how}{semicolon}{settings}")
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(*FAULTS):
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Out of a transaction. Raises StoreError for every error of PostgreSQL in the block."""
        pool = self._pool
        if pool is None:
            raise StoreError(f"{self.place}: the store is closed.")
        try:
            connection = await pool.acquire(timeout=self.bounds.connect_seconds)
        except (*FAULTS, StoreError) as error:
            raise Unreached(str(explain(error, self.place))) from error
        try:
            try:
                yield connection
            except (TimeoutError, OSError, asyncpg.ReadOnlySQLTransactionError):
                connection.terminate()  # the next one may lead to a server that is there
                raise
            finally:
                await asyncio.shield(pool.release(connection, timeout=self.bounds.connect_seconds))
        except FAULTS as error:
            raise explain(error, self.place) from error

    # ---------------------------------------------------------------------------------------- connecting

    async def _look(self) -> None:
        """What there is, before anything is asked of it."""
        connection = await self._connect(self.place.url, is_pooled=True)
        try:
            await connection.execute("BEGIN")
            version = await connection.fetchval("SELECT current_setting('server_version_num')::int / 10000")
            self.is_pooled = not await is_direct(connection)
            await connection.execute("ROLLBACK")
        finally:
            connection.terminate()
        if version < OLDEST:
            raise StoreError(f"{self.place}: it is PostgreSQL {version}; repave needs {OLDEST} or newer.")
        if self.is_pooled:
            local = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in SETTINGS.items())
            self._begin = f"BEGIN; {local}"
            if not self.place.direct_url:
                log.warning(
                    "store.pooled",
                    text=f"{self.place}: this leads to a pooler, where a session can't be kept: others' "
                    "changes are seen by looking each second. Set store.direct_url to PostgreSQL itself",
                )

    async def _make_pool(self) -> Any:
        return await asyncpg.create_pool(
            **self._options(self.place.url, is_pooled=self.is_pooled),
            min_size=0,
            init_size=1,
            max_size=CONNECTIONS_MAX,
            reset=_keep,
        )

    @property
    def keeps_sessions(self) -> bool:
        """Some way leads past any pooler, as far as is known."""
        return self.session.is_direct and (not self.is_pooled or bool(self.place.direct_url))

    async def connect_direct(self) -> Connection:
        """One outside the pool, past any pooler, for the caller alone. Raises what asyncpg does."""
        url = self.place.past_poolers
        return await self._connect(url, is_pooled=self.is_pooled and url == self.place.url)

    async def _connect(self, url: str, *, is_pooled: bool) -> Connection:
        return cast("Connection", await asyncpg.connect(**self._options(url, is_pooled=is_pooled)))

    def _options(self, url: str, *, is_pooled: bool) -> dict[str, Any]:
        """A pooler takes no settings of a session, and knows no statement that was prepared in another."""
        settings = {"application_name": APPLICATION_NAME}
        if not is_pooled:
            settings |= SETTINGS | KEPT_ALIVE
        return self.place.options(url) | {
            "timeout": self.bounds.connect_seconds,
            "command_timeout": self.bounds.answer_seconds,
            "server_settings": settings,
            "statement_cache_size": 0 if is_pooled else 100,
        }


async def is_direct(connection: Connection) -> bool:
    """A pooler gives out numbers of its own."""
    return bool(await connection.fetchval("SELECT pg_backend_pid()") == connection.get_server_pid())


async def _keep(connection: object) -> None:
    """Nothing of a session is changed that would have to be changed back."""
