"""Chooses which shards a controller takes and which it hands over, from how all controllers stand.

Every controller chooses for itself by its own view; for one and the same view no two choose the same shard.
Views may differ: then the store gives each shard to one of them.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from repave_controller.peers.ports import ControllerId, Held, Member, Seen, Shard, Standing


@dataclass(frozen=True, slots=True)
class Moves:
    """What a controller does next. Never both."""

    take: tuple[Shard, ...] = ()
    hand_over: tuple[Shard, ...] = ()


def moves(
    standing: Standing,
    me: Member,
    held: Mapping[Shard, int],
    is_returning: bool = False,
) -> Moves:
    """`held`: the shards that this process decides for, with their terms.

    `is_returning`: it could not reach the store for a while, and others may not have either; it takes what
    it had, and leaves what others had to them.

    All free shards are taken at once, each by the controller that has the fewest. When none is free, the one
    that has the most hands over one, until no two differ by more than one: 64 shards of 3 controllers end
    as 22, 21 and 21.
    """
    if not is_among(standing, me):
        return Moves()
    again = tuple(each for each in _owned_by(me.id, standing) if each not in held)
    if is_returning:
        return Moves(take=again)
    present = sorted(seen.member.id for seen in standing.members if is_present(seen))
    owned = Counter(each.owner for each in standing.shards)
    counts = {each: owned[each] for each in present}
    free = [each.shard for each in standing.shards if each.owner not in counts]
    if free or again:
        return Moves(take=tuple(sorted((*again, *_share_of(me.id, free, counts)))))
    return Moves(hand_over=_above_the_others(me.id, standing, counts))


def lost(standing: Standing, me: Member, held: Mapping[Shard, int]) -> Collection[Shard]:
    """Those that another controller has by now, or this one under a later term that it did not hear of."""
    terms = {each.shard: each for each in standing.shards}
    return tuple(
        shard for shard, term in sorted(held.items()) if not _is_still(terms.get(shard), me.id, term)
    )


def is_present(seen: Seen) -> bool:
    """Its lease runs, and as far as its session tells it was not killed."""
    return seen.is_live and seen.holds_lock is not False


def is_among(standing: Standing, me: Member) -> bool:
    """This very process; another one may have its name."""
    return any(
        seen.member.id == me.id and seen.member.instance == me.instance and is_present(seen)
        for seen in standing.members
    )


def owners(standing: Standing) -> Mapping[Shard, ControllerId]:
    """Of the shards whose owner is there."""
    present = {seen.member.id for seen in standing.members if is_present(seen)}
    return {each.shard: each.owner for each in standing.shards if each.owner in present and each.owner}


def _owned_by(controller: ControllerId, standing: Standing) -> tuple[Shard, ...]:
    return tuple(each.shard for each in standing.shards if each.owner == controller)


def _is_still(known: Held | None, me: ControllerId, term: int) -> bool:
    return known is not None and known.owner == me and known.term == term


def _share_of(
    me: ControllerId, free: Collection[Shard], counts: Mapping[ControllerId, int]
) -> tuple[Shard, ...]:
    """Each free shard goes to the controller with the fewest by then; of equals, to the first by name."""
    sizes = dict(counts)
    mine = []
    for shard in sorted(free):
        taker = min(sizes, key=lambda each: (sizes[each], each))
        sizes[taker] += 1
        if taker == me:
            mine.append(shard)
    return tuple(mine)


def _above_the_others(
    me: ControllerId, standing: Standing, counts: Mapping[ControllerId, int]
) -> tuple[Shard, ...]:
    """One at a time, of all controllers: the next is handed over when the last one was taken."""
    fullest = min(counts, key=lambda each: (-counts[each], each))
    if fullest != me or counts[me] - min(counts.values()) < 2:
        return ()
    return (max(_owned_by(me, standing)),)
