"""Approve: a person decides that the region goes on."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.application import Because, Expiry, Instant, Observed
from repave_controller.core.domain.place import Place
from repave_controller.core.domain.reasons import Why, cli, reason_of
from repave_controller.core.domain.steps import register
from repave_controller.core.rules.verdicts import (
    Done,
    Failed,
    Verdict,
    Waiting,
    gate_of,
    may_pass,
    said_against,
)
from repave_controller.core.steps.step import StepRules


@register
@dataclass(frozen=True, slots=True)
class Approve(StepRules):
    """Wait for approval by `role` (any if empty), for `expires_seconds` at most; 0: for ever. After
    `unless_objected_seconds` it is not needed, if no person has objected; 0: it is."""

    role: str
    expires_seconds: float = 0.0
    unless_objected_seconds: float = 0.0
    deadline_seconds: float = 0.0
    is_distinct: bool = True  # who released may not approve
    kind: Literal["approve"] = "approve"

    is_watched: ClassVar[bool] = True

    @property
    def approver(self) -> str:
        return self.role

    @property
    def takes_two(self) -> bool:
        return self.is_distinct

    @property
    def objection_seconds(self) -> float:
        return self.unless_objected_seconds

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        if may_pass(place):
            return Done()
        region, track = place.region, place.track
        objection = place.rollout.objection(gate_of(place.track), region)
        if self.unless_objected_seconds and objection is None:
            return self._open(place, now)
        since = track.entered_at
        if self.unless_objected_seconds:  # it waits for approval since it was objected to
            since = max(since, track.progressed_at)
        until = Instant(since + self.expires_seconds) if self.expires_seconds else None
        if until is not None and now >= until:
            reason = reason_of(Why.NOT_APPROVED, region=region, seconds=self.expires_seconds)
            return Failed(reason, "deadline")
        remedy = cli("promote", place.application.name, role=self.role)
        gate = gate_of(place.track)
        said = said_against(objection)
        reason = reason_of(Why.APPROVE, remedy, role=self.role, gate=gate, objection=said)
        expiry = Expiry.DEADLINE if until else None
        because = Because(reason, region, since, until, expiry)
        return Waiting(because, wake_at=until, has_deadline=False)

    def _open(self, place: Place, now: Instant) -> Verdict:
        """It goes on by itself at the end of its time."""
        since = place.track.entered_at
        until, name = Instant(since + self.unless_objected_seconds), place.application.name
        if now >= until:
            return Done()
        ways = (cli("object", name, reason="TEXT"), cli("promote", name, role=self.role))
        reason = reason_of(Why.APPROVE_UNLESS, *ways, role=self.role, gate=gate_of(place.track))
        return Waiting(Because(reason, place.region, since, until), wake_at=until, has_deadline=False)

    def describe(self) -> str:
        if self.unless_objected_seconds:
            return f"approve: goes on after {self.unless_objected_seconds:g} s unless a person objects"
        within = f" within {self.expires_seconds:g} s" if self.expires_seconds else ""
        return f"approve: {self._person} must say yes{within}"

    def estimate_seconds(self, proof_seconds: float) -> float:
        return self.unless_objected_seconds

    @property
    def _person(self) -> str:
        return f"a person with the role {self.role}" if self.role else "a person"
