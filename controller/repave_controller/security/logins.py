"""Log-ins of people: each begins here, passes through the issuer, and ends in a token.

What was begun is known by a handle of 256 random bits (under_way.py).
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from repave_controller.core.domain.instants import Instant
from repave_controller.security.accounts import Accounts
from repave_controller.security.people import Person
from repave_controller.security.provider import (
    Device,
    LoginRefused,
    Pending,
    Provider,
    Tokens,
    denial_of,
)
from repave_controller.security.tokens import Token, hash_of
from repave_controller.security.under_way import HANDLE_BYTES, Flow, InBrowser, OnDevice, UnderWay

BROWSER_SECONDS = 600.0
SLOWER_SECONDS = 5.0
FORGOTTEN_SECONDS = 3600.0
"""So long after a device was asked for last it is not known any more when that was."""
UNKNOWN = "this log-in is not known, or has expired; begin anew: repave login"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The person has not yet answered: ask again after so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`text` is the token, known this once."""

    person: Person
    token: Token
    text: str = field(repr=False)


@dataclass(slots=True)
class _Asked:
    """The issuer, by this controller, of a device."""

    next_at: Instant
    is_asking: bool = False


class Logins:
    """One for a controller. `loopback`: the name under which the issuer knows the command line's address."""

    def __init__(
        self,
        provider: Provider,
        accounts: Accounts,
        under_way: UnderWay,
        clock: Callable[[], Instant],
        *,
        seconds: float,
        redirect: str,
        loopback: str = "127.0.0.1",
        has_device: bool = True,
    ) -> None:
        self.provider, self.has_device, self.under_way = provider, has_device, under_way
        self._accounts, self._clock, self._seconds = accounts, clock, seconds
        self._redirect, self._loopback = redirect, loopback
        self._asked: dict[str, _Asked] = {}  # by the hash of the handle

    # ------------------------------------------------------------------------------------------ a browser

    async def begin_here(self, port: int) -> tuple[str, str]:
        """For a command line that listens on loopback (RFC 8252): handle, and the address for the browser."""
        return await self._begin(f"http://{self._loopback}:{port}/callback", "browser")

    async def begin_web(self) -> tuple[str, str]:
        """For a page of this controller."""
        return await self._begin(self._redirect, "web")

    async def _begin(self, redirect: str, method: str) -> tuple[str, str]:
        """Raises IssuerError, TooManyLogins, StoreError."""
        state, nonce, verifier = (secrets.token_urlsafe(HANDLE_BYTES) for _ in range(3))
        self.under_way.check_room()
        address = await self.provider.address(redirect, state, nonce, verifier)
        expires = Instant(self._clock() + BROWSER_SECONDS)
        flow = InBrowser(expires, method, state, nonce, verifier, redirect)
        return await self.under_way.begin(flow), address

    async def finish(
        self, handle: str, method: str, *, code: str, state: str, issuer: str, error: str, text: str
    ) -> LoggedIn:
        """With what the issuer sent the browser back with; once. Raises IssuerError, LoginRefused, Refused,
        StoreError."""
        flow = self._find(handle)
        if not isinstance(flow, InBrowser) or flow.method != method:
            raise LoginRefused("login-expired", UNKNOWN)
        if not hmac.compare_digest(flow.state.encode(), state.encode()):
            raise LoginRefused("not-trusted", "what came back is of another log-in: its state differs")
        if not await self.under_way.end(handle):
            raise LoginRefused("login-expired", UNKNOWN)
        if issuer and issuer != self.provider.client.issuer:  # RFC 9207
            raise LoginRefused("not-trusted", "what came back is of another issuer")
        if error or not code:
            raise denial_of(error or "no code", text)
        tokens = await self.provider.exchange(code, flow.redirect, flow.verifier)
        return await self._logged_in(tokens, flow.nonce, method)

    # ------------------------------------------------------------------------------------------- a device

    async def begin_device(self) -> tuple[str, Device]:
        """Raises IssuerError, LoginRefused, TooManyLogins, StoreError."""
        self.under_way.check_room()
        device, now = await self.provider.device(), self._clock()
        interval = device.interval_seconds
        handle = await self.under_way.begin(OnDevice(Instant(now + device.seconds), device, interval))
        self._asked = {
            name: each for name, each in self._asked.items() if now < each.next_at + FORGOTTEN_SECONDS
        }
        self._asked[hash_of(handle)] = _Asked(Instant(now + interval))
        return handle, device

    async def poll(self, handle: str) -> Waiting | LoggedIn:
        """Asks the issuer no more often than it wants to be asked. Raises IssuerError, LoginRefused, Refused,
        StoreError."""
        flow, now = self._find(handle), self._clock()
        if not isinstance(flow, OnDevice):
            raise LoginRefused("login-expired", UNKNOWN)
        asked = self._asked.setdefault(hash_of(handle), _Asked(now))
        if asked.is_asking or now < asked.next_at:
            return Waiting(flow.interval_seconds if asked.is_asking else asked.next_at - now)
        asked.is_asking = True
        try:
            found = await self.provider.poll(flow.device)
        except LoginRefused:
            await self.under_way.end(handle)
            raise
        finally:
            asked.is_asking = False
            asked.next_at = Instant(self._clock() + flow.interval_seconds)
        if isinstance(found, Pending):
            if found.is_slower:
                flow = replace(flow, interval_seconds=flow.interval_seconds + SLOWER_SECONDS)
                await self.under_way.change(handle, flow)
                asked.next_at = Instant(self._clock() + flow.interval_seconds)
            return Waiting(flow.interval_seconds)
        if not await self.under_way.end(handle):
            raise LoginRefused("login-expired", UNKNOWN)
        return await self._logged_in(found, "", "device")

    # --------------------------------------------------------------------------------------------- both

    async def _logged_in(self, tokens: Tokens, nonce: str, method: str) -> LoggedIn:
        person = await self.provider.person(tokens, nonce)
        token, text = await self._accounts.log_in(person, self._seconds, method)
        return LoggedIn(person, token, text)

    def _find(self, handle: str) -> Flow:
        flow = self.under_way.find(handle)
        if flow is None:
            raise LoginRefused("login-expired", UNKNOWN)
        return flow
