"""One of several processes that share a database: it keeps its lease, takes its shards, and saves for them.

    python -m tests.support.peer URL NAME [reckless] [direct_url=URL] [stop_after=WORDS]

tells on standard output, a line of JSON each, what it gained, lost, saved and was refused. A reckless one
goes on to save under a term that it has lost, as a process that was stopped between decision and commit.
From SIGUSR1 on it stops itself as soon as the database has answered a statement that has WORDS in it.
"""

import asyncio
import json
import logging
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import asyncpg
import structlog

from repave_controller.core.domain.application import Application, Event, Tenure
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import Fenced, StoreError, Transaction
from repave_controller.peers.membership import Membership
from repave_controller.peers.ports import Member, Shard, Standing, shard_of
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.members import Members
from repave_controller.stores.postgresql.place import Place
from repave_controller.stores.postgresql.store import PostgresStore
from repave_protos.protocol.values import ApplicationName

PAUSE_SECONDS = 0.02
SAVING = 16
"""Of so many shards an application is saved, again and again."""
NAMED = {shard_of(ApplicationName(f"app-{n}")): ApplicationName(f"app-{n}") for n in range(2000)}


class Peer:
    def __init__(self, url: str, name: str, *, is_reckless: bool, direct_url: str, stop_after: str) -> None:
        self.name, self.is_reckless, self.stop_after = name, is_reckless, stop_after
        self.instance = f"{name}-{secrets.token_hex(4)}"
        self.is_armed = False
        self.database = (
            Stopping(Place(url, direct_url), self) if stop_after else Database(Place(url, direct_url))
        )
        self.members = Members(self.database, random.Random())
        self.store = PostgresStore(self.database)
        member = Member(name, self.instance, "", "", "1", time.time())
        self.membership = Membership(self.members, member, self, time.monotonic)
        self.tenures: dict[Shard, Tenure] = {}
        self.count = 0

    # ------------------------------------------------------------------------------ what membership tells

    async def gained(self, terms: Mapping[Shard, int]) -> None:
        self.tell("gained", shards=sorted(terms))
        for shard in terms:
            tenure = self.membership.tenure_of(NAMED[shard])
            if tenure is not None and shard < SAVING:
                self.tenures[shard] = tenure

    async def lost(self, shards: Collection[Shard]) -> None:
        self.tell("lost", shards=sorted(shards))
        for each in () if self.is_reckless else shards:
            self.tenures.pop(each, None)

    def standing(self, standing: Standing) -> None: ...

    # --------------------------------------------------------------------------------------------- work

    async def run(self) -> None:
        await self.store.open()
        await self.membership.join()
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._arm)
        tasks = [asyncio.create_task(self.membership.run()), asyncio.create_task(self._work())]
        self.tell("joined")
        await stopped.wait()
        await self.membership.stop()
        self.tell("stopped")
        for each in tasks:
            each.cancel()
        await asyncio.wait(tasks)
        await self.store.close()

    def _arm(self) -> None:
        self.is_armed = True

    def answered(self, query: str) -> None:
        if self.is_armed and self.stop_after in query:
            self.is_armed = False
            self.tell("stopping")
            os.kill(os.getpid(), signal.SIGSTOP)

    async def _work(self) -> None:
        while True:
            await asyncio.gather(*(self._save(*each) for each in list(self.tenures.items())))
            await asyncio.sleep(PAUSE_SECONDS)

    async def _save(self, shard: Shard, tenure: Tenure) -> None:
        name = NAMED[shard]
        if not self.is_reckless and self.membership.tenure_of(name) is None:
            return
        self.count += 1
        text = f"{tenure.incarnation} {tenure.term} {self.instance} {self.count}"
        application = Application(name, name, GroupNumber(1), rollouts_total=self.count)
        event = Event("trial", text, application=name)
        try:
            await self.store.commit(Transaction(application, events=(event,), tenure=tenure))
        except Fenced:
            self.tell("fenced", shard=shard)
            if self.tenures.get(shard) == tenure:
                del self.tenures[shard]
        except StoreError as error:
            self.tell("failed", why=str(error))
        else:
            self.tell("saved", shard=shard, text=text)

    def tell(self, what: str, **more: object) -> None:
        print(json.dumps({"at": time.monotonic(), "what": what, "peer": self.name, **more}), flush=True)


class Stopping(Database):
    """Tells the peer of each statement that was answered."""

    def __init__(self, place: Place, peer: Peer) -> None:
        super().__init__(place)
        self.peer = peer

    def _options(self, url: str, *, is_pooled: bool) -> dict[str, Any]:
        peer = self.peer

        class Watched(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                self.add_query_logger(lambda _: None)  # else the next one is not called

            @contextmanager
            def _time_and_log(self, query: str, *_: object) -> Iterator[None]:
                yield
                peer.answered(query)

        return {**super()._options(url, is_pooled=is_pooled), "connection_class": Watched}


def main(url: str, name: str, *words: str) -> None:
    given = dict(each.partition("=")[::2] for each in words)
    peer = Peer(
        url,
        name,
        is_reckless="reckless" in given,
        direct_url=given.get("direct_url", ""),
        stop_after=given.get("stop_after", ""),
    )
    asyncio.run(peer.run())


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    main(*sys.argv[1:])
