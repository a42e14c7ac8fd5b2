"""A sequence of what there is in each region, where the entry of a region is found, and replaced, at once."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol, Self, TypeVar, get_args, overload

from repave_protos.protocol.values import RegionName

CHUNK = 64
"""Entries that are copied together. With 5,000 regions, replacing one copies 64 + 79 references."""


class Regional(Protocol):
    """A value that knows its region."""

    @property
    def region(self) -> RegionName: ...


Entry = TypeVar("Entry", bound=Regional | tuple[RegionName, Any])
Fact = TypeVar("Fact")


class ByRegion(Sequence[Entry]):
    """One entry a region at most: a value with its `region`, or a pair of the region and a value.

    Never changes. Replacing an entry shares the others, and the index, which is built once, at the first
    look-up. Stored, compared and hashed as the tuple of its entries.
    """

    __slots__ = ("_chunks", "_count", "_facts", "_known_places")

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        whole = tuple(entries)
        chunks = tuple(whole[first : first + CHUNK] for first in range(0, len(whole), CHUNK))
        self._set(chunks, len(whole), None)

    def _set(
        self, chunks: tuple[tuple[Entry, ...], ...], count: int, places: dict[RegionName, int] | None
    ) -> None:
        self._chunks, self._count, self._known_places = chunks, count, places
        self._facts: dict[Callable[[Self], Any], Any] = {}

    def find(self, region: RegionName) -> Entry | None:
        place = (self._known_places or self._places).get(region)
        if place is None or place >= self._count:
            return None
        return self._chunks[place // CHUNK][place % CHUNK]

    def put(self, entry: Entry) -> Self:
        """With `entry` in the place of its region's former one, or at the end."""
        places = self._places
        place = places.get(region_of(entry), self._count)
        if place >= self._count:
            return self._with_last(entry)
        number, within = divmod(place, CHUNK)
        chunk = self._chunks[number]
        changed = (*chunk[:within], entry, *chunk[within + 1 :])
        return self._made((*self._chunks[:number], changed, *self._chunks[number + 1 :]), self._count, places)

    def _with_last(self, entry: Entry) -> Self:
        """The index is shared as well, unless another entry has that place in it: of a region beyond its
        own end it says nothing."""
        places, count = self._places, self._count
        if len(places) > count:
            places = {region: place for region, place in places.items() if place < count}
        places[region_of(entry)] = count
        full, last = divmod(count, CHUNK)
        chunks = (*self._chunks[:full], (*self._chunks[full], entry) if last else (entry,))
        return self._made(chunks, count + 1, places)

    def _made(self, chunks: tuple[tuple[Entry, ...], ...], count: int, places: dict[RegionName, int]) -> Self:
        made = type(self).__new__(type(self))
        made._set(chunks, count, places)
        return made

    def sorted(self) -> Self:
        """By name of the region."""
        return type(self)(sorted(self, key=region_of))

    def without(self, regions: Collection[RegionName]) -> Self:
        return type(self)(entry for entry in self if region_of(entry) not in regions)

    def once(self, fact: Callable[[Self], Fact]) -> Fact:
        """`fact` of all entries together: worked out at the first call, and known from then on."""
        if fact not in self._facts:
            self._facts[fact] = fact(self)
        found: Fact = self._facts[fact]
        return found

    @property
    def _places(self) -> dict[RegionName, int]:
        if self._known_places is None:
            self._known_places = {region_of(entry): place for place, entry in enumerate(self)}
        return self._known_places

    # ------------------------------------------------------------------------------ as a tuple is

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self._chunks)

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Entry: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Entry, ...]: ...

    def __getitem__(self, place: int | slice) -> Entry | tuple[Entry, ...]:
        if isinstance(place, slice):
            return tuple(self)[place]
        number, within = divmod(range(self._count)[place], CHUNK)
        return self._chunks[number][within]

    def __contains__(self, entry: object) -> bool:
        return any(entry in chunk for chunk in self._chunks)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ByRegion):
            return self._chunks == other._chunks
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, schema_of: Callable[[Any], Any]) -> dict[str, Any]:
        """Tells pydantic, which stores use, that JSON has a plain list."""
        (entry,) = get_args(source)
        plain = schema_of(tuple[entry, ...])  # type: ignore[valid-type]  # known when it runs
        return {
            "type": "function-after",
            "function": {"type": "no-info", "function": cls},
            "schema": plain,
            "serialization": {"type": "function-plain", "function": tuple, "return_schema": plain},
        }


def region_of(entry: Regional | tuple[RegionName, Any]) -> RegionName:
    return entry[0] if isinstance(entry, tuple) else entry.region
