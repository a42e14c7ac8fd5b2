"""Analyse: the new group is compared with the old one, look by look."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from repave_controller.core.domain.analyses import Analysis, AnalysisPlan, Ending
from repave_controller.core.domain.application import Because, Expiry, Instant, Observed
from repave_controller.core.domain.place import Place
from repave_controller.core.domain.reasons import Reason, Why, cli, reason_of
from repave_controller.core.domain.rollout import Rollout, Track
from repave_controller.core.domain.steps import register
from repave_controller.core.rules.looks import (
    analysis_of,
    begun_anew,
    due_at,
    seen_least,
    silent_after_seconds,
)
from repave_controller.core.rules.verdicts import (
    Done,
    Failed,
    Verdict,
    Waiting,
    current_report,
    gate_of,
    may_pass,
    unseen,
)
from repave_controller.core.steps.soak import Soak
from repave_controller.core.steps.step import StepRules
from repave_protos.protocol.copies import replace


@register
@dataclass(frozen=True, slots=True)
class Analyse(StepRules):
    """Wait for looks at the new group beside the old one, as planned; they come from outside. Meanwhile the
    health of its hosts is watched as in a soak."""

    plan: AnalysisPlan
    deadline_seconds: float
    kind: Literal["analyse"] = "analyse"

    is_timed: ClassVar[bool] = True
    is_watched: ClassVar[bool] = True

    @property
    def analysis(self) -> AnalysisPlan:
        return self.plan

    @property
    def needs_baseline(self) -> bool:
        return self.plan.baseline == "fresh"

    @property
    def wait_seconds(self) -> float:
        return self.plan.seconds

    def begin(self, rollout: Rollout, track: Track) -> Rollout:
        return begun_anew(rollout, track)

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        """Where no old group served there is nothing to compare with: it is watched for as long. Silence is
        no proof: only the time counts in which the region is seen."""
        if may_pass(place):
            return Done()
        if place.origin is None:
            return Soak(self.plan.seconds, self.deadline_seconds).judge(place, observed, now)
        analysis = analysis_of(place.rollout, place.track)
        ended = self._ended(place, analysis)
        if ended is not None:
            return ended
        _, absent = current_report(place.application, place.target.group, place.region, observed)
        if absent is not None:
            skip = cli("promote", place.application.name, skip=True)
            reason = reason_of(
                Why.ANALYSIS_UNSEEN, skip, region=place.region, absent=absent.reason, gate=analysis.gate
            )
            return unseen(replace(absent, reason=reason), place.region, observed)
        if analysis.ending is not None:
            return self._passed(place, analysis, now)
        return self._waiting(place, analysis, now)

    def _ended(self, place: Place, analysis: Analysis) -> Failed | Done | None:
        plan, undecided = self.plan, analysis.ending is Ending.UNDECIDED
        is_let = plan.on_inconclusive == "pass" and not analysis.is_suspected
        if analysis.ending is Ending.FAILED or (undecided and plan.on_inconclusive == "rollback"):
            kind = Why.ANALYSIS_UNDECIDED if undecided else Why.ANALYSIS_FAILED
            return Failed(self._reason(kind, place, analysis), "analysis")
        if analysis.ending is Ending.UNJUDGED:
            return Failed(self._reason(Why.ANALYSIS_UNJUDGED, place, analysis), "undecided")
        if undecided and not is_let:
            return Failed(self._reason(Why.ANALYSIS_UNDECIDED, place, analysis), "undecided")
        return None

    def _passed(self, place: Place, analysis: Analysis, now: Instant) -> Verdict:
        """A region that was silent for a part of the time has to be seen for as long as the others."""
        until = place.track.seen_until(analysis.judged_after_seconds, now)
        if now >= until:
            return Done()
        because = Because(self._waits(place, analysis), place.region, place.track.entered_at, until)
        return Waiting(because, analysis.judged, until, has_deadline=False)

    def _waiting(self, place: Place, analysis: Analysis, now: Instant) -> Verdict:
        last = seen_least(place.rollout, place.track)
        until = last.seen_until(silent_after_seconds(self.plan, analysis), now)
        if now >= until:
            seconds = self.plan.source_deadline_seconds
            facts = self._reason(Why.ANALYSIS_SILENT, place, analysis, seconds)
            return Failed(facts, "undecided")
        at = due_at(self.plan, analysis, (last,), now)
        since = place.track.entered_at
        because = Because(
            self._waits(place, analysis), place.region, since, at if at > now else None, Expiry.JUDGEMENT
        )
        return Waiting(because, analysis.judged, until, has_deadline=False)

    def _waits(self, place: Place, analysis: Analysis) -> Reason:
        return reason_of(
            Why.ANALYSIS,
            cli("analysis show", place.application.name),
            cli("promote", place.application.name, skip=True),
            gate=gate_of(place.track),
            group=place.target.group.name,
            look=min(analysis.judged + 1, self.plan.count),
            count=self.plan.count,
            said=tuple(str(each) for each in analysis.said),
            last=analysis.last.reason if analysis.last is not None else None,
        )

    def _reason(self, kind: Why, place: Place, analysis: Analysis, seconds: float = 0.0) -> Reason:
        last = analysis.last
        return reason_of(
            kind,
            region=analysis.region,
            group=place.target.group.name,
            look=analysis.judged,
            count=self.plan.count,
            said=tuple(str(each) for each in analysis.said),
            score=last.score if last is not None else None,
            last=last.reason if last is not None else None,
            seconds=seconds,
        )

    def describe(self) -> str:
        plan = self.plan
        looks = f"{plan.count} look{'' if plan.count == 1 else 's'}, one every {plan.interval_seconds:g} s"
        after = f" after {plan.warm_up_seconds:g} s" if plan.warm_up_seconds else ""
        names = ", ".join(each.metric.name for each in plan.readings)
        return f"analyse: compare {names} with the old group, {looks}{after}; worse goes back by itself"

    def estimate_seconds(self, proof_seconds: float) -> float:
        return self.plan.seconds
