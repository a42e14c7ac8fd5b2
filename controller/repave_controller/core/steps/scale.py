"""Scale: fresh hosts of the target are launched."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from repave_controller.core.domain.application import FULL_PERCENT, Application
from repave_controller.core.domain.place import Place, put_part
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.steps import Course, register
from repave_controller.core.steps.step import CountingStep
from repave_protos.protocol.values import GroupReport

SOME_PERCENT = 1e-9
"""Stands for `count` hosts where the size of the region isn't known: more than none."""


@register
@dataclass(frozen=True, slots=True)
class Scale(CountingStep):
    """Have `percent` of the target group's hosts running; where `count` is more than 0, so many instead."""

    percent: float
    deadline_seconds: float
    count: int = 0
    kind: Literal["scale"] = "scale"

    why: ClassVar[Why] = Why.SCALE
    is_move: ClassVar[bool] = True
    is_launch: ClassVar[bool] = True

    def advance(self, course: Course) -> Course:
        percent = SOME_PERCENT if self.count else self.percent
        is_counted = course.is_counted or self.count > 0
        return replace(course, new=max(course.new, percent), is_counted=is_counted)

    def enter(self, place: Place) -> Application:
        part = place.target.part
        share = min(FULL_PERCENT, 100 * self.count / max(1, part.size)) if self.count else self.percent
        grown = replace(part, percent=max(share, part.percent))
        return put_part(place.application, place.target.group, grown)

    def measure(self, place: Place, report: GroupReport) -> tuple[int, int]:
        return report.starting + report.healthy + report.verified, place.target.part.count

    def describe(self) -> str:
        what = f"{self.count}" if self.count else f"{self.percent:g} %"
        return f"scale: {what} of the new hosts in every region, beside the old ones"
