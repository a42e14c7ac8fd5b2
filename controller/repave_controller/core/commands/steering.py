"""What people may ask of a rollout on its way: pause, resume, promote, skip, go back a step, retry, leave a
region out, override a guard, change a size. Pure, like `release.py`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from repave_controller.core.commands.release import event_of
from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.domain import rollout as rollouts
from repave_controller.core.domain.application import (
    FULL_PERCENT,
    Application,
    GroupState,
    Instant,
    Observed,
    Outcome,
    Part,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.place import put_part
from repave_controller.core.domain.reasons import (
    Happening,
    Refusal,
    Refused,
    Why,
    cli,
    in_words,
    reason_of,
)
from repave_controller.core.domain.rollout import Pass, Phase, Rollout, Track, TrackPhase
from repave_controller.core.domain.steps import course_of
from repave_controller.core.rollout import waves
from repave_controller.core.rollout.rollback import turned_round
from repave_controller.core.rules.verdicts import gate_of
from repave_controller.core.steps import Weight
from repave_controller.core.steps.step import entered
from repave_protos.protocol.values import RegionName

PASSES_MAX = 1000


# ------------------------------------------------------------------------------------- pause and resume


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of the rollout moves."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_pause(application, by, reason, now)


def request_pause(application: Application, by: str, reason: str, now: Instant) -> Outcome:
    """Nothing of the rollout moves until it is resumed; no deadline passes meanwhile."""
    rollout = _moving(application, "pause")
    if rollout.pause is not None:
        return application, ()
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
        return request_resume(application, by, reason, now)


def request_resume(application: Application, by: str, reason: str, now: Instant) -> Outcome:
    """It goes on where it was; the time of the pause counts for nothing."""
    rollout = _moving(application, "resume")
    pause = rollout.pause
    if pause is None:
        if _gates(application, rollout, now):
            raise Refused(
                Refusal.NOT_PAUSED_BUT_GATED,
                cli("promote", application.name),
                application=application.name,
            )
        raise Refused(Refusal.NOT_PAUSED, application=application.name)
    if pause.is_hold:
        raise Refused(
            Refusal.HELD,
            cli("retry", application.name),
            cli("promote", application.name, skip=True),
            cli("rollback", application.name),
            reason=pause.reason,
        )
    resumed = replace(application, rollout=_restarted(rollout, Instant(now - pause.at)))
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
    rollout = _moving(application, "retry")
    if rollout.pause is None or not rollout.pause.is_hold:
        raise Refused(Refusal.NOT_HELD, cli("why"), application=application.name)
    tracks = ByRegion(
        replace(track, entered_at=now, progressed_at=now, progress=None)
        if track.phase is TrackPhase.RUNNING
        else track
        for track in rollout.tracks
    )
    target = application.group(rollout.target)
    assert target is not None, "a running rollout has a target"
    application = application.with_group(replace(target, attempt=target.attempt + 1))
    retried = replace(application, rollout=replace(rollout, tracks=tracks, pause=None))
    what = reason_of(Happening.RETRIED, by=by, reason=reason)
    return retried, (event_of(retried, "rollout.retried", what, now, by),)


def _restarted(rollout: Rollout, away: Instant) -> Rollout:
    tracks = ByRegion(
        replace(
            track,
            entered_at=Instant(track.entered_at + away),
            progressed_at=Instant(track.progressed_at + away),
        )
        if track.has_begun
        else track
        for track in rollout.tracks
    )
    return replace(rollout, tracks=tracks, pause=None)


# ------------------------------------------------------------------------------------------ going on


@dataclass(frozen=True, slots=True)
class Promote:
    """What waits for approval goes on; with `skips` also what waits for time, with `is_full` all to come."""

    role: str = ""
    skips: bool = False
    is_full: bool = False

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_promote(
            application, by, self.role, reason, now, skips=self.skips, is_full=self.is_full
        )


def request_promote(
    application: Application,
    by: str,
    role: str,
    reason: str,
    now: Instant,
    *,
    skips: bool = False,
    is_full: bool = False,
) -> Outcome:
    """Approves what waits for approval; with `skips` also ends what only waits for time; with `is_full` all
    gates and waits that are still to come."""
    rollout = _moving(application, "promote")
    if rollout.pause is not None and not (rollout.pause.is_hold and skips):
        raise Refused(Refusal.PAUSED, cli("resume", application.name))
    gates = [*_gates(application, rollout, now), *(_waits(application, rollout, now) if skips else ())]
    if is_full:
        gates = [("*", role) for role in _roles_to_come(rollout)]
    if not gates:
        raise _no_gate(application, rollout, now)
    _check_role(gates, role)
    kind: Literal["approved", "skipped"] = "skipped" if skips or is_full else "approved"
    passes = tuple(
        Pass(gate, kind, now, by, role, reason) for gate in dict.fromkeys(name for name, _ in gates)
    )
    promoted = replace(application, rollout=_with_passes(rollout, passes))
    passed = () if is_full else tuple(gate for gate, _ in gates)
    what = reason_of(Happening.GATE_PASSED, gates=passed, kind=kind, by=by, role=role, reason=reason)
    return promoted, (event_of(promoted, f"gate.{kind}", what, now, by),)


def gates(application: Application, now: Instant) -> list[tuple[str, str]]:
    """The approvals that the running rollout waits for now: (gate, role); none while it is paused."""
    rollout = application.running
    if rollout is None or rollout.phase is Phase.UNDOING or rollout.pause is not None:
        return []
    return _gates(application, rollout, now)


def _gates(application: Application, rollout: Rollout, now: Instant) -> list[tuple[str, str]]:
    found = [
        (gate_of(track), role)
        for track in rollout.tracks
        if track.phase is TrackPhase.RUNNING and (role := rollout.step(track).approver) is not None
    ]
    wave = waves.next_wave(rollout)
    if wave is not None and rollout.waves[wave].approve is not None:
        earlier = [track for track in rollout.tracks if track.wave < wave]
        baked = not wave or waves.in_bake(application, rollout, wave - 1, now) is None
        if all(track.is_settled for track in earlier) and baked:
            found.append((waves.gate_of_wave(wave), rollout.waves[wave].approve or ""))
    return _new(rollout, found)


def _roles_to_come(rollout: Rollout) -> list[str]:
    """The roles of all approvals that the rollout may yet wait for; the empty role if there are none."""
    steps = {step.approver for step in rollout.steps if step.approver}
    begun = waves.next_wave(rollout)
    later = rollout.waves[begun:] if begun is not None else ()
    return sorted({"", *steps, *(wave.approve for wave in later if wave.approve)})


def _waits(application: Application, rollout: Rollout, now: Instant) -> list[tuple[str, str]]:
    """The soaks and bakes that run now."""
    found = [
        (gate_of(track), "")
        for track in rollout.tracks
        if track.phase is TrackPhase.RUNNING and rollout.step(track).is_timed
    ]
    for wave in range(len(rollout.waves)):
        settled = all(track.is_settled for track in waves.tracks_of(rollout, wave))
        if settled and waves.in_bake(application, rollout, wave, now) is not None:
            found.append((waves.gate_of_bake(wave), ""))
    return _new(rollout, found)


def _new(rollout: Rollout, found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in dict.fromkeys(found) if not rollout.may_pass(pair[0])]


def _no_gate(application: Application, rollout: Rollout, now: Instant) -> Refused:
    if _waits(application, rollout, now):
        return Refused(Refusal.NO_GATE_BUT_TIME, cli("promote", application.name, skip=True))
    return Refused(Refusal.NO_GATE, cli("why", application.name), application=application.name)


def _check_role(gates: list[tuple[str, str]], role: str) -> None:
    """Several roles are given with commas between."""
    wanted = sorted({needed for _, needed in gates if needed} - {each.strip() for each in role.split(",")})
    if wanted:
        raise Refused(Refusal.ROLE_MISSING, roles=tuple(wanted))


def _with_passes(rollout: Rollout, passes: tuple[Pass, ...]) -> Rollout:
    return replace(rollout, passes=(*rollout.passes, *passes)[-PASSES_MAX:])


@dataclass(frozen=True, slots=True)
class Override:
    """A guard counts no longer for this rollout."""

    rule: str
    role: str = ""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        return request_override(application, self.rule, by, self.role, reason, now)


def request_override(
    application: Application, rule: str, by: str, role: str, reason: str, now: Instant
) -> Outcome:
    """The rule counts no longer for this rollout. It takes a reason, and is told."""
    rollout = _moving(application, "override a guard of")
    if not reason:
        raise Refused(Refusal.REASON_MISSING)
    overridden = Pass(f"guard {rule}", "overridden", now, by, role, reason)
    passed = replace(application, rollout=_with_passes(rollout, (overridden,)))
    what = reason_of(Happening.GUARD_OVERRIDDEN, rule=rule, by=by, role=role, reason=reason)
    return passed, (event_of(passed, "guard.overridden", what, now, by),)


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
    rollout = _moving(application, "go back a step of")
    moving = [track for track in rollout.tracks if track.phase is TrackPhase.RUNNING]
    if not any(rollout.has_given_traffic(track) for track in moving):
        raise Refused(Refusal.FIRST_STEP, cli("abort"))
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
        raise Refused(Refusal.HOSTS_GONE, cli("rollback"), region=track.region)
    cursor = before if before is not None else max(0, reached[0] - 1)
    former = steps[before] if before is not None else Weight(0, steps[reached[0]].deadline_seconds)
    changed = replace(track, cursor=cursor, entered_at=now, progressed_at=now, progress=None)
    passed = {gate_of(replace(track, cursor=index)) for index in range(cursor, len(steps))}
    passes = tuple(each for each in rollout.passes if each.gate not in passed)
    application = entered(application, rollout, changed, former)
    return application, replace(rollout.with_track(changed), passes=passes)


@dataclass(frozen=True, slots=True)
class Abort:
    """The rollout ends as if it had never begun; with `region`, only there."""

    region: RegionName | None = None

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        if self.region is None:
            return request_abort(application, by, reason, now)
        return request_abort_region(application, self.region, by, reason, now)


def request_abort_region(
    application: Application, region: RegionName, by: str, reason: str, now: Instant
) -> Outcome:
    """The region goes back to what it was, or never begins; the others go on."""
    rollout = _moving(application, "abort a region of")
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
        application, track = turned_round(application, rollout, track, why, now)
    else:
        track = replace(track, phase=TrackPhase.UNDONE, entered_at=now, reason=why)
    aborted = replace(application, rollout=replace(rollout.with_track(track), undo_end=Phase.ABORTED))
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
    served = {region for region in application.regions if application.serving_in(region) is not None}
    unknown = sorted(region for region, _ in sizes if region not in served)
    if unknown:
        raise Refused(
            Refusal.UNKNOWN_REGION_OF_SERVICE,
            application=application.name,
            region=unknown[0],
            known=tuple(sorted(served)),
        )
    told = []
    for region, size in sizes:
        for group in application.groups:
            part = group.part(region)
            if part is None or part.state is GroupState.RETIRING or part.size == size:
                continue
            application = put_part(application, group, _sized(part, size))
            told.append(f"{group.name} in {region}: {part.size} -> {size} hosts")
    if not told:
        return application, ()
    what = reason_of(Happening.SIZED, changes=tuple(told), reason=reason)
    return application, (event_of(application, "group.sized", what, now, by),)


def _sized(part: Part, size: int) -> Part:
    return replace(part, size=size)


def _moving(application: Application, verb: str) -> Rollout:
    rollout = application.running
    if rollout is None:
        raise Refused(Refusal.NOTHING_RUNNING, application=application.name, verb=verb)
    if rollout.phase is Phase.UNDOING:
        raise Refused(Refusal.UNDOING, application=application.name)
    return rollout
