"""A blue/green release of one region beside the floor script that does the same work: wall and CPU."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.table import Line
from tests.support.example import Example
from tests.support.paths import EXAMPLE
from tests.support.stage import Stage, staged

GOALS = {20: 1.5, 200: 1.2}
CPU_GOAL_MS = 20.0


def run(directory: Path, hosts: int, rounds: int) -> Iterator[Line]:
    """Alternates: a release beside a serving fleet of the same size, then the floor."""
    walls, ratios, processor, floors, floor_processor = [], [], [], [], []
    with staged(directory / "s", regions=("paris",)) as stage:
        stage.release("v1", size=hosts, warm="0s", keep="0s", launch_deadline="5m")
        assert stage.ended(300)["phase"] == "succeeded", stage.rollout()
        for number in range(rounds):
            wall, spent = one_release(stage, f"v{number + 2}", hosts)
            floor = run_floor(directory / "f", hosts)
            walls.append(wall)
            processor.append(spent * 1000 / hosts)
            floors.append(floor["wall_seconds"])
            floor_processor.append(floor["cpu_seconds"] * 1000 / hosts)
            ratios.append(wall / floor["wall_seconds"])
    beside = f"{median(walls):.2f} s against {median(floors):.2f} s; ratios {spread(ratios)}"
    yield Line(f"release of {hosts} hosts, wall / floor", median(ratios), "x", beside, GOALS[hosts])
    beside = f"floor {median(floor_processor):.1f} ms; rounds {spread(processor)}"
    what = f"controller + agent CPU per host, {hosts} hosts"
    yield Line(what, median(processor), "ms", beside, CPU_GOAL_MS)


def one_release(stage: Stage, version: str, hosts: int) -> tuple[float, float]:
    """(seconds from the asking to the acknowledged flip, CPU seconds of controller and agent for it)."""
    region = stage.regions[0]
    example = Example(
        size=hosts, regions=stage.regions, warm="0s", keep="0s", drain="1s", launch_deadline="5m"
    )
    spec = example.write(stage.directory, version)
    digest = stage.push(stage.directory / version)
    seen = stage.get("events?newest=1&limit=1")["items"][-1]["sequence"]
    events = stage.events(seen)
    before = processor_seconds(stage, region)
    began = time.monotonic()
    body = {"spec": spec.read_text(), "digest": digest, "version": version}
    stage.call("POST", "applications/hello/releases", body)
    moved = next(event for event in events if event["kind"] in ("traffic.moved", "release.failed"))
    wall = time.monotonic() - began
    assert moved["kind"] == "traffic.moved", moved
    spent = processor_seconds(stage, region) - before
    stage.ended(300)
    # The floor must not share the machine with the old fleet's end.
    stage.wait(lambda: len(stage.hosts()[region]) == hosts, "the old fleet's end", 120)
    return wall, spent


def processor_seconds(stage: Stage, region: str) -> float:
    """User and system time of controller and agent themselves."""
    total = 0
    for process in (stage.controller, stage.agents[region]):
        assert process is not None
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def run_floor(directory: Path, hosts: int) -> dict[str, float]:
    python = os.path.realpath(sys.executable)
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.floor",
        str(directory),
        str(hosts),
        python,
        str(EXAMPLE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def median(values: list[float]) -> float:
    return statistics.median(values)


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} .. {max(values):.2f}"
