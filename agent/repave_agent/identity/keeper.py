"""Keeps the agent's identity: renews it in time, and takes up one that was joined while the agent runs."""

import asyncio
import http.client
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from repave_agent.clients.controller import over_tls, showing
from repave_agent.core.ports import Clock
from repave_agent.identity.identity import (
    FILE,
    Identity,
    IdentityError,
    objection,
    read,
    renew_at,
    warning,
    write,
)
from repave_protos.protocol.channel import Shown, full_jitter

LOOK_SECONDS = 300.0
"""So often the clock on the wall is asked: it may have been set, or the machine have slept."""
RETRY_SECONDS, RETRY_MAX_SECONDS = 60.0, 1800.0

log = structlog.get_logger()

Renew = Callable[[Identity, Path], Identity]


class Keeper:
    """One for an agent that has joined."""

    def __init__(
        self,
        state: Path,
        clock: Clock,
        renew: Renew,
        chance: Callable[[], float],
        renewed: Callable[[], Awaitable[None]],
        tell: Callable[[str], None],
    ) -> None:
        """`renewed` is called when there is another certificate to show, `tell` with what people should know
        of a renewal that fails, or "". Raises IdentityError: there is none."""
        self._state, self._clock, self._renew = state, clock, renew
        self._chance, self._renewed, self._tell = chance, renewed, tell
        self._stamp: tuple[int, int] | None = None
        self._identity = self._read()
        self._drawn = chance()
        self._context: tuple[Identity, ssl.SSLContext] | None = None

    @property
    def identity(self) -> Identity:
        """As the file has it now; while that can't be read, as it was."""
        try:
            if self._stamp_now() != self._stamp:
                self._identity = self._read()
        except IdentityError as error:
            log.error("identity.unreadable", error=str(error))
        return self._identity

    def shown(self) -> Shown:
        """For a stream. Raises ConnectionError: it has expired."""
        identity = self.identity
        if why := objection(identity.says, self._clock.wall()):
            raise ConnectionError(why)
        return identity.shown

    def connect(self, url: str, timeout_seconds: float) -> http.client.HTTPConnection:
        """As `Connect`, with the certificate of now."""
        identity = self.identity
        if self._context is None or self._context[0] != identity:
            self._context = identity, showing(identity.shown, self._state)
        return over_tls(self._context[1])(url, timeout_seconds)

    async def run(self) -> None:
        """Until it is cancelled."""
        failures = 0
        while True:
            identity = self.identity
            left = renew_at(identity.says, self._drawn) - self._clock.wall()
            if left > 0:
                await self._clock.sleep(min(left, LOOK_SECONDS))
                continue
            if await self._renew_once(identity):
                failures = 0
                continue
            delay = full_jitter(failures, 0.5 + self._chance() / 2, RETRY_SECONDS, RETRY_MAX_SECONDS)
            failures += 1
            await self._clock.sleep(delay)

    async def _renew_once(self, identity: Identity) -> bool:
        now = self._clock.wall()
        try:
            if why := objection(identity.says, now):
                raise IdentityError(why)
            renewed = await asyncio.to_thread(self._renew, identity, self._state)
            write(self._state, renewed)
        except OSError as error:
            log.warning("identity.not_renewed", error=str(error))
            self._tell(objection(identity.says, now) or warning(identity.says, now, str(error)))
            return False
        self._identity, self._stamp, self._drawn = renewed, self._stamp_now(), self._chance()
        log.info("identity.renewed", expires_at=renewed.says.expires_at)
        self._tell("")
        try:
            await self._renewed()
        except OSError as error:  # the stream goes on with the former certificate, and ends with it
            log.warning("identity.channel_kept", error=str(error))
        return True

    def _read(self) -> Identity:
        stamp, identity = self._stamp_now(), read(self._state)
        if identity is None:
            raise IdentityError(f"{self._state / FILE} is gone: let this agent join again")
        self._stamp = stamp
        return identity

    def _stamp_now(self) -> tuple[int, int] | None:
        try:
            found = (self._state / FILE).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino
