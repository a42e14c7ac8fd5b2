"""Hosts follow the requests that a real HAProxy counts: more under load, through a controller that is killed
and a release, and fewer after it, drained. No request fails."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.releases import release
from tests.support.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SIZE = "{min: 1, max: 3, by: requests, target: 50, every: 1s, over: 5s, steady: 15s, step: 100%}"
QUIET, BUSY = 30.0, 110.0
"""Requests a second; both together ask for 2.8 hosts."""


def scaling(stage: Stage) -> dict[str, Any]:
    (region,) = stage.get("applications/hello")["region_items"]
    found: dict[str, Any] = region["scaling"]
    return found


async def until(stage: Stage, hosts: int) -> None:
    """The number is in force, and so many hosts serve."""

    def is_so() -> bool:
        (region,) = stage.get("applications/hello")["region_items"]
        serving = next(each for each in region["groups"] if each["weight_bp"] == 10_000)
        is_up = serving["verified"] == serving["balancer_up"] == hosts and not serving["destroying"]
        return bool(region["scaling"]["hosts"] == hosts and is_up)

    await asyncio.to_thread(stage.wait, is_so, f"{hosts} hosts")


@pytest.mark.parametrize("stage", [{"regions": ("paris",)}], indirect=True)
async def test_hosts_follow_the_load_also_through_a_release_and_no_request_fails(stage: Stage) -> None:
    options: dict[str, Any] = {"bounds": SIZE, "warm": "0s", "keep": "0s", "drain": "2s", "interval": "500ms"}
    ended, _ = await release(stage, "v1", **options)
    assert ended["phase"] == "succeeded", stage.logs()
    assert scaling(stage)["hosts"] == 1
    url = f"http://{stage.traffic_address('paris')}:8000/"
    quiet, busy = Load(url, QUIET), Load(url, BUSY)
    await quiet.start()
    await busy.start()
    await until(stage, 3)
    assert "requests a second" in scaling(stage)["reason"]
    stage.kill_controller()
    await asyncio.to_thread(stage.start_controller)
    ended, _ = await release(stage, "v2", **options)
    assert ended["phase"] == "succeeded", stage.logs()
    assert scaling(stage)["hosts"] == 3, "a release begins with the number that is in force"
    results = [await busy.stop()]
    await until(stage, 1)
    results.append(await quiet.stop())
    for result in results:
        assert result.failures == (), result.summary()
    listed = await asyncio.to_thread(stage.repave, "events", "hello", "-o", "json")
    changes = [each for each in json.loads(listed.stdout)["items"] if each["kind"] == "region.scaled"]
    assert [each["by"] for each in changes] == ["repave"] * len(changes)
    beyond = await asyncio.to_thread(stage.repave, "scale", "hello", "--region", "paris", "--to", "4")
    assert beyond.returncode == 5
    assert "1 to 3" in beyond.stderr
    shown = await asyncio.to_thread(stage.repave, "scale", "hello", "paris=2", "--dry-run", "-o", "json")
    assert json.loads(shown.stdout)["starts_hosts"] == 1
