"""Whether the agent acts, waits, or has to begin anew: what follows from what it is told of its lease.

`tenancy.py` knows whether it may act at this moment; here is when its parts start and end. An agent that has
lost its lease does not go on with what it knew: another one may have changed everything since.
"""

import asyncio

import structlog

from repave_agent.core.fence import outdated_term
from repave_agent.runtime.journal import JournalError
from repave_agent.runtime.tenancy import Tenancy
from repave_agent.runtime.worker import Worker
from repave_protos.protocol.values import Welcome

log = structlog.get_logger()


class Standing:
    """One for each time that an agent begins. `waits`: a fresh one does nothing before the controller has
    welcomed it, for its region may be another agent's."""

    def __init__(self, worker: Worker, tenancy: Tenancy, *, waits: bool) -> None:
        self._worker, self._tenancy, self._waits = worker, tenancy, waits
        self._welcomed, self._begun, self._outdated = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @property
    def has_begun(self) -> bool:
        return self._begun.is_set()

    def welcome(self, welcome: Welcome) -> None:
        """Raises ConnectionError: it is to be said again."""
        if why := outdated_term(self._worker.term, welcome.term):
            raise ConnectionError(why)
        try:
            is_void = self._worker.take_term(welcome.term, is_bound=welcome.lease_seconds > 0)
        except JournalError as error:
            raise ConnectionError(str(error)) from error
        if is_void and self.has_begun:
            self._tenancy.give_up()
            self._outdated.set()
            raise ConnectionError("another agent had this region meanwhile: this one looks at it anew")
        self._welcomed.set()

    def stand_by(self, why: str) -> None:
        """Another agent has the region."""
        if self.has_begun:
            log.warning("agent.stands_by", why=why)
        try:
            self._worker.stand_by()
        except JournalError as error:
            log.error("agent.stand_by_not_saved", why=str(error))

    async def until_it_may_act(self) -> None:
        if self._waits and not self._worker.installation:
            await self._welcomed.wait()
        await self._tenancy.until_held()
        self._begun.set()

    async def until_it_must_stop(self) -> None:
        """Once it has begun: until it has no lease any more, or what it knows is void."""
        await self._begun.wait()
        ways = [
            asyncio.ensure_future(self._tenancy.until_lost()),
            asyncio.ensure_future(self._outdated.wait()),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
        log.warning("agent.stood_down", remedy="it acts again when it has a lease")
