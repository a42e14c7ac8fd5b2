"""The plans that were shown lately, with what they were made of: another person may open a link to one."""

from dataclasses import dataclass
from typing import Final

from repave_controller.core.domain.instants import Instant
from repave_protos.protocol.values import ApplicationName, Digest

DRAFTS_MAX: Final = 100
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


class Drafts:
    """By the plan's id, oldest first. They are gone when this controller ends."""

    def __init__(self) -> None:
        self._kept: dict[str, Draft] = {}
        self._characters = 0

    def remember(self, plan: str, draft: Draft) -> None:
        self._forget(plan)
        self._kept[plan] = draft
        self._characters += len(draft.spec)
        while len(self._kept) > DRAFTS_MAX or self._characters > SPEC_CHARACTERS_MAX:
            self._forget(next(iter(self._kept)))

    def find(self, plan: str) -> Draft | None:
        return self._kept.get(plan.upper())

    def newest(self) -> list[tuple[str, Draft]]:
        """(id, draft), the newest first."""
        return list(reversed(self._kept.items()))

    def _forget(self, plan: str) -> None:
        gone = self._kept.pop(plan, None)
        if gone is not None:
            self._characters -= len(gone.spec)
