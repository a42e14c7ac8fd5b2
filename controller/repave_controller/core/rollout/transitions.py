"""Says what going back or ending makes of the groups in one region. Pure."""

from dataclasses import replace

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    Application,
    GroupState,
    Instant,
)
from repave_controller.core.domain.place import put_part
from repave_controller.core.domain.rollout import Rollout, Track
from repave_protos.protocol.values import FULL_WEIGHT_BP


def with_way_back(application: Application, track: Track) -> Application:
    """The origin grows to its full size again, the traffic stays where it is until it is there."""
    origin = application.group(track.origin)
    old = origin.part(track.region) if origin is not None else None
    if origin is None or old is None:
        return application
    return put_part(application, origin, replace(old, percent=FULL_PERCENT))


def gone_back(application: Application, rollout: Rollout, track: Track) -> Application:
    """All traffic is with the origin; a target that has not proved itself is retired."""
    target, origin = application.group(rollout.target), application.group(track.origin)
    if target is not None and (part := target.part(track.region)) is not None:
        state = GroupState.RETIRING if part.state is GroupState.NEW else part.state
        application = put_part(application, target, replace(part, weight_bp=0, state=state))
    if origin is not None and (old := origin.part(track.region)) is not None:
        whole = replace(old, weight_bp=FULL_WEIGHT_BP, percent=FULL_PERCENT)
        application = put_part(application, origin, whole)
    return application


def taken_over(application: Application, rollout: Rollout, track: Track, now: Instant) -> Application:
    """The target serves from now on. The origin is kept as large as it is left, or retired if nothing is."""
    target, origin = application.group(rollout.target), application.group(track.origin)
    if origin is not None and origin != target and (old := origin.part(track.region)) is not None:
        percent = min(old.percent, application.policy.keep_percent)
        state = GroupState.WARM if percent > 0 else GroupState.RETIRING
        left = replace(old, state=state, weight_bp=0, percent=percent, left_traffic_at=now)
        application = put_part(application, origin, left)
    if target is not None and (part := target.part(track.region)) is not None:
        serves = replace(
            part,
            state=GroupState.SERVING,
            weight_bp=FULL_WEIGHT_BP,
            percent=FULL_PERCENT,
            left_traffic_at=None,
        )
        application = put_part(application, target, serves)
    return application


def never_begun(application: Application, rollout: Rollout, track: Track) -> Application:
    """Nothing of a new target is wanted in a region that it never came to."""
    target = application.group(rollout.target)
    part = target.part(track.region) if target is not None else None
    if target is None or part is None or part.state is not GroupState.NEW or part.count > 0:
        return application
    return application.with_group(target.without(track.region))
