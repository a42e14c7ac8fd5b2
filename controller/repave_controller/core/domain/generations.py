"""Names what is decided of an application at one moment, so that a command can say what its sender saw.

The name changes with whatever a person goes by: a rollout that begins, moves, pauses or ends, the queue,
sizes, groups that come and go. It does not change with reports, nor with clocks.
"""

import hashlib

from repave_controller.core.domain.application import Application, Part
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Refusal, Refused, cli
from repave_controller.core.domain.rollout import Rollout, Track

DIGITS = 12
ANY = "*"


def generation_of(application: Application) -> str:
    """The number of the newest rollout, a dot, and a hash of the rest: `7.3f9ab0c1d2e4`."""
    groups = tuple((each.number, each.generation, each.parts.once(_parts)) for each in application.groups)
    rollout = application.rollout
    decided = (
        groups,
        _rollout(rollout) if rollout is not None else None,
        tuple((each.number, each.version) for each in application.queue),
        application.queue_stands is not None,
        application.deletion is not None,
        tuple(each.region for each in application.drained),
        tuple((each.region, each.host) for each in application.tainted),
    )
    named = hashlib.blake2b(repr(decided).encode(), digest_size=DIGITS // 2).hexdigest()
    return f"{application.rollouts_total}.{named}"


def check_unmoved(application: Application, expected: tuple[str, ...]) -> None:
    """Raises Refused unless it is still at one of these; with none, it may be anywhere."""
    if not expected or ANY in expected or (now := generation_of(application)) in expected:
        return
    rollout = application.rollout
    raise Refused(
        Refusal.MOVED,
        cli("status", application.name),
        application=application.name,
        expected=", ".join(expected),
        generation=now,
        rollout=application.rollouts_total,
        seen_rollout=_rollout_in(expected),
        version=rollout.version if rollout is not None else "",
        phase=str(rollout.phase) if rollout is not None else "",
        paused_by=(rollout.pause.by or "repave") if rollout is not None and rollout.pause is not None else "",
    )


def _rollout_in(expected: tuple[str, ...]) -> int:
    """The newest that was seen; -1 where these are no generations at all."""
    numbers = [each.partition(".")[0] for each in expected]
    return max(
        (int(each) for each in numbers if each.isascii() and each.isdecimal() and len(each) < 10), default=-1
    )


def _rollout(rollout: Rollout) -> tuple[object, ...]:
    pause = rollout.pause
    return (
        rollout.number,
        rollout.phase.value,
        (pause.at, pause.by) if pause is not None else None,
        rollout.is_stopped,
        tuple((each.gate, each.kind, each.regions) for each in rollout.passes),
        rollout.tracks.once(_tracks),
    )


def _tracks(tracks: ByRegion[Track]) -> tuple[object, ...]:
    return tuple((each.region, each.phase.value, each.cursor) for each in tracks)


def _parts(parts: ByRegion[Part]) -> tuple[object, ...]:
    return tuple((each.region, each.size, each.state.value) for each in parts)
