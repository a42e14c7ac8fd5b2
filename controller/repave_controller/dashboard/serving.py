"""Serves the dashboard: its page for every path that a browser opens, and its files.

Knows nothing of what the page shows: that is the API's. The files are read once, at the start. Their
addresses have a hash of them all, so that a browser keeps them until they change.
"""

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from aiohttp import web

FILES: Final = Path(__file__).parent / "files"
PAGE: Final = "index.html"
ASSETS: Final = "/assets/"
TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""Other files of the directory are not served."""
PACKED: Final = (".css", ".html", ".js", ".json", ".svg")
NO_PAGES: Final = re.compile(r"/(v1|healthz|metrics|hooks|assets)(/|$)")
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""No script or style but from these files: what an application is called can't become one."""


@dataclass(frozen=True)
class _File:
    plain: bytes
    suffix: str

    @cached_property
    def packed(self) -> bytes | None:
        """By gzip, when a browser wants it first."""
        return gzip.compress(self.plain, mtime=0) if self.suffix in PACKED else None


class Dashboard:
    """One for an API."""

    def __init__(self, directory: Path = FILES) -> None:
        plain = {
            each.relative_to(directory).as_posix(): each.read_bytes()
            for each in sorted(directory.rglob("*"))
            if each.suffix in TYPES and each.is_file()
        }
        self.hash = _hash(plain)
        page = plain.pop(PAGE).replace(b"/assets/", f"{ASSETS}{self.hash}/".encode())
        self._files = {name: _File(content, Path(name).suffix) for name, content in plain.items()}
        self._page = _File(page, Path(PAGE).suffix)

    def answer(self, request: web.Request) -> web.Response | None:
        """None where the path is the API's."""
        if request.method not in ("GET", "HEAD"):
            return None
        if request.path.startswith(ASSETS):
            return self._asset(request)
        if NO_PAGES.match(request.path) or "text/html" not in request.headers.get("Accept", ""):
            return None
        return _response(request, self._page, "no-cache")

    def _asset(self, request: web.Request) -> web.Response | None:
        """By the name alone: a page that another controller gave has the hash of another version."""
        shown, _, name = request.path.removeprefix(ASSETS).partition("/")
        file = self._files.get(name)
        if file is None:
            return None
        is_this = shown == self.hash
        return _response(request, file, "public, max-age=31536000, immutable" if is_this else "no-store")


def _hash(plain: Mapping[str, bytes]) -> str:
    sums = [f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in plain.items()]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:16]


def _response(request: web.Request, file: _File, cache: str) -> web.Response:
    headers = {**HEADERS, "Content-Type": TYPES[file.suffix], "Cache-Control": cache}
    body = file.plain
    if file.packed is not None:
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"], body = "gzip", file.packed
    return web.Response(body=body, headers=headers)
