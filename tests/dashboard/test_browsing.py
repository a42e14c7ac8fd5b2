"""What people do in the browser, from the first visit to the way back, with one stage for all of it. And
every screen with something on it: no hidden trouble, nothing that shuts people out, none too wide.
"""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.browser import DESK, LOST, PHONE, Watched, watched
from tests.dashboard.conftest import Open
from tests.support.example import Example
from tests.support.paths import EXAMPLE
from tests.support.stage import Stage

APP = "hello"
SCREENS = {
    "/": "Fleet",
    f"/apps/{APP}": APP,
    f"/apps/{APP}/rollouts/1": "1.0",
    "/regions": "Regions",
    "/regions/paris": "paris",
    "/regions/paris?view=hosts": "paris",
    "/hosts/paris/HOST": "HOST",
    "/events": "Events",
    "/events?view=audit": "Events",
    "/safety": "Safety",
    "/ages": "Ages",
    "/queue": "Queue",
    "/plan": "Plan",
    "/simulate": "Simulate",
    "/access": "Access",
    "/api": "API",
}


def confirm(page: Page, verb: str, reason: str = "") -> None:
    """In the dialog that is open."""
    dialog = page.get_by_role("dialog")
    if reason:
        dialog.get_by_role("textbox").last.fill(reason)
    dialog.get_by_role("button", name=verb, exact=True).click()
    expect(dialog).to_have_count(0)


def test_from_the_first_visit_to_released_and_rolled_back(stage: Stage, page: Page) -> None:
    page.goto("/")
    expect(page.get_by_text("Nothing is released yet")).to_be_visible()
    stage.release("1.0")
    row = page.get_by_role("row", name=re.compile("hello"))
    expect(row).to_contain_text("1.0")
    stage.ended()
    stage.release("2.0")
    stage.ended()
    page.get_by_role("link", name="hello", exact=True).click()
    expect(page.locator("h1")).to_contain_text("2.0")
    page.get_by_role("button", name="Roll back to this, 1.0").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("switch at once")
    confirm(page, "Roll back", "2.0 is slow")
    expect(page.locator("h1")).to_contain_text("1.0")
    stage.ended()
    assert stage.weights() == {region: {"hello-v001": 10_000} for region in stage.regions}
    expect(page.locator(".history li").first).to_contain_text("2.0 is slow")


def test_a_rollout_is_followed_approved_and_seen_to_its_end(stage: Stage, page: Page) -> None:
    stage.release("3.0", strategy="{blue_green: {warm: 1s, approve: leads}}")
    page.goto(f"/apps/hello/rollouts/{stage.rollout()['number']}")
    button = page.get_by_role("button", name="Approve")
    expect(button).to_be_enabled()
    button.click()
    confirm(page, "Approve", "looks well")
    assert stage.ended()["phase"] == "succeeded"
    expect(page.locator(".rollout-lead")).to_contain_text("succeeded")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    expect(page.get_by_text("No requests are known of then")).to_be_visible()


def test_hosts_open_beside_the_page_from_a_square_or_by_key(released: Stage, tab: Watched) -> None:
    page = tab.page
    group = released.get("applications")["items"][0]["serving"]
    page.goto("/regions/paris")
    squares = page.get_by_role("button", name=re.compile(f"^{group}: "))
    squares.click(position={"x": 3, "y": 3})
    panel = page.get_by_role("complementary", name="Host", exact=True)
    expect(panel.locator(".probes li").first).to_contain_text("answered 200")
    expect(page.get_by_role("heading", level=1)).to_have_text("paris")
    assert tab.violations() == []
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(squares).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("complementary", name="Hosts").get_by_role("link", name=f"{group}-1").click()
    expect(panel).to_contain_text("Healthy for")
    page.set_viewport_size(PHONE)
    assert tab.overflow() == []


def test_what_one_person_freezes_the_other_sees_and_thaws(stage: Stage, open_tab: Open) -> None:
    one, other = open_tab().page, open_tab().page
    one.goto("/")
    other.goto("/safety")
    one.get_by_role("button", name="Freeze everything").click()
    dialog = one.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Freeze everything")).to_have_attribute("aria-disabled", "true")
    confirm(one, "Freeze everything", "a storm")
    expect(other.locator(".banner")).to_contain_text("a storm")
    assert stage.get("freezes")["everything"]["reason"] == "a storm"
    other.get_by_role("button", name="Unfreeze everything").click()
    confirm(other, "Unfreeze everything")
    expect(one.locator(".banner")).to_have_count(0)
    assert stage.get("freezes")["everything"] is None


def test_a_controller_that_was_away_is_found_again(stage: Stage, open_tab: Open) -> None:
    tab = open_tab()
    tab.forgive(*LOST)
    tab.page.goto("/")
    state = tab.page.locator(".connection")
    expect(state).to_contain_text("Live")
    stage.kill_controller()
    expect(state).to_contain_text("Reconnecting")
    stage.start_controller()
    stage.wait(lambda: all(each["connected"] for each in stage.get("regions")["items"]), "agents")
    expect(state).to_contain_text("Live")
    stage.release("4.0")
    expect(tab.page.get_by_role("row", name=re.compile("hello"))).to_contain_text("4.0")
    stage.ended()


@pytest.fixture
def released(stage: Stage) -> Stage:
    """With something to show, also where no test came before."""
    if not stage.get("applications")["items"]:
        stage.release("1.0")
        stage.ended()
    return stage


def path_of(path: str, stage: Stage) -> tuple[str, str]:
    """The path, and what its page is called."""
    host = stage.get("hosts?region=paris")["items"][0]["name"]
    return path.replace("HOST", host), SCREENS[path].replace("HOST", host)


def visit(page: Page, path: str, title: str) -> None:
    page.goto(path)
    expect(page.locator("h1")).to_contain_text(title)
    expect(page.locator(".loading")).to_have_count(0)


@pytest.fixture(scope="module")
def one_tab(browser: Browser, stage: Stage) -> Iterator[Watched]:
    """For all screens, one after the other: what they share is loaded once."""
    url = f"http://127.0.0.1:{stage.http_port}"
    with watched(browser, url, color_scheme="light", reduced_motion="reduce") as tab:
        yield tab


@pytest.mark.parametrize("path", SCREENS)
def test_a_screen_shuts_no_one_out(one_tab: Watched, released: Stage, path: str) -> None:
    page = one_tab.page
    one_tab.troubles.clear()  # each test has its own
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESK)
    visit(page, *path_of(path, released))
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert one_tab.violations() == []
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.set_viewport_size(PHONE)
    expect(page.locator("h1")).to_be_visible()
    assert one_tab.overflow() == []
    assert one_tab.violations() == []
    page.goto("about:blank")
    assert one_tab.left() == []


HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'`${alert(3)}javascript:alert(4)"
SHOWING = (
    "/",
    "/?view=matrix",
    "/apps/hello",
    "/apps/hello/rollouts/NUMBER",
    "/regions/paris",
    "/events",
    "/safety",
    "/ages",
    "/hosts/paris/HOST",
    "/queue",
)


def test_no_text_of_others_becomes_part_of_the_page(released: Stage, tab: Watched, tmp_path: Path) -> None:
    """What people, hosts and specs may call things, and say."""
    stage, page = released, tab.page
    program = tmp_path / "serve"
    code = (EXAMPLE / "app.py").read_text()
    program.write_text(f"#!{os.path.realpath(sys.executable)}\nprint({HOSTILE!r}, flush=True)\n{code}")
    program.chmod(0o755)
    strategy = "{blue_green: {warm: 1s, approve: leads}}"
    example = Example(regions=stage.regions, program=program, strategy=strategy)
    spec = example.write(stage.directory, "5.0").read_text()
    body = {
        "spec": spec,
        "digest": stage.push(stage.directory / "5.0"),
        "version": "5.0",
        "by": HOSTILE[:100],
    }
    stage.call("POST", "applications/hello/releases", body)
    stage.wait(lambda: stage.get("applications/hello")["gates"], "what waits for approval")
    stage.call("POST", "applications/hello/pause", {"reason": HOSTILE, "by": HOSTILE[:100]})
    stage.call("POST", "freezes/all", {"reason": HOSTILE, "by": HOSTILE[:100]})
    stage.call("POST", "freezes", {"from": "2098-12-20", "to": "2098-12-27", "reason": HOSTILE})
    hosts = stage.get("hosts?region=paris&log_lines=5")["items"]
    host = next(each["name"] for each in hosts if HOSTILE in each["log_tail"])
    number = str(stage.rollout()["number"])
    shown = 0
    for path in SHOWING:
        page.goto(path.replace("HOST", host).replace("NUMBER", number))
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator(".loading")).to_have_count(0)
        shown += "<img src=x onerror" in page.locator("body").inner_text()
        assert page.locator("img, body script, [onerror]").count() == 0, path
    assert shown >= len(SHOWING) - 1, "the texts were not even shown"
    tab.forgive("answer 40[04]", "Failed to load resource")
    evil = quote(HOSTILE, safe="")
    for path in (f"/apps/{evil}", f"/regions/{evil}", f"/hosts/{evil}/x", f"/{evil}", f"/events?q={evil}"):
        page.goto(path)
        expect(page.locator("main h1, main h2").first).to_be_visible()
        assert page.locator("img, body script, [onerror]").count() == 0, path


@pytest.fixture(autouse=True)
def thawed(stage: Stage) -> None:
    """Whatever the test before left."""
    if stage.get("freezes")["everything"] is not None:
        stage.call("POST", "freezes/all/lift", {})
