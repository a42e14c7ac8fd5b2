"""Keeps the region's stream to the controller: for ever, over any Link.

Hello goes up first. Then desired states and questions come down to the handler, and what the worker observes
goes up: everything after each Welcome or Resync, later only what changed. Changes of one window go together,
but for one in each window that the controller waits for.
Decides nothing: a desired state is judged by the worker.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from repave_agent.core.ports import Dial, Link
from repave_agent.core.reports import ends_a_step
from repave_agent.runtime.tenancy import RENEWALS, Moment, Tenancy
from repave_protos.daemon.causes import caused_by
from repave_protos.daemon.standstill import STANDSTILL_SECONDS, WATCH_SECONDS
from repave_protos.protocol import bounds, wire
from repave_protos.protocol.channel import (
    MESSAGE_BYTES_MAX,
    PATIENCE_MAX_SECONDS,
    PATIENCE_SECONDS,
    Late,
    full_jitter,
)
from repave_protos.protocol.encoded import Encoded
from repave_protos.protocol.queries import Answer, Failure, FromController, Query
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    AskLease,
    Beat,
    DesiredState,
    Hello,
    Lease,
    Notice,
    Observations,
    Rejection,
    Report,
    Resync,
    Welcome,
)

REPORT_WINDOW_SECONDS = 0.05
NOTICES_MAX = 256
TROUBLES_MAX = 20
QUERIES_IN_FLIGHT_MAX = 32
TROUBLE_LENGTH_MAX = 2_000
ANSWERS_PATIENCE = 3.0
"""A link that took t seconds for an answer is given this many times t from then on."""
ASKED_MAX = 100
"""Of leases that are under way."""
STEADY_SECONDS = 5.0  # a stream that lived so long was no failed attempt
RECONNECT_BASE_SECONDS, RECONNECT_CAP_SECONDS = 0.1, 5.0

log = structlog.get_logger()


class Handler(Protocol):
    """What the session brings messages to. Exceptions close the stream, and are logged."""

    async def on_welcome(self, welcome: Welcome, /) -> None: ...

    async def on_desired(self, desired: DesiredState, /) -> None:
        """Called in the order of arrival, one at a time; the next message waits for it."""

    async def on_unreadable(self, application: ApplicationName, why: str, /) -> None:
        """A desired state came that this version does not understand."""

    async def on_query(self, query: Query, /) -> Answer:
        """Runs beside everything else."""

    async def on_stand_by(self, why: str, /) -> None:
        """Another agent has the region."""


class RejectedError(Exception):
    """The controller does not want this agent; the text says why."""


class Session:
    """One region's stream to its controller. `observed` and `notice` may be called at any time."""

    def __init__(
        self,
        dial: Dial,
        hello: Callable[[], Hello],
        handler: Handler,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
        wall: Callable[[], float] = float,
        tenancy: Tenancy | None = None,
    ) -> None:
        """`clock` counts monotonic seconds, `wall` gives Unix time, `chance` numbers in 0..1, evenly."""
        self._tenancy = tenancy or Tenancy()
        self._dial = dial
        self._hello = hello
        self._handler = handler
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._wall = wall
        self._observations = Observations()
        self._observed: Mapping[ApplicationName, ApplicationReport] | None = None  # as it was given
        self._sendable: Encoded[ApplicationName, ApplicationReport, ApplicationReport] = Encoded(_sendable)
        self._notices: deque[Notice] = deque(maxlen=NOTICES_MAX)
        self._state: tuple[tuple[str, ...], bool] = ((), False)  # troubles; whether it is starting
        self._stream: _Stream | None = None
        self._sequence = 0
        self._outage = _Outage(since=clock())
        self._patience_seconds = PATIENCE_SECONDS
        self._return_seconds = 0.0  # as the controller said last
        self._ready: Link | None = None  # the link to go on with; Hello was said on it
        self._greeted_at: Moment = ()  # before Hello was said: a lease that answers it counts from then

    @property
    def is_connected(self) -> bool:
        """The controller has said Welcome on the stream that is open now."""
        return self._stream is not None and self._stream.is_welcome

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None:
        """Takes everything the region observes now; what changed goes up soon. The same object again says
        that nothing did."""
        if applications is self._observed:
            return
        self._observed = applications
        self._observations.applications = {
            name: self._sendable.of(name, each) for name, each in applications.items()
        }
        self._tell()
        if self._stream is not None and self._stream.may_hurry:
            self._hurry(self._stream)

    def _hurry(self, stream: "_Stream") -> None:
        """What the controller waits for goes up at once, whatever went up a moment before."""
        reports = self._observations.applications.items()
        if any(ends_a_step(stream.sent.get(name), each) for name, each in reports):
            stream.may_hurry, stream.is_report_due = False, True
            stream.wake.set()

    def notice(self, notice: Notice) -> None:
        """Takes one notice for people; the oldest are dropped when too many wait."""
        self._notices.append(notice)
        self._tell()

    def troubled(self, troubles: tuple[str, ...], *, is_starting: bool = False) -> None:
        """Takes what is wrong with the region as a whole, and whether it can't act yet."""
        cut = (bounds.sendable(each, TROUBLE_LENGTH_MAX) for each in troubles[:TROUBLES_MAX])
        state = (tuple(cut), is_starting)
        if state != self._state:
            self._state = state
            self._tell()

    def greet_again(self) -> None:
        """What Hello says has changed: ends the stream, and begins another one."""
        if self._stream is not None:
            self._stream.is_outdated.set()

    async def change_channel(self) -> None:
        """Goes on over a link that is dialled anew, with what the agent shows now: the former one ends when
        the other is there. Raises ConnectionError; then nothing has changed."""
        if self._stream is None:
            return  # the next attempt dials anyway
        link = await self._dial(self._patience_seconds)
        self._greeted_at = self._tenancy.now()
        try:
            await link.send(wire.encode_from_agent(self._hello()))
        except BaseException:
            await link.close()
            raise
        self._ready = link
        self.greet_again()

    def _tell(self) -> None:
        if self._stream is not None:
            self._stream.changed.set()

    async def run(self) -> None:
        """Connects again and again until it is cancelled."""
        attempt = 0
        while True:
            began = self._clock()
            failure = await asyncio.ensure_future(self._attempt())
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError  # a TaskGroup that fails at that moment drops it (Python 3.11)
            if self._ready is not None:
                continue
            if self._clock() - began >= STEADY_SECONDS:
                attempt = 0
            base_seconds = max(RECONNECT_BASE_SECONDS, self._return_seconds)
            delay_seconds = full_jitter(attempt, self._chance(), base_seconds, RECONNECT_CAP_SECONDS)
            if isinstance(failure, RejectedError):
                delay_seconds = RECONNECT_CAP_SECONDS
            attempt += 1
            await self._sleep(delay_seconds)

    async def _attempt(self) -> Exception:
        """One stream from dialling to its end; returns why it ended."""
        try:
            await self._connect()
        except Exception as error:  # the root of the session: nothing that arrives may end the agent
            failure = _first(error)
        match failure:
            case _ if self._ready is not None:
                log.info("session.channel_changed")
            case RejectedError():
                self._outage.rejected(self._clock(), str(failure))
            case OSError() | wire.WireError():
                if isinstance(failure, Late):  # the link may be slow, and not dead
                    self._patience_seconds = min(PATIENCE_MAX_SECONDS, 2 * self._patience_seconds)
                self._outage.lost(self._clock(), str(failure))
            case _:
                log.error("session.failed", exc_info=failure)
        return failure

    async def _connect(self) -> None:
        began, patience = self._clock(), self._patience_seconds
        is_greeted, link = self._ready is not None, self._ready or await self._dial(patience)
        self._ready = None
        self._stream = stream = _Stream(link, began, patience, awake_at=self._clock())
        try:
            if not is_greeted:
                self._greeted_at = self._tenancy.now()
                await link.send(wire.encode_from_agent(self._hello()))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read(stream, tasks))
                tasks.create_task(self._write(stream))
                tasks.create_task(self._expect_welcome(stream))
                tasks.create_task(self._watch(stream))
                tasks.create_task(_until_outdated(stream))
        finally:
            self._stream = None
            await link.close()

    # ---------------------------------------------------------------------------------------------- down

    async def _read(self, stream: "_Stream", tasks: asyncio.TaskGroup) -> None:
        async for message in stream.link.receive():
            try:
                decoded = wire.decode_from_controller(message)
            except wire.WireError as error:
                await self._refuse(message, error)
            else:
                await self._take(stream, decoded, tasks)
        raise ConnectionError("the controller closed the stream")

    async def _refuse(self, message: bytes, error: wire.WireError) -> None:
        """What a later controller wants of one application must not cost the others the stream."""
        application = wire.application_of(message)
        if application is None:
            raise error
        await self._handler.on_unreadable(application, f"{error}; is the agent of an older version?")

    async def _take(self, stream: "_Stream", message: FromController, tasks: asyncio.TaskGroup) -> None:
        self._check_awake(stream)
        match message:
            case Welcome():
                await self._welcome(stream, message, tasks)
            case DesiredState():
                await self._handler.on_desired(message)
            case Query():
                self._ask(stream, message, tasks)
            case Resync():
                stream.report_everything()
            case Lease(number, seconds, _):
                if (asked := stream.asked.pop(number, None)) is not None:
                    self._tenancy.grant(asked, seconds)
            case Rejection(reason, stands_by):
                if stands_by:
                    await self._handler.on_stand_by(reason)
                raise RejectedError(reason)

    async def _welcome(self, stream: "_Stream", welcome: Welcome, tasks: asyncio.TaskGroup) -> None:
        was_bound = self._tenancy.is_bound
        await self._handler.on_welcome(welcome)
        self._outage.ended(self._clock(), welcome)
        self._return_seconds = welcome.return_seconds
        stream.takes_sums, stream.beat_seconds = welcome.takes_sums, welcome.beat_seconds
        if welcome.lease_seconds > 0:
            self._hold(stream, welcome.lease_seconds, tasks, was_bound=was_bound)
        else:
            stream.is_bound = False
        if not stream.is_welcome:
            stream.is_welcome = True
            took = self._clock() - stream.began
            self._patience_seconds = min(PATIENCE_MAX_SECONDS, max(PATIENCE_SECONDS, ANSWERS_PATIENCE * took))
            tasks.create_task(self._pace(stream))
            if welcome.beat_seconds > 0:
                tasks.create_task(self._beat(stream))
        stream.report_everything()

    def _hold(self, stream: "_Stream", seconds: float, tasks: asyncio.TaskGroup, *, was_bound: bool) -> None:
        """The Welcome that answers Hello is the first lease. One that comes later, for a stand-by has come,
        is one until the first that is asked for: the controller counts none before it is asked."""
        if stream.is_bound:
            return
        is_late = stream.is_welcome and not was_bound
        self._tenancy.grant(self._tenancy.now() if is_late else self._greeted_at, seconds)
        stream.is_bound = True
        if not stream.is_renewing:
            stream.is_renewing = True
            tasks.create_task(self._renew(stream, seconds / RENEWALS))

    def _ask(self, stream: "_Stream", query: Query, tasks: asyncio.TaskGroup) -> None:
        if stream.queries_in_flight >= QUERIES_IN_FLIGHT_MAX:
            log.warning("session.query_dropped", question=type(query.question).__name__, query=query.query_id)
            return
        stream.queries_in_flight += 1
        tasks.create_task(self._answer(stream, query))

    async def _answer(self, stream: "_Stream", query: Query) -> None:
        try:
            with caused_by(query.cause):
                message = wire.encode_from_agent(await self._handler.on_query(query))
            wire.decode_from_agent(message)  # what the controller would refuse must not cost the stream
            if len(message) > MESSAGE_BYTES_MAX:
                raise ValueError("the answer is too large; ask for one group, or for fewer log lines")
        except Exception as error:  # the root of a question: who asked is told, all else goes on
            log.warning("session.query_failed", question=type(query.question).__name__, error=str(error))
            message = wire.encode_from_agent(Answer(query.query_id, Failure(str(error) or repr(error))))
        stream.answers.append(message)
        stream.wake.set()

    async def _expect_welcome(self, stream: "_Stream") -> None:
        await self._sleep(stream.patience_seconds)
        if not stream.is_welcome:
            raise Late(f"no Welcome within {stream.patience_seconds:.0f} s of Hello")

    async def _watch(self, stream: "_Stream") -> None:
        while True:
            await self._sleep(WATCH_SECONDS)
            self._check_awake(stream)
            stream.awake_at = self._clock()

    def _check_awake(self, stream: "_Stream") -> None:
        """An agent that stood still asks anew: what was sent to it meanwhile may have been taken back since,
        and acting on it would move traffic for a moment."""
        still_seconds = self._clock() - stream.awake_at
        if still_seconds > STANDSTILL_SECONDS:
            raise ConnectionError(
                f"this agent stood still for {still_seconds:.0f} s; it asks anew what shall be, for what it "
                "was sent meanwhile may hold no longer"
            )

    # ------------------------------------------------------------------------------------------------ up

    async def _pace(self, stream: "_Stream") -> None:
        """The first change after quiet is due at once, those that follow when the window is over."""
        while True:
            await stream.changed.wait()
            stream.changed.clear()
            stream.is_report_due = stream.may_hurry = True
            stream.wake.set()
            await self._sleep(REPORT_WINDOW_SECONDS)

    async def _beat(self, stream: "_Stream") -> None:
        """Something is said as often as the newest Welcome asks for: a controller that hears nothing knows
        what it means."""
        while stream.beat_seconds > 0:
            await self._sleep(stream.beat_seconds)
            stream.is_beat_due = True
            stream.wake.set()

    async def _renew(self, stream: "_Stream", seconds: float) -> None:
        """Asks for the next lease long before the one that is held ends."""
        while True:
            if stream.is_bound:
                stream.is_lease_due = True
                stream.wake.set()
            await self._sleep(seconds)

    async def _ask_lease(self, stream: "_Stream") -> None:
        stream.is_lease_due = False
        stream.asks += 1
        stream.asked[stream.asks] = self._tenancy.now()
        stream.asked.pop(stream.asks - ASKED_MAX, None)
        await stream.link.send(wire.encode_from_agent(AskLease(stream.asks)))

    async def _write(self, stream: "_Stream") -> None:
        """The only one that writes to the link: two at a time would end a gRPC stream."""
        while True:
            await stream.wake.wait()
            stream.wake.clear()
            if stream.is_lease_due:
                await self._ask_lease(stream)
            while stream.answers:
                await stream.link.send(stream.answers.popleft())
                stream.queries_in_flight -= 1
            if stream.is_report_due:
                await self._report(stream)
            if stream.is_beat_due:
                stream.is_beat_due = False
                await stream.link.send(wire.encode_from_agent(Beat(self._wall())))

    async def _report(self, stream: "_Stream") -> None:
        """Sends what is newest now, not what was when the report became due."""
        stream.is_report_due = False
        now = dict(self._observations.applications)
        # A report can't say that an application is gone: only a full one leaves it out.
        is_full = stream.is_full_due or not stream.sent.keys() <= now.keys()
        changed = tuple(each for name, each in now.items() if is_full or _is_new(each, stream.sent.get(name)))
        if not changed and not self._notices and not is_full and stream.sent_state == self._state:
            return
        self._sequence += 1
        notices, observed = tuple(self._notices), self._observations
        digest, total = ("", observed.sum()) if stream.takes_sums else (observed.digest(), "")
        report = Report(self._sequence, is_full, changed, digest, notices, *self._state, sum=total)
        self._notices.clear()
        stream.is_full_due = False
        stream.sent_state = self._state
        stream.sent = now
        await stream.link.send(wire.encode_from_agent(report))


@dataclass(slots=True)
class _Stream:
    """One connection, and what waits to be written to it."""

    link: Link
    began: float  # when it was dialled
    patience_seconds: float
    awake_at: float  # when this process was last seen to run
    is_welcome: bool = False
    takes_sums: bool = False
    beat_seconds: float = 0.0  # so often something is to be said
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # the worker saw something new
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # the writer has something to do
    is_report_due: bool = False
    may_hurry: bool = False  # one report may still go up before the end of this window
    is_full_due: bool = False
    is_beat_due: bool = False
    sent: dict[ApplicationName, ApplicationReport] = field(default_factory=dict)
    sent_state: tuple[tuple[str, ...], bool] = ((), False)
    is_outdated: asyncio.Event = field(default_factory=asyncio.Event)
    answers: deque[bytes] = field(default_factory=deque)  # bounded by queries_in_flight
    queries_in_flight: int = 0
    is_bound: bool = False  # leases are asked for
    is_renewing: bool = False
    is_lease_due: bool = False
    asks: int = 0
    asked: dict[int, Moment] = field(default_factory=dict)  # when, by number; at most ASKED_MAX

    def report_everything(self) -> None:
        self.is_report_due = self.is_full_due = True
        self.wake.set()


async def _until_outdated(stream: _Stream) -> None:
    await stream.is_outdated.wait()
    raise ConnectionError("the agent has something else to say of itself")


@dataclass(slots=True)
class _Outage:
    """Since when the controller is away, and what of it the log was told: each thing once."""

    since: float
    is_over: bool = False
    told: str | None = None

    def lost(self, now: float, reason: str) -> None:
        self._begin(now)
        if self.told is None:
            self.told = ""
            log.warning("session.lost", reason=reason, remedy="the agent goes on by itself and reconnects")

    def rejected(self, now: float, reason: str) -> None:
        self._begin(now)
        if self.told != reason:
            self.told = reason
            log.error("session.rejected", reason=reason, retry_seconds=RECONNECT_CAP_SECONDS)

    def ended(self, now: float, welcome: Welcome) -> None:
        outage_seconds = 0.0 if self.is_over else round(now - self.since, 3)
        log.info("session.welcome", controller=welcome.controller_version, outage_seconds=outage_seconds)
        self.is_over, self.told = True, None

    def _begin(self, now: float) -> None:
        if self.is_over:
            self.since, self.is_over = now, False


def _first(error: Exception) -> Exception:
    """The failure that ended the stream; what came after it is its echo."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _is_new(report: ApplicationReport, sent: ApplicationReport | None) -> bool:
    return report is not sent and report != sent


def _sendable(report: ApplicationReport) -> ApplicationReport:
    """Texts come from hosts: cut and cleaned before the digest is made, or both ends would never agree."""
    groups = tuple(
        replace(group, trouble=bounds.sendable(group.trouble, TROUBLE_LENGTH_MAX)) if group.trouble else group
        for group in report.groups
    )
    refusal = bounds.sendable(report.refusal, TROUBLE_LENGTH_MAX)
    return replace(report, groups=groups, refusal=refusal)
