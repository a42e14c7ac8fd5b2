"""Says what going back or ending makes of the groups in one region. Pure."""

from collections.abc import Iterable

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    PAST_MAX,
    Application,
    GroupState,
    Instant,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.place import Side, origin_in, put_part, target_in
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import GroupNumber, Rollout, RolloutKind, Track
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName


def with_way_back(application: Application, track: Track) -> Application:
    """The origin grows to its full size again, the traffic stays where it is until it is there."""
    origin = origin_in(application, track)
    if origin is None:
        return application
    return put_part(application, origin.group, replace(origin.part, percent=FULL_PERCENT))


def gone_back(
    application: Application, rollout: Rollout, track: Track, now: Instant, *, has_failed: bool = True
) -> Application:
    """All traffic is with the origin; a target that has not proved itself is given up. Where a release went
    back, the part says so: a rollback that follows would lead further than was asked for. An abort only makes
    a release undone. `has_failed`: not only left out for a while."""
    target, origin = target_in(application, rollout, track), origin_in(application, track)
    if target is not None:
        part = replace(target.part, weight_bp=0)
        if part.state is GroupState.NEW:
            is_replaced = track.reason is not None and track.reason.kind is Why.REPLACED
            is_kept = has_failed and not is_replaced and _is_looked_at(application, part)
            part = _kept(part, now) if is_kept else replace(part, state=GroupState.RETIRING)
        application = put_part(application, target.group, part)
    if origin is not None:
        is_aborted = track.reason is not None and track.reason.kind is Why.ABORTED
        is_back = origin.part.is_back or (rollout.kind is RolloutKind.RELEASE and not is_aborted)
        whole = replace(origin.part, weight_bp=FULL_WEIGHT_BP, percent=FULL_PERCENT, is_back=is_back)
        application = put_part(application, origin.group, whole)
    return application


def _is_looked_at(application: Application, part: Part) -> bool:
    return application.policy.keep_failed_seconds > 0 and part.count > 0


def _kept(part: Part, now: Instant) -> Part:
    """With the hosts that it has now; no other one is made."""
    return replace(part, state=GroupState.FAILED, size=part.count, percent=FULL_PERCENT, failed_at=now)


def taken_over(application: Application, rollout: Rollout, track: Track, now: Instant) -> tuple[Side, ...]:
    """The sides once the target serves. The origin is kept as large as it is left, or retired if nothing
    is."""
    target, origin = target_in(application, rollout, track), origin_in(application, track)
    sides = []
    if origin is not None and track.origin != rollout.target_of(track):
        percent = min(origin.part.percent, application.policy.keep_percent)
        state = GroupState.WARM if percent > 0 else GroupState.RETIRING
        left = replace(
            origin.part, state=state, weight_bp=0, percent=percent, left_traffic_at=now, is_back=False
        )
        sides.append(Side(origin.group, left))
    if target is not None:
        serves = replace(
            target.part,
            state=GroupState.SERVING,
            weight_bp=FULL_WEIGHT_BP,
            percent=FULL_PERCENT,
            left_traffic_at=None,
            is_back=rollout.kind is RolloutKind.ROLLBACK,
        )
        sides.append(Side(target.group, serves))
    return tuple(sides)


def never_begun(application: Application, rollout: Rollout, tracks: Iterable[Track]) -> Application:
    """Nothing of a new target is wanted in regions that it never came to; one that was kept is again as it
    was, with the hosts that it had."""
    left: dict[GroupNumber, list[RegionName]] = {}
    for track in tracks:
        target = target_in(application, rollout, track)
        if target is None:
            continue
        if target.part.state is GroupState.WARM and track.kept is not None:
            kept = track.kept
            part = replace(target.part, size=kept.size, percent=kept.percent, proven=kept.proven)
            application = put_part(application, target.group, part)
        elif target.part.state is GroupState.NEW and target.part.count == 0:
            left.setdefault(target.group.number, []).append(track.region)
    for group in application.groups:
        if group.number in left:
            application = application.with_group(group.without(*left[group.number]))
    return application


def has_come_to(application: Application, rollout: Rollout, track: Track) -> bool:
    """Whether the region has begun with the rollout's group: one that was left out before has not, although
    it counts as gone back."""
    target = target_in(application, rollout, track)
    is_untouched = target is not None and target.part.state is GroupState.NEW and target.part.count == 0
    return track.has_begun and not is_untouched


def remembered(application: Application, group: ServerGroup, *parts: Part) -> Application:
    """A proven group whose hosts go in the regions of `parts` can be built again there from its image. What
    is remembered has the parts of all regions in which it is gone, as they were."""
    if group.is_adopted:
        return application  # what it was made of is not known
    known = next((each for each in application.past if each.number == group.number), None)
    whole = known if known is not None else replace(group, parts=ByRegion(()))
    others = tuple(each for each in application.past if each.number != group.number)
    return replace(application, past=(whole.with_parts(parts), *others)[:PAST_MAX])
