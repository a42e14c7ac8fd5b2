"""The plans that were shown lately, with what they were made of: another person may open a link to one, also
at another controller, which asks the one that has shown it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from pydantic import TypeAdapter

from repave_controller.core.domain.instants import Instant
from repave_protos.protocol.values import ApplicationName, Digest

DRAFTS_MAX: Final = 100
LETTER: Final = "plans"
"""The kind of letters that ask for them."""
SPEC_CHARACTERS_MAX: Final = 8 << 20
"""Of all drafts together."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a plan was made of."""

    application: ApplicationName
    spec: str
    filename: str
    digest: Digest
    version: str
    keeps_sizes: bool
    at: Instant


AskOthers = Callable[[bytes], Awaitable[Sequence[bytes]]]
"""Sends a letter to all other controllers; those that don't answer in time are left out."""

log = structlog.get_logger()


async def _alone(_: bytes) -> Sequence[bytes]:
    return ()


class Drafts:
    """By the plan's id, oldest first. Those of a controller are gone when it ends."""

    def __init__(self, ask_others: AskOthers = _alone) -> None:
        self._ask_others = ask_others
        self._kept: dict[str, Draft] = {}
        self._characters = 0

    def remember(self, plan: str, draft: Draft) -> None:
        self._forget(plan)
        self._kept[plan] = draft
        self._characters += len(draft.spec)
        while len(self._kept) > DRAFTS_MAX or self._characters > SPEC_CHARACTERS_MAX:
            self._forget(next(iter(self._kept)))

    async def find(self, plan: str) -> Draft | None:
        """Here, or at another controller."""
        known = self._kept.get(plan.upper())
        if known is not None:
            return known
        found = await self._others(plan.upper())
        return found[0][1] if found else None

    async def newest(self) -> list[tuple[str, Draft]]:
        """(id, draft) of all controllers, the newest first; of others without their specs."""
        found = dict(await self._others("")) | self._kept
        return sorted(found.items(), key=lambda each: -each[1].at)

    async def answer(self, letter: bytes) -> bytes:
        """What another controller asks: the id of one, or nothing for all."""
        plan = letter.decode(errors="replace")
        if plan:
            known = self._kept.get(plan)
            return _DRAFTS.dump_json([(plan, known)] if known is not None else [])
        return _DRAFTS.dump_json([(id, replace(each, spec="")) for id, each in self._kept.items()])

    async def _others(self, plan: str) -> list[tuple[str, Draft]]:
        found = []
        for each in await self._ask_others(plan.encode()):
            try:
                found += _DRAFTS.validate_json(each)
            except ValueError as error:
                log.warning("plans.unreadable", why=str(error))
        return found

    def _forget(self, plan: str) -> None:
        gone = self._kept.pop(plan, None)
        if gone is not None:
            self._characters -= len(gone.spec)


_DRAFTS = TypeAdapter(list[tuple[str, Draft]])
