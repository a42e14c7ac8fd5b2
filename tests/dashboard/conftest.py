"""A browser and a stage for each file of tests: a real controller, two regions of real agents."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.dashboard.browser import Watched, chromium, watched, why_no_browser
from tests.support.stage import Stage, staged

Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if why := why_no_browser():
        pytest.skip(why)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Stage]:
    """After the browser: where there is none, nothing else is started."""
    if shutil.which("haproxy") is None and not Path("/usr/sbin/haproxy").exists():
        pytest.skip("haproxy is not installed: apt install haproxy")
    directory = Path(tempfile.mkdtemp(prefix="rp"))
    try:
        with staged(directory, **getattr(request, "param", {})) as started:
            yield started
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def open_tab(browser: Browser, stage: Stage) -> Iterator[Open]:
    """Opens as many as a test needs, with playwright's options of a context."""
    with ExitStack() as tabs:
        url = f"http://127.0.0.1:{stage.http_port}"

        def open_one(**options: Any) -> Watched:
            return tabs.enter_context(watched(browser, url, **options))

        yield open_one


@pytest.fixture
def tab(open_tab: Open) -> Watched:
    return open_tab()


@pytest.fixture
def page(tab: Watched) -> Page:
    """Fails its test, too, by what went wrong unseen."""
    return tab.page
