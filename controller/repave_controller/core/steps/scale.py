"""Scale: fresh hosts of the target are launched."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.application import FULL_PERCENT, hosts_of
from repave_controller.core.domain.place import Place, Side
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.steps import register
from repave_controller.core.steps.step import CountingStep
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupReport


@register
@dataclass(frozen=True, slots=True)
class Scale(CountingStep):
    """Have `percent` of the target group's hosts running, and at least `at_least` of them; where `count` is
    more than 0, so many instead. Never more than the region's size."""

    percent: float
    deadline_seconds: float
    count: int = 0
    at_least: int = 0
    kind: Literal["scale"] = "scale"

    why: ClassVar[Why] = Why.SCALE
    is_move: ClassVar[bool] = True
    is_launch: ClassVar[bool] = True

    def enter(self, place: Place) -> tuple[Side, ...]:
        part = place.target.part
        grown = replace(part, percent=max(self._share(part.size), part.percent))
        return (Side(place.target.group, grown),)

    def hosts(self, size: int, before: int) -> int:
        return max(before, hosts_of(size, self._share(size)))

    def _share(self, size: int) -> float:
        hosts = self.count or self.at_least
        is_share = not self.count and hosts <= hosts_of(size, self.percent)
        return self.percent if is_share else min(FULL_PERCENT, FULL_PERCENT * hosts / max(1, size))

    def measure(self, place: Place, report: GroupReport) -> tuple[int, int]:
        return report.starting + report.healthy + report.verified, place.target.part.count

    def describe(self) -> str:
        what = f"{self.count}" if self.count else f"{self.percent:g} %"
        what += f", at least {self.at_least}," if self.at_least else ""
        return f"scale: {what} of the new hosts in every region, beside the old ones"
