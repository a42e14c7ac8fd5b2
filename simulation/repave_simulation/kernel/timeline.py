"""When things happen: instants in order, the work of processes that may die or freeze in between.

`Heap` is the whole engine of the first tier. The second tier has an asyncio loop instead (`loop.py`).
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

Act = Callable[[], None]
EVENTS_IN_A_SECOND_MAX = 50_000
"""More in one virtual second is a loop without an end."""
DECISIONS_IN_A_SECOND_MAX = 5_000
"""The same where an event is a whole decision: of the first tier."""
CONTROLLER = "controller"
"""The process that is in no region."""
KEEPALIVE_SECONDS = 30.0
"""After so long a silence both ends give their connection up."""
WALL = 1_000_000.0
"""What clocks on the wall show when a run begins."""


class InCircles(Exception):
    """More has happened in a second than ever should."""


class Pace:
    """Counts what happens in each virtual second."""

    def __init__(self, most: int = EVENTS_IN_A_SECOND_MAX) -> None:
        self._most = most
        self._second = self._count = 0

    def step(self, now: float) -> None:
        """One more thing happens. Raises InCircles."""
        if int(now) != self._second:
            self._second, self._count = int(now), 0
        self._count += 1
        if self._count > self._most:
            raise InCircles


@dataclass(slots=True, eq=False)
class Life:
    """One process from its start to its end. What a dead one still had to do is never done; what a frozen
    one has to do waits until it thaws."""

    name: str
    is_over: bool = False
    is_frozen: bool = False
    waiting: list[Act] = field(default_factory=list)


class Timeline(Protocol):
    """Where a world puts what shall happen."""

    @property
    def now(self) -> float: ...

    def after(self, seconds: float, act: Act, life: Life | None = None) -> None:
        """Calls `act` then; as the work of `life`, if one is given."""

    def thaw(self, life: Life) -> None:
        """Lets it do now what has waited."""


class Heap:
    """Instants and what happens at them; ties in the order in which they were put in."""

    def __init__(self) -> None:
        self.now = 0.0
        self.happened = 0
        self._pace = Pace(DECISIONS_IN_A_SECOND_MAX)
        self._entries: list[tuple[float, int, Act, Life | None]] = []
        self._count = 0

    def after(self, seconds: float, act: Act, life: Life | None = None) -> None:
        self._count += 1
        heapq.heappush(self._entries, (self.now + max(0.0, seconds), self._count, act, life))

    def thaw(self, life: Life) -> None:
        life.is_frozen = False
        waiting, life.waiting = life.waiting, []
        for act in waiting:
            self.after(0.0, act, life)

    def run(self, until: float) -> None:
        """Lets everything happen up to that instant. Raises InCircles."""
        while self._entries and self._entries[0][0] <= until:
            self.now, _, act, life = heapq.heappop(self._entries)
            if life is not None and life.is_over:
                continue
            if life is not None and life.is_frozen:
                life.waiting.append(act)
                continue
            self.happened += 1
            self._pace.step(self.now)
            act()
        self.now = until
