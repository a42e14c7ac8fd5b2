"""What commands cost: CPU of the whole process `repave ...`, beside a Python that only imports what it takes
to ask over HTTP. With few regions and with many, in one release of them all."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.fleet import names, spec
from tests.benchmarks.table import Line
from tests.fakes.controller.command_line import build
from tests.fakes.controller.scheduler import ServedController, served

GOAL_MS = 150.0
COMMANDS = ("status", "status fleet", "why fleet", "regions", "history fleet", "release --detach")
WITHOUT_GOAL = ("regions",)
"""They print a line for each region."""


def run(directory: Path, counts: tuple[int, ...], times: int) -> Iterator[Line]:
    floor = _least([sys.executable, "-c", "import argparse, json, http.client"], directory, "", times)
    for count in counts:
        place = directory / str(count)
        work = place / "work"
        build_fleet(work, count)
        with served(place / "controller", tuple(names(count))) as controller:
            yield from _commands(controller, work, count, floor, times)


def build_fleet(work: Path, regions: int) -> None:
    work.mkdir(parents=True)
    (work / ".git").mkdir()  # the search for repave.yaml ends here
    written = spec(names(regions), 2, "  - {regions: rest}", "{blue_green: {warm: 0s}}")
    (work / "repave.yaml").write_text(
        written.replace("./fleet", "./app").replace("run: serve", "run: ./serve")
    )
    build(work, "v1")


def _commands(
    controller: ServedController, work: Path, regions: int, floor: float, times: int
) -> Iterator[Line]:
    released = [sys.executable, "-m", "repave_cli", "release"]
    _least(released, work, controller.url, 1)
    for words in COMMANDS:
        spent = _least([sys.executable, "-m", "repave_cli", *words.split()], work, controller.url, times)
        goal = None if words in WITHOUT_GOAL and regions > 100 else GOAL_MS
        what = f"repave {words}, {regions} regions, CPU of the whole process"
        yield Line(what, spent, "ms", f"bare imports {floor:.0f} ms", goal)


def _least(command: list[str], folder: Path, url: str, times: int) -> float:
    """CPU milliseconds, the least of several runs: what else the machine does adds to it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            command, cwd=folder, env={**environment, "REPAVE_URL": url}, capture_output=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(taken) * 1000
