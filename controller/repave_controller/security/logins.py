"""Log-ins of people that are under way: each begins here, passes through the issuer, and ends in a token.

What was begun is known by a handle of 256 random bits, and kept in memory: a restart ends it.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

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

UNDER_WAY_MAX = 1000
BROWSER_SECONDS = 600.0
SLOWER_SECONDS = 5.0
HANDLE_BYTES = 32
UNKNOWN = "this log-in is not known, or has expired; begin anew: repave login"


class TooManyLogins(Exception):
    """The bound of log-ins under way is reached."""


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
class _InBrowser:
    expires_at: Instant
    method: str
    state: str
    nonce: str
    verifier: str
    redirect: str


@dataclass(slots=True)
class _OnDevice:
    expires_at: Instant
    device: Device
    interval_seconds: float
    next_at: Instant
    is_asking: bool = False


class Logins:
    """One for a controller. `loopback`: the name under which the issuer knows the command line's address."""

    def __init__(
        self,
        provider: Provider,
        accounts: Accounts,
        clock: Callable[[], Instant],
        *,
        seconds: float,
        redirect: str,
        loopback: str = "127.0.0.1",
        has_device: bool = True,
        under_way_max: int = UNDER_WAY_MAX,
    ) -> None:
        self.provider, self.has_device, self._most = provider, has_device, under_way_max
        self._accounts, self._clock, self._seconds = accounts, clock, seconds
        self._redirect, self._loopback = redirect, loopback
        self._under_way: dict[str, _InBrowser | _OnDevice] = {}

    # ------------------------------------------------------------------------------------------ a browser

    async def begin_here(self, port: int) -> tuple[str, str]:
        """For a command line that listens on loopback (RFC 8252): handle, and the address for the browser."""
        return await self._begin(f"http://{self._loopback}:{port}/callback", "browser")

    async def begin_web(self) -> tuple[str, str]:
        """For a page of this controller."""
        return await self._begin(self._redirect, "web")

    async def _begin(self, redirect: str, method: str) -> tuple[str, str]:
        """Raises IssuerError, TooManyLogins."""
        state, nonce, verifier = (secrets.token_urlsafe(HANDLE_BYTES) for _ in range(3))
        self._check_room()
        address = await self.provider.address(redirect, state, nonce, verifier)
        expires = Instant(self._clock() + BROWSER_SECONDS)
        return self._kept(_InBrowser(expires, method, state, nonce, verifier, redirect)), address

    async def finish(
        self, handle: str, method: str, *, code: str, state: str, issuer: str, error: str, text: str
    ) -> LoggedIn:
        """With what the issuer sent the browser back with; once. Raises IssuerError, LoginRefused, Refused,
        StoreError."""
        flow = self._find(handle)
        if not isinstance(flow, _InBrowser) or flow.method != method:
            raise LoginRefused("login-expired", UNKNOWN)
        if not hmac.compare_digest(flow.state.encode(), state.encode()):
            raise LoginRefused("not-trusted", "what came back is of another log-in: its state differs")
        del self._under_way[hash_of(handle)]
        if issuer and issuer != self.provider.client.issuer:  # RFC 9207
            raise LoginRefused("not-trusted", "what came back is of another issuer")
        if error or not code:
            raise denial_of(error or "no code", text)
        tokens = await self.provider.exchange(code, flow.redirect, flow.verifier)
        return await self._logged_in(tokens, flow.nonce, method)

    # ------------------------------------------------------------------------------------------- a device

    async def begin_device(self) -> tuple[str, Device]:
        """Raises IssuerError, LoginRefused, TooManyLogins."""
        self._check_room()
        device, now = await self.provider.device(), self._clock()
        interval = device.interval_seconds
        expires, next_at = Instant(now + device.seconds), Instant(now + interval)
        return self._kept(_OnDevice(expires, device, interval, next_at)), device

    async def poll(self, handle: str) -> Waiting | LoggedIn:
        """Asks the issuer no more often than it wants to be asked. Raises IssuerError, LoginRefused, Refused,
        StoreError."""
        flow, now = self._find(handle), self._clock()
        if not isinstance(flow, _OnDevice):
            raise LoginRefused("login-expired", UNKNOWN)
        if flow.is_asking or now < flow.next_at:
            return Waiting(flow.interval_seconds if flow.is_asking else flow.next_at - now)
        flow.is_asking = True
        try:
            found = await self.provider.poll(flow.device)
        except LoginRefused:
            self._under_way.pop(hash_of(handle), None)
            raise
        finally:
            flow.is_asking = False
            flow.next_at = Instant(self._clock() + flow.interval_seconds)
        if isinstance(found, Pending):
            flow.interval_seconds += SLOWER_SECONDS if found.is_slower else 0.0
            flow.next_at = Instant(self._clock() + flow.interval_seconds)
            return Waiting(flow.interval_seconds)
        self._under_way.pop(hash_of(handle), None)
        return await self._logged_in(found, "", "device")

    # --------------------------------------------------------------------------------------------- both

    async def _logged_in(self, tokens: Tokens, nonce: str, method: str) -> LoggedIn:
        person = await self.provider.person(tokens, nonce)
        token, text = await self._accounts.log_in(person, self._seconds, method)
        return LoggedIn(person, token, text)

    def _check_room(self) -> None:
        now = self._clock()
        self._under_way = {name: each for name, each in self._under_way.items() if now < each.expires_at}
        if len(self._under_way) >= self._most:
            raise TooManyLogins(f"{self._most} log-ins are under way; try again in some minutes")

    def _kept(self, flow: _InBrowser | _OnDevice) -> str:
        handle = secrets.token_urlsafe(HANDLE_BYTES)
        self._under_way[hash_of(handle)] = flow
        return handle

    def _find(self, handle: str) -> _InBrowser | _OnDevice:
        flow = self._under_way.get(hash_of(handle))
        if flow is None or self._clock() >= flow.expires_at:
            self._under_way.pop(hash_of(handle), None)
            raise LoginRefused("login-expired", UNKNOWN)
        return flow
