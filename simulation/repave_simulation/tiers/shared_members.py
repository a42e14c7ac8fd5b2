"""The controllers that share a store, in memory: the fake of the store's part that peers.ports.Roll names.

A process that is frozen keeps its session and so its lock; one that is killed loses it at once; one that is
cut off keeps it for as long as the database does not notice.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import (
    LEASE_SECONDS,
    SHARDS,
    ControllerId,
    Held,
    Member,
    Seen,
    Shard,
    Standing,
)


@dataclass
class Roster:
    """What the database has of controllers and shards. Its clock is `now() + clock_step`."""

    now: Callable[[], float]
    incarnation: int = 1
    clock_step: float = 0.0
    members: dict[ControllerId, Member] = field(default_factory=dict)
    ends_at: dict[ControllerId, float] = field(default_factory=dict)
    sessions: dict[str, bool] = field(default_factory=dict)  # by instance, of those that ever had a lock
    shards: dict[Shard, Held] = field(
        default_factory=lambda: {number: Held(number, None, 0) for number in range(SHARDS)}
    )

    def clock(self) -> float:
        return self.now() + self.clock_step

    def has_lease(self, controller: ControllerId) -> bool:
        """One that ends too late is of before the clock was set back: it counts no more."""
        return self.clock() < self.ends_at.get(controller, 0.0) <= self.clock() + LEASE_SECONDS

    def may_commit(self, controller: ControllerId, shard: Shard, term: int) -> bool:
        """The fence: what each commit asks in the same moment."""
        return self.shards[shard] == Held(shard, controller, term)

    def died(self, member: Member) -> None:
        """The session of a process that was killed ends at once."""
        self.sessions.update({member.instance: False} if member.instance in self.sessions else {})


class MemoryRoll:
    """Implements peers.ports.Roll, for one process. While `trouble` is set nothing reaches the store."""

    def __init__(self, roster: Roster, has_locks: bool = True) -> None:
        self.roster = roster
        self.trouble = ""
        self._has_locks = has_locks

    async def beat(self, member: Member) -> Standing:
        self._check()
        roster = self.roster
        former = roster.members.get(member.id)
        if former is not None and former.instance != member.instance and self._has_name(former):
            raise StoreError(f"another controller calls itself {member.id!r} and is there: {former.url}.")
        roster.members[member.id] = member
        roster.ends_at[member.id] = roster.clock() + LEASE_SECONDS
        if self._has_locks:
            roster.sessions[member.instance] = True
        return self._standing()

    async def take(self, member: Member, shards: Collection[Shard]) -> Mapping[Shard, int]:
        self._check()
        roster = self.roster
        if roster.members.get(member.id) != member or not self._is_there(member):
            return {}
        taken = {}
        for number in sorted(shards):
            held = roster.shards[number]
            owner = roster.members.get(held.owner) if held.owner is not None else None
            if owner is None or owner.id == member.id or not self._is_there(owner):
                roster.shards[number] = Held(number, member.id, held.term + 1)
                taken[number] = held.term + 1
        return taken

    async def hand_over(self, member: Member, shards: Collection[Shard]) -> None:
        self._check()
        if self.roster.members.get(member.id) != member:
            return
        for number in shards:
            held = self.roster.shards[number]
            if held.owner == member.id:
                self.roster.shards[number] = Held(number, None, held.term)

    async def leave(self, member: Member) -> None:
        await self.hand_over(member, range(SHARDS))
        self.roster.sessions.pop(member.instance, None)
        if self.roster.members.get(member.id) == member:
            del self.roster.members[member.id]

    def _standing(self) -> Standing:
        roster = self.roster
        seen = tuple(
            Seen(
                member,
                roster.has_lease(name),
                roster.sessions.get(member.instance),
                roster.ends_at[name] - roster.clock(),
            )
            for name, member in sorted(roster.members.items())
        )
        return Standing(roster.incarnation, seen, tuple(roster.shards.values()))

    def _is_there(self, member: Member) -> bool:
        return self.roster.has_lease(member.id) and self.roster.sessions.get(member.instance) is not False

    def _has_name(self, member: Member) -> bool:
        """One that hangs has it still: it may wake."""
        return self.roster.sessions.get(member.instance, self.roster.has_lease(member.id))

    def _check(self) -> None:
        if self.trouble:
            raise StoreError(self.trouble)
