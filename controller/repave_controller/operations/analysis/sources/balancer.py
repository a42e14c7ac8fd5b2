"""What the balancers themselves have counted, by server group: it needs no metrics system, and is what is
judged where a spec names none."""

import asyncio
import math
from collections.abc import Callable, Iterable
from operator import add
from typing import Protocol

from repave_controller.operations.analysis.sources.ports import Series, Side, SourceError, Window
from repave_controller.operations.traffic import Figures, GroupFigures
from repave_protos.protocol.values import ApplicationName, RegionName

NAME = "balancer"
REQUESTS, ERRORS, LATENCY, IN_FLIGHT = "requests", "errors", "latency", "in_flight"
QUERIES = (REQUESTS, ERRORS, LATENCY)
"""Requests and errors (answers of 500 and above) are counts of a step; latency is the mean, in seconds. What
is in flight, at most at once, is read by scaling alone."""
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
        return (
            ""
            if query in (*QUERIES, IN_FLIGHT)
            else f"the balancer has {', '.join(QUERIES)}, and not {query}"
        )

    def objection_to_sides(self, query: str) -> str:
        return ""

    async def is_by_version(self, query: str) -> bool:
        return False

    async def read(self, query: str, side: Side, window: Window) -> Series:
        if why := self.objection(query):
            raise SourceError(why)
        figures = await self._figures(side, window)
        if figures.unknown:
            region, why = next(iter(figures.unknown.items()))
            raise SourceError(f"{region}: {why}")
        groups = [each for name, each in figures.groups.items() if side.group in ("", name)]
        if query == IN_FLIGHT and any(each.in_flight is None for each in groups):
            raise SourceError(
                "its agent is of an earlier version, which tells no requests in flight: upgrade it"
            )
        return _series(query, figures, groups, window)

    async def _figures(self, side: Side, window: Window) -> Figures:
        asked = (side.application, side.regions, window.since, window.until)
        task = self._reads.get(asked)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            while len(self._reads) >= READS_KEPT_MAX:
                del self._reads[next(iter(self._reads))]
            task = asyncio.create_task(self._reader.read(side.application, side.regions, window.since))
            self._reads[asked] = task
        return await asyncio.shield(task)


def _series(query: str, figures: Figures, groups: Iterable[GroupFigures], window: Window) -> Series:
    """Of the groups together. A slot of the balancers' belongs to the step in which it begins; what is not
    complete yet is left out, and of what was before an agent began nothing is known. Where the groups had no
    request: 0 of them, and no latency."""
    step = max(window.step_seconds, figures.step_seconds)
    known = figures.at[-1] + figures.step_seconds if figures.at else window.until
    slots = max(0, math.ceil((min(window.until, known) - window.since) / step))
    requests, errors, seconds, flying = [0] * slots, [0] * slots, [0.0] * slots, [0] * slots
    for group in groups:
        in_flight = group.in_flight or (0,) * len(figures.at)
        most = [0] * slots
        for at, count, bad, mean, now in zip(
            figures.at, group.requests, group.errors, group.response_seconds, in_flight, strict=True
        ):
            slot = math.floor((at - window.since) / step)
            if 0 <= slot < slots:
                requests[slot] += count
                errors[slot] += bad
                seconds[slot] += count * (mean or 0.0)
                most[slot] = max(most[slot], now)
        flying = list(map(add, flying, most))
    begun = max(figures.kept_since.values(), default=window.since)
    unknown = min(slots, max(0, math.ceil((begun - window.since) / step)))
    pick: dict[str, Callable[[int], float]] = {
        REQUESTS: lambda slot: float(requests[slot]),
        ERRORS: lambda slot: float(errors[slot]),
        LATENCY: lambda slot: seconds[slot] / requests[slot] if requests[slot] else math.nan,
        IN_FLIGHT: lambda slot: float(flying[slot]),
    }
    known_values = map(pick[query], range(unknown, slots))
    return Series(window.since, step, (*(math.nan,) * unknown, *known_values))
