"""How soon a release of very many regions is accepted: its POST, from asking to the answer. A real controller
with its store on disk, and an agent of each region that is connected and answers what it is asked.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.fleet import spec
from tests.benchmarks.growth import DEARER_MAX
from tests.benchmarks.herd import Herd, cpu_seconds
from tests.benchmarks.table import Line
from tests.support.stage import Stage, kept

ACCEPTED_SECONDS_MAX = 1.0


def run(directory: Path, counts: tuple[int, ...]) -> Iterator[Line]:
    """Each after a controller of its own has read the spec, as `repave release` lets it do first."""
    of_a_region = []
    for count in counts:
        reading, wall, cpu = accepted(directory / str(count), count)
        beside = (
            f"CPU {cpu:.2f} s, {cpu * 1e3 / count:.2f} ms a region; spec read before in {reading:.2f} s; "
        )
        goal = ACCEPTED_SECONDS_MAX if count <= 1_000 else None
        yield Line(f"POST of a release of {count:,} regions -> accepted", wall, "s",
                   f"{beside}load {os.getloadavg()[0]:.1f}", goal)  # fmt: skip
        of_a_region.append(cpu / count)
    growth = of_a_region[-1] / of_a_region[0]
    yield Line(f"the same, CPU of a region of {counts[-1]:,} / of {counts[0]:,}", growth, "x", "", DEARER_MAX)


def accepted(directory: Path, count: int) -> tuple[float, float, float]:
    """Seconds to read the spec, then from POST to answer, and the controller's CPU in these."""
    with kept(Stage(directory / "s", regions=())) as stage:
        assert stage.controller is not None
        herd = Herd(f"127.0.0.1:{stage.grpc_port}", "", directory / "agents", count)
        with herd:
            herd.wait(count)
            body = release(stage, directory, [each["name"] for each in stage.get("regions")["items"]])
            began = time.monotonic()
            stage.call("POST", "outline", {"files": [{"name": "repave.yaml", "text": body["spec"]}]})
            reading = time.monotonic() - began
            began, used = time.monotonic(), cpu_seconds(stage.controller.pid)
            stage.call("POST", "applications/fleet/releases", body)
            return reading, time.monotonic() - began, cpu_seconds(stage.controller.pid) - used


def release(stage: Stage, directory: Path, regions: list[str]) -> dict[str, Any]:
    """What is posted."""
    (directory / "fleet").mkdir()
    (directory / "fleet" / "version").write_text("1")
    text = spec(regions, 1, "  - {regions: rest}", "{blue_green: {warm: 0s}}")
    return {"spec": text, "digest": stage.push(directory / "fleet"), "version": "1", "by": "bench"}
