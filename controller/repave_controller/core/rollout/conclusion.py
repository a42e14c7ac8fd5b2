"""How rollouts end, what becomes of old groups, and what begins next. Pure; part of `rollout.step`."""

from collections.abc import Iterator, Mapping

from repave_controller.core.domain.application import (
    Application,
    Because,
    GroupState,
    Instant,
    Missed,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.jobs import Moment
from repave_controller.core.domain.place import origin_in, put_part, put_sides, target_in
from repave_controller.core.domain.reasons import Happening, Reason, Why, cli, reason_of
from repave_controller.core.domain.rollout import (
    GroupNumber,
    Phase,
    Rollout,
    RolloutKind,
    Track,
    TrackPhase,
)
from repave_controller.core.rollout import jobs, queues, waves
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rollout.rollback import would_lose
from repave_controller.core.rollout.start import catch_up
from repave_controller.core.rollout.transitions import gone_back, never_begun, remembered, taken_over
from repave_controller.core.rules import guards
from repave_controller.core.rules.verdicts import Done, Failed, Waiting
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

# ---------------------------------------------------------------------------------------------- rollouts


def conclude(turn: Turn) -> None:
    """Ends the rollout once no region moves any more and none is to come."""
    rollout = turn.rollout
    if rollout is None or rollout.pause is not None:
        return
    if any(track.phase in waves.MOVING for track in rollout.tracks):
        return
    done = [track for track in rollout.tracks if track.phase is TrackPhase.DONE]
    if jobs.goes_back(rollout) and jobs.is_leaving(rollout):
        runs = (run for run in rollout.runs if run.is_open)
        turn.because += [jobs.because_ends(turn, run) for run in runs]
        return
    is_rollback = rollout.kind is RolloutKind.ROLLBACK
    if rollout.phase is Phase.UNDOING:
        if done or _are_done(turn, Moment.ON_ROLLBACK):
            _end(turn, Phase.HELD if done else rollout.undo_end, rollout.undo_reason)
    elif rollout.is_stopped:
        reason = rollout.undo_reason
        if done:
            regions = tuple(track.region for track in done)
            reason = reason_of(Why.SERVES_ONLY_IN, reason=reason, regions=regions)
        if done or _are_done(turn, Moment.ON_ROLLBACK):
            _end(turn, Phase.HELD if done else Phase.ROLLED_BACK, reason)
    elif is_rollback and not any(track.phase is TrackPhase.WAITING for track in rollout.tracks):
        stays = any(track.phase in (TrackPhase.UNDONE, TrackPhase.HELD) for track in rollout.tracks)
        if stays or not done or _are_done(turn, Moment.ON_ROLLBACK):
            _end(turn, Phase.HELD if stays or not done else Phase.SUCCEEDED, _left_out(rollout))
    elif all(track.is_settled for track in rollout.tracks):
        baking = waves.in_bake(turn.application, rollout, len(rollout.waves) - 1, turn.now)
        if baking is not None:
            turn.wait(baking)
        elif any(track.ill_at is not None for track in done):
            pass  # its region replaces hosts: that is waited for, and told
        elif done:
            if _are_done(turn, Moment.AFTER):
                _end(turn, Phase.SUCCEEDED, _left_out(rollout))
        elif _are_done(turn, Moment.ON_ROLLBACK):
            _end(turn, rollout.undo_end, rollout.undo_reason or _left_out(rollout))


def _are_done(turn: Turn, moment: Moment) -> bool:
    """Whether the jobs of the moment are; else they are waited for, or a person is."""
    rollout = turn.rollout
    assert rollout is not None, "a running rollout ends"
    if moment is Moment.ON_ROLLBACK and not jobs.owes_rollback(turn.application, rollout):
        return True
    match jobs.verdict(turn, moment):
        case Done():
            return True
        case Waiting() as waiting:
            turn.wait(waiting)
        case Failed() as failed:
            turn.because.append(jobs.because_failed(turn.application, rollout, moment, failed))
    return False


def _left_out(rollout: Rollout) -> Reason | None:
    """The regions that a rollout ended without, or that have yet to follow, and why."""
    found = tuple(
        reason_of(
            Why.IN_REGION if track.phase is TrackPhase.DONE else Why.NOT_IN_REGION,
            region=track.region,
            reason=track.reason,
        )
        for track in rollout.tracks
        if track.reason is not None and track.phase is not TrackPhase.WAITING
    )
    return reason_of(Why.LEFT_OUT, regions=found) if found else None


def hold(turn: Turn, track: Track, reason: Reason) -> None:
    """Ends the rollout where it is: a target that has been given traffic keeps it, also in a region that was
    to go back and would lose hosts by it."""
    rollout = turn.rollout
    assert rollout is not None, "a running rollout is held"
    for each in rollout.tracks:
        target = target_in(turn.application, rollout, each)
        has_traffic = target is not None and target.part.weight_bp > 0
        is_kept = each.phase is TrackPhase.RUNNING or (
            each.phase is TrackPhase.UNDOING and would_lose(turn.application, rollout, each, turn.observed)
        )
        if has_traffic and is_kept:
            turn.put_track(replace(each, phase=TrackPhase.HELD, entered_at=turn.now))
        elif each.phase in waves.MOVING:
            turn.application = gone_back(turn.application, rollout, each, turn.now)
            turn.put_track(replace(each, phase=TrackPhase.UNDONE, entered_at=turn.now))
    _end(turn, Phase.HELD, reason)


def tell_failure(turn: Turn, rollout: Rollout, reason: Reason) -> None:
    has_traffic = rollout.has_given_traffic()
    what = reason_of(
        Happening.FAILED,
        group=turn.target_name,
        reason=reason,
        has_traffic=has_traffic,
        **turn.application.shared,
    )
    turn.tell(f"{rollout.kind}.failed", what)


def _end(turn: Turn, phase: Phase, reason: Reason | None) -> None:
    rollout = turn.rollout
    assert rollout is not None, "a running rollout ends"
    if jobs.end_those_left(turn):
        return
    rollout = turn.rollout or rollout
    ended = replace(rollout, phase=phase, undo_reason=reason, ended_at=turn.now)
    missed = _skipped(turn.application, rollout, phase)
    _take_over(turn, rollout)
    others = (track for track in rollout.tracks if not _has_served(track))
    turn.application = never_begun(turn.application, rollout, others)
    earlier = _still_missed(turn.application, rollout, missed)
    turn.application = replace(turn.application, missed=(*earlier, *missed))
    turn.put(ended)
    _tell_end(turn, ended)
    _tell_kept(turn, ended)
    queues.stand_still_after(turn, ended)


def _skipped(application: Application, rollout: Rollout, phase: Phase) -> tuple[Missed, ...]:
    """The regions that the rollout left out and that are to follow, if it came to anything."""
    target = application.group(rollout.target)
    is_serving = target is not None and target.state is GroupState.SERVING
    if not (phase is Phase.SUCCEEDED or is_serving or rollout.kind is RolloutKind.ROLLBACK):
        return ()
    skipped = (track for track in rollout.tracks if track.phase is TrackPhase.SKIPPED)
    return tuple(
        Missed(track.region, group.size(track.region), group.number)
        for track in skipped
        if (group := application.group(rollout.target_of(track))) is not None
    )


def _still_missed(application: Application, rollout: Rollout, missed: tuple[Missed, ...]) -> Iterator[Missed]:
    """Those of rollouts before: what they lack serves others as yet, and they got nothing newer by the
    rollout that ends."""
    reached = {track.region for track in _served(rollout)} | {each.region for each in missed}
    for each in application.missed:
        group = application.group(each.target)
        if each.region not in reached and group is not None and group.state is GroupState.SERVING:
            yield each


def _served(rollout: Rollout) -> Iterator[Track]:
    return filter(_has_served, rollout.tracks)


def _has_served(track: Track) -> bool:
    return track.phase in (TrackPhase.DONE, TrackPhase.HELD)


def _take_over(turn: Turn, rollout: Rollout) -> None:
    """The target serves where it has come to; what that leaves of an origin to retire is remembered."""
    before, gone = turn.application, dict[GroupNumber, list[Part]]()
    served = tuple(_served(rollout))
    sides = [side for track in served for side in taken_over(before, rollout, track, turn.now)]
    turn.application = put_sides(before, sides)
    for track in served:
        origin = origin_in(turn.application, track)
        if origin is not None and origin.part.state is GroupState.RETIRING:
            gone.setdefault(origin.group.number, []).append(origin.part)
    for number, parts in gone.items():
        group = before.group(number)
        assert group is not None, "it has parts"
        turn.application = remembered(turn.application, group, *parts)


def _tell_end(turn: Turn, rollout: Rollout) -> None:
    turn.tell_of_steps()
    name, reason = turn.target_name, rollout.undo_reason
    match rollout.phase:
        case Phase.SUCCEEDED:
            what = reason_of(Happening.SUCCEEDED, rollout=str(rollout.kind), group=name, reason=reason)
        case Phase.HELD:
            what = reason_of(Happening.HOLDS, group=name, reason=reason)
        case phase:
            what = reason_of(Happening.ENDED, group=name, phase=str(phase), reason=reason)
    turn.tell(f"{rollout.kind}.{rollout.phase}", what)


def _tell_kept(turn: Turn, rollout: Rollout) -> None:
    seconds = turn.application.policy.keep_failed_seconds
    for number in rollout.targets:
        group = turn.application.group(number)
        parts = group.parts if group is not None else ()
        failed = tuple(part.region for part in parts if part.state is GroupState.FAILED)
        if group is not None and failed:
            what = reason_of(Happening.GROUP_KEPT, group=group.name, regions=failed, seconds=seconds)
            turn.tell("group.kept", what, group)


# ------------------------------------------------------------------------------------------- old groups


def retire_old_groups(turn: Turn) -> None:
    """Old groups go when the policy lets them; never while a rollout may still want them back."""
    if turn.application.running is not None:
        return
    retired: dict[GroupNumber, list[Part]] = {}
    for region in turn.application.regions:
        gone, until = too_old(turn.application, region, turn.now)
        turn.wakes += [until] if until is not None else []
        for group, part in gone:
            guard = guards.traffic(turn.application, region, turn.observed)
            if guard.refuses and _hears(turn, region):
                stays = reason_of(
                    Why.OLD_GROUP_STAYS, *guard.reason.remedies, group=group.name, answer=guard.reason
                )
                turn.because.append(Because(stays, region))
                continue
            retired.setdefault(group.number, []).append(part)
            retiring = replace(part, state=GroupState.RETIRING, percent=0.0)
            turn.application = put_part(turn.application, group, retiring)
    for number, parts in retired.items():
        left = turn.application.group(number)
        assert left is not None, "it has parts"
        turn.application = remembered(turn.application, left, *parts)
    _tell_retired(turn, {number: [part.region for part in parts] for number, parts in retired.items()})


def _tell_retired(turn: Turn, retired: Mapping[GroupNumber, list[RegionName]]) -> None:
    for number, regions in retired.items():
        group = next(each for each in turn.application.groups if each.number == number)
        where = () if len(regions) == len(group.parts) else tuple(regions)
        is_adopted = int(group.is_adopted)
        what = reason_of(Happening.GROUP_RETIRES, group=group.name, regions=where, is_adopted=is_adopted)
        turn.tell("group.retiring", what, group)


def end_failed_groups(turn: Turn) -> None:
    """Of the groups that failed the last one is kept to be looked at, for its time; also while a rollout
    runs, which never goes to it."""
    ended: dict[GroupNumber, list[RegionName]] = {}
    for region in turn.application.regions:
        gone, until = looked_at(turn.application, region, turn.now)
        turn.wakes += [until] if until is not None else []
        for group, part in gone:
            ended.setdefault(group.number, []).append(region)
            retiring = replace(part, state=GroupState.RETIRING, percent=0.0)
            turn.application = put_part(turn.application, group, retiring)
    _tell_retired(turn, ended)
    for group in turn.application.groups:
        failed = [part.region for part in group.parts if part.state is GroupState.FAILED]
        if failed:
            turn.because.append(_because_failed(turn.application, group, failed))


def looked_at(
    application: Application, region: RegionName, now: Instant
) -> tuple[list[tuple[ServerGroup, Part]], Instant | None]:
    """The failed groups that are kept no longer in the region, and when the one that stays follows."""
    failed = [
        (part.failed_at or Instant(0), group, part)
        for group in application.groups
        if (part := group.part(region)) is not None and part.state is GroupState.FAILED
    ]
    failed.sort(key=lambda each: (each[0], each[1].number))
    if not failed:
        return [], None
    until = failed_until(application, failed[-1][0])
    stays = 1 if now < until else 0
    return [(group, part) for _, group, part in failed[: len(failed) - stays]], until if stays else None


def failed_until(application: Application, failed_at: Instant) -> Instant:
    return Instant(failed_at + application.policy.keep_failed_seconds)


def _because_failed(application: Application, group: ServerGroup, regions: list[RegionName]) -> Because:
    retire = cli("groups retire", application.name, group.name)
    where = () if len(regions) == len(group.parts) else tuple(regions)
    reason = reason_of(
        Why.KEPT_FAILED, cli("hosts", application.name), retire, group=group.name, regions=where
    )
    at = group.failed_at or Instant(0)
    return Because(reason, since=at, until=failed_until(application, at))


def _hears(turn: Turn, region: RegionName) -> bool:
    """A region that is away is not waited for: it can't do anything until it has heard of it anyway."""
    view = turn.observed.get(region)
    return view is not None and view.is_connected


def too_old(
    application: Application, region: RegionName, now: Instant
) -> tuple[list[tuple[ServerGroup, Part]], Instant | None]:
    """The warm groups that the policy keeps no longer in the region, and when the next one follows."""
    policy, until_next = application.policy, None
    warm = [
        (group, part)
        for group in application.groups
        if (part := group.part(region)) is not None and part.state is GroupState.WARM
    ]
    warm.sort(key=lambda each: (each[1].left_traffic_at or 0.0, each[0].number), reverse=True)
    gone = []
    for index, (group, part) in enumerate(warm):
        until = Instant((part.left_traffic_at or 0.0) + policy.keep_seconds)
        if index < policy.keep_groups and (index < policy.retain or now < until):
            if index >= policy.retain:
                until_next = min(until, until_next if until_next is not None else until)
            continue
        gone.append((group, part))
    return gone, until_next


def forget_gone_groups(turn: Turn) -> None:
    """A retiring group is forgotten where a region has nothing left of it, and at last altogether."""
    running = turn.application.running
    for group in turn.application.groups:
        if running is not None and group.number in running.targets:
            continue
        left, gone = [], []
        for part in group.parts:
            if part.state is not GroupState.RETIRING:
                continue
            if _is_gone(turn, group, part.region):
                gone.append(part.region)
            else:
                left.append(part.region)
                if turn.application.deletion is not None:
                    turn.because.append(_because_deleting(turn, group, part.region))
        if gone:
            turn.application = turn.application.with_group(group.without(*gone))
        _say_who_is_away(turn, group, left)
    for group in turn.application.groups:
        is_target = running is not None and group.number in running.targets
        if not group.parts and not is_target:
            rest = tuple(other for other in turn.application.groups if other.number != group.number)
            turn.application = replace(turn.application, groups=rest)
            is_adopted = int(group.is_adopted)
            what = reason_of(Happening.GROUP_DESTROYED, group=group.name, is_adopted=is_adopted)
            turn.tell("group.destroyed", what, group)
            if turn.application.is_gone:
                turn.tell("application.deleted", reason_of(Happening.GONE, application=turn.application.name))


def _because_deleting(turn: Turn, group: ServerGroup, region: RegionName) -> Because:
    view = turn.observed.get(region)
    hosts = view.group(group.name).present if view is not None else 0
    return Because(reason_of(Why.DELETING, hosts=hosts), region)


def say_who_follows(turn: Turn) -> None:
    """Regions that a rollback ended without, until they have heard of it, and those that missed a rollout."""
    rollout = turn.application.rollout
    told = set()
    for track in rollout.tracks if rollout is not None and rollout.phase.is_over else ():
        view, reason = turn.observed.get(track.region), track.reason
        is_away = view is None or not view.is_connected
        if is_away and reason is not None and reason.kind in (Why.FOLLOWS, Why.SKIPPED):
            told.add(track.region)
            turn.because.append(Because(reason, track.region, view.since if view is not None else None))
    for missed in turn.application.missed if turn.application.running is None else ():
        view = turn.observed.get(missed.region)
        if (view is None or not view.is_connected) and missed.region not in told:
            since = view.since if view is not None else None
            turn.because.append(Because(reason_of(Why.SKIPPED), missed.region, since))


def _say_who_is_away(turn: Turn, group: ServerGroup, regions: list[RegionName]) -> None:
    """The rollout no longer waits for these regions, but something may be left of the group there."""
    for region in regions if turn.application.running is None else ():
        view = turn.observed.get(region)
        if view is None or not view.is_connected:
            since = view.since if view is not None else None
            reason = reason_of(Why.AGENT_AWAY_AT_END, region=region, group=group.name)
            turn.because.append(Because(reason, region, since))


def _is_gone(turn: Turn, group: ServerGroup, region: RegionName) -> bool:
    """Only a report made under a desired state that asked for the end of the group counts."""
    desired = turn.application.desired_in(region)
    asked = desired.group(group.name) if desired else None
    if desired is None or asked is None or asked.count > 0:
        return False
    view = turn.observed.get(region)
    if view is None or view.report is None or view.report.epoch < desired.epoch:
        return False
    report = view.group(group.name)
    # Requests may outlive the hosts for a moment: who is forgotten is drained no longer.
    return report.present == 0 and report.weight_bp == 0 and report.balancer_up == 0 and report.in_flight == 0


# ------------------------------------------------------------------------------------------ what is next


def start_next(turn: Turn) -> None:
    """The first queued release, or regions that were away and are back."""
    if turn.application.running is not None or not (turn.application.queue or turn.application.missed):
        return
    if any(view.ahead for view in turn.observed.values()):  # its group's number may be taken there
        return
    if queues.may_go_on(turn.application):
        queues.start_first(turn)
        return
    back = [
        each
        for each in turn.application.missed
        if (view := turn.observed.get(each.region)) is not None and view.is_connected
    ]
    if back:
        turn.application, events = catch_up(turn.application, tuple(back), turn.now)
        turn.events.extend(events)
