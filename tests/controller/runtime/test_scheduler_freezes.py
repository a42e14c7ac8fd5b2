"""The scheduler and freezes: saved before anything follows from it, there again after a restart."""

import asyncio

import pytest

from repave_controller.core.domain.freezes import Freezes, freeze_all, unfreeze_all
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import StoreError
from tests.fakes.controller.scheduled import World, scheduled


async def frozen(world: World, by: str = "ann") -> Freezes:
    return await world.scheduler.change_freezes(
        lambda known, now: freeze_all(known, by, "prices are wrong", now)
    )


async def test_a_change_is_on_disk_with_its_event_when_it_is_answered() -> None:
    async with scheduled() as world:
        freezes = await frozen(world)
        assert world.store.shelf.freezes == world.scheduler.freezes == freezes
        (event,) = world.store.shelf.events
        assert (event.kind, event.by, event.application) == ("freeze.all.added", "ann", "")
        assert event.at == freezes.full.at if freezes.full else None


async def test_a_restarted_controller_knows_the_freezes() -> None:
    async with scheduled() as world:
        freezes = await frozen(world)
    async with scheduled(world.store.shelf) as again:
        assert again.scheduler.freezes == freezes
        await again.scheduler.change_freezes(lambda known, now: unfreeze_all(known, "bob", "", now))
        assert again.store.shelf.freezes == Freezes()


async def test_what_changes_nothing_is_not_saved_and_not_told() -> None:
    async with scheduled() as world:
        freezes = await frozen(world)
        assert await frozen(world, "bob") == freezes
        assert len(world.store.shelf.events) == 1


async def test_what_cannot_be_saved_has_not_happened() -> None:
    async with scheduled() as world:
        world.store.trouble = "the disk is full"
        with pytest.raises(StoreError):
            await frozen(world)
        assert world.scheduler.freezes == Freezes()
        world.store.trouble = ""
        await frozen(world)
        assert world.scheduler.freezes.full is not None


async def test_commands_at_the_same_time_are_taken_one_after_the_other() -> None:
    async with scheduled() as world:
        await asyncio.gather(*(frozen(world, f"person {number}") for number in range(20)))
        assert len(world.store.shelf.events) == 1


async def test_a_refused_command_changes_nothing() -> None:
    def refuse(*_: object) -> tuple[Freezes, tuple[()]]:
        raise Refused(Refusal.UNKNOWN_FREEZE, name="F1", known=())

    async with scheduled() as world:
        with pytest.raises(Refused):
            await world.scheduler.change_freezes(refuse)
        assert (world.scheduler.freezes, world.store.shelf.events) == (Freezes(), [])


async def test_who_follows_sees_the_change() -> None:
    async with scheduled() as world:
        before = world.scheduler.version
        await frozen(world)
        assert await world.scheduler.changed(before) > before
