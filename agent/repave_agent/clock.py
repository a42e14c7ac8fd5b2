"""The machine's clock. `__main__` makes the one that all parts of the agent share."""

import asyncio
import time


class SystemClock:
    """Implements ports.Clock."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def elapsed(self) -> float:
        """Seconds that go on while the machine is suspended, as monotonic ones do not."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
