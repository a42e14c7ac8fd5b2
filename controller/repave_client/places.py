"""Addresses of controllers, and paths of the API with names and queries that may hold any character."""

import urllib.parse
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from repave_client.errors import NotAController

DEFAULT_URL = "http://127.0.0.1:7400"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Place(NamedTuple):
    """Where a controller is."""

    url: str
    is_tls: bool
    host: str
    port: int


def urls_in(text: str) -> list[str]:
    """Of one controller, or of several, with commas or spaces between."""
    return text.replace(",", " ").split()


def place_of(url: str, *, has_token: bool) -> Place:
    """Raises NotAController; also where a token would be sent in plaintext."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:  # brackets without an end, a port that is none
        raise _no_address(url) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_address(url)
    if has_token and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise NotAController(f"a token would go to {url} in plaintext; write https://")
    is_tls = parts.scheme == "https"
    return Place(url.rstrip("/"), is_tls, parts.hostname, port or (443 if is_tls else 80))


def _no_address(url: str) -> NotAController:
    return NotAController(f"{url} is no address of a controller; write https://HOST:PORT")


def quoted(name: str) -> str:
    """A name as part of a path."""
    return quote(name, safe="")


def with_query(path: str, query: Mapping[str, object]) -> str:
    """Without what is None or ""; True and False as the API has them."""
    given = {
        name: (str(value).lower() if isinstance(value, bool) else value)
        for name, value in query.items()
        if value not in (None, "")
    }
    return f"{path}?{urlencode(given)}" if given else path
