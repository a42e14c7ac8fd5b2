"""Controllers that share a store, as one of them saw them last."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from repave_controller.core.domain.reasons import Reason
from repave_controller.peers.company import Company
from repave_controller.peers.membership import Membership
from repave_controller.peers.ports import SHARDS, Held, Member, Seen, Shard, Standing
from repave_protos import __version__
from repave_simulation.tiers.shared_members import MemoryRoll, Roster

A = Member("a", "a-1", "https://a:7400", "a:7443", __version__, 100.0)
B = Member("b", "b-1", "https://b:7400", "b:7443", __version__, 200.0)


class Quiet:
    """Implements membership.Listener."""

    async def gained(self, terms: Mapping[Shard, int]) -> None: ...

    async def lost(self, shards: Collection[Shard]) -> None: ...

    def standing(self, standing: Standing) -> None: ...


def company_of(
    *members: Seen, examine: Callable[[], Awaitable[Sequence[Reason]]] | None = None, trouble: str = ""
) -> Company:
    """The first one is asked; the shards are spread over all in turns."""
    me = members[0].member
    membership = Membership(MemoryRoll(Roster(lambda: 0.0)), me, Quiet(), lambda: 0.0)
    names = [each.member.id for each in members]
    rows = tuple(Held(number, names[number % len(names)], 1) for number in range(SHARDS))
    membership.standing = Standing(1, members, rows)
    membership.trouble = trouble
    return Company(me, membership, examine)
