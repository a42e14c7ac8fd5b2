"""Takes a region back to the group that served before, and says when it is back. Pure.

Traffic goes back at once where the old group still runs in full. Where it was scaled down it grows first, and
the split stays as it is until it is ready, unless the newer group can't serve any more.
"""

from collections.abc import Collection

from repave_controller.core.domain.application import (
    FULL_PERCENT,
    Application,
    Because,
    Expiry,
    GroupState,
    Instant,
    Observed,
    RegionView,
)
from repave_controller.core.domain.place import Place, origin_in, place_of, target_in
from repave_controller.core.domain.reasons import Reason, Why, cli, reason_of
from repave_controller.core.domain.rollout import Phase, Rollout, RolloutKind, Track, TrackPhase
from repave_controller.core.domain.steps import course_of
from repave_controller.core.rollout.failure import returning
from repave_controller.core.rollout.transitions import gone_back, with_way_back
from repave_controller.core.rollout.waves import UNREACHABLE_PATIENCE_SECONDS
from repave_controller.core.rules.sides import sides_of
from repave_controller.core.rules.verdicts import Done, Failed, Verdict, Waiting, current_report
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import FULL_WEIGHT_BP, RegionName

UNDO_DEADLINE_SECONDS = 300.0
"""How long an undo waits, beyond the drain, for regions that are there but do not get it done."""


def turned_round(
    application: Application,
    rollout: Rollout,
    track: Track,
    reason: Reason,
    now: Instant,
    *,
    at_once: bool = False,
    is_loss: bool = False,
) -> tuple[Application, Track]:
    """The track on its way back; what `undone` then waits for. `at_once`: with the hosts that are there.
    `is_loss`: the target has the traffic until the origin has its hosts again."""
    if is_loss and not at_once:
        track = replace(track, refuge=rollout.target_of(track))
    is_short = not _is_whole(application, track) or track.refuge == rollout.target_of(track)
    is_short = is_short and not at_once
    track = replace(track.entered(TrackPhase.UNDOING, now), reason=reason)
    if is_short:
        return with_way_back(application, track), track
    return gone_back(application, rollout, track, now), track


def undo(
    application: Application,
    rollout: Rollout,
    reason: Reason,
    end: Phase,
    now: Instant,
    *,
    at_once: bool = False,
    losing: Collection[RegionName] = (),
) -> Application:
    """Turns a running rollout round, also where it had finished: traffic to the origin, at once where that
    runs in full; a new target is retired behind it. A region that no group served before stays as it is when
    no group served anywhere. `losing`: regions that would lose hosts by it now, and wait."""
    wait = frozenset(losing)
    for track in returning(rollout, rollout.tracks):
        is_loss = track.region in wait
        application, changed = turned_round(
            application, rollout, track, reason, now, at_once=at_once, is_loss=is_loss
        )
        rollout = rollout.with_track(changed)
    undoing = replace(rollout, phase=Phase.UNDOING, undo_reason=reason, undo_end=end, pause=None)
    return replace(application, rollout=undoing)


def _is_whole(application: Application, track: Track) -> bool:
    """Whether the origin can have all traffic at once: it has its hosts, or never gave any traffic away."""
    origin = origin_in(application, track)
    if origin is None:
        return True
    return origin.part.percent >= FULL_PERCENT or origin.part.weight_bp == FULL_WEIGHT_BP


def may_return(
    application: Application, rollout: Rollout, track: Track, observed: Observed, now: Instant
) -> bool:
    """Whether an origin that had been scaled down may have all the traffic again."""
    origin, target = origin_in(application, track), target_in(application, rollout, track)
    if origin is None or origin.part.weight_bp == FULL_WEIGHT_BP:
        return False
    report, absent = current_report(application, origin.group, track.region, observed)
    needed = application.policy.needed(origin.part.size)
    if absent is None and min(report.verified, report.balancer_up) >= needed:
        return True
    if absent is None and report.balancer_up > 0 and target is not None:
        other, _ = current_report(application, target.group, track.region, observed)
        if other.verified == 0:
            return True
    # By then fresh hosts of the origin are verified, or never will be.
    is_late = now >= track.entered_at + origin.group.template.growing_seconds
    return is_late and not would_lose(application, rollout, track, observed)


def would_lose(application: Application, rollout: Rollout, track: Track, observed: Observed) -> bool:
    """Whether the region would have fewer hosts to serve with if it went back now, as far as it is seen."""
    place = place_of(application, rollout, track)
    sides = sides_of(place, observed) if place is not None else None
    return sides is not None and sides.is_loss


def has_to_follow(rollout: Rollout, track: Track, observed: Observed) -> bool:
    """Whether the region is one of a rollback, and can't hear of it now."""
    return rollout.kind is RolloutKind.ROLLBACK and is_away(track.region, observed)


def must_switch(application: Application, rollout: Rollout, track: Track, observed: Observed) -> bool:
    """Whether a rollback's group takes the traffic while it still grows: who has it can't serve at all."""
    if rollout.kind is not RolloutKind.ROLLBACK or track.cursor == len(rollout.steps) - 1:
        return False
    target, origin = target_in(application, rollout, track), origin_in(application, track)
    if target is None or origin is None or target.part.state is GroupState.NEW:
        return False
    report, absent = current_report(application, target.group, track.region, observed)
    other, _ = current_report(application, origin.group, track.region, observed)
    return absent is None and report.balancer_up > 0 and other.verified == 0


def undone(
    application: Application, rollout: Rollout, track: Track, observed: Observed, now: Instant
) -> Verdict:
    """Whether traffic is back with the origin and nothing is left of a new target in this region."""
    place, region = place_of(application, rollout, track), track.region
    left = _left_to_undo(place, observed) if place is not None else None
    if place is None or left is None:
        return Done()
    is_smaller = course_of(rollout.steps_reached(track)).old < FULL_PERCENT or track.refuge is not None
    growing = place.origin.group.template.growing_seconds if place.origin and is_smaller else 0.0
    drain_seconds = place.target.group.template.drain_seconds
    deadline = Instant(track.entered_at + UNDO_DEADLINE_SECONDS + drain_seconds + growing)
    patience = Instant(track.entered_at + UNREACHABLE_PATIENCE_SECONDS)
    until, expiry = (patience, Expiry.LEAVE) if is_away(region, observed) else (deadline, Expiry.DEADLINE)
    since = left.since or track.entered_at
    because = replace(left, region=region, since=since, until=until, expiry=expiry)
    if now < until:
        return Waiting(because, wake_at=until)
    if expiry is Expiry.LEAVE:
        return Done()
    # A region that is connected is waited for to the end: until then it may not be called gone back.
    seconds = deadline - track.entered_at
    reason = reason_of(Why.NOT_UNDONE, seconds=seconds, region=region, left=because.reason)
    return Failed(reason, "deadline")


def is_away(region: RegionName, observed: Observed) -> bool:
    """Nothing can be sent there now."""
    view = observed.get(region)
    return view is None or not view.is_connected or bool(view.ahead)


def _left_to_undo(place: Place, observed: Observed) -> Because | None:
    _, absent = current_report(place.application, place.target.group, place.region, observed)
    if absent is None:
        reason = _not_undone(place, observed[place.region])
        return Because(reason, place.region) if reason is not None else None
    if absent.reason.kind is Why.AGENT_AWAY:
        return replace(absent, reason=reason_of(Why.AGENT_AWAY_AT_UNDO, region=place.region))
    return absent


def _not_undone(place: Place, view: RegionView) -> Reason | None:
    target, origin = place.target, place.origin
    name, report = target.group.name, view.group(target.group.name)
    if origin is not None and origin.part.weight_bp < FULL_WEIGHT_BP:
        up = view.group(origin.group.name).balancer_up
        is_all = place.rollout.phase is Phase.UNDOING
        ways = (cli("rollback", place.application.name, now=True),) if is_all else ()
        return reason_of(Why.GROWS_BACK, *ways, group=origin.group.name, up=up, size=origin.part.size)
    if report.weight_bp > 0:
        return reason_of(Why.STILL_IN_TRAFFIC, group=name)
    if origin is not None and view.group(origin.group.name).weight_bp != FULL_WEIGHT_BP:
        return reason_of(Why.NOT_YET_IN_TRAFFIC, group=origin.group.name)
    desired = place.application.desired_in(place.region)
    requested = desired.group(name) if desired is not None else None
    is_retired = target.part.state is GroupState.RETIRING
    if is_retired and (report.present > 0 or (requested and requested.count > 0)):
        return reason_of(Why.DRAINING, group=name, hosts=report.present)
    return None
