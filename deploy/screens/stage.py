"""The world that the screenshots show: a real controller with three regions of real hosts, in which a release
is half-way, one has gone back, one waits for an approval, releases are queued, a freeze is to come. Clients
ask all the while.
"""

import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.example import Example
from tests.support.load import Load
from tests.support.stage import Stage, staged

REGIONS = ("frankfurt", "oslo", "virginia")
HALF_WAY = (
    "{canary: {steps: [{traffic: 10%, hold: 2s}, {traffic: 50%, hold: 30m, analyse: {interval: 15s}}]}}"
)
FAST = {"min_healthy": "0s", "interval": "2s", "launch_deadline": "2m", "run": ("python3", "app.py")}
PORTS = {"checkout": 8001, "search": 8002, "catalog": 8003, "mail": 8004}
RATE = 9
"""Requests a second to each application in each region."""
SEEN_SECONDS = 100
"""Of requests that the charts show."""


@contextmanager
def shown_world() -> Iterator[Stage]:
    with (
        tempfile.TemporaryDirectory(prefix="rp") as place,
        staged(Path(place), regions=REGIONS) as stage,
        clients(stage),
    ):
        fill(stage)
        yield stage


@contextmanager
def clients(stage: Stage) -> Iterator[None]:
    """Ask every application in every region, whether anything answers yet or not."""
    is_over = threading.Event()

    async def ask() -> None:
        addresses = [stage.traffic_address(region) for region in stage.regions]
        loads = [
            Load(
                f"http://{address}:{port}/",
                RATE * (1 + number % 3),
                keepalive=2,
                closing=2,
                timeout_seconds=2,
            )
            for number, address in enumerate(addresses)
            for port in PORTS.values()
        ]
        for load in loads:
            await load.start()
        await asyncio.to_thread(is_over.wait)
        await asyncio.gather(*(load.stop() for load in loads))

    asking = threading.Thread(target=asyncio.run, args=(ask(),))
    asking.start()
    try:
        yield
    finally:
        is_over.set()
        asking.join()


def fill(stage: Stage) -> None:
    """Brings about what the screens show."""
    _serve(stage, "checkout", "4.2.0", size=4)
    _serve(stage, "search", "2025.11.3", size=5)
    _serve(stage, "catalog", "1.17.2", size=3)
    _serve(stage, "mail", "3.0.1", size=2)
    _serve(stage, "mail", "3.1.0", size=2)
    sick = {"environment": {"HEALTH": "500 Oops"}, "launch_deadline": "4s"}
    _release(stage, "catalog", "1.18.0", size=3, **sick)
    _release(stage, "search", "2025.12.0", size=5, strategy=HALF_WAY)
    waves = "waves:\n  - {regions: [oslo]}\n  - {regions: rest, approve: ops}\n"
    _release(stage, "checkout", "4.3.0", size=4, more=waves)
    for version in ("4.3.1", "4.4.0"):
        _release(stage, "checkout", version, size=4, queue=True)
    stage.call(
        "POST",
        "freezes",
        {"from": day(6), "to": day(10), "applications": ["*"], "reason": "holidays", "by": "ann"},
    )
    stage.ended(application="catalog")
    stage.wait(lambda: _waits(stage, "checkout"), "the approval", 120)
    stage.wait(lambda: _share(stage, "search") == 5000, "half of the traffic", 120)
    time.sleep(SEEN_SECONDS)


def day(ahead: int) -> str:
    return f"{datetime.now(UTC) + timedelta(days=ahead):%Y-%m-%d}"


def _serve(stage: Stage, application: str, version: str, **options: Any) -> None:
    _release(stage, application, version, **options)
    assert stage.ended(application=application)["phase"] == "succeeded"


def _release(stage: Stage, application: str, version: str, **options: Any) -> None:
    queue = options.pop("queue", False)
    example = Example(
        **{
            **FAST,
            **options,
            "application": application,
            "port": PORTS[application],
            "regions": stage.regions,
        }
    )
    spec = example.write(stage.directory, version).read_text()
    digest = stage.push(stage.directory / version)
    body = {"spec": spec, "digest": digest, "version": version, "by": "ann", "queue": queue}
    stage.call("POST", f"applications/{application}/releases", body)


def _waits(stage: Stage, application: str) -> bool:
    return bool(stage.get(f"applications/{application}")["gates"])


def _share(stage: Stage, application: str) -> int:
    regions = stage.get(f"applications/{application}")["region_items"]
    return min(
        max((g["weight_bp"] for g in each["groups"] if g["state"] == "new"), default=0) for each in regions
    )
