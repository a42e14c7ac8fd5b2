"""A real standby: it is said that commits do not wait for it; no controller writes to it; and once it has
taken over, the controllers go on there in a new incarnation."""

import asyncio
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.domain.reasons import Concern
from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import Member
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.members import Members
from repave_controller.stores.postgresql.place import Place
from repave_controller.wording.render import event_text
from tests.fakes.waiting import until, until_async
from tests.support import postgresql
from tests.support.ports import free_port
from tests.support.postgresql import Server, needs_postgresql, server

A = Member("a", "a-1", "http://a:7400", "a:7443", "1.0", 12.5)


@contextmanager
def standby_of(primary: Server) -> Iterator[Server]:
    """A copy that follows; commits do not wait for it."""
    folder = primary.folder / "standby"
    copy = [postgresql._tool("pg_basebackup"), "-R", "-X", "stream", "-c", "fast", "-D", str(folder / "data")]
    where = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", postgresql.USER]
    folder.mkdir()
    postgresql._give(folder)
    subprocess.run(postgresql._as_user([*copy, *where]), check=True, capture_output=True, cwd="/", timeout=60)
    made = Server(folder, free_port(), primary.settings)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.rig
@needs_postgresql
async def test_controllers_go_on_at_a_standby_that_took_over(tmp_path: object) -> None:
    with server() as primary:
        url = primary.fresh()
        database = Database(Place(url))
        await database.open()
        await database.fetch(
            "INSERT INTO repave.store (one, incarnation, term, installation) VALUES (1, 1, 1, 'x')"
        )
        await database.close()
        with standby_of(primary) as standby:
            with pytest.raises(StoreError, match="it takes no writes: it is a standby"):
                await Database(Place(url.replace(f":{primary.port}", f":{standby.port}"))).open()
            both = url.replace(f":{primary.port}", f":{primary.port},127.0.0.1:{standby.port}")
            database = Database(Place(both))
            members = Members(database, random.Random())
            told: list[Event] = []
            members.tell = told.append
            await database.open()
            await until(lambda: database.session.connection)
            before = (await members.beat(A)).incarnation
            await members.take(A, [1])
            assert Concern.COPIED_LATE in [each.kind for each in await members.concerns()]
            await until(
                lambda: (
                    "t" in primary.psql("SELECT replay_lsn = pg_current_wal_lsn() FROM pg_stat_replication")
                )
            )

            async def goes_on() -> bool:
                try:
                    await members.beat(A)
                except StoreError:
                    return False
                return True

            await asyncio.to_thread(primary.kill)
            assert not await goes_on()
            standby.psql("SELECT pg_promote()")
            await until_async(goes_on)
            standing = await members.beat(A)
            assert standing.incarnation == before + 1
            assert standing.shards[1].owner == "a"
            (event,) = told
            assert event.kind == "database.changed"
            assert "on timeline 1 became cluster" in event_text(event)
            assert Concern.DATABASE_CHANGED in [each.kind for each in await members.concerns()]
            members.close()
            await database.close()
