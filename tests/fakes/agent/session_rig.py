"""An agent's session, all in memory: links, a handler, a clock that only the test moves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from repave_agent.core.ports import Link
from repave_agent.runtime.session import Session
from repave_protos.protocol import wire
from repave_protos.protocol.queries import Answer, FromAgent, FromController, Hosts, Query
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    AskLease,
    DesiredState,
    Epoch,
    GroupName,
    GroupReport,
    Hello,
    RegionName,
    Report,
    Welcome,
)

SHOP, CART = ApplicationName("shop"), ApplicationName("cart")
WELCOME = Welcome("0.1.0", "store-1", "http://127.0.0.1:7400/v1/images")
HELLO = Hello(RegionName("paris"), 1, "0.1.0", "local", "haproxy")


class FakeTime:
    """Time that stands still until `advance`."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        entry = (self.now + seconds, asyncio.Event())
        self._sleepers.append(entry)
        try:
            await entry[1].wait()
        finally:
            self._sleepers.remove(entry)

    @property
    def pending_seconds(self) -> list[float]:
        return sorted(round(at - self.now, 6) for at, _ in self._sleepers)

    def stand_still(self, seconds: float) -> None:
        """Time passes for everybody but this process."""
        self.now += seconds

    async def advance(self, seconds: float) -> None:
        """Wakes every sleeper whose time comes, in order."""
        end = self.now + seconds
        await settle()
        while due := [entry for entry in self._sleepers if entry[0] <= end]:
            at, event = min(due, key=lambda entry: entry[0])
            self.now = max(self.now, at)
            event.set()
            await settle()
        self.now = end


async def settle() -> None:
    """Lets every task run until it waits for something that only the test can give."""
    for _ in range(100):
        await asyncio.sleep(0)


@dataclass
class MemoryLink:
    """The agent's end; the test plays the controller with `say`, `heard` and `hang_up`."""

    heard_bytes: list[bytes] = field(default_factory=list)
    incoming: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    is_closed: bool = False
    writers: int = 0
    writable: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.writable.set()

    async def send(self, message: bytes) -> None:
        assert self.writers == 0, "two tasks write to one stream"
        self.writers += 1
        try:
            await self.writable.wait()
        finally:
            self.writers -= 1
        if self.is_closed:
            raise ConnectionError("closed")
        self.heard_bytes.append(message)

    async def receive(self) -> AsyncIterator[bytes]:
        while (message := await self.incoming.get()) is not None:
            yield message

    async def close(self) -> None:
        self.is_closed = True

    def say(self, message: FromController) -> None:
        self.incoming.put_nowait(wire.encode_from_controller(message))

    def hang_up(self) -> None:
        self.incoming.put_nowait(None)

    @property
    def heard(self) -> list[FromAgent]:
        return [wire.decode_from_agent(message) for message in self.heard_bytes]

    @property
    def reports(self) -> list[Report]:
        return [message for message in self.heard if isinstance(message, Report)]

    @property
    def leases_asked(self) -> list[AskLease]:
        return [message for message in self.heard if isinstance(message, AskLease)]

    @property
    def answers(self) -> list[Answer]:
        return [message for message in self.heard if isinstance(message, Answer)]


@dataclass
class Recorder:
    """A handler that remembers."""

    welcomes: list[Welcome] = field(default_factory=list)
    desired: list[DesiredState] = field(default_factory=list)
    answer: Callable[[Query], Awaitable[Answer]] | None = None
    told_to_stand_by: str = ""
    unreadable: dict[ApplicationName, str] = field(default_factory=dict)

    async def on_welcome(self, welcome: Welcome) -> None:
        self.welcomes.append(welcome)

    async def on_desired(self, desired: DesiredState) -> None:
        self.desired.append(desired)

    async def on_stand_by(self, why: str) -> None:
        self.told_to_stand_by = why

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        self.unreadable[application] = why

    async def on_query(self, query: Query) -> Answer:
        return await self.answer(query) if self.answer is not None else Answer(query.query_id, Hosts())


class Region:
    """A session, and everything around it."""

    def __init__(self) -> None:
        self.time = FakeTime()
        self.handler = Recorder()
        self.links: list[MemoryLink] = []
        self.patience: list[float] = []
        self.refused: Exception | None = None
        self.hello = HELLO
        self.session = Session(
            self._dial, lambda: self.hello, self.handler, self.time.clock, self.time.sleep, lambda: 1.0
        )

    async def _dial(self, patience_seconds: float) -> Link:
        self.patience.append(patience_seconds)
        if self.refused is not None:
            raise self.refused
        self.links.append(MemoryLink())
        return self.links[-1]

    @property
    def link(self) -> MemoryLink:
        return self.links[-1]

    async def welcome(self, welcome: Welcome = WELCOME) -> None:
        await settle()
        self.link.say(welcome)
        await settle()

    def observe(self, **verified: int) -> None:
        self.session.observed(
            {ApplicationName(name): report(name, count) for name, count in verified.items()}
        )


@asynccontextmanager
async def running(region: Region) -> AsyncIterator[Region]:
    task = asyncio.create_task(region.session.run())
    try:
        yield region
    finally:
        assert not task.done(), "the session must run for ever"
        task.cancel()
        await asyncio.wait({task})


def report(name: str, verified: int) -> ApplicationReport:
    groups = (GroupReport(GroupName(f"{name}-v001"), verified=verified),)
    return ApplicationReport(ApplicationName(name), Epoch(1, 1, 1), groups)


def verified(report: Report) -> dict[str, int]:
    return {each.application: each.groups[0].verified for each in report.applications}
