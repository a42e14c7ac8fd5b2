"""Moves a region's traffic to the one of its two groups that can serve it. Pure; part of `rollout.step`.

Not a move of the rollout, so neither a pause nor a gate stands against it. The rollout is held then: the
share that a step asks for can't be had, and which of the groups shall serve is for a person to say.
"""

from collections.abc import Iterable

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
from repave_controller.core.rollout.failure import (
    FailureEffect,
    FailureKind,
    Returns,
    effect_of,
    effect_of_wave,
)
from repave_controller.core.rules.sides import Sides, Strength, sides_of
from repave_controller.core.rules.verdicts import Cause, Failed
from repave_protos.protocol.copies import replace
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


def unsafe_returns(
    application: Application, rollout: Rollout, regions: Iterable[RegionName], observed: Observed
) -> list[tuple[Track, Sides]]:
    """Those of the regions in which going back would not mend it, since neither group is whole, or would do
    harm: what failed may be another region."""
    found = []
    for region in regions:
        track = rollout.track(region)
        sides = watched_sides(application, rollout, track, observed) if track is not None else None
        if track is not None and sides is not None and (sides.neither_is_whole or sides.is_loss):
            found.append((track, sides))
    return found


def losing_regions(application: Application, rollout: Rollout, observed: Observed) -> tuple[RegionName, ...]:
    """Those that would have fewer hosts to serve with if they went back now."""
    return tuple(
        track.region
        for track in rollout.tracks
        if (sides := watched_sides(application, rollout, track, observed)) is not None and sides.is_loss
    )


class Effects:
    """What failures of a rollout do, with the health of both groups of all regions that would go back, as
    things are observed now. Regions that go back together are looked at once for all that ask."""

    def __init__(self, application: Application, rollout: Rollout, observed: Observed) -> None:
        self._application, self._rollout, self._observed = application, rollout, observed
        self._returns = Returns(rollout)
        self._unsafe: dict[int | None, dict[RegionName, None]] = {}

    def of(self, track: Track, cause: Cause, *, is_supposed: bool = False) -> FailureEffect:
        """Of the track's region, which goes back all the same where that does no harm to itself.
        `is_supposed`: it is ill in part in the case that is thought of, and not so far."""
        effect = effect_of(self._application.policy, self._rollout, track, cause, self._returns)
        unsafe = self._unsafe_of(effect)
        is_kept = track.region in unsafe
        if is_supposed and effect.regions and not is_kept and self._would_not_be_mended(track):
            return FailureEffect(FailureKind.KEEP, (track.region, *unsafe))
        if not unsafe:
            return effect
        return FailureEffect(FailureKind.KEEP, tuple(unsafe), back=() if is_kept else (track.region,))

    def of_wave(self) -> FailureEffect:
        """Of a wave that is not approved in time."""
        effect = effect_of_wave(self._application.policy, self._rollout, self._returns)
        unsafe = self._unsafe_of(effect)
        return FailureEffect(FailureKind.KEEP, tuple(unsafe)) if unsafe else effect

    def _unsafe_of(self, effect: FailureEffect) -> dict[RegionName, None]:
        """In order. Known of a whole wave and of all; another effect is of one region at most."""
        if effect.wave is None and effect.kind is not FailureKind.UNDO:
            return self._look(effect.regions)
        if effect.wave not in self._unsafe:
            self._unsafe[effect.wave] = self._look(effect.regions)
        return self._unsafe[effect.wave]

    def _look(self, regions: Iterable[RegionName]) -> dict[RegionName, None]:
        unsafe = unsafe_returns(self._application, self._rollout, regions, self._observed)
        return {track.region: None for track, _ in unsafe}

    def _would_not_be_mended(self, track: Track) -> bool:
        sides = watched_sides(self._application, self._rollout, track, self._observed)
        return sides is not None and sides.would_not_be_mended


def keep_larger(turn: Turn, regions: Iterable[RegionName], reason: Reason) -> None:
    """Holds the rollout; in these regions the group with more hosts up has the traffic."""
    rollout = turn.rollout
    assert rollout is not None, "a running rollout fails"
    unsafe = unsafe_returns(turn.application, rollout, regions, turn.observed)
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
    moved = put_sides(application, sides)
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
