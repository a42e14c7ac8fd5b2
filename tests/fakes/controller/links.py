"""A controller's end of streams, with links in memory, and one who follows what it hears."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from repave_controller.fleet.regions import KnownRegion
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol import wire
from repave_protos.protocol.queries import (
    FromAgent,
    FromController,
)
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
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
    Report,
    Welcome,
)
from tests.fakes.controller.listener import QuietListener

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

    def __init__(
        self,
        hello_deadline_seconds: float = 10.0,
        clock: Callable[[], float] | None = None,
        ticket_of: Callable[[RegionName], str] | None = None,
        welcome: Welcome = WELCOME,
    ) -> None:
        self.now = 0.0
        self.wanted: dict[RegionName, list[DesiredState]] = {}
        self.changes: list[tuple[RegionName, set[ApplicationName]]] = []
        self.noticed: list[tuple[RegionName, Sequence[Notice]]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.sessions = Sessions(welcome, clock or (lambda: self.now), hello_deadline_seconds, ticket_of)
        self.named: dict[RegionName, tuple[ApplicationName, ...]] = {}
        self.asked = 0  # how often for the applications of a region
        self.sessions.report_to(self)

    def applications_in(self, region: RegionName) -> tuple[ApplicationName, ...] | None:
        self.asked += 1
        return self.named.get(region, ()) if self.named else None

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        return self.wanted.get(region, [])

    def region_changed(self, region: RegionName, applications: set[ApplicationName]) -> None:
        self.changes.append((region, applications))

    def notices(self, region: RegionName, notices: Sequence[Notice]) -> None:
        self.noticed.append((region, notices))

    @property
    def view(self) -> KnownRegion:
        return self.sessions.views()[PARIS]

    def serve(self, link: MemoryLink) -> asyncio.Task[None]:
        return asyncio.create_task(self.sessions.serve(link))

    async def connect(self, hello: FromAgent = HELLO) -> MemoryLink:
        link = MemoryLink()
        self.tasks.append(self.serve(link))
        link.say(hello)
        await settle()
        return link


@asynccontextmanager
async def controlling(
    hello_deadline_seconds: float = 10.0, welcome: Welcome = WELCOME
) -> AsyncIterator[Controller]:
    controller = Controller(hello_deadline_seconds, welcome=welcome)
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

    def summed(self, *applications: ApplicationReport, is_full: bool = False) -> Report:
        """The same with a sum in the place of the digest."""
        return replace(self.report(*applications, is_full=is_full), digest="", sum=self.observations.sum())
