"""A counter that one can wait on: many waiters, no queue, the newest value wins."""

import asyncio


class Broadcast:
    """`bump` raises `version` and wakes all waiters."""

    def __init__(self) -> None:
        self.version = 0
        self._beat = asyncio.Event()

    def bump(self) -> None:
        self.version += 1
        beat, self._beat = self._beat, asyncio.Event()
        beat.set()

    async def wait(self, after: int) -> int:
        """Returns `version` as soon as it is above `after`."""
        while self.version <= after:
            await self._beat.wait()
        return self.version
