"""How long answers of the API take with 100,000 hosts known, in 100 applications of 100 regions each.

The real API, sessions and scheduler, asked over a socket, one request after the other. The store is in
memory, and who asks is in the same process: its part is in the figures.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import structlog

from repave_controller.api.app import make_app
from repave_controller.api.web.server import serve
from repave_controller.core.domain.instants import Instant
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.runtime.clock import SteadyClock
from tests.benchmarks.decision import HOSTS
from tests.benchmarks.growth import Controller, copies, served, shelf_of
from tests.benchmarks.table import Line
from tests.fakes.waiting import until

ALL_HOSTS = 100_000
REGIONS = 100
TIMES = 100
P99_MS = 20.0
ROUTES = (
    "applications",
    "applications?limit=20",
    "applications/app001",
    "applications/app001/summary",
    "applications/app001/why/summary",
    "applications/app001/regions?limit=20",
    "groups?limit=20",
    "ages?limit=50",
    "regions",
    "events?limit=100",
    "freezes",
    "openapi.json",
)


def run(directory: Path, is_quick: bool) -> Iterator[Line]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield from asyncio.run(_measured(directory, ALL_HOSTS // 10 if is_quick else ALL_HOSTS))


async def _measured(directory: Path, hosts: int) -> list[Line]:
    applications = hosts // (REGIONS * HOSTS)
    async with _known(directory, applications) as client:
        floor = await _p99(client, "/healthz")
        found = [(route, await _p99(client, f"/v1/{route}")) for route in ROUTES]
        again = await _p99(client, "/v1/applications", tagged=True)
    beside = f"healthz {floor:.2f} ms"
    what = f"with {hosts:,} hosts in {applications} applications"
    lines = [Line(f"p99 of {route}", ms, "ms", beside, P99_MS) for route, ms in found]
    return [*lines, Line(f"p99 of applications, unchanged, {what}", again, "ms", beside, P99_MS)]


@asynccontextmanager
async def _known(directory: Path, applications: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a controller that all regions have told of their hosts."""
    controller = Controller(shelf_of(copies(served("fleet", REGIONS), applications)))
    await controller.begin()
    regions = sorted(
        {each for known in controller.scheduler.applications().values() for each in known.regions}
    )
    controller.connect(*regions)
    await until(lambda: all(len(each.desired) == applications for each in controller.wires))
    for each in controller.wires:
        each.say(each.report(0))
    await controller.quiet()
    clock = SteadyClock(Instant(0.0))
    app = make_app(
        scheduler=controller.scheduler,
        store=controller.scheduler.store,
        images=ImageDirectory(directory / "images", clock),
        sessions=controller.sessions,
        clock=clock,
    )
    async with (
        serve(app, "127.0.0.1", 0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        yield client
    await controller.end()


async def _p99(client: aiohttp.ClientSession, path: str, *, tagged: bool = False) -> float:
    """Milliseconds."""
    took, headers = [], dict[str, str]()
    for number in range(TIMES):
        began = time.perf_counter()
        async with client.get(path, headers=headers) as answer:
            await answer.read()
            assert answer.status == (304 if number and tagged else 200), await answer.text()
        took.append((time.perf_counter() - began) * 1000)
        if tagged:
            headers = {"If-None-Match": answer.headers["ETag"]}
    return sorted(took)[int(TIMES * 0.99) - 1]
