"""What was saved by any controller since some change, and hints that there is something. Implements
peers.ports.ChangeLog."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

from repave_controller.core.ports import LeftBehind, Record
from repave_controller.peers.ports import Changes, Shard
from repave_controller.stores.codec import decode_application, decode_freezes
from repave_controller.stores.postgresql.connection import Connection, Database, Row
from repave_controller.stores.postgresql.reading import CHANGES
from repave_controller.stores.postgresql.saving import CHANNEL

STORE, APPLICATION, FREEZES, RECORD = range(4)


class Hints:
    """Wakes all who listen when any controller has changed something, and when the session began anew."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[], None]] = set()

    async def greet(self, connection: Connection) -> None:
        """For Session.greeters."""
        await connection.add_listener(CHANNEL, self._hear)
        self._hear()

    async def listen(self) -> AsyncIterator[None]:
        hinted = asyncio.Event()
        self._listeners.add(hinted.set)
        try:
            while True:
                await hinted.wait()
                hinted.clear()
                yield None
        finally:
            self._listeners.discard(hinted.set)

    def _hear(self, *_: object) -> None:
        for listener in list(self._listeners):
            listener()


async def changes(database: Database, after: int, shards: Collection[Shard] | None) -> Changes:
    """See peers.ports.ChangeLog."""
    rows = await database.fetch(CHANGES, after, sorted(shards) if shards is not None else None)
    store = rows[0]
    if after < store["forgotten_change"] and after:
        raise LeftBehind(
            f"{database.place}: this controller was cut off from it for so long that it can't catch up. "
            "Restart it."
        )
    if store["change"] < after:
        raise LeftBehind(
            f"{database.place}: it lacks changes that this controller has seen there: it was restored from a "
            "backup, or is a standby that was behind. Restart the controller; see repave controller recover."
        )
    freezes = [decode_freezes(row["state"]) for row in rows if row["kind"] == FREEZES]
    return Changes(
        until=store["change"],
        incarnation=store["incarnation"],
        applications=tuple(decode_application(row["state"]) for row in rows if row["kind"] == APPLICATION),
        records=tuple(_record(row) for row in rows if row["kind"] == RECORD),
        freezes=freezes[0] if freezes else None,
        has_events=store["event_change"] > after,
    )


def _record(row: Row) -> Record:
    kind, _, name = row["name"].partition("\n")
    return Record(kind, name, row["state"])
