"""A process full of agents with simulated hosts and balancers: the real worker and session, over real gRPC.

python -m tests.benchmarks.fleet_agents CONTROLLER DIRECTORY REGION...
Each split that a balancer takes is a line on stdout: instant (of the clock that all processes share), region,
the group with the most traffic; and each desired state that comes, with `heard:` before that group. SIGUSR1
lets every host of the newest group in the first region fall ill.
"""

from repave_protos.daemon import loading  # before all others, as in repave_agent.__main__

# isort: split
import asyncio
import logging
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from repave_agent.core.observation import Limits
from repave_agent.core.ports import Route
from repave_agent.health.prober import Prober
from repave_agent.runtime.journal import Journal
from repave_agent.runtime.journal_file import FileDisk
from repave_agent.runtime.session import Session
from repave_agent.runtime.worker import Worker
from repave_protos import __version__
from repave_protos.protocol import channel
from repave_protos.protocol.queries import AcceptedOf, Answer, HostsOf, Orphans, Query, Refusal
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    DesiredState,
    Hello,
    HostName,
    Notice,
    RegionName,
    Welcome,
)
from tests.fakes.agent.balancer import FakeBalancer
from tests.fakes.agent.packages import FakePackages
from tests.fakes.agent.provider import FakeProvider

loading.finish()


class TellingBalancer(FakeBalancer):
    """Tells when it takes a split."""

    region = ""

    async def route(self, routes: tuple[Route, ...]) -> None:
        await super().route(routes)
        for route in routes:
            most = route.second if route.second_bp > 5_000 else route.first
            print(f"{time.monotonic():.6f} {self.region} {most}", flush=True)


class SimulatedAgent:
    """One region; the parts that `repave_agent.__main__` wires, with fakes for cloud and balancer."""

    def __init__(self, region: str, controller: str, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.region = region
        self.ill = ""  # hosts of this group answer no probe
        self.provider = FakeProvider()
        self.balancer = TellingBalancer()
        self.balancer.region = region
        self.prober = Prober(time.monotonic, self._execute)
        self.worker = Worker(
            provider=self.provider,
            balancer=self.balancer,
            packages=FakePackages(directory),
            prober=self.prober,
            journal=Journal(FileDisk(directory / "journal.json")),
            upwards=self,
            clock=time.monotonic,
            limits=Limits(),
        )
        self.session = Session(
            dial=lambda patience: channel.dial(controller, "controller", patience),
            hello=self._hello,
            handler=self,
            clock=time.monotonic,
            sleep=asyncio.sleep,
            chance=random.random,
        )

    def _hello(self) -> Hello:
        return Hello(
            region=RegionName(self.region),
            protocol_version=PROTOCOL_VERSION,
            agent_version=__version__,
            provider="local",
            balancer="haproxy",
            applied=self.worker.applied(),
            traffic_address="127.0.0.1",
        )

    async def _execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        is_ill = bool(self.ill) and host.startswith(self.ill)
        return 1 if is_ill else await self.provider.execute(host, command, timeout_seconds)

    async def on_welcome(self, welcome: Welcome) -> None:
        self.worker.welcome(welcome)

    async def on_desired(self, desired: DesiredState) -> None:
        most = max(desired.groups, key=lambda group: group.weight_bp, default=None)
        if most is not None:
            print(f"{time.monotonic():.6f} {self.region} heard:{most.name}", flush=True)
        await self.worker.on_desired(desired)

    async def on_stand_by(self, why: str) -> None:
        raise AssertionError(why)

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        raise AssertionError(why)

    async def on_query(self, query: Query) -> Answer:
        match query.question:
            case HostsOf() | Orphans() | AcceptedOf() as question:
                return Answer(query.query_id, await self.worker.answer(question))
            case question:
                return Answer(query.query_id, Refusal(f"no provider here to ask: {question}"))

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None:
        self.session.observed(applications)

    def notice(self, notice: Notice) -> None:
        self.session.notice(notice)

    def fall_ill(self) -> None:
        """All hosts of the newest group end at once."""
        newest = max(host.rpartition("-")[0] for host in self.provider.cloud.hosts)
        self.ill = newest
        print(f"{time.monotonic():.6f} {self.region} falls-ill", flush=True)
        for name in [host for host in self.provider.cloud.hosts if host.startswith(newest)]:
            self.provider.end(name)

    async def run(self) -> None:
        await self.worker.start()
        await asyncio.gather(self.worker.run(), self.session.run())


async def main(controller: str, directory: Path, regions: list[str]) -> None:
    agents = [SimulatedAgent(region, controller, directory / region) for region in regions]
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, agents[0].fall_ill)
    await asyncio.gather(*(agent.run() for agent in agents))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
