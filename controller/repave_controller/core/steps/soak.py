"""Soak: the target is watched for a while."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.application import Because, Instant, Observed
from repave_controller.core.domain.place import Place
from repave_controller.core.domain.reasons import Why, cli, reason_of
from repave_controller.core.domain.steps import register
from repave_controller.core.rules.verdicts import (
    Done,
    Verdict,
    Waiting,
    current_report,
    gate_of,
    may_pass,
    waits_for_a_person,
)
from repave_controller.core.steps.step import StepRules


@register
@dataclass(frozen=True, slots=True)
class Soak(StepRules):
    """Watch the target group's health for `seconds`, counted from the completion of the step before."""

    seconds: float
    deadline_seconds: float
    kind: Literal["soak"] = "soak"

    is_timed: ClassVar[bool] = True
    is_watched: ClassVar[bool] = True

    @property
    def wait_seconds(self) -> float:
        return self.seconds

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        """At its end the region has to be heard once more."""
        if may_pass(place):
            return Done()
        group, region, since = place.target.group, place.region, place.track.entered_at
        until = Instant(since + self.seconds)
        _, absent = current_report(place.application, group, region, observed)
        if now < until:
            reason = reason_of(
                Why.SOAK,
                cli("promote", place.application.name, skip=True),
                group=group.name,
                gate=gate_of(place.track),
                absent=absent.reason if absent is not None else None,
            )
            return Waiting(Because(reason, region, since, until), 0, until, has_deadline=False)
        if absent is not None:
            return Waiting(absent, 1, has_deadline=not waits_for_a_person(region, observed))
        return Done()

    def describe(self) -> str:
        return f"soak: watch it for {self.seconds:g} s; any failure goes back by itself"

    def estimate_seconds(self, proof_seconds: float) -> float:
        return self.seconds
