"""A release end to end on real processes: controller, two agents, two HAProxies, hosts, clients."""

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.load import Load
from tests.load_result import LoadResult
from tests.stage import Stage, staged, write_application

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with staged(tmp_path, agent_environment={"REPAVE_AGENT_HAPROXY__REDISPATCH": "false"}) as started:
        yield started


def release(stage: Stage, version: str, *arguments: str, **options: object) -> int:
    spec = write_application(stage.directory, version, **options)  # type: ignore[arg-type]  # test options
    done = stage.repave("release", "-f", str(spec), "--version", version, *arguments)
    assert done.returncode in (0, 3), done.stdout + done.stderr + stage.logs()
    return done.returncode


def weights(stage: Stage) -> dict[str, dict[str, int]]:
    """Region -> group -> basis points, as the balancers acknowledge them."""
    status = stage.get("applications/hello")
    return {
        region["name"]: {group["name"]: group["weight_bp"] for group in region["groups"] if group["weight_bp"]}
        for region in status["regions"]
    }


def hosts_on_disk(stage: Stage) -> list[str]:
    return sorted(path.name for path in stage.directory.glob("*/hosts/*") if (path / "host.json").exists())


@asynccontextmanager
async def clients(stage: Stage, rate: int = 200) -> AsyncIterator[dict[str, LoadResult]]:
    """Clients of both regions; the results are there when the block is left."""
    loads = {
        region: Load(f"http://{stage.traffic_address(region)}:8000/", rate=rate / 2, keepalive=4, closing=4)
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
