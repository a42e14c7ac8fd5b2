"""Holds the streams of all agents: what each region observes, and how desired states get there.

One live stream per region; a newer one takes over. Decides nothing: it merges reports into views, tells the
scheduler which applications changed, and sends what is published. Over TLS the certificate says which region
an agent speaks for, and a stream does not outlive it. Runs over any Link; only `start_server` knows gRPC.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import grpc.aio
import structlog

from repave_controller.core.ports import RegionListener
from repave_protos.protocol import wire
from repave_protos.protocol.certificates import AgentIdentity, CertificateError
from repave_protos.protocol.channel import Link, Shown, bind
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
    Orphans,
    Query,
    Question,
    Refusal,
)
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    Beat,
    DesiredState,
    Hello,
    HostDetail,
    Observations,
    RegionName,
    Rejection,
    Report,
    Resync,
    Welcome,
)

HELLO_DEADLINE_SECONDS = 60.0  # of a link as slow as an agent bears
GOODBYE_SECONDS = 1.0  # how long a stream that shall end may take to hear why
STOP_SECONDS = 2.0
SILENCES_MAX = 3.0
"""An agent that is to say something every second is away when nothing came for so many."""
LATE_SECONDS = 0.5  # by which this process wakes too late when it was held up itself
QUERIES_IN_FLIGHT_MAX = 16  # of one region
REGIONS_MAX = 10_000
UNUSED_REGIONS_MAX = 100
"""Regions that no application is in, and whose agents have gone: any name can be said in a Hello."""
UNUSED_SECONDS = 600.0
"""After so long such a region is forgotten."""
RIVAL_SECONDS = 60.0
"""How long another agent of a region is refused after the known one was heard last; and is told of."""
TAKE_OVER_SECONDS = 300.0
"""A take-over that a person asks for has to happen within this time."""
APPLICATIONS_PER_REGION_MAX = 10_000
DENIALS_MAX = 1_000
DENIED_SECONDS = 600.0
"""So long an agent that was refused for its certificate is told of."""

log = structlog.get_logger()


class RegionUnreachable(Exception):
    """The region's agent gave no answer. The text is shown to people."""


class AgentRefused(RegionUnreachable):
    """The agent has understood the question, and says why it can't be done."""


class BadQuestion(ValueError):
    """No agent can be asked this: it has more than a question may. The text names the field."""


AnswerContent = TypeVar("AnswerContent", bound=Content)


class _StreamEnded(ConnectionError):
    """The stream is over; the text says why."""


@dataclass(slots=True)
class KnownRegion:
    """One region as its agent reports it. `since`: connected, or unreachable, since (seconds of the clock).

    A new stream starts with no observations: what was true before the gap need not be true now.
    """

    region: RegionName
    is_connected: bool
    since: float
    hello: Hello
    observations: Observations = field(default_factory=Observations)
    troubles: tuple[str, ...] = ()  # of the region as a whole
    is_starting: bool = False  # its agent is there, and can't act yet: the first trouble says why
    identity: AgentIdentity | None = None  # of its agent's certificate


@dataclass(frozen=True, slots=True)
class Rival:
    """Another agent of a region, with a state directory of its own, that was refused."""

    hello: Hello
    at: float  # when it asked last


class Gate(Protocol):
    """Knows certificates."""

    def recognise(self, certificate: bytes) -> AgentIdentity:
        """Raises CertificateError."""

    def objection(self, identity: AgentIdentity) -> str:
        """Why it counts no longer, or ""."""


@dataclass(frozen=True, slots=True)
class Denial:
    """An agent that was refused for its certificate."""

    region: str  # of its certificate if that was recognised, else of its Hello
    why: str
    at: float


class Sessions:
    """Serves streams until `close`, in one event loop. What regions send goes to one listener."""

    def __init__(
        self,
        welcome: Welcome,
        clock: Callable[[], float],
        hello_deadline_seconds: float = HELLO_DEADLINE_SECONDS,
        ticket_of: Callable[[RegionName], str] | None = None,
    ) -> None:
        """`ticket_of` gives what a region's agent shows to fetch packages, where that is asked for."""
        self._gate: Gate | None = None
        self._denials: dict[str, Denial] = {}
        self._welcome = welcome
        self._clock = clock
        self._ticket_of = ticket_of
        self._hello_deadline_seconds = hello_deadline_seconds
        self._listener: RegionListener
        self._views: dict[RegionName, KnownRegion] = {}
        self._streams: dict[RegionName, _Stream] = {}
        self._rivals: dict[RegionName, Rival] = {}
        self._take_overs: dict[RegionName, float] = {}  # until when
        self._query_ids = itertools.count(1)
        self._is_closed = False

    def report_to(self, listener: RegionListener) -> None:
        """Before the first stream is served."""
        self._listener = listener

    def guard_with(self, gate: Gate) -> None:
        """Before the first stream is served: without a certificate none is served from now on."""
        self._gate = gate

    def denials(self) -> list[Denial]:
        """Those of late, of each region the newest."""
        now = self._clock()
        self._denials = {name: each for name, each in self._denials.items() if now < each.at + DENIED_SECONDS}
        return list(self._denials.values())

    def recheck(self) -> None:
        """Certificates were withdrawn: the streams of those that count no longer end."""
        for stream in list(self._streams.values()):
            if objection := self._withdrawal(stream.identity):
                self._deny(stream.region, objection)
                stream.finish(objection)

    def stream_of(self, region: RegionName) -> AgentIdentity | None:
        """Whose certificate the region's stream was opened with; None: there is no stream, or no TLS."""
        stream = self._streams.get(region)
        return stream.identity if stream is not None else None

    def views(self) -> Mapping[RegionName, KnownRegion]:
        """Every region that ever connected to this controller process, live or not."""
        return self._views

    def rivals(self) -> Mapping[RegionName, Rival]:
        """The agents that were refused of late because another one is that of their region."""
        now = self._clock()
        self._rivals = {name: each for name, each in self._rivals.items() if now < each.at + RIVAL_SECONDS}
        return self._rivals

    def unused(self) -> Collection[RegionName]:
        """The regions that no application is in."""
        return [region for region in self._views if self._is_unused(region)]

    def let_take_over(self, region: RegionName) -> None:
        """The next agent of the region may be another one than before. Raises KeyError: there is none."""
        if region not in self._views:
            raise KeyError(region)
        self._take_overs[region] = self._clock() + TAKE_OVER_SECONDS

    def forget(self, region: RegionName) -> bool:
        """Whether the region is known no longer; one whose agent is connected stays."""
        view = self._views.get(region)
        if view is None or view.is_connected:
            return view is None
        del self._views[region]
        self._rivals.pop(region, None)
        return True

    def forget_unused(self) -> None:
        """Regions that were only ever a name: after a while, and the oldest when there are many."""
        away = [view for view in self._views.values() if not view.is_connected]
        ghosts = sorted(
            (view for view in away if self._is_unused(view.region)), key=lambda view: view.since, reverse=True
        )
        for index, view in enumerate(ghosts):
            if index >= UNUSED_REGIONS_MAX or self._clock() >= view.since + UNUSED_SECONDS:
                del self._views[view.region]

    def _is_unused(self, region: RegionName) -> bool:
        return self._listener.applications_in(region) == ()

    def publish(self, region: RegionName, desired: DesiredState) -> None:
        """Sends it to the region soon; a newer one of the same application replaces it while it waits.

        A region that is not connected gets it from `desired_for` when it returns.
        """
        stream = self._streams.get(region)
        if stream is not None:
            stream.desired[desired.application] = desired
            stream.wake.set()

    async def query(
        self,
        region: RegionName,
        application: ApplicationName,
        group: str = "",
        log_lines: int = 0,
        timeout_seconds: float = 5.0,
        *,
        with_gone: bool = False,
    ) -> tuple[HostDetail, ...]:
        """Asks the region's agent for its hosts. Raises RegionUnreachable, BadQuestion."""
        question = HostsOf(application, group, log_lines, with_gone)
        return (await self.ask(region, question, Hosts, timeout_seconds)).hosts

    async def accepted(
        self, region: RegionName, application: ApplicationName, timeout_seconds: float = 5.0
    ) -> DesiredState | None:
        """Asks the region's agent which desired state it has accepted. Raises RegionUnreachable."""
        return (await self.ask(region, AcceptedOf(application), Accepted, timeout_seconds)).state

    async def orphans(self, region: RegionName, timeout_seconds: float = 5.0) -> tuple[HostDetail, ...]:
        """Asks the region's agent for hosts that no desired state wants. Raises RegionUnreachable."""
        return (await self.ask(region, Orphans(), Hosts, timeout_seconds)).hosts

    async def ask(
        self, region: RegionName, question: Question, kind: type[AnswerContent], timeout_seconds: float = 5.0
    ) -> AnswerContent:
        """The agent's answer, which is of this kind. Raises RegionUnreachable (AgentRefused where the agent
        won't), BadQuestion."""
        answer = await self._ask(region, Query(next(self._query_ids), question), timeout_seconds)
        match answer.content:
            case Failure(why):
                raise RegionUnreachable(f"the agent of {region} could not answer: {why}")
            case Refusal(why):
                raise AgentRefused(why)
            case content if isinstance(content, kind):
                return content
            case content:
                text = f"the agent of {region} answered {type(content).__name__} instead of {kind.__name__}"
                raise RegionUnreachable(f"{text}: is it of another version?")

    async def _ask(self, region: RegionName, query: Query, timeout_seconds: float) -> Answer:
        stream = self._streams.get(region)
        if stream is None:
            raise RegionUnreachable(f"the agent of {region} is not connected; is repave-agent running there?")
        if len(stream.questions) >= QUERIES_IN_FLIGHT_MAX:
            raise RegionUnreachable(f"the agent of {region} has too many questions to answer; ask again soon")
        try:
            _encode(query)
        except ValueError as error:
            raise BadQuestion(str(error)) from error
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await stream.ask(query)
        except TimeoutError as error:
            text = f"the agent of {region} did not answer within {timeout_seconds:g} s"
            raise RegionUnreachable(text) from error
        return answer

    async def serve(self, link: Link, certificate: bytes | None = None) -> None:
        """One agent's stream, from its Hello to its end. Never raises but for cancellation. `certificate` is
        the agent's, as TLS has verified it."""
        messages = link.receive()
        try:
            hello = await self._first_message(messages)
            identity, objection = self._identity(hello, certificate)
            objection = objection or self._objection(hello)
            if objection:
                log.warning("agent.rejected", region=hello.region, reason=objection)
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await link.send(wire.encode_from_controller(Rejection(objection)))
            else:
                await self._serve_region(hello, link, messages, identity)
        except (OSError, wire.WireError) as error:
            log.warning("agent.stream_ended", reason=str(error))
        except Exception:  # the root of a stream: a mistake of ours must not end the others
            log.exception("agent.stream_failed")
        finally:
            await link.close()

    def close(self) -> None:
        """Ends every stream; agents go on by themselves and look for the next controller."""
        self._is_closed = True
        for stream in self._streams.values():
            stream.finish("the controller stops")

    # -------------------------------------------------------------------------------------------- opening

    async def _first_message(self, messages: AsyncIterator[bytes]) -> Hello:
        try:
            async with asyncio.timeout(self._hello_deadline_seconds):
                message = wire.decode_from_agent(await anext(messages))
        except TimeoutError as error:
            raise _StreamEnded(f"no Hello within {self._hello_deadline_seconds:g} s") from error
        except StopAsyncIteration as error:
            raise _StreamEnded("it ended without Hello") from error
        if not isinstance(message, Hello):
            raise _StreamEnded(f"its first message is {type(message).__name__}, not Hello")
        return message

    def _identity(self, hello: Hello, certificate: bytes | None) -> tuple[AgentIdentity | None, str]:
        """Whose certificate was shown, and why the agent can't be believed, or ""."""
        if self._gate is None:
            return None, ""
        region: str = hello.region
        try:
            identity = self._gate.recognise(certificate or b"")
        except CertificateError as error:
            objection = f"the agent's certificate is refused: {error}; {_join_again(region)}"
        else:
            if identity.region == hello.region:
                return identity, ""
            region = identity.region
            objection = (
                f"the agent's certificate is of {identity.region}, and the agent says that it is "
                f"{hello.region}: set its region to {identity.region}, or {_join_again(hello.region)}"
            )
        self._deny(region, objection)
        return None, objection

    def _withdrawal(self, identity: AgentIdentity | None) -> str:
        """Why the certificate of an open stream counts no longer, or ""."""
        if self._gate is None or identity is None:
            return ""
        objection = self._gate.objection(identity)
        return f"{objection}; {_join_again(identity.region)}" if objection else ""

    def _deny(self, region: str, why: str) -> None:
        self._denials.pop(region, None)
        self._denials[region] = Denial(region, why, self._clock())
        if len(self._denials) > DENIALS_MAX:
            del self._denials[next(iter(self._denials))]

    def _objection(self, hello: Hello) -> str:
        """Why this agent can't be worked with, or ""."""
        if hello.protocol_version != PROTOCOL_VERSION:
            older = "agent" if hello.protocol_version < PROTOCOL_VERSION else "controller"
            return (
                f"the agent ({hello.agent_version}) speaks protocol {hello.protocol_version}, the controller "
                f"({self._welcome.controller_version}) speaks {PROTOCOL_VERSION}; upgrade the {older}"
            )
        if hello.region not in self._views and len(self._views) >= REGIONS_MAX:
            return f"this controller has {REGIONS_MAX} regions already; that is the limit"
        if self._is_closed:
            return "the controller stops"
        return self._rivalry(hello)

    def _rivalry(self, hello: Hello) -> str:
        """Why another agent of its region stands against this one, or ""."""
        region, now, known = hello.region, self._clock(), self._views.get(hello.region)
        if known is None or "" in (hello.instance, known.hello.instance) or self._withdrawal(known.identity):
            return ""
        if hello.instance == known.hello.instance or now < self._take_overs.pop(region, 0.0):
            return ""
        is_there = known.is_connected or now < known.since + RIVAL_SECONDS
        is_heir = bool(hello.applied) and not known.hello.applied  # it has what the region was sent before
        if is_heir or not is_there:
            return ""
        self._rivals[region] = Rival(hello, now)
        return (
            f"another agent serves {region}, with a state directory of its own: stop one of the two; if this "
            f"one shall replace it: repave regions take-over {region}"
        )

    async def _serve_region(
        self, hello: Hello, link: Link, messages: AsyncIterator[bytes], identity: AgentIdentity | None
    ) -> None:
        stream = self._open(hello, link, identity)
        reason = "the stream was cut"
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(stream))
                tasks.create_task(self._read(stream, messages))
                tasks.create_task(stream.give_up())
                if identity is not None:
                    tasks.create_task(self._expire(stream, identity))
                if hello.beats and self._welcome.beat_seconds > 0:
                    tasks.create_task(self._miss(stream, SILENCES_MAX * self._welcome.beat_seconds))
        except* (OSError, wire.WireError) as group:
            reason = str(group.exceptions[0])
        finally:
            self._drop(stream, reason)

    def _open(self, hello: Hello, link: Link, identity: AgentIdentity | None) -> "_Stream":
        """Makes this the region's stream, with everything that shall be there waiting to be sent."""
        region = hello.region
        before, older = self._views.get(region), self._streams.get(region)
        if older is not None:
            older.finish(f"a newer agent has taken over {region}; is another one running?")
        self._rivals.pop(region, None)
        self._denials.pop(region, None)
        self._listener.greet(hello)
        waiting = {desired.application: desired for desired in self._listener.desired_for(region)}
        stream = self._streams[region] = _Stream(region, link, waiting, self._clock(), identity)
        self._views[region] = KnownRegion(region, True, self._clock(), hello, identity=identity)
        log.info(
            "agent.connected", region=region, agent=hello.agent_version, has_taken_over=older is not None
        )
        self.forget_unused()
        known = set(before.observations.applications) if before is not None else set()
        self._listener.region_changed(region, known | {each.application for each in hello.applied})
        return stream

    def _drop(self, stream: "_Stream", reason: str) -> None:
        stream.fail_questions(reason)
        log.info("agent.disconnected", region=stream.region, reason=reason)
        if self._streams.get(stream.region) is not stream:
            return  # a newer stream has taken over: the view is its own
        del self._streams[stream.region]
        view = self._views[stream.region]
        view.is_connected, view.since = False, self._clock()
        view.troubles, view.is_starting = (), False
        self._listener.region_changed(stream.region, set(view.observations.applications))

    # ------------------------------------------------------------------------------------------------- up

    async def _miss(self, stream: "_Stream", seconds: float) -> None:
        """Ends a stream on which nothing is heard for so long, however slow the link is: the agent is frozen
        or cut off. A controller that was held up itself listens anew: it may have missed what was said."""
        while True:
            due = stream.heard_at + seconds
            await asyncio.sleep(max(0.0, due - self._clock()))
            now = self._clock()
            if now > due + LATE_SECONDS:
                stream.heard_at = now
            elif stream.heard_at + seconds <= now:
                raise _StreamEnded(
                    f"the agent has said nothing for {seconds:g} s: it stands still or is cut off"
                )

    async def _expire(self, stream: "_Stream", identity: AgentIdentity) -> None:
        """A stream would outlive its certificate by itself: TLS looks at it once."""
        while True:
            await asyncio.sleep(identity.expires_at - self._clock())
            if objection := self._withdrawal(identity):  # else the loop's clock ran ahead of ours
                self._deny(stream.region, objection)
                stream.finish(objection)
                return

    async def _read(self, stream: "_Stream", messages: AsyncIterator[bytes]) -> None:
        async for message in messages:
            stream.heard_at = self._clock()
            if self._streams.get(stream.region) is not stream:
                continue  # taken over: what the older agent says counts no more
            self._take(stream, wire.decode_from_agent(message))
        raise _StreamEnded("the agent closed the stream")

    def _take(self, stream: "_Stream", message: FromAgent) -> None:
        match message:
            case Report():
                self._merge(stream, message)
            case Answer():
                stream.take_answer(message)
            case Beat():
                pass
            case Hello():
                raise _StreamEnded("the agent said Hello twice")

    def _merge(self, stream: "_Stream", report: Report) -> None:
        if report.sequence <= stream.reports_until:
            return  # repeated, or overtaken by a newer one
        stream.reports_until = report.sequence
        view = self._views[stream.region]
        observations, told = view.observations, (view.troubles, view.is_starting)
        view.troubles, view.is_starting = report.troubles, report.is_starting
        before = observations.applications if report.is_full else dict(observations.applications)
        is_same = observations.merge(report)
        after = observations.applications
        if len(after) > APPLICATIONS_PER_REGION_MAX:
            raise _StreamEnded(f"it reports more than {APPLICATIONS_PER_REGION_MAX} applications")
        if report.is_full:
            stream.is_resync_asked = False
        if not is_same:
            self._mend(stream, report)
        spoken_of = {each.application for each in report.applications}
        names = spoken_of | before.keys() if report.is_full else spoken_of
        changed = {name for name in names if before.get(name) != after.get(name)}
        if (view.troubles, view.is_starting) != told:
            changed |= after.keys() | {each.application for each in view.hello.applied}
        if changed:
            self._listener.region_changed(stream.region, changed)
        if report.notices:
            self._listener.notices(stream.region, list(report.notices))

    def _mend(self, stream: "_Stream", report: Report) -> None:
        """The digests differ: asks once for everything. A full report that differs can't be mended so."""
        if stream.is_resync_asked:
            return
        log.warning("agent.digest_differs", region=stream.region, is_full=report.is_full)
        if not report.is_full:
            stream.is_resync_asked = stream.is_resync_due = True
            stream.wake.set()

    # ----------------------------------------------------------------------------------------------- down

    async def _write(self, stream: "_Stream") -> None:
        """The only one that writes to the link: two at a time would end a gRPC stream."""
        await stream.send(self._welcome_to(stream.region))
        while not stream.farewell:
            while (message := stream.next_message()) is not None:
                await stream.send(message)
            await stream.wake.wait()
            stream.wake.clear()
        if not self._is_closed:
            await stream.send(Rejection(stream.farewell))
        raise _StreamEnded(stream.farewell)

    def _welcome_to(self, region: RegionName) -> Welcome:
        """Built when it is sent: what begins later is in its desired state, which follows."""
        named = self._listener.applications_in(region)
        if named is not None and len(named) > APPLICATIONS_PER_REGION_MAX:
            named = None
        ticket = self._ticket_of(region) if self._ticket_of is not None else ""
        return replace(self._welcome, applications=named, image_ticket=ticket)


@dataclass(slots=True)
class _Stream:
    """One agent's connection, and what waits to be written to it."""

    region: RegionName
    link: Link
    desired: dict[ApplicationName, DesiredState]  # the newest of each application
    heard_at: float
    identity: AgentIdentity | None = None  # None over plaintext
    queries: deque[Query] = field(default_factory=deque)  # bounded by questions
    questions: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)
    reports_until: int = 0  # the sequence of the newest report taken
    is_resync_due: bool = False
    is_resync_asked: bool = False
    farewell: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def next_message(self) -> FromController | None:
        """Takes out what is written next; asked again before each write, so that it is the newest."""
        if self.farewell:
            return None
        if self.desired:
            return self.desired.pop(next(iter(self.desired)))
        if self.is_resync_due:
            self.is_resync_due = False
            return Resync()
        return self.queries.popleft() if self.queries else None

    async def send(self, message: FromController) -> None:
        """Leaves out what the agent would refuse: it would cost the stream, again and again."""
        try:
            encoded = _encode(message)
        except ValueError as error:
            log.error("agent.message_unsendable", region=self.region, error=str(error))
            return
        await self.link.send(encoded)

    async def ask(self, query: Query) -> Answer:
        """Raises RegionUnreachable when the stream ends before the answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.questions[query.query_id] = future
        self.queries.append(query)
        self.wake.set()
        try:
            return await future
        finally:
            del self.questions[query.query_id]
            if query in self.queries:
                self.queries.remove(query)

    def take_answer(self, answer: Answer) -> None:
        """An answer to a query that has been given up is ignored."""
        future = self.questions.get(answer.query_id)
        if future is not None and not future.done():
            future.set_result(answer)

    def fail_questions(self, reason: str) -> None:
        for future in self.questions.values():
            if not future.done():
                text = f"the agent of {self.region} went away before it answered: {reason}"
                future.set_exception(RegionUnreachable(text))

    def finish(self, farewell: str) -> None:
        """Ends the stream soon; the agent hears why if it still listens."""
        self.farewell = self.farewell or farewell
        self.wake.set()
        self.finished.set()

    async def give_up(self) -> None:
        """Ends a stream that was finished, but whose writer is stuck."""
        await self.finished.wait()
        await asyncio.sleep(GOODBYE_SECONDS)
        raise _StreamEnded(self.farewell)


def _join_again(region: str) -> str:
    return f"let it join again: repave agents join {region}"


def _encode(message: FromController) -> bytes:
    """Encoded, and sure to be accepted. Raises ValueError, which names the field."""
    encoded = wire.encode_from_controller(message)
    wire.decode_from_controller(encoded)
    return encoded


# ------------------------------------------------------------------------------------------------ over gRPC


async def start_server(
    sessions: Sessions,
    address: str,
    setting: str = "grpc.listen",
    shown: Callable[[], Shown] | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Listens for agents on `address` (host:port; without TLS, `shown`, on loopback); returns the server and
    its port.

    Raises InsecureAddressError, ValueError, or OSError when the port is taken. Keep the server referenced.
    """
    server, port = bind(sessions.serve, address, setting, shown)
    await server.start()
    return server, port


async def stop_server(sessions: Sessions, server: grpc.aio.Server) -> None:
    """Says goodbye to all agents and frees the port."""
    sessions.close()
    await server.stop(STOP_SECONDS)
