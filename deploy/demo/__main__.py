"""`make demo`: what immutable infrastructure looks like, on this machine, in about a minute.

Starts a controller, two regions and their HAProxies; releases v1, releases v2 under load, rolls back,
releases a v3 whose health fails and a v4 that is healthy and answers with errors; prints what was measured;
leaves nothing running. All of it is real.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.support.load import Load
from tests.support.load_result import LoadResult
from tests.support.stage import Stage

HOSTS = 5
ERROR = 500
RATE = 400  # requests a second over both regions
CANARY = "{canary: {steps: [{traffic: 5%, hold: 1m, analyse: {interval: 5s}}, {traffic: 100%}]}}"
BOLD, DIM, GREEN, RED, PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"


def tell(text: str = "", style: str = "") -> None:
    """One line; styled where a person looks on."""
    print(f"{style}{text}{PLAIN}" if style and sys.stdout.isatty() else text, flush=True)


@dataclass
class Measured:
    """What the report is made of."""

    flip_ms: float = 0.0
    rollback_ms: float = 0.0
    stopped_after_seconds: float = 0.0
    found_after_seconds: float = 0.0
    canary: float = 0.0  # when it had its first requests
    results: dict[str, LoadResult] = field(default_factory=dict)
    flipped_at: float = 0.0
    returned_at: float = 0.0
    launched: int = 0
    destroyed: int = 0


async def show(stage: Stage) -> Measured:
    """The story, step by step."""
    measured = Measured()
    tell("\n1. The first release", BOLD)
    tell(f"   Version v1 gets {HOSTS} brand-new hosts in each region. No host serves until all are healthy.")
    await released(stage, "v1")

    loads = await clients(stage)
    tell("\n2. A new version, while clients are there", BOLD)
    tell(f"   {RATE} requests a second reach both regions. v2 is never put onto a host that exists: it gets")
    tell("   hosts of its own beside the old ones, proves itself, and then one switch moves all traffic.")
    rollout = await released(stage, "v2", on_moved=lambda: mark(measured))
    measured.flip_ms = took_ms(await history(stage), "step.entered", "traffic.moved", "weight")
    tell(f"   The switch took {measured.flip_ms:.0f} ms in both regions. v1 stays warm, untouched.", DIM)
    assert rollout["phase"] == "succeeded", rollout

    tell("\n3. Second thoughts: back to v1", BOLD)
    tell("   Nothing is rebuilt: v1's hosts still run, so going back is the same one switch.")
    begun = time.monotonic()
    await asyncio.to_thread(stage.rollback)
    await asyncio.to_thread(stage.ended)
    measured.returned_at = time.monotonic()
    measured.rollback_ms = took_ms(await history(stage), "rollback.started", "traffic.moved")
    asked_ms = (measured.returned_at - begun) * 1000
    tell(f"   Rolled back in {measured.rollback_ms:.0f} ms ({asked_ms:.0f} ms including the command).", DIM)

    tell("\n4. A bad version", BOLD)
    tell("   v3 starts, and answers its health check with 500. It never gets a single request.")
    begun = time.monotonic()
    rollout = await released(stage, "v3", environment={"HEALTH": "500 Oops"}, launch_deadline="3s")
    measured.stopped_after_seconds = time.monotonic() - begun
    assert rollout["phase"] == "rolled-back", rollout

    tell("\n5. A version that is healthy, and wrong", BOLD)
    tell(
        "   v4 passes every health check, but one of ten of its answers is an error. As a canary it gets 5 %"
    )
    tell("   of the requests, and what the balancers count of it is compared with what they count of v1.")
    rollout = await released(
        stage, "v4", environment={"ERROR_EVERY": "10"}, strategy=CANARY, on_moved=lambda: began(measured)
    )
    measured.found_after_seconds = time.monotonic() - measured.canary
    assert rollout["phase"] == "rolled-back", rollout

    for region, load in loads.items():
        measured.results[region] = await load.stop()
    for event in await history(stage):
        measured.launched += event["kind"] == "host.launched"
        measured.destroyed += event["kind"] == "host.destroyed"
    return measured


def mark(measured: Measured) -> None:
    measured.flipped_at = time.monotonic()


def began(measured: Measured) -> None:
    measured.canary = measured.canary or time.monotonic()


async def clients(stage: Stage) -> dict[str, Load]:
    loads = {
        region: Load(
            f"http://{stage.traffic_address(region)}:8000/", RATE / len(stage.regions), keepalive=4, closing=4
        )
        for region in stage.regions
    }
    for load in loads.values():
        await load.start()
    return loads


async def released(
    stage: Stage, version: str, on_moved: Callable[[], None] = lambda: None, **options: Any
) -> dict[str, Any]:
    """Releases and narrates the events as they come; returns the ended rollout."""
    seen = max((event["sequence"] for event in await history(stage)), default=0)
    await asyncio.to_thread(stage.release, version, size=HOSTS, warm="2s", min_healthy="1s", **options)
    await narrate(stage, seen, on_moved)
    return await asyncio.to_thread(stage.rollout)


async def narrate(stage: Stage, after: int, on_moved: Callable[[], None]) -> None:
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        for event in stage.events(after):
            loop.call_soon_threadsafe(queue.put_nowait, event)
            if is_end(event):
                return

    reading = asyncio.ensure_future(asyncio.to_thread(read))
    began = time.monotonic()
    while True:
        event = await queue.get()
        if event["kind"] == "traffic.moved":
            on_moved()
        if event["kind"].startswith(("release.", "step.", "traffic.", "group.", "rollback.")):
            style = GREEN if event["kind"] == "traffic.moved" else RED if "failed" in event["kind"] else ""
            tell(f"   {time.monotonic() - began:5.1f} s  {shortened(event['text'])}", style)
        if is_end(event):
            break
    await reading


def is_end(event: dict[str, Any]) -> bool:
    return event["kind"].startswith("release.") and event["kind"].rpartition(".")[2] in (
        "succeeded",
        "rolled-back",
        "aborted",
        "held",
    )


def shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


async def history(stage: Stage) -> list[dict[str, Any]]:
    answer = await asyncio.to_thread(stage.get, "events?limit=1000")
    items: list[dict[str, Any]] = answer["items"]
    return items


def took_ms(events: list[dict[str, Any]], begin: str, end: str, word: str = "") -> float:
    """From the last `begin` to the last `end`, by the controller's own clock."""

    first = next(each for each in reversed(events) if each["kind"] == begin and word in each["text"])
    last = next(each for each in reversed(events) if each["kind"] == end)
    return (datetime.fromisoformat(last["at"]) - datetime.fromisoformat(first["at"])).total_seconds() * 1000


def report(measured: Measured) -> bool:
    """Prints what was measured; whether it is as promised."""
    requests = sum(len(result.requests) for result in measured.results.values())
    wrong = [each for result in measured.results.values() for each in result.failures]
    hurt = sum(each.status == ERROR and each.begun > measured.canary - 1.0 for each in wrong)
    failures = len(wrong) - hurt
    late = sum(
        result.answered_by("v1", after=measured.flipped_at, before=measured.returned_at - 1.0)
        + result.answered_by("v2", after=measured.returned_at)
        for result in measured.results.values()
    )
    bad = sum(result.answered_by("v3") for result in measured.results.values())
    tell("\nMeasured", BOLD)
    for name, value in (
        ("requests", f"{requests:,}"),
        ("failed, but for what v4 answered", f"{failures}"),
        ("answered by the old side after a switch", f"{late}"),
        ("answered by the bad version", f"{bad}"),
        ("switch to v2, both regions", f"{measured.flip_ms:.0f} ms"),
        ("rollback to v1, both regions", f"{measured.rollback_ms:.0f} ms"),
        ("requests that v4 answered with an error", f"{hurt} ({hurt / requests:.2%})"),
        ("v4 found and back after", f"{measured.found_after_seconds:.1f} s"),
        ("bad release stopped and cleaned up after", f"{measured.stopped_after_seconds:.1f} s"),
        ("hosts created / destroyed so far", f"{measured.launched} / {measured.destroyed}"),
    ):
        tell(f"   {name:42} {value:>12}")
    return failures == late == bad == 0


async def main() -> int:
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="rp"))
    stage = Stage(directory)
    tell("repave: every release gets brand-new hosts; going back is one traffic switch.", BOLD)
    tell("Starting a controller, two regions (paris, oslo) and their HAProxies ...", DIM)
    try:
        await asyncio.to_thread(stage.start)
        is_good = report(await show(stage))
    finally:
        tell("\nEnding every host, balancer, agent and the controller ...", DIM)
        await asyncio.to_thread(stage.stop)
        shutil.rmtree(directory, ignore_errors=True)
    tell(
        f"Nothing is left running. {time.monotonic() - began:.0f} s in all. Next: repave dev, then README.md."
    )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
