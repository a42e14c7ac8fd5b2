"""What happens when that which a rollout waits for has come, or when its time is over. Pure.

It decides nothing: `core/rollout` says what follows a step, a wave or a failure, and acts by the same.
"""

from repave_controller.core.domain.application import Application, Because, Expiry, Observed
from repave_controller.core.domain.reasons import Fact, Forecast, Reason, Why, reason_of
from repave_controller.core.domain.rollout import Rollout, Track, TrackPhase
from repave_controller.core.rollout.failure import FailureEffect, FailureKind, begun
from repave_controller.core.rollout.protection import Effects
from repave_controller.core.rollout.waves import next_wave, pending_approver, tracks_of
from repave_controller.core.rules.verdicts import Cause
from repave_protos.protocol.values import RegionName

FAILURES: dict[Expiry, Cause] = {Expiry.DEADLINE: "deadline", Expiry.ILLNESS: "health"}


class Outlook:
    """What follows each wait of an application, as things are observed now. What the waits of its regions
    have in common is worked out once: an answer asks for thousands."""

    def __init__(self, application: Application, observed: Observed) -> None:
        self._rollout = application.running
        self._effects = Effects(application, self._rollout, observed) if self._rollout is not None else None

    def of(self, because: Because) -> Reason | None:
        """The next step or wave, and what a failure does instead; None where no rollout waits for it."""
        rollout, effects = self._rollout, self._effects
        if rollout is None or effects is None or because.expiry is None:
            return None
        track = rollout.track(RegionName(because.region))
        if track is None:
            return _after_wave(rollout, because, effects)
        if because.expiry is Expiry.LEAVE:
            return reason_of(Forecast.END_WITHOUT_REGION)
        kind = Forecast.REGION_SKIPPED if because.expiry is Expiry.SKIP else Forecast.STEP
        if track.phase is TrackPhase.UNDOING:
            kind = Forecast.GONE_BACK
        following = rollout.following(track)
        return reason_of(
            kind,
            step=following.kind if following is not None else "",
            share_bp=following.share_bp if following is not None else None,
            **_failure(rollout, track, because.expiry, effects),
        )


def _after_wave(rollout: Rollout, because: Because, effects: Effects) -> Reason | None:
    """After the bake of the wave before, or the approval of the next one."""
    if because.reason.kind not in (Why.BAKE, Why.BAKE_UNSEEN, Why.APPROVE_WAVE, Why.APPROVE_WAVE_UNLESS):
        return None
    expires = because.expiry is Expiry.DEADLINE
    if not expires and any(track.ill_at is not None for track in rollout.tracks):
        return None  # first its region replaces hosts
    wave = next_wave(rollout)
    if wave is None:
        return reason_of(Forecast.SUCCESS)
    waiting = tuple(track.region for track in tracks_of(rollout, wave) if track.phase is TrackPhase.WAITING)
    is_asked = because.reason.kind in (Why.APPROVE_WAVE, Why.APPROVE_WAVE_UNLESS)
    approver = None if is_asked else pending_approver(rollout, wave)
    seconds = rollout.waves[wave].unless_objected_seconds if approver is not None else 0.0
    effect = effects.of_wave() if expires else None
    return reason_of(
        Forecast.WAVE,
        wave=wave + 1,
        regions=waiting,
        approver=approver,
        unless_seconds=seconds,
        effect=str(effect.kind) if effect is not None else "",
        back=effect.regions if effect is not None else (),
        is_all=effect is not None and _is_all(rollout, effect),
    )


def _failure(rollout: Rollout, track: Track, expiry: Expiry, effects: Effects) -> dict[str, Fact]:
    """What a failure does, and what would be one: `failure` is "" where none is worth telling."""
    step, cause = rollout.step(track), FAILURES.get(expiry)
    if expiry is Expiry.JUDGEMENT and track.phase is TrackPhase.RUNNING:
        cause = "analysis"
    is_supposed = cause is None  # it is well so far
    failure = "guard" if cause == "health" else "deadline"
    if cause == "deadline" and step.approver is not None:
        failure = "approval"
    elif cause == "analysis":
        failure = "analysis"
    elif cause is None and step.is_timed and step.is_watched and track.phase is TrackPhase.RUNNING:
        failure = cause = "health"
    if cause is None:
        return {"failure": "", "effect": "", "regions": (), "wave": None, "is_all": False, "back": ()}
    effect = effects.of(track, cause, is_supposed=is_supposed)
    return {
        "failure": failure,
        "effect": str(effect.kind),
        "regions": effect.regions,
        "wave": effect.wave + 1 if effect.wave is not None else None,
        "is_all": _is_all(rollout, effect),
        "back": effect.back,
    }


def _is_all(rollout: Rollout, effect: FailureEffect) -> bool:
    """Whether all that have begun and not gone back do so now."""
    return effect.kind is FailureKind.UNDO and len(effect.regions) == rollout.tracks.once(begun)
