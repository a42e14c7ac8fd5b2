"""How any cloud's REST API is called: bounded connections, a token for each call, patience with a budget, and
a pace that all calls of an account share.

What an answer means is each cloud's own: it gives `fault`, which tells an error's kind by status and body.
"""

import asyncio
import contextlib
import json
import random
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import aiohttp

from repave_agent.clients.faults import LostError
from repave_agent.core.ports import Clock, ProviderError, RefusedError, TransientError

CALL_SECONDS = 60.0
CONNECTIONS_MAX = 40
ANSWER_BYTES_MAX = 64 * 1024**2
"""Of a listing without pages it is thousands of machines."""
IDLE_SECONDS = 4.0
"""So long a connection is kept for the next call: less than servers keep it, for a creation on a connection
that just closes is an answer lost."""
TRIES_MAX = 5
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.5, 20.0
AFTER_SECONDS_MAX = 60.0
"""Of what a cloud asks for by Retry-After."""
RETRIES_MAX, RETRY_SHARE = 50.0, 0.2
"""At most so many repetitions at once, and then one for five calls that succeed: a cloud that is down as a
whole is not asked five times as much."""
SAFE_TO_REPEAT = ("GET", "HEAD", "PUT", "DELETE")


class Tokens(Protocol):
    """Who calls. A token is fetched when it is needed, and renewed before it ends."""

    async def headers(self) -> Mapping[str, str]:
        """What goes with a call. Raises ProviderError."""

    def forget(self, used: Mapping[str, str]) -> None:
        """The API refused what `headers` gave."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`body`: of JSON, else {"message": text}; {} when it is empty."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


Asked = str | int | Sequence[str]
"""A part of a query; of several, each is a part of its own."""
Fault = Callable[[str, Answer], ProviderError]
"""By what was called ("POST instances") and the answer, whose status is 300 or more: a redirect is not
followed, and did nothing."""


class Pace:
    """At most `per_second` calls, and as many at once; 0 is no limit. Callers wait in order."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second, self._clock = per_second, clock
        self._next_at = 0.0

    async def turn(self) -> None:
        """Returns when it is time for one more call."""
        if self._per_second <= 0:
            return
        now, gap = self._clock.monotonic(), 1.0 / self._per_second
        self._next_at = max(self._next_at, now - 1.0) + gap
        if self._next_at > now:
            await self._clock.sleep(self._next_at - now)


def always() -> None:
    """No other agent is known."""


def by_system() -> ssl.SSLContext | bool:
    """Believes the authorities that this machine does."""
    return True


class Rest:
    """One account of one cloud. `calls` counts requests, for benchmarks. `check` raises NotActingError: asked
    before each call that may change something, for what is under way must not go on without the lease."""

    def __init__(
        self,
        tokens: Tokens,
        fault: Fault,
        clock: Clock,
        pace: Pace,
        *,
        chance: random.Random,
        service: str,
        check: Callable[[], None] = always,
        tls: Callable[[], ssl.SSLContext | bool] = by_system,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """`tls` is asked at the first call, and may raise ProviderError then."""
        self._tokens, self._fault, self._clock, self._pace = tokens, fault, clock, pace
        self._chance, self._service, self._check = chance, service, check
        self._tls, self._call_seconds = tls, call_seconds
        self._http: aiohttp.ClientSession | None = None
        self._retries = RETRIES_MAX
        self.calls = 0

    async def call(
        self,
        method: str,
        url: str,
        body: Any = None,
        query: Mapping[str, Asked] | None = None,
        *,
        what: str,
        repeatable: bool | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`what`: the call, as errors name it. `repeatable`: doing it twice is doing it once; of itself that
        holds for all but POST and PATCH. Raises LostError and what `fault` says."""
        is_safe = method in SAFE_TO_REPEAT if repeatable is None else repeatable
        was_refused = False
        for attempt in range(TRIES_MAX):
            given = await self._tokens.headers()
            await self._pace.turn()
            if method not in ("GET", "HEAD"):
                self._check()
            try:
                answer = await self.send(method, url, body, query, {**(headers or {}), **given})
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                was_sent = not isinstance(error, aiohttp.ClientConnectorError)
                if (was_sent and not is_safe) or not self._may_retry(attempt):
                    kind = LostError if was_sent else TransientError
                    raise kind(f"{self._service}: {what}: no answer: {_told(error)}") from error
                await self._pause(attempt, 0.0)
                continue
            if answer.status < 300:
                self._retries = min(RETRIES_MAX, self._retries + RETRY_SHARE)
                return answer
            if answer.status == 401 and not was_refused:
                was_refused = True
                self._tokens.forget(given)
            elif not _passes(answer.status, is_safe) or not self._may_retry(attempt):
                raise self._fault(what, answer)
            else:
                await self._pause(attempt, _after(answer, self._clock.wall()))
        raise RefusedError(f"{self._service}: {what}: the cloud does not accept its own token (401)")

    async def close(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.close()

    def _may_retry(self, attempt: int) -> bool:
        if attempt == TRIES_MAX - 1 or self._retries < 1:
            return False
        self._retries -= 1
        return True

    async def _pause(self, attempt: int, after: float) -> None:
        """Full jitter, on top of what the cloud asks for."""
        most = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2**attempt)
        await self._clock.sleep(min(after, AFTER_SECONDS_MAX) + self._chance.uniform(0, most))

    async def send(
        self,
        method: str,
        url: str,
        body: Any = None,
        query: Mapping[str, Asked] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Once, as it is: without a token, a turn or a look at the lease. Raises what aiohttp does, OSError
        and TimeoutError."""
        self.calls += 1
        if self._http is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls(), limit=CONNECTIONS_MAX, keepalive_timeout=IDLE_SECONDS
            )
            timeout = aiohttp.ClientTimeout(total=self._call_seconds)
            self._http = aiohttp.ClientSession(connector=connector, timeout=timeout)
        async with self._http.request(
            method, url, json=body, params=query, headers=headers, allow_redirects=False
        ) as response:
            return Answer(response.status, await decoded(response), response.headers.copy())


async def decoded(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """{} when it is empty, {"message": text} when it is no JSON object. Raises ClientPayloadError when it is
    too large."""
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"an answer of more than {ANSWER_BYTES_MAX >> 20} MiB")
    try:
        raw = json.loads(content) if content.strip() else {}
    except ValueError:
        return {"message": content[:300].decode(errors="replace")}
    return raw if isinstance(raw, dict) else {"items": raw}


def _passes(status: int, is_safe: bool) -> bool:
    """Refused for now; or answered by something in between, when a creation may have been done after all."""
    return status in (408, 429, 503) or (status in (500, 502, 504) and is_safe)


def _after(answer: Answer, now: float) -> float:
    """Seconds that the cloud asks to be left alone: Retry-After is a number or a date."""
    text = answer.headers.get("Retry-After", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(text))
    with contextlib.suppress(ValueError, TypeError):
        until: datetime = parsedate_to_datetime(text)
        return max(0.0, until.timestamp() - now)
    return 0.0


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__


class SharedToken:
    """A token that many calls share: fetched once for all who wait, renewed before it ends. `header`: how it
    is shown."""

    def __init__(
        self,
        fetch: "Fetch",
        clock: Clock,
        *,
        renew_seconds: float = 120.0,
        header: tuple[str, str] = ("Authorization", "Bearer "),
    ) -> None:
        self._fetch, self._clock, self._renew_seconds = fetch, clock, renew_seconds
        self._token, self._ends_at = "", 0.0
        self._header = header
        self._lock = asyncio.Lock()

    async def headers(self) -> Mapping[str, str]:
        async with self._lock:
            if not self._token or self._clock.wall() > self._ends_at - self._renew_seconds:
                self._token, self._ends_at = await self._fetch()
            return self._shown()

    def forget(self, used: Mapping[str, str]) -> None:
        """Of many calls that are refused together only the first one costs a new token."""
        if self._shown().items() <= used.items():
            self._token = ""

    def _shown(self) -> dict[str, str]:
        name, kind = self._header
        return {name: f"{kind}{self._token}"}


class Fetch(Protocol):
    async def __call__(self) -> tuple[str, float]:
        """A token, and when it ends in seconds of Unix time. Raises ProviderError."""
