"""The tests of this folder would see what goes wrong in a page unseen."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Browser

from tests.dashboard.browser import PHONE, watched

PAGES = {
    "/fine": "<!doctype html><html lang=en><title>x</title><main><h1>x</h1></main></html>",
    "/bad": "<script>alert(1)</script><img src=/no-such-picture><script src=https://example.invalid/x.js></script>"
    "<script src=/throws.js></script><script src=/asks.js></script>",
    "/throws.js": "throw new Error('on purpose')",
    "/asks.js": "alert('asked')",
    "/unlabelled": "<!doctype html><html><title>x</title><main><h1>x</h1><input></main></html>",
    "/wide": "<main><pre>" + "x" * 500 + "</pre></main>",
    "/favicon.ico": "",
}


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = PAGES.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "text/javascript" if self.path.endswith(".js") else "text/html")
        self.send_header("Content-Security-Policy", "default-src 'self'; img-src 'self' data:")
        self.end_headers()
        self.wfile.write((content or "").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pages) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_page_s_hidden_troubles_fail_its_test(browser: Browser, site: str) -> None:
    with pytest.raises(AssertionError) as failed, watched(browser, site) as tab:
        tab.page.goto("/bad")
    for trouble in (
        "CSP: script-src-elem refused inline",
        "CSP: script-src-elem refused https://example.invalid",
        f"answer 404: GET {site}/no-such-picture",
        "exception: on purpose",
        "dialog: asked",
    ):
        assert trouble in str(failed.value)


def test_what_a_test_brings_about_is_forgiven(browser: Browser, site: str) -> None:
    with watched(browser, site) as tab:
        tab.forgive(
            "no-such-picture", "Failed to load resource", "csp", "CSP", "violates", "on purpose", "asked"
        )
        tab.page.goto("/bad")


def test_what_shuts_people_out_is_found(browser: Browser, site: str) -> None:
    with watched(browser, site, viewport=PHONE) as tab:
        tab.page.goto("/fine")
        assert (tab.violations(), tab.overflow()) == ([], [])
        tab.page.goto("/unlabelled")
        assert {each.split(" ")[0] for each in tab.violations()} == {"html-has-lang", "label"}
        tab.page.goto("/wide")
        assert "xxx" in tab.overflow()[0]
