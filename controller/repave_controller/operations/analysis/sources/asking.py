"""Asks a metrics system over HTTP for JSON: within bounds, with what the settings say, led nowhere else.

The address is of the settings, never of a spec; its name is looked up once and judged, and what was judged is
connected to.
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from repave_controller.fleet.fetching import FetchError, Judging, Lookup, is_address, look_up, with_host
from repave_controller.operations.analysis.sources.ports import SourceError
from repave_controller.security.addresses import Allowed, objection

CONNECT_SECONDS = 5.0
ANSWER_BYTES_MAX = 2 * 1024 * 1024
SECRET_BYTES_MAX = 64 * 1024
WORDS_MAX = 300
"""Of what a source says went wrong."""


@dataclass(frozen=True, slots=True)
class Request:
    """`form` is sent as a form, `body` as it is; without both it is a GET."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    form: Mapping[str, str] | None = None
    body: bytes | None = None

    @property
    def method(self) -> str:
        return "GET" if self.form is None and self.body is None else "POST"


@dataclass(frozen=True, slots=True)
class Asker:
    """Of one source. `allowed`: networks of a link, beside the host itself, which may be private."""

    seconds: float
    tls: ssl.SSLContext | None = field(default=None, repr=False)  # None: what every machine trusts
    allowed: Allowed = field(default=Allowed(), repr=False)
    lookup: Lookup = field(default=look_up, repr=False)

    async def ask(self, request: Request) -> Any:
        """The JSON that is answered with 200. Raises SourceError."""
        shown = place(request.url)
        try:
            status, content = await self._ask(request, shown)
        except FetchError as error:
            raise SourceError(str(error)) from None
        except TimeoutError:
            raise SourceError(f"{shown} did not answer within {self.seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceError(f"{shown}: {_words(error)}") from None
        if status != 200:
            raise SourceError(f"{shown} answered {status}{_said(content)}")
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise SourceError(f"{shown} answered no JSON") from None

    async def _ask(self, request: Request, shown: str) -> tuple[int, bytes]:
        """Status, and what was answered. Raises FetchError, SourceError, aiohttp.ClientError, OSError,
        TimeoutError, ValueError."""
        url = URL(request.url, encoded=True)
        host = url.host or ""
        allowed = with_host(self.allowed, host)
        if is_address(host) and (why := objection(host, host, allowed)):
            raise SourceError(f"{shown}: {why}")
        connector = aiohttp.TCPConnector(
            resolver=Judging(self.lookup, allowed, shown), use_dns_cache=False, ssl=self.tls or True
        )
        timeout = aiohttp.ClientTimeout(total=self.seconds, sock_connect=CONNECT_SECONDS)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            session.request(
                request.method,
                url,
                headers={"User-Agent": "repave", "Accept": "application/json", **request.headers},
                data=request.body if request.body is not None else request.form,
                allow_redirects=False,
            ) as answer,
        ):
            content = bytearray()
            async for chunk in answer.content.iter_any():
                content += chunk
                if len(content) > ANSWER_BYTES_MAX:
                    raise SourceError(
                        f"{shown} answered with more than {ANSWER_BYTES_MAX >> 20} MiB: take longer "
                        "steps, or a query of one series"
                    )
            return answer.status, bytes(content)


def place(url: str) -> str:
    """Of an address what may be shown."""
    return url.partition("?")[0]


def secret(file: Path) -> str:
    """Read each time: one that was renewed counts at once. Raises SourceError."""
    try:
        with file.open("rb") as opened:
            found = opened.read(SECRET_BYTES_MAX).decode().strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SourceError(f"its secret {file} can't be read: {why}") from None
    if not found or not found.isprintable():
        raise SourceError(f"its secret {file} must have one line of text")
    return found


def _said(content: bytes) -> str:
    """What a source says of an error, if it is JSON of a usual shape, or plain text; else nothing."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = content[:WORDS_MAX].decode(errors="replace") if not content.lstrip().startswith(b"<") else ""
    if isinstance(found, dict):
        found = next(
            (found[name] for name in ("error", "message", "errors", "Message") if found.get(name)), ""
        )
    words = " ".join(str(found).split())[:WORDS_MAX]
    return f": {words}" if words and words.isprintable() else ""


def _words(error: BaseException) -> str:
    return str(error).partition("?")[0] or type(error).__name__
