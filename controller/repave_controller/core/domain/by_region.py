"""A tuple of what there is in each region, where the entry of a region is found at once."""

from collections.abc import Callable, Collection
from functools import cached_property
from typing import Any, Protocol, Self, TypeVar, get_args

from repave_protos.protocol.values import RegionName


class Regional(Protocol):
    """A value that knows its region."""

    @property
    def region(self) -> RegionName: ...


Entry = TypeVar("Entry", bound=Regional | tuple[RegionName, Any])
Fact = TypeVar("Fact")


class ByRegion(tuple[Entry, ...]):
    """One entry a region at most: a value with its `region`, or a pair of the region and a value.

    Replacing an entry copies the references and keeps the index, which is built once, at the first look-up.
    Stored, compared and hashed as the tuple that it is.
    """

    def find(self, region: RegionName) -> Entry | None:
        try:
            return self[self._places[region]]
        except KeyError:
            return None

    def put(self, entry: Entry) -> Self:
        """With `entry` in the place of its region's former one, or at the end."""
        place = self._places.get(region_of(entry))
        if place is None:
            return type(self)((*self, entry))
        entries = list(self)
        entries[place] = entry
        changed = type(self)(entries)
        changed.__dict__["_places"] = self._places
        return changed

    def sorted(self) -> Self:
        """By name of the region."""
        return type(self)(sorted(self, key=region_of))

    def without(self, regions: Collection[RegionName]) -> Self:
        return type(self)(entry for entry in self if region_of(entry) not in regions)

    def once(self, fact: Callable[[Self], Fact]) -> Fact:
        """`fact` of all entries together: worked out at the first call, and known from then on."""
        known = self.__dict__.setdefault("_facts", {})
        if fact not in known:
            known[fact] = fact(self)
        found: Fact = known[fact]
        return found

    @cached_property
    def _places(self) -> dict[RegionName, int]:
        return {region_of(entry): place for place, entry in enumerate(self)}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, schema_of: Callable[[Any], Any]) -> dict[str, Any]:
        """Tells pydantic, which stores use, that JSON has a plain list."""
        (entry,) = get_args(source)
        convert = {"type": "no-info", "function": cls}
        plain = schema_of(tuple[entry, ...])  # type: ignore[valid-type]  # known when it runs
        return {"type": "function-after", "function": convert, "schema": plain}


def region_of(entry: Regional | tuple[RegionName, Any]) -> RegionName:
    return entry[0] if isinstance(entry, tuple) else entry.region
