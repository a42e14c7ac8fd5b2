"""What of each server group's traffic is kept for people and judgements: requests, errors and response times
by slots of time, and when the shares were switched. In memory only, bounded, only while there are requests.
"""

from array import array
from collections import deque
from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from repave_agent.core.ports import BalancerView, Counted
from repave_protos.protocol.queries import Flip, GroupTraffic, Traffic
from repave_protos.protocol.values import ApplicationName, GroupName

STEPS = ((5, 372), (60, 1442))
"""Seconds of a slot, and how many slots are kept of a group: half an hour finely, a day coarsely."""
GROUPS_KEPT_MAX = 500  # and all that the balancer has
FLIPS_KEPT_MAX = 100  # of an application
APPLICATIONS_KEPT_MAX = 1_000
_MAX = 2**32 - 1
_WIDTH = 5  # slot, requests, errors, microseconds of a response, in flight at most


@dataclass(slots=True)
class _Kept:
    """Of one group. Each ring has five numbers a slot: 36 kB when both are full."""

    application: ApplicationName
    last: Counted
    rings: "tuple[array[int], ...]" = field(default_factory=lambda: tuple(array("I") for _ in STEPS))


class Figures:
    """Those of one region, since its agent began."""

    def __init__(self, begun_at: float) -> None:
        """All instants are Unix times, on which the figures of several regions meet."""
        self._begun_at = begun_at
        self._groups: dict[GroupName, _Kept] = {}  # those with requests lately come last
        self._shares: dict[ApplicationName, tuple[tuple[GroupName, int], ...]] = {}
        self._flips: dict[ApplicationName, deque[Flip]] = {}

    def note(self, view: BalancerView, now: float) -> None:
        """What the balancer has just said."""
        for route in view.routes:
            shares = tuple((each, bp) for each in route.groups if (bp := route.weight_bp(each)))
            if self._shares.get(route.application) != shares:
                self._flipped(route.application, shares, now)
        for each in view.backends:
            if each.counted is not None:
                self._count(each.group, each.counted, each.in_flight if each.is_exact else 0, now)
        if len(self._groups) > GROUPS_KEPT_MAX:
            self._forget_some({each.group for each in view.backends})

    def of(self, application: ApplicationName, since: float, now: float) -> Traffic:
        """From `since` on, as finely as it reaches back so far."""
        fine = next((at for at, (step, kept) in enumerate(STEPS) if now - since <= step * kept), -1)
        step = STEPS[fine][0]
        mine = sorted((name, each) for name, each in self._groups.items() if each.application == application)
        groups = (_told(name, each.rings[fine], int(since // step)) for name, each in mine)
        flips = (each for each in self._flips.get(application, ()) if each.at >= since)
        return Traffic(
            step, tuple(each for each in groups if each.slots), tuple(flips), kept_since=self._begun_at
        )

    def _flipped(
        self, application: ApplicationName, shares: tuple[tuple[GroupName, int], ...], now: float
    ) -> None:
        """What was so before the first look is no flip."""
        is_first = application not in self._shares
        self._shares[application] = shares
        if not is_first:
            self._flips.setdefault(application, deque(maxlen=FLIPS_KEPT_MAX)).append(Flip(now, shares))
        while len(self._shares) > APPLICATIONS_KEPT_MAX:
            oldest = next(iter(self._shares))
            del self._shares[oldest]
            self._flips.pop(oldest, None)

    def _count(self, group: GroupName, counted: Counted, in_flight: int, now: float) -> None:
        kept = self._groups.get(group)
        if kept is None:
            self._groups[group] = _Kept(_application_of(group), counted)
            return
        before, kept.last = kept.last, counted
        requests, errors = counted.requests - before.requests, counted.errors - before.errors
        if (requests <= 0 and errors <= 0 and not in_flight) or requests < 0 or errors < 0:
            return
        self._groups[group] = self._groups.pop(group)
        for ring, (step, kept_slots) in zip(kept.rings, STEPS, strict=True):
            _add(ring, int(now // step), requests, errors, counted.response_seconds, in_flight)
            del ring[: max(0, len(ring) - kept_slots * _WIDTH)]

    def _forget_some(self, present: Set[GroupName]) -> None:
        """Of groups that have left: that one had no requests would be believed."""
        gone = [group for group in self._groups if group not in present]
        for group in gone[: len(self._groups) - GROUPS_KEPT_MAX]:
            del self._groups[group]


def _application_of(group: GroupName) -> ApplicationName:
    """shop-v012 is one of shop, as the controller calls them."""
    return ApplicationName(group.rpartition("-v")[0])


def _add(
    ring: "array[int]", slot: int, requests: int, errors: int, response_seconds: float, in_flight: int
) -> None:
    """A clock that was set back goes on in the newest slot."""
    response = min(_MAX, round(response_seconds * 1e6))
    if ring and ring[-_WIDTH] >= slot:
        before = ring[-_WIDTH + 1]
        ring[-_WIDTH + 1] = min(_MAX, before + requests)
        ring[-_WIDTH + 2] = min(_MAX, ring[-_WIDTH + 2] + errors)
        ring[-_WIDTH + 3] = response
        ring[-_WIDTH + 4] = max(ring[-_WIDTH + 4], min(_MAX, in_flight))
    else:
        ring.extend((slot, min(_MAX, requests), min(_MAX, errors), response, min(_MAX, in_flight)))


def _told(group: GroupName, ring: "array[int]", first: int) -> GroupTraffic:
    begin = next((at for at in range(0, len(ring), _WIDTH) if ring[at] >= first), len(ring))
    columns: Iterable[tuple[int, ...]] = (tuple(ring[begin + at :: _WIDTH]) for at in range(_WIDTH))
    return GroupTraffic(group, *columns)
