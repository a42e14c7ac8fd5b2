"""A store that repave 0.1 wrote opens, migrates and goes on; see version_0_1/README.md for what is in it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from repave_agent.runtime.journal import Journal
from repave_agent.runtime.journal_file import FileDisk
from repave_controller.core.commands.steering import Pause, Resume
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.rollout import Phase, TrackPhase
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.stores.sqlite.store import SqliteStore
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import DesiredState, GroupName, RegionName
from tests.fakes.controller.scheduled import CART, OSLO, PARIS, SHOP, Packages, World
from tests.fakes.virtual_time import in_virtual_time

STORED = Path(__file__).parent / "version_0_1" / "controller.sql"
JOURNAL = Path(__file__).parents[2] / "agent" / "runtime" / "version_0_1" / "journal.json"
STOPPED_AT = 1165.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "controller.db"
    connection = sqlite3.connect(path)
    connection.executescript(STORED.read_text())
    connection.close()
    return path


class StoredWorld(World):
    """A world over a SQLite file, whose clock goes on where the file's ended. Its regions are away at first,
    with what their agents had accepted."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.sqlite = SqliteStore(path)

    def clock(self) -> Instant:
        return Instant(STOPPED_AT + asyncio.get_running_loop().time())

    async def open(self) -> None:
        loaded = await self.sqlite.open()
        self.freezes = loaded.freezes
        self.scheduler = Scheduler(self.sqlite, Packages(), loaded, self.clock, self)
        for region in self.regions.values():
            region.is_connected = False
            states = (each.desired_in(region.name) for each in loaded.applications)
            region.desired = {each.application: each for each in states if each is not None}
        self.regions[OSLO].desired = {
            each.application: each for each in Journal(FileDisk(JOURNAL)).load().desired
        }

    def publish(self, region: RegionName, state: DesiredState) -> None:
        self.published.append((region, state))
        self.regions[region].desired[state.application] = state
        asyncio.get_running_loop().call_soon(self.obey, region, state.application)


@asynccontextmanager
async def reopened(path: Path) -> AsyncIterator[StoredWorld]:
    world = StoredWorld(path)
    await world.open()
    work = asyncio.create_task(world.scheduler.run())
    try:
        yield world
        assert not work.done(), "the scheduler must run for ever"
    finally:
        work.cancel()
        await asyncio.wait({work})
        await world.sqlite.close()


@in_virtual_time
async def test_what_was_decided_is_known(path: Path) -> None:
    async with reopened(path) as world:
        shop, cart = world.application(SHOP), world.application(CART)
        assert [(each.name, each.version) for each in shop.groups] == [
            ("shop-v001", "1.0"),
            ("shop-v003", "2.0"),
        ]
        assert shop.running is not None
        assert [(each.region, each.phase) for each in shop.running.tracks] == [
            (OSLO, TrackPhase.RUNNING),
            (PARIS, TrackPhase.WAITING),
        ]
        assert cart.running is not None
        assert cart.running.pause is not None
        assert (cart.running.pause.by, text_of(cart.running.pause.reason)) == ("bob", "prices are wrong")
        assert [each.version for each in cart.queue] == ["3.0"]
        assert [(each.id, each.applications) for each in world.freezes.named] == [("F1", ("web-*",))]


@in_virtual_time
async def test_history_specs_receipts_and_packages_are_read(path: Path) -> None:
    async with reopened(path) as world:
        ends = [(each.version, each.phase) for each in await world.sqlite.rollouts(SHOP)]
        assert ends == [("2.0", Phase.RUNNING), ("1.1", Phase.ROLLED_BACK), ("1.0", Phase.SUCCEEDED)]
        assert len(await world.sqlite.events()) == 48
        assert await world.sqlite.spec(SHOP, "shop-v003") == "spec of c"
        paused_again = await world.scheduler.steer(
            CART, Pause(), by="bob", reason="prices are wrong", key="ci-5"
        )
        assert paused_again.is_joined
        assert len(await world.sqlite.images()) == 4


@in_virtual_time
async def test_the_release_on_its_way_goes_on_to_success_in_both_waves(path: Path) -> None:
    async with reopened(path) as world:
        world.arrive(OSLO, PARIS)
        assert await world.ended(SHOP) is Phase.SUCCEEDED
        assert world.weights(region=OSLO) == world.weights(region=PARIS) == {"shop-v003": 10_000}
        assert world.application(CART).running is not None, "it is paused"


@in_virtual_time
async def test_regions_are_not_taken_for_ahead_of_the_store(path: Path) -> None:
    """What an agent had accepted is by content what the store had offered it."""
    async with reopened(path) as world:
        world.arrive(OSLO, PARIS)
        await asyncio.sleep(1)
        assert world.scheduler.applications_in(OSLO) == (CART, SHOP)
        assert "recover" not in world.waits_for(SHOP) + world.waits_for(CART)


@in_virtual_time
async def test_the_paused_rollout_resumes_and_the_queued_release_follows(path: Path) -> None:
    async with reopened(path) as world:
        world.arrive(OSLO, PARIS)
        await asyncio.sleep(3600)
        assert world.weights(CART, OSLO) == {"cart-v001": 9_000, "cart-v002": 1_000}
        await world.scheduler.steer(CART, Resume(), by="bob")
        assert await world.ended(CART) is Phase.SUCCEEDED
        await asyncio.sleep(1)
        assert await world.ended(CART) is Phase.SUCCEEDED
        assert world.weights(CART, OSLO) == {"cart-v003": 10_000}


@in_virtual_time
async def test_a_sick_second_wave_still_rolls_back(path: Path) -> None:
    async with reopened(path) as world:
        world.arrive(OSLO, PARIS)
        world.regions[PARIS].sick.add(GroupName("shop-v003"))
        assert await world.ended(SHOP) is Phase.ROLLED_BACK
        assert world.weights(region=OSLO) == world.weights(region=PARIS) == {"shop-v001": 10_000}


@in_virtual_time
async def test_what_is_saved_now_is_read_by_the_next_controller(path: Path) -> None:
    async with reopened(path) as world:
        world.arrive(OSLO, PARIS)
        await world.ended(SHOP)
        before = world.scheduler.applications()
    async with reopened(path) as later:
        assert replace(later.application(SHOP), rollout=None) == replace(before[SHOP], rollout=None)
        assert later.application(CART) == before[CART]
