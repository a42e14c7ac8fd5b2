"""What people may ask of a rollout on its way: pause, resume, go back a step, retry, leave a region out,
change a size. Pure, like `release.py`; what may be gone past is in `promotion.py`."""

from dataclasses import dataclass

from repave_controller.core.commands.release import event_of
from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.domain import rollout as rollouts
from repave_controller.core.domain.application import (
    FULL_PERCENT,
    UNWANTED,
    Application,
    GroupState,
    Instant,
    Observed,
    Outcome,
    Part,
    hosts_of,
)
from repave_controller.core.domain.bounds import excess
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.hosts import hosts_left
from repave_controller.core.domain.place import place_of, put_part
from repave_controller.core.domain.reasons import (
    Happening,
    Reason,
    Refusal,
    Refused,
    Why,
    cli,
    in_words,
    reason_of,
)
from repave_controller.core.domain.rollout import (
    GroupNumber,
    Pass,
    Phase,
    Rollout,
    RolloutKind,
    Track,
    TrackPhase,
)
from repave_controller.core.domain.scaling import Sized
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.domain.steps import course_of
from repave_controller.core.rollout.gates import approvals_in
from repave_controller.core.rollout.holds import ways_on
from repave_controller.core.rollout.protection import losing_regions
from repave_controller.core.rollout.rollback import turned_round
from repave_controller.core.rules.looks import tried_again
from repave_controller.core.rules.verdicts import gate_of
from repave_controller.core.steps import Weight
from repave_controller.core.steps.step import entered
from repave_controller.core.strategies.checks import objection
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupName, RegionName

# ------------------------------------------------------------------------------------- pause and resume


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of the rollout moves."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_pause(application, by, reason, now, observed)


def request_pause(
    application: Application, by: str, reason: str, now: Instant, observed: Observed | None = None
) -> Outcome:
    """Nothing of the rollout moves until it is resumed; no deadline passes meanwhile."""
    rollout = on_its_way(application, "pause")
    if rollout.pause is not None:
        raise _stopped(application, rollout, observed)
    pause = rollouts.Pause(now, by, in_words(reason))
    paused = replace(application, rollout=replace(rollout, pause=pause))
    what = reason_of(Happening.PAUSED, by=by, reason=reason)
    return paused, (event_of(paused, "rollout.paused", what, now, by),)


@dataclass(frozen=True, slots=True)
class Resume:
    """It goes on after a pause."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_resume(application, by, reason, now, observed)


def request_resume(
    application: Application, by: str, reason: str, now: Instant, observed: Observed | None = None
) -> Outcome:
    """It goes on where it was; the time of the pause counts for nothing."""
    rollout = on_its_way(application, "resume")
    pause = rollout.pause
    if pause is None:
        awaited = approvals_in(application, rollout, now)
        if awaited:
            way = cli(
                "promote", application.name, role=",".join(sorted({each.role for each in awaited} - {""}))
            )
            raise Refused(Refusal.NOT_PAUSED_BUT_GATED, way, application=application.name)
        raise Refused(Refusal.NOT_PAUSED, application=application.name)
    if pause.is_hold:
        raise _stopped(application, rollout, observed)
    resumed = replace(application, rollout=restarted(rollout, Instant(now - pause.at)))
    what = reason_of(Happening.RESUMED, by=by, reason=reason)
    return resumed, (event_of(resumed, "rollout.resumed", what, now, by),)


@dataclass(frozen=True, slots=True)
class Retry:
    """The step in which repave holds the rollout begins anew."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_retry(application, by, reason, now)


def request_retry(application: Application, by: str, reason: str, now: Instant) -> Outcome:
    """A held step begins anew, with a fresh deadline and fresh tries for hosts. What runs stays."""
    rollout = on_its_way(application, "retry")
    if rollout.pause is None or not rollout.pause.is_hold:
        raise Refused(Refusal.NOT_HELD, cli("why", application.name), application=application.name)
    tracks = ByRegion(
        _begun_anew(application, rollout, track).entered(track.phase, now)
        if track.phase in (TrackPhase.RUNNING, TrackPhase.WAITING)
        else replace(track, ill_at=None)
        for track in rollout.tracks
    )
    for number in rollout.targets:
        target = application.group(number)
        assert target is not None, "a running rollout has its targets"
        application = application.with_group(replace(target, attempt=target.attempt + 1))
    for group in application.groups:
        if group.is_baseline and group.state is GroupState.NEW:
            application = application.with_group(replace(group, attempt=group.attempt + 1))
    delayed = rollout.with_runs_delayed(now - rollout.pause.at)
    again = tried_again(replace(delayed, tracks=tracks, pause=None, asked_at=None))
    retried = replace(application, rollout=again)
    what = reason_of(Happening.RETRIED, by=by, reason=reason)
    return retried, (event_of(retried, "rollout.retried", what, now, by),)


def _begun_anew(application: Application, rollout: Rollout, track: Track) -> Track:
    """In its step; where that needs a baseline that has lost its share, in the one that gives shares."""
    place = place_of(application, rollout, track)
    baseline = place.baseline if place is not None else None
    if place is None or not rollout.step(track).needs_baseline or place.origin is None:
        return track
    if baseline is not None and baseline.part.weight_bp == place.target.part.weight_bp:
        return track
    shares = [index for index in range(track.cursor) if rollout.steps[index].share_bp is not None]
    return replace(track, cursor=shares[-1]) if shares else track


def _stopped(application: Application, rollout: Rollout, observed: Observed | None) -> Refused:
    """It stands still already; says by whom, and which commands lead on."""
    pause = rollout.pause
    assert pause is not None, "it stands still"
    if pause.is_hold:
        return Refused(Refusal.HELD, *ways_on(application, rollout, observed or {}), reason=pause.reason)
    return Refused(Refusal.PAUSED_ALREADY, cli("resume", application.name), by=pause.by, reason=pause.reason)


def restarted(rollout: Rollout, away: Instant) -> Rollout:
    """It moves again, and the time `away` that it stood still counts for nothing."""
    tracks = ByRegion(track.delayed(away) for track in rollout.tracks)
    asked_at = Instant(rollout.asked_at + away) if rollout.asked_at is not None else None
    return replace(rollout.with_runs_delayed(away), tracks=tracks, pause=None, asked_at=asked_at)


# ------------------------------------------------------------------------------------------ going back


@dataclass(frozen=True, slots=True)
class StepBack:
    """The share of the traffic of one step before, and a pause there."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_step_back(application, by, reason, now)


def request_step_back(application: Application, by: str, reason: str, now: Instant) -> Outcome:
    """Every region that moves has the share of the traffic that it had one step before, and the rollout is
    paused there."""
    rollout = on_its_way(application, "go back a step of")
    moving = [track for track in rollout.tracks if track.phase is TrackPhase.RUNNING]
    if not any(rollout.has_given_traffic(track) for track in moving):
        raise Refused(Refusal.FIRST_STEP, cli("abort", application.name))
    if rollout.origin is None:
        raise Refused(Refusal.NO_STEP_BACK)
    for track in moving:
        application, rollout = _step_back(application, rollout, track, now)
    pause = rollouts.Pause(now, by, in_words(reason) or reason_of(Why.STEPPED_BACK))
    paused = replace(application, rollout=replace(rollout, pause=pause))
    what = reason_of(Happening.STEPPED_BACK, cli("resume", application.name), by=by, reason=reason)
    return paused, (event_of(paused, "rollout.stepped_back", what, now, by),)


def _step_back(
    application: Application, rollout: Rollout, track: Track, now: Instant
) -> tuple[Application, Rollout]:
    steps = rollout.steps
    reached = [index for index in range(track.cursor + 1) if steps[index].share_bp is not None]
    if not reached:
        return application, rollout
    before = reached[-2] if len(reached) > 1 else None
    first = before if before is not None else 0
    if course_of(steps[first : track.cursor + 1]).old < FULL_PERCENT:
        raise Refused(Refusal.HOSTS_GONE, cli("rollback", application.name), region=track.region)
    cursor = before if before is not None else max(0, reached[0] - 1)
    former = steps[before] if before is not None else Weight(0, steps[reached[0]].deadline_seconds)
    changed = replace(track.entered(track.phase, now), cursor=cursor)
    passed = {gate_of(replace(track, cursor=index)) for index in range(cursor, len(steps))}
    passes = Listed(
        left for each in rollout.passes if (left := _without(each, passed, track.region)) is not None
    )
    application = entered(application, rollout, changed, former)
    return application, replace(rollout.with_track(changed), passes=passes)


def _without(passed: Pass, gates: set[str], region: RegionName) -> Pass | None:
    """What is left of a pass for the other regions once this one comes to the gates again."""
    if passed.gate not in gates:
        return passed
    left = tuple(each for each in passed.regions if each != region)
    return replace(passed, regions=left) if left else None


@dataclass(frozen=True, slots=True)
class Abort:
    """The rollout ends as if it had never begun; with `region`, only there."""

    region: RegionName | None = None

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        if self.region is None:
            return request_abort(application, by, reason, now, observed)
        return request_abort_region(application, self.region, by, reason, now, observed)


def request_abort_region(
    application: Application,
    region: RegionName,
    by: str,
    reason: str,
    now: Instant,
    observed: Observed | None = None,
) -> Outcome:
    """The region goes back to what it was, or never begins; the others go on."""
    rollout = on_its_way(application, "abort a region of")
    track = rollout.track(region)
    if track is None:
        there = tuple(each.region for each in rollout.tracks)
        raise Refused(Refusal.UNKNOWN_REGION_OF_ROLLOUT, region=region, known=there)
    if track.phase in (TrackPhase.UNDOING, TrackPhase.UNDONE):
        return application, ()
    if track.origin is None and rollout.has_given_traffic(track):
        raise Refused(Refusal.NO_WAY_BACK_IN_REGION, region=region)
    why = reason_of(Why.ABORTED, by=by, reason=reason)
    if track.has_begun:
        is_loss = region in losing_regions(application, rollout, observed or {})
        application, track = turned_round(application, rollout, track, why, now, is_loss=is_loss)
    else:
        track = replace(track, phase=TrackPhase.UNDONE, entered_at=now, reason=why)
    rollout = replace(rollout.with_track(track), undo_end=Phase.ABORTED)
    if rollout.pause is not None and rollout.pause.region == region:  # what held it up is gone
        rollout = restarted(rollout, Instant(now - rollout.pause.at))
    aborted = replace(application, rollout=rollout)
    what = reason_of(Happening.REGION_ABORTED, region=region, reason=why)
    return aborted, (event_of(aborted, "region.aborted", what, now, by, region),)


# ------------------------------------------------------------------------------------------------ sizes


@dataclass(frozen=True, slots=True)
class Resize:
    """So many hosts in these regions from now on."""

    sizes: tuple[tuple[RegionName, int], ...]

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_size(application, self.sizes, by, reason, now)


def request_size(
    application: Application, sizes: tuple[tuple[RegionName, int], ...], by: str, reason: str, now: Instant
) -> Outcome:
    """The groups of these regions have so many hosts from now on, whatever is being rolled out: each keeps
    its share of the size."""
    check_sizes(application, sizes)
    sized, changes = resized(application, sizes)
    if not changes:
        return application, ()
    for region, size in sizes:
        serving = application.serving_in(region)
        if serving is not None and serving.size(region) != size:
            sized = noted(sized, region, serving.size(region), size, by, in_words(reason), now)
    told = tuple(f"{each.group} in {each.region}: {each.before} -> {each.size} hosts" for each in changes)
    what = reason_of(Happening.SIZED, changes=told, reason=reason)
    return sized, (event_of(sized, "group.sized", what, now, by),)


@dataclass(frozen=True, slots=True)
class SizeChange:
    """Of a group in a region; `count` and `wanted`: the hosts that it has, and that it is to have now."""

    group: GroupName
    region: RegionName
    before: int
    size: int
    count: int
    wanted: int


def resized(
    application: Application, sizes: tuple[tuple[RegionName, int], ...], *, only_grows: bool = False
) -> tuple[Application, tuple[SizeChange, ...]]:
    """The groups of these regions with so many hosts, and what changes by it. Raises Refused."""
    _check_steps(application, sizes)
    changes = []
    for region, size in sizes:
        for group in application.groups:
            part = group.part(region)
            if part is None or part.state in UNWANTED or part.size == size or group.is_adopted:
                continue
            if only_grows and part.size > size:
                continue
            sized = _sized(application, group.number, part, size)
            application = put_part(application, group, sized)
            changes.append(SizeChange(group.name, region, part.size, size, part.count, sized.count))
    for group in application.groups if changes else ():
        if fault := excess(part.size for part in group.parts):
            raise Refused(Refusal.TOO_MANY_HOSTS, group=group.name, text=fault)
    return application, tuple(changes)


def check_sizes(application: Application, sizes: tuple[tuple[RegionName, int], ...]) -> None:
    """Whether these regions can have other numbers of hosts, within the bounds that the spec has set. Raises
    Refused."""
    served = {region for region in application.regions if application.serving_in(region) is not None}
    unknown = sorted(region for region, _ in sizes if region not in served)
    if unknown:
        raise Refused(
            Refusal.UNKNOWN_REGION_OF_SERVICE,
            application=application.name,
            region=unknown[0],
            known=tuple(sorted(served)),
        )
    adopted = next(
        (each for name, _ in sizes if (each := application.serving_in(name)) and each.is_adopted), None
    )
    if adopted is not None and application.running is None:
        raise Refused(Refusal.ADOPTED_GROUP, group=adopted.name)
    for region, size in sizes:
        bounds = application.policy.scaling.find(region)
        if bounds is not None and bounds.within(size) != size:
            raise Refused(
                Refusal.SIZE_OUT_OF_BOUNDS,
                region=region,
                hosts=size,
                least=bounds.least,
                most=bounds.most,
            )


def noted(
    application: Application,
    region: RegionName,
    before: int,
    hosts: int,
    by: str,
    reason: Reason | None,
    now: Instant,
) -> Application:
    """Where the number is chosen within bounds: it has just been changed."""
    if application.policy.scaling.find(region) is None:
        return application
    known = application.sized.find(region) or Sized(region, now)
    sized = replace(known, at=now, before=before, hosts=hosts, by=by, reason=reason)
    return replace(application, sized=application.sized.put(sized))


def _check_steps(application: Application, sizes: tuple[tuple[RegionName, int], ...]) -> None:
    """Whether the steps that a release still has to go suit the sizes. Raises Refused."""
    rollout = application.running
    if rollout is None or rollout.kind is not RolloutKind.RELEASE or rollout.phase is not Phase.RUNNING:
        return
    on_their_way = {
        track.region
        for track in rollout.tracks
        if track.origin is not None and track.phase in (TrackPhase.WAITING, TrackPhase.RUNNING)
    }
    affected = [(region, size) for region, size in sizes if region in on_their_way]
    found = objection(rollout.steps, application.policy, affected)
    if found is not None:
        remedies = (cli("watch", application.name), cli("abort", application.name))
        raise Refused(Refusal.STEPS_DONT_FIT, *remedies, text=found.text)


def _sized(application: Application, number: GroupNumber, part: Part, size: int) -> Part:
    """Of the new size, with as much of it as before; more where rounding would leave fewer hosts than its
    traffic takes, or than the steps have left of an origin. Hosts that go, and come again, are not proven."""
    carrying = max(1, application.policy.carrying(size, part.weight_bp)) if part.weight_bp else 0
    hosts = max(carrying, _left_by_steps(application, number, part.region, size))
    short = hosts > hosts_of(size, part.percent)
    sized = replace(part, size=size, percent=FULL_PERCENT * hosts / size if short else part.percent)
    return replace(sized, proven=min(part.proven, sized.count))


def _left_by_steps(application: Application, number: GroupNumber, region: RegionName, size: int) -> int:
    """Hosts of the group that a release would go back to, as its steps leave them; 0 of others."""
    rollout = application.running
    track = rollout.track(region) if rollout is not None else None
    if rollout is None or track is None or track.origin != number:
        return 0
    return hosts_left(size, course_of(rollout.steps_reached(track)).old)


def on_its_way(application: Application, verb: str) -> Rollout:
    rollout = application.running
    if rollout is None:
        raise Refused(Refusal.NOTHING_RUNNING, application=application.name, verb=verb)
    if rollout.phase is Phase.UNDOING:
        raise Refused(Refusal.UNDOING, application=application.name)
    return rollout
