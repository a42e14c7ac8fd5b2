"""Releases on a stage of real processes while clients are there, for the tests of more than one file."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.load import Load
from tests.support.load_result import LoadResult
from tests.support.stage import Stage


@asynccontextmanager
async def clients(
    stage: Stage, rate: float = 200, keepalive: int = 4
) -> AsyncIterator[dict[str, LoadResult]]:
    """Clients of both regions, keep-alive and closing; their results are there when the block is left."""
    kinds = {"keepalive": keepalive, "closing": 8 - keepalive}
    loads = {
        region: Load(f"http://{stage.traffic_address(region)}:8000/", rate=rate / 2, **kinds)
        for region in stage.regions
    }
    results: dict[str, LoadResult] = {}
    for load in loads.values():
        await load.start()
    try:
        yield results
    finally:
        for region, load in loads.items():
            results[region] = await load.stop()


async def release(
    stage: Stage, version: str, seconds: float = 60, **options: object
) -> tuple[dict[str, object], float]:
    """Releases in a thread, so that clients go on; returns the ended rollout and when its flip was told."""
    await asyncio.to_thread(stage.release, version, **options)
    ended = await asyncio.to_thread(stage.ended, seconds)
    return ended, time.monotonic()


async def there_and_back(stage: Stage, canary: str, seconds: float, **options: object) -> None:
    """The main job: a first release, a flip, a canary and a way back. No request is lost, and no host is left
    that no release wants."""
    ended, _ = await release(stage, "v1", seconds, **options, warm="0s")
    assert ended["phase"] == "succeeded", stage.logs()
    async with clients(stage, rate=100) as results:
        for version, strategy in (("v2", "{blue_green: {warm: 1s}}"), ("v3", canary)):
            ended, _ = await release(stage, version, seconds, **options, strategy=strategy)
            assert ended["phase"] == "succeeded", stage.logs()
        await asyncio.to_thread(stage.rollback)
        back = await asyncio.to_thread(stage.ended, seconds)
        assert back["phase"] == "succeeded", stage.logs()
    for result in results.values():
        assert result.failures == (), result.summary()
        assert {"v1", "v2", "v3"} <= {each.version for each in result.requests}
    orphans = await asyncio.to_thread(stage.repave, "orphans", "-o", "json")
    assert json.loads(orphans.stdout)["items"] == []
