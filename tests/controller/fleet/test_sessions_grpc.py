"""Agent and controller over real gRPC on loopback; the logic alone is tested in test_sessions.py."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from repave_agent.runtime.session import Session
from repave_controller.fleet.listening import start_server, stop_server
from repave_controller.fleet.regions import KnownRegion
from repave_controller.fleet.sessions import Sessions
from repave_controller.fleet.streams import SILENCES_MAX
from repave_protos.protocol import wire
from repave_protos.protocol.channel import InsecureAddressError, Link, dial
from repave_protos.protocol.queries import Answer, FromController, Hosts, HostsOf, Query
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredState,
    Hello,
    Notice,
    Observations,
    RegionName,
    Rejection,
    Report,
    Resync,
    Welcome,
)
from tests.fakes.controller.links import CART, HELLO, HOST, PARIS, SHOP, WELCOME, desired, seen
from tests.fakes.controller.listener import QuietListener
from tests.fakes.slow_relay import slow_relay
from tests.fakes.waiting import until

SLACK_SECONDS = 8.0
"""By which a busy machine notices later."""


class Controller(QuietListener):
    """Sessions with everything that they call."""

    def __init__(self, hello_deadline_seconds: float = 10.0, welcome: Welcome = WELCOME) -> None:
        self.wanted: list[DesiredState] = []
        self.noticed: list[Notice] = []
        self.sessions = Sessions(welcome, time.monotonic, hello_deadline_seconds)
        self.sessions.report_to(self)

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        return self.wanted

    def notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        self.noticed.extend(notices)

    @property
    def view(self) -> KnownRegion:
        return self.sessions.views()[PARIS]


class Observer:
    """What an agent keeps to make its reports of."""

    def __init__(self) -> None:
        self.observations = Observations()
        self.reports_sent = 0

    def report(self, *applications: ApplicationReport, is_full: bool = False) -> Report:
        if is_full:
            self.observations.applications = {}
        self.observations.applications.update({each.application: each for each in applications})
        self.reports_sent += 1
        return Report(self.reports_sent, is_full, applications, self.observations.digest())


@dataclass
class Agent:
    """A real agent session with a handler that remembers."""

    welcomes: list[Welcome] = field(default_factory=list)
    desired: list[DesiredState] = field(default_factory=list)

    async def on_welcome(self, welcome: Welcome) -> None:
        self.welcomes.append(welcome)

    async def on_desired(self, desired: DesiredState) -> None:
        self.desired.append(desired)

    async def on_stand_by(self, why: str) -> None:
        raise AssertionError(why)

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        raise AssertionError(why)

    async def on_query(self, query: Query) -> Answer:
        assert isinstance(query.question, HostsOf)
        return Answer(query.query_id, Hosts((replace(HOST, application=query.question.application),)))


@asynccontextmanager
async def agent_of(address: str) -> AsyncIterator[tuple[Agent, Session]]:
    agent = Agent()
    session = Session(
        lambda patience: dial(address, patience_seconds=patience),
        lambda: HELLO,
        agent,
        time.monotonic,
        asyncio.sleep,
        lambda: random.random() * 0.1,
    )
    task = asyncio.create_task(session.run())
    try:
        yield agent, session
    finally:
        assert not task.done()
        task.cancel()
        await asyncio.wait({task})


async def test_over_grpc_a_region_connects_obeys_reports_and_answers() -> None:
    controller = Controller()
    controller.wanted = [desired(1)]
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    async with agent_of(f"127.0.0.1:{port}") as (agent, session):
        await until(lambda: agent.desired == [desired(1)])
        controller.sessions.publish(PARIS, desired(2))
        await until(lambda: agent.desired == [desired(1), desired(2)])
        session.observed({SHOP: seen(SHOP, 1)})
        session.notice(Notice("host.launched", "h-1"))
        await until(lambda: controller.view.observations.applications == {SHOP: seen(SHOP, 1)})
        for verified in range(2, 50):
            session.observed({SHOP: seen(SHOP, verified), CART: seen(CART, 1)})
            await asyncio.sleep(0)
        await until(
            lambda: controller.view.observations.applications == {SHOP: seen(SHOP, 49), CART: seen(CART, 1)}
        )
        await until(lambda: controller.noticed)
        assert await controller.sessions.query(PARIS, CART) == (replace(HOST, application=CART),)
    await until(lambda: not controller.view.is_connected)
    await stop_server(controller.sessions, server)


async def test_over_grpc_an_agent_returns_to_a_restarted_controller_on_the_same_port() -> None:
    first = Controller()
    server, port = await start_server(first.sessions, "127.0.0.1:0")
    async with agent_of(f"127.0.0.1:{port}") as (agent, session):
        await until(lambda: agent.welcomes)
        session.observed({SHOP: seen(SHOP, 1)})
        await stop_server(first.sessions, server)
        assert not first.view.is_connected
        second = Controller()
        second.wanted = [desired(7)]
        server, again = await start_server(second.sessions, f"127.0.0.1:{port}")
        assert again == port
        await until(lambda: agent.desired == [desired(7)])
        await until(lambda: second.view.observations.applications == {SHOP: seen(SHOP, 1)})
    await stop_server(second.sessions, server)


async def test_over_grpc_a_wrong_digest_brings_everything_again() -> None:
    controller = Controller()
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    link, messages = await _say_hello(port)
    observer = Observer()
    await link.send(wire.encode_from_agent(observer.report(seen(SHOP, 1), is_full=True)))
    await link.send(wire.encode_from_agent(replace(observer.report(seen(SHOP, 2)), digest="f" * 16)))
    assert await _next(messages) == Resync()
    await link.send(wire.encode_from_agent(observer.report(seen(SHOP, 3), is_full=True)))
    await until(lambda: controller.view.observations.applications == {SHOP: seen(SHOP, 3)})
    await link.close()
    await until(lambda: not controller.view.is_connected)
    await stop_server(controller.sessions, server)


async def test_over_grpc_a_second_agent_of_a_region_takes_over() -> None:
    controller = Controller()
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    older, older_messages = await _say_hello(port)
    newer, newer_messages = await _say_hello(port)
    assert isinstance(await _next(older_messages), Rejection)
    with pytest.raises(StopAsyncIteration):
        await _next(older_messages)
    controller.sessions.publish(PARIS, desired(1))
    assert await _next(newer_messages) == desired(1)
    await older.close()
    await newer.close()
    await stop_server(controller.sessions, server)


async def test_over_grpc_a_wrong_version_hears_why_before_the_stream_ends() -> None:
    controller = Controller()
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    link = await dial(f"127.0.0.1:{port}")
    await link.send(wire.encode_from_agent(replace(HELLO, protocol_version=99)))
    messages = [wire.decode_from_controller(message) async for message in link.receive()]
    assert [type(message) for message in messages] == [Rejection]
    await link.close()
    await stop_server(controller.sessions, server)


async def test_over_grpc_a_stream_without_hello_is_closed() -> None:
    controller = Controller(hello_deadline_seconds=0.05)
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    link = await dial(f"127.0.0.1:{port}")
    assert [message async for message in link.receive()] == []
    await link.close()
    await stop_server(controller.sessions, server)


TEN_TIMES = 10.0
"""The agent's clock runs so much faster in these tests: what takes it a second takes them a tenth."""


def hurried(address: str, agent: Agent, hello: Hello) -> Session:
    """An agent's session whose seconds are tenths."""
    return Session(
        lambda patience: dial(address, patience_seconds=patience / TEN_TIMES),
        lambda: hello,
        agent,
        lambda: time.monotonic() * TEN_TIMES,
        lambda seconds: asyncio.sleep(seconds / TEN_TIMES),
        lambda: 0.1,
    )


@pytest.mark.parametrize("seconds", [0.2, 0.5])  # two, and five, of the agent's seconds each way
async def test_over_a_slow_link_an_agent_connects_and_stays_connected(seconds: float) -> None:
    controller = Controller(welcome=replace(WELCOME, beat_seconds=1.5))
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    async with slow_relay(port, seconds) as (_, slow_port):
        agent = Agent()
        session = hurried(f"127.0.0.1:{slow_port}", agent, replace(HELLO, beats=True))
        task = asyncio.create_task(session.run())
        await until(lambda: agent.welcomes)
        controller.sessions.publish(PARIS, desired(1))
        await until(lambda: agent.desired == [desired(1)])
        session.observed({SHOP: seen(SHOP, 1)})
        await until(lambda: controller.view.observations.applications == {SHOP: seen(SHOP, 1)})
        assert controller.view.is_connected
        assert len(agent.welcomes) == 1
        task.cancel()
        await asyncio.wait({task})
    await stop_server(controller.sessions, server)


async def test_an_agent_that_says_nothing_any_more_is_away_soon_and_comes_back() -> None:
    """The link stays open, as that of an agent that was stopped or whose packets are dropped."""
    controller = Controller(welcome=replace(WELCOME, beat_seconds=0.25))
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    async with slow_relay(port, 0.0) as (relay, slow_port):
        agent = Agent()
        session = hurried(f"127.0.0.1:{slow_port}", agent, replace(HELLO, beats=True))
        task = asyncio.create_task(session.run())
        await until(lambda: agent.welcomes)
        await asyncio.sleep(1.5)  # twice as long as it may be silent
        assert controller.view.is_connected
        began = time.monotonic()
        relay.freeze()
        await until(lambda: not controller.view.is_connected)
        assert time.monotonic() - began < 0.25 * (SILENCES_MAX + 1) + SLACK_SECONDS
        relay.thaw()
        await until(lambda: controller.view.is_connected)
        task.cancel()
        await asyncio.wait({task})
    await stop_server(controller.sessions, server)


async def test_an_older_agent_that_says_no_beat_is_not_missed() -> None:
    controller = Controller(welcome=replace(WELCOME, beat_seconds=0.05))
    server, port = await start_server(controller.sessions, "127.0.0.1:0")
    async with agent_of(f"127.0.0.1:{port}") as (agent, _):
        await until(lambda: agent.welcomes)
        await asyncio.sleep(0.3)
        assert controller.view.is_connected
        assert len(agent.welcomes) == 1
    await stop_server(controller.sessions, server)


async def test_agents_are_not_listened_for_where_others_could_reach_it() -> None:
    with pytest.raises(
        InsecureAddressError, match=r"^grpc\.listen: 0\.0\.0\.0:7443 is not a loopback address"
    ):
        await start_server(Controller().sessions, "0.0.0.0:7443")


async def _say_hello(port: int) -> tuple[Link, AsyncIterator[bytes]]:
    link = await dial(f"127.0.0.1:{port}")
    await link.send(wire.encode_from_agent(HELLO))
    messages = link.receive()
    assert await _next(messages) == WELCOME
    return link, messages


async def _next(messages: AsyncIterator[bytes]) -> FromController:
    async with asyncio.timeout(15):
        return wire.decode_from_controller(await anext(messages))
