"""A clock on which every sleep passes at once."""

import asyncio
import time


class QuickClock:
    """Implements ports.Clock: the machine's time, plus all that was slept, plus `step` for each reading."""

    def __init__(self, step: float = 0.0) -> None:
        self.slept, self._step = 0.0, step

    def wall(self) -> float:
        return time.time() + self.slept

    def monotonic(self) -> float:
        self.slept += self._step
        return time.monotonic() + self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)
