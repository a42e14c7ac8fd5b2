"""Desired states that can't be saved wait for the disk: the newest of each application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from repave_agent.runtime.journal import JournalError
from repave_agent.runtime.retry import Postponed
from repave_protos.protocol.values import ApplicationName, DesiredState
from tests.fakes.agent.region_values import a_state
from tests.fakes.waiting import until

FIRST, SECOND = a_state(rev=1), a_state(rev=2)
OTHER = replace(FIRST, application=ApplicationName("cart"))


class Disk:
    """Takes states when it has room."""

    def __init__(self) -> None:
        self.is_full = False
        self.tried = 0
        self.taken: list[DesiredState] = []

    async def take(self, state: DesiredState) -> None:
        self.tried += 1
        if self.is_full:
            raise JournalError("the disk is full")
        self.taken.append(state)


@asynccontextmanager
async def trying(disk: Disk) -> AsyncIterator[Postponed]:
    postponed = Postponed(disk.take, lambda _seconds: asyncio.sleep(0))
    running = asyncio.create_task(postponed.run())
    try:
        yield postponed
    finally:
        running.cancel()


async def test_what_can_be_saved_is_taken_once() -> None:
    disk = Disk()
    async with trying(disk) as postponed:
        await postponed.on_desired(FIRST)
        await postponed.on_desired(SECOND)
        await asyncio.sleep(0)
    assert disk.taken == [FIRST, SECOND]
    assert disk.tried == 2


async def test_of_what_could_not_be_saved_only_the_newest_is_taken_once_there_is_room() -> None:
    disk = Disk()
    disk.is_full = True
    async with trying(disk) as postponed:
        for state in (FIRST, OTHER, SECOND):
            await postponed.on_desired(state)
        await until(lambda: disk.tried >= 10)
        assert disk.taken == []
        disk.is_full = False
        await until(lambda: len(disk.taken) == 2)
        tried = disk.tried
        await asyncio.sleep(0)
    assert set(disk.taken) == {OTHER, SECOND}
    assert disk.tried == tried


async def test_what_was_heard_later_and_saved_is_not_followed_by_what_waited() -> None:
    disk = Disk()
    disk.is_full = True
    async with trying(disk) as postponed:
        await postponed.on_desired(FIRST)
        await until(lambda: disk.tried >= 2)
        disk.is_full = False
        await postponed.on_desired(SECOND)
        await asyncio.sleep(0)
    assert disk.taken == [SECOND]
