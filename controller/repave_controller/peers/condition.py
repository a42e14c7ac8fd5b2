"""How each controller is, from how all stand, and what there is to say of it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from repave_controller.core.domain.reasons import Concern, Reason, reason_of
from repave_controller.peers.ports import Member, Seen, Shard, Standing
from repave_controller.peers.shards import is_present


class State(StrEnum):
    LIVE = "live"
    FROZEN = "frozen"  # its session is there, and its lease has ended
    AWAY = "away"


@dataclass(frozen=True, slots=True)
class Condition:
    """Of one controller. `lease_left_seconds`: below 0, since the lease ended."""

    member: Member
    state: State
    lease_left_seconds: float
    shards: tuple[Shard, ...]
    concerns: tuple[Reason, ...]


def conditions(standing: Standing, me: Member) -> Sequence[Condition]:
    """By name."""
    return [
        Condition(
            seen.member,
            state_of(seen),
            seen.lease_left_seconds,
            tuple(each.shard for each in standing.shards if each.owner == seen.member.id),
            _concerns(seen, me),
        )
        for seen in sorted(standing.members, key=lambda each: each.member.id)
    ]


def state_of(seen: Seen) -> State:
    if is_present(seen):
        return State.LIVE
    return State.FROZEN if seen.holds_lock and not seen.is_live else State.AWAY


def _concerns(seen: Seen, me: Member) -> tuple[Reason, ...]:
    state, found = state_of(seen), []
    if state is State.FROZEN:
        found.append(reason_of(Concern.FROZEN))
    if state is State.AWAY:
        found.append(reason_of(Concern.AWAY, seconds=max(0, round(-seen.lease_left_seconds))))
    if state is State.LIVE and seen.holds_lock is None:
        found.append(reason_of(Concern.LEASE_ONLY))
    if state is State.LIVE and seen.member.version != me.version:
        found.append(reason_of(Concern.OTHER_VERSION, version=seen.member.version, own=me.version))
    return tuple(found)
