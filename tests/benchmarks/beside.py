"""What an agent costs while nothing happens, and for one more release, beside applications that rest.

The whole agent in one process, with real HAProxys and real probes. Hosts are addresses at which one process
answers.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from repave_agent.core.observation import Limits
from repave_agent.core.ports import Balancer
from repave_agent.health.prober import Prober
from repave_agent.runtime.journal import Journal
from repave_agent.runtime.journal_file import FileDisk
from repave_agent.runtime.session import Session
from repave_agent.runtime.worker import Worker
from repave_protos.protocol import wire
from repave_protos.protocol.queries import Answer, FromController, Query
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    PROTOCOL_VERSION,
    ApplicationName,
    DesiredGroup,
    DesiredState,
    Epoch,
    GroupName,
    GroupReport,
    Hello,
    Observations,
    Probe,
    RegionName,
    Report,
    Welcome,
)
from tests.benchmarks.probes import answering
from tests.benchmarks.table import Line
from tests.fakes.agent.haproxy_rig import haproxy_rig
from tests.fakes.agent.packages import FakePackages
from tests.fakes.agent.provider import FakeCloud, FakeProvider
from tests.fakes.agent.region_values import a_group

HOSTS_PORT = 18_432
FRONTENDS_FROM = 19_000
HOSTS = 2
CALM_SECONDS = 8.0
PATIENCE_SECONDS = 300.0
PROBE = Probe("http", HOSTS_PORT, path="/health", interval_seconds=2.0)


def run(directory: Path, beside: tuple[int, ...], seconds: float) -> Iterator[Line]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with answering(HOSTS_PORT):
        for applications in beside:
            place = directory / str(applications)
            place.mkdir()
            yield from asyncio.run(_measured(place, applications, seconds))


async def _measured(directory: Path, applications: int, seconds: float) -> list[Line]:
    async with haproxy_rig() as rig:
        agent = _Agent(directory, rig.balancer(traffic_address="127.92.0.1"))
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each) for each in await agent.begin()]
            await agent.serve(applications)
            await asyncio.sleep(CALM_SECONDS)
            before = time.process_time()
            await asyncio.sleep(seconds)
            idle = (time.process_time() - before) / seconds
            before, began = time.process_time(), time.monotonic()
            await agent.release_another()
            spent = time.process_time() - before - idle * (time.monotonic() - began)
            for task in running:
                task.cancel()
        await agent.prober.close()
    probes = applications * HOSTS / PROBE.interval_seconds
    return [
        Line(f"idle beside {applications} applications", idle * 100, "% of core", f"{probes:.0f} probes/s"),
        Line(f"one more release beside {applications} applications", spent * 1000, "ms CPU"),
    ]


class _Link:
    """A controller's end: what it says is put into `down`, what it hears is merged into `seen`."""

    def __init__(self) -> None:
        self.down: asyncio.Queue[bytes] = asyncio.Queue()
        self.seen = Observations()
        self.changed = asyncio.Event()

    def say(self, message: FromController) -> None:
        self.down.put_nowait(wire.encode_from_controller(message))

    async def send(self, message: bytes) -> None:
        decoded = wire.decode_from_agent(message)
        if isinstance(decoded, Report):
            for each in decoded.applications:
                self.seen.applications[each.application] = each
            self.changed.set()

    async def receive(self) -> AsyncIterator[bytes]:
        while True:
            yield await self.down.get()

    async def close(self) -> None: ...


class _Agent:
    """One agent and its controller's end. Implements session.Handler."""

    def __init__(self, directory: Path, balancer: Balancer) -> None:
        self.link = _Link()
        self._revs: dict[int, int] = {}
        hello = Hello(RegionName("paris"), PROTOCOL_VERSION, "0", "fake", "haproxy")
        session = Session(self._dial, lambda: hello, self, time.monotonic, asyncio.sleep, lambda: 0.5)
        provider = FakeProvider(FakeCloud())
        self.prober = Prober(time.monotonic, provider.execute)
        self._session = session
        self._worker = Worker(
            provider=provider,
            balancer=balancer,
            packages=FakePackages(directory),
            prober=self.prober,
            journal=Journal(FileDisk(directory / "journal.json")),
            upwards=session,
            clock=time.monotonic,
            limits=Limits(),
        )

    async def begin(self) -> tuple[Coroutine[None, None, None], ...]:
        await self._worker.start()
        self.link.say(Welcome("0", "bench", ""))
        return self._worker.run(), self._session.run()

    async def _dial(self, patience_seconds: float) -> _Link:
        return self.link

    async def on_welcome(self, welcome: Welcome) -> None:
        self._worker.welcome(welcome)

    async def on_desired(self, desired: DesiredState) -> None:
        await self._worker.on_desired(desired)

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        raise AssertionError(why)

    async def on_query(self, query: Query) -> Answer:
        raise AssertionError("nothing is asked")

    async def on_stand_by(self, why: str) -> None:
        raise AssertionError(why)

    # ----------------------------------------------------------------------------------- what is released

    async def serve(self, applications: int) -> None:
        """So many applications serve."""
        every = range(applications)
        for number in every:
            self._desire(number, _group(number, 1))
        await self._until(lambda: all(self._report(each, 1).balancer_up == HOSTS for each in every))
        for number in every:
            self._desire(number, _group(number, 1, FULL_WEIGHT_BP))
        await self._until(lambda: all(self._report(each, 1).weight_bp for each in every))

    async def release_another(self) -> None:
        """The first of them goes from its first group to its second, blue/green, and the old group ends."""
        self._desire(0, _group(0, 1, FULL_WEIGHT_BP), _group(0, 2))
        await self._until(lambda: self._report(0, 2).balancer_up == HOSTS)
        self._desire(0, _group(0, 1), _group(0, 2, FULL_WEIGHT_BP))
        await self._until(lambda: self._report(0, 2).weight_bp == FULL_WEIGHT_BP)
        self._desire(0, replace(_group(0, 1), count=0), _group(0, 2, FULL_WEIGHT_BP))
        await self._until(lambda: self._report(0, 1).destroyed_total == HOSTS)

    def _desire(self, number: int, *groups: DesiredGroup) -> None:
        rev = self._revs[number] = self._revs.get(number, 0) + 1
        name = ApplicationName(f"app{number}")
        self.link.say(DesiredState(name, Epoch(1, 1, rev), FRONTENDS_FROM + number, groups))

    def _report(self, number: int, version: int) -> GroupReport:
        name, group = ApplicationName(f"app{number}"), _name(number, version)
        report = self.link.seen.applications.get(name)
        return (report.group(group) if report is not None else None) or GroupReport(group)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so():
                self.link.changed.clear()
                await self.link.changed.wait()


def _name(number: int, version: int) -> GroupName:
    return GroupName(f"app{number}-v{version:03d}")


def _group(number: int, version: int, weight_bp: int = 0) -> DesiredGroup:
    usual = {"probe": PROBE, "run": ("serve",), "min_healthy_seconds": 0.05, "drain_seconds": 1.0}
    return a_group(_name(number, version), count=HOSTS, weight_bp=weight_bp, **usual)
