"""The outbox: each target is told of all that it wants, in order, by one controller, whatever fails."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.notices.outbox import Outbox
from repave_controller.notices.ports import Notice, NotTaken
from repave_controller.notices.progress import GIVE_UP_SECONDS, REFUSALS_MAX, Failure
from repave_controller.runtime.broadcast import Broadcast
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from tests.fakes.virtual_time import in_virtual_time

AWAY = Failure("away")


@dataclass
class Receiver:
    """Implements ports.Target. `troubles` are what the next tries come to; `always`: what all others do."""

    name: str = "audit"
    kind: str = "fake"
    place: str = "here"
    may_be_named: bool = False
    troubles: list[Failure | None] = field(default_factory=list)
    always: Failure | None = None
    tried: list[tuple[float, int]] = field(default_factory=list)
    got: list[tuple[str, str]] = field(default_factory=list)
    takes_seconds: float = 0.0
    is_broken: bool = False
    asked: int = 0

    def wants(self, event: Event) -> bool:
        self.asked += 1
        return event.kind.startswith("release.")

    async def send(self, notice: Notice, now: float) -> None:
        self.tried.append((now, notice.event.sequence))
        if self.is_broken:
            raise KeyError("of our own")
        await asyncio.sleep(self.takes_seconds)
        trouble = self.troubles.pop(0) if self.troubles else self.always
        if trouble is not None:
            raise NotTaken(trouble)
        self.got.append((notice.id, notice.event.kind))


class Peer:
    """One controller's outbox, on a store that several share."""

    def __init__(self, shelf: SharedShelf, *receivers: Receiver, name: str = "ann") -> None:
        self.store = SharedMemoryStore(shelf, name)
        self.news = Broadcast()
        self.is_mine = True
        self.noted: list[Event] = []
        self.outbox = Outbox(
            self.store,
            receivers,
            "i1",
            asyncio.get_running_loop().time,
            self.news,
            lambda _: self.is_mine,
            self.noted.extend,
            lambda: 1.0,
        )
        self.task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        if not self.store.shelf.terms:
            await self.store.open()
        self.store._is_open = True
        self.task = asyncio.create_task(self.outbox.run())
        await settle()

    async def happen(self, *kinds: str) -> None:
        await self.store.commit(Transaction(events=tuple(Event(kind) for kind in kinds)))
        self.news.bump()
        await settle()

    async def end(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})


async def settle() -> None:
    """Nothing is left to do now."""
    await asyncio.sleep(0.001)


def sequences(receiver: Receiver) -> list[int]:
    return [int(id.rpartition("-")[2]) for id, _ in receiver.got]


@in_virtual_time
async def test_it_is_told_of_what_it_wants_in_order_from_its_first_day_on() -> None:
    receiver = Receiver()
    peer = Peer(SharedShelf(), receiver)
    await peer.store.open()
    await peer.happen("release.started", "release.succeeded")  # before the target was in the settings
    await peer.begin()
    await peer.happen("release.started", "step.entered", "notices.dead", "release.failed")
    await peer.happen("release.rolled-back")
    assert receiver.got == [
        ("i1-3", "release.started"),
        ("i1-6", "release.failed"),
        ("i1-7", "release.rolled-back"),
    ]
    await peer.end()


@in_virtual_time
async def test_a_target_that_is_away_is_tried_again_ever_later_and_gets_all_in_order() -> None:
    receiver = Receiver(troubles=[AWAY] * 4)
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    await peer.happen("release.started", "release.failed")
    (standing,) = await peer.outbox.standings()
    assert (standing.progress.tries, standing.progress.error, standing.waiting) == (1, "away", 2)
    await asyncio.sleep(60)
    times = [round(at) for at, sequence in receiver.tried if sequence == 1]
    assert times == [0, 1, 3, 7, 15]
    assert sequences(receiver) == [1, 2]
    await peer.end()


@in_virtual_time
async def test_what_happens_meanwhile_does_not_hurry_the_next_try() -> None:
    receiver = Receiver(troubles=[AWAY] * 2)
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    await peer.happen("release.started")
    for _ in range(20):
        await peer.happen("release.failed")
    assert len(receiver.tried) == 1
    await peer.end()


@in_virtual_time
async def test_targets_do_not_wait_for_each_other() -> None:
    slow, quick = Receiver("slow", takes_seconds=1000.0), Receiver("quick")
    peer = Peer(SharedShelf(), slow, quick)
    await peer.begin()
    await peer.happen("release.started", "release.failed")
    assert (sequences(quick), sequences(slow)) == ([1, 2], [])
    await peer.end()


@in_virtual_time
async def test_one_that_is_never_taken_is_dead_said_so_and_the_next_one_goes_on() -> None:
    receiver = Receiver(troubles=[Failure("answered 400", is_refused=True)] * REFUSALS_MAX)
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    await peer.happen("release.started", "release.failed")
    await asyncio.sleep(60)
    assert sequences(receiver) == [2]
    (standing,) = await peer.outbox.standings()
    assert [(each.sequence, each.tries) for each in standing.progress.dead] == [(1, REFUSALS_MAX)]
    (noted,) = peer.noted
    assert noted.kind == "notices.dead"
    assert noted.text.endswith("repave notify replay audit --from 1")
    await peer.outbox.replay("audit", 1, "ann")
    await settle()
    assert sequences(receiver) == [2, 1, 2], "under the ids that they had"
    assert not (await peer.outbox.standings())[0].progress.dead
    await peer.end()


@in_virtual_time
async def test_a_target_that_is_away_for_days_is_never_asked_more_often_than_each_quarter_hour() -> None:
    receiver = Receiver(always=AWAY)
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    await peer.happen(*["release.started"] * 50)
    await asyncio.sleep(3 * GIVE_UP_SECONDS)
    assert len(receiver.tried) < 3 * (GIVE_UP_SECONDS / 900 + 12)
    assert 2 <= len((await peer.outbox.standings())[0].progress.dead) <= 3
    receiver.always = None
    await asyncio.sleep(900)
    assert sequences(receiver)[-1] == 50
    await peer.end()


@in_virtual_time
async def test_a_replay_while_one_is_being_sent_is_not_lost() -> None:
    receiver = Receiver(takes_seconds=10.0)
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    await peer.happen("release.started", "release.failed")
    await asyncio.sleep(15)
    await peer.outbox.replay("audit", 1, "")
    await asyncio.sleep(40)
    assert sequences(receiver) in ([1, 2, 1, 2], [1, 1, 2])
    assert (await peer.outbox.standings())[0].progress.cursor == 2
    await peer.end()


@in_virtual_time
async def test_another_controller_goes_on_where_the_first_one_was() -> None:
    shelf, receiver = SharedShelf(), Receiver()
    ann, ben = Peer(shelf, receiver), Peer(shelf, receiver, name="ben")
    ben.is_mine = False
    await ann.begin()
    await ben.begin()
    await ann.happen("release.started", "release.failed")
    await ann.end()
    await ben.happen("release.aborted")
    ben.is_mine = True
    await asyncio.sleep(30)
    assert sequences(receiver) == [1, 2, 3]
    await ben.end()


@in_virtual_time
async def test_two_that_both_think_that_it_is_theirs_send_none_out_of_order_and_lose_none() -> None:
    shelf, receiver = SharedShelf(), Receiver(takes_seconds=0.5)
    ann, ben = Peer(shelf, receiver), Peer(shelf, receiver, name="ben")
    await ann.begin()
    await ben.begin()
    await ann.happen(*["release.started"] * 10)
    ben.news.bump()
    await asyncio.sleep(60)
    seen = sequences(receiver)
    assert sorted(set(seen)) == list(range(1, 11))
    assert len(seen) <= 20
    await ann.end()
    await ben.end()


@in_virtual_time
async def test_a_store_that_is_away_ends_nothing() -> None:
    receiver = Receiver()
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    await peer.happen("release.started")
    peer.store.trouble = "the disk is full"
    peer.news.bump()
    await asyncio.sleep(5)
    peer.store.trouble = ""
    await peer.happen("release.failed")
    await asyncio.sleep(5)
    assert sequences(receiver) == [1, 2]
    await peer.end()


@in_virtual_time
async def test_a_death_that_the_store_did_not_take_at_first_is_told_once() -> None:
    refused = Failure("answered 400", is_refused=True)
    receiver = Receiver(troubles=[refused] * REFUSALS_MAX)
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    await peer.happen("release.started")
    commit, lost = peer.store.commit, 0

    async def failing(transaction: Transaction) -> tuple[Event, ...]:
        nonlocal lost
        if transaction.events and not lost:
            lost += 1
            receiver.troubles.append(refused)  # it is tried again, and refused again
            raise StoreError("the disk is full")
        return await commit(transaction)

    peer.store.commit = failing  # type: ignore[method-assign]  # fails once
    await asyncio.sleep(60)
    assert lost == 1
    assert [each.kind for each in peer.store.shelf.events] == ["release.started", "notices.dead"]
    assert [each.kind for each in peer.noted] == ["notices.dead"]
    await peer.end()


@in_virtual_time
async def test_a_test_of_a_target_with_a_mistake_of_ours_says_so() -> None:
    receiver = Receiver(is_broken=True)
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    assert await peer.outbox.test("audit") == "KeyError: see the controller's log"
    await peer.end()


@in_virtual_time
async def test_what_is_not_wanted_is_looked_at_once() -> None:
    receiver = Receiver()
    peer = Peer(SharedShelf(), receiver)
    await peer.begin()
    for _ in range(20):
        await peer.happen(*["host.launched"] * 20)
    await asyncio.sleep(60)
    assert receiver.asked == 400
    await peer.happen("release.started")
    assert sequences(receiver) == [401]
    receiver.asked = 0
    await peer.outbox.replay("audit", 1, "ann")
    await asyncio.sleep(60)
    assert sequences(receiver) == [401, 401], "a replay goes through all of it again"
    await peer.end()


@in_virtual_time
async def test_a_quiet_target_costs_nothing_but_a_look_now_and_then() -> None:
    peer = Peer(SharedShelf(), Receiver())
    await peer.begin()
    looks = counted(peer)
    await asyncio.sleep(600)
    assert looks() <= 121
    await peer.end()


def counted(peer: Peer) -> Callable[[], int]:
    count, records = 0, peer.store.records

    async def counting(kind: str) -> object:
        nonlocal count
        count += 1
        return await records(kind)

    peer.store.records = counting  # type: ignore[method-assign, assignment]  # counts
    return lambda: count
