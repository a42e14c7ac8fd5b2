"""The public key that Travis signs with, as its API says: asked for seldom, also where it can't be had.

Anyone can post to a hook, so that what comes must not decide how often Travis is asked.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from repave_controller.security.outbound import IssuerError, Outbound

KEPT_SECONDS: Final = 3600.0
STALE_SECONDS: Final = 86_400.0
"""So old a key may be while Travis can't be asked."""
FAILED_SECONDS: Final = 30.0
"""So long a failure counts as the answer."""


class NoKey(Exception):
    """It can't be had now."""


@dataclass(slots=True)
class Asked:
    """What one address has answered. `at`: when it gave `key`; `failed_at`: when it gave none, and why."""

    key: str = ""
    at: float = 0.0
    error: str = ""
    failed_at: float = 0.0


class Keys:
    """One for a controller; the addresses are of its settings."""

    def __init__(self, outbound: Outbound, clock: Callable[[], float]) -> None:
        self._outbound, self._clock = outbound, clock
        self._asked = defaultdict[str, Asked](Asked)
        self._asking = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def of(self, url: str) -> str:
        """PEM. Raises NoKey."""
        async with self._asking[url]:  # what comes meanwhile waits for the one answer
            asked = self._asked[url]
            now = self._clock()
            is_known = bool(asked.key) and now - asked.at < KEPT_SECONDS
            has_failed = bool(asked.error) and now - asked.failed_at < FAILED_SECONDS
            if not is_known and not has_failed:
                await self._ask(url, asked)
        if asked.key and self._clock() - asked.at < STALE_SECONDS:
            return asked.key
        raise NoKey(asked.error)

    async def _ask(self, url: str, asked: Asked) -> None:
        try:
            found = await self._outbound.get(url)
            asked.key = str(found["config"]["notifications"]["webhook"]["public_key"])
        except (IssuerError, KeyError, TypeError) as error:
            why = f"{error}" if isinstance(error, IssuerError) else "its answer has no public key"
            asked.error, asked.failed_at = f"{url}: {why}", self._clock()
        else:
            asked.at, asked.error = self._clock(), ""
