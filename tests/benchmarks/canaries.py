"""Canaries on a real HAProxy under load: how long a bad version has its 5 %, how many requests it hurts."""

import asyncio
import math
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import JudgeConfig, Metric, Samples
from tests.benchmarks.table import Line
from tests.support.canaries import HEALTHY, canary
from tests.support.stage import staged

HOLD_SECONDS = 120
RATE = 300.0
SLOW_SECONDS = 0.022
"""Of the slower version what takes longer hurts, 10 % more than usual; of others it is noise."""
SWIFT = "10 % errors"
HURT_PERCENT_MAX = 0.1
"""With that fault, of all requests in the time that the canary was to be watched."""
FAULTS: Mapping[str, tuple[Mapping[str, str], Mapping[str, float]]] = {
    "10 % errors": ({"ERROR_SHARE": "0.1"}, {"/": 1.0}),
    "1 % errors": ({"ERROR_SHARE": "0.01"}, {"/": 1.0}),
    "20 % slower": ({"ANSWER_SECONDS": "0.024"}, {"/": 1.0}),
    "errors at one URL": ({"ERROR_SHARE": "0.5", "ERROR_PATH": "/cart"}, {"/": 0.9, "/cart": 0.1}),
}


LAG_MS_MAX = 50.0
SAMPLES = 850
METRICS = 8


def judging() -> Iterator[Line]:
    """How late the event loop is while looks are judged beside it."""
    lags, seconds = asyncio.run(_beside())
    worst = max(lags) * 1000
    beside = f"{METRICS} metrics of {SAMPLES} by {SAMPLES} in {seconds:.2f} s"
    yield Line("judging: event loop late by at most", worst, "ms", beside, LAG_MS_MAX)


async def _beside() -> tuple[list[float], float]:
    chance = random.Random(1)
    metrics = [Metric(f"m{n}") for n in range(METRICS)]
    old, new = (
        {each.name: Samples(tuple(chance.gauss(5, 1) for _ in range(SAMPLES))) for each in metrics}
        for _ in range(2)
    )
    began = time.monotonic()
    judged = asyncio.create_task(asyncio.to_thread(judge, JudgeConfig(), metrics, old, new, 5, 10))
    lags = []
    while not judged.done():
        before = time.monotonic()
        await asyncio.sleep(0.001)
        lags.append(time.monotonic() - before - 0.001)
    await judged
    return lags, time.monotonic() - began


def run(place: Path, is_quick: bool) -> Iterator[Line]:
    yield from judging()
    for name, (fault, paths) in list(FAULTS.items())[: 1 if is_quick else None]:
        with staged(place / name.partition(" ")[0], regions=("paris",)) as stage:
            found = asyncio.run(
                canary(
                    stage,
                    {**HEALTHY, **fault},
                    hold_seconds=HOLD_SECONDS,
                    rate=RATE,
                    paths=paths,
                    slow_seconds=SLOW_SECONDS if "slower" in name else math.inf,
                )
            )
        seconds = found.exposed_seconds if found.is_back else float("inf")
        yield Line(f"canary with {name}: found and back", seconds, "s", str(found.rollout["outcome"])[:80])
        yield Line(
            f"canary with {name}: requests hurt",
            found.hurt_share * 100,
            "%",
            f"{found.hurt} of {found.requests:,.0f} in {HOLD_SECONDS} s",
            HURT_PERCENT_MAX if name == SWIFT else None,
        )
