"""How rollouts go: waves, lock-step, gates, waits and pauses, checked on each decision once it is durable.

Knows the rules from what the user chose, and nothing of the code that follows them: times are counted here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from repave_controller.core.domain.application import UNWANTED, Application, Event, Instant
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Reason, Why
from repave_controller.core.domain.rollout import Rollout, Track, TrackPhase, Wave
from repave_controller.core.steps import Analyse, Approve
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.world.world import World

ROUNDING_SECONDS = 0.001
BACK = (TrackPhase.UNDOING, TrackPhase.UNDONE)
BY_PEOPLE = (Why.ABORTED, Why.ROLLED_BACK, Why.REPLACED)

Moved = tuple[Track, Track]
"""A region before and after."""


@dataclass(slots=True)
class _Stay:
    """Since when a region is where it is, and how long people had stopped the clocks meanwhile."""

    since: float  # by the controller's clock
    noted_at: float  # by the world's
    paused_seconds: float = 0.0


@dataclass(slots=True)
class Course:
    """What is known of the rollouts under way, by application."""

    world: World
    stays: dict[tuple[ApplicationName, RegionName], _Stay] = field(default_factory=dict)

    def check(self, before: Application | None, after: Application, events: Sequence[Event]) -> None:
        """`after` has just become durable in place of `before`, with these events."""
        rollout = after.rollout
        if rollout is None:
            return
        was = before.rollout if before is not None else None
        if was is None or was.number != rollout.number:
            was = _unbegun(rollout)
        moved = list(moved_since(was, rollout))
        self._count_pause(was, after.name, events)
        if before is not None and was.pause is not None and rollout.pause == was.pause:
            self._check_paused(before, after, moved)
        elif was.pause is not None:
            self._check_resumed(was, moved, after.name, events)
        if not rollout.phase.is_over:
            for former, track in moved:
                self._check_order(after, rollout, former, track, is_stopped=was.is_stopped)
        for former, track in moved:
            self._check_waits(after, rollout, former, track)
        self._note(after.name, moved, events)

    # --------------------------------------------------------------------------------------- pauses

    def _check_paused(self, before: Application, after: Application, moved: list[Moved]) -> None:
        """While a rollout is paused, or held, nothing of it moves but what people move, and the traffic of a
        side that can't serve."""
        for former, track in moved:
            is_back = former.phase is TrackPhase.UNDOING  # a pause holds no region up that goes back
            if _is_aborted(former, track) or track.refuge != former.refuge or is_back:
                continue
            if (former.phase, former.cursor) != (track.phase, track.cursor):
                text = f"{former.phase} {former.cursor} -> {track.phase} {track.cursor}"
                self._broken(after.name, track.region, f"moves in a pause: {text}")
            for group in before.groups:
                now = after.group(group.number)
                part, later = group.part(track.region), now.part(track.region) if now is not None else None
                if part is None or later is None or part.state in UNWANTED:
                    continue
                if (part.weight_bp, part.percent) != (later.weight_bp, later.percent):
                    text = f"{part.weight_bp} -> {later.weight_bp} bp, {part.percent} -> {later.percent} %"
                    self._broken(after.name, track.region, f"{group.name} changes in a pause: {text}")

    def _check_resumed(
        self, was: Rollout, moved: list[Moved], name: ApplicationName, events: Sequence[Event]
    ) -> None:
        """The time of a pause counts for no deadline."""
        resumed = _resumed_at(events)
        if resumed is None or was.pause is None:
            return
        away = resumed - was.pause.at
        for former, track in moved:
            if former.phase is not TrackPhase.RUNNING:
                continue
            had = was.pause.at - former.progressed_at
            deadline = getattr(was.step(former), "deadline_seconds", 0.0)
            reason = track.reason if track.reason != former.reason else None
            is_late = reason is not None and reason.kind is Why.NO_PROGRESS
            if is_late and had < deadline - ROUNDING_SECONDS:
                self._broken(name, track.region, f"a deadline passed in a pause of {away:.1f} s")

    # ------------------------------------------------------------------------------ order and gates

    def _check_order(
        self, application: Application, rollout: Rollout, former: Track, track: Track, *, is_stopped: bool
    ) -> None:
        if track.phase is not TrackPhase.RUNNING:
            return
        wave = rollout.waves[track.wave]
        if former.phase is TrackPhase.WAITING:
            self._check_begin(application, rollout, track, wave, is_stopped=is_stopped)
        if wave.is_lockstep and (track.cursor > former.cursor or former.phase is TrackPhase.WAITING):
            self._check_lockstep(application.name, rollout, track)

    def _check_begin(
        self, application: Application, rollout: Rollout, track: Track, wave: Wave, *, is_stopped: bool
    ) -> None:
        name, region = application.name, track.region
        if is_stopped:
            self._broken(name, region, "begins although the rollout was stopped")
        for other in rollout.tracks:
            if other.wave < track.wave and not (other.is_settled or other.phase is TrackPhase.UNDOING):
                self._broken(name, region, f"wave {track.wave + 1} begins, {other.region} is {other.phase}")
        together = [each for each in rollout.tracks if each.wave == track.wave]
        running = sum(each.phase is TrackPhase.RUNNING for each in together)
        if wave.parallel and running > wave.parallel:
            self._broken(name, region, f"{running} regions at once, {wave.parallel} may")
        gate = f"wave {track.wave + 1}"
        is_needed = not wave.unless_objected_seconds or rollout.objection(gate) is not None
        if wave.approve is not None and is_needed and not rollout.may_pass(gate):
            self._broken(name, region, f"no approval of wave {track.wave + 1}")
        if track.wave:
            self._check_baked(application.name, rollout, track)

    def _check_baked(self, name: ApplicationName, rollout: Rollout, track: Track) -> None:
        """The wave before was watched for its bake time, counted from the end of its last region."""
        before, bake = track.wave - 1, rollout.waves[track.wave - 1].bake_seconds
        if rollout.may_pass(f"bake {before + 1}"):
            return
        for other in rollout.tracks:
            stay = self.stays.get((name, other.region))
            if other.wave != before or other.phase is not TrackPhase.DONE or stay is None:
                continue
            watched = track.entered_at - stay.since - stay.paused_seconds
            if watched < bake - ROUNDING_SECONDS:
                text = (
                    f"wave {track.wave + 1} begins {watched:.2f} s after {other.region}, bake is {bake:g} s"
                )
                self._broken(name, track.region, text)
            self._check_watched(name, other.region, stay, watched, "bake", bake)

    def _check_lockstep(self, name: ApplicationName, rollout: Rollout, track: Track) -> None:
        """No region begins a step before all others of the wave have done the one before."""
        for other in rollout.tracks:
            if other.wave != track.wave or other.region == track.region:
                continue
            is_behind = other.phase is TrackPhase.RUNNING and other.cursor < track.cursor - 1
            is_waiting = other.phase is TrackPhase.WAITING and not rollout.is_stopped and track.cursor > 0
            if is_behind or is_waiting:
                text = f"step {track.cursor + 1} in lock-step, {other.region} is {other.phase} in"
                self._broken(name, track.region, f"{text} {other.cursor + 1}")

    def _check_waits(self, application: Application, rollout: Rollout, former: Track, track: Track) -> None:
        """A region that leaves a step has waited for as long as it says, and for its approval."""
        end = len(rollout.steps) if track.phase is TrackPhase.DONE else track.cursor
        if track.phase not in (TrackPhase.RUNNING, TrackPhase.DONE) or former.phase not in (
            TrackPhase.RUNNING,
            TrackPhase.WAITING,
        ):
            return
        for index in range(former.cursor, end):
            step, gate = rollout.steps[index], f"step {track.wave + 1}.{index + 1}"
            if rollout.may_pass(gate, track.region):
                continue
            is_objected = rollout.objection(gate, track.region) is not None
            if isinstance(step, Approve) and (is_objected or not step.unless_objected_seconds):
                self._broken(application.name, track.region, f"no approval of {gate}")
            stay = self.stays.get((application.name, track.region))
            is_here = index == former.cursor and former.phase is TrackPhase.RUNNING and stay is not None
            waited = track.entered_at - stay.since - stay.paused_seconds if is_here and stay else 0.0
            seconds = step.objection_seconds or step.wait_seconds
            if waited < seconds - ROUNDING_SECONDS and not isinstance(step, Analyse):  # see analyses.py
                text = f"{step.kind} of {seconds:g} s is left after {waited:.2f} s"
                self._broken(application.name, track.region, text)
            if step.is_watched and is_here and stay is not None:
                self._check_watched(application.name, track.region, stay, waited, f"{step.kind}", seconds)

    def _check_watched(
        self, name: ApplicationName, region: RegionName, stay: _Stay, waited: float, what: str, seconds: float
    ) -> None:
        """What no controller looked at proves nothing."""
        if self.world.clock_set_back_seconds:
            return  # the controller's clock then stands still while it is away
        watched = waited - self.world.unwatched_seconds(stay.noted_at)
        if watched < seconds - ROUNDING_SECONDS:
            text = f"{what} of {seconds:g} s is over, and a controller looked for {watched:.2f} s of it"
            self._broken(name, region, text)

    # -------------------------------------------------------------------------------------- times

    def _note(self, name: ApplicationName, moved: list[Moved], events: Sequence[Event]) -> None:
        kinds = {event.kind: event.at for event in events}
        for former, track in moved:
            stay = self.stays.get((name, track.region))
            is_new = (former.phase, former.cursor) != (track.phase, track.cursor)
            if stay is None or is_new or ("rollout.retried" in kinds and track.phase is TrackPhase.RUNNING):
                self.stays[name, track.region] = _Stay(track.entered_at, self.world.now)

    def _count_pause(self, was: Rollout, name: ApplicationName, events: Sequence[Event]) -> None:
        resumed = _resumed_at(events)
        for track in was.tracks if was.pause is not None and resumed is not None else ():
            if was.pause is not None and resumed is not None and track.has_begun:
                stay = self.stays[name, track.region]
                stay.paused_seconds += max(0.0, resumed - max(was.pause.at, stay.since))

    def _broken(self, name: ApplicationName, region: RegionName, text: str) -> None:
        self.world.broken(0, f"{name} in {region}: {text}")


def _resumed_at(events: Sequence[Event]) -> Instant | None:
    return next((event.at for event in events if event.kind == "rollout.resumed"), None)


def _unbegun(rollout: Rollout) -> Rollout:
    """The same rollout before anything of it."""
    tracks = ByRegion(
        replace(each, phase=TrackPhase.WAITING, cursor=0, reason=None) for each in rollout.tracks
    )
    return replace(rollout, tracks=tracks, pause=None, is_stopped=False)


def moved_since(was: Rollout, rollout: Rollout) -> Iterator[Moved]:
    """Each region of the rollout as it was and as it is."""
    for track in rollout.tracks:
        former = was.track(track.region)
        if former is not None:
            yield former, track


def _is_aborted(former: Track, track: Track) -> bool:
    return track.phase in BACK and former.phase is not track.phase and is_by_people(track.reason)


def is_by_people(reason: Reason | None) -> bool:
    return reason is not None and reason.kind in BY_PEOPLE
