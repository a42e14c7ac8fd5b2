"""One agent's stream: what waits to be written to it, and when it is over. Which streams there are, and what
follows from what they bring, is in sessions.py."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import structlog

from repave_controller.fleet.questions import Questions
from repave_protos.protocol import wire
from repave_protos.protocol.certificates import AgentIdentity
from repave_protos.protocol.channel import Link
from repave_protos.protocol.queries import Answer, FromController, Query
from repave_protos.protocol.values import ApplicationName, DesiredState, Hello, Lease, RegionName, Resync

GOODBYE_SECONDS = 1.0  # how long a stream that shall end may take to hear why
MESSAGES_KEPT = 64
SILENCES_MAX = 3.0
"""An agent that is to say something every second is away when nothing came for so many."""
LATE_SECONDS = 0.5  # by which this process wakes too late when it was held up itself

log = structlog.get_logger()

TraceOf = Callable[[RegionName, ApplicationName], str]
"""Of which trace an order is, as W3C's traceparent; "": of none."""


class StreamEnded(ConnectionError):
    """The stream is over; the text says why."""


@dataclass(slots=True)
class Stream:
    """One agent's connection, and what waits to be written to it."""

    hello: Hello
    link: Link
    desired: dict[ApplicationName, DesiredState]  # the newest of each application
    heard_at: float
    questions: Questions
    identity: AgentIdentity | None = None  # None over plaintext
    beat_seconds: float = 0.0  # so often its agent says that it is there; 0: it is not asked to
    reports_until: int = 0  # the sequence of the newest report taken
    is_resync_due: bool = False
    is_resync_asked: bool = False
    counts_otherwise: bool = False  # also of a full report the digest was another one
    farewell: str = ""
    is_followed: bool = False  # it ends, for another agent has the region
    is_welcome_due: bool = False  # what Welcome says has changed
    lease: Lease | None = None  # the newest that is to be given
    traces: TraceOf | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def region(self) -> RegionName:
        return self.hello.region

    def next_message(self) -> FromController | None:
        """Takes out what is written next; asked again before each write, so that it is the newest."""
        if self.farewell:
            return None
        if self.lease is not None:
            lease, self.lease = self.lease, None
            return lease
        if self.desired:
            return self.desired.pop(next(iter(self.desired)))
        if self.is_resync_due:
            self.is_resync_due = False
            return Resync()
        return self.questions.unsent.popleft() if self.questions.unsent else None

    async def send(self, message: FromController) -> None:
        """Leaves out what the agent would refuse: it would cost the stream, again and again."""
        try:
            as_bytes = encoded(message, self._trace_of(message))
        except ValueError as error:
            log.error("agent.message_unsendable", region=self.region, error=str(error))
            return
        await self.link.send(as_bytes)

    def _trace_of(self, message: FromController) -> str:
        if self.traces is None or not isinstance(message, DesiredState):
            return ""
        return self.traces(self.region, message.application)

    async def ask(self, query: Query) -> Answer:
        """Raises RegionUnreachable when the stream ends before the answer."""
        return await self.questions.ask(query, self.wake)

    def finish(self, farewell: str, *, is_followed: bool = False) -> None:
        """Ends the stream soon; the agent hears why if it still listens."""
        self.farewell = self.farewell or farewell
        self.is_followed = is_followed
        self.wake.set()
        self.finished.set()

    async def give_up(self) -> None:
        """Ends a stream that was finished, but whose writer is stuck."""
        await self.finished.wait()
        await asyncio.sleep(GOODBYE_SECONDS)
        raise StreamEnded(self.farewell)

    async def miss(self, clock: Callable[[], float]) -> None:
        """Ends a stream on which no beat is heard for so long, however slow the link is: the agent is frozen
        or cut off. A controller that was held up itself listens anew: it may have missed what was said."""
        while True:
            seconds = SILENCES_MAX * self.beat_seconds
            due = self.heard_at + seconds
            await asyncio.sleep(max(0.0, due - clock()))
            now = clock()
            if now > due + LATE_SECONDS:
                self.heard_at = now
            elif self.heard_at + SILENCES_MAX * self.beat_seconds <= now:
                raise StreamEnded(
                    f"the agent has said nothing for {seconds:g} s: it stands still or is cut off"
                )


def encoded(message: FromController, traceparent: str = "") -> bytes:
    """Encoded, and sure to be accepted. Raises ValueError, which names the field."""
    if isinstance(message, DesiredState | Query):
        return _encoded_once(message, traceparent)
    return _encoded(message, traceparent)


def _encoded(message: FromController, traceparent: str) -> bytes:
    as_bytes = wire.encode_from_controller(message, traceparent)
    wire.decode_from_controller(as_bytes)
    return as_bytes


_encoded_once = lru_cache(MESSAGES_KEPT)(_encoded)
"""Regions that shall be alike are sent the same bytes: those of a release mostly are. A question is looked at
before it is sent, and many regions are asked the same."""
