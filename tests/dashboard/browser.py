"""Debian's Chromium, driven by playwright, and a page that hears what no user would see: errors on the
console, exceptions, what the Content-Security-Policy refused, requests that failed, dialogs of scripts.

A browser lives for a file of tests and not for the session: while it lives, playwright's own event loop runs
in this thread, where tests of other files want theirs.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    Response,
    ViewportSize,
    expect,
    sync_playwright,
)

PATIENCE_MILLISECONDS = 60_000
"""Of every wait: long, for a slow machine shall not fail a test."""
DESK = ViewportSize(width=1440, height=900)
PHONE = ViewportSize(width=390, height=844)
LOST = ("ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE", "ERR_NETWORK", "Failed to load", "answer 5")
"""What a tab says while its controller is away."""
expect.set_options(timeout=PATIENCE_MILLISECONDS)
VENDOR = Path(__file__).parent / "vendor"

_TELL_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) => {
  const place = `${event.sourceFile}:${event.lineNumber}`;
  console.error(`CSP: ${event.violatedDirective} refused ${event.blockedURI} (${place})`);
});
"""


def why_no_browser() -> str:
    """ "" where there is one."""
    return "" if shutil.which("chromium") else "chromium is not installed: make tools"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Its sandbox needs a user of its own: root, as in containers, goes without."""
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """One tab, in a profile of its own. `troubles`: what went wrong in it that no test has forgiven."""

    page: Page
    context: BrowserContext
    troubles: list[str] = field(default_factory=list)
    _forgiven: list[re.Pattern[str]] = field(default_factory=list)

    def forgive(self, *patterns: str) -> None:
        """What the test itself brings about, such as failed requests to a controller that it kills."""
        self._forgiven += map(re.compile, patterns)

    def left(self) -> list[str]:
        return [each for each in self.troubles if not any(known.search(each) for known in self._forgiven)]

    def violations(self) -> list[str]:
        """What axe finds wrong for people who don't see, or don't use a mouse: its rule, and where."""
        self.page.evaluate(axe())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations'], selectors: false})")
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:160]}: {_why(node)}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def overflow(self) -> list[str]:
        """What is wider than the window, so that the page scrolls sideways."""
        found: list[str] = self.page.evaluate(
            """() => {
              const width = document.documentElement.clientWidth;
              if (document.documentElement.scrollWidth <= width) return [];
              const wide = [...document.body.querySelectorAll('*')].filter(
                (each) => each.getBoundingClientRect().right > width + 1 || each.scrollWidth > width + 1);
              return wide.slice(0, 5).map((each) => each.outerHTML.slice(0, 160));
            }"""
        )
        return found


@contextmanager
def watched(browser: Browser, url: str, **options: Any) -> Iterator[Watched]:
    """A tab at no page yet; `url`: of the controller, for paths. Fails what went wrong in it at its end."""
    context = browser.new_context(base_url=url, **{"viewport": DESK, "locale": "en-GB", **options})
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    context.add_init_script(_TELL_VIOLATIONS)
    tab = Watched(context.new_page(), context)
    _listen(tab)
    try:
        yield tab
    finally:
        tab.forgive("ERR_ABORTED")  # what was under way as the tab closed
        context.close()
    assert not tab.left(), "\n".join(tab.left())


def _listen(tab: Watched) -> None:
    page, told = tab.page, tab.troubles

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # given up by the page itself, as when it goes to another
            told.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            told.append(f"answer {response.status}: {response.request.method} {response.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            told.append(f"console: {message.text}")

    def asked(dialog: Dialog) -> None:
        told.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", said)
    page.on("pageerror", lambda error: told.append(f"exception: {error}"))
    page.on("requestfailed", failed)
    page.on("response", answered)
    page.on("dialog", asked)


@cache
def axe() -> str:
    return (VENDOR / "axe.min.js").read_text()


def _why(node: dict[str, Any]) -> str:
    checks = [*node["any"], *node["all"], *node["none"]]
    return "; ".join(check["message"] for check in checks)[:300]
