"""Looks at hosts, one at a time and each every few minutes, whether they are still as they were made.

Runs beside the worker's loop and only notes what it saw; what follows from it is decided elsewhere. Only
hosts of groups whose spec asks for it are looked at, and only once they are verified: before that they are
being made.
"""

import asyncio
from collections.abc import Callable

import structlog

from repave_agent.core.host_records import Record
from repave_agent.core.ports import Provider, ProviderError
from repave_agent.core.region import Region
from repave_protos.protocol.values import HostPhase

log = structlog.get_logger()

LOOK_SHARE = 1 / 60
"""Of the time from one look at a host to the next: so much later a host that is due may be found."""


class Inspections:
    """One for a region. `seconds`: from one look at a host to the next."""

    def __init__(
        self, region: Region, provider: Provider, clock: Callable[[], float], seconds: float
    ) -> None:
        self._region = region
        self._provider = provider
        self._clock = clock
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None
        self._look_at = float("-inf")

    def go_on(self, tasks: asyncio.TaskGroup) -> None:
        """Begins the next inspection, if one is due and none is under way. Where none is due, hosts are
        gone through again a little later."""
        now = self._clock()
        if now < self._look_at or (self._task is not None and not self._task.done()):
            return
        record = self._next()
        if record is None:
            self._look_at = now + self._seconds * LOOK_SHARE
        else:
            self._task = tasks.create_task(self._inspect(record), name=f"inspect {record.name}")

    def _next(self) -> Record | None:
        """The host that was not looked at for longest."""
        watched = {
            group.name
            for state in self._region.desired.values()
            for group in state.groups
            if group.drift != "ignore" and group.count > 0
        }
        before = self._clock() - self._seconds
        due = (
            record
            for record in (self._region.records.values() if watched else ())
            if record.group in watched and _is_due(record, before)
        )
        return min(due, key=lambda record: (record.inspected_at or 0.0, record.name), default=None)

    async def _inspect(self, record: Record) -> None:
        try:
            drift = await self._provider.inspect(record.name)
        except ProviderError as error:
            log.warning("host.not_inspected", host=record.name, why=str(error))
            drift = ""  # it was not seen: it is looked at again when its turn comes
        self._region.inspected(record.name, drift, self._clock())


def _is_due(record: Record, before: float) -> bool:
    is_seen = record.inspected_at is not None and record.inspected_at > before
    return (
        not (is_seen or record.is_adopted)
        and record.judgement.phase is HostPhase.VERIFIED
        and not record.drift
    )
