"""How what a controller does grows with regions and applications: the return of an agent, a report of an
application at rest, one of a region in a release. Real sessions and scheduler, a store in memory, no network.

CPU of the whole process for each, and how many decisions were taken for it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace

import structlog

from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.planning.plan import never_released
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.scheduler import Scheduler
from repave_protos import __version__
from repave_protos.protocol import wire
from repave_protos.protocol.queries import FromAgent
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    DesiredState,
    GroupReport,
    Hello,
    Observations,
    RegionName,
    Report,
    Welcome,
)
from repave_simulation.tiers.store import MemoryStore, Shelf
from tests.benchmarks.decision import Moment, order, release
from tests.benchmarks.table import Line
from tests.fakes.controller.scheduled import Packages
from tests.fakes.waiting import until

REGIONS = (10, 100, 1_000)
APPLICATIONS = (1, 50, 500)
BESIDE = 10
"""Regions of each of many applications, and applications of each of many regions: one."""
REPORTS = 2_000
DEARER_MAX = 2.0
"""What one of the largest may cost, in times what one of the smallest costs."""
AGENTS, REPORT_EVERY_SECONDS = 500, 10.0
CORE_PERCENT_MAX = 5.0
QUIET_SECONDS = 0.5


@dataclass
class Wire:
    """An agent's end, and what it observes."""

    region: RegionName
    incoming: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    heard: int = 0
    desired: dict[ApplicationName, DesiredState] = field(default_factory=dict)
    observations: Observations = field(default_factory=Observations)
    sequence: int = 0

    async def send(self, message: bytes) -> None:
        self.heard += 1
        decoded = wire.decode_from_controller(message)
        if isinstance(decoded, DesiredState):
            self.desired[decoded.application] = decoded

    async def receive(self) -> AsyncIterator[bytes]:
        while True:
            yield await self.incoming.get()

    async def close(self) -> None:
        pass

    def say(self, message: FromAgent) -> None:
        self.incoming.put_nowait(wire.encode_from_agent(message))

    def hello(self) -> Hello:
        hello = Hello(self.region, PROTOCOL_VERSION, __version__, "local", "haproxy")
        return replace(hello, beats=True, instance=self.region)

    def report(self, lacking: int, *names: ApplicationName) -> Report:
        """Of these applications, with so many hosts of each group missing; of all, if none is named."""
        known = self.observations.applications
        for name in names or self.desired:
            known[name] = report_of(self.desired[name], lacking)
        self.sequence += 1
        changed = tuple(known[name] for name in names or known)
        return Report(self.sequence, not names, changed, "", sum=self.observations.sum())


def report_of(state: DesiredState, lacking: int) -> ApplicationReport:
    groups = tuple(
        GroupReport(
            each.name,
            verified=each.count - lacking,
            unhealthy=lacking,
            balancer_up=each.count - lacking,
            weight_bp=each.weight_bp,
        )
        for each in state.groups
    )
    return ApplicationReport(state.application, state.epoch, groups)


class Controller:
    """One over a store that holds these applications."""

    def __init__(self, shelf: Shelf) -> None:
        self._store = MemoryStore(shelf)
        self.sessions = Sessions(Welcome("0", "bench", "", (), 1.5, takes_sums=True), time.time)
        self.wires: list[Wire] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        loaded = await self._store.open()
        clock = lambda: Instant(time.time())  # noqa: E731  # a wall clock is what a controller has
        self.scheduler = Scheduler(self._store, Packages(), loaded, clock, self.sessions)
        self.sessions.report_to(self.scheduler)
        self._tasks.append(asyncio.create_task(self.scheduler.run()))
        await asyncio.sleep(0)

    def connect(self, *regions: RegionName) -> None:
        for region in regions:
            link = Wire(region)
            link.say(link.hello())
            self.wires.append(link)
            self._tasks.append(asyncio.create_task(self.sessions.serve(link)))

    async def quiet(self) -> None:
        """Until nothing is decided any more."""
        before = -1
        while before != self.decisions:
            before = self.decisions
            await asyncio.sleep(QUIET_SECONDS)

    @property
    def decisions(self) -> int:
        return sum(self.scheduler.decisions().values())

    async def end(self) -> None:
        self.sessions.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass(frozen=True)
class Cost:
    """Of one event: CPU microseconds, and decisions."""

    us: float
    decisions: float


# ------------------------------------------------------------------------------------------- what is there


def served(name: str, regions: int) -> Application:
    """Released everywhere, and at rest."""
    fresh = never_released(ApplicationName(name), name)
    *_, last = release(Moment(fresh, Instant(0)), order(regions, "1"))
    return last.application


def copies(application: Application, count: int) -> Iterator[Application]:
    """As many applications that are alike."""
    for number in range(count):
        name = ApplicationName(f"app{number:03}")
        pairs = ((region, replace(state, application=name)) for region, state in application.desired)
        desired, port = ByRegion(pairs), application.frontend_port + number
        yield replace(application, name=name, desired=desired, offered=ByRegion(), frontend_port=port)


def shelf_of(applications: Iterator[Application]) -> Shelf:
    shelf = Shelf()
    shelf.applications = {each.name: each for each in applications}
    return shelf


# ------------------------------------------------------------------------------------------- what it costs


async def measured(shelf: Shelf) -> dict[str, Cost]:
    controller = Controller(shelf)
    await controller.begin()
    regions = sorted({region for each in shelf.applications.values() for region in each.regions})
    await controller.quiet()
    began, decided = time.process_time(), controller.decisions
    controller.connect(*regions)
    count = len(shelf.applications)
    await until(lambda: all(len(each.desired) == count for each in controller.wires))
    spent, decided = time.process_time() - began, controller.decisions - decided
    returned = Cost(spent * 1e6 / len(regions), decided / len(regions))
    for each in controller.wires:
        each.say(each.report(0))
    await controller.quiet()
    name = next(iter(shelf.applications))
    resting = await reports(controller, name, REPORTS)
    running = await in_release(controller, name, len(regions))
    await controller.end()
    return {"an agent returns": returned, "a report at rest": resting, "a report in a release": running}


async def reports(controller: Controller, name: ApplicationName, count: int) -> Cost:
    """Each from another region, one after the other: a host falls ill, or is well again."""
    wires = controller.wires
    messages = [(wires[n % len(wires)], 1 - n // len(wires) % 2) for n in range(count)]
    encoded = [(each, wire.encode_from_agent(each.report(lacking, name))) for each, lacking in messages]
    began, decided = time.process_time(), controller.decisions
    for each, message in encoded:
        each.incoming.put_nowait(message)
        await asyncio.sleep(0)
    await controller.quiet()
    spent = time.process_time() - began
    return Cost(spent * 1e6 / count, (controller.decisions - decided) / count)


async def in_release(controller: Controller, name: ApplicationName, regions: int) -> Cost:
    """While all regions wait for their fresh hosts."""
    port = controller.scheduler.applications()[name].frontend_port
    asked = replace(order(regions, "2"), waves=(), frontend_port=port)
    await controller.scheduler.release(name, name, asked, "", queue=False)
    await until(lambda: all(len(each.desired[name].groups) == 2 for each in controller.wires))
    return await reports(controller, name, REPORTS)


# --------------------------------------------------------------------------------------------------- lines


def run() -> Iterator[Line]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    by_regions = {n: asyncio.run(measured(shelf_of(iter([served("fleet", n)])))) for n in REGIONS}
    yield from lines(by_regions, "regions")
    one = served("fleet", BESIDE)
    by_applications = {n: asyncio.run(measured(shelf_of(copies(one, n)))) for n in APPLICATIONS}
    yield from lines(by_applications, "applications")
    yield agents()


def lines(found: dict[int, dict[str, Cost]], of: str) -> Iterator[Line]:
    for count, costs in found.items():
        for what, cost in costs.items():
            yield Line(f"{what}, {count:,} {of}", cost.us, "us", f"{cost.decisions:.2f} decisions")
    least, most = found[min(found)], found[max(found)]
    rest = "a report at rest"
    yield Line(
        f"{rest}, {max(found):,} {of} / {min(found)}", most[rest].us / least[rest].us, "times", "", DEARER_MAX
    )


def agents() -> Line:
    """One application over as many regions, each of which reports a change every so often."""
    cost = asyncio.run(measured(shelf_of(iter([served("fleet", AGENTS)]))))["a report at rest"]
    percent = cost.us * 1e-6 * AGENTS / REPORT_EVERY_SECONDS * 100
    what = f"{AGENTS} agents that report a change every {REPORT_EVERY_SECONDS:.0f} s"
    return Line(what, percent, "% of a core", "without gRPC", CORE_PERCENT_MAX)
