"""Within what bounds the number of a region's hosts is chosen, by what, and how it was chosen last. Plain
values.

How it is chosen is in rules/scaling.py.
"""

from dataclasses import dataclass
from typing import Literal

from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Reason
from repave_protos.protocol.values import RegionName

BY_REPAVE = "repave"
ScaledBy = Literal["command", "requests", "queue", "metric"]
"""`command`: only by those who ask for it; `metric`: what a query of a source of metrics comes to."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Of one region. `target`: what each host is to have of it. `is_average`: the query says what each host
    has, and not what all of them have together."""

    region: RegionName
    least: int
    most: int
    by: ScaledBy = "command"
    target: float = 0.0
    source: str = ""
    query: str = ""
    is_average: bool = False
    interval_seconds: float = 15.0  # from one look to the next
    window_seconds: float = 60.0  # whose mean counts
    steady_seconds: float = 300.0  # that fewer hosts would have done, before some end
    tolerance_percent: float = 10.0  # by which the load may be off the target
    step_percent: float = 50.0  # of the hosts that there are: so many come or go at once

    @property
    def is_automatic(self) -> bool:
        """Whether the controller chooses the number."""
        return self.by != "command"

    def within(self, hosts: int) -> int:
        return max(self.least, min(self.most, hosts))

    def changed(self, before: int, hosts: int) -> int:
        """The number that comes in the place of `before`, where `hosts` is wanted. One beyond the bounds, for
        they are a newer spec's, comes nearer to them as the load lets it, and not in one leap."""
        return max(min(self.least, before), min(max(self.most, before), hosts))


Scalings = ByRegion[Scaling]
NO_SCALING: Scalings = ByRegion()


@dataclass(frozen=True, slots=True)
class Sized:
    """How a region came to the number of hosts that is in force there."""

    region: RegionName
    at: Instant  # when it was changed last
    before: int = 0
    hosts: int = 0
    by: str = ""
    reason: Reason | None = None  # why it was
    trouble: Reason | None = None  # why it is not as the load asks
    since: Instant = Instant(0)  # of the trouble
