"""Notices that this process did not run for a while: it was stopped, or its machine was."""

import asyncio

from repave_protos.daemon.standstill import STANDSTILL_SECONDS, WATCH_SECONDS


class SuspensionWatch:
    """`look` counts how often it has happened; between two looks `run` must be running."""

    def __init__(self) -> None:
        self._count = 0
        self._seen_at: float | None = None

    def look(self) -> int:
        now = asyncio.get_running_loop().time()  # the loop's own: what is measured is whether this loop ran
        if self._seen_at is not None and now - self._seen_at > STANDSTILL_SECONDS:
            self._count += 1
        self._seen_at = now
        return self._count

    async def run(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(WATCH_SECONDS)
