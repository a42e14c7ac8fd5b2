"""Baseline: fresh hosts of the old version are proven, to compare the new group with."""

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
    failure_of,
    unseen,
)
from repave_controller.core.steps.step import StepRules
from repave_protos.protocol.copies import replace


@register
@dataclass(frozen=True, slots=True)
class Baseline(StepRules):
    """Wait until the region's baseline, which is made from here on, has enough verified hosts. That it can't
    have them says nothing of the release."""

    deadline_seconds: float
    kind: Literal["baseline"] = "baseline"

    is_move: ClassVar[bool] = True
    is_baseline: ClassVar[bool] = True

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        application, region, baseline = place.application, place.region, place.baseline
        if place.origin is None or baseline is None:
            return Done()  # there is nothing to compare with; a step that needs it says so
        failure = failure_of(application, baseline.group, region, observed)
        if failure is not None:
            reason = reason_of(Why.NO_BASELINE, group=baseline.group.name, failure=failure.reason)
            return replace(failure, reason=reason, cause="undecided")
        report, absent = current_report(application, baseline.group, region, observed)
        if absent is not None:
            return unseen(absent, region, observed)
        have, need = min(report.verified, report.balancer_up), application.policy.needed(baseline.part.count)
        if have >= need:
            return Done()
        reason = reason_of(
            Why.BASELINE,
            cli("hosts", application.name),
            group=baseline.group.name,
            origin=place.origin.group.name,
            have=have,
            need=need,
            trouble=report.trouble,
        )
        return Waiting(Because(reason, region, since=place.track.entered_at), progress=have)

    def describe(self) -> str:
        return "baseline: as many fresh hosts of the old version, to compare the new ones with"

    def estimate_seconds(self, proof_seconds: float) -> float:
        """Beside the new hosts' own proof, which follows."""
        return 0.0
