"""Cancels work at any of the moments at which it waits, whichever of its tasks it is that waits there."""

import asyncio
import functools
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any


async def waits_of(work: Callable[[], Awaitable[object]]) -> int:
    """How often it waits until it has ended."""
    count = 0

    def counted() -> None:
        nonlocal count
        count += 1

    async with _watched(counted):
        await asyncio.create_task(_awaited(work))
    return count


async def cancelled_at(moment: int, work: Callable[[], Awaitable[object]]) -> None:
    """Cancels it when it waits for the `moment`th time (1 is the first); returns when it has ended."""
    reached, count = asyncio.Event(), 0

    def counted() -> None:
        nonlocal count
        count += 1
        if count == moment:
            reached.set()

    async with _watched(counted):
        task = asyncio.create_task(_awaited(work))
        watch = asyncio.ensure_future(reached.wait())
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        task.cancel()
        watch.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _awaited(work: Callable[[], Awaitable[object]]) -> None:
    await work()


@asynccontextmanager
async def _watched(told: Callable[[], None]) -> AsyncIterator[None]:
    """Tasks that are made in the block tell each time that they wait."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def make(
        loop: asyncio.AbstractEventLoop,
        work: Any,
        **named: Any,
    ) -> asyncio.Task[Any]:
        return asyncio.Task(_told(work, told), loop=loop, **named)

    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(before)


async def _told(work: Any, told: Callable[[], None]) -> Any:
    return await _driven(work, told)


@types.coroutine
def _driven(work: Any, told: Callable[[], None]) -> Generator[Any, None, Any]:
    step = functools.partial(work.send, None)
    while True:
        try:
            future = step()
        except StopIteration as ended:
            return ended.value
        told()
        try:
            yield future
            step = functools.partial(work.send, None)
        except BaseException as error:  # handed on
            step = functools.partial(work.throw, error)
