"""What the balancers themselves have counted, by server group: it needs no metrics system, and is what is
judged where a spec names none."""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

from repave_controller.operations.analysis.sources.ports import Series, Side, SourceError, Window
from repave_controller.operations.traffic import Figures, GroupFigures
from repave_protos.protocol.values import ApplicationName, RegionName

NAME = "balancer"
REQUESTS, ERRORS, LATENCY = "requests", "errors", "latency"
QUERIES = (REQUESTS, ERRORS, LATENCY)
"""Requests and errors (answers of 500 and above) are counts of a step; latency is the mean, in seconds."""
STEPS = ((1800.0, 5), (math.inf, 60))
"""Of a time that began at most so many seconds ago, the slots that agents keep of it."""
READS_KEPT_MAX = 64

Asked = tuple[ApplicationName, tuple[RegionName, ...], float, float]


class Reader(Protocol):
    """traffic.TrafficReader."""

    async def read(
        self, application: ApplicationName, regions: tuple[RegionName, ...], since: float
    ) -> Figures: ...


class Balancer:
    """Implements ports.Source. Both sides and all its metrics of a look are of one question to the agents."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._reads: dict[Asked, asyncio.Task[Figures]] = {}

    name = NAME
    kind = NAME
    applications = ("*",)

    def step_for(self, seconds: float) -> int:
        return next(step for reach, step in STEPS if seconds <= reach)

    def total_of(self, query: str) -> str:
        return REQUESTS

    def objection(self, query: str) -> str:
        return "" if query in QUERIES else f"the balancer has {', '.join(QUERIES)}, and not {query}"

    async def is_by_version(self, query: str) -> bool:
        return False

    async def read(self, query: str, side: Side, window: Window) -> Series:
        if why := self.objection(query):
            raise SourceError(why)
        figures = await self._figures(side, window)
        if figures.unknown:
            region, why = next(iter(figures.unknown.items()))
            raise SourceError(f"{region}: {why}")
        return _series(query, figures, figures.groups.get(side.group), window)

    async def _figures(self, side: Side, window: Window) -> Figures:
        asked = (side.application, side.regions, window.since, window.until)
        task = self._reads.get(asked)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            while len(self._reads) >= READS_KEPT_MAX:
                del self._reads[next(iter(self._reads))]
            task = asyncio.create_task(self._reader.read(side.application, side.regions, window.since))
            self._reads[asked] = task
        return await asyncio.shield(task)


def _series(query: str, figures: Figures, group: GroupFigures | None, window: Window) -> Series:
    """A slot of the balancers' belongs to the step in which it begins; what is not complete yet is left
    out. Where the group had no request: 0 of
    them, and no latency."""
    step = max(window.step_seconds, figures.step_seconds)
    known = figures.at[-1] + figures.step_seconds if figures.at else window.until
    slots = max(0, math.ceil((min(window.until, known) - window.since) / step))
    requests, errors, seconds = [0] * slots, [0] * slots, [0.0] * slots
    if group is not None:
        for at, count, bad, mean in zip(
            figures.at, group.requests, group.errors, group.response_seconds, strict=True
        ):
            slot = math.floor((at - window.since) / step)
            if 0 <= slot < slots:
                requests[slot] += count
                errors[slot] += bad
                seconds[slot] += count * (mean or 0.0)
    pick: dict[str, Callable[[int], float]] = {
        REQUESTS: lambda slot: float(requests[slot]),
        ERRORS: lambda slot: float(errors[slot]),
        LATENCY: lambda slot: seconds[slot] / requests[slot] if requests[slot] else math.nan,
    }
    return Series(window.since, step, tuple(map(pick[query], range(slots))))
