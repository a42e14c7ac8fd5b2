"""Whether this agent may act now: always where its region has no other agent, else by a lease that ends.

Decides by the agent's own clocks alone, and must be right while nothing answers: a lease counts from the
moment at which it was asked for, which is before the controller gave it, and the agent stops well before its
end. So a stand-by, which waits beyond that end, never acts at the same time (docs/decisions/0077).
"""

import asyncio
from collections.abc import Callable

from repave_agent.core.ports import NotActingError

HELD_SHARE = 0.9
"""Of a lease. What is under way at the end still needs a moment to be called off."""
RENEWALS = 6
"""How often a lease is asked for while it lasts: five may be lost."""

LOOK_SECONDS = 0.05
"""Timers go by another clock than leases, so the end of one is looked at more than once."""

Moment = tuple[float, ...]


class Tenancy:
    """One for an agent. It begins without knowing of another agent."""

    def __init__(self, *clocks: Callable[[], float]) -> None:
        """Seconds of clocks that go on while this process is frozen. A lease is over when the first of them
        says so: not each kind of standstill is seen by each."""
        self._clocks = clocks
        self._ends: Moment | None = None
        self.is_bound = False
        """Another agent of the region is known: acting is by lease only."""
        self._changed = asyncio.Event()

    @property
    def may_act(self) -> bool:
        return not self.is_bound or (
            self._ends is not None and all(now < end for now, end in zip(self.now(), self._ends, strict=True))
        )

    @property
    def has_lease(self) -> bool:
        """No other agent of the region acts, and what another one has left may be taken over."""
        return self.is_bound and self.may_act

    def check(self) -> None:
        """Before each effect on the region. Raises NotActingError."""
        if not self.may_act:
            raise NotActingError("this agent has no lease: another one may have the region by now")

    def now(self) -> Moment:
        return tuple(clock() for clock in self._clocks)

    def bind(self) -> None:
        """Another agent is known. Until a lease is given this one does not act."""
        if not self.is_bound:
            self.is_bound, self._ends = True, None
            self._tell()

    def release(self) -> None:
        """There is no other agent any more."""
        self.is_bound, self._ends = False, None
        self._tell()

    def grant(self, asked: Moment, seconds: float) -> None:
        """A lease of so long, asked for at that moment. An answer that comes late shortens nothing."""
        ends = tuple(at + HELD_SHARE * seconds for at in asked)
        former = self._ends or ends
        self._ends = tuple(map(max, former, ends))
        self._tell()

    def give_up(self) -> None:
        """Another agent has the region: the lease is over, whatever time is left of it."""
        self.bind()
        self._ends = None
        self._tell()

    async def until_held(self) -> None:
        """Returns when the agent may act."""
        while not self.may_act:
            self._changed.clear()
            await self._changed.wait()

    async def until_lost(self) -> None:
        """Returns when the agent may act no longer."""
        while self.may_act:
            self._changed.clear()
            try:
                async with asyncio.timeout(self._left()):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _left(self) -> float | None:
        if not self.is_bound or self._ends is None:
            return None
        return max(LOOK_SECONDS, min(end - now for now, end in zip(self.now(), self._ends, strict=True)))

    def _tell(self) -> None:
        self._changed.set()
