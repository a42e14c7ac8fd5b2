"""When the new group of a rollout is looked at, and which looks count. Pure.

Time is counted as of a soak: while a region is not seen, or the rollout stands still, none passes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from repave_controller.core.domain.analyses import TOGETHER, Analysis, AnalysisPlan, Finding
from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.place import baseline_in, origin_in, target_in
from repave_controller.core.domain.rollout import Opened, Pass, Phase, Rollout, Track, TrackPhase
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.rules.verdicts import gate_of
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import GroupName, RegionName


def scope_of(rollout: Rollout, track: Track) -> RegionName:
    """Whose analysis is the track's: its own region's, or that of its wave."""
    plan = rollout.step(track).analysis
    is_lockstep = rollout.waves[track.wave].is_lockstep if rollout.waves else False
    is_alone = plan is not None and plan.scope == "region"
    return TOGETHER if is_lockstep and not is_alone else track.region


def analysis_of(rollout: Rollout, track: Track) -> Analysis:
    """Of the step that the track is in; without any look if there is none yet."""
    gate, region = gate_of(track), scope_of(rollout, track)
    return rollout.analysis(gate, region) or Analysis(gate, region)


def begun_anew(rollout: Rollout, track: Track, *, is_retry: bool = False) -> Rollout:
    """The track begins its analysis, together with others that begin it at the same time: what was seen
    before counts no more. `is_retry`: its traffic has not moved since."""
    gate, region = gate_of(track), scope_of(rollout, track)
    known = rollout.analysis(gate, region)
    if known is not None and known.begun_at == track.entered_at:
        return rollout
    run = known.run + 1 if known is not None else 1
    moved_at = known.moved_at if known is not None and is_retry else track.entered_at
    return rollout.with_analysis(Analysis(gate, region, run, track.entered_at, moved_at))


def judged_with(rollout: Rollout, track: Track) -> tuple[Track, ...]:
    """The tracks that are in the same analysis, itself among them."""
    if scope_of(rollout, track):
        return (track,)
    return rollout.tracks.once(_in_step, track.wave, track.cursor)


def _in_step(tracks: ByRegion[Track], wave: int, cursor: int) -> tuple[Track, ...]:
    return tuple(
        each
        for each in tracks
        if each.wave == wave and each.phase is TrackPhase.RUNNING and each.cursor == cursor
    )


def held_with(rollout: Rollout, track: Track) -> tuple[Track, ...]:
    """The tracks that the same thing holds up: those of one analysis together, else the track alone."""
    return judged_with(rollout, track) if rollout.step(track).analysis is not None else (track,)


def compared(rollout: Rollout, tracks: Iterable[Track]) -> tuple[Track, ...]:
    """Those of them that are seen, and where an old group served to be compared with."""
    return _compared_in(tracks, rollout.passes)


def _compared_in(tracks: Iterable[Track], passes: Listed[Pass]) -> tuple[Track, ...]:
    opened = passes.once(Opened.by)
    return tuple(
        each
        for each in tracks
        if each.origin is not None and each.unseen_at is None and not opened.lets(gate_of(each), each.region)
    )


def seen_least(rollout: Rollout, track: Track) -> Track:
    """Of those that are compared together with it, the one that has been in the step and seen for the
    shortest time; itself where there is none."""
    if scope_of(rollout, track):
        return track
    known = rollout.tracks.once(_seen_least, track.wave, track.cursor, rollout.passes)
    return known if known is not None else track


def _seen_least(tracks: ByRegion[Track], wave: int, cursor: int, passes: Listed[Pass]) -> Track | None:
    found = _compared_in(tracks.once(_in_step, wave, cursor), passes)
    return max(found, key=lambda each: each.entered_at + each.unseen_seconds, default=None)


def seen_seconds(tracks: Iterable[Track], now: Instant) -> float:
    """For how long these have been in the step and seen, at least."""
    return min((round(now - each.seen_until(0.0, now), 6) for each in tracks), default=0.0)


def due_after_seconds(plan: AnalysisPlan, analysis: Analysis) -> float:
    """The next look is due once the regions have been seen for so long."""
    last = analysis.looked_after_seconds if analysis.looks else plan.warm_up_seconds
    return last + plan.interval_seconds


def silent_after_seconds(plan: AnalysisPlan, analysis: Analysis) -> float:
    """After so long without a look that could be judged it is held."""
    last = analysis.judged_after_seconds if analysis.judged else plan.warm_up_seconds
    return last + plan.interval_seconds + plan.source_deadline_seconds


# ------------------------------------------------------------------------------------------ what is due


@dataclass(frozen=True, slots=True)
class Compared:
    """One region of a look. `origin`: who is compared with, also where that is a fresh baseline.
    `baseline_until`: until when the old group's numbers count; before now where it
    has no traffic any more."""

    region: RegionName
    target: GroupName
    origin: GroupName
    baseline_until: Instant


@dataclass(frozen=True, slots=True)
class DueLook:
    """A look that is to be made now, over the time from `since` to `until`, in each of the regions."""

    rollout: int
    gate: str
    region: RegionName
    run: int
    look: int  # from 1, errors counted
    judged: int  # looks before it without an error, of plan.count
    plan: AnalysisPlan
    regions: tuple[Compared, ...]
    since: Instant
    until: Instant

    @property
    def key(self) -> tuple[int, str, RegionName, int, int]:
        """Which look of all it is; saved once."""
        return self.rollout, self.gate, self.region, self.run, self.look


def due(application: Application, now: Instant) -> tuple[DueLook, ...]:
    """The looks that are to be made now."""
    return tuple(look for look, at in _next_looks(application, now) if now >= at)


def next_due_at(application: Application, now: Instant) -> Instant | None:
    """When the next look is due, or was; None: none is, as things are."""
    return min((at for _, at in _next_looks(application, now)), default=None)


def _next_looks(application: Application, now: Instant) -> Iterable[tuple[DueLook, Instant]]:
    rollout = application.running
    if rollout is None or rollout.phase is not Phase.RUNNING or rollout.pause is not None:
        return
    known: set[tuple[str, RegionName]] = set()
    for track in rollout.tracks:
        if track.phase is not TrackPhase.RUNNING or (plan := rollout.step(track).analysis) is None:
            continue
        analysis = analysis_of(rollout, track)
        key = analysis.gate, analysis.region
        if key in known or analysis.ending is not None:
            continue
        known.add(key)
        together = judged_with(rollout, track)
        tracks = compared(rollout, together)
        found = (_compared(application, rollout, each, analysis, now) for each in tracks)
        regions = tuple(each for each in found if each is not None)
        if regions and not (analysis.region == TOGETHER and _are_others_behind(rollout, track)):
            yield _look(rollout, plan, analysis, tracks, regions, now), due_at(plan, analysis, tracks, now)


def due_at(plan: AnalysisPlan, analysis: Analysis, tracks: Iterable[Track], now: Instant) -> Instant:
    """When the next look is due, if these are seen from now on."""
    after = due_after_seconds(plan, analysis)
    return max((each.seen_until(after, now) for each in tracks), default=now)


def _are_others_behind(rollout: Rollout, track: Track) -> bool:
    """Whether a region of the wave has yet to come to the track's step."""
    return any(
        each.wave == track.wave
        and (
            (each.phase is TrackPhase.RUNNING and each.cursor < track.cursor)
            or (each.phase is TrackPhase.WAITING and not rollout.is_stopped)
        )
        for each in rollout.tracks
    )


def _compared(
    application: Application, rollout: Rollout, track: Track, analysis: Analysis, now: Instant
) -> Compared | None:
    target, origin = target_in(application, rollout, track), origin_in(application, track)
    if rollout.step(track).needs_baseline:
        origin = baseline_in(application, track)
    if target is None or origin is None:
        return None
    until = now if origin.part.weight_bp else min(now, analysis.moved_at)
    return Compared(track.region, target.group.name, origin.group.name, until)


def _look(
    rollout: Rollout,
    plan: AnalysisPlan,
    analysis: Analysis,
    tracks: tuple[Track, ...],
    regions: tuple[Compared, ...],
    now: Instant,
) -> DueLook:
    seconds = max(0.0, seen_seconds(tracks, now) - plan.warm_up_seconds)
    if plan.look_back_seconds:
        seconds = min(seconds, plan.look_back_seconds)
    return DueLook(
        rollout=rollout.number,
        gate=analysis.gate,
        region=analysis.region,
        run=analysis.run,
        look=analysis.looks + 1,
        judged=analysis.judged,
        plan=plan,
        regions=regions,
        since=Instant(now - seconds),
        until=now,
    )


def looked_at(
    application: Application, look: DueLook, finding: Finding, now: Instant
) -> tuple[Application, Analysis, Analysis]:
    """The application after the look, which is due, and the analysis before and after it."""
    rollout = application.running
    assert rollout is not None, "a look is due in a running rollout"
    before = rollout.analysis(look.gate, look.region) or Analysis(look.gate, look.region)
    tracks = [track for each in look.regions if (track := rollout.track(each.region)) is not None]
    after = before.with_finding(look.plan, finding, seen_seconds(tracks, now))
    return replace(application, rollout=rollout.with_analysis(after)), before, after


def tried_again(rollout: Rollout) -> Rollout:
    """The steps that its regions are in have begun anew, and with them their analyses."""
    for track in rollout.tracks:
        if track.phase is TrackPhase.RUNNING and rollout.step(track).analysis is not None:
            rollout = begun_anew(rollout, track, is_retry=True)
    return rollout
