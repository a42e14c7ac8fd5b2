"""What happens when that which a rollout waits for has come, or when its time is over. Pure.

`rules/verdicts.py` and `rollout/waves.py` say what is waited for, this says what follows.
"""

from repave_controller.core.domain.application import Application, Because, Policy
from repave_controller.core.domain.reasons import Forecast, Reason, Why, reason_of
from repave_controller.core.domain.rollout import Rollout, Track, TrackPhase
from repave_controller.core.domain.steps import Step
from repave_controller.core.rollout.failure import effect_of
from repave_controller.core.rules.verdicts import Cause
from repave_protos.protocol.values import RegionName


def outlook(application: Application, because: Because) -> Reason | None:
    """The next step or wave, and what a failure does instead; None where that can't be told."""
    rollout = application.running
    if rollout is None or rollout.pause is not None:
        return None
    if not because.region:
        return _after_wave(rollout, because)
    track = rollout.track(RegionName(because.region))
    match track:
        case Track(phase=TrackPhase.RUNNING):
            return _after_step(application.policy, rollout, track, because)
        case Track(phase=TrackPhase.UNDOING) if because.until is not None:
            return reason_of(Forecast.END_WITHOUT_REGION)
        case Track(phase=TrackPhase.WAITING):
            return _then(rollout.steps[0], track)
        case _:
            return None


def _after_wave(rollout: Rollout, because: Because) -> Reason | None:
    """After the bake of the wave before, or the approval of the next one."""
    if because.reason.kind not in (Why.BAKE, Why.APPROVE_WAVE):
        return None
    waiting = [track.wave for track in rollout.tracks if track.phase is TrackPhase.WAITING]
    if not waiting:
        return reason_of(Forecast.SUCCESS)
    wave = rollout.waves[min(waiting)]
    approver = wave.approve if because.reason.kind is Why.BAKE else None
    return reason_of(Forecast.WAVE, wave=min(waiting) + 1, regions=wave.regions, approver=approver)


def _after_step(policy: Policy, rollout: Rollout, track: Track, because: Because) -> Reason:
    is_last = track.cursor + 1 == len(rollout.steps)
    following = None if is_last else rollout.steps[track.cursor + 1]
    step = rollout.step(track)
    cause: Cause = "health" if step.is_timed else "deadline"
    if not step.deadline_seconds if step.is_timed else because.until is None:
        return _then(following, track)
    effect = effect_of(policy, rollout, track, cause)
    return _then(
        following,
        track,
        failure="approval" if step.approver is not None else cause,
        effect=str(effect.kind),
        is_whole_wave=policy.scope == "wave",
    )


def _then(
    step: Step | None, track: Track, failure: str = "", effect: str = "", is_whole_wave: bool = False
) -> Reason:
    """`step`: None, the region is done. `failure`: what might happen instead, if it is worth telling."""
    return reason_of(
        Forecast.STEP,
        step=step.kind if step is not None else "",
        share_bp=step.share_bp if step is not None else None,
        failure=failure,
        effect=effect,
        region=track.region,
        wave=track.wave + 1 if is_whole_wave else None,
    )
