"""Agents and controller over gRPC with TLS, on loopback: who gets through, who does not, and for how long."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from repave_agent.runtime.session import Session
from repave_controller.core.ports import RegionListener
from repave_controller.fleet.listening import start_server, stop_server
from repave_controller.fleet.sessions import Sessions
from repave_controller.security.authority import OwnAuthority
from repave_protos.protocol import wire
from repave_protos.protocol.certificates import certificates_in
from repave_protos.protocol.channel import Link, Shown, dial
from repave_protos.protocol.queries import Answer, FromController, Query
from repave_protos.protocol.values import ApplicationName, DesiredState, RegionName, Rejection, Welcome
from tests.fakes.controller.enrolled import Credentials, Enrolled, of_own_authority
from tests.fakes.controller.links import HELLO, PARIS, WELCOME
from tests.fakes.controller.listener import QuietListener
from tests.fakes.waiting import until


class Secured:
    """A controller that listens with TLS, by the real clock."""

    def __init__(self, enrolled: Enrolled, port: int, sessions: Sessions) -> None:
        self.enrolled, self.port, self.sessions = enrolled, port, sessions

    async def dial(self, shown: Shown) -> Link:
        return await dial(f"127.0.0.1:{self.port}", shown=shown)

    async def connect(self, agent: Credentials) -> tuple[Link, AsyncIterator[bytes]]:
        link = await self.dial(agent.shown)
        await link.send(wire.encode_from_agent(HELLO))
        return link, link.receive()

    async def answer(self, shown: Shown) -> FromController:
        """The first thing that it is told."""
        link = await self.dial(shown)
        await link.send(wire.encode_from_agent(HELLO))
        return await heard(link.receive())


async def heard(messages: AsyncIterator[bytes]) -> FromController:
    return wire.decode_from_controller(await asyncio.wait_for(anext(messages), 10))


class Silent:
    """An agent that has nothing to say."""

    async def on_welcome(self, welcome: Welcome) -> None:
        pass

    async def on_desired(self, desired: DesiredState) -> None:
        pass

    async def on_stand_by(self, why: str) -> None:
        raise AssertionError(why)

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        raise AssertionError(why)

    async def on_query(self, query: Query) -> Answer:
        raise AssertionError("nothing is asked")


class Now(Enrolled):
    def clock(self) -> float:
        return time.time()


@asynccontextmanager
async def secured(directory: Path, listener: RegionListener | None = None) -> AsyncIterator[Secured]:
    enrolled = await Now(directory, now=time.time()).open()
    sessions = Sessions(WELCOME, time.time)
    sessions.report_to(listener if listener is not None else QuietListener())
    sessions.guard_with(enrolled.enrolment)

    def shown() -> Shown:
        server = enrolled.authority.server()
        return Shown(server.key, server.chain, server.authorities)

    server, port = await start_server(sessions, "127.0.0.1:0", shown=shown)
    try:
        yield Secured(enrolled, port, sessions)
    finally:
        await stop_server(sessions, server)


async def test_an_agent_that_joined_is_welcome(tmp_path: Path) -> None:
    async with secured(tmp_path) as controller:
        link, messages = await controller.connect(await controller.enrolled.agent())
        assert await heard(messages) == WELCOME
        assert controller.sessions.views()[PARIS].is_connected
        await link.close()


async def test_who_is_not_of_this_authority_does_not_get_to_say_hello(tmp_path: Path) -> None:
    async with secured(tmp_path / "ours") as controller:
        agent, server = await controller.enrolled.agent(), controller.enrolled.authority.server()
        theirs = of_own_authority(tmp_path / "theirs", "paris", time.time())
        ours = agent.shown.authorities
        impostors = {
            "of an authority that it made itself": Shown(theirs.key, theirs.chain, ours),
            "with the controller's own certificate": Shown(server.key, server.chain, ours),
            "with another agent's certificate and its own key": Shown(theirs.key, agent.shown.chain, ours),
        }
        for impostor in impostors.values():
            with pytest.raises(ConnectionError):
                await controller.answer(impostor)
        with pytest.raises(ConnectionError):  # plaintext
            await dial(f"127.0.0.1:{controller.port}", patience_seconds=2.0)
        assert controller.sessions.views() == {}


async def test_an_agent_speaks_to_no_controller_of_another_authority(tmp_path: Path) -> None:
    async with secured(tmp_path / "ours") as controller:
        theirs = of_own_authority(tmp_path / "theirs", "paris", time.time())
        with pytest.raises(ConnectionError, match="not of the authority that this agent joined"):
            await controller.dial(theirs)


async def test_an_agent_can_not_play_the_controller(tmp_path: Path) -> None:
    """The name that agents expect is in the certificates of controllers alone."""
    async with secured(tmp_path) as controller:
        agent = await controller.enrolled.agent()
        sessions = Sessions(WELCOME, time.time)
        server, port = await start_server(sessions, "127.0.0.1:0", shown=lambda: agent.shown)
        with pytest.raises(ConnectionError):
            await dial(f"127.0.0.1:{port}", shown=agent.shown)
        await stop_server(sessions, server)


async def test_streams_are_cut_when_their_agent_is_revoked_or_its_certificate_expires(tmp_path: Path) -> None:
    async with secured(tmp_path) as controller:
        enrolled, loop = controller.enrolled, asyncio.get_running_loop()
        _, messages = await controller.connect(await enrolled.agent())
        assert isinstance(await heard(messages), Welcome)
        began = loop.time()
        await enrolled.enrolment.revoke("paris", "", "ann")
        controller.sessions.recheck()
        rejection = await heard(messages)
        assert isinstance(rejection, Rejection)
        assert "revoked by ann" in rejection.reason
        with pytest.raises((ConnectionError, StopAsyncIteration)):
            await heard(messages)
        assert loop.time() - began < 20

        enrolled.authority.agent_seconds = 4.0
        agent = await enrolled.agent()
        _, messages = await controller.connect(agent)
        assert isinstance(await heard(messages), Welcome)
        rejection = await heard(messages)
        assert time.time() - agent.identity.expires_at < 20
        assert isinstance(rejection, Rejection)
        assert "has expired" in rejection.reason
        with pytest.raises(ConnectionError):
            await controller.answer(agent.shown)


class Watch(QuietListener):
    """Remembers what it finds whenever it is told that something has changed."""

    def __init__(self) -> None:
        self.found: list[bool] = []
        self.controller: Secured | None = None

    def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
        assert self.controller is not None
        self.found.append(self.controller.sessions.views()[region].is_connected)


def is_served(sessions: Sessions, agent: Credentials) -> bool:
    return sessions.stream_of(PARIS) == agent.identity


async def test_an_agent_that_renews_goes_on_over_a_new_channel_without_a_gap(tmp_path: Path) -> None:
    watch = Watch()
    async with secured(tmp_path, listener=watch) as controller:
        watch.controller = controller
        agent = await controller.enrolled.agent()
        sessions, shown = controller.sessions, [agent.shown]
        session = Session(
            lambda _: controller.dial(shown[-1]),
            lambda: HELLO,
            Silent(),
            time.monotonic,
            asyncio.sleep,
            lambda: 0.5,
        )
        running = asyncio.create_task(session.run())
        await until(lambda: session.is_connected)
        for _ in range(3):
            agent = await controller.enrolled.renewed(agent)
            shown.append(agent.shown)
            await session.change_channel()
            await until(partial(is_served, sessions, agent))
            await until(lambda: session.is_connected)
        assert watch.found
        assert all(watch.found), "at no moment was the region without its agent"
        running.cancel()
        await asyncio.wait({running})


async def test_certificates_and_authorities_change_under_a_server_that_runs_on(tmp_path: Path) -> None:
    async with secured(tmp_path) as controller:
        enrolled = controller.enrolled
        agent = await enrolled.agent()
        first, _ = await controller.connect(agent)
        source = enrolled.authority.source
        assert isinstance(source, OwnAuthority)
        await enrolled.enrolment.rotate("ann")
        joined = await enrolled.agent()
        assert len(certificates_in(joined.shown.authorities)) == 2
        for each in (agent, joined):  # of the former authority, and of the new one
            link, messages = await controller.connect(each)
            assert isinstance(await heard(messages), Welcome)
            await link.close()
        source.rotate(time.time(), at_once=True)
        with pytest.raises(ConnectionError):
            await controller.connect(joined)
        again = await enrolled.agent()
        link, messages = await controller.connect(again)
        assert isinstance(await heard(messages), Welcome)
        await until(lambda: controller.sessions.views()[PARIS].is_connected)
        await link.close()
        await first.close()
