"""What each kind of step has to answer, and the questions that are put to it. Pure.

A new kind is one file in this room, one line in `__init__.py` and a field of the spec's `strategy.steps`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from repave_controller.core.domain.application import Application, Because, Instant, Observed
from repave_controller.core.domain.limits import Wants
from repave_controller.core.domain.place import Place, Side, place_of, put_sides
from repave_controller.core.domain.reasons import Reason, Why, cli, reason_of
from repave_controller.core.domain.rollout import Rollout, Track
from repave_controller.core.domain.steps import Step, baseline_range, is_baseline_proven
from repave_controller.core.rules.guards import Constraints, Guard, is_overridden, outside
from repave_controller.core.rules.verdicts import (
    Done,
    Failed,
    Verdict,
    Waiting,
    current_report,
    failure_of,
    illness_during,
    is_endured,
    may_pass,
    unseen,
)
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupReport


class StepRules(Step, ABC):
    """A step that can be carried out."""

    __slots__ = ()

    def enter(self, place: Place) -> tuple[Side, ...]:
        """The sides that are others once this is wanted in the region; a step that only watches has none."""
        return ()

    def begin(self, rollout: Rollout, track: Track) -> Rollout:
        """What else is so once the track has entered this."""
        return rollout

    @abstractmethod
    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        """Whether the region, which is in this step, has done it."""

    def guard(self, place: Place, observed: Observed) -> Guard | None:
        """What the region has to be capable of at the moment of entering."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """One line for the plan."""

    @property
    def name(self) -> str:
        """A few words where steps are listed."""
        return self.kind

    def estimate_seconds(self, proof_seconds: float) -> float:
        """How long it takes by itself; `proof_seconds`: until fresh hosts are proven."""
        return 0.0


class CountingStep(StepRules):
    """A step that is done once enough of something is there."""

    __slots__ = ()

    why: ClassVar[Why]
    """Of a region that has not got enough yet."""

    @abstractmethod
    def measure(self, place: Place, report: GroupReport) -> tuple[int, int]:
        """(what there is, what is needed)."""

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        application, region = place.application, place.region
        report, absent = current_report(application, place.target.group, region, observed)
        if absent is not None:
            return unseen(absent, region, observed)
        have, need = self.measure(place, report)
        if have >= need:
            return Done()
        reason = reason_of(
            self.why,
            cli("hosts", application.name),
            cli("abort", application.name),
            have=have,
            need=need,
            weight_bp=place.target.part.weight_bp,
            trouble=report.trouble,
            is_work=application.is_worker,
        )
        return Waiting(Because(reason, region, since=place.track.entered_at), progress=have)


# ---------------------------------------------------------------------------------------------- questions


def entered(application: Application, rollout: Rollout, track: Track, step: Step) -> Application:
    """The application once `step` is wanted in the track's region."""
    place = place_of(application, rollout, track)
    return put_sides(application, _rules(step).enter(place)) if place is not None else application


def all_entered(application: Application, rollout: Rollout, tracks: Sequence[Track]) -> Application:
    """The application with this rollout, once each of its tracks is in the step that it says."""
    sides: list[Side] = []
    after = rollout.with_tracks(tracks)
    for track in tracks:
        rules, place = _rules(rollout.step(track)), place_of(application, rollout, track)
        sides += rules.enter(place) if place is not None else ()
        after = rules.begin(after, track)
    return replace(put_sides(application, sides), rollout=after)


def judge(
    application: Application, rollout: Rollout, track: Track, observed: Observed, now: Instant
) -> Verdict:
    """The verdict on the track's present step."""
    place = place_of(application, rollout, track)
    assert place is not None, "a running track has a target"
    step = rollout.step(track)
    failure = failure_of(application, place.target.group, track.region, observed)
    is_watched = step.is_watched and not is_endured(rollout, track)
    illness = illness_during(step.kind, place, observed, now) if is_watched else None
    if isinstance(illness, Waiting) and may_pass(place):
        illness = None  # a person lets it go on as it is
    lost = _lost_baseline(place, observed) if failure is None and illness is None else None
    return failure or illness or lost or _rules(step).judge(place, observed, now)


def _lost_baseline(place: Place, observed: Observed) -> Failed | None:
    """What the target is compared with is no equal any more; by a report that counts. That says nothing of
    the target."""
    rollout, track, baseline = place.rollout, place.track, place.baseline
    if place.origin is None or (baseline is None and not rollout.step(track).needs_baseline):
        return None
    is_within = track.cursor in baseline_range(rollout.steps)
    if not is_within or may_pass(place) or is_endured(rollout, track):
        return None
    if not is_baseline_proven(rollout.steps, track.cursor):
        return None
    if baseline is not None and (ill := _illness_of_baseline(place, baseline, observed)) is not None:
        return Failed(ill, "undecided")
    shares = baseline is not None and baseline.part.weight_bp == place.target.part.weight_bp
    if rollout.step(track).needs_baseline and not shares:
        return Failed(reason_of(Why.BASELINE_LOST, region=track.region), "undecided")
    return None


def _illness_of_baseline(place: Place, baseline: Side, observed: Observed) -> Reason | None:
    report, absent = current_report(place.application, baseline.group, place.region, observed)
    need = baseline.part.judged
    if absent is not None or report.verified >= place.application.policy.healing(need):
        return None
    return reason_of(
        Why.BASELINE_ILL,
        region=place.region,
        group=baseline.group.name,
        have=report.verified,
        need=need,
        trouble=report.trouble,
    )


def refusing(
    application: Application,
    rollout: Rollout,
    track: Track,
    step: Step,
    observed: Observed,
    now: Instant,
    constraints: Constraints,
    wants: Wants | None = None,
) -> Guard | None:
    """The first rule against entering `step` that is not overridden; None when it may be entered. Where
    the region begins with it, `wants` is what the application has under way from then on."""
    place = place_of(application, rollout, track)
    assert place is not None, "a running track has a target"
    answers = [
        *outside(application, rollout, step, now, constraints, wants),
        _rules(step).guard(place, observed),
    ]
    return next(
        (each for each in answers if each and each.refuses and not is_overridden(rollout, each.rule)), None
    )


def describe(step: Step) -> str:
    """One line for people."""
    return _rules(step).describe()


def named(step: Step) -> str:
    """A few words for people."""
    return _rules(step).name


def estimate_seconds(step: Step, proof_seconds: float) -> float:
    """How long the step takes by itself, as far as it is known; `proof_seconds`: until fresh hosts are
    proven."""
    return _rules(step).estimate_seconds(proof_seconds)


def _rules(step: Step) -> StepRules:
    assert isinstance(step, StepRules), f"nothing says how to carry out {step!r}"
    return step
