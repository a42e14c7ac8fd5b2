"""A tab goes on at the next controller when the one that it speaks to, and that decides, is killed."""

import re
import shutil
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.dashboard.browser import LOST, watched
from tests.dashboard.front import front
from tests.support.several import SeveralStage
from tests.support.stage import kept

pytestmark = [pytest.mark.rig, pytest.mark.timeout(600)]


def test_a_tab_goes_on_when_the_deciding_controller_is_killed(browser: Browser, database_url: str) -> None:
    directory = Path(tempfile.mkdtemp(prefix="rp"))
    try:
        with (
            kept(SeveralStage(directory, database=database_url)) as stage,
            front(lambda: stage.http_port) as port,
            watched(browser, f"http://127.0.0.1:{port}") as tab,
        ):
            tab.forgive(*LOST)
            stage.release("1.0")
            stage.ended()
            owner = stage.owner()
            stage.turn_to(owner)
            tab.page.goto("/")
            row = tab.page.get_by_role("row", name=re.compile("hello"))
            expect(row).to_contain_text("1.0")
            stage.release("2.0", strategy="{blue_green: {warm: 1s, approve: leads}}")
            expect(row).to_contain_text("waits for approval")
            stage.kill(owner)
            stage.turn_to(next(name for name in stage.names if name != owner))
            tab.page.get_by_role("link", name="hello", exact=True).click()
            stage.wait(stage.owner, "another owner", 120)
            expect(tab.page.locator(".connection")).to_contain_text("Live")
            tab.page.get_by_role("button", name="Approve").click()
            tab.page.get_by_role("dialog").get_by_role("button", name="Approve", exact=True).click()
            assert stage.ended()["phase"] == "succeeded"
            expect(tab.page.locator("h1")).to_contain_text("2.0")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
