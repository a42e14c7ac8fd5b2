"""The pages beside the fleet, in a real browser: the first visit, plan, queue, simulate, access, the API."""

import re

import pytest
from playwright.sync_api import expect

from tests.dashboard.browser import PHONE, Watched
from tests.dashboard.conftest import Open
from tests.support.example import Example
from tests.support.stage import Stage

HELD = {"min_healthy": "0s", "strategy": "{canary: {steps: [{traffic: 10%, hold: 30m}]}}", "size": 1}
"""A release that waits half-way."""


def spec_of(stage: Stage, version: str, **options: object) -> tuple[str, str]:
    """Its text, and the digest of its package, which is stored."""
    example = Example(**{"regions": stage.regions, "size": 1, "min_healthy": "0s", **options})  # type: ignore[arg-type]
    text = example.write(stage.directory, version).read_text()
    return text, stage.push(stage.directory / version)


def check(tab: Watched) -> None:
    """Nothing on it shuts people out, and on a phone it is as wide as the phone."""
    assert tab.violations() == []
    tab.page.set_viewport_size(PHONE)
    assert tab.overflow() == []


def test_the_first_visit_leads_to_the_first_release_in_the_browser(stage: Stage, tab: Watched) -> None:
    page = tab.page
    page.goto("/")
    steps = page.locator(".first > li")
    expect(steps.nth(0)).to_contain_text("oslo, paris are connected")
    expect(steps.nth(1)).to_contain_text("repave init")
    text, digest = spec_of(stage, "1.0")

    page.get_by_role("link", name="Plan", exact=True).click()
    box = page.get_by_label("Spec", exact=True)
    box.fill(text.replace("interval:", "intervall:"))
    page.get_by_label("SHA-256").fill(digest)
    page.get_by_label("Version").fill("1.0")
    tab.forgive("answer 422: POST .*/v1/plan", "status of 422")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator(".places")).to_contain_text("did you mean interval?")
    expect(page.locator(".line-numbers .is-wrong")).to_have_count(1)
    check(tab)

    box.fill(text)
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator(".plan")).to_contain_text("2 hosts")
    check(tab)
    link = page.url
    page.goto("/")
    expect(steps.nth(1)).to_contain_text("Plan")
    page.goto(link)
    page.get_by_role("button", name="Release this plan").click()
    page.get_by_role("dialog").get_by_role("button", name="Release").click()
    page.wait_for_url("**/apps/hello/rollouts/1")
    stage.ended()
    page.goto("/")
    expect(steps.nth(2)).to_contain_text("hello serves version 1.0 on 2 hosts")
    check(tab)


def test_a_plan_that_is_out_of_date_says_so(stage: Stage, tab: Watched) -> None:
    text, digest = spec_of(stage, "2.0", warm="1s")
    plan = stage.call("POST", "plan", {"spec": text, "digest": digest, "version": "2.0"})["id"]
    stage.call("POST", "applications/hello/releases", {"spec": text, "digest": digest, "version": "2.0"})
    stage.ended()
    tab.page.goto(f"/plan?id={plan}")
    expect(tab.page.get_by_role("status")).to_contain_text([f"Plan {plan} is out of date"])

    compared = "{canary: {steps: [{traffic: 25%, hold: 1m, analyse: {baseline: fresh}}]}}"
    text, digest = spec_of(stage, "3.0", strategy=compared)
    plan = stage.call("POST", "plan", {"spec": text, "digest": digest, "version": "3.0"})["id"]
    tab.page.goto(f"/plan?id={plan}")
    expect(tab.page.locator(".plan")).to_contain_text("1 new, 1 old, 1 baseline")


def test_releases_that_wait_change_places_and_are_dropped(stage: Stage, open_tab: Open) -> None:
    tab, other = open_tab(), open_tab()
    tab.page.goto("/queue")
    expect(tab.page.get_by_role("heading", name="No release waits")).to_be_visible()
    stage.release("3.0", **HELD)
    for version in ("3.1", "3.2"):
        text, digest = spec_of(stage, version, **HELD)
        body = {"spec": text, "digest": digest, "version": version, "queue": True, "by": "<i>ann</i>"}
        stage.call("POST", "applications/hello/releases", body)
    for each in (tab, other):
        each.page.goto("/queue")
        expect(each.page.locator(".queued strong")).to_have_text(["3.1", "3.2"])
    expect(tab.page.locator(".queued-who").first).to_contain_text("<i>ann</i>")
    tab.page.get_by_role("button", name="Move 3.2 up").click()
    for each in (tab, other):
        expect(each.page.locator(".queued strong")).to_have_text(["3.2", "3.1"])
    check(tab)
    other.page.get_by_role("button", name="Drop 3.2").click()
    other.page.get_by_role("dialog").get_by_role("button", name="Drop it").click()
    expect(tab.page.locator(".queued strong")).to_have_text(["3.1"])
    stage.call("POST", "applications/hello/queue/drop", {"all": True})
    expect(tab.page.get_by_role("heading", name="No release waits")).to_be_visible()


def test_the_line_for_a_machine_and_accounts_say_why_they_are_not_there(tab: Watched) -> None:
    tab.forgive("answer 409", "status of 409")
    page = tab.page
    page.goto("/access")
    page.get_by_label("Region").fill("lisbon")
    page.get_by_role("button", name="Make the line").click()
    expect(page.get_by_role("alert")).to_contain_text("speaks plaintext")
    check(tab)
    for view in ("tokens", "roles", "people"):
        page.goto(f"/access?view={view}")
        expect(page.get_by_role("heading", name="This controller has no accounts")).to_be_visible()
    check(tab)


def test_every_route_of_the_document_is_shown_and_can_be_searched(stage: Stage, tab: Watched) -> None:
    document = stage.get("openapi.json")
    count = sum(method in ("get", "post") for methods in document["paths"].values() for method in methods)
    page = tab.page
    page.goto("/api")
    expect(page.locator(".operation")).to_have_count(count)
    page.get_by_label("Search routes and schemas").fill("queue move")
    expect(page.locator(".operation")).to_have_count(1)
    page.locator(".operation summary").click()
    expect(page.locator(".operation .copy code")).to_contain_text("/v1/applications/{application}/queue/move")
    check(tab)


@pytest.mark.rig
def test_a_release_is_simulated_and_its_timeline_shown(stage: Stage, tab: Watched) -> None:
    page = tab.page
    page.goto("/simulate")
    text, _ = spec_of(stage, "9.0")
    page.get_by_label("Spec", exact=True).fill(text)
    page.get_by_role("button", name="Run it without faults").click()
    timeline = page.locator(".timeline canvas")
    expect(timeline).to_have_attribute("aria-label", re.compile("Timeline: scale"), timeout=240_000)
    check(tab)
