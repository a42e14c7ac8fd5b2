"""Says which ways lead on from a rollout that repave holds by itself. Pure."""

from repave_controller.core.domain.application import Application, Observed
from repave_controller.core.domain.place import target_in
from repave_controller.core.domain.reasons import Reason, Remedy, Rule, Why, cli
from repave_controller.core.domain.rollout import Pause, Rollout, Track, TrackPhase
from repave_controller.core.rules.verdicts import failure_of


def ways_on(application: Application, rollout: Rollout, observed: Observed) -> tuple[Remedy, ...]:
    """The commands that are accepted, and help, while it is held."""
    name, pause = application.name, rollout.pause
    assert pause is not None, "it is held"
    ways, track, rule = [cli("retry", name)], passable(application, rollout, observed), guard_of(pause)
    if track is not None:
        role = rollout.step(track).approver
        ways.append(cli("promote", name, role=role) if role is not None else cli("promote", name, skip=True))
    if rule:
        ways.append(cli("promote", name, override=rule, reason="TEXT"))
    if has_way_back_from(rollout):
        ways.append(cli("rollback", name))
    return tuple(ways)


def has_way_back_from(rollout: Rollout) -> bool:
    """Whether the rollout can be turned round: a group served before, or none has traffic yet."""
    return rollout.origin is not None or not rollout.has_given_traffic()


def passable(application: Application, rollout: Rollout, observed: Observed) -> Track | None:
    """The region that holds the rollout up, where a person may let it go past its step all the same: a soak
    or an approval. Hosts that do not run, or are not proven, can't be gone past."""
    pause = rollout.pause
    track = rollout.track(pause.region) if pause is not None and pause.region is not None else None
    if pause is None or track is None or track.phase is not TrackPhase.RUNNING or guard_of(pause):
        return None
    step, target = rollout.step(track), target_in(application, rollout, track)
    if target is None or not (step.is_timed or step.approver is not None):
        return None
    has_failed = failure_of(application, target.group, track.region, observed) is not None
    return None if has_failed else track


def guard_of(pause: Pause) -> str:
    """The rule that stood against the next step for too long; "" where the hold has another cause."""
    reason = pause.reason
    if reason is None or reason.kind is not Why.GUARD_FOR_TOO_LONG:
        return ""
    answer = dict(reason.facts).get("answer")
    return answer.kind.root if isinstance(answer, Reason) and isinstance(answer.kind, Rule) else ""
