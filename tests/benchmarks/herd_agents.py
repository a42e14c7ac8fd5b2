"""A process full of agents that hold a stream and nothing else: the real session, over mTLS.

python -m tests.benchmarks.herd_agents CONTROLLER[,CONTROLLER...] AUTHORITY PREFIX COUNT

AUTHORITY is the state directory of the controller, whose authority signs the certificates. The process writes
to stdout how many of its agents are connected, and the CPU seconds that it has used: a line for each change.
"""

import asyncio
import logging
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from repave_agent.runtime.session import Session
from repave_agent.runtime.turns import Turns
from repave_controller.security.authority import Authority, OwnAuthority
from repave_protos import __version__
from repave_protos.protocol import channel
from repave_protos.protocol.certificates import key_pem, new_agent, new_key
from repave_protos.protocol.queries import Answer, Query, Refusal
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    DesiredState,
    Hello,
    RegionName,
    Welcome,
)

TOLD_EVERY_SECONDS = 0.1
STARTED_EVERY_SECONDS = 0.09
"""Agents of a fleet have machines of their own. Here they share cores with what is measured, and thousands
that dial in one moment would measure how their own process chokes."""


class HerdAgent:
    """Has no hosts: says Hello, takes what it is told, and beats."""

    def __init__(self, region: str, controllers: Sequence[str], shown: channel.Shown | None) -> None:
        self.region, self.welcomes = RegionName(region), 0
        self._turns, self._shown = Turns(controllers, random.random()), shown
        self.session = Session(
            dial=self._dial,
            hello=self._hello,
            handler=self,
            clock=time.monotonic,
            sleep=asyncio.sleep,
            chance=random.random,
            wall=time.time,
        )

    async def _dial(self, patience: float) -> channel.Link:
        async def dial_one(address: str) -> channel.Link:
            return await channel.dial(address, "controller", patience, self._shown)

        return await self._turns.dial(dial_one, again=self.session.is_connected)

    def _hello(self) -> Hello:
        return Hello(
            region=self.region,
            protocol_version=PROTOCOL_VERSION,
            agent_version=__version__,
            provider="local",
            balancer="haproxy",
            beats=True,
            instance=self.region,
            sent_at=time.time(),
        )

    async def on_welcome(self, welcome: Welcome) -> None:
        self.welcomes += 1

    async def on_desired(self, desired: DesiredState) -> None:
        pass

    async def on_stand_by(self, why: str) -> None:
        pass

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        raise AssertionError(why)

    async def on_query(self, query: Query) -> Answer:
        return Answer(query.query_id, Refusal("an agent of a benchmark has no hosts"))


def certificates(state: Path, regions: Sequence[str]) -> list[channel.Shown]:
    """One for each region. All have one key: making 5,000 would measure nothing of repave."""
    authority, key = authority_in(state), new_key()
    return [
        channel.Shown(
            key_pem(key),
            authority.issue(key.public_key(), RegionName(region), new_agent())[0],
            authority.authorities,
        )
        for region in regions
    ]


def authority_in(state: Path) -> Authority:
    """That of the controller with this state directory; it has run once."""
    source = OwnAuthority(state / "security", "", time.time())
    (name,) = source.issuers(time.time()).issuing.certificate.subject
    domain = str(name.value).removeprefix("repave ")
    return Authority(source, domain, ("127.0.0.1",), time.time, state / "bench")


async def tell(agents: Sequence[HerdAgent]) -> None:
    told = -1
    while True:
        connected = sum(agent.session.is_connected for agent in agents)
        if connected != told:
            told = connected
            print(f"{time.monotonic():.3f} {connected} {time.process_time():.2f}", flush=True)
        await asyncio.sleep(TOLD_EVERY_SECONDS)


async def main(controllers: str, state: str, prefix: str, count: int) -> None:
    regions = [f"{prefix}{number:04}" for number in range(count)]
    shown = certificates(Path(state), regions) if state else [None] * count
    agents = [
        HerdAgent(region, controllers.split(","), each) for region, each in zip(regions, shown, strict=True)
    ]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(tell(agents))
        for agent in agents:
            tasks.create_task(agent.session.run())
            await asyncio.sleep(STARTED_EVERY_SECONDS)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
