"""A blue/green release of one region beside the floor script that does the same work: wall and CPU."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.table import Line
from tests.support.example import Example
from tests.support.paths import EXAMPLE
from tests.support.stage import Stage, staged

GOALS = {20: 1.5, 200: 1.2}
CPU_GOAL_MS = 20.0
TRIVIAL_CPU_GOAL_MS = 10.0


def trivial(directory: Path, hosts: int, rounds: int) -> Iterator[Line]:
    """Of hosts that begin at once. The example imports asyncio for longer than all else takes."""
    program = directory / "trivial"
    source = Path(__file__).with_name("trivial.c")
    compiler = shutil.which("cc")
    if compiler is None:
        print("  no C compiler: trivial hosts are not measured")
        return
    subprocess.run([compiler, "-O2", "-o", program, source], check=True)
    yield from run(directory, hosts, rounds, program)


def run(directory: Path, hosts: int, rounds: int, program: Path | None = None) -> Iterator[Line]:
    """Alternates: a release beside a serving fleet of the same size, then the floor."""
    example = Example(size=hosts, warm="0s", keep="0s", drain="1s", launch_deadline="5m", program=program)
    kind = "trivial hosts" if program is not None else "hosts"
    walls, ratios, processor, floors, floor_processor = [], [], [], [], []
    wholes, whole_ratios, whole_processor = [], [], []
    with staged(directory / "s", regions=("paris",)) as stage:
        one_release(stage, "v1", replace(example, regions=stage.regions))
        assert stage.ended(300)["phase"] == "succeeded", stage.rollout()
        for number in range(rounds):
            wall, spent = one_release(stage, f"v{number + 2}", replace(example, regions=stage.regions))
            floor = run_floor(directory / "f", hosts, example)
            walls.append(wall)
            processor.append(spent * 1000 / hosts)
            floors.append(floor["wall_seconds"])
            floor_processor.append(floor["cpu_seconds"] * 1000 / hosts)
            ratios.append(wall / floor["wall_seconds"])
            if program is not None:
                whole = run_floor(directory / f"w{number}", hosts, example, FLOOR="whole")
                wholes.append(whole["wall_seconds"])
                whole_processor.append(whole["cpu_seconds"] * 1000 / hosts)
                whole_ratios.append(wall / whole["wall_seconds"])
    beside = f"{median(walls):.2f} s against {median(floors):.2f} s; ratios {spread(ratios)}"
    yield Line(f"release of {hosts} {kind}, wall / floor", median(ratios), "x", beside, GOALS[hosts])
    beside = f"floor {median(floor_processor):.1f} ms; rounds {spread(processor)}"
    what = f"controller + agent CPU per host, {hosts} {kind}"
    goal = CPU_GOAL_MS if program is None else TRIVIAL_CPU_GOAL_MS
    yield Line(what, median(processor), "ms", beside, goal)
    if program is not None:
        beside = f"{median(walls):.2f} s against {median(wholes):.2f} s; ratios {spread(whole_ratios)}"
        what = f"release of {hosts} {kind}, wall / floor of whole hosts"
        yield Line(
            what, median(whole_ratios), "x", f"{beside}; its CPU {median(whole_processor):.1f} ms a host"
        )


def one_release(stage: Stage, version: str, example: Example) -> tuple[float, float]:
    """(seconds from the asking to the acknowledged flip, CPU seconds of controller and agent for it)."""
    region, hosts = stage.regions[0], example.size
    spec = example.write(stage.directory, version)
    digest = stage.push(stage.directory / version)
    newest = stage.get("events?newest=1&limit=1")["items"]
    events = stage.events(newest[-1]["sequence"] if newest else 0)
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


def run_floor(directory: Path, hosts: int, example: Example, **environment: str) -> dict[str, float]:
    folder = EXAMPLE if example.program is None else example.program.parent
    application = [str(folder), *example.command]
    command = [sys.executable, "-m", "tests.benchmarks.floor", str(directory), str(hosts), *application]
    given = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=given)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def median(values: list[float]) -> float:
    return statistics.median(values)


def spread(values: list[float]) -> str:
    return f"{min(values):.2f} .. {max(values):.2f}"
