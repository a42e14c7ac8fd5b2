"""Moves a region's traffic to the one of its two groups that can serve it. Pure; part of `rollout.step`.

Not a move of the rollout, so neither a pause nor a gate stands against it. The rollout is held then: the
share that a step asks for can't be had, and which of the groups shall serve is for a person to say.
"""

from collections.abc import Iterable
from dataclasses import replace

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    UNWANTED,
    Application,
    Because,
    Instant,
    Observed,
)
from repave_controller.core.domain.place import Side, place_of, put_sides
from repave_controller.core.domain.reasons import Happening, Reason, Why, reason_of
from repave_controller.core.domain.rollout import Pause, Rollout, Track, TrackPhase
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rules.sides import Sides, Strength, sides_of
from repave_controller.core.rules.verdicts import Failed
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName

WATCHED = (TrackPhase.RUNNING, TrackPhase.DONE)


# ----------------------------------------------------------------------------------- one side can't serve


def troubled(turn: Turn) -> Iterable[tuple[Track, Sides, Strength]]:
    """The regions whose traffic has to move, with the side that it moves to."""
    rollout = turn.rollout
    if rollout is None or not turn.application.policy.protects:
        return
    for track in rollout.tracks:
        sides = watched_sides(turn.application, rollout, track, turn.observed)
        refuge = sides.refuge if sides is not None else None
        if sides is not None and refuge is not None:
            yield track, sides, refuge


def watched_sides(
    application: Application, rollout: Rollout, track: Track, observed: Observed
) -> Sides | None:
    """Of a region whose target has been given traffic, and has not been given up."""
    if track.phase not in WATCHED or not rollout.has_given_traffic(track):
        return None
    place = place_of(application, rollout, track)
    if place is None or place.target.part.state in UNWANTED:
        return None
    return sides_of(place, observed)


def protect(turn: Turn, track: Track, sides: Sides, refuge: Strength) -> None:
    """All traffic of the region goes to `refuge`, and the rollout is held."""
    rollout = turn.rollout
    assert rollout is not None, "a running rollout is protected"
    reason = _protected(track.region, sides, refuge)
    turn.tell_of_steps()
    turn.application = moved_to(turn.application, rollout, track, refuge.side, turn.now)
    turn.tell("traffic.protected", reason_of(Happening.TRAFFIC_PROTECTED, moved=reason), region=track.region)
    if rollout.pause is None:
        hold_still(turn, reason, track.region)


def hold_still(turn: Turn, reason: Reason, region: RegionName | None) -> None:
    """Nothing of the rollout moves until a person decides; `region`: the one that holds it up."""
    rollout = turn.rollout
    assert rollout is not None, "a running rollout is held"
    turn.put(replace(rollout, pause=Pause(turn.now, reason=reason, is_hold=True, region=region)))
    turn.tell(f"{rollout.kind}.held", reason_of(Happening.HOLDS, group=turn.target_name, reason=reason))


def refuges(application: Application, rollout: Rollout) -> Iterable[Because]:
    """The regions whose traffic is where it was moved to, and not as the steps say."""
    for track in rollout.tracks:
        group = application.group(track.refuge)
        if group is not None and track.phase in WATCHED:
            yield Because(reason_of(Why.IN_REFUGE, group=group.name), track.region)


def illness_by(track: Track, sides: Sides) -> Failed:
    """The target can't serve its share, in a step that does not watch it."""
    target = sides.target
    reason = reason_of(Why.ILL, region=track.region, have=target.up, need=target.side.part.judged, trouble="")
    return Failed(reason)


def _protected(region: RegionName, sides: Sides, refuge: Strength) -> Reason:
    left = sides.origin if refuge is sides.target else sides.target
    return reason_of(
        Why.PROTECTED,
        region=region,
        group=refuge.side.group.name,
        up=refuge.up,
        other=left.side.group.name,
        other_up=left.up,
    )


# ------------------------------------------------------------------------------------- going back harms


def unsafe_returns(turn: Turn, regions: Iterable[RegionName]) -> list[tuple[Track, Sides]]:
    """Those of the regions in which going back would not mend it, since neither group is whole, or would do
    harm: what failed may be another region."""
    rollout = turn.rollout
    found = []
    for region in regions if rollout is not None else ():
        track = rollout.track(region) if rollout is not None else None
        if rollout is None or track is None:
            continue
        sides = watched_sides(turn.application, rollout, track, turn.observed)
        if sides is not None and (sides.neither_is_whole or sides.is_loss):
            found.append((track, sides))
    return found


def losing_regions(application: Application, rollout: Rollout, observed: Observed) -> tuple[RegionName, ...]:
    """Those that would have fewer hosts to serve with if they went back now."""
    return tuple(
        track.region
        for track in rollout.tracks
        if (sides := watched_sides(application, rollout, track, observed)) is not None and sides.is_loss
    )


def keep_larger(turn: Turn, unsafe: list[tuple[Track, Sides]], reason: Reason) -> None:
    """Holds the rollout; in these regions the group with more hosts up has the traffic."""
    turn.tell_of_steps()
    told = []
    for track, sides in unsafe:
        rollout, larger = turn.rollout, sides.larger
        assert rollout is not None, "a running rollout fails"
        smaller = sides.origin if larger is sides.target else sides.target
        stays = larger is sides.target or larger.side.part.weight_bp == FULL_WEIGHT_BP
        if not stays:
            turn.application = moved_to(turn.application, rollout, track, larger.side, turn.now)
        told.append(
            reason_of(
                Why.LARGER_SIDE,
                region=track.region,
                group=larger.side.group.name,
                up=larger.up,
                size=larger.side.part.size,
                other=smaller.side.group.name,
                other_up=smaller.up,
                stays=stays,
                is_loss=sides.target.is_whole,
            )
        )
    region = unsafe[0][0].region if len(unsafe) == 1 else None
    hold_still(turn, reason_of(Why.NEITHER_WHOLE, reason=reason, regions=tuple(told)), region)


# --------------------------------------------------------------------------------------------- the move


def moved_to(
    application: Application, rollout: Rollout, track: Track, refuge: Side, now: Instant
) -> Application:
    """All traffic of the region is with `refuge`, wanted in full size from now on. Where it is the origin,
    the way to the target begins again before the first share that it had."""
    place = place_of(application, rollout, track)
    assert place is not None, "a region that serves has a target"
    assert place.origin is not None, "and another side"
    changed = replace(track, refuge=refuge.group.number)
    if refuge.group.number != rollout.target_of(track):
        changed = _before_traffic(rollout, changed, now)
    sides = (_weighed(side, refuge) for side in (place.target, place.origin))
    moved = put_sides(application, *sides)
    return replace(moved, rollout=rollout.with_track(changed))


def _weighed(side: Side, refuge: Side) -> Side:
    if side.group.number == refuge.group.number:
        return replace(side, part=replace(side.part, weight_bp=FULL_WEIGHT_BP, percent=FULL_PERCENT))
    return replace(side, part=replace(side.part, weight_bp=0))


def _before_traffic(rollout: Rollout, track: Track, now: Instant) -> Track:
    first = next(index for index, step in enumerate(rollout.steps) if step.share_bp is not None)
    return replace(
        track,
        phase=TrackPhase.RUNNING,
        cursor=max(0, first - 1),
        entered_at=now,
        progressed_at=now,
        progress=None,
    )
