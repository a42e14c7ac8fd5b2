"""What a store that several controllers share promises about their decisions: who may save, and what the
others hear of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Protocol

import pytest

from repave_controller.core.domain.application import Application, Event, Tenure
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import Conflict, Fenced, Record, Store, Transaction
from repave_controller.peers.ports import ChangeLog, Held, shard_of
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.place import Place as At
from repave_controller.stores.postgresql.store import PostgresStore
from repave_protos.daemon.chain import Link
from repave_protos.protocol.values import ApplicationName
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore

HELLO, OTHER = ApplicationName("hello"), ApplicationName("other")
ANN, BEN = "ann", "ben"


class Shared(Store, ChangeLog, Protocol):
    """A store that several controllers share, as far as decisions go."""


class Place(Protocol):
    """One store, as two controllers have it open."""

    ann: Shared
    ben: Shared

    def another(self) -> Shared: ...

    async def own(self, application: ApplicationName, owner: str | None, term: int) -> None:
        """As Roll.take and hand_over do."""


class Memory:
    def __init__(self) -> None:
        self.shelf = SharedShelf()
        self.ann: Shared = SharedMemoryStore(self.shelf, ANN)
        self.ben: Shared = SharedMemoryStore(self.shelf, BEN)

    def another(self) -> Shared:
        return SharedMemoryStore(self.shelf, "cleo")

    async def own(self, application: ApplicationName, owner: str | None, term: int) -> None:
        shard = shard_of(application)
        self.shelf.shards[shard] = Held(shard, owner, term)


class Postgres:
    def __init__(self, url: str) -> None:
        self.url = url
        self._database = Database(At(url))
        self.ann: Shared = PostgresStore(self._database)
        self.ben: Shared = self.another()

    def another(self) -> Shared:
        return PostgresStore(Database(At(self.url)))

    async def own(self, application: ApplicationName, owner: str | None, term: int) -> None:
        own = "UPDATE repave.shards SET owner = $2, term = $3 WHERE number = $1"
        await self._database.fetch(own, shard_of(application), owner, term)


@pytest.fixture(params=["memory", "postgresql"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    is_real = request.param == "postgresql"
    made = Postgres(request.getfixturevalue("database_url")) if is_real else Memory()
    await made.ann.open()
    await made.ben.open()
    yield made
    await made.ann.close()
    await made.ben.close()


def decided(name: ApplicationName, total: int, term: int, **more: object) -> Transaction:
    application = Application(name, name, GroupNumber(1), rollouts_total=total)
    return replace(Transaction(application, tenure=Tenure(1, term)), **more)  # type: ignore[arg-type]


async def test_only_the_owner_saves_and_only_under_its_term(place: Place) -> None:
    await place.own(HELLO, ANN, 3)
    await place.ann.commit(decided(HELLO, 1, 3, events=(Event("a"),)))
    for term in (2, 4):
        with pytest.raises(Fenced, match="hello is decided by ann, term 3"):
            await place.ben.commit(
                decided(HELLO, 2, term, events=(Event("b"),), freezes=Freezes(named_total=1))
            )
    await place.own(HELLO, None, 3)
    with pytest.raises(Fenced, match="no controller"):
        await place.ann.commit(decided(HELLO, 2, 3))
    await place.own(HELLO, BEN, 4)
    await place.ben.commit(decided(HELLO, 3, 4))
    with pytest.raises(Fenced):
        await place.ann.commit(decided(HELLO, 4, 3))
    found = await place.ann.changes(0)
    assert [each.rollouts_total for each in found.applications] == [3]
    assert [each.kind for each in await place.ben.events()] == ["a"]


async def test_a_new_incarnation_fences_all_that_is_decided_under_the_former_one(place: Place) -> None:
    await place.own(HELLO, ANN, 3)
    before = (await place.ben.changes(0)).until
    assert (await place.ben.begin_incarnation(5)).incarnation == 6
    with pytest.raises(Fenced, match="incarnation 6"):
        await place.ann.commit(decided(HELLO, 1, 3))
    found = await place.ann.changes(before)
    assert (found.incarnation, found.until > before) == (6, True)


async def test_what_was_decided_upon_something_old_is_a_conflict(place: Place) -> None:
    await place.own(HELLO, ANN, 1)
    await place.own(OTHER, BEN, 1)
    await place.ann.commit(decided(HELLO, 1, 1))
    seen = (await place.ann.changes(0)).until
    await place.ann.commit(decided(HELLO, 2, 1, seen=seen))
    await place.ann.commit(decided(HELLO, 3, 1, seen=seen))  # its own changes are no news to it
    await place.ben.commit(decided(OTHER, 1, 1))
    with pytest.raises(Conflict):
        await place.ann.commit(decided(HELLO, 4, 1, seen=seen))
    seen = (await place.ann.changes(0)).until
    await place.ann.commit(decided(HELLO, 5, 1, seen=seen))
    await place.ben.commit(Transaction(freezes=Freezes(named_total=1)))
    with pytest.raises(Conflict):
        await place.ann.commit(decided(HELLO, 6, 1, seen=seen))
    seen = (await place.ann.changes(0)).until
    await place.ben.commit(Transaction(records=(Record("token", "a", "1"),)))
    await place.ben.commit(Transaction(events=(Event("noticed"),)))
    await place.ann.commit(decided(HELLO, 7, 1, seen=seen))  # no decision depends on records and events


async def test_changes_are_what_was_saved_since_as_it_is_now_in_order(place: Place) -> None:
    assert (await place.ann.changes(0)).applications == ()
    for name, total in ((HELLO, 1), (OTHER, 1), (HELLO, 2)):
        await place.ben.commit(Transaction(Application(name, name, GroupNumber(1), rollouts_total=total)))
    found = await place.ann.changes(0)
    assert [(each.name, each.rollouts_total) for each in found.applications] == [(OTHER, 1), (HELLO, 2)]
    assert (found.freezes, found.records, found.has_events) == (None, (), False)
    assert await place.ann.changes(found.until) == replace(found, applications=())
    some = await place.ann.changes(0, {shard_of(HELLO)})
    assert some == replace(found, applications=found.applications[1:])
    assert await place.ann.changes(0, ()) == replace(found, applications=())
    gone = Record("token", "a", None)
    await place.ann.commit(
        Transaction(records=(gone,), freezes=Freezes(named_total=2), events=(Event("told"),))
    )
    later = await place.ann.changes(found.until)
    assert (later.records, later.freezes, later.has_events) == ((gone,), Freezes(named_total=2), True)
    assert later.until > found.until
    assert (await place.ben.changes(found.until)) == later


async def test_a_store_that_is_opened_says_how_far_it_has_read(place: Place) -> None:
    await place.ben.commit(Transaction(Application(HELLO, HELLO, GroupNumber(1))))
    late = place.another()
    loaded = await late.open()
    assert [each.name for each in loaded.applications] == [HELLO]
    assert (await late.changes(loaded.change)).applications == ()
    await late.close()


async def test_each_commit_hints_at_itself_to_all(place: Place) -> None:
    heard: list[str] = []

    async def listen(name: str, hints: Callable[[], AsyncIterator[None]]) -> None:
        async for _ in hints():
            heard.append(name)

    tasks = [
        asyncio.create_task(listen(name, store.hints)) for name, store in ((ANN, place.ann), (BEN, place.ben))
    ]
    async with asyncio.timeout(20):
        while not {ANN, BEN} <= set(heard):
            await place.ann.commit(Transaction(events=(Event("told"),)))
            await asyncio.sleep(0.001)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_a_row_of_the_audit_log_is_added_behind_the_last_one_only(place: Place) -> None:
    first, other = Link(1, "{}", "a" * 64), Link(1, "[]", "b" * 64)
    await place.ann.commit(Transaction(audit=(first,)))
    with pytest.raises(Conflict):
        await place.ben.commit(Transaction(audit=(other,), records=(Record("token", "a", "1"),)))
    assert list(await place.ben.audit()) == [first]
    assert not await place.ben.records("token")
