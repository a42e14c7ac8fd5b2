"""What every store that controllers share promises: leases, and each shard with one owner and one term."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import pytest

from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import LEASE_SECONDS, SHARDS, Held, Member, Roll, Seen, Standing
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.members import Members
from repave_controller.stores.postgresql.place import Place
from repave_simulation.tiers.shared_members import MemoryRoll, Roster
from tests.fakes.waiting import until, until_async

ALL = range(SHARDS)


@dataclass(slots=True)
class Controller:
    roll: Roll
    member: Member
    die: Callable[[], Awaitable[None]]

    async def beat(self) -> Standing:
        return await self.roll.beat(self.member)

    async def take(self, *shards: int) -> Mapping[int, int]:
        return await self.roll.take(self.member, shards)


class Shared(Protocol):
    """A store, and what may happen to it."""

    async def start(self, name: str, instance: str = "", has_lock: bool = True) -> Controller: ...

    async def let_lease_end(self, name: str) -> None: ...

    async def set_clock_back(self, seconds: float) -> None: ...

    async def close(self) -> None: ...


class InMemory:
    def __init__(self) -> None:
        self._late = 0.0
        self._roster = Roster(lambda: self._late)

    async def start(self, name: str, instance: str = "", has_lock: bool = True) -> Controller:
        member = a_member(name, instance)

        async def die() -> None:
            self._roster.died(member)

        return Controller(MemoryRoll(self._roster, has_lock), member, die)

    async def let_lease_end(self, name: str) -> None:
        self._roster.ends_at[name] = self._roster.clock()

    async def set_clock_back(self, seconds: float) -> None:
        self._roster.clock_step -= seconds

    async def close(self) -> None:
        pass


class InPostgresql:
    def __init__(self, url: str) -> None:
        self._url = url
        self._open: list[tuple[Database, Members]] = []

    async def start(self, name: str, instance: str = "", has_lock: bool = True) -> Controller:
        database = Database(Place(self._url))
        members = Members(database, random.Random())
        if not has_lock:
            database.session.greeters.clear()
        await database.open()
        self._open.append((database, members))
        await database.fetch(
            "INSERT INTO repave.store (one, incarnation, term, installation) VALUES (1, 1, 1, 'x') "
            "ON CONFLICT DO NOTHING"
        )
        await until(lambda: database.session.connection)

        async def die() -> None:
            members.close()
            await database.close()

        return Controller(members, a_member(name, instance), die)

    async def let_lease_end(self, name: str) -> None:
        await self._open[-1][0].fetch(
            "UPDATE repave.controllers SET expires_at = clock_timestamp() WHERE id = $1", name
        )

    async def set_clock_back(self, seconds: float) -> None:
        await self._open[-1][0].fetch(
            "UPDATE repave.controllers SET expires_at = expires_at + $1 * interval '1 second'", seconds
        )

    async def close(self) -> None:
        for database, members in self._open:
            members.close()
            await database.close()


def a_member(name: str, instance: str = "") -> Member:
    return Member(name, instance or f"{name}-1", f"http://{name}:7400", f"{name}:7443", "1.0", 12.5)


@pytest.fixture(params=["memory", "postgresql"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    is_memory = request.param == "memory"
    made: Shared = InMemory() if is_memory else InPostgresql(request.getfixturevalue("database_url"))
    yield made
    await made.close()


def seen_of(standing: Standing) -> dict[str, Seen]:
    return {each.member.id: each for each in standing.members}


async def until_gone(watching: Controller, name: str) -> None:
    async def has_no_lock() -> bool:
        return not seen_of(await watching.beat())[name].holds_lock

    await until_async(has_no_lock)


async def test_a_beat_tells_how_all_stand_after_it(shared: Shared) -> None:
    a, b = await shared.start("a"), await shared.start("b")
    first = await a.beat()
    assert [each.member for each in first.members] == [a.member]
    standing = await b.beat()
    assert standing.incarnation == 1
    assert [each.member for each in standing.members] == [a.member, b.member]
    assert all(each.is_live and each.holds_lock for each in standing.members)
    assert all(0 < each.lease_left_seconds <= LEASE_SECONDS for each in standing.members)
    assert standing.shards == tuple(Held(number, None, 0) for number in ALL)


async def test_free_shards_are_taken_once_and_each_time_under_a_higher_term(shared: Shared) -> None:
    a, b = await shared.start("a"), await shared.start("b")
    await a.beat()
    await b.beat()
    assert await a.take(1, 2, 3) == {1: 1, 2: 1, 3: 1}
    assert await b.take(2, 3, 4) == {4: 1}
    await a.roll.hand_over(a.member, [2, 4])
    assert await b.take(2, 3) == {2: 2}
    rows = {each.shard: each for each in (await a.beat()).shards}
    assert [rows[n] for n in range(6)] == [
        Held(0, None, 0),
        Held(1, "a", 1),
        Held(2, "b", 2),
        Held(3, "a", 1),
        Held(4, "b", 1),
        Held(5, None, 0),
    ]


async def test_of_several_that_take_at_once_each_shard_goes_to_one(shared: Shared) -> None:
    three = [await shared.start(each) for each in "abc"]
    for each in three:
        await each.beat()
    taken = await asyncio.gather(*(each.take(*ALL) for each in three))
    rows = (await three[0].beat()).shards
    for controller, terms in zip(three, taken, strict=True):
        assert {each.shard: each.term for each in rows if each.owner == controller.member.id} == terms
    assert sum(map(len, taken)) <= SHARDS
    assert all(each.term <= 1 for each in rows), "no shard was taken from one that had just taken it"


async def test_one_that_is_not_there_takes_nothing(shared: Shared) -> None:
    a = await shared.start("a")
    assert await a.take(1) == {}
    await a.beat()
    await shared.let_lease_end("a")
    assert await a.take(1) == {}, "its lease has ended, though it may not know"
    await a.beat()
    assert await a.take(1) == {1: 1}


async def test_a_frozen_one_loses_its_shards_when_its_lease_ends(shared: Shared) -> None:
    a, b = await shared.start("a"), await shared.start("b")
    await a.beat()
    await a.take(1)
    await b.beat()
    assert await b.take(1) == {}
    await shared.let_lease_end("a")
    frozen = seen_of(await b.beat())["a"]
    assert (frozen.is_live, frozen.holds_lock) == (False, True)
    assert frozen.lease_left_seconds <= 0
    assert await b.take(1) == {1: 2}


async def test_a_killed_one_loses_its_shards_before_its_lease_ends(shared: Shared) -> None:
    a, b = await shared.start("a"), await shared.start("b")
    await a.beat()
    await a.take(1)
    await a.die()
    await until_gone(b, "a")
    assert await b.take(1) == {1: 2}


async def test_where_there_is_no_lock_only_the_lease_tells(shared: Shared) -> None:
    a, b = await shared.start("a", has_lock=False), await shared.start("b")
    await a.beat()
    await a.take(1)
    await a.die()
    found = seen_of(await b.beat())["a"]
    assert (found.is_live, found.holds_lock) == (True, None)
    assert await b.take(1) == {}
    await shared.let_lease_end("a")
    assert await b.take(1) == {1: 2}


async def test_a_lease_of_before_the_clock_was_set_back_counts_no_more(shared: Shared) -> None:
    a, b = await shared.start("a"), await shared.start("b")
    await a.beat()
    await a.take(1)
    await shared.set_clock_back(3600)
    assert not seen_of(await b.beat())["a"].is_live
    assert await b.take(1) == {1: 2}
    assert seen_of(await a.beat())["a"].is_live, "its next beat is by the clock as it is now"


async def test_one_that_leaves_frees_its_shards_and_is_forgotten(shared: Shared) -> None:
    a, b = await shared.start("a"), await shared.start("b")
    await a.beat()
    await b.beat()
    await a.take(1, 2)
    await b.take(3)
    await a.roll.leave(a.member)
    assert list(seen_of(await b.beat())) == ["b"]
    assert await b.take(1, 2) == {1: 2, 2: 2}


async def test_a_name_is_of_one_process_while_that_is_there(shared: Shared) -> None:
    first, second = await shared.start("a"), await shared.start("a", "a-2")
    await first.beat()
    await first.take(1, 2)
    with pytest.raises(StoreError, match="another controller calls itself 'a' and is there"):
        await second.beat()
    assert await second.take(1, 3) == {}
    await second.roll.hand_over(second.member, [1, 2])
    await second.roll.leave(second.member)
    rows = (await first.beat()).shards
    assert [each.owner for each in rows[1:4]] == ["a", "a", None], "the second one moved nothing"


async def test_one_that_hangs_has_its_name_still(shared: Shared) -> None:
    first, second = await shared.start("a"), await shared.start("a", "a-2")
    await first.beat()
    await shared.let_lease_end("a")
    with pytest.raises(StoreError, match="another controller calls itself 'a'"):
        await second.beat()
    unlocked = await shared.start("b", has_lock=False)
    await unlocked.beat()
    await shared.let_lease_end("b")
    assert seen_of(await (await shared.start("b", "b-2")).beat())["b"].member.instance == "b-2"


async def test_a_restarted_one_takes_its_name_at_once_and_its_shards_under_new_terms(shared: Shared) -> None:
    first = await shared.start("a")
    await first.beat()
    await first.take(1, 2)
    watching = await shared.start("b")
    await first.die()
    await until_gone(watching, "a")
    again = await shared.start("a", "a-2")
    await again.beat()
    assert await again.take(1, 2) == {1: 2, 2: 2}
