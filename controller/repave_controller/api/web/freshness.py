"""A request is answered by all that was saved before it came, whichever of several controllers saved it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from repave_controller.api.web.problems import Handler
from repave_controller.core.ports import StoreError

SECONDS = 1.0
"""So long a request waits for it; one that comes while the store hangs is answered by what is known."""

log = structlog.get_logger()


class Freshness:
    """One for an API. `catch_up` returns once what others have saved is known here. It raises StoreError."""

    def __init__(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        self._catch_up = catch_up
        self._hanging: asyncio.Task[None] | None = None

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            await self._look()
        return await handler(request)

    @property
    def is_hanging(self) -> bool:
        """Whether requests don't wait."""
        return self._hanging is not None and not self._hanging.done()

    async def _look(self) -> None:
        if self.is_hanging:
            return
        looking = asyncio.create_task(self._caught_up(), name="catch up for a request")
        if not (await asyncio.wait({looking}, timeout=SECONDS))[0]:
            log.warning("request.not_fresh", why=f"the store has not answered for {SECONDS:g} s")
            self._hanging = looking

    async def _caught_up(self) -> None:
        try:
            await self._catch_up()
        except StoreError as error:
            log.warning("request.not_fresh", why=str(error))
