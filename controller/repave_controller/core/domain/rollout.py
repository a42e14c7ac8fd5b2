"""What a rollout is: the waves of regions, and how far each region is on its way through the steps.

Plain frozen values. What becomes of them is decided in rollout/step.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NewType

from repave_controller.core.domain.analyses import Analysis, ByGate
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.jobs import NO_JOBS, JobRun, Jobs, Moment
from repave_controller.core.domain.reasons import Reason
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.domain.steps import Step as Step
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

GroupNumber = NewType("GroupNumber", int)

LOOK_SECONDS = 10.0
"""So often it is saved that a controller looks; at most so much of the time before it died proves nothing."""


# ---------------------------------------------------------------------------------------------- rollouts


class Phase(StrEnum):
    """How far a rollout is. Those after UNDOING are ends."""

    RUNNING = "running"
    UNDOING = "undoing"  # traffic goes back to the origin, a new target is cleaned up
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled-back"
    ABORTED = "aborted"
    HELD = "held"  # failed where going back was not possible: both stay, a person must act

    @property
    def is_over(self) -> bool:
        return self is not Phase.RUNNING and self is not Phase.UNDOING


class RolloutKind(StrEnum):
    RELEASE = "release"
    ROLLBACK = "rollback"
    ADOPTION = "adoption"  # of a fleet that was there before; over from the beginning


@dataclass(frozen=True, slots=True)
class Wave:
    """Regions that go together. `parallel` 0: all at once. In lock-step no region begins a step before all
    others of the wave have done the one before."""

    regions: tuple[RegionName, ...]
    parallel: int = 0
    bake_seconds: float = 0.0  # from the end of its last region to the start of the next wave
    approve: str | None = None  # role that approves the wave; "": any person
    is_lockstep: bool = True
    unless_objected_seconds: float = 0.0  # after so long no approval is needed, if no person has objected
    expires_seconds: float = 0.0  # the approval is waited for so long; 0: for ever
    takes_two: bool = True  # who released may not approve


class TrackPhase(StrEnum):
    """How far one region is."""

    WAITING = "waiting"  # its wave, or its turn in it, has not come
    RUNNING = "running"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"  # as before the rollout again
    SKIPPED = "skipped"  # left out; caught up later unless a person decides otherwise
    HELD = "held"  # not done, and stays where it was sent, for no group served before


@dataclass(frozen=True, slots=True)
class Kept:
    """The hosts of a group that is kept in a region: their number in full, how many of it, and proven."""

    size: int
    percent: float
    proven: int


@dataclass(frozen=True, slots=True)
class Track:
    """The way of one region through the steps."""

    region: RegionName
    wave: int
    origin: GroupNumber | None
    phase: TrackPhase = TrackPhase.WAITING
    cursor: int = 0  # of its step; while it waits, of the one that it begins with
    entered_at: Instant = Instant(0)  # of the present step or phase
    progressed_at: Instant = Instant(0)  # a step's deadline counts from here
    progress: int | None = None  # what `progressed_at` watches; growth is progress
    unseen_at: Instant | None = None  # since when no report of the region counts
    unseen_seconds: float = 0.0  # of the present step or phase, before `unseen_at`
    blocked_at: Instant | None = None  # since when hosts are missing for the step to come
    ill_at: Instant | None = None  # since when hosts are missing that its region replaces
    scaled_at: Instant | None = None  # when its newest hosts were asked for
    refuge: GroupNumber | None = None  # has all traffic, for the other side could not serve its share
    reason: Reason | None = None  # why it was undone or skipped, or that it has yet to follow
    target: GroupNumber | None = None  # where it is another one than the rollout's
    kept: Kept | None = None  # of a rollback to a group that was kept: what that was before it grew

    def entered(self, phase: TrackPhase, now: Instant, **changes: Any) -> "Track":
        """At the beginning of a step or phase: nothing that was waited for before counts in it."""
        return replace(
            self,
            phase=phase,
            entered_at=now,
            progressed_at=now,
            progress=None,
            unseen_at=None,
            unseen_seconds=0.0,
            blocked_at=None,
            ill_at=None,
            **changes,
        )

    def delayed(self, seconds: float) -> "Track":
        """As if all had happened so much later: the time of a pause counts for nothing."""
        return replace(
            self,
            entered_at=Instant(self.entered_at + seconds),
            progressed_at=Instant(self.progressed_at + seconds),
            unseen_at=_later(self.unseen_at, seconds),
            blocked_at=_later(self.blocked_at, seconds),
            ill_at=_later(self.ill_at, seconds),
        )

    def looked_for(self, now: Instant) -> "Track":
        """No report of its region counts at `now`."""
        return self if self.unseen_at is not None else replace(self, unseen_at=now)

    def seen(self, now: Instant) -> "Track":
        """A report counts at `now`. What could not be seen was no time in which nothing progressed."""
        if self.unseen_at is None:
            return self
        unseen = now - self.unseen_at
        return replace(
            self,
            progressed_at=Instant(self.progressed_at + unseen),
            unseen_at=None,
            unseen_seconds=self.unseen_seconds + unseen,
        )

    def objected_to(self, now: Instant) -> "Track":
        """From now on its step waits for an approval."""
        return replace(self, progress=0, progressed_at=now)

    def progressing(self, progress: int, now: Instant) -> "Track":
        """Growth of `progress` begins the step's deadline anew."""
        if self.progress is not None and progress <= self.progress:
            return self
        return replace(self, progress=progress, progressed_at=now)

    def healing(self, is_healing: bool, now: Instant) -> "Track":
        """Whether hosts are missing that its region replaces."""
        if is_healing == (self.ill_at is not None):
            return self
        return replace(self, ill_at=now if is_healing else None)

    def seen_until(self, seconds: float, now: Instant) -> Instant:
        """When its region has been seen for `seconds` in the present step or phase, if it is from now on."""
        unseen = self.unseen_seconds + (now - self.unseen_at if self.unseen_at is not None else 0.0)
        return Instant(self.entered_at + seconds + unseen)

    @property
    def has_begun(self) -> bool:
        return self.phase not in (TrackPhase.WAITING, TrackPhase.SKIPPED)

    @property
    def is_settled(self) -> bool:
        return self.phase in (TrackPhase.DONE, TrackPhase.UNDONE, TrackPhase.SKIPPED)


def _later(at: Instant | None, seconds: float) -> Instant | None:
    return Instant(at + seconds) if at is not None else None


@dataclass(frozen=True, slots=True)
class Pass:
    """A person let something go on: a gate was approved, a wait skipped, a guard overridden. Or objected:
    then a gate does not open by itself."""

    gate: str  # "step 1.3" (wave and step), "wave 2", "bake 1", "guard freeze", "*" for all
    kind: Literal["approved", "skipped", "overridden", "objected"]
    at: Instant
    by: str = ""
    role: str = ""
    reason: str = ""
    regions: tuple[RegionName, ...] = ()  # that may go on past a step; empty: all, those to come as well
    is_despite_failure: bool = False  # the step had failed there: its hosts' health holds it up no more


ALL_GATES = "*"


@dataclass(frozen=True, slots=True)
class Opened:
    """The gates that are open: in all regions, those to come as well, or in some."""

    everywhere: frozenset[str]
    within: frozenset[tuple[str, RegionName]]

    @classmethod
    def by(cls, passes: Iterable[Pass]) -> "Opened":
        opening = [each for each in passes if each.kind != "objected"]
        return cls(
            frozenset(each.gate for each in opening if not each.regions),
            frozenset((each.gate, region) for each in opening for region in each.regions),
        )

    def lets(self, gate: str, region: RegionName | None) -> bool:
        """Whether the region may go on past the gate; None: the rollout, past one that has no region."""
        if gate in self.everywhere or ALL_GATES in self.everywhere:
            return True
        return region is not None and ((gate, region) in self.within or (ALL_GATES, region) in self.within)


def _enduring(passes: Listed[Pass]) -> Opened:
    return Opened.by(each for each in passes if each.is_despite_failure)


Objections = Mapping[tuple[str, RegionName | None], tuple[int, Pass]]
"""The newest against each gate and in each region, with its place among all passes; None: in all regions."""


def _objections(passes: Listed[Pass]) -> Objections:
    return {
        (each.gate, region): (place, each)
        for place, each in enumerate(passes)
        if each.kind == "objected"
        for region in (each.regions or (None,))
    }


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing of a rollout moves. `is_hold`: repave paused it by itself, since going on would be wrong."""

    at: Instant
    by: str = ""
    reason: Reason | None = None
    is_hold: bool = False
    region: RegionName | None = None  # which failed; of a hold


def _newest_origin(tracks: ByRegion[Track]) -> GroupNumber | None:
    return max((track.origin for track in tracks if track.origin is not None), default=None)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One release or rollback: each region goes through the same steps on its own track, in waves."""

    number: int  # counts the application's rollouts, from 1
    kind: RolloutKind
    target: GroupNumber  # of its regions, save those whose track names another one
    steps: tuple[Step, ...]
    tracks: ByRegion[Track]
    phase: Phase
    started_at: Instant
    started_by: str
    waves: tuple[Wave, ...] = ()
    passes: Listed[Pass] = Listed()
    pause: Pause | None = None
    asked_at: Instant | None = None  # since when the wave that is to begin waits for a person
    is_stopped: bool = False  # no further region begins; those that have begun come to their end
    version: str = ""  # of the target, still known when the group is gone
    reason: str = ""  # why a person started it
    undo_reason: Reason | None = None  # why it goes back or was held
    undo_end: Phase = Phase.ROLLED_BACK  # what UNDOING ends in
    looked_at: Instant | None = None  # when a controller looked last, to within LOOK_SECONDS
    makes_room: Listed[RegionName] = Listed()  # where it begins once the groups that give way are gone
    analyses: ByGate[Analysis] = ByGate()  # of each step of a wave that has one, or of each region in it
    jobs: Jobs = NO_JOBS  # that run once in it
    runs: tuple[JobRun, ...] = ()  # attempts of them, the oldest first
    ended_at: Instant | None = None

    def last_run(self, moment: Moment, job: str) -> JobRun | None:
        """The newest attempt of the job."""
        of_job = (each for each in reversed(self.runs) if (each.moment, each.job) == (moment, job))
        return next(of_job, None)

    def with_run(self, run: JobRun) -> "Rollout":
        """Replaces the attempt of that id, or adds it."""
        others = tuple(each for each in self.runs if each.id != run.id)
        return replace(self, runs=tuple(sorted((*others, run), key=lambda each: each.id)))

    def with_runs_delayed(self, away: float) -> "Rollout":
        """It stood still for so long: that is no time in which an attempt could have begun."""
        runs = (
            replace(run, asked_at=Instant(run.asked_at + away)) if run.is_open else run for run in self.runs
        )
        return replace(self, runs=tuple(runs))

    def track(self, region: RegionName) -> Track | None:
        return self.tracks.find(region)

    def with_track(self, track: Track) -> "Rollout":
        """Replaces the track of that region; itself where the track is as it was."""
        return self if self.track(track.region) == track else replace(self, tracks=self.tracks.put(track))

    def with_tracks(self, tracks: Iterable[Track]) -> "Rollout":
        """The same for many regions, at the price of one."""
        changed = [track for track in tracks if self.track(track.region) != track]
        return replace(self, tracks=self.tracks.put_all(changed)) if changed else self

    def analysis(self, gate: str, region: RegionName) -> Analysis | None:
        return self.analyses.find((gate, region))

    def with_analysis(self, analysis: Analysis) -> "Rollout":
        """Replaces that of the same gate and region, or adds it."""
        return replace(self, analyses=self.analyses.put(analysis))

    def target_of(self, track: Track) -> GroupNumber:
        """The group that the rollout brings to the track's region."""
        return track.target if track.target is not None else self.target

    @property
    def targets(self) -> tuple[GroupNumber, ...]:
        """Each group that it brings to some region, the newest first."""
        return tuple(sorted({self.target, *map(self.target_of, self.tracks)}, reverse=True))

    def step(self, track: Track) -> Step:
        return self.steps[track.cursor]

    def following(self, track: Track) -> Step | None:
        """The step that the track enters next; None: it is done then."""
        cursor = track.cursor + 1 if track.has_begun else track.cursor
        return self.steps[cursor] if cursor < len(self.steps) else None

    @property
    def origin(self) -> GroupNumber | None:
        """The group that served before; the newest of several where regions differed."""
        return self.tracks.once(_newest_origin)

    @property
    def cursor(self) -> int:
        """The step that the slowest region is in."""
        moving = [track.cursor for track in self.tracks if track.phase is TrackPhase.RUNNING]
        if moving:
            return min(moving)
        is_done = any(track.phase is TrackPhase.DONE for track in self.tracks)
        return max(0, len(self.steps) - 1) if is_done else 0

    def has_given_traffic(self, track: Track | None = None) -> bool:
        """Whether the track, or any track, is in or past its first step that gives the target a share."""
        tracks = self.tracks if track is None else (track,)
        return any(step.share_bp is not None for each in tracks for step in self.steps_reached(each))

    def steps_reached(self, track: Track) -> tuple[Step, ...]:
        """Those that the track is past, and the one that it is in."""
        return self.steps[: track.cursor + 1] if track.has_begun else ()

    def objection(self, gate: str, region: RegionName | None = None) -> Pass | None:
        """The newest one against the gate, if any."""
        against = self.passes.once(_objections)
        found = [against[key] for key in ((gate, None), (gate, region)) if key in against]
        return max(found, key=lambda each: each[0])[1] if found else None

    def may_pass(self, gate: str, region: RegionName | None = None) -> bool:
        return self.passes.once(Opened.by).lets(gate, region)

    def has_overridden(self, rule: str) -> bool:
        """Whether a person let it go on against the rule."""
        return f"guard {rule}" in self.passes.once(Opened.by).everywhere

    def is_endured(self, gate: str, region: RegionName) -> bool:
        """The same as `may_pass`, although the region's step had failed."""
        return self.passes.once(_enduring).lets(gate, region)
