"""Clocks for tests: one on which every sleep passes at once, and one that only runs fast."""

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


class FastClock:
    """Implements ports.Clock: so many times as fast as the machine's, for waits beside real parts."""

    def __init__(self, times: float = 10.0) -> None:
        self._times = times

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic() * self._times

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._times)
