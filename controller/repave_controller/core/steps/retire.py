"""Retire: hosts of the origin are let go."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    Because,
    Instant,
    Observed,
    Part,
)
from repave_controller.core.domain.hosts import hosts_left
from repave_controller.core.domain.place import Place, Side
from repave_controller.core.domain.reasons import Rule, Why, cli, reason_of
from repave_controller.core.domain.steps import Course, register
from repave_controller.core.rules.guards import Guard, uncounted
from repave_controller.core.rules.verdicts import Done, Verdict, Waiting, current_report, unseen
from repave_controller.core.steps.step import StepRules
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupReport


@register
@dataclass(frozen=True, slots=True)
class Retire(StepRules):
    """Let hosts of the origin go until `percent` of them are left; done when they are gone."""

    percent: float
    deadline_seconds: float
    makes_room: bool = False  # for as many new hosts; else what is left is rounded up
    kind: Literal["retire"] = "retire"

    is_move: ClassVar[bool] = True

    def advance(self, course: Course) -> Course:
        return replace(course, old=min(course.old, self.percent))

    def enter(self, place: Place) -> tuple[Side, ...]:
        shared, origin = self._shared_anew(place), place.origin
        if origin is None:
            return shared
        left = next((side for side in shared if side.group.number == origin.group.number), origin)
        others = tuple(side for side in shared if side is not left)
        return (*others, Side(origin.group, self._shrunk(left.part)))

    def _shared_anew(self, place: Place) -> tuple[Side, ...]:
        """Hosts of a size that a person has changed since the last share was given have theirs by now."""
        before = place.rollout.steps[: place.track.cursor] if self.makes_room else ()
        weight = next((step for step in reversed(before) if step.share_bp is not None), None)
        return weight.enter(place) if isinstance(weight, StepRules) else ()

    def _shrunk(self, part: Part) -> Part:
        """A part is as large as its percentage says, rounded up."""
        percent = self.percent
        if self.makes_room:
            percent = FULL_PERCENT * hosts_left(part.size, self.percent) / max(1, part.size)
        return replace(part, percent=min(percent, part.percent))

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        origin, region = place.origin, place.region
        if origin is None:
            return Done()
        report, absent = current_report(place.application, origin.group, region, observed)
        if absent is not None:
            return unseen(absent, region, observed)
        if report.present <= origin.part.count:
            return Done()
        reason = reason_of(Why.RETIRE, have=report.present, need=origin.part.count, group=origin.group.name)
        return Waiting(Because(reason, region, since=place.track.entered_at), progress=-report.present)

    def guard(self, place: Place, observed: Observed) -> Guard | None:
        """What is left once hosts of the origin have gone is not below the floor."""
        origin, target, region = place.origin, place.target, place.region
        if origin is None:
            return Guard(False, reason_of(Rule.CAPACITY_OF_NONE))
        view = observed.get(region)
        left = 0
        if origin.part.weight_bp > 0:
            name = origin.group.name
            report = view.group(name) if view is not None else GroupReport(name)
            left = min(report.verified, report.balancer_up, self._shrunk(origin.part).count)
        report, absent = current_report(place.application, target.group, region, observed)
        if absent is not None:
            return uncounted(absent)
        if target.part.weight_bp > 0:
            left += min(report.verified, report.balancer_up)
        size = min(origin.part.size, target.part.size)  # a release may make a region smaller
        floor = place.application.policy.floor(size)
        remedy, name = cli("hosts", place.application.name), origin.group.name
        return Guard(left < floor, reason_of(Rule.CAPACITY_LEFT, remedy, left=left, group=name, floor=floor))

    def describe(self) -> str:
        return f"retire: old hosts go until {self.percent:g} % of them are left"
