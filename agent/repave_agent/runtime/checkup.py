"""Asks provider and balancer, again and again, what is wrong with them: people see it in status, why and
doctor, whether a release goes on or not.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, runtime_checkable

from repave_agent.core.ports import BalancerError, ProviderError

EVERY_SECONDS = 5.0
PATIENCE_SECONDS = 15.0


@runtime_checkable
class Examined(Protocol):
    """A provider or a balancer that can tell what is wrong with it."""

    name: str

    async def troubles(self) -> list[str]:
        """What is wrong for now, a line each, with what to do; [] when it is well. What is only good to know
        begins with "note: ". Raises ProviderError or BalancerError: that is a trouble as well."""


class Checkup:
    """`tell` hears all troubles, each time."""

    def __init__(
        self,
        parts: tuple[object, ...],
        tell: Callable[[tuple[str, ...]], None],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._parts = [part for part in parts if isinstance(part, Examined)]
        self._tell, self._sleep = tell, sleep

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._tell(await self.look())
            await self._sleep(EVERY_SECONDS)

    async def look(self) -> tuple[str, ...]:
        found = await asyncio.gather(*(_troubles_of(part) for part in self._parts))
        return tuple(dict.fromkeys(line for lines in found for line in lines))


async def _troubles_of(part: Examined) -> list[str]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await part.troubles()
    except (ProviderError, BalancerError) as error:
        return [str(error)]
    except TimeoutError:
        return [f"{part.name}: no answer within {PATIENCE_SECONDS:g} s"]
