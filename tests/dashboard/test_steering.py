"""What people steer in the browser: fleet, application, rollout, log-in. The controller is real but for its
regions, which do at once what they are asked, so that a whole rollout takes milliseconds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.controller.api.conftest import SPEC, Asked
from tests.controller.api.test_accounts import UNBOUNDED
from tests.dashboard.browser import PATIENCE_MILLISECONDS, PHONE, Watched, watched
from tests.fakes.controller.scheduler import ServedController, served

expect.set_options(timeout=PATIENCE_MILLISECONDS)
GATED = "{steps: [{scale: 100%}, {verify: {}}, {approve: {role: sre}}, {weight: 100%}]}"
SCREENS = (
    "/",
    "/?view=matrix",
    "/apps/hello",
    "/apps/hello/rollouts/3",
    "/apps/hello/rollouts/1",
    "/apps/no",
)
Open = Callable[..., Watched]


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[ServedController]:
    with served(tmp_path) as started:
        yield started


@pytest.fixture
def api(controller: ServedController) -> Asked:
    """Two releases have succeeded."""
    api = Asked(controller.url)
    for version in ("1.0", "2.0"):
        assert api.release(version).status == 202
        api.ended()
    return api


@pytest.fixture
def open_tab(browser: Browser, controller: ServedController) -> Iterator[Open]:
    with ExitStack() as tabs:
        yield lambda **options: tabs.enter_context(watched(browser, controller.url, **options))


def gated(api: Asked) -> None:
    """The third waits for an approval."""
    spec = SPEC.replace("{blue_green: {warm: 0s}}", GATED)
    asked = {"spec": spec, "digest": api.push("3.0"), "version": "3.0"}
    assert api.post("applications/hello/releases", asked).status == 202
    with api.stream("applications/hello/stream") as statuses:
        next(status for _, status in statuses if status["gates"])


def test_a_rollback_shows_its_plan_first_and_then_goes_back(api: Asked, open_tab: Open) -> None:
    page = open_tab().page
    page.goto("/apps/hello")
    page.get_by_role("button", name="Roll back to this, 1.0").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("To 1.0 in 2 regions")
    expect(dialog).to_contain_text("2 switch at once")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert api.get("applications/hello").json["version"] == "2.0"
    page.keyboard.press("r")
    dialog.get_by_role("button", name="Roll back").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("hello 1.0")
    expect(page.get_by_text("serves now")).to_have_count(1)


def test_a_running_rollout_is_paused_resumed_and_turned_round(api: Asked, open_tab: Open) -> None:
    gated(api)
    page = open_tab().page
    page.goto("/apps/hello/rollouts/3")
    dialog = page.get_by_role("dialog")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    for key, verb, phase in (("p", "Pause", "paused"), ("p", "Resume", "running")):
        page.keyboard.press(key)
        dialog.get_by_role("button", name=verb).click()
        expect(page.locator(".rollout-lead .chip")).to_contain_text(phase)
    page.keyboard.press("a")
    expect(dialog).to_contain_text("turns round")
    end = dialog.get_by_role("button", name="Abort")
    expect(end).to_have_accessible_description("say why first; it is kept in the history")
    end.click(force=True)
    assert api.get("applications/hello").json["phase"] == "running"
    dialog.get_by_role("textbox").fill("a wrong build")
    end.click()
    expect(page.locator(".rollout-lead .chip")).to_contain_text("aborted")


def test_the_search_is_in_the_address_and_a_key_leads_to_it(api: Asked, open_tab: Open) -> None:
    page = open_tab().page
    page.goto("/")
    expect(page.get_by_role("link", name="hello")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("nothing")
    expect(page.get_by_text("No application is like this.")).to_be_visible()
    assert page.url.endswith("/?q=nothing")
    page.goto("/?q=hel&view=matrix")
    expect(page.get_by_role("rowheader", name="hello")).to_be_visible()


def test_a_token_logs_a_browser_in_and_the_way_leads_back(tmp_path: Path, browser: Browser) -> None:
    with (
        served(tmp_path, has_accounts=True, bounds=UNBOUNDED) as controller,
        watched(browser, controller.url) as tab,
    ):
        tab.forgive("401")
        page = tab.page
        page.goto("/?view=matrix")
        field = page.get_by_label("Token")
        field.fill("rpv_wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("not known")
        field.fill(controller.admin)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_text("admin", exact=True)).to_be_visible()
        assert page.url.endswith("/?view=matrix")
        issuer = {"issuer": "https://id.example", "browser": True, "device": False}
        page.route("**/v1/login", lambda route: route.fulfill(json=issuer))
        page.route("**/login/oidc", lambda route: route.fulfill(status=303, headers={"Location": "/"}))
        page.goto("/login?next=/queue")
        page.get_by_role("link", name="Continue with id.example").click()
        page.wait_for_url("**/queue")
        page.unroute_all()
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in to repave")).to_be_visible()


def test_a_rollout_that_waits_fits_a_phone_and_can_be_used_by_everyone(api: Asked, open_tab: Open) -> None:
    gated(api)
    tab = open_tab(viewport=PHONE, color_scheme="dark")
    for path in SCREENS:
        tab.page.goto(path)
        expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
        expect(tab.page.locator(".loading")).to_have_count(0)
        assert not tab.overflow(), path
        assert not tab.violations(), path
