"""Approve: a person decides that the region goes on."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.application import Because, Expiry, Instant, Observed
from repave_controller.core.domain.place import Place
from repave_controller.core.domain.reasons import Why, cli, reason_of
from repave_controller.core.domain.steps import register
from repave_controller.core.rules.verdicts import Done, Failed, Verdict, Waiting, gate_of, may_pass
from repave_controller.core.steps.step import StepRules


@register
@dataclass(frozen=True, slots=True)
class Approve(StepRules):
    """Wait for approval by `role` (any if empty), for `expires_seconds` at most; 0: for ever."""

    role: str
    expires_seconds: float = 0.0
    deadline_seconds: float = 0.0
    kind: Literal["approve"] = "approve"

    is_watched: ClassVar[bool] = True

    @property
    def approver(self) -> str:
        return self.role

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        if may_pass(place):
            return Done()
        region, since = place.region, place.track.entered_at
        until = Instant(since + self.expires_seconds) if self.expires_seconds else None
        if until is not None and now >= until:
            reason = reason_of(Why.NOT_APPROVED, region=region, seconds=self.expires_seconds)
            return Failed(reason, "deadline")
        remedy = cli("promote", place.application.name, role=self.role)
        gate = gate_of(place.track)
        reason = reason_of(Why.APPROVE, remedy, role=self.role, gate=gate)
        expiry = Expiry.DEADLINE if until else None
        because = Because(reason, region, since, until, expiry)
        return Waiting(because, wake_at=until, has_deadline=False)

    def describe(self) -> str:
        return f"approve: {self._person} must say yes"

    @property
    def _person(self) -> str:
        return f"a person with the role {self.role}" if self.role else "a person"
