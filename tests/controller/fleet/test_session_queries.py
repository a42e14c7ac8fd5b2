"""What sessions ask of a region, and what comes back, over links in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from repave_controller.fleet.questions import QUERIES_IN_FLIGHT_MAX, AgentRefused, RegionUnreachable
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol.queries import (
    Accepted,
    AcceptedOf,
    Answer,
    Content,
    Failure,
    Hosts,
    HostsOf,
    ListMachines,
    Machines,
    Query,
    Refusal,
)
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredState,
    Hello,
    RegionName,
)
from tests.fakes.controller.links import (
    CART,
    HELLO,
    HOST,
    PARIS,
    SHOP,
    WELCOME,
    MemoryLink,
    controlling,
    desired,
    settle,
)
from tests.fakes.controller.listener import QuietListener
from tests.fakes.waiting import until


async def test_a_question_brings_the_hosts() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        asking = asyncio.create_task(controller.sessions.query(PARIS, SHOP, "shop-v001", 20))
        await settle()
        (question,) = link.heard[1:]
        assert isinstance(question, Query)
        assert question == Query(question.query_id, HostsOf(SHOP, "shop-v001", 20))
        link.say(Answer(question.query_id + 1000, Hosts()))
        link.say(Answer(question.query_id, Hosts((HOST,))))
        assert await asking == (HOST,)


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        (Refusal("no such machine"), AgentRefused, "no such machine"),
        (Failure("the disk is full"), RegionUnreachable, "paris could not answer: the disk is full"),
        (Hosts(), RegionUnreachable, "paris answered Hosts instead of Machines: is it of another version"),
    ],
)
async def test_what_is_no_answer_to_a_question_is_an_error(
    content: Content, kind: type[Exception], text: str
) -> None:
    async with controlling() as controller:
        link = await controller.connect()
        asking = asyncio.create_task(controller.sessions.ask(PARIS, ListMachines(), Machines))
        await settle()
        (question,) = link.heard[1:]
        assert isinstance(question, Query)
        assert question.question == ListMachines()
        link.say(Answer(question.query_id, Machines()))
        assert await asking == Machines()
        asking = asyncio.create_task(controller.sessions.ask(PARIS, ListMachines(), Machines))
        await settle()
        link.say(Answer(question.query_id + 1, content))
        with pytest.raises(kind, match=text):
            await asking


@pytest.mark.parametrize(
    "ask",
    [
        lambda sessions: sessions.query(PARIS, SHOP),
        lambda sessions: sessions.accepted(PARIS, SHOP),
        lambda sessions: sessions.orphans(PARIS),
    ],
)
async def test_a_region_that_refuses_to_say_gave_no_answer(
    ask: Callable[[Sessions], Awaitable[object]],
) -> None:
    async with controlling() as controller:
        link = await controller.connect()
        asking = asyncio.ensure_future(ask(controller.sessions))
        await settle()
        (question,) = link.heard[1:]
        assert isinstance(question, Query)
        link.say(Answer(question.query_id, Refusal("not yet")))
        with pytest.raises(RegionUnreachable, match="not yet"):
            await asking


async def test_an_agent_can_be_asked_what_it_has_accepted() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        asking = asyncio.create_task(controller.sessions.accepted(PARIS, SHOP))
        await settle()
        (question,) = link.heard[1:]
        assert isinstance(question, Query)
        assert question == Query(question.query_id, AcceptedOf(SHOP))
        link.say(Answer(question.query_id, Accepted(desired(7))))
        assert await asking == desired(7)
        asking = asyncio.create_task(controller.sessions.accepted(PARIS, CART))
        await settle()
        link.say(Answer(question.query_id + 1, Accepted(None)))
        assert await asking is None


async def test_hello_is_judged_before_it_is_asked_what_to_send() -> None:
    asked: list[str] = []

    class Listener(QuietListener):
        def greet(self, hello: Hello, *, is_elsewhere: bool = False) -> None:
            asked.append(f"greet {hello.region}")

        def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
            asked.append("desired")
            return []

        def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
            asked.append("changed")

    sessions = Sessions(WELCOME, lambda: 0.0)
    sessions.report_to(Listener())
    link = MemoryLink()
    link.say(HELLO)
    serving = asyncio.create_task(sessions.serve(link))
    await until(lambda: link.heard == [WELCOME])
    assert asked == ["greet paris", "desired", "changed"]
    link.hang_up()
    await serving


async def test_a_question_that_cannot_be_answered_says_why() -> None:
    async with controlling() as controller:
        with pytest.raises(RegionUnreachable, match="paris is not connected"):
            await controller.sessions.query(PARIS, SHOP)
        link = await controller.connect()
        with pytest.raises(RegionUnreachable, match=r"did not answer within 0\.01 s"):
            await controller.sessions.query(PARIS, SHOP, timeout_seconds=0.01)
        with pytest.raises(ValueError, match=r"^HostsOf\.group"):
            await controller.sessions.query(PARIS, SHOP, "two words")
        assert not link.is_closed
        failing = asyncio.create_task(controller.sessions.query(PARIS, SHOP))
        cut = asyncio.create_task(controller.sessions.query(PARIS, SHOP))
        await settle()
        first = link.heard[-2]
        assert isinstance(first, Query)
        link.say(Answer(first.query_id, Failure("no such application")))
        with pytest.raises(RegionUnreachable, match="no such application"):
            await failing
        link.hang_up()
        with pytest.raises(RegionUnreachable, match="went away"):
            await cut


async def test_questions_in_flight_are_bounded_and_given_up_ones_make_room() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.writable.clear()
        asking = [
            asyncio.create_task(controller.sessions.query(PARIS, SHOP)) for _ in range(QUERIES_IN_FLIGHT_MAX)
        ]
        await settle()
        with pytest.raises(RegionUnreachable, match="too many questions"):
            await controller.sessions.query(PARIS, SHOP)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        link.writable.set()
        await settle()
        again = asyncio.create_task(controller.sessions.query(PARIS, SHOP))
        await settle()
        assert len([each for each in link.heard if isinstance(each, Query)]) == 2, "given up: not sent"
        question = link.heard[-1]
        assert isinstance(question, Query)
        link.say(Answer(question.query_id, Hosts()))
        assert await again == ()
