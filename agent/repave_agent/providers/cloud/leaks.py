"""Disks, interfaces and addresses with our mark that no machine uses: parts that a cloud has left of one.

Each goes with its machine by the way it is made. What is left all the same, since something failed late, is
told from the parts of a machine that is just being made by time alone.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog

from repave_agent.clients.faults import GoneError
from repave_agent.core.ports import Clock, ProviderError

log = structlog.get_logger()

LEFT_SECONDS = 1800.0
"""Longer than a launch or the machine of a bake can take."""
SWEEP_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Part:
    """`kind`: as people call it."""

    kind: str
    id: str


class PartsCloud(Protocol):
    """The parts of machines of one installation in one region, those that are baked included."""

    async def unused_parts(self) -> list[Part]:
        """Those with our mark that no machine uses now, interfaces before their addresses."""

    async def delete_part(self, part: Part) -> None:
        """Asks for its end. Raises GoneError where there is none, and ProviderError."""


class Leaks:
    """What is unused is removed when it has been seen so for LEFT_SECONDS."""

    def __init__(self, cloud: PartsCloud, clock: Clock) -> None:
        self._cloud, self._clock = cloud, clock
        self._since: dict[Part, float] = {}
        self._next_at = float("-inf")
        self._sweeping = asyncio.Lock()

    async def sweep(self) -> None:
        """At most once in SWEEP_SECONDS. Logs what fails, and tries again the next time."""
        async with self._sweeping:
            now = self._clock.monotonic()
            if now < self._next_at:
                return
            self._next_at = now + SWEEP_SECONDS
            try:
                there = await self._cloud.unused_parts()
            except ProviderError as error:
                log.warning("parts.not_listed", because=str(error))
                return
            self._since = {part: self._since.get(part, now) for part in there}
            for part in there:
                if now - self._since[part] >= LEFT_SECONDS:
                    await self._remove(part)

    async def _remove(self, part: Part) -> None:
        log.warning("part.left", kind=part.kind, part=part.id)
        try:
            await self._cloud.delete_part(part)
        except GoneError:
            pass
        except ProviderError as error:
            log.warning("part.not_removed", kind=part.kind, part=part.id, because=str(error))
