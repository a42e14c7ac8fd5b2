"""What a controller says of a region's applications, and how it asks for orphans: links in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.fleet.regions import APPLICATIONS_PER_REGION_MAX
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol import wire
from repave_protos.protocol.queries import Answer, FromAgent, FromController, Hosts, Orphans, Query
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    DesiredState,
    Epoch,
    Hello,
    RegionName,
    Welcome,
)
from tests.fakes.controller.listener import QuietListener
from tests.fakes.controller.scheduled import OSLO, PARIS, SHOP, scheduled
from tests.fakes.virtual_time import in_virtual_time
from tests.fakes.waiting import until

HELLO = Hello(PARIS, PROTOCOL_VERSION, "0.1.0", "local", "haproxy")
Named = Callable[[RegionName], tuple[ApplicationName, ...] | None]


class Agent:
    """The other end of one stream."""

    def __init__(self) -> None:
        self.heard: list[FromController] = []
        self.incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.say(HELLO)

    def say(self, message: FromAgent) -> None:
        self.incoming.put_nowait(wire.encode_from_agent(message))

    async def send(self, message: bytes) -> None:
        self.heard.append(wire.decode_from_controller(message))

    async def receive(self) -> AsyncIterator[bytes]:
        while (message := await self.incoming.get()) is not None:
            yield message

    async def close(self) -> None:
        pass


class Listener(QuietListener):
    def __init__(self, named: Named | None) -> None:
        self._named = named

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        return [DesiredState(SHOP, Epoch(1, 1, 1), 8000, ())]

    def applications_in(self, region: RegionName) -> tuple[ApplicationName, ...] | None:
        return self._named(region) if self._named is not None else None


@asynccontextmanager
async def connected(named: Named | None = None) -> AsyncIterator[tuple[Sessions, Agent]]:
    sessions = Sessions(Welcome("1", "store", ""), lambda: 0.0)
    sessions.report_to(Listener(named))
    agent = Agent()
    serving = asyncio.create_task(sessions.serve(agent))
    try:
        await until(lambda: len(agent.heard) >= 2)
        yield sessions, agent
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_a_welcome_names_all_applications_of_the_region_before_any_desired_state() -> None:
    async with connected(lambda region: (SHOP, ApplicationName("till")) if region == PARIS else ()) as (
        _,
        agent,
    ):
        welcome, state = agent.heard
        assert isinstance(welcome, Welcome)
        assert welcome.applications == ("shop", "till")
        assert isinstance(state, DesiredState)


@pytest.mark.parametrize(
    "named",
    [
        None,
        lambda region: None,
        lambda region: (ApplicationName("a"),) * (APPLICATIONS_PER_REGION_MAX + 1),
    ],
    ids=["not asked", "not known", "too many"],
)
async def test_what_can_not_be_said_is_not_said(named: Named | None) -> None:
    """Not the same as none: hosts of what is not named may be ended."""
    async with connected(named) as (_, agent):
        assert isinstance(agent.heard[0], Welcome)
        assert agent.heard[0].applications is None


async def test_orphans_are_asked_for_over_all_applications() -> None:
    async with connected() as (sessions, agent):
        asking = asyncio.create_task(sessions.orphans(PARIS))
        await until(lambda: len(agent.heard) == 3)
        question = agent.heard[-1]
        assert question == Query(1, Orphans())
        agent.say(Answer(1, Hosts()))
        assert await asking == ()
        with pytest.raises(RegionUnreachable, match="the agent of oslo is not connected"):
            await sessions.orphans(OSLO)


@in_virtual_time
async def test_an_application_is_named_from_its_first_release_on_in_its_own_regions() -> None:
    async with scheduled() as world:
        assert world.scheduler.applications_in(PARIS) == ()
        await world.release()
        assert world.scheduler.applications_in(PARIS) == (SHOP,)
        await world.ended()
        assert world.scheduler.applications_in(PARIS) == world.scheduler.applications_in(OSLO) == (SHOP,)
        assert world.scheduler.applications_in(RegionName("rome")) == ()
