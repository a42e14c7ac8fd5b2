"""Asks an issuer of OpenID Connect over HTTPS: small JSON objects, within bounds, without redirects."""

import base64
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout

FETCH_SECONDS = 5.0
ANSWER_BYTES_MAX = 256 * 1024
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

Json = Mapping[str, Any]


class IssuerError(Exception):
    """The issuer could not be asked, or gave no answer that can be used."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is sent to an issuer. `secret` goes into the header: Basic, as RFC 6749, 2.3.1."""

    fields: Mapping[str, str] = field(repr=False)
    client: str = ""
    secret: str = field(default="", repr=False)


class Outbound(Protocol):
    """The way to issuers."""

    async def get(self, url: str, token: str = "") -> Json:
        """What stands there. Raises IssuerError unless it is 200 and a JSON object."""

    async def post(self, url: str, form: Form) -> tuple[int, Json]:
        """Status and answer, also of a refusal. Raises IssuerError where none can be had."""


class HttpOutbound:
    """Over the network. `authority`: PEM of a private one."""

    def __init__(self, authority: Path | None = None) -> None:
        """Raises OSError, ValueError."""
        self._tls: ssl.SSLContext | bool = True
        if authority is not None:
            self._tls = ssl.create_default_context(cafile=str(authority))

    async def get(self, url: str, token: str = "") -> Json:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status, found = await self._ask("GET", url, headers)
        if status != 200:
            raise IssuerError(f"{url} answered {status}")
        return found

    async def post(self, url: str, form: Form) -> tuple[int, Json]:
        headers = {"Accept": "application/json"}
        if form.secret:
            quoted = ":".join(map(urllib.parse.quote_plus, (form.client, form.secret)))
            headers["Authorization"] = f"Basic {base64.b64encode(quoted.encode()).decode()}"
        return await self._ask("POST", url, headers, dict(form.fields))

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], data: Mapping[str, str] | None = None
    ) -> tuple[int, Json]:
        if not is_safe(url):
            raise IssuerError(f"{url} is no address over https")
        try:
            async with (
                ClientSession(timeout=ClientTimeout(FETCH_SECONDS)) as session,
                session.request(
                    method, url, headers=headers, data=data, allow_redirects=False, ssl=self._tls
                ) as answer,
            ):
                content = await answer.content.read(ANSWER_BYTES_MAX + 1)
                while content and len(content) <= ANSWER_BYTES_MAX and not answer.content.at_eof():
                    content += await answer.content.read(ANSWER_BYTES_MAX + 1)
        except (ClientError, TimeoutError, ValueError) as error:
            raise IssuerError(f"{url} can't be asked: {type(error).__name__}") from error
        if len(content) > ANSWER_BYTES_MAX:
            raise IssuerError(f"{url} answered with more than {ANSWER_BYTES_MAX >> 10} KiB")
        return answer.status, _object(url, answer.status, content)


def _object(url: str, status: int, content: bytes) -> Json:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IssuerError(f"{url} answered {status} and no JSON") from error
    if not isinstance(found, dict):
        raise IssuerError(f"{url} gave no object")
    return found


def is_safe(url: str) -> bool:
    """HTTPS; without it only on this machine. No user, no fragment: what is asked is what one reads."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc or parts.fragment or any(each <= " " for each in url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK_NAMES)
