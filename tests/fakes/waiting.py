"""Waits for what must become true soon: polls, with a deadline far beyond what a busy machine needs."""

import asyncio
from collections.abc import Awaitable, Callable

DEADLINE_SECONDS = 40.0
POLL_SECONDS = 0.01


async def until(condition: Callable[[], object]) -> None:
    """Returns when `condition()` is true; fails the test when it does not become true in time."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110  # nothing tells us
            await asyncio.sleep(POLL_SECONDS)


async def until_async(condition: Callable[[], Awaitable[object]], seconds: float = DEADLINE_SECONDS) -> None:
    """The same for a condition that must be awaited."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # nothing tells us
            await asyncio.sleep(POLL_SECONDS)
