"""Lists the gates that a rollout waits at, and the times that a person may end. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from repave_controller.core.domain.analyses import Ending
from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.rollout import Phase, Rollout, Step, Track, TrackPhase
from repave_controller.core.rollout import waves
from repave_controller.core.rules.looks import analysis_of
from repave_controller.core.rules.verdicts import gate_of
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import RegionName

Kind = Literal["approval", "objection", "time", "analysis"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a rollout waits at now: an approval, one that is not needed once nobody has objected in time, or
    the end of a time or of an analysis. `regions`: those that are at it; none where the whole rollout is.
    `takes_two`: who released may not approve."""

    name: str
    kind: Kind
    role: str = ""
    regions: tuple[RegionName, ...] = ()
    takes_two: bool = False

    @property
    def in_words(self) -> str:
        """`step 1.4 in oslo, paris`"""
        return f"{self.name} in {', '.join(self.regions)}" if self.regions else self.name

    def only_in(self, regions: tuple[RegionName, ...]) -> "Gate | None":
        """The part of it that is in these regions; None when there is none."""
        there = frozenset(regions)
        left = tuple(region for region in self.regions if region in there)
        return replace(self, regions=left) if left else None


def gates(application: Application, now: Instant) -> tuple[Gate, ...]:
    """What the running rollout waits at now, approvals first; nothing while it is paused or held."""
    rollout = application.running
    if rollout is None or rollout.phase is Phase.UNDOING or rollout.pause is not None:
        return ()
    return (*approvals_in(application, rollout, now), *times_in(application, rollout, now))


def approvals(application: Application, now: Instant) -> tuple[Gate, ...]:
    """Those of the gates that wait for a person."""
    return tuple(gate for gate in gates(application, now) if gate.kind == "approval")


def approvals_in(application: Application, rollout: Rollout, now: Instant) -> list[Gate]:
    """The approvals that are waited for, also while the rollout is paused."""
    waiting = [
        (track, role)
        for track in rollout.tracks
        if track.phase is TrackPhase.RUNNING and (role := rollout.step(track).approver) is not None
    ]
    opens_alone = {track.region: goes_on_alone(rollout, track) for track, _ in waiting}
    alone = [each for each in waiting if opens_alone[each[0].region]]
    found = _at_steps(rollout, "approval", (each for each in waiting if not opens_alone[each[0].region]))
    still = (each for each in alone if now < _alone_at(rollout, each[0]))
    found += _at_steps(rollout, "objection", still)
    wave = waves.next_wave(rollout)
    if wave is not None and waves.pending_approver(rollout, wave) is not None and not rollout.is_stopped:
        earlier = [track for track in rollout.tracks if track.wave < wave]
        baked = not wave or waves.in_bake(application, rollout, wave - 1, now) is None
        if all(track.is_settled for track in earlier) and baked:
            found += _of_wave(rollout, wave, now)
    return found


def goes_on_alone(rollout: Rollout, track: Track) -> bool:
    """Whether the approval that the track waits for is not needed once its time has passed."""
    is_objected = rollout.objection(gate_of(track), track.region) is not None
    return bool(rollout.step(track).objection_seconds) and not is_objected


def _alone_at(rollout: Rollout, track: Track) -> Instant:
    return Instant(track.entered_at + rollout.step(track).objection_seconds)


def _of_wave(rollout: Rollout, wave: int, now: Instant) -> list[Gate]:
    until = waves.goes_on_alone_at(rollout, wave, now)
    if until is not None and now >= until:
        return []
    kind: Kind = "approval" if until is None else "objection"
    asked = rollout.waves[wave]
    return [Gate(waves.gate_of_wave(wave), kind, asked.approve or "", takes_two=asked.takes_two)]


def times_in(application: Application, rollout: Rollout, now: Instant) -> list[Gate]:
    """The soaks, bakes and analyses that run now."""
    running = [
        (track, "")
        for track in rollout.tracks
        if track.phase is TrackPhase.RUNNING
        and rollout.step(track).analysis is None
        and now < _ends_at(rollout.step(track), track, now)
    ]
    judged = [
        (track, "")
        for track in rollout.tracks
        if track.phase is TrackPhase.RUNNING
        and rollout.step(track).analysis is not None
        and track.origin is not None
        and analysis_of(rollout, track).ending is not Ending.PASSED
    ]
    found = [*_at_steps(rollout, "time", running), *_at_steps(rollout, "analysis", judged)]
    following = waves.next_wave(rollout)
    wave = (following if following is not None else len(rollout.waves)) - 1
    if wave < 0 or rollout.is_stopped:
        return found
    reached = [track for track in rollout.tracks if track.wave <= wave]
    is_over = waves.in_bake(application, rollout, wave, now) is None
    if all(track.is_settled for track in reached) and not is_over:
        found.append(Gate(waves.gate_of_bake(wave), "time"))
    return found


def _ends_at(step: Step, track: Track, now: Instant) -> Instant:
    """When the time of the step is over: what is watched counts the time in which it is seen."""
    if step.is_watched:
        return track.seen_until(step.wait_seconds, now)
    return Instant(track.entered_at + step.wait_seconds)


def _at_steps(rollout: Rollout, kind: Kind, tracks: Iterable[tuple[Track, str]]) -> list[Gate]:
    """One gate for all regions that are in the same step of one wave."""
    found: dict[str, Gate] = {}
    regions: dict[str, list[RegionName]] = {}
    for track, role in tracks:
        name = gate_of(track)
        if not rollout.may_pass(name, track.region):
            found.setdefault(name, Gate(name, kind, role, takes_two=rollout.step(track).takes_two))
            regions.setdefault(name, []).append(track.region)
    return [replace(gate, regions=tuple(regions[name])) for name, gate in found.items()]


def gate_names(rollout: Rollout) -> set[str]:
    """Of all gates and waits of the rollout, those to come as well."""
    waves_ = range(len(rollout.waves))
    steps = {
        f"step {wave + 1}.{index + 1}"
        for wave in waves_
        for index, step in enumerate(rollout.steps)
        if step.is_timed or step.approver is not None
    }
    bakes = {waves.gate_of_bake(wave) for wave in waves_ if rollout.waves[wave].bake_seconds}
    begins = {waves.gate_of_wave(wave) for wave in waves_ if rollout.waves[wave].approve is not None}
    return steps | bakes | begins
