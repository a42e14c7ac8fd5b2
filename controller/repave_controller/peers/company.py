"""The controllers as this one knows them, for people: alone, or among others that share the store."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from repave_controller.core.domain.reasons import Concern, Reason, reason_of
from repave_controller.core.ports import StoreError
from repave_controller.peers.condition import Condition, State, conditions
from repave_controller.peers.membership import Membership
from repave_controller.peers.ports import SHARDS, Member


@dataclass(frozen=True, slots=True)
class Company:
    """`membership`: None, it has the store alone. `examine` tells what is wrong with the database."""

    me: Member
    membership: Membership | None = None
    examine: Callable[[], Awaitable[Sequence[Reason]]] | None = None

    def conditions(self) -> Sequence[Condition]:
        """As they were with the last beat."""
        standing = self.membership.standing if self.membership is not None else None
        if standing is None:
            return [Condition(self.me, State.LIVE, 0.0, tuple(range(SHARDS)), ())]
        return conditions(standing, self.me)

    async def concerns(self) -> Sequence[Reason]:
        """What is wrong with the database, or with the way to it."""
        trouble = self.membership.trouble if self.membership is not None else ""
        if trouble:
            return [reason_of(Concern.STORE_UNREACHABLE, text=trouble)]
        try:
            return await self.examine() if self.examine is not None else []
        except StoreError as error:
            return [reason_of(Concern.STORE_UNREACHABLE, text=str(error))]
