"""Waits on loopback for the browser that comes back from a log-in (RFC 8252, 7.3), and opens that browser."""

import html
import os
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from repave_cli.transport.errors import CliError
from repave_cli.transport.exit_codes import DENIED

WAIT_SECONDS = 600.0
ANSWER_SECONDS = 30.0
"""So long the browser's page waits for the controller's word."""
REQUEST_SECONDS = 10.0
TOLD = ("code", "state", "iss", "error", "error_description")
PAGE = "<!doctype html><meta charset=utf-8><title>repave</title><p>{}</p>\n"


class Loopback:
    """A web server for one page, while the block lasts."""

    def __init__(self) -> None:
        self._arrived, self._said = threading.Event(), threading.Event()
        self._state, self._told, self._text = "", dict[str, str](), "This page may be closed."
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._said.set()
        self._server.shutdown()
        self._server.server_close()

    def expect(self, url: str) -> None:
        """The log-in that begins at `url`, and no other. Before a browser goes there: one that is logged in
        already is back at once."""
        self._state = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)).get("state", "")

    def wait(self) -> dict[str, str]:
        """What the issuer sends the browser back with, of the log-in that is expected. Raises CliError."""
        if not self._arrived.wait(WAIT_SECONDS):
            raise CliError("no browser came back within 10 minutes; begin anew: repave login", DENIED)
        return self._told

    def say(self, text: str) -> None:
        """On the page that the browser shows."""
        self._text = text
        self._said.set()

    def _take(self, told: dict[str, str]) -> bool:
        if not self._state or told.get("state") != self._state or self._arrived.is_set():
            return False
        self._told = {name: told[name] for name in TOLD if name in told}
        self._arrived.set()
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_SECONDS

            def do_GET(self) -> None:
                parts = urllib.parse.urlsplit(self.path)
                is_ours = parts.path == "/callback" and loopback._take(
                    dict(urllib.parse.parse_qsl(parts.query))
                )
                if is_ours:
                    loopback._said.wait(ANSWER_SECONDS)
                body = PAGE.format(html.escape(loopback._text) if is_ours else "Not found.").encode()
                self.send_response(200 if is_ours else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Security-Policy", "default-src 'none'")
                self.send_header("Cache-Control", "no-store")
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        return Handler


def has_browser() -> bool:
    """Whether a person at this terminal sees one that is opened here."""
    if os.environ.get("BROWSER"):
        return True
    if os.environ.get("SSH_CONNECTION"):
        return False
    has_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not has_screen:
        return False
    import webbrowser

    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True


def open_browser(url: str) -> None:
    """Where none is, the address that is shown will do."""
    if has_browser() and urllib.parse.urlsplit(url).scheme in ("http", "https"):
        import webbrowser

        webbrowser.open(url)
