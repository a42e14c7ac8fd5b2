"""What happens when that which a rollout waits for has come, or when its time is over. Pure; for people.

`rules/verdicts.py` and `rollout/waves.py` say what is waited for, this says what follows.
"""

from repave_controller.core.domain.application import Application, Because, Policy
from repave_controller.core.domain.rollout import Rollout, Track, TrackPhase
from repave_controller.core.rollout.failure import FailureKind, effect_of
from repave_controller.core.rules.phrases import listed
from repave_controller.core.rules.verdicts import Cause
from repave_controller.core.steps.step import named


def outlook(application: Application, because: Because) -> str:
    """One line such as "then weight 50 %; if not by then: every region goes back"; "" where nobody knows."""
    rollout = application.running
    if rollout is None or rollout.pause is not None:
        return ""
    if not because.region:
        return _after_wave(rollout, because) if because.what.startswith(("bake", "approve")) else ""
    track = next((each for each in rollout.tracks if each.region == because.region), None)
    match track:
        case Track(phase=TrackPhase.RUNNING):
            return _after_step(application.policy, rollout, track, because)
        case Track(phase=TrackPhase.UNDOING) if because.until is not None:
            return "if not by then, it is said, and the rollout ends without it"
        case Track(phase=TrackPhase.WAITING):
            return f"then {named(rollout.steps[0])}"
        case _:
            return ""


def _after_wave(rollout: Rollout, because: Because) -> str:
    """After the bake of the wave before, or the approval of the next one."""
    waiting = [track.wave for track in rollout.tracks if track.phase is TrackPhase.WAITING]
    if not waiting:
        return "then the rollout has succeeded"
    wave = rollout.waves[min(waiting)]
    is_gated = wave.approve is not None and because.what.startswith("bake")
    gate = f", once {wave.approve or 'somebody'} has said yes" if is_gated else ""
    return f"then wave {min(waiting) + 1}{gate}: {listed(wave.regions)}"


def _after_step(policy: Policy, rollout: Rollout, track: Track, because: Because) -> str:
    is_last = track.cursor + 1 == len(rollout.steps)
    then = f"then {'it is done' if is_last else named(rollout.steps[track.cursor + 1])}"
    step = rollout.step(track)
    if step.is_timed:
        if not step.deadline_seconds:
            return then
        return f"{then}; if it falls ill: {_failure(policy, rollout, track, 'health')}"
    if because.until is None:
        return then
    when = "if nobody does by then" if step.approver is not None else "without progress until then"
    return f"{then}; {when}: {_failure(policy, rollout, track, 'deadline')}"


def _failure(policy: Policy, rollout: Rollout, track: Track, cause: Cause) -> str:
    effect = effect_of(policy, rollout, track, cause)
    match effect.kind:
        case FailureKind.END:
            return "it is held, for there is no older group to go back to"
        case FailureKind.PAUSE:
            return "it is held in place"
        case FailureKind.CONTINUE:
            return f"{track.region} goes back, the others go on"
        case FailureKind.STOP:
            where = f"wave {track.wave + 1}" if policy.scope == "wave" else track.region
            return f"{where} goes back"
        case FailureKind.UNDO:
            return "every region goes back"
