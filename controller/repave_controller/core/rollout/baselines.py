"""Gives each region a baseline exactly where its steps ask for one: fresh hosts of the origin's version, as
many as the target has there, with an equal share of the traffic. Pure; part of `rollout.step`.

Level-triggered, after every move: whatever takes a region out of these steps, be it that they are done, a
failure, an abort or the end of the rollout, ends its baseline in the same decision. A pause or a hold leaves
it: a person shall find both sides.
"""

from collections.abc import Mapping

from repave_controller.core.domain.application import (
    UNWANTED,
    Application,
    GroupState,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.place import Place, Side, baseline_in, place_of, put_part
from repave_controller.core.domain.reasons import Happening, reason_of
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, Track, TrackPhase
from repave_controller.core.domain.steps import baseline_range, is_baseline_proven
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rules.verdicts import current_report
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName


def settle(turn: Turn) -> None:
    """Makes, follows up, shares out and ends baselines."""
    rollout = turn.rollout
    has_some = any(group.is_baseline for group in turn.application.groups)
    if not has_some and (rollout is None or not baseline_range(rollout.steps)):
        return
    wanted = _wanted(turn.application, rollout) if rollout is not None else {}
    _end(turn, wanted)
    for region in wanted:
        _have(turn, region)


def _wanted(application: Application, rollout: Rollout) -> Mapping[RegionName, Track]:
    """The regions that are in steps with a baseline, and have what it is compared with."""
    within = baseline_range(rollout.steps)
    if rollout.phase is not Phase.RUNNING or not within:
        return {}
    found = {}
    for track in rollout.tracks:
        if track.phase is not TrackPhase.RUNNING or track.cursor not in within:
            continue
        place = place_of(application, rollout, track)
        if place is not None and _is_comparable(place):
            found[track.region] = track
    return found


def _is_comparable(place: Place) -> bool:
    target, origin = place.target.part, place.origin
    is_new = target.state is GroupState.NEW and target.count > 0
    return is_new and origin is not None and origin.part.state is GroupState.SERVING


# ------------------------------------------------------------------------------------------------ ends


def _end(turn: Turn, wanted: Mapping[RegionName, Track]) -> None:
    for group in turn.application.groups:
        gone = [part for part in group.parts if group.is_baseline and _is_over(turn, group, part, wanted)]
        for part in gone:
            retiring = replace(part, state=GroupState.RETIRING, size=part.count, percent=0.0, weight_bp=0)
            turn.application = put_part(turn.application, group, retiring)
            _give_back(turn, part.region, group.baseline_of)
        if gone:
            where = () if len(gone) == len(group.parts) else tuple(part.region for part in gone)
            what = reason_of(Happening.BASELINE_ENDS, group=group.name, regions=where)
            turn.tell("group.retiring", what, group)


def _is_over(turn: Turn, group: ServerGroup, part: Part, wanted: Mapping[RegionName, Track]) -> bool:
    track = wanted.get(part.region)
    side = baseline_in(turn.application, track) if track is not None else None
    is_wanted = side is not None and side.group.number == group.number
    return part.state is not GroupState.RETIRING and not is_wanted


def _give_back(turn: Turn, region: RegionName, number: GroupNumber | None) -> None:
    """What no group has now of the region's traffic goes to the origin."""
    origin = turn.application.group(number)
    part = origin.part(region) if origin is not None else None
    shares = [each.weight_bp for group in turn.application.groups if (each := group.part(region))]
    lost_bp = FULL_WEIGHT_BP - sum(shares)
    if origin is None or part is None or part.state in UNWANTED or not 0 < lost_bp < FULL_WEIGHT_BP:
        return
    whole = replace(part, weight_bp=part.weight_bp + lost_bp)
    turn.application = put_part(turn.application, origin, whole)


# ------------------------------------------------------------------------------------------ is there


def _have(turn: Turn, region: RegionName) -> None:
    rollout = turn.rollout
    track = rollout.track(region) if rollout is not None else None
    place = place_of(turn.application, rollout, track) if rollout is not None and track is not None else None
    if rollout is None or place is None or place.origin is None:
        return
    side = place.baseline
    if side is None:
        if rollout.pause is None:
            _make(turn, place)
        return
    target, origin = place.target.part, place.origin
    share_bp = _share(turn, place, side)
    proven = target.count if share_bp > side.part.weight_bp else side.part.proven
    followed = replace(side.part, size=target.size, percent=target.percent, weight_bp=share_bp, proven=proven)
    if followed != side.part:
        turn.application = put_part(turn.application, side.group, followed)
    rest_bp = FULL_WEIGHT_BP - target.weight_bp - share_bp
    if rest_bp != origin.part.weight_bp:
        turn.application = put_part(turn.application, origin.group, replace(origin.part, weight_bp=rest_bp))


def _make(turn: Turn, place: Place) -> None:
    """Regions with one origin have one group."""
    assert place.origin is not None, "it is of the origin's version"
    application, origin, target = turn.application, place.origin.group, place.target.part
    part = Part(place.region, target.size, GroupState.NEW, target.percent)
    known = next((each for each in application.groups if _is_open(each, place)), None)
    if known is not None:
        turn.application = put_part(application, known, part)
        return
    number = application.next_number
    made = ServerGroup(
        name=format_group(application.cluster, number),
        number=number,
        version=origin.version,
        digest=origin.digest,
        parts=ByRegion((part,)),
        template=origin.template,
        overlays=origin.overlays,
        created_at=turn.now,
        baseline_of=origin.number,
    )
    turn.application = replace(application.with_group(made), next_number=GroupNumber(number + 1))
    what = reason_of(Happening.BASELINE_BEGINS, group=made.name, origin=origin.name, version=origin.version)
    turn.tell("baseline.started", what, made)


def _is_open(group: ServerGroup, place: Place) -> bool:
    """Whether it is a baseline of this rollout that the region can have part in."""
    is_same = place.origin is not None and group.baseline_of == place.origin.group.number
    return is_same and group.state is GroupState.NEW and group.part(place.region) is None


def _share(turn: Turn, place: Place, side: Side) -> int:
    """The target's; none while that has none or all, nor before enough of its hosts are there, nor once they
    are all lost."""
    target_bp, present_bp = place.target.part.weight_bp, side.part.weight_bp
    if not 0 < 2 * target_bp < FULL_WEIGHT_BP:
        return 0
    report, absent = current_report(turn.application, side.group, place.region, turn.observed)
    is_kept = present_bp == target_bp and (absent is not None or report.verified > 0)
    if is_kept:
        return target_bp
    rollout = turn.rollout
    is_due = (
        rollout is not None
        and rollout.pause is None
        and is_baseline_proven(rollout.steps, place.track.cursor)
    )
    up, needed = (
        min(report.verified, report.balancer_up),
        turn.application.policy.needed(place.target.part.count),
    )
    return target_bp if is_due and absent is None and up >= max(1, needed) else 0
