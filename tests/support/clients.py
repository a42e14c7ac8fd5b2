"""Clients of a stage, as processes of their own: they go on while the test looks, waits and breaks things."""

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.support.load_result import LoadResult, Request
from tests.support.paths import ROOT
from tests.support.stage import Stage

RATE = 25.0  # requests a second, of each region and application
END_SECONDS = 30.0
PORT = 8000

Places = Sequence[tuple[str, int]]
"""Regions and the ports at which applications are asked there."""


@contextmanager
def asking(
    stage: Stage, places: Places, rate: float = RATE, *, name: str = "clients"
) -> Iterator[dict[tuple[str, int], LoadResult]]:
    """Clients at each place, half of them keep-alive; what came of them is there when the block is left.
    Those of another `name` may ask at the same places meanwhile."""
    results: dict[tuple[str, int], LoadResult] = {}
    with ExitStack() as undo:
        started = {place: undo.enter_context(_client(stage, *place, rate, name)) for place in places}
        stage.wait(lambda: all(_file(stage, *place, name).exists() for place in places), "clients")
        yield results
        for place, process in started.items():
            process.send_signal(signal.SIGTERM)
            assert process.wait(END_SECONDS) == 0, f"the clients of {place} failed"
            results[place] = LoadResult.read(_file(stage, *place, name))


@contextmanager
def _client(
    stage: Stage, region: str, port: int, rate: float, name: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Asks from inside the region's own network, where it has one."""
    url = f"http://{stage.traffic_address(region)}:{port}/"
    options = ["--url", url, "--rate", str(rate), "--keepalive", "2", "--closing", "2"]
    out = _file(stage, region, port, name)
    command = [sys.executable, "-m", "tests.support.load", *options, "--out", str(out)]
    with out.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [*stage.wrapped.get(region, ()), *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lost(result: LoadResult, *gaps: tuple[float, float]) -> tuple[Request, ...]:
    """Failures, but for those of requests that were under way in one of these spans of time.monotonic()."""
    return tuple(
        each
        for each in result.failures
        if not any(each.begun <= until and each.ended >= since for since, until in gaps)
    )


def _file(stage: Stage, region: str, port: int, name: str) -> Path:
    return stage.directory / f"{name}-{region}-{port}.jsonl"
