"""The database between several controllers, in virtual time: it takes its time, is out of reach, answers late
or not at all, and holds what a commit has locked. Judged here is what became durable, not what was told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from repave_controller.core.domain.application import Event, Instant, Tenure
from repave_controller.core.ports import (
    Conflict,
    Fenced,
    Loaded,
    Receipt,
    Record,
    StoreError,
    Transaction,
    Unsure,
)
from repave_controller.peers.ports import (
    Changes,
    ControllerId,
    Held,
    Member,
    RegionRow,
    Reported,
    ReportRow,
    Shard,
    Standing,
    shard_of,
)
from repave_controller.wording.render import event_text
from repave_protos.protocol.values import RegionName
from repave_simulation.kernel.timeline import Life
from repave_simulation.tiers.ports import MISTAKES, Hands
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from repave_simulation.world.world import World

NOTICED_SECONDS = 1.0
"""After so long a client notices that nothing comes back."""
SAVING_SECONDS = (0.0005, 0.01)
"""From the fence of a commit to its end."""
COMMIT_SECONDS_MAX = 3.0
SETTLING_SECONDS = 3.0
PAUSE_SECONDS = 0.1
WAY_SECONDS = (0.0003, 0.002)
SLOW_SECONDS = (0.2, 2.5)
FADING_SECONDS = (0.4, 0.9)
RETRY_SECONDS = 0.001
NEVER_HERE = ("region.ahead",)
"""Kinds of events for which a store would have to be restored from a backup."""

Made = TypeVar("Made")


class Database:
    """One for a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock_step = 0.0
        self.shelf = SharedShelf(clock=lambda: world.now + self.clock_step)
        self.locks: Counter[Shard] = Counter()  # commits that have passed the fence
        self.away_until = 0.0
        self.slow_until = 0.0
        self.cut_until: dict[ControllerId, float] = {}
        self.deaf_until: dict[ControllerId, float] = {}
        self.fading_until: dict[ControllerId, float] = {}
        self.on_taken: Callable[[Held], None] = lambda former: None
        self._asked = 0

    def heal(self) -> None:
        self.away_until = self.slow_until = 0.0
        self.cut_until.clear()
        self.deaf_until.clear()
        self.fading_until.clear()

    def reaches(self, controller: ControllerId) -> bool:
        return self.world.now >= max(self.away_until, self.cut_until.get(controller, 0.0))

    async def ask(
        self,
        life: Life,
        apply: Callable[[], Made],
        is_held_up: Callable[[], bool] = lambda: False,
    ) -> Made:
        """What it answers. Raises StoreError when it is not reached, or its answer is lost."""
        world, heard = self.world, asyncio.get_running_loop().create_future()
        if not self.reaches(life.name):
            await asyncio.sleep(NOTICED_SECONDS)
            raise StoreError("the database does not answer")
        self._asked += 1
        there, back = (world.chance.between(*WAY_SECONDS, way, self._asked) for way in ("there", "back"))
        if world.now < self.slow_until:
            there += world.chance.between(*SLOW_SECONDS, "there slowly", self._asked)
            back += world.chance.between(*SLOW_SECONDS, "back slowly", self._asked)

        if world.now < self.fading_until.get(life.name, 0.0):
            back += world.chance.between(*FADING_SECONDS, "fading", self._asked)

        def arrive() -> None:
            if is_held_up():
                world.later(RETRY_SECONDS, arrive)
                return
            try:
                result: Made | Exception = apply()
            except StoreError as error:
                result = error
            self.answer(life, heard, result, back)

        world.later(there, arrive)
        made: Made = await heard
        return made

    def answer(self, life: Life, heard: "asyncio.Future[Any]", result: object, seconds: float) -> None:
        """What it did is told, unless the way back is cut by then."""

        def done() -> None:
            if heard.done():
                return
            if isinstance(result, Exception):
                heard.set_exception(result)
            else:
                heard.set_result(result)

        if self.reaches(life.name):
            self.world.timeline.after(seconds, done, life)
            return
        result = StoreError("the connection broke")
        self.world.timeline.after(NOTICED_SECONDS, done, life)


class Full(StoreError):
    """Nothing was saved."""


@dataclass
class _Writer:
    """What the database has of one process: its last commit."""

    number: int = 0
    events: tuple[Event, ...] | None = None
    is_saving: bool = False

    def take(self, number: int) -> tuple[Event, ...] | None:
        """What the commit of this number saved; one that comes later saves nothing."""
        if self.number < number:
            self.number, self.events = number, None
        return self.events


class SimulatedSharedStore(SharedMemoryStore, Hands):
    """Implements peers.ports.SharedStore for one process of a controller."""

    def __init__(self, database: Database, life: Life) -> None:
        Hands.__init__(self, database.world, life)
        SharedMemoryStore.__init__(self, database.shelf, life.name)
        self._database = database
        self._writer = _Writer()
        self._saving = asyncio.Lock()
        self._number = 0
        self._is_open_question = False  # what became of the last commit

    def opened(self) -> Loaded:
        """As `open`, which nothing can hinder here."""
        self._is_open = True
        shelf = self.shelf
        applications = tuple(shelf.applications[name] for name in sorted(shelf.applications))
        newest = max((event.at for event in shelf.events), default=Instant(0.0))
        return Loaded(
            Tenure(shelf.incarnation, 0), "simulated", applications, newest, shelf.freezes, shelf.change
        )

    async def _asked(self, coroutine: Callable[[], Coroutine[Any, Any, Made]]) -> Made:
        return await self._database.ask(self.life, lambda: at_once(coroutine()))

    # -------------------------------------------------------------------------------------- commits

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        """One after the other. What became of one whose answer is lost is found out, or raised as unknown."""
        async with self._saving:
            await self._settle()
            self._number += 1
            try:
                async with asyncio.timeout(COMMIT_SECONDS_MAX):
                    return await self._send(transaction, self._number)
            except (Fenced, Conflict, Full):
                raise
            except (StoreError, TimeoutError) as error:
                self._is_open_question = True
                return await self._find_out(error)

    async def _send(self, transaction: Transaction, number: int) -> tuple[Event, ...]:
        if not self._database.reaches(self.life.name):
            await asyncio.sleep(NOTICED_SECONDS)
            raise StoreError("the database does not answer")
        name = transaction.application.name if transaction.application is not None else "others"
        saved: asyncio.Future[tuple[Event, ...]] = asyncio.get_running_loop().create_future()
        # No one hears how it ended where the answer to this is lost.
        saved.add_done_callback(lambda done: done.cancelled() or done.exception())
        await self.do(
            "shared-commit",
            RegionName(""),
            name,
            lambda: self._begin(transaction, number, saved),
            StoreError,
            0.002,
        )
        return await saved

    async def _find_out(self, error: Exception) -> tuple[Event, ...]:
        why = str(error) or "the database did not answer in time"
        try:
            async with asyncio.timeout(SETTLING_SECONDS):
                while True:
                    try:
                        events = await self._settle()
                        break
                    except StoreError:
                        await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise Unsure(f"{why}; it is not known whether this was saved") from error
        if events is None:
            raise StoreError(why) from error
        return events

    async def _settle(self) -> tuple[Event, ...] | None:
        """What the last commit saved; None: nothing, and it can't any more. Raises StoreError."""
        if not self._is_open_question:
            return None
        mine, number = self._writer, self._number
        events = await self._database.ask(self.life, lambda: mine.take(number), lambda: mine.is_saving)
        self._is_open_question = False
        return events

    def _begin(
        self, transaction: Transaction, number: int, saved: "asyncio.Future[tuple[Event, ...]]"
    ) -> None:
        """The fence, and the locks that keep others from taking the shard before it is saved."""
        database, writer = self._database, self._writer
        if writer.number >= number:
            raise StoreError("it was given up")
        self._check_fence(transaction)
        shard = shard_of(transaction.application.name) if transaction.application is not None else None
        if shard is not None:
            database.locks[shard] += 1
        writer.is_saving = True
        seconds = self.world.chance.between(*SAVING_SECONDS, "saving", self.shelf.change, self.world.now)

        def end() -> None:
            writer.is_saving = False
            if shard is not None:
                database.locks[shard] -= 1
            try:
                events = self._saved(transaction)
            except StoreError as error:
                database.answer(self.life, saved, error, 0.0005)
            else:
                writer.number, writer.events = number, events
                database.answer(self.life, saved, events, 0.0005)

        self.world.later(seconds, end)

    def _saved(self, transaction: Transaction) -> tuple[Event, ...]:
        if self.world.store_full_until > self.world.now:
            raise Full("the disk is full")
        self._check_incarnation(transaction)
        events = self.save(transaction)
        self._judge(transaction)
        for event in events:
            self.world.tell(self.life.name, f"{event.kind}: {event_text(event)}")
            if event.kind in (*MISTAKES, *NEVER_HERE):
                self.world.broken(0, f"{event.kind}: {event_text(event)}")
        ledger = self.world.ledger
        ledger.last_at = max(ledger.last_at, *(event.at for event in events), 0.0)
        if transaction.application is not None:
            self.world.commit(transaction.application, events)
        return events

    def _judge(self, transaction: Transaction) -> None:
        """Only the owner's decisions have effect."""
        application, tenure = transaction.application, transaction.tenure
        if application is None:
            return
        held = self.shelf.shards[shard_of(application.name)]
        if tenure is None or (held.owner, held.term) != (self.controller, tenure.term):
            text = f"{self.controller} decides under {tenure}, {held.owner} owns it under {held.term}"
            self.world.broken(7, f"{application.name}: {text}")

    # ---------------------------------------------------------------------------------------- reads

    async def changes(self, after: int, shards: Collection[Shard] | None = None) -> Changes:
        await self._settle_first()
        return await self._asked(lambda: super(SimulatedSharedStore, self).changes(after, shards))

    async def receipt(self, key: str) -> Receipt | None:
        await self._settle_first()
        return await self._asked(lambda: super(SimulatedSharedStore, self).receipt(key))

    async def _settle_first(self) -> None:
        if self._is_open_question:
            async with self._saving:
                await self._settle()

    async def records(self, kind: str) -> Sequence[Record]:
        return await self._asked(lambda: super(SimulatedSharedStore, self).records(kind))

    async def hints(self) -> AsyncIterator[None]:
        """One that is lost is lost."""
        hinted, database, world, me = asyncio.Event(), self._database, self.world, self.life

        def hear() -> None:
            if database.reaches(me.name) and world.now >= database.deaf_until.get(me.name, 0.0):
                world.timeline.after(WAY_SECONDS[1], hinted.set, me)

        self.shelf.listeners.append(hear)
        while True:
            await hinted.wait()
            hinted.clear()
            yield None

    # -------------------------------------------------------------------------------------- members

    async def beat(self, member: Member) -> Standing:
        return await self._asked(lambda: super(SimulatedSharedStore, self).beat(member))

    async def take(self, member: Member, shards: Collection[Shard]) -> Mapping[Shard, int]:
        locks = self._database.locks

        def take_now() -> Mapping[Shard, int]:
            former = dict(self.shelf.shards)
            taken = at_once(super(SimulatedSharedStore, self).take(member, shards))
            for shard in taken:
                self._database.on_taken(former[shard])
            return taken

        return await self._database.ask(self.life, take_now, lambda: any(locks[each] for each in shards))

    async def hand_over(self, member: Member, shards: Collection[Shard]) -> None:
        locks = self._database.locks
        await self._database.ask(
            self.life,
            lambda: at_once(super(SimulatedSharedStore, self).hand_over(member, shards)),
            lambda: any(locks[each] for each in shards),
        )

    async def leave(self, member: Member) -> None:
        await self._asked(lambda: super(SimulatedSharedStore, self).leave(member))

    # -------------------------------------------------------------------------------------- reports

    async def next_session(self) -> int:
        return await self._asked(lambda: super(SimulatedSharedStore, self).next_session())

    async def report(
        self, regions: Sequence[RegionRow], reports: Sequence[ReportRow]
    ) -> Collection[RegionName]:
        return await self._asked(lambda: super(SimulatedSharedStore, self).report(regions, reports))

    async def reported(self, after: int) -> Reported:
        return await self._asked(lambda: super(SimulatedSharedStore, self).reported(after))


def at_once(coroutine: Coroutine[Any, Any, Made]) -> Made:
    """What a coroutine that waits for nothing returns."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        made: Made = end.value
        return made
    raise AssertionError("it waits for something")
