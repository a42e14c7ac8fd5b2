"""The controller's end of the streams, over links in memory; test_sessions_grpc.py does it for real."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from repave_controller.fleet.sessions import (
    QUERIES_IN_FLIGHT_MAX,
    AgentRefused,
    RegionUnreachable,
    RegionView,
    Sessions,
)
from repave_protos.protocol import wire
from repave_protos.protocol.queries import (
    Accepted,
    AcceptedOf,
    Answer,
    Content,
    Failure,
    FromAgent,
    FromController,
    Hosts,
    HostsOf,
    ListMachines,
    Machines,
    Query,
    Refusal,
)
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    Applied,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    GroupReport,
    Hello,
    HostDetail,
    HostName,
    HostPhase,
    Notice,
    Observations,
    RegionName,
    Rejection,
    Report,
    Resync,
    Welcome,
)
from tests.fakes.controller.listener import QuietListener
from tests.fakes.waiting import until

SHOP, CART = ApplicationName("shop"), ApplicationName("cart")
PARIS = RegionName("paris")
WELCOME = Welcome("0.1.0", "store-1", "http://127.0.0.1:7400/v1/images")
HELLO = Hello(PARIS, PROTOCOL_VERSION, "0.1.0", "local", "haproxy")
HOST = HostDetail(
    HostName("h-1"),
    GroupName("shop-v001"),
    SHOP,
    HostPhase.VERIFIED,
    "127.1.1.1",
    80,
    Digest("0" * 64),
    1.0,
    1.0,
)


def desired(rev: int, application: ApplicationName = SHOP) -> DesiredState:
    return DesiredState(application, Epoch(1, 1, rev), 8000, ())


def seen(application: ApplicationName, verified: int) -> ApplicationReport:
    groups = (GroupReport(GroupName(f"{application}-v001"), verified=verified),)
    return ApplicationReport(application, Epoch(1, 1, 1), groups)


async def settle() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


@dataclass
class MemoryLink:
    """The controller's end; the test plays the agent with `say`, `heard` and `hang_up`."""

    heard: list[FromController] = field(default_factory=list)
    incoming: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    writable: asyncio.Event = field(default_factory=asyncio.Event)
    is_closed: bool = False
    writers: int = 0

    def __post_init__(self) -> None:
        self.writable.set()

    async def send(self, message: bytes) -> None:
        assert self.writers == 0, "two tasks write to one stream"
        self.writers += 1
        try:
            await self.writable.wait()
        finally:
            self.writers -= 1
        self.heard.append(wire.decode_from_controller(message))

    async def receive(self) -> AsyncIterator[bytes]:
        while (message := await self.incoming.get()) is not None:
            yield message

    async def close(self) -> None:
        self.is_closed = True

    def say(self, message: FromAgent) -> None:
        self.incoming.put_nowait(wire.encode_from_agent(message))

    def hang_up(self) -> None:
        self.incoming.put_nowait(None)


class Controller(QuietListener):
    """Sessions with everything that they call."""

    def __init__(self, hello_deadline_seconds: float = 10.0) -> None:
        self.now = 0.0
        self.wanted: dict[RegionName, list[DesiredState]] = {}
        self.changes: list[tuple[RegionName, set[ApplicationName]]] = []
        self.noticed: list[tuple[RegionName, Sequence[Notice]]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.sessions = Sessions(WELCOME, lambda: self.now, hello_deadline_seconds)
        self.sessions.report_to(self)

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        return self.wanted.get(region, [])

    def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
        self.changes.append((region, applications))

    def notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        self.noticed.append((region, notices))

    @property
    def view(self) -> RegionView:
        return self.sessions.views()[PARIS]

    async def connect(self, hello: FromAgent = HELLO) -> MemoryLink:
        link = MemoryLink()
        self.tasks.append(asyncio.create_task(self.sessions.serve(link)))
        link.say(hello)
        await settle()
        return link


@asynccontextmanager
async def controlling(hello_deadline_seconds: float = 10.0) -> AsyncIterator[Controller]:
    controller = Controller(hello_deadline_seconds)
    try:
        yield controller
    finally:
        for task in controller.tasks:
            task.cancel()
        await asyncio.gather(*controller.tasks, return_exceptions=True)


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


# ------------------------------------------------------------------------------------------------ opening


async def test_a_region_gets_welcome_and_then_all_that_it_shall_be() -> None:
    async with controlling() as controller:
        controller.wanted[PARIS] = [desired(3), desired(1, CART)]
        link = await controller.connect()
        assert link.heard == [WELCOME, desired(3), desired(1, CART)]
        assert controller.view.is_connected
        assert controller.view.hello == HELLO


async def test_what_an_agent_last_applied_makes_its_applications_be_looked_at() -> None:
    async with controlling() as controller:
        hello = replace(HELLO, applied=(Applied(SHOP, Epoch(1, 1, 1), "0" * 16),))
        await controller.connect(hello)
        assert controller.changes == [(PARIS, {SHOP})]
        assert controller.view.hello.applied == hello.applied


@pytest.mark.parametrize(
    ("version", "older"), [(PROTOCOL_VERSION - 1, "agent"), (PROTOCOL_VERSION + 1, "controller")]
)
async def test_another_protocol_is_rejected_with_what_to_upgrade(version: int, older: str) -> None:
    async with controlling() as controller:
        link = await controller.connect(replace(HELLO, protocol_version=version))
        (rejection,) = link.heard
        assert isinstance(rejection, Rejection)
        assert f"speaks protocol {version}" in rejection.reason
        assert rejection.reason.endswith(f"upgrade the {older}")
        assert link.is_closed
        assert not controller.sessions.views()


async def test_a_stream_must_begin_with_hello() -> None:
    async with controlling() as controller:
        link = await controller.connect(Observer().report(is_full=True))
        assert link.is_closed
        assert link.heard == []


async def test_a_stream_without_hello_is_closed_after_its_deadline() -> None:
    async with controlling(hello_deadline_seconds=0.01) as controller:
        link = MemoryLink()
        await asyncio.wait_for(controller.sessions.serve(link), 10)
        assert link.is_closed


async def test_a_second_hello_closes_the_stream() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.say(replace(HELLO, region=RegionName("berlin")))
        await settle()
        assert link.is_closed
        assert set(controller.sessions.views()) == {PARIS}
        assert not controller.view.is_connected


@pytest.mark.parametrize("message", [b"\xff", b""])
async def test_a_message_that_makes_no_sense_closes_only_its_own_stream(message: bytes) -> None:
    async with controlling() as controller:
        link = await controller.connect()
        other = await controller.connect(replace(HELLO, region=RegionName("berlin")))
        link.incoming.put_nowait(message)
        await settle()
        assert link.is_closed
        assert not other.is_closed


async def test_a_newer_stream_of_a_region_takes_over_and_the_older_hears_why() -> None:
    async with controlling() as controller:
        older = await controller.connect()
        newer = await controller.connect()
        assert older.is_closed
        assert isinstance(older.heard[-1], Rejection)
        assert "newer agent has taken over paris" in older.heard[-1].reason
        assert controller.view.is_connected
        controller.sessions.publish(PARIS, desired(1))
        await settle()
        assert newer.heard == [WELCOME, desired(1)]


async def test_a_stuck_older_stream_is_closed_all_the_same_and_counts_no_more() -> None:
    async with controlling() as controller:
        older = await controller.connect()
        older.writable.clear()
        controller.sessions.publish(PARIS, desired(1))
        await settle()
        newer = await controller.connect()
        newer.say(Observer().report(seen(SHOP, 1), is_full=True))
        await settle()
        older.say(Observer().report(seen(SHOP, 9), is_full=True))
        await until(lambda: older.is_closed)
        assert controller.view.observations.applications == {SHOP: seen(SHOP, 1)}
        assert controller.view.is_connected


async def test_a_region_that_went_away_stays_in_the_views_with_the_time_since() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.say(Observer().report(seen(SHOP, 1), is_full=True))
        await settle()
        controller.now = 42.0
        link.hang_up()
        await settle()
        assert not controller.view.is_connected
        assert controller.view.since == 42.0
        assert controller.view.observations.applications == {SHOP: seen(SHOP, 1)}
        assert controller.changes[-1] == (PARIS, {SHOP})


async def test_a_returning_region_is_not_believed_to_be_as_it_was_before_the_gap() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.say(Observer().report(seen(SHOP, 1), is_full=True))
        await settle()
        link.hang_up()
        await settle()
        await controller.connect()
        assert controller.view.is_connected
        assert controller.view.observations.applications == {}
        assert controller.changes[-1] == (PARIS, {SHOP})


# ------------------------------------------------------------------------------------------------ reports


async def test_reports_are_merged_and_the_changed_applications_are_told() -> None:
    async with controlling() as controller:
        link, observer = await controller.connect(), Observer()
        link.say(observer.report(seen(SHOP, 1), seen(CART, 1), is_full=True))
        link.say(observer.report(seen(CART, 2)))
        link.say(observer.report(seen(CART, 2)))
        link.say(observer.report(seen(SHOP, 1), is_full=True))
        await settle()
        assert [names for _, names in controller.changes[1:]] == [{SHOP, CART}, {CART}, {CART}]
        assert controller.view.observations.applications == {SHOP: seen(SHOP, 1)}
        assert Resync() not in link.heard


async def test_a_digest_that_differs_is_asked_to_be_mended_once_until_everything_came() -> None:
    async with controlling() as controller:
        link, observer = await controller.connect(), Observer()
        for verified in range(3):
            link.say(replace(observer.report(seen(SHOP, verified)), digest="f" * 16))
            await settle()
        assert link.heard[1:] == [Resync()]
        link.say(observer.report(seen(SHOP, 9), is_full=True))
        link.say(replace(observer.report(seen(SHOP, 10)), digest="f" * 16))
        await settle()
        assert link.heard[1:] == [Resync(), Resync()]


async def test_a_full_report_whose_digest_differs_is_not_asked_for_in_a_circle() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        for _ in range(3):
            link.say(replace(Observer().report(seen(SHOP, 1), is_full=True), digest="f" * 16))
        await settle()
        assert link.heard == [WELCOME]


async def test_notices_are_handed_on() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        notice = Notice("host.failed", "exit code 1", "shop", "shop-v001", "h-1")
        link.say(replace(Observer().report(is_full=True), notices=(notice,)))
        await settle()
        assert controller.noticed == [(PARIS, [notice])]


# ------------------------------------------------------------------------------------------------ desired


async def test_a_slow_stream_gets_only_the_newest_desired_state_of_each_application() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.writable.clear()
        for rev in range(100):
            controller.sessions.publish(PARIS, desired(rev))
            controller.sessions.publish(PARIS, desired(rev, CART))
            await asyncio.sleep(0)
        link.writable.set()
        await settle()
        assert link.heard[-2:] == [desired(99, CART), desired(99)] or link.heard[-2:] == [
            desired(99),
            desired(99, CART),
        ]
        assert len(link.heard) <= 4


async def test_a_desired_state_that_no_agent_would_take_is_held_back_and_costs_nothing_else() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        controller.sessions.publish(PARIS, replace(desired(1), frontend_port=65_536))
        controller.sessions.publish(PARIS, desired(1, CART))
        await settle()
        assert link.heard == [WELCOME, desired(1, CART)]


async def test_publishing_to_a_region_that_is_away_is_fine() -> None:
    async with controlling() as controller:
        controller.sessions.publish(PARIS, desired(1))
        assert not controller.sessions.views()


# ------------------------------------------------------------------------------------------------ queries


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
        def greet(self, hello: Hello) -> None:
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
