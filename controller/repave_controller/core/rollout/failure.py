"""Decides what the failure of a region does to its rollout: `step` acts on it, `repave why` foretells it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from repave_controller.core.domain.application import Policy
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.rollout import Rollout, RolloutKind, Track, TrackPhase
from repave_controller.core.rules.verdicts import Cause
from repave_protos.protocol.values import RegionName

BACKWARD = (TrackPhase.UNDOING, TrackPhase.UNDONE)


class FailureKind(StrEnum):
    """What becomes of the rollout."""

    END = "end"  # it ends where it is, for there is no group to go back to
    PAUSE = "pause"  # it stays where it is until a person decides
    STAY = "stay"  # the region keeps what it was sent, the others go on
    CONTINUE = "continue"  # the region goes back, the others go on
    STOP = "stop"  # the region, or its wave, goes back; no further region begins
    UNDO = "undo"  # all of it goes back
    KEEP = "keep"  # it is held: these regions stay with the larger group, for going back would do harm


@dataclass(frozen=True, slots=True)
class FailureEffect:
    """`regions` go back: those that have begun and have a way back."""

    kind: FailureKind
    regions: tuple[RegionName, ...] = ()
    wave: int | None = None  # whose regions these are, where a whole wave goes back
    back: tuple[RegionName, ...] = ()  # where others are kept: that goes back all the same


class Returns:
    """The regions that go back with a wave or with the whole rollout, looked for once for all that ask."""

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout

    @cached_property
    def of_all(self) -> tuple[RegionName, ...]:
        return _regions(self._rollout, self._rollout.tracks)

    def of_wave(self, wave: int) -> tuple[RegionName, ...]:
        return self._by_wave.get(wave, ())

    @cached_property
    def _by_wave(self) -> Mapping[int, tuple[RegionName, ...]]:
        found: dict[int, list[RegionName]] = {}
        for track in returning(self._rollout, self._rollout.tracks):
            found.setdefault(track.wave, []).append(track.region)
        return {wave: tuple(regions) for wave, regions in found.items()}


def effect_of(
    policy: Policy, rollout: Rollout, track: Track, cause: Cause, returns: Returns
) -> FailureEffect:
    """What a failure of the track's region does now. A first release that has traffic, and a region that
    can't go back stay where they are: there is no group to go back to. A region in which a rollback fails
    concerns no other one: those go back all the same, and none that has gone back returns."""
    if track.phase is TrackPhase.UNDOING:
        return FailureEffect(FailureKind.END)
    has_traffic = rollout.has_given_traffic(track)
    if rollout.kind is RolloutKind.ROLLBACK:
        kind = FailureKind.STAY if has_traffic else FailureKind.CONTINUE
        return FailureEffect(kind, (track.region,))
    if has_traffic and rollout.origin is None:
        return FailureEffect(FailureKind.END)
    if cause not in policy.goes_back_on:
        return FailureEffect(FailureKind.PAUSE)
    if rollout.tracks.once(_gone_back) < policy.failures_max:
        return FailureEffect(FailureKind.CONTINUE, (track.region,))
    match policy.scope:
        case "region":
            return FailureEffect(FailureKind.STOP, _regions(rollout, [track]))
        case "wave":
            return FailureEffect(FailureKind.STOP, returns.of_wave(track.wave), track.wave)
        case "release":
            return FailureEffect(FailureKind.UNDO, returns.of_all)


def _gone_back(tracks: ByRegion[Track]) -> int:
    return sum(track.phase in BACKWARD for track in tracks)


def effect_of_wave(policy: Policy, rollout: Rollout, returns: Returns) -> FailureEffect:
    """What comes of a wave that was not approved in time: it has no region that failed, so no budget of
    failures counts, and only the scope `release` takes back those that have begun."""
    if "deadline" not in policy.goes_back_on:
        return FailureEffect(FailureKind.PAUSE)
    back = returns.of_all
    if policy.scope == "release" and (back or not rollout.has_given_traffic()):
        return FailureEffect(FailureKind.UNDO, back)
    return FailureEffect(FailureKind.STOP)


def begun(tracks: ByRegion[Track]) -> int:
    """How many have begun and not gone back."""
    return sum(track.has_begun and track.phase not in BACKWARD for track in tracks)


def _regions(rollout: Rollout, tracks: Iterable[Track]) -> tuple[RegionName, ...]:
    return tuple(track.region for track in returning(rollout, tracks))


def returning(rollout: Rollout, tracks: Iterable[Track]) -> Iterable[Track]:
    """Those of `tracks` that go back when the rollout does."""
    return (
        track
        for track in tracks
        if track.has_begun and track.phase not in BACKWARD and has_way_back(rollout, track)
    )


def has_way_back(rollout: Rollout, track: Track) -> bool:
    """Whether an older group served before, or traffic has not been given yet. Where none served anywhere,
    a group that has traffic keeps it."""
    return rollout.origin is not None or not rollout.has_given_traffic(track)
