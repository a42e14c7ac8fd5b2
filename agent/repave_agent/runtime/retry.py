"""Brings desired states that could not be saved to the worker again, until the disk takes them.

The controller sends each state once for a stream, and ending the stream to have it sent again would make the
region look away while it only lacks space.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from repave_agent.runtime.journal import JournalError
from repave_protos.protocol.values import ApplicationName, DesiredState

AGAIN_SECONDS = 1.0

log = structlog.get_logger()


class Postponed:
    """`take` accepts or refuses a state, and raises JournalError when it can't be written down."""

    def __init__(
        self, take: Callable[[DesiredState], Awaitable[None]], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._take = take
        self._sleep = sleep
        self._waiting: dict[ApplicationName, DesiredState] = {}  # the one heard last of each application
        self._is_waiting = asyncio.Event()

    async def on_desired(self, state: DesiredState) -> None:
        """Takes what the controller sends. Never raises JournalError."""
        is_new = self._waiting.pop(state.application, None) != state
        try:
            await self._take(state)
        except JournalError as error:
            self._waiting.setdefault(state.application, state)
            self._is_waiting.set()
            if is_new:
                log.error("desired.not_saved", application=state.application, why=str(error))

    async def run(self) -> None:
        """Tries again and again, until cancelled."""
        while True:
            await self._is_waiting.wait()
            await self._sleep(AGAIN_SECONDS)
            self._is_waiting.clear()
            for state in tuple(self._waiting.values()):
                if self._waiting.get(state.application) is state:  # nothing newer was heard meanwhile
                    await self.on_desired(state)
