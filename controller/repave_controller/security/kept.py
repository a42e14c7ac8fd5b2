"""What the store holds of some kinds of records, as text: to save only where it is still so.

Several controllers may write the same record at once. One that finds another text than it knows reads anew
and decides again, a few times.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from repave_controller.core.ports import Conflict, Record, Store

TRIES_MAX = 8

Result = TypeVar("Result")


class Kept:
    """The records of `kinds`. `take` gets what was read anew, or what another controller has saved."""

    def __init__(self, store: Store, kinds: Sequence[str], take: Callable[[Sequence[Record]], None]) -> None:
        self._store = store
        self._kinds = tuple(kinds)
        self._take = take
        self._texts: dict[tuple[str, str], str] = {}

    def put(self, records: Iterable[Record]) -> None:
        """They are so in the store."""
        for each in records:
            if each.state is None:
                self._texts.pop((each.kind, each.name), None)
            else:
                self._texts[each.kind, each.name] = each.state

    def saved(self, records: Iterable[Record], expected: Iterable[Record]) -> list[Record]:
        """This controller has saved these where `expected` was so. Those that count: another controller may
        have saved a later state, and that be heard before the answer."""
        before = {(each.kind, each.name): each.state for each in expected}
        found = []
        for each in records:
            name = (each.kind, each.name)
            if name not in before or self._texts.get(name) in (before[name], each.state):
                found.append(each)
        self.put(found)
        return found

    def expected(self, *records: Record) -> tuple[Record, ...]:
        """Those of the same names, as they are known to be."""
        return tuple(
            Record(each.kind, each.name, self._texts.get((each.kind, each.name))) for each in records
        )

    async def load(self) -> None:
        """All as they are now. Raises StoreError."""
        found = [each for kind in self._kinds for each in await self._store.records(kind)]
        there = {(each.kind, each.name) for each in found}
        gone = [Record(kind, name, None) for kind, name in self._texts if (kind, name) not in there]
        self.put([*found, *gone])
        self._take([*found, *gone])

    async def retried(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """What `attempt` returns, once what it was decided upon is so. Raises as it does; in the end
        Conflict."""
        for _ in range(TRIES_MAX - 1):
            try:
                return await attempt()
            except Conflict:
                await self.load()
        return await attempt()
