"""Says what entering a step, going back or ending makes of the groups in one region. Pure.

The plan is told and the release is carried out by these same functions.
"""

from dataclasses import replace

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    Application,
    GroupState,
    Instant,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.rollout import Retire, Rollout, Scale, Step, Track, Verify, Weight
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName


def entered(application: Application, rollout: Rollout, track: Track, step: Step) -> Application:
    """The application once `step` is wanted in the track's region. Steps that only watch change nothing."""
    target, origin = application.group(rollout.target), application.group(track.origin)
    part = target.part(track.region) if target is not None else None
    old = origin.part(track.region) if origin is not None else None
    if target is None or part is None:
        return application
    match step:
        case Scale(percent=percent, count=count):
            share = min(FULL_PERCENT, 100 * count / max(1, part.size)) if count else percent
            return _put(application, target, replace(part, percent=max(share, part.percent)))
        case Verify():  # by then all that are wanted now have had their time
            return _put(application, target, replace(part, proven=part.count))
        case Weight(weight_bp=weight_bp):
            return _split(application, target, part, origin, old, weight_bp)
        case Retire(percent=percent) if origin is not None and old is not None:
            return _put(application, origin, replace(old, percent=min(percent, old.percent)))
        case _:
            return application


def _split(
    application: Application,
    target: ServerGroup,
    part: Part,
    origin: ServerGroup | None,
    old: Part | None,
    weight_bp: int,
) -> Application:
    """A region without an origin opens when the target is to have everything."""
    if origin is None or old is None:
        opened_bp = FULL_WEIGHT_BP if weight_bp == FULL_WEIGHT_BP else 0
        return _put(application, target, replace(part, weight_bp=opened_bp))
    application = _put(application, target, replace(part, weight_bp=weight_bp))
    return _put(application, origin, replace(old, weight_bp=FULL_WEIGHT_BP - weight_bp))


def with_way_back(application: Application, track: Track) -> Application:
    """The origin grows to its full size again, the traffic stays where it is until it is there."""
    origin = application.group(track.origin)
    old = origin.part(track.region) if origin is not None else None
    if origin is None or old is None:
        return application
    return _put(application, origin, replace(old, percent=FULL_PERCENT))


def gone_back(application: Application, rollout: Rollout, track: Track) -> Application:
    """All traffic is with the origin; a target that has not proved itself is retired."""
    target, origin = application.group(rollout.target), application.group(track.origin)
    if target is not None and (part := target.part(track.region)) is not None:
        state = GroupState.RETIRING if part.state is GroupState.NEW else part.state
        application = _put(application, target, replace(part, weight_bp=0, state=state))
    if origin is not None and (old := origin.part(track.region)) is not None:
        application = _put(application, origin, replace(old, weight_bp=FULL_WEIGHT_BP, percent=FULL_PERCENT))
    return application


def taken_over(application: Application, rollout: Rollout, track: Track, now: Instant) -> Application:
    """The target serves from now on. The origin is kept as large as it is left, or retired if nothing is."""
    target, origin = application.group(rollout.target), application.group(track.origin)
    if origin is not None and origin != target and (old := origin.part(track.region)) is not None:
        percent = min(old.percent, application.policy.keep_percent)
        state = GroupState.WARM if percent > 0 else GroupState.RETIRING
        left = replace(old, state=state, weight_bp=0, percent=percent, left_traffic_at=now)
        application = _put(application, origin, left)
    if target is not None and (part := target.part(track.region)) is not None:
        serves = replace(
            part,
            state=GroupState.SERVING,
            weight_bp=FULL_WEIGHT_BP,
            percent=FULL_PERCENT,
            left_traffic_at=None,
        )
        application = _put(application, target, serves)
    return application


def never_begun(application: Application, rollout: Rollout, track: Track) -> Application:
    """Nothing of a new target is wanted in a region that it never came to."""
    target = application.group(rollout.target)
    part = target.part(track.region) if target is not None else None
    if target is None or part is None or part.state is not GroupState.NEW or part.count > 0:
        return application
    return application.with_group(target.without(track.region))


def change_part(application: Application, group: ServerGroup, part: Part) -> Application:
    """Replaces the group's part of that region."""
    return _put(application, group, part)


def _put(application: Application, group: ServerGroup, part: Part) -> Application:
    newest = application.group(group.number) or group
    return application.with_group(newest.with_part(part))


def wanted_weights(application: Application, region: RegionName) -> dict[int, int]:
    """Basis points by group number in this region; empty before anybody serves there."""
    return {
        int(group.number): part.weight_bp
        for group in application.groups
        if (part := group.part(region)) is not None and part.weight_bp > 0
    }
