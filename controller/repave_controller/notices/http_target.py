"""Tells an address on another machine, over HTTP: signed, without being led anywhere else.

The name is looked up once and judged, and what was judged is connected to. The host itself is of the
settings, and may be private; a cloud's metadata service takes its network in `allow`.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import aiohttp
from yarl import URL

from repave_controller.core.domain.application import Event
from repave_controller.fleet.fetching import FetchError, Judging, Lookup, is_address, look_up, with_host
from repave_controller.notices.cloudevents import CONTENT_TYPE, body_of
from repave_controller.notices.ports import Notice, NotTaken
from repave_controller.notices.progress import Failure
from repave_controller.security.addresses import Allowed, objection
from repave_controller.security.standard_webhooks import headers_for

ANSWER_SECONDS = 15.0
CONNECT_SECONDS = 5.0
SECRETS_BYTES_MAX = 64 * 1024
PATIENCE = (408, 409, 425, 429)
"""Statuses below 500 after which it is tried as long as after others above."""


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """Implements ports.Target. `secret` is a file with a secret a line: each signs, so that receivers can
    change over from one to another."""

    name: str
    url: str
    secret: Path
    kinds: Sequence[str]
    applications: Sequence[str]
    tls: ssl.SSLContext = field(repr=False)
    allowed: Allowed = field(default=Allowed(), repr=False)
    lookup: Lookup = field(default=look_up, repr=False)
    kind: str = "cloudevents"
    may_be_named: bool = False

    @property
    def place(self) -> str:
        """Without what may be secret."""
        url = URL(self.url)
        return str(url.with_query(None).with_user(None))

    def wants(self, event: Event) -> bool:
        return any(fnmatchcase(event.kind, each) for each in self.kinds) and any(
            fnmatchcase(event.application, each) for each in self.applications
        )

    async def send(self, notice: Notice, now: float) -> None:
        body = body_of(notice)
        try:
            headers = headers_for(self._secrets(), notice.id, now, body)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise NotTaken(Failure(f"its secret {self.secret} can't be used: {why}")) from None
        try:
            await self._post(body, {**headers, "Content-Type": CONTENT_TYPE, "User-Agent": "repave"})
        except FetchError as error:
            raise NotTaken(Failure(str(error))) from None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            words = str(error).partition("?")[0] or f"no answer within {ANSWER_SECONDS:g} s"
            raise NotTaken(Failure(f"{self.place}: {words}")) from None

    def _secrets(self) -> list[str]:
        """Read each time: one that was renewed counts at once. Raises OSError, ValueError."""
        with self.secret.open("rb") as opened:
            lines = opened.read(SECRETS_BYTES_MAX).decode().splitlines()
        found = [each.strip() for each in lines if each.strip()]
        if not found:
            raise ValueError("it is empty")
        return found

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        """Raises NotTaken, FetchError, aiohttp.ClientError, OSError, TimeoutError."""
        url = URL(self.url)
        allowed, host = with_host(self.allowed, url.host or ""), url.host or ""
        if is_address(host) and (why := objection(host, host, allowed)):
            raise NotTaken(Failure(f"{self.place}: {why}"))
        connector = aiohttp.TCPConnector(
            resolver=Judging(self.lookup, allowed, self.place), use_dns_cache=False, ssl=self.tls
        )
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            if not 200 <= response.status < 300:
                raise NotTaken(_failure(self.place, response))


def _failure(place: str, response: aiohttp.ClientResponse) -> Failure:
    status = response.status
    leads = f", which leads to {response.headers.get('Location', '')[:100]!a}" if 300 <= status < 400 else ""
    is_refused = 300 <= status < 500 and status not in PATIENCE
    return Failure(
        f"{place} answered {status}{leads}", is_refused, _patience(response.headers.get("Retry-After", ""))
    )


def _patience(text: str) -> float:
    """In seconds; a date is not waited for."""
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0.0
