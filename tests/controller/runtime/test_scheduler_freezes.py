"""The scheduler and the line: saved before anything follows from it, there again after a restart."""

import asyncio

import pytest

from repave_controller.core.domain.freezes import Line, go, stop
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import StoreError
from tests.fakes.controller.scheduled import World, scheduled


async def stopped(world: World, by: str = "ann") -> Line:
    return await world.scheduler.change_line(lambda line, now: stop(line, by, "prices are wrong", now))


async def test_a_change_is_on_disk_with_its_event_when_it_is_answered() -> None:
    async with scheduled() as world:
        line = await stopped(world)
        assert world.store.shelf.line == world.scheduler.line == line
        (event,) = world.store.shelf.events
        assert (event.kind, event.by, event.application) == ("line.stopped", "ann", "")
        assert event.at == line.stopped.at if line.stopped else None


async def test_a_restarted_controller_knows_the_line() -> None:
    async with scheduled() as world:
        line = await stopped(world)
    async with scheduled(world.store.shelf) as again:
        assert again.scheduler.line == line
        await again.scheduler.change_line(lambda known, now: go(known, "bob", "", now))
        assert again.store.shelf.line == Line()


async def test_what_changes_nothing_is_not_saved_and_not_told() -> None:
    async with scheduled() as world:
        line = await stopped(world)
        assert await stopped(world, "bob") == line
        assert len(world.store.shelf.events) == 1


async def test_what_cannot_be_saved_has_not_happened() -> None:
    async with scheduled() as world:
        world.store.trouble = "the disk is full"
        with pytest.raises(StoreError):
            await stopped(world)
        assert world.scheduler.line == Line()
        world.store.trouble = ""
        await stopped(world)
        assert world.scheduler.line.stopped is not None


async def test_commands_at_the_same_time_are_taken_one_after_the_other() -> None:
    async with scheduled() as world:
        await asyncio.gather(*(stopped(world, f"person {number}") for number in range(20)))
        assert len(world.store.shelf.events) == 1


async def test_a_refused_command_changes_nothing() -> None:
    def refuse(*_: object) -> tuple[Line, tuple[()]]:
        raise Refused(Refusal.UNKNOWN_FREEZE, name="F1", known=())

    async with scheduled() as world:
        with pytest.raises(Refused):
            await world.scheduler.change_line(refuse)
        assert (world.scheduler.line, world.store.shelf.events) == (Line(), [])


async def test_who_follows_sees_the_change() -> None:
    async with scheduled() as world:
        before = world.scheduler.version
        await stopped(world)
        assert await world.scheduler.changed(before) > before
