"""What people steer in the browser: fleet, application, rollout, log-in. The controller is real but for its
regions, which do at once what they are asked, so that a whole rollout takes milliseconds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from repave_controller.api.answers.analyses import (
    AnalysesAnswer,
    LookItem,
    MetricLookItem,
    SeriesItem,
    SideItem,
)
from repave_controller.api.answers.models import AnalysisItem
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
ANALYSIS = AnalysisItem(
    gate="step 1.3", region="", run=1, looks=2, judged=2, count=5, said=["pass", "fail"], ending="failed",
    score=40.0, text="errors is critical and bad",
)  # fmt: skip
ERRORS = MetricLookItem(
    name="errors", kind="rate", unit="", source="balancer", query="errors", total="", verdict="high",
    rule="worse", text="errors: 10 % of 40 against 0 % of 400: clearly worse", trouble="", is_critical=True,
    is_muted=False, effect=None, difference=0.1, interval=[], p=0.0004, threshold=0.025, step_seconds=5.0,
    begins_at=0.0,
    canary=SideItem(samples=4, mean=0.1, median=None, low=None, high=None, events=4.0, trials=40.0),
    baseline=SideItem(samples=4, mean=0.0, median=None, low=None, high=None, events=0.0, trials=400.0),
    canary_series=SeriesItem(values=[], events=[0.0, 1.0, None, 3.0], trials=[10.0, 10.0, None, 20.0]),
    baseline_series=SeriesItem(values=[], events=[0.0] * 4, trials=[100.0] * 4),
)  # fmt: skip
LATENCY = ERRORS.model_copy(
    update={"name": "latency", "kind": "value", "verdict": "", "text": "latency: Prometheus: 503",
            "trouble": "Prometheus: 503", "canary": None, "baseline": None, "canary_series": None,
            "baseline_series": None}
)  # fmt: skip
LOOKS = AnalysesAnswer(
    application="hello",
    rollout=1,
    items=[
        LookItem(
            gate="step 1.3", region="", run=1, look=2, judged=2, count=5, at=datetime.now(UTC), since=0.0,
            until=9.0, regions=[], judge="repave-v1", outcome="fail", score=40.0, pass_score=None,
            marginal_score=None, is_final=True, text="fail: errors is critical and bad",
            metrics=[ERRORS, LATENCY],
        )
    ],
)  # fmt: skip


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


def test_an_analysis_shows_each_metric_with_its_verdict_and_both_sides(api: Asked, open_tab: Open) -> None:
    tab = open_tab()
    page = tab.page

    def history(route: Route) -> None:
        answer = route.fetch()
        whole = answer.json()
        whole["items"][0]["analyses"] = [ANALYSIS.model_dump(mode="json")]
        route.fulfill(response=answer, json=whole)

    page.route("**/hello/history?*", history)
    page.route("**/hello/analyses?*", lambda route: route.fulfill(json=LOOKS.model_dump(mode="json")))
    page.goto("/apps/hello/rollouts/1")
    shown = page.get_by_role("article", name="Analysis of step 1.3")
    expect(shown).to_contain_text("2 of 5 looks")
    expect(shown.locator(".looks li")).to_have_text(["\u2713pass", "\u00d7fail"])
    errors, latency = shown.locator(".metric").nth(0), shown.locator(".metric").nth(1)
    expect(errors).to_contain_text("10 % of 40 against 0 % of 400: clearly worse.")
    expect(errors.locator(".sides")).to_have_text("new10 %old0 %")
    expect(errors.get_by_role("img")).to_be_visible()
    expect(latency).to_contain_text("not read")
    assert tab.violations() == []
    page.set_viewport_size(PHONE)
    assert tab.overflow() == []


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
