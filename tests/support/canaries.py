"""A canary on a stage of real processes, judged by what its HAProxy counts while clients are there."""

import asyncio
import math
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.load import Load
from tests.support.load_result import Request
from tests.support.stage import Stage

PROGRAM = Path(__file__).with_name("faulty_app.py")
SHARE = 0.05
HEALTHY: Mapping[str, str] = {"ANSWER_SECONDS": "0.02"}


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of it. `exposed_seconds`: from the canary's first answer to its last; `hurt`: requests that
    the canary failed or held up; `requests`: of all clients, in the time that the stage was to last."""

    rollout: Mapping[str, Any]
    exposed_seconds: float
    hurt: int
    requests: float

    @property
    def is_back(self) -> bool:
        return bool(self.rollout["phase"] == "rolled-back")

    @property
    def hurt_share(self) -> float:
        return self.hurt / self.requests

    def __str__(self) -> str:
        return (
            f"{self.rollout['phase']} after {self.exposed_seconds:.1f} s; {self.hurt} of {self.requests:.0f} "
            f"requests hurt ({self.hurt_share:.3%}): {self.rollout['outcome'] or 'no worse'}"
        )


async def canary(
    stage: Stage,
    fault: Mapping[str, str],
    *,
    hold_seconds: int,
    rate: float,
    analyse: str = "interval: 5s",
    paths: Mapping[str, float] = {"/": 1.0},
    more: str = "",
    slow_seconds: float = math.inf,
) -> Judged:
    """v2, with `fault`, gets 5 % for so long. `paths`: of the requests, the share of each; one of v2 that
    takes longer than `slow_seconds` is a hurt one."""
    step = f"{{traffic: 5%, hold: {hold_seconds}s, analyse: {{{analyse}}}}}"
    strategy = f"{{canary: {{steps: [{step}]}}}}"
    await asyncio.to_thread(_released, stage, "v1", HEALTHY, "{blue_green: {warm: 0s}}", "")
    region = stage.regions[0]
    loads = [
        Load(f"http://{stage.traffic_address(region)}:8000{path}", rate * share, keepalive=12, closing=4)
        for path, share in paths.items()
    ]
    async with AsyncExitStack() as running:
        for load in loads:
            await load.start()
            running.push_async_callback(load.stop)
        rollout = await asyncio.to_thread(_released, stage, "v2", {**HEALTHY, **fault}, strategy, more)
        begun = time.monotonic()
        results = [await load.stop() for load in loads]
        running.pop_all()
    requests = [each for result in results for each in result.requests]
    at = [each.begun for each in requests if each.version == "v2" and each.begun < begun]
    hurt = [each for each in requests if each.failure or _is_slow(each, slow_seconds)]
    exposed = max(at) - min(at) if at else 0.0
    return Judged(rollout, exposed, len(hurt), rate * max(hold_seconds, exposed))


def _is_slow(request: Request, slow_seconds: float) -> bool:
    return request.version == "v2" and request.ended - request.begun > slow_seconds


def _released(
    stage: Stage, version: str, environment: Mapping[str, str], strategy: str, more: str
) -> Mapping[str, Any]:
    stage.release(
        version, environment=environment, strategy=strategy, program=PROGRAM, interval="500ms", more=more
    )
    return stage.ended(240)
