"""What others saved is known here, or this controller ends: over a log of changes that a test plays."""

import asyncio
from collections.abc import AsyncIterator, Collection

import pytest

from repave_controller.core.domain.application import Application
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import LeftBehind, StoreError
from repave_controller.peers.mirror import Mirror
from repave_controller.peers.ports import SHARDS, Changes, Shard
from repave_protos.protocol.values import ApplicationName
from tests.fakes.virtual_time import in_virtual_time

SHOP = ApplicationName("shop")


class Played:
    """Implements ChangeLog and Audience: one application, saved by another controller."""

    def __init__(self) -> None:
        self.incarnation, self.change, self.saved_at, self.number = 1, 1, 1, 1
        self.failure: StoreError | None = None
        self.known = 0

    def save(self, number: int) -> None:
        self.change += 1
        self.number, self.saved_at = number, self.change

    async def changes(self, after: int, shards: Collection[Shard] | None = None) -> Changes:
        if self.failure is not None:
            raise self.failure
        shop = Application(SHOP, SHOP, GroupNumber(self.number))
        return Changes(self.change, self.incarnation, (shop,) if self.saved_at > after else ())

    async def hints(self) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield None

    def others(self) -> Collection[Shard]:
        return range(SHARDS)

    def take_in(self, application: Application) -> None:
        self.known = int(application.next_number)

    def take_freezes(self, freezes: Freezes) -> None: ...

    def take_events(self) -> None: ...


async def test_what_a_standby_that_took_over_has_is_read_anew_though_its_changes_have_known_numbers() -> None:
    played = Played()
    mirror = Mirror(played, played, seen=0)
    played.save(2)
    await mirror.catch_up()
    assert played.known == 2
    played.incarnation, played.change = 2, 1  # it lacks that change, and has another one in its place
    played.save(3)
    await mirror.catch_up()
    assert played.known == 3


@in_virtual_time
async def test_a_controller_that_can_not_catch_up_ends_and_one_whose_store_is_away_goes_on() -> None:
    played = Played()
    mirror = Mirror(played, played, seen=0)
    running = asyncio.create_task(mirror.run())
    played.failure = StoreError("away")
    await asyncio.sleep(10)
    assert not running.done()
    played.failure = LeftBehind("it lacks changes")
    await asyncio.sleep(2)
    with pytest.raises(LeftBehind):
        await running
