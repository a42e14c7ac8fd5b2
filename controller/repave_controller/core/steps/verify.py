"""Verify: the fresh hosts are proven before anything depends on them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.place import Place, Side
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.steps import register
from repave_controller.core.steps.step import CountingStep
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupReport


@register
@dataclass(frozen=True, slots=True)
class Verify(CountingStep):
    """Wait until enough of these hosts are verified and, where they take traffic, up behind the balancer."""

    deadline_seconds: float
    of: Literal["traffic", "work"] = "traffic"
    kind: Literal["verify"] = "verify"

    why: ClassVar[Why] = Why.VERIFY
    is_proof: ClassVar[bool] = True

    def enter(self, place: Place) -> tuple[Side, ...]:
        """By then all hosts that are wanted now have had their time to come up."""
        group, part = place.target.group, place.target.part
        return (Side(group, replace(part, proven=part.count)),)

    def measure(self, place: Place, report: GroupReport) -> tuple[int, int]:
        have, need = min(report.verified, report.balancer_up), place.target.part.count
        return have, place.application.policy.needed(need)

    def describe(self) -> str:
        balancer = " and up behind the balancer" if self.of == "traffic" else ""
        return f"verify: every host healthy for long enough{balancer}"

    def estimate_seconds(self, proof_seconds: float) -> float:
        return proof_seconds
