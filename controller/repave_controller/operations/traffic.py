"""How much of an application's traffic each server group gets, and how it fares: what the balancers of its
regions have counted, brought onto one grid of time. People look at it; judgements of a release may.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol.capabilities import counts_requests
from repave_protos.protocol.queries import Flip, GroupTraffic, Traffic, TrafficOf
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

ANSWER_SECONDS = 5.0
LAG_SECONDS = 1.5
"""An agent looks at its balancer once a second: a slot is complete when it has been over for so long."""
SLOTS_MAX = 1_500
OLDER = "its agent is of an earlier version, which counts no requests: upgrade it"


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """A number for each slot of the grid. `response_seconds`: the mean; None where there was no request.
    `in_flight`: the most at once; None where an agent does not tell."""

    requests: tuple[int, ...]
    errors: tuple[int, ...]
    response_seconds: tuple[float | None, ...]
    in_flight: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """`at`: when each slot begins (Unix time). `unknown`: regions of which nothing is known, and why;
    `kept_since`: of each of the others, since when it is."""

    step_seconds: int
    at: tuple[int, ...]
    groups: Mapping[GroupName, GroupFigures]
    flips: tuple[tuple[RegionName, Flip], ...]
    kept_since: Mapping[RegionName, float]
    unknown: Mapping[RegionName, str]

    def total(self, slot: int) -> int:
        """Requests to all groups."""
        return sum(each.requests[slot] for each in self.groups.values())


class TrafficReader:
    """Asks the agents, and keeps nothing."""

    def __init__(self, sessions: Sessions, now: Callable[[], float]) -> None:
        self._sessions, self._now = sessions, now

    async def read(
        self, application: ApplicationName, regions: Iterable[RegionName], since: float
    ) -> Figures:
        """`since`: Unix time."""
        found, unknown = await self.ask(application, regions, since)
        return together(found, unknown, max(0.0, since), self._now())

    async def ask(
        self, application: ApplicationName, regions: Iterable[RegionName], since: float
    ) -> tuple[dict[RegionName, Traffic], dict[RegionName, str]]:
        """The same as each region tells it, and why some tell nothing."""
        views = self._sessions.views()
        question = TrafficOf(application, max(0.0, since))
        found: dict[RegionName, Traffic] = {}
        unknown: dict[RegionName, str] = {}

        async def ask(region: RegionName) -> None:
            view = views.get(region)
            if view is not None and (why := cannot_count(view.hello.capabilities, view.hello.balancer)):
                unknown[region] = why
                return
            try:
                found[region] = await self._sessions.ask(region, question, Traffic, ANSWER_SECONDS)
            except RegionUnreachable as error:
                unknown[region] = str(error)

        await asyncio.gather(*map(ask, regions))
        return found, unknown


def together(
    found: Mapping[RegionName, Traffic], unknown: Mapping[RegionName, str], since: float, now: float
) -> Figures:
    """On the coarsest grid among them, from the first slot with requests to the last that is complete."""
    step = max((each.step_seconds for each in found.values()), default=5)
    sums: defaultdict[GroupName, defaultdict[int, list[int]]]
    sums = defaultdict(lambda: defaultdict(lambda: [0, 0, 0, 0]))
    silent = set[GroupName]()
    for traffic in found.values():
        for group in traffic.groups:
            _add(sums[group.group], group, traffic.step_seconds, step)
            silent |= {group.group} if group.slots and not group.in_flight else set()
    end = int((now - LAG_SECONDS) // step)
    begun = [slot for by_slot in sums.values() for slot in by_slot if since // step <= slot < end]
    slots = range(max(min(begun), end - SLOTS_MAX), end) if begun else range(0)
    return Figures(
        step,
        tuple(slot * step for slot in slots),
        {name: _figures(sums[name], slots, tells=name not in silent) for name in sorted(sums)},
        tuple(
            sorted(
                ((region, flip) for region, each in found.items() for flip in each.flips),
                key=lambda each: (each[1].at, each[0]),
            )
        ),
        {region: found[region].kept_since for region in sorted(found)},
        dict(sorted(unknown.items())),
    )


def cannot_count(capabilities: tuple[str, ...], balancer: str) -> str:
    """Why its agent has no such figures; "" where it has."""
    counts = counts_requests(capabilities)
    if counts is None:
        return OLDER
    return "" if counts else f"its balancer, {balancer}, does not count the requests of each server group"


def _add(sums: defaultdict[int, list[int]], group: GroupTraffic, own_step: int, step: int) -> None:
    """Requests, errors, microseconds of all responses, and the most in flight of each region."""
    most: dict[int, int] = {}
    in_flight = group.in_flight or (0,) * len(group.slots)
    for slot, requests, errors, response_us, flying in zip(
        group.slots, group.requests, group.errors, group.response_us, in_flight, strict=True
    ):
        at = slot * own_step // step
        sums_of_slot, most[at] = sums[at], max(most.get(at, 0), flying)
        sums_of_slot[0] += requests
        sums_of_slot[1] += errors
        sums_of_slot[2] += requests * response_us
    for at, flying in most.items():
        sums[at][3] += flying


def _figures(sums: Mapping[int, list[int]], slots: range, *, tells: bool) -> GroupFigures:
    nothing = [0, 0, 0, 0]
    of_slots = [sums.get(slot, nothing) for slot in slots]
    return GroupFigures(
        tuple(each[0] for each in of_slots),
        tuple(each[1] for each in of_slots),
        tuple(each[2] / each[0] / 1e6 if each[0] else None for each in of_slots),
        tuple(each[3] for each in of_slots) if tells else None,
    )
