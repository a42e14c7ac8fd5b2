"""Specs as clients send them. One command sends the same text more than once, and reading it is what costs
most of answering: the last few are kept.
"""

import asyncio
from collections.abc import Sequence

from repave_controller.spec.loader import Source, load
from repave_controller.spec.spec import Spec

KEPT_MAX = 4


class Specs:
    """One for an API."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Source, ...], tuple[Spec, str]] = {}

    async def read(self, content: str, filename: str, overrides: Sequence[Source] = ()) -> tuple[Spec, str]:
        """As `load` does, in a thread: a hostile one takes up to a second. Raises SpecError."""
        sources = ((filename, content), *overrides)
        found = self._kept.pop(sources, None)
        if found is None:
            found = await asyncio.to_thread(load, content, filename, overrides)
        self._kept[sources] = found
        while len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        return found
