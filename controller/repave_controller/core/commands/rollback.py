"""The way back that a person asks for: a running rollout is turned round, or an older group serves again."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from repave_controller.core.commands.release import target_of
from repave_controller.core.domain.application import (
    FULL_PERCENT,
    UNWANTED,
    Application,
    GroupState,
    Instant,
    Observed,
    Outcome,
    Part,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.jobs import NO_JOBS, Jobs
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.place import put_part, target_in
from repave_controller.core.domain.reasons import (
    Happening,
    Reason,
    Refusal,
    Refused,
    Why,
    cli,
    reason_of,
)
from repave_controller.core.domain.rollout import (
    GroupNumber,
    Kept,
    Phase,
    Rollout,
    RolloutKind,
    Track,
    TrackPhase,
    Wave,
)
from repave_controller.core.rollout.protection import losing_regions
from repave_controller.core.rollout.rollback import undo
from repave_controller.core.rollout.start import (
    begin_tracks,
    group_event,
    new_parts,
    origin_of,
    with_jobs,
)
from repave_controller.core.rollout.transitions import gone_back
from repave_controller.core.rollout.way_back import WayBack, ways_back
from repave_controller.core.steps.step import entered
from repave_controller.core.strategies.presets import way_back_steps
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupName, RegionName


@dataclass(frozen=True, slots=True)
class Rollback:
    """Traffic back: to what served before in each region, or `to`; everywhere, or in `regions`. `at_once`:
    with the hosts that are there, without growing first. `force`, with a reason: even to ill ones."""

    to: str = ""
    regions: tuple[RegionName, ...] = ()
    force: bool = False
    at_once: bool = False

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        unknown = [region for region in self.regions if region not in application.regions]
        if unknown:
            raise Refused(
                Refusal.UNKNOWN_REGION_OF_SERVICE,
                application=application.name,
                region=unknown[0],
                known=application.regions,
            )
        return request_rollback(
            application, observed, by, reason, self.force, now, self.to, self.regions, at_once=self.at_once
        )


def request_rollback(
    application: Application,
    observed: Observed,
    by: str,
    reason: str,
    force: bool,
    now: Instant,
    to: str = "",
    regions: tuple[RegionName, ...] = (),
    *,
    at_once: bool = False,
) -> Outcome:
    """The running rollout is turned round, or each region goes back to what served there before. Hosts that
    are gone are launched from the same package; a group that is smaller than what serves grows first."""
    rollout = application.running
    if rollout is not None:
        if (to or regions) and not _leads_to(application, rollout, to, regions):
            remedy, running = cli("abort", application.name), target_of(application, rollout).name
            raise Refused(Refusal.ROLLOUT_RUNNING_AT_ROLLBACK, remedy, running=running)
        if rollout.kind is RolloutKind.ROLLBACK:
            return _spur(application, rollout, by, reason, at_once, now)
        why = reason_of(Why.ROLLED_BACK, by=by, reason=reason)
        end = Phase.ROLLED_BACK
        is_hasty = at_once or (force and bool(reason))
        return _turn_round(application, rollout, why, end, by, now, observed, at_once=is_hasty)
    ways = ways_back(application, to, regions)
    ill = _regions(way for way in ways if is_ill(application, way, observed))
    if ill and not (force and reason):
        way = next(way for way in ways if way.region in ill)
        raise _unhealthy(application, way, observed)
    hasty = _regions(ways) if at_once else ill
    return _start(application, ways, hasty, by, reason, now)


# ------------------------------------------------------------------------------------------ a rollback


def _start(
    application: Application,
    ways: tuple[WayBack, ...],
    hasty: Collection[RegionName],
    by: str,
    reason: str,
    now: Instant,
) -> Outcome:
    """`hasty`: regions in which kept hosts take the traffic as they are."""
    stays, found = _staying(application, ways), ways
    application, ways = _with_targets(application, found, hasty, now)
    steps = way_back_steps([way.target.template for way in ways])
    straight = {way.region for way in ways if way.kept and (way.is_whole or way.region in hasty)}
    if len(straight) == len(ways):
        steps = steps[-1:]
    tracks = ByRegion(
        Track(
            way.region,
            wave=0,
            origin=origin_of(application, way.region, way.target.number),
            cursor=len(steps) - 1 if way.region in straight else 0,
            target=way.target.number,
            kept=Kept(kept.size, kept.percent, kept.proven) if (kept := way.kept) is not None else None,
        )
        for way in ways
    )
    waves = (Wave(_regions(ways), is_lockstep=False),)
    target = max((way.target for way in ways), key=lambda group: group.number)
    begun = begin_tracks(application, RolloutKind.ROLLBACK, target, steps, waves, tracks, by, reason, now)
    begun = with_jobs(begun, _jobs_left(begun))
    what = reason_of(
        Happening.ROLLBACK_STARTED,
        targets=tuple(way.target.name for way in ways),
        regions=_regions(ways),
        is_everywhere=not stays,
        notes=(*_notes(found, ways, hasty), *stays),
        by=by,
        reason=reason,
        **begun.shared,
    )
    return begun, (group_event(begun, "rollback.started", what, now, by, target),)


def _with_targets(
    application: Application, ways: tuple[WayBack, ...], hasty: Collection[RegionName], now: Instant
) -> tuple[Application, tuple[WayBack, ...]]:
    """The groups with the parts that the regions go back to. What is gone altogether becomes a fresh group of
    the same package and configuration; one that is still somewhere gets a new part."""
    fresh: dict[GroupNumber, ServerGroup] = {}
    put: dict[GroupNumber, list[Part]] = {}
    placed = []
    for way in ways:
        group, live = way.target, application.group(way.target.number)
        if way.kept is not None:
            is_straight = way.is_whole or way.region in hasty
            part = replace(way.grown, percent=FULL_PERCENT) if is_straight else way.grown
        else:
            (part,) = new_parts(((way.region, way.size),))
            if live is None or live.state in UNWANTED:
                if group.number not in fresh:
                    fresh[group.number] = _built_again(application, group, now)
                    number = GroupNumber(application.next_number + 1)
                    application = replace(application, next_number=number)
                group = fresh[group.number]
        put.setdefault(group.number, []).append(part)
        placed.append(replace(way, target=group))
    known = {group.number: group for group in (*application.groups, *fresh.values())}
    for number, parts in put.items():
        application = application.with_group(known[number].with_parts(parts))
    return application, tuple(placed)


def _built_again(application: Application, past: ServerGroup, now: Instant) -> ServerGroup:
    number = application.next_number
    name = format_group(application.cluster, number)
    return replace(past, name=name, number=number, parts=ByRegion(()), created_at=now, attempt=0)


def _notes(
    ways: tuple[WayBack, ...], placed: tuple[WayBack, ...], hasty: Collection[RegionName]
) -> tuple[Reason, ...]:
    """What is not a mere switch, told together where it is the same in several regions."""
    built: dict[tuple[GroupName, str, GroupName], list[WayBack]] = {}
    grown: dict[tuple[GroupName, bool], list[WayBack]] = {}
    for way, made in zip(ways, placed, strict=True):
        if way.kept is None:
            built.setdefault((way.target.name, way.target.version, made.target.name), []).append(way)
        elif way.has < way.size:
            is_straight = way.is_whole or way.region in hasty
            grown.setdefault((way.target.name, is_straight), []).append(way)
    return (
        *(
            reason_of(Happening.BUILT_AGAIN, past=past, version=version, group=group, regions=_regions(each))
            for (past, version, group), each in built.items()
        ),
        *(
            reason_of(
                Happening.GROWS,
                group=group,
                has=sum(way.has for way in each),
                size=sum(way.size for way in each),
                regions=_regions(each),
                when="meanwhile" if is_straight else "first",
            )
            for (group, is_straight), each in grown.items()
        ),
    )


def _staying(application: Application, ways: tuple[WayBack, ...]) -> tuple[Reason, ...]:
    """Regions that do not take part, by who serves there."""
    going, staying = set(_regions(ways)), dict[GroupName, list[RegionName]]()
    for region in application.regions:
        serving = application.serving_in(region)
        if serving is not None and region not in going:
            staying.setdefault(serving.name, []).append(region)
    return tuple(
        reason_of(Happening.STAYS, group=group, regions=tuple(regions)) for group, regions in staying.items()
    )


def _regions(ways: Iterable[WayBack]) -> tuple[RegionName, ...]:
    return tuple(way.region for way in ways)


def _jobs_left(application: Application) -> Jobs:
    """Those that undo what the release has done that is left. None of the group that it goes back to."""
    rollout = application.running
    left = application.group(rollout.origin) if rollout is not None else None
    return Jobs(on_rollback=left.jobs.on_rollback) if left is not None else NO_JOBS


# ------------------------------------------------------------------------------------------ is it well?


def is_ill(application: Application, way: WayBack, observed: Observed) -> bool:
    """Whether fewer of the kept hosts can serve than a release would need, and than can serve now. What can't
    be seen can't be judged: the region follows when it returns."""
    view = observed.get(way.region)
    if way.kept is None or view is None or not view.is_connected or view.report is None:
        return False
    have, serving = healthy_in(way, observed)
    return have < application.policy.needed(way.has) and (have == 0 or have < serving)


def healthy_in(way: WayBack, observed: Observed) -> tuple[int, int]:
    """Hosts that can serve: of the group that it goes back to, and of the one that serves."""
    view = observed.get(way.region)
    reports = [view.group(group.name) for group in (way.target, way.serving)] if view is not None else []
    back, serving = [min(each.verified, each.balancer_up) for each in reports] or (0, 0)
    return back, serving


def _unhealthy(application: Application, way: WayBack, observed: Observed) -> Refused:
    have, serving = healthy_in(way, observed)
    return Refused(
        Refusal.UNHEALTHY_TARGET,
        cli("rollback", application.name, force=True, reason="TEXT"),
        group=way.target.name,
        region=way.region,
        healthy=have,
        hosts=way.has,
        needed=application.policy.needed(way.has),
        serving=way.serving.name,
        serving_healthy=serving,
    )


# ------------------------------------------------------------------------------------ while something runs


def _leads_to(application: Application, rollout: Rollout, to: str, regions: tuple[RegionName, ...]) -> bool:
    """Whether the rollout is a rollback that brings just this to these regions."""
    if rollout.kind is not RolloutKind.ROLLBACK:
        return False
    tracks = [rollout.track(region) for region in regions] or list(rollout.tracks)
    groups = [application.group(rollout.target_of(track)) for track in tracks if track is not None]
    is_to = all(group is not None and to in ("", group.name, group.version) for group in groups)
    return is_to and None not in tracks


def _spur(
    application: Application, rollout: Rollout, by: str, reason: str, at_once: bool, now: Instant
) -> Outcome:
    """A rollback that runs is joined, goes on if it was paused, and with `at_once` grows no longer. Asking
    for it again never turns it round."""
    if rollout.phase is Phase.UNDOING:
        raise Refused(Refusal.UNDOING, application=application.name)
    spurred = replace(rollout, pause=None) if rollout.pause is not None else rollout
    for track in rollout.tracks if at_once else ():
        application, spurred = _hurried(application, spurred, track, now)
    if spurred == rollout:
        return application, ()
    if rollout.pause is not None:
        away = now - rollout.pause.at
        tracks = (track.delayed(away) if track.has_begun else track for track in spurred.tracks)
        spurred = replace(spurred.with_runs_delayed(away), tracks=ByRegion(tracks))
    application = replace(application, rollout=spurred)
    target = target_of(application, rollout)
    kind, happening = "rollout.resumed", Happening.RESUMED
    if at_once:
        kind, happening = "rollback.hastened", Happening.HASTENED
    what = reason_of(happening, by=by, reason=reason)
    return application, (group_event(application, kind, what, now, by, target),)


def _hurried(
    application: Application, rollout: Rollout, track: Track, now: Instant
) -> tuple[Application, Rollout]:
    """Kept hosts that were still to be joined by others take the traffic now."""
    last, target = len(rollout.steps) - 1, target_in(application, rollout, track)
    is_on_its_way = track.phase in (TrackPhase.RUNNING, TrackPhase.WAITING) and track.cursor < last
    if target is None or target.part.state is GroupState.NEW or not is_on_its_way:
        return application, rollout
    application = put_part(application, target.group, replace(target.part, percent=FULL_PERCENT))
    track = replace(track, cursor=last)
    if track.phase is TrackPhase.RUNNING:
        track = track.entered(TrackPhase.RUNNING, now)
        application = entered(application, rollout, track, rollout.steps[last])
    return application, rollout.with_track(track)


def request_abort(
    application: Application, by: str, reason: str, now: Instant, observed: Observed | None = None
) -> Outcome:
    """Ends the running rollout: all traffic with the origin, a new target cleaned up."""
    if application.running is None:
        remedy = cli("rollback", application.name)
        raise Refused(Refusal.NOTHING_TO_ABORT, remedy, application=application.name)
    why = reason_of(Why.ABORTED, by=by, reason=reason)
    return _turn_round(application, application.running, why, Phase.ABORTED, by, now, observed or {})


def _turn_round(
    application: Application,
    rollout: Rollout,
    reason: Reason,
    end: Phase,
    by: str,
    now: Instant,
    observed: Observed,
    *,
    at_once: bool = False,
) -> Outcome:
    target = target_of(application, rollout)
    if rollout.phase is Phase.UNDOING:
        for track in rollout.tracks if at_once else ():
            if track.phase is TrackPhase.UNDOING:
                application = gone_back(application, rollout, track, now)
        return application, ()
    if rollout.origin is None and rollout.has_given_traffic():
        raise Refused(Refusal.FIRST_RELEASE_SERVES, group=target.name, application=application.name)
    losing = losing_regions(application, rollout, observed)
    undone = undo(application, rollout, reason, end, now, at_once=at_once, losing=losing)
    what = reason_of(Happening.GOES_BACK, group=target.name, reason=reason)
    return undone, (group_event(undone, f"{rollout.kind}.undoing", what, now, by, target),)
