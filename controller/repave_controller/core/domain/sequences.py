"""Sequences that never change, of which facts are worked out once; one where the entry of a key is found, and
replaced, at once. Stored, compared and hashed as tuples of their entries."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Generic, Self, TypeVar, TypeVarTuple, get_args, overload

CHUNK = 64
"""Entries that are copied together. With 5,000 of them, replacing one copies 64 + 79 references."""

Key = TypeVar("Key", bound=Hashable)
Entry = TypeVar("Entry")
Fact = TypeVar("Fact")
About = TypeVarTuple("About")


class Facts:
    """What is known of a sequence."""

    __slots__ = ()
    _facts: dict[tuple[Any, ...], Any]

    def once(self, fact: Callable[[Self, *About], Fact], *about: *About) -> Fact:
        """`fact` of all entries together, and of what it is about: worked out at the first call, and known
        from then on."""
        key = (fact, *about)
        if key not in self._facts:
            self._facts[key] = fact(self, *about)
        found: Fact = self._facts[key]
        return found

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


class Listed(Facts, tuple[Entry, ...]):
    """Entries in their order."""

    _facts: dict[tuple[Any, ...], Any]
    _hash: int | None = None

    def __new__(cls, entries: Iterable[Entry] = ()) -> Self:
        made = super().__new__(cls, entries)
        made._facts = {}
        return made

    def __hash__(self) -> int:
        """Of what may be long, and is asked for each region."""
        if self._hash is None:
            self._hash = super().__hash__()
        return self._hash

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Entry, ...]]]:
        return type(self), (tuple(self),)


class ByKey(Facts, Sequence[Entry], Generic[Key, Entry]):
    """One entry a key at most; what the key is, a subclass says. Replacing an entry shares the others, and
    the index, which is built once, at the first look-up."""

    __slots__ = ("_chunks", "_count", "_facts", "_known_places")

    @staticmethod
    @abstractmethod
    def key_of(entry: Any) -> Any:
        """The key of an entry."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        whole = tuple(entries)
        chunks = tuple(whole[first : first + CHUNK] for first in range(0, len(whole), CHUNK))
        self._set(chunks, len(whole), None)

    def _set(self, chunks: tuple[tuple[Entry, ...], ...], count: int, places: dict[Key, int] | None) -> None:
        self._chunks, self._count, self._known_places = chunks, count, places
        self._facts: dict[tuple[Any, ...], Any] = {}

    def find(self, key: Key) -> Entry | None:
        places = self._known_places
        place = (self._places if places is None else places).get(key)
        if place is None or place >= self._count:
            return None
        return self._chunks[place // CHUNK][place % CHUNK]

    def put(self, entry: Entry) -> Self:
        """With `entry` in the place of its key's former one, or at the end."""
        places = self._places
        place = places.get(self.key_of(entry), self._count)
        if place >= self._count:
            return self._with_last(entry)
        number, within = divmod(place, CHUNK)
        chunk = self._chunks[number]
        changed = (*chunk[:within], entry, *chunk[within + 1 :])
        return self._made((*self._chunks[:number], changed, *self._chunks[number + 1 :]), self._count, places)

    def put_all(self, entries: Iterable[Entry]) -> Self:
        """The same for many entries: each chunk that has some is copied once."""
        places, changed, fresh = self._places, dict[int, list[Entry]](), list[Entry]()
        for entry in entries:
            place = places.get(self.key_of(entry), self._count)
            if place >= self._count:
                fresh.append(entry)
                continue
            number, within = divmod(place, CHUNK)
            if number not in changed:
                changed[number] = list(self._chunks[number])
            changed[number][within] = entry
        made = self
        if changed:
            chunks = list(self._chunks)
            for number, chunk in changed.items():
                chunks[number] = tuple(chunk)
            made = self._made(tuple(chunks), self._count, places)
        for entry in fresh:
            made = made.put(entry)
        return made

    def _with_last(self, entry: Entry) -> Self:
        """The index is shared as well, unless another entry has that place in it: of a key beyond its own
        end it says nothing."""
        places, count = self._places, self._count
        if len(places) > count:
            places = {key: place for key, place in places.items() if place < count}
        places[self.key_of(entry)] = count
        full, last = divmod(count, CHUNK)
        chunks = (*self._chunks[:full], (*self._chunks[full], entry) if last else (entry,))
        return self._made(chunks, count + 1, places)

    def _made(self, chunks: tuple[tuple[Entry, ...], ...], count: int, places: dict[Key, int]) -> Self:
        made = type(self).__new__(type(self))
        made._set(chunks, count, places)
        return made

    def sorted(self) -> Self:
        """By key."""
        return type(self)(sorted(self, key=self.key_of))

    def without(self, keys: Collection[Key]) -> Self:
        return type(self)(entry for entry in self if self.key_of(entry) not in keys)

    @property
    def _places(self) -> dict[Key, int]:
        if self._known_places is None:
            self._known_places = {self.key_of(entry): place for place, entry in enumerate(self)}
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
        if isinstance(other, ByKey):
            return self._chunks == other._chunks
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
