"""Where a machine is asked for when a zone or a size has no room: the next zone first, then the next size."""

import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from repave_agent.clients.faults import LostError
from repave_agent.core.ports import MisfitError, OutOfCapacityError
from repave_protos.protocol.values import HostName

log = structlog.get_logger()


class NotOfferedError(OutOfCapacityError):
    """The zone never has room for the size: others may."""


@dataclass(frozen=True, slots=True)
class Place:
    zone: str
    size: str  # what the cloud calls it

    def __str__(self) -> str:
        return f"{self.size} in {self.zone}"


class Placement:
    """Hosts go to the zones in turn."""

    def __init__(self, zones: Sequence[str]) -> None:
        self._zones = tuple(zones)
        self._turn = itertools.count()

    def _places(self, sizes: Sequence[str]) -> Iterator[Place]:
        first = next(self._turn) % len(self._zones)
        zones = (*self._zones[first:], *self._zones[:first])
        return (Place(zone, size) for size in sizes for zone in zones)

    async def first_with_room(
        self, host: HostName, sizes: Sequence[str], make: Callable[[Place], Awaitable[str]]
    ) -> str:
        """What `make` gives. `sizes`: the best one, then those to take where it has no room. Raises
        OutOfCapacityError where no place has room now, MisfitError where none ever has, and what `make`
        raises else: where it is not known whether a machine was made, none is made elsewhere."""
        full: list[str] = []
        is_offered = False
        for place in self._places(sizes):
            try:
                return await make(place)
            except LostError:
                raise
            except OutOfCapacityError as error:
                full.append(f"{place}: {error}")
                is_offered = is_offered or not isinstance(error, NotOfferedError)
                log.warning("host.no_room", host=host, place=str(place), because=str(error))
        if not is_offered:
            raise MisfitError(f"host.size: no zone has it: {'; '.join(full)}")
        raise OutOfCapacityError("; ".join(full))
