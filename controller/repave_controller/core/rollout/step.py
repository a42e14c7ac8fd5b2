"""Decides the next move of an application: the one step function of the controller.

`step` takes what was decided so far, what the regions observe and the time, and returns what shall be saved
and published. It is level-triggered: called at any moment, as often as one likes, it moves only when what it
sees allows. Each region goes its own way through the steps; `waves.py` says when it may. Commands of people
enter through `commands/`; what a step makes of a region, and when it is done, is in `steps/`, the way back in
`rollback.py`.
"""

from collections.abc import Collection, Iterable, Mapping

from repave_controller.core.domain.application import (
    Application,
    Because,
    Decision,
    Expiry,
    GroupState,
    Instant,
    Observed,
    Outcome,
    Tenure,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.jobs import Moment
from repave_controller.core.domain.limits import Wants, wants_of, with_region
from repave_controller.core.domain.place import target_in
from repave_controller.core.domain.reasons import Happening, Reason, Why, cli, reason_of
from repave_controller.core.domain.rollout import (
    LOOK_SECONDS,
    Pause,
    Phase,
    Rollout,
    RolloutKind,
    Track,
    TrackPhase,
)
from repave_controller.core.rollout import baselines, conclusion, drains, jobs, protection, queues, waves
from repave_controller.core.rollout.desired_state import publish
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rollout.failure import FailureKind
from repave_controller.core.rollout.holds import has_way_back_from, ways_on
from repave_controller.core.rollout.renewal import renew
from repave_controller.core.rollout.rollback import (
    has_to_follow,
    may_return,
    must_switch,
    turned_round,
    undo,
    undone,
)
from repave_controller.core.rollout.room import making_room
from repave_controller.core.rollout.transitions import gone_back
from repave_controller.core.rules import scaling
from repave_controller.core.rules.guards import NO_CONSTRAINTS, Constraints, standing
from repave_controller.core.rules.verdicts import Done, Failed, Verdict, Waiting, current_report, illness_of
from repave_controller.core.steps.step import all_entered, judge, refusing
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName


def step(
    application: Application,
    observed: Observed,
    now: Instant,
    tenure: Tenure,
    constraints: Constraints = NO_CONSTRAINTS,
) -> Decision:
    """Moves `application` on as far as `observed` and the `constraints` allow."""
    turn = Turn(application, observed, now, constraints, tenure.incarnation)
    for _ in range(_moves_max(application)):
        before = turn.application
        turn.begin_again()
        baselines.settle(turn)
        _advance(turn)
        if turn.application == before and not turn.take_in_clocks():
            break
    turn.tell_of_steps()
    conclusion.retire_old_groups(turn)
    conclusion.end_failed_groups(turn)
    conclusion.forget_gone_groups(turn)
    conclusion.say_who_follows(turn)
    if turn.application.rollout == application.rollout:  # an end is saved before the next one begins
        conclusion.start_next(turn)
    _note_look(turn)
    turn.application = scaling.forgotten(turn.application)
    turn.because += scaling.because(turn.application)
    stands = queues.because(turn.application)
    turn.because += [stands] if stands is not None else []
    _renew(turn)
    drains.note(turn)
    published = publish(turn.application, tenure)
    changed = tuple(pair for pair in published if pair != application.desired.find(pair[0]))
    return Decision(
        application=replace(turn.application, desired=published),
        desired=changed,
        events=tuple(turn.events),
        wake_at=min(turn.wakes, default=None),
        because=tuple(turn.because),
    )


def held(application: Application, reason: Reason, now: Instant) -> Outcome:
    """The application with its rollout held, and nothing else changed; itself where that can't be."""
    rollout = application.running
    if rollout is None or rollout.phase is Phase.UNDOING or (rollout.pause and rollout.pause.is_hold):
        return application, ()
    turn = Turn(application, {}, now, NO_CONSTRAINTS)
    protection.hold_still(turn, reason, None)
    return turn.application, tuple(turn.events)


def _note_look(turn: Turn) -> None:
    """Nothing is waited for while it is paused."""
    rollout = turn.rollout
    if rollout is None or rollout.pause is not None:
        return
    looked_at = rollout.looked_at
    if looked_at is None or turn.now >= looked_at + LOOK_SECONDS:
        looked_at = turn.now
        turn.put(replace(rollout, looked_at=looked_at))
    turn.wakes.append(Instant(looked_at + LOOK_SECONDS))


def _renew(turn: Turn) -> None:
    """Worn hosts are replaced while no rollout runs, and only when a release might begin."""
    busy = turn.application.regions if turn.application.running is not None else ()
    closed = standing(turn.application, turn.now, turn.constraints)
    why = dict.fromkeys(turn.application.regions, closed.waiting) if closed else None
    renewed = renew(turn.application, turn.observed, turn.now, busy, why)
    turn.application = renewed.application
    turn.events += renewed.events
    turn.because += renewed.because
    if closed is not None and closed.until is not None and renewed.because:
        turn.wakes.append(closed.until)


def _moves_max(application: Application) -> int:
    """More passes than one call can need: every wave through every step, and the end."""
    rollout = application.running
    return (len(rollout.steps) + 2) * (len(rollout.waves) + 2) + 8 if rollout is not None else 1


def after_suspension(application: Application, now: Instant) -> Application:
    """The application after a time in which no controller looked at it. Who did not look has not seen: it
    counts for no soak, bake or time for objections. Deadlines begin again, since what the regions have done
    meanwhile has yet to be heard. A pause has a clock of its own."""
    rollout = application.running
    if rollout is None:
        return application
    looked_at = rollout.looked_at if rollout.looked_at is not None else now
    away = Instant(max(0.0, now - looked_at) if rollout.pause is None else 0.0)
    tracks = ByRegion(_after_suspension(track, away, now) for track in rollout.tracks)
    asked_at = Instant(rollout.asked_at + away) if rollout.asked_at is not None else None
    runs = tuple(replace(run, asked_at=now) if run.is_open else run for run in rollout.runs)
    looked = replace(rollout, tracks=tracks, asked_at=asked_at, looked_at=now, runs=runs)
    return replace(application, rollout=looked)


def _after_suspension(track: Track, away: Instant, now: Instant) -> Track:
    if track.phase is TrackPhase.UNDOING:
        return track.entered(track.phase, now)
    track = (track.delayed(min(away, now - track.entered_at)) if track.has_begun else track).seen(now)
    return replace(
        track,
        progressed_at=now if track.phase is TrackPhase.RUNNING else track.progressed_at,
        blocked_at=now if track.blocked_at is not None else None,
        ill_at=now if track.ill_at is not None else None,
    )


# ----------------------------------------------------------------------------------------- the rollout


def _advance(turn: Turn) -> None:
    rollout = turn.application.running
    if rollout is None:
        return
    turn.because.extend(protection.refuges(turn.application, rollout))
    jobs.note(turn)
    rollout = turn.application.running
    if rollout is None:
        return
    if rollout.pause is not None:
        for troubled in protection.troubled(turn):
            protection.protect(turn, *troubled)
        turn.because.append(_because_paused(turn, rollout, rollout.pause))
        _go_on_back(turn)
        return
    for region in [track.region for track in rollout.tracks if track.phase is TrackPhase.DONE]:
        _watch_finished(turn, region)
    under_way = [track.region for track in rollout.tracks if track.phase is TrackPhase.RUNNING]
    _begin_tracks(turn)
    verdicts = _verdicts(turn, under_way)
    done = {region for region, verdict in verdicts.items() if isinstance(verdict, Done)}
    together = waves.steps_done(turn.application.running or rollout, done)
    going_on: list[Track] = []
    for region in [track.region for track in rollout.tracks]:
        now = turn.rollout
        track = now.track(region) if now is not None else None
        if now is None or track is None or now.pause is not None:
            return
        match track.phase:
            case TrackPhase.RUNNING if has_to_follow(now, track, turn.observed):
                _follow(turn, now, track)
            case TrackPhase.RUNNING if must_switch(turn.application, now, track, turn.observed):
                _enter(turn, [(track, len(now.steps) - 1)])
            case TrackPhase.RUNNING if region in verdicts:
                is_left_out = _is_left_out(turn, now, track, verdicts[region])
                if not is_left_out and _run(turn, now, track, verdicts[region], together):
                    going_on.append(track)
            case TrackPhase.UNDOING:
                _undo(turn, now, track)
            case _:
                pass
    _complete(turn, going_on)
    _protect(turn)
    conclusion.conclude(turn)


def _protect(turn: Turn) -> None:
    """A side that can't serve its share loses it: the target fails, for the origin the target steps in."""
    for track, sides, refuge in protection.troubled(turn):
        rollout = turn.rollout
        if rollout is None or rollout.pause is not None or rollout.phase is not Phase.RUNNING:
            return  # seen to in the next pass
        if refuge is sides.target:
            protection.protect(turn, track, sides, refuge)
        else:
            _fail(turn, rollout, track, protection.illness_by(track, sides))


def _go_on_back(turn: Turn) -> None:
    """A pause holds no region up that goes back."""
    for region in [track.region for track in turn.rollout.tracks] if turn.rollout is not None else ():
        rollout = turn.rollout
        track = rollout.track(region) if rollout is not None else None
        if rollout is not None and track is not None and track.phase is TrackPhase.UNDOING:
            _undo(turn, rollout, track)


def _verdicts(turn: Turn, regions: Iterable[RegionName]) -> dict[RegionName, Verdict]:
    """On the step that each of these is in; who has begun only now is judged in the next pass."""
    rollout = turn.rollout
    tracks = (rollout.track(region) for region in regions) if rollout is not None else ()
    return {
        track.region: judge(turn.application, rollout, track, turn.observed, turn.now)
        for track in tracks
        if rollout is not None and track is not None and track.phase is TrackPhase.RUNNING
    }


def _because_paused(turn: Turn, rollout: Rollout, pause: Pause) -> Because:
    name = turn.application.name
    if pause.is_hold:
        ways = ways_on(turn.application, rollout, turn.observed)
        reason = reason_of(Why.HELD, *ways, reason=pause.reason)
    else:
        back = (cli("rollback", name),) if has_way_back_from(rollout) else ()
        reason = reason_of(Why.PAUSED, cli("resume", name), *back, by=pause.by, reason=pause.reason)
    return Because(reason, since=pause.at)


def _begin_tracks(turn: Turn) -> None:
    rollout = turn.rollout
    wave = waves.next_wave(rollout) if rollout is not None else None
    if rollout is None or wave is None or not turn.is_going_on:
        return
    waiting = waves.before_wave(turn.application, rollout, wave, turn.now)
    if waiting is not None:
        if waiting.because.reason.kind in (Why.APPROVE_WAVE, Why.APPROVE_WAVE_UNLESS):
            _ask_for_wave(turn, rollout, wave, waiting)
        else:
            turn.wait(waiting)
        return
    if rollout.asked_at is not None:
        turn.put(replace(rollout, asked_at=None))
    others, is_limited = turn.constraints.others, turn.constraints.limits.is_any_set
    under_way = wants_of(turn.application, others) if is_limited else Wants()
    room, beginning = waves.room(rollout, wave), list[Track]()
    for track in waves.tracks_of(rollout, wave):
        if track.phase is TrackPhase.WAITING and room > len(beginning) and turn.is_going_on:
            wants = under_way
            if is_limited:
                wants = with_region(under_way, turn.application, track.region, others)
            if _may_begin(turn, track, wants):
                beginning.append(track)
                under_way = wants
    if turn.is_going_on:
        _enter(turn, [(track, track.cursor) for track in beginning])


def _ask_for_wave(turn: Turn, rollout: Rollout, wave: int, waiting: Waiting) -> None:
    """The wave waits for a person; as long as it says, where it does."""
    until = waves.expires_at(rollout, wave, turn.now)
    is_asked = waiting.because.reason.kind is Why.APPROVE_WAVE
    if is_asked and until is not None and turn.now >= until:
        seconds = rollout.waves[wave].expires_seconds
        _give_wave_up(turn, rollout, reason_of(Why.WAVE_NOT_APPROVED, wave=wave + 1, seconds=seconds))
        return
    if rollout.asked_at is None:
        turn.put(replace(rollout, asked_at=turn.now))
        if is_asked:
            regions = tuple(each.region for each in waves.tracks_of(rollout, wave))
            turn.tell_of_gate(waves.gate_of_wave(wave), rollout.waves[wave].approve or "", regions)
    turn.wait(waiting)


def _give_wave_up(turn: Turn, rollout: Rollout, reason: Reason) -> None:
    effect = protection.Effects(turn.application, rollout, turn.observed).of_wave()
    turn.tell_of_steps()
    match effect.kind:
        case FailureKind.KEEP:
            protection.keep_larger(turn, effect.regions, reason)
        case FailureKind.PAUSE:
            protection.hold_still(turn, reason, None)
        case FailureKind.UNDO:
            conclusion.tell_failure(turn, rollout, reason)
            turn.application = undo(turn.application, rollout, reason, Phase.ROLLED_BACK, turn.now)
        case _:
            turn.put(replace(rollout, is_stopped=True, undo_reason=reason))
            turn.tell("release.stopped", reason_of(Happening.STOPPED, group=turn.target_name, reason=reason))


def _may_begin(turn: Turn, track: Track, wants: Wants) -> bool:
    """Whether the region begins now; `wants` is what the application has under way if it does."""
    rollout = turn.rollout
    assert rollout is not None, "a region of a rollout begins"
    skipped, waiting = waves.when_away(turn.application, rollout, track, turn.observed, turn.now)
    if skipped is not None:
        _skip(turn, skipped)
    elif (waits := waiting or making_room(turn.application, rollout, track, turn.observed)) is not None:
        turn.wait(waits)
    elif not _is_guarded(turn, rollout, track, track.cursor, wants):
        return _are_jobs_done(turn, rollout)
    return False


def _are_jobs_done(turn: Turn, rollout: Rollout) -> bool:
    """The jobs before the release run when its first region could begin, and before any does."""
    match jobs.verdict(turn, Moment.BEFORE):
        case Done():
            return True
        case Waiting() as waiting:
            if waiting.because not in turn.because:
                turn.wait(waiting)
        case Failed(reason):
            conclusion.tell_failure(turn, rollout, reason)
            turn.application = undo(turn.application, rollout, reason, Phase.ROLLED_BACK, turn.now)
    return False


def _enter(turn: Turn, entering: Collection[tuple[Track, int]]) -> None:
    """Each of these regions enters the step at that index, all at once."""
    rollout = turn.rollout
    if rollout is None or not entering:
        return
    for track, cursor in entering:
        turn.note_step(track, cursor)
    tracks = [_in_step(rollout, track, cursor, turn.now) for track, cursor in entering]
    turn.application = all_entered(turn.application, rollout, tracks)


def _in_step(rollout: Rollout, track: Track, cursor: int, now: Instant) -> Track:
    return track.entered(
        TrackPhase.RUNNING,
        now,
        cursor=cursor,
        scaled_at=now if rollout.steps[cursor].is_launch else track.scaled_at,
        refuge=track.refuge if track.refuge == rollout.target_of(track) else None,
    )


def _is_left_out(turn: Turn, rollout: Rollout, track: Track, verdict: Verdict) -> bool:
    """Whether a region that was lost before its traffic moved is skipped or waited for by policy. What a
    person could end meanwhile is told as well."""
    if rollout.has_given_traffic(track) or isinstance(verdict, Failed):
        return False
    skipped, waiting = waves.when_away(turn.application, rollout, track, turn.observed, turn.now)
    if skipped is not None:
        turn.application = gone_back(turn.application, rollout, track, turn.now, has_failed=False)
        _skip(turn, skipped)
    elif waiting is not None:
        turn.put_track(track.looked_for(turn.now))
        turn.wait(waiting)
        step = rollout.step(track)
        if isinstance(verdict, Waiting) and (step.is_timed or step.approver is not None):
            turn.wait(verdict)
    return skipped is not None or waiting is not None


def _skip(turn: Turn, skipped: Track) -> None:
    turn.put_track(skipped)
    what = reason_of(
        Happening.REGION_SKIPPED, group=turn.target_name, region=skipped.region, reason=skipped.reason
    )
    turn.tell("region.skipped", what)


def _run(turn: Turn, rollout: Rollout, track: Track, verdict: Verdict, together: Mapping[int, int]) -> bool:
    """Whether the region goes on; `together`: the steps that all regions of a wave have done."""
    track = _looked_at(turn, track, verdict)
    match verdict:
        case Done() if track.cursor < together.get(track.wave, len(rollout.steps)):
            is_last = rollout.following(track) is None
            return is_last or not _is_guarded(turn, rollout, track, track.cursor + 1)
        case Failed():
            _fail(turn, rollout, track, verdict)
        case Waiting():
            _wait(turn, rollout, track, verdict)
        case Done():
            pass  # in lock-step: what the others wait for is told
    return False


def _looked_at(turn: Turn, track: Track, verdict: Verdict) -> Track:
    """The track with the clock of each of its waits: what it waits for no longer has none."""
    is_guarded = isinstance(verdict, Done) or track.blocked_at is None
    looked = track if is_guarded else replace(track, blocked_at=None)
    if isinstance(verdict, Waiting) and verdict.is_unseen:
        looked = looked.looked_for(turn.now)
    else:
        looked = looked.seen(turn.now).healing(isinstance(verdict, Waiting) and verdict.is_healing, turn.now)
    if isinstance(verdict, Waiting) and not verdict.is_unseen:
        looked = looked.progressing(verdict.progress, turn.now)
    if looked is not track:
        turn.note_clocks(looked)
    return looked


def _wait(turn: Turn, rollout: Rollout, track: Track, waiting: Waiting) -> None:
    """Progress resets the step's deadline; without any the step fails when it is over. A region that is not
    seen has as long to be seen again."""
    step = rollout.step(track)
    seconds = step.deadline_seconds
    if not waiting.has_deadline or not seconds:
        turn.wait(waiting)
        return
    since = track.unseen_at if track.unseen_at is not None else track.progressed_at
    deadline = Instant(since + seconds)
    if turn.now >= deadline:
        reason = reason_of(
            Why.NO_PROGRESS,
            step=step.kind,
            seconds=seconds,
            region=track.region,
            waiting=waiting.because.reason,
        )
        is_beside = step.is_baseline and not waiting.is_unseen
        _fail(turn, rollout, track, Failed(reason, "undecided" if is_beside else "deadline"))
        return
    turn.wakes.append(min(deadline, waiting.wake_at or deadline))
    turn.because.append(replace(waiting.because, until=deadline, expiry=Expiry.DEADLINE))


def _complete(turn: Turn, going_on: Iterable[Track]) -> None:
    """These regions have done their step, and enter the next one; not where another one's failure has turned
    them round meanwhile."""
    rollout = turn.rollout
    if rollout is None or rollout.pause is not None:
        return
    entering, ended = list[tuple[Track, int]](), list[Track]()
    for track in going_on:
        now = rollout.track(track.region)
        if now is None or now.phase is not TrackPhase.RUNNING:
            continue
        if rollout.following(track) is not None:
            _learn(turn, rollout, track)
            entering.append((track, track.cursor + 1))
            continue
        turn.note_step(track, track.cursor + 1)
        ended.append(track.entered(TrackPhase.DONE, turn.now))
        if rollout.kind is RolloutKind.RELEASE and len(rollout.tracks) > 1 and not _is_together(rollout):
            what = reason_of(Happening.REGION_DONE, group=turn.target_name, region=track.region)
            turn.tell("region.done", what, region=track.region)
    turn.put(rollout.with_tracks(ended))
    _enter(turn, entering)


def _follow(turn: Turn, rollout: Rollout, track: Track) -> None:
    """The region of a rollback is away: after a while the rollout ends without it. A proven group has all its
    traffic by decision then, so that it follows once it hears of it; one that is not is caught up."""
    view = turn.observed.get(track.region)
    since = max(track.progressed_at, view.since if view is not None else track.progressed_at)
    until = Instant(since + waves.UNREACHABLE_PATIENCE_SECONDS)
    if turn.now < until:
        away = reason_of(Why.AGENT_AWAY_AT_UNDO, region=track.region)
        turn.wait(Waiting(Because(away, track.region, since, until, Expiry.LEAVE), wake_at=until))
        return
    target = target_in(turn.application, rollout, track)
    if target is None or target.part.state is GroupState.NEW:
        turn.application = gone_back(turn.application, rollout, track, turn.now, has_failed=False)
        skipped = reason_of(Why.SKIPPED)
        turn.put_track(replace(track.entered(TrackPhase.SKIPPED, turn.now), reason=skipped))
        return
    last = len(rollout.steps) - 1
    if track.cursor < last:
        _enter(turn, [(track, last)])
    follows = reason_of(Why.FOLLOWS, region=track.region, group=target.group.name)
    turn.put_track(replace(track.entered(TrackPhase.DONE, turn.now), cursor=last, reason=follows))


def _is_together(rollout: Rollout) -> bool:
    return len(rollout.waves) == 1 and rollout.waves[0].is_lockstep


def _learn(turn: Turn, rollout: Rollout, track: Track) -> None:
    """How long fresh hosts take to be proven here, for the next plan."""
    if rollout.step(track).is_proof and track.scaled_at is not None:
        took, known = turn.now - track.scaled_at, turn.application.launch_seconds
        seconds = round((took + known) / 2 if known else took, 3)
        if seconds != known:
            turn.application = replace(turn.application, launch_seconds=seconds)


def _is_guarded(turn: Turn, rollout: Rollout, track: Track, cursor: int, wants: Wants | None = None) -> bool:
    """Whether a rule stands against the next step; it is waited for. Hosts that are missing have the time of
    the step, or that in which they are replaced."""
    step = rollout.steps[cursor]
    guard = refusing(turn.application, rollout, track, step, turn.observed, turn.now, turn.constraints, wants)
    blocked_at = (track.blocked_at or turn.now) if guard is not None and guard.rule == "capacity" else None
    if blocked_at != track.blocked_at:
        track = replace(track, blocked_at=blocked_at)
        turn.put_track(track)
    if guard is None:
        return False
    because = replace(guard.because(track.region), expiry=Expiry.PROGRESS)
    if blocked_at is not None:
        seconds = max(step.deadline_seconds, turn.application.policy.heal_seconds)
        deadline = Instant(blocked_at + seconds)
        if turn.now >= deadline:
            reason = reason_of(
                Why.GUARD_FOR_TOO_LONG, region=track.region, seconds=seconds, answer=guard.reason
            )
            _fail(turn, rollout, track, Failed(reason))
            return True
        because = replace(because, until=deadline, expiry=Expiry.ILLNESS)
    turn.wakes += [because.until] if because.until is not None else []
    turn.because.append(because)
    return True


def _watch_finished(turn: Turn, region: RegionName) -> None:
    """A finished region whose new group falls ill, and isn't healed, fails the release while that runs."""
    rollout = turn.rollout
    track = rollout.track(region) if rollout is not None else None
    if rollout is None or track is None or track.phase is not TrackPhase.DONE:
        return
    target = target_in(turn.application, rollout, track)
    is_over = rollout.phase is not Phase.RUNNING or rollout.pause is not None
    if target is None or is_over or rollout.kind is RolloutKind.ROLLBACK:
        return
    _, absent = current_report(turn.application, target.group, track.region, turn.observed)
    if absent is not None:
        turn.put_track(track.looked_for(turn.now))
        return
    track = track.seen(turn.now)
    illness = illness_of(turn.application, target, track, turn.observed, turn.now)
    turn.put_track(track.healing(isinstance(illness, Waiting), turn.now))
    match illness:
        case Failed():
            reason = reason_of(Why.ILL_WHEN_DONE, illness=illness.reason)
            _fail(turn, rollout, track, replace(illness, reason=reason))
        case Waiting():
            turn.wait(illness)
        case None:
            pass


# --------------------------------------------------------------------------------------------- failure


def _fail(turn: Turn, rollout: Rollout, track: Track, failed: Failed) -> None:
    name, reason = turn.target_name, failed.reason
    effect = protection.Effects(turn.application, rollout, turn.observed).of(track, failed.cause)
    turn.tell_of_steps()
    match effect.kind:
        case FailureKind.KEEP:
            if effect.back:
                _go_back_alone(turn, rollout, track, reason)
            protection.keep_larger(turn, effect.regions, reason)
        case FailureKind.END:
            conclusion.hold(turn, track, reason)
        case FailureKind.PAUSE:
            pause = Pause(turn.now, reason=reason, is_hold=True, region=track.region)
            turn.put(replace(rollout, pause=pause))
            turn.tell(f"{rollout.kind}.held", reason_of(Happening.HOLDS, group=name, reason=reason))
        case FailureKind.STAY:
            turn.put_track(replace(track.entered(TrackPhase.HELD, turn.now), reason=reason))
            what = reason_of(Happening.REGION_FAILED, group=name, reason=reason)
            turn.tell("region.failed", what, region=track.region)
        case FailureKind.CONTINUE:
            _turn_round(turn, effect.regions, reason)
            what = reason_of(Happening.REGION_FAILED, group=name, reason=reason)
            turn.tell("region.failed", what, region=track.region)
        case FailureKind.STOP:
            turn.put(replace(rollout, is_stopped=True, undo_reason=reason))
            _turn_round(turn, effect.regions, reason)
            wave = effect.wave + 1 if effect.wave is not None else None
            what = reason_of(
                Happening.SCOPE_FAILED, group=name, reason=reason, wave=wave, region=track.region
            )
            turn.tell("region.failed", what, region=track.region)
        case FailureKind.UNDO:
            conclusion.tell_failure(turn, rollout, reason)
            turn.application = undo(turn.application, rollout, reason, Phase.ROLLED_BACK, turn.now)


def _go_back_alone(turn: Turn, rollout: Rollout, track: Track, reason: Reason) -> None:
    """The region that failed: going back would harm others, so these stay until a person decides."""
    turn.put(replace(rollout, is_stopped=True, undo_reason=reason))
    _turn_round(turn, (track.region,), reason)
    name, region = turn.target_name, track.region
    what = reason_of(Happening.SCOPE_FAILED, group=name, reason=reason, wave=None, region=region)
    turn.tell("region.failed", what, region=region)


def _turn_round(turn: Turn, regions: Iterable[RegionName], reason: Reason) -> None:
    for region in regions:
        rollout = turn.rollout
        track = rollout.track(region) if rollout is not None else None
        assert rollout is not None, "a running rollout fails"
        assert track is not None, "its own regions go back"
        turn.application, changed = turned_round(turn.application, rollout, track, reason, turn.now)
        turn.put_track(changed)


def _undo(turn: Turn, rollout: Rollout, track: Track) -> None:
    if may_return(turn.application, rollout, track, turn.observed, turn.now):
        turn.application = gone_back(turn.application, rollout, track, turn.now)
        return  # what is observed speaks of the wish before
    match undone(turn.application, rollout, track, turn.observed, turn.now):
        case Done():
            # Also where the region is away.
            turn.application = gone_back(turn.application, rollout, track, turn.now)
            turn.put_track(replace(track, phase=TrackPhase.UNDONE, entered_at=turn.now))
        case Failed(reason):
            why = reason_of(Why.UNDO_FAILED, reason=rollout.undo_reason or track.reason, failure=reason)
            _fail(turn, rollout, track, Failed(why, "deadline"))
        case Waiting() as waiting:
            turn.wait(waiting)
