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
    unseen,
)
from repave_controller.core.steps.step import StepRules
from repave_protos.protocol.copies import replace


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
        """Silence is no proof: only the time counts in which the region is seen."""
        if may_pass(place):
            return Done()
        group, region, since = place.target.group, place.region, place.track.entered_at
        until = place.track.seen_until(self.seconds, now)
        skip = cli("promote", place.application.name, skip=True)
        _, absent = current_report(place.application, group, region, observed)
        if absent is not None:
            left = max(0.0, round(until - now, 3))
            reason = reason_of(
                Why.SOAK_UNSEEN,
                skip,
                region=region,
                absent=absent.reason,
                left=left,
                gate=gate_of(place.track),
            )
            return unseen(replace(absent, reason=reason), region, observed)
        if now >= until:
            return Done()
        reason = reason_of(Why.SOAK, skip, group=group.name, gate=gate_of(place.track))
        return Waiting(Because(reason, region, since, until), 0, until, has_deadline=False)

    def describe(self) -> str:
        return f"soak: watch it for {self.seconds:g} s; any failure goes back by itself"

    def estimate_seconds(self, proof_seconds: float) -> float:
        return self.seconds
