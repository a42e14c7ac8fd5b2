"""Keep: the way back stays open for a while."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.application import Because, Instant, Observed
from repave_controller.core.domain.place import Place
from repave_controller.core.domain.reasons import Why, cli, reason_of
from repave_controller.core.domain.steps import register
from repave_controller.core.rules.verdicts import Done, Verdict, Waiting, current_report, gate_of, may_pass
from repave_controller.core.steps.step import StepRules


@register
@dataclass(frozen=True, slots=True)
class Keep(StepRules):
    """Leave everything as it is for `seconds`: the way back stays open, nothing is judged."""

    seconds: float
    deadline_seconds: float = 0.0
    kind: Literal["keep"] = "keep"

    is_timed: ClassVar[bool] = True

    @property
    def wait_seconds(self) -> float:
        return self.seconds

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        group, region, since = place.target.group, place.region, place.track.entered_at
        until = Instant(since + self.seconds)
        if may_pass(place) or now >= until:
            return Done()
        _, absent = current_report(place.application, group, region, observed)
        reason = reason_of(
            Why.KEEP,
            cli("promote", place.application.name, skip=True),
            group=group.name,
            gate=gate_of(place.track),
            absent=absent.reason if absent is not None else None,
        )
        return Waiting(Because(reason, region, since, until), 0, until, has_deadline=False)

    def describe(self) -> str:
        return f"keep: everything stays as it is for {self.seconds:g} s"

    def estimate_seconds(self, proof_seconds: float) -> float:
        return self.seconds
