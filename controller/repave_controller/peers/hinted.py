"""Waits for the next hint of a store, and not for ever: hints may be lost."""

import asyncio
from collections.abc import AsyncIterator


class Hinted:
    """One who waits. To be closed."""

    def __init__(self, hints: AsyncIterator[None]) -> None:
        self._hints = hints
        self._next = self._ask()

    async def wait(self, seconds: float) -> None:
        """Until there was a hint since the last call, at most so long."""
        await asyncio.wait({self._next}, timeout=seconds)
        if self._next.done():
            self._next.result()
            self._next = self._ask()

    def close(self) -> None:
        self._next.cancel()

    def _ask(self) -> asyncio.Future[None]:
        return asyncio.ensure_future(anext(self._hints))
