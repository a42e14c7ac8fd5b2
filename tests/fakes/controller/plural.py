"""Two schedulers over one store in memory, each with regions of its own, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from repave_controller.core.domain.application import Event, Tenure
from repave_controller.core.ports import Conflict, Transaction
from repave_controller.peers.mirror import Mirror
from repave_controller.peers.ports import SHARDS, ControllerId, Held, shard_of
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.values import ApplicationName, DesiredState, RegionName
from repave_simulation.tiers.shared_shelf import SharedShelf
from repave_simulation.tiers.shared_store import SharedMemoryStore
from tests.fakes.controller.scheduled import (
    COMMIT_SECONDS,
    OSLO,
    PARIS,
    SHOP,
    FakeRegion,
    Packages,
    World,
)


class SlowSharedStore(SharedMemoryStore):
    """Takes its time, as a database does. `fails_after_saving`: the answer to the next commit is lost."""

    fails_after_saving: Exception | None = None
    conflicts = 0  # so many of the next commits that go by what others decided come too late
    _hangs: asyncio.Event | None = None
    _is_saved_first = False

    def hang(self, *, is_saved: bool) -> None:
        """The next commit does until `go_on`, before or after it `is_saved`; others don't."""
        self._hangs, self._is_saved_first = asyncio.Event(), is_saved
        self.go_on = self._hangs.set

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        await asyncio.sleep(COMMIT_SECONDS)
        if transaction.seen is not None and self.conflicts:
            self.conflicts -= 1
            raise Conflict("another controller was faster")
        hangs, self._hangs = self._hangs, None
        if hangs is not None and not self._is_saved_first:
            await hangs.wait()
        saved = await super().commit(transaction)
        if hangs is not None:
            await hangs.wait()
        lost, self.fails_after_saving = self.fails_after_saving, None
        if lost is not None:
            raise lost
        return saved


class Owned:
    """Implements peers.ports.Ownership by what the shelf says at this moment."""

    def __init__(self, shelf: SharedShelf, me: ControllerId) -> None:
        self._shelf, self._me = shelf, me

    def tenure_of(self, application: ApplicationName) -> Tenure | None:
        held = self._shelf.shards[shard_of(application)]
        return Tenure(self._shelf.incarnation, held.term) if held.owner == self._me else None

    def owner_of(self, application: ApplicationName) -> ControllerId | None:
        return self._shelf.shards[shard_of(application)].owner

    def begin(self, incarnation: int) -> None:
        raise AssertionError("these tests begin none")


class Controller(World):
    """One of the two. Hears of both regions, and reaches those that are `here`."""

    def __init__(self, name: ControllerId, shelf: SharedShelf, here: RegionName) -> None:
        super().__init__()
        self.name, self.here = name, here
        self.shared = SlowSharedStore(shelf, name)
        self.other: Controller

    async def open(self) -> None:
        loaded = await self.shared.open()
        owned = Owned(self.shared.shelf, self.name)
        self.scheduler = Scheduler(self.shared, Packages(), loaded, self.clock, self, ownership=owned)
        self.mirror = Mirror(self.shared, self.scheduler, loaded.change)
        self.scheduler.share_by(self.mirror)

    def publish(self, region: RegionName, state: DesiredState) -> None:
        if region == self.here:
            saved = self.shared.shelf.applications[state.application].desired_in(region)
            assert saved == state, "something was published that is not in the store"
            self.published.append((region, state))
            self.regions[region].desired[state.application] = state
            asyncio.get_running_loop().call_soon(self.obey, region, state.application)

    def obey(self, region: RegionName, application: ApplicationName) -> None:
        super().obey(region, application)
        self.other.scheduler.region_changed(region, {application})

    async def take(self, *applications: ApplicationName) -> None:
        """Their shards, as membership does once the other one is gone or has handed them over."""
        shelf, shards = self.shared.shelf, {shard_of(each) for each in applications}
        for shard in shards:
            shelf.shards[shard] = Held(shard, self.name, shelf.shards[shard].term + 1)
        await self.scheduler.gained(shards)

    def shared_kinds(self, application: ApplicationName = SHOP) -> list[str]:
        return [event.kind for event in self.shared.shelf.events if event.application == application]

    async def lose(self, *applications: ApplicationName) -> None:
        await self.scheduler.lost({shard_of(each) for each in applications})


@asynccontextmanager
async def two_controllers() -> AsyncIterator[tuple[Controller, Controller]]:
    """The first has Oslo and the second Paris; neither has a shard."""
    shelf = SharedShelf()
    assert len(shelf.shards) == SHARDS
    first, second = Controller("first", shelf, OSLO), Controller("second", shelf, PARIS)
    first.other, second.other = second, first
    regions = {name: FakeRegion(name) for name in (OSLO, PARIS)}
    async with AsyncExitStack() as running:
        for each in (first, second):
            each.regions = regions
            await each.open()
            running.callback(asyncio.create_task(each.scheduler.run()).cancel)
            running.callback(asyncio.create_task(each.mirror.run()).cancel)
        yield first, second
