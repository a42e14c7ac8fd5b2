"""A worker over fakes that outlive it: cloud, balancer's machine, packages, journal. `restart` is kill -9 and
a new agent; everything the worker told is kept."""

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from repave_agent.core.host_secrets import HostSecret, HostSecrets, SecretError
from repave_agent.core.observation import Limits
from repave_agent.core.ports import BalancerError, Host, ProviderError, Route, TransientError
from repave_agent.health.prober import Prober
from repave_agent.packages.proof import Proof
from repave_agent.runtime.journal import Journal
from repave_agent.runtime.journal_file import FileDisk
from repave_agent.runtime.worker import Worker
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    GroupReport,
    HostName,
    Notice,
    Probe,
    SecretReference,
)
from tests.fakes.agent.balancer import FakeBalancer, FakeMachine
from tests.fakes.agent.packages import FakePackages
from tests.fakes.agent.provider import FakeCloud, FakeProvider
from tests.fakes.agent.region_values import BLUE, SHOP, a_group
from tests.fakes.waiting import until

PROBE = Probe("command", 8080, command=("true",), interval_seconds=0.05, unhealthy_after=2)


def fast_group(name: GroupName = BLUE, **changes: object) -> DesiredGroup:
    """Of hosts that serve, verified within moments."""
    usual = {"run": ("serve",), "probe": PROBE, "min_healthy_seconds": 0.05}
    return a_group(name, **(usual | changes))


class SteeredBalancer(FakeBalancer):
    """Keeps every split that was given; `gate` holds them back, `route_trouble` refuses them."""

    def __init__(self, machine: FakeMachine, history: list[tuple[Route, ...]]) -> None:
        super().__init__(machine)
        self.history = history
        self.route_trouble = ""
        self.routes_asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def route(self, routes: tuple[Route, ...]) -> None:
        self.routes_asked += 1
        await self.gate.wait()
        if self.route_trouble:
            raise BalancerError(self.route_trouble)
        await super().route(routes)
        self.history.append(routes)


class ClumsyProvider(FakeProvider):
    """Can be told not to answer some questions."""

    def __init__(self, cloud: FakeCloud) -> None:
        super().__init__(cloud)
        self.list_trouble = ""
        self.times_listed = 0
        self.refuse_destroys: list[ProviderError] = []

    async def list_hosts(self) -> list[Host]:
        self.times_listed += 1
        if self.list_trouble:
            raise TransientError(self.list_trouble)
        return await super().list_hosts()

    async def destroy(self, host: HostName) -> None:
        if self.refuse_destroys:
            raise self.refuse_destroys.pop(0)
        await super().destroy(host)


class FakeReader:
    """Implements core.host_secrets.SecretReader: an error for the reads to come, or else a value."""

    def __init__(self) -> None:
        self.lacks: list[SecretError] = []

    async def read(self, application: ApplicationName, references: Iterable[SecretReference]) -> HostSecrets:
        wanted = list(references)
        if wanted and self.lacks:
            raise self.lacks.pop(0).of(wanted[0])
        return tuple(HostSecret(each.name, b"canary", each.as_file, str(each)) for each in wanted)


class Told:
    """Implements worker.Upwards."""

    def __init__(self) -> None:
        self.reports: list[ApplicationReport] = []
        self.newest: dict[ApplicationName, ApplicationReport] = {}
        self.notices: list[Notice] = []

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None:
        self.newest = dict(applications)
        self.reports += applications.values()

    def notice(self, notice: Notice) -> None:
        self.notices.append(notice)


class FailingDisk(FileDisk):
    """A file, while nothing `fails`."""

    fails = False

    def replace(self, content: bytes, *, durable: bool) -> None:
        if self.fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().replace(content, durable=durable)


class WorkerRig:
    """The world of one worker, and the worker in it."""

    def __init__(self, directory: Path) -> None:
        self.journal_path = directory / "journal.json"
        self.cloud = FakeCloud()
        self.machine = FakeMachine()
        self.packages = FakePackages(directory)
        self.splits: list[tuple[Route, ...]] = []
        self.ill: set[HostName] = set()
        self.skipped_seconds = 0.0
        self.told = Told()
        self.secrets = FakeReader()

    def clock(self) -> float:
        return time.monotonic() + self.skipped_seconds

    def skip(self, seconds: float) -> None:
        """Time passes, and the worker looks up."""
        self.skipped_seconds += seconds
        for callback in self.machine.callbacks:
            callback()

    async def begin(self) -> None:
        self.told.newest = {}
        self.disk = FailingDisk(self.journal_path)
        self.provider = ClumsyProvider(self.cloud)
        self.balancer = SteeredBalancer(self.machine, self.splits)
        self.prober = Prober(self.clock, self._execute)
        self.worker = Worker(
            provider=self.provider,
            balancer=self.balancer,
            packages=self.packages,
            proof=Proof(),
            prober=self.prober,
            journal=Journal(self.disk),
            upwards=self.told,
            clock=self.clock,
            limits=Limits(launches_in_flight=3, unclaimed_grace_seconds=0.2),
            secrets=self.secrets,
        )
        await self.worker.start()
        self._running = asyncio.create_task(self.worker.run())

    async def _execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        return 1 if host in self.ill else await self.provider.execute(host, command, timeout_seconds)

    async def kill(self) -> None:
        """What was under way is cut off where it waited. Raises what the worker ended with, if it had."""
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        await self.prober.close()
        await self.provider.close()
        await self.balancer.close()

    async def restart(self) -> None:
        await self.kill()
        await self.begin()

    # ------------------------------------------------------------------------------------- what is seen

    async def desire(self, state: DesiredState) -> None:
        await self.worker.on_desired(state)

    def report(self, group: GroupName = BLUE) -> GroupReport:
        """The newest one of this agent; an empty one before it has spoken of the group."""
        application = self.told.newest.get(SHOP)
        found = application.group(group) if application else None
        return found if found is not None else GroupReport(group)

    @property
    def refusal(self) -> str:
        return self.told.newest[SHOP].refusal if SHOP in self.told.newest else ""

    async def reported(self, state: DesiredState) -> ApplicationReport:
        """The first report under the state's epoch or a later one that this agent gave."""
        await until(lambda: SHOP in self.told.newest and self.told.newest[SHOP].epoch >= state.epoch)
        return self.told.newest[SHOP]

    async def converged(self, state: DesiredState) -> None:
        """Every group is as the newest report says it shall be, and nothing else is there."""

        def is_converged() -> bool:
            application = self.told.newest.get(SHOP)
            return (
                application is not None
                and application.epoch == state.epoch
                and all(map(self._is_as_desired, state.groups))
                and len(self.cloud.hosts) == sum(group.count for group in state.groups)
            )

        await until(is_converged)

    def _is_as_desired(self, group: DesiredGroup) -> bool:
        report = self.report(group.name)
        up = self.machine.structure.backend(group.name)
        return (
            report.verified == report.present == report.balancer_up == group.count
            and report.weight_bp == group.weight_bp
            and (up is not None) == (group.count > 0)
        )

    def hosts(self, group: GroupName = BLUE) -> set[HostName]:
        return {host.name for _, host in self.cloud.hosts.values() if host.group == group}


@asynccontextmanager
async def worker_rig(directory: Path) -> AsyncIterator[WorkerRig]:
    rig = WorkerRig(directory)
    await rig.begin()
    try:
        yield rig
    finally:
        await rig.kill()
