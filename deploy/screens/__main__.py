"""`make screenshots`: every screen of the dashboard, in both themes and three widths, on a real controller
with real hosts. All go to dist/screens; the ones that the documents show to docs/screens.
"""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page

from deploy.screens.stage import shown_world
from tests.dashboard.browser import chromium
from tests.support.stage import Stage

ROOT = Path(__file__).parents[2]
WIDTHS = {1440: 900, 1024: 768, 390: 844}
THEMES = ("light", "dark")
KEPT = (("light", 1440), ("dark", 1440), ("light", 390))
TALLEST = 2400


@dataclass(frozen=True, slots=True)
class Screen:
    """`kept`: the documents show it."""

    name: str
    path: str
    kept: bool = False


SCREENS = (
    Screen("fleet", "/", kept=True),
    Screen("fleet-matrix", "/?view=matrix"),
    Screen("application", "/apps/mail", kept=True),
    Screen("rollout", "/apps/search/rollouts/2", kept=True),
    Screen("rollout-approval", "/apps/checkout/rollouts/2", kept=True),
    Screen("rollout-failed", "/apps/catalog/rollouts/2"),
    Screen("regions", "/regions"),
    Screen("region", "/regions/oslo"),
    Screen("host", "/hosts/oslo/{host}"),
    Screen("host-beside", "/regions/oslo?host=oslo/{host}"),
    Screen("hosts", "/regions/oslo?view=hosts"),
    Screen("queue", "/queue"),
    Screen("events", "/events"),
    Screen("safety", "/safety"),
    Screen("ages", "/ages"),
    Screen("plan", "/plan?id={plan}"),
    Screen("simulate", "/simulate"),
    Screen("access", "/access"),
    Screen("api", "/api"),
    Screen("login", "/login"),
)


def main() -> int:
    wanted = sys.argv[1:]
    with shown_world() as stage, chromium() as browser:
        known = {"host": a_host(stage), "plan": a_plan(stage)}
        for screen in SCREENS:
            if not wanted or screen.name in wanted:
                shoot(browser, stage, screen, known)
    return 0


def a_host(stage: Stage) -> str:
    return str(stage.get("hosts?region=oslo")["items"][0]["name"])


def a_plan(stage: Stage) -> str:
    spec = stage.get("applications/search/spec")
    body = {"spec": spec["text"], "digest": spec["digest"], "version": "2025.12.1"}
    return str(stage.call("POST", "plan", body)["id"])


def shoot(browser: Browser, stage: Stage, screen: Screen, known: dict[str, str]) -> None:
    folder = ROOT / "dist" / "screens"
    folder.mkdir(parents=True, exist_ok=True)
    for page, theme, width in pages(browser, stage):
        page.goto(screen.path.format(**known))
        page.wait_for_load_state("load")
        page.wait_for_selector(".loading", state="detached")
        PREPARE.get(screen.name, lambda _: None)(page)
        page.wait_for_timeout(400)
        height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
        page.set_viewport_size({"width": width, "height": max(WIDTHS[width], height)})
        page.wait_for_timeout(200)
        picture = folder / f"{screen.name}-{theme}-{width}.png"
        page.screenshot(path=picture)
        if screen.kept and (theme, width) in KEPT:
            shutil.copyfile(picture, ROOT / "docs" / "screens" / picture.name)
        print(f"{screen.name} {theme} {width}", flush=True)


def pages(browser: Browser, stage: Stage) -> Iterator[tuple[Page, str, int]]:
    for theme in THEMES:
        for width, height in WIDTHS.items():
            context = browser.new_context(
                base_url=f"http://127.0.0.1:{stage.http_port}",
                viewport={"width": width, "height": height},
                color_scheme=theme,  # type: ignore[arg-type]
                locale="en-GB",
            )
            page = context.new_page()
            page.on(
                "console", lambda said: print(f"  console: {said.text}") if said.type == "error" else None
            )
            page.on("pageerror", lambda error: print(f"  exception: {error}"))
            yield page, theme, width
            context.close()


def simulate(page: Page) -> None:
    page.get_by_label("Take the spec of an application").select_option("search")
    page.get_by_role("button", name="Run it without faults").click()
    page.wait_for_selector(".timeline", timeout=240_000)


def unfold(page: Page) -> None:
    page.locator("details.operation").nth(2).locator("summary").click()


def drawn(page: Page) -> None:
    page.wait_for_selector(".chart canvas", timeout=60_000)


PREPARE = {
    "simulate": simulate,
    "api": unfold,
    "application": drawn,
    "rollout": drawn,
    "rollout-approval": drawn,
}

if __name__ == "__main__":
    sys.exit(main())
