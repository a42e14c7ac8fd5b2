"""The dashboard in a real Chromium: how soon it shows something, and what an update of a large fleet costs.

The controller is real but for its regions, which report at once and are changed from here; it runs in a
thread of this process, whose CPU time is measured apart. The main thread's time is Chromium's own account.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, Page

from repave_protos.protocol.values import ApplicationName, RegionName
from tests.benchmarks.release import median
from tests.benchmarks.table import Line
from tests.controller.api.conftest import a_package
from tests.dashboard.browser import chromium, watched, why_no_browser
from tests.fakes.controller.asking import Asking
from tests.fakes.controller.scheduler import ServedController, served

REGIONS, HOSTS = 100, 300
UPDATES = 12
QUIET_SECONDS = 10.0
FULL_MS, FIRST_PAINT_MS, QUIET_PERCENT = 100.0, 1000.0, 1.0
WAIT_SECONDS = 60.0
SPEC = """\
repave: 1
app: {app}
artifact: {{uri: ./app}}
host: {{image: local, run: ./serve}}
health: {{http: {{port: 8080, path: /}}, min_healthy_time: 0s}}
traffic: {{frontend: {app}, port: {port}}}
regions:
{regions}
waves: [{{regions: rest, bake: 1h}}]
strategy: {{blue_green: {{warm: 1h}}}}
"""
COUNT = """
window.updates = 0;
const listen = EventSource.prototype.addEventListener;
EventSource.prototype.addEventListener = function (name, handler) {
  listen.call(this, name, (event) => { window.updates += 1; handler(event); });
};
"""


def run(directory: Path, updates: int = UPDATES, quiet_seconds: float = QUIET_SECONDS) -> Iterator[Line]:
    """Nothing where there is no browser."""
    if why_no_browser():
        return
    names = tuple(f"region-{number:03d}" for number in range(REGIONS))
    with served(directory, names) as controller:
        for number, app in enumerate(["large", *(f"app-{number:02d}" for number in range(19))]):
            _released(Asking(controller.url), app, 8000 + number, names, HOSTS if app == "large" else 3)
        yield from _measured(controller, updates, quiet_seconds)


def _released(api: Asking, app: str, port: int, names: tuple[str, ...], size: int) -> None:
    """Twice: the second release is in its soak, with all hosts of both groups there."""
    listed = "\n".join(f"  - {{name: {name}, size: {size}}}" for name in names)
    text = SPEC.format(app=app, port=port, regions=listed)
    for version in ("1.0.0", "1.1.0") if app == "large" else ("1.0.0",):
        digest = api.post("images", a_package(app + version), **{"X-Repave-Name": "app"}).json["digest"]
        spec = text.replace("1h", "0s") if version == "1.0.0" else text
        asked = {"spec": spec, "digest": digest, "version": version}
        answer = api.post(f"applications/{app}/releases", asked)
        assert answer.status == 202, answer.content
        deadline = time.monotonic() + WAIT_SECONDS
        wanted = "running" if version == "1.1.0" else "succeeded"
        while not _is_there(api.get(f"applications/{app}").json, wanted):
            assert time.monotonic() < deadline, f"{app} {version} is not {wanted}"
            time.sleep(0.05)


def _is_there(status: dict[str, Any], wanted: str) -> bool:
    soaks = all(
        each["weight_bp"] in (0, 10_000) for region in status["region_items"] for each in region["groups"]
    )
    return status["phase"] == wanted and soaks


def _measured(controller: ServedController, updates: int, quiet_seconds: float) -> Iterator[Line]:
    shape = f"{REGIONS} regions x {HOSTS} hosts"
    with chromium() as browser, watched(browser, controller.url) as tab:
        tab.page.add_init_script(COUNT)
        paints, shown = [], []
        for _ in range(5):
            paint, rows = _opened(tab.page, "/apps/large", ".region-row", REGIONS)
            paints.append(paint)
            shown.append(rows)
        yield Line("dashboard: first paint", median(paints), "ms", "", FIRST_PAINT_MS)
        yield Line(f"dashboard: {shape} shown", median(shown), "ms", "from the click on")
        session = tab.context.new_cdp_session(tab.page)
        session.send("Performance.enable")
        for part in (REGIONS, REGIONS // 10):
            cost, made = _cost(controller, tab.page, session, part, updates)
            goal = FULL_MS if part == REGIONS else None
            what = f"dashboard: an update of {part} of {shape}"
            yield Line(what, cost, "ms", f"main thread; the controller's thread: {made:.1f} ms", goal)
        nodes = tab.page.evaluate("document.querySelectorAll('*').length")
        yield Line(f"dashboard: elements of {shape}", nodes, "")
        _opened(tab.page, "/", "tbody tr", 20)
        cost, made = _cost(controller, tab.page, session, REGIONS, updates)
        beside = f"main thread; the controller's thread: {made:.1f} ms"
        yield Line(f"dashboard: an update of the fleet, 20 x {REGIONS}", cost, "ms", beside, FULL_MS)
        yield _quiet(controller, tab.page, session, quiet_seconds)


def _opened(page: Page, path: str, rows: str, count: int) -> tuple[float, float]:
    """Milliseconds to the first paint, and until all rows are there."""
    page.goto(path, wait_until="commit")
    page.locator(rows).nth(count - 1).wait_for(state="attached")
    shown = page.evaluate("performance.now()")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
    return paint, shown


def _cost(
    controller: ServedController, page: Page, session: CDPSession, part: int, updates: int
) -> tuple[float, float]:
    """Milliseconds an update of Chromium's main thread and of the controller's thread."""
    page.wait_for_timeout(1500)
    before, cpu, count = _busy(session), controller.in_loop(time.thread_time), page.evaluate("updates")
    for number in range(updates):
        controller.in_loop(lambda number=number: _change(controller, part, number))  # type: ignore[misc]  # bound
        page.wait_for_timeout(520)
    seen = page.evaluate("updates") - count
    assert seen >= updates - 2, f"{seen} of {updates} updates came"
    spent = controller.in_loop(time.thread_time) - cpu
    return 1000 * (_busy(session) - before) / seen, 1000 * spent / seen


def _change(controller: ServedController, part: int, number: int) -> None:
    """Some hosts of every group of the first `part` regions come or go."""
    sessions, name = controller.sessions, ApplicationName("large")
    for region in list(sessions.known)[:part]:
        observations = sessions.known[region].observations.applications
        report = observations[name]
        groups = tuple(_with_ill(each, 1 + number % 5) for each in report.groups)
        observations[name] = dataclasses.replace(report, groups=groups)
    controller.scheduler.region_changed(RegionName(""), set())


def _with_ill(group: Any, count: int) -> Any:
    there = group.verified + group.unhealthy
    if there < HOSTS:
        return group
    return dataclasses.replace(group, verified=there - count, unhealthy=count)


def _busy(session: CDPSession) -> float:
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def _quiet(controller: ServedController, page: Page, session: CDPSession, seconds: float) -> Line:
    page.wait_for_timeout(1500)
    before, cpu = _busy(session), controller.in_loop(time.thread_time)
    page.wait_for_timeout(seconds * 1000)
    page_percent = 100 * (_busy(session) - before) / seconds
    percent = 100 * (controller.in_loop(time.thread_time) - cpu) / seconds
    beside = f"the controller's thread: {percent:.2f} %"
    return Line("dashboard: a page while nothing changes", page_percent, "% of core", beside, QUIET_PERCENT)
