"""Fetches what an address on another machine names, over HTTPS, without being led anywhere else.

Names are looked up once and judged (security/addresses.py); the connection goes to what was judged, so that a
name which changes its mind gains nothing. Each redirect is judged anew. Credentials go to their own host.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from repave_controller.security.addresses import Allowed, objection

REDIRECTS_MAX = 5
RESUMES_MAX = 5
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
CHUNK_BYTES = 256 * 1024
REDIRECTS = (301, 302, 303, 307, 308)
BROKEN = (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionError)

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host. Raises OSError."""


class Fault(StrEnum):
    """Why nothing could be fetched."""

    NOT_FOUND = "not-found"
    DENIED = "denied"
    TOO_LARGE = "too-large"
    TOO_SLOW = "too-slow"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    PRIVATE = "private"
    REDIRECT = "redirect"


class FetchError(Exception):
    """The text is shown to people: it has neither credentials nor what was signed."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is, and what shows that it may be had: `authorization` goes to this host and port only.
    `is_of_settings`: an operator has named the host, which may be private, and in plaintext on loopback."""

    url: URL
    shown: str
    authorization: str = field(default="", repr=False)
    is_of_settings: bool = False


@dataclass(slots=True)
class Fetched:
    """What has come so far."""

    total_bytes: int | None = None  # None: not said
    received_bytes: int = 0
    etag: str = ""
    is_unchanged: bool = False


async def look_up(host: str, port: int) -> list[str]:
    """By this machine's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


class Fetcher:
    """One for a controller. `proxy`: all goes through it, and it looks names up itself."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        bytes_max: int,
        seconds_max: float,
        clock: Callable[[], float],
        authorities: str = "",
        proxy: str = "",
        lookup: Lookup = look_up,
    ) -> None:
        self._allowed, self._proxy, self._lookup = allowed, proxy, lookup
        self._bytes_max, self._seconds_max, self._clock = bytes_max, seconds_max, clock
        self._authorities = authorities
        if authorities:
            _ = self._tls  # what is wrong with them shows at the start

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made at the first fetch: to read the system's authorities takes some 50 ms."""
        context = ssl.create_default_context()
        if self._authorities:
            context.load_verify_locations(cadata=self._authorities)
        return context

    async def chunks(self, place: Place, told: Fetched, unless: str = "") -> AsyncGenerator[bytes, None]:
        """What is there, as it comes; goes on where it broke off, if the server can. Nothing if it is still
        what had the etag `unless`. Raises FetchError."""
        deadline = self._clock() + self._seconds_max
        attempts = 0
        while True:
            attempts += 1
            try:
                async with aclosing(self._some(place, told, unless, deadline)) as parts:
                    async for chunk in parts:
                        yield chunk
                return
            except BROKEN as error:
                if attempts > RESUMES_MAX or not told.etag:
                    text = f"{place.shown} broke off after {told.received_bytes:,} bytes: {_words(error)}"
                    raise FetchError(Fault.UNREACHABLE, text) from None

    async def text(self, place: Place, length_max: int) -> str:
        """A small file. Raises FetchError."""
        content = bytearray()
        async with aclosing(self.chunks(place, Fetched())) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > length_max:
                    raise FetchError(Fault.TOO_LARGE, f"{place.shown} is larger than {length_max:,} bytes")
        return content.decode(errors="replace")

    async def _some(
        self, place: Place, told: Fetched, unless: str, deadline: float
    ) -> AsyncGenerator[bytes, None]:
        """From where it broke off to where it breaks off again. Raises FetchError, and what BROKEN names."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(deadline - self._clock()):
                    response = await self._answer(stack, place, _wanted(told, unless))
                if response.status == 304:
                    told.is_unchanged = True
                    return
                self._take_head(place, told, response)
                while True:
                    async with asyncio.timeout(deadline - self._clock()):
                        chunk = await response.content.read(CHUNK_BYTES)
                    if not chunk:
                        return
                    told.received_bytes += len(chunk)
                    if told.received_bytes > self._bytes_max:
                        raise self._too_large(place)
                    yield chunk
        except TimeoutError:
            text = f"{place.shown} was not there whole within {self._seconds_max:g} s, or fell silent"
            raise FetchError(Fault.TOO_SLOW, text) from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise FetchError(Fault.TLS, f"{place.shown}: {_words(error.certificate_error)}") from None
        except aiohttp.ClientSSLError as error:
            raise FetchError(Fault.TLS, f"{place.shown}: {_words(error)}") from None
        except aiohttp.ClientError as error:
            if isinstance(error, BROKEN):
                raise
            raise FetchError(Fault.UNREACHABLE, f"{place.shown}: {_words(error)}") from None

    async def _answer(
        self, stack: AsyncExitStack, place: Place, wanted: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """The answer that is no redirect. Raises FetchError."""
        url = place.url
        for _ in range(REDIRECTS_MAX + 1):
            session = await stack.enter_async_context(self._session(place, url))
            headers = {"Accept-Encoding": "identity", "User-Agent": "repave", **wanted}
            if place.authorization and url.origin() == place.url.origin():
                headers["Authorization"] = place.authorization
            response = await stack.enter_async_context(
                session.get(url, headers=headers, allow_redirects=False, proxy=self._proxy or None)
            )
            if response.status not in REDIRECTS:
                return response
            url = self._next(place, url, response.headers.get("Location", ""))
        raise FetchError(Fault.REDIRECT, f"{place.shown} redirects more than {REDIRECTS_MAX} times")

    def _next(self, place: Place, url: URL, location: str) -> URL:
        try:
            found = url.join(URL(location, encoded=True))
        except ValueError:
            found = URL()
        if found.scheme != "https" or not found.host or found.user or found.password:
            where = f"{found.scheme}://{found.host or ''}" if found.scheme else "nowhere"
            raise FetchError(
                Fault.REDIRECT, f"{place.shown} redirects to {where}, and only https:// is followed"
            )
        return found

    def _session(self, place: Place, url: URL) -> aiohttp.ClientSession:
        """For one request. An address in place of a name is judged here: it is not looked up. Raises
        FetchError."""
        allowed, host = self._allowed, url.host or ""
        if place.is_of_settings and url.origin() == place.url.origin():
            allowed = with_host(allowed, host)
        if self._proxy:
            allowed = with_host(allowed, URL(self._proxy).host or "")
        if is_address(host) and (why := objection(host, host, allowed)):
            raise FetchError(Fault.PRIVATE, f"{place.shown}: {why}")
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=Judging(self._lookup, allowed, place.shown), use_dns_cache=False, ssl=self._tls
            ),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
            ),
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _take_head(self, place: Place, told: Fetched, response: aiohttp.ClientResponse) -> None:
        """Raises FetchError unless what follows is what is wanted, from where it broke off."""
        if response.status in (401, 403):
            raise FetchError(Fault.DENIED, f"{place.shown}: the server answered {response.status}")
        if response.status in (404, 410):
            raise FetchError(Fault.NOT_FOUND, f"{place.shown}: the server answered {response.status}")
        etag = response.headers.get("ETag", "")
        is_rest = response.status == 206 and told.received_bytes > 0 and etag == told.etag
        if response.status != 200 and not is_rest:
            raise FetchError(Fault.UNREACHABLE, f"{place.shown}: the server answered {response.status}")
        if is_rest:
            return
        if told.received_bytes:
            text = (
                f"{place.shown} broke off after {told.received_bytes:,} bytes, and can't be had from there on"
            )
            raise FetchError(Fault.UNREACHABLE, text)
        told.total_bytes = response.content_length
        told.etag = etag if etag.startswith('"') else ""  # a weak one does not say that bytes are the same
        if (response.content_length or 0) > self._bytes_max:
            raise self._too_large(place)

    def _too_large(self, place: Place) -> FetchError:
        return FetchError(Fault.TOO_LARGE, f"{place.shown} is larger than {self._bytes_max:,} bytes")


class Judging(AbstractResolver):
    """Hands on the addresses of a host if all of them may be fetched from."""

    def __init__(self, lookup: Lookup, allowed: Allowed, shown: str) -> None:
        self._lookup, self._allowed, self._shown = lookup, allowed, shown

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = list(dict.fromkeys(await self._lookup(host, port)))
        for address in addresses:
            if why := objection(host, address, self._allowed):
                raise FetchError(Fault.PRIVATE, f"{self._shown}: {why}")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None: ...


def _wanted(told: Fetched, unless: str) -> dict[str, str]:
    if told.received_bytes:
        return {"Range": f"bytes={told.received_bytes}-", "If-Range": told.etag}
    return {"If-None-Match": unless} if unless else {}


def with_host(allowed: Allowed, host: str) -> Allowed:
    if is_address(host):
        return replace(allowed, networks=(*allowed.networks, ipaddress.ip_network(host)))
    return replace(allowed, hosts=(*allowed.hosts, host.lower()))


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _words(error: BaseException) -> str:
    """Without what may be secret: of presigned addresses the query is."""
    return str(error).partition("?")[0] or type(error).__name__
