"""Holds the streams of all agents: what each region observes, and how desired states get there.

One live stream per region; a newer one takes over. Decides nothing: it merges reports into views, tells the
scheduler which applications changed, and sends what is published. Over TLS the certificate says which region
an agent speaks for, and a stream does not outlive it. Runs over any Link; `listening.py` brings gRPC's.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace

import structlog

from repave_controller.core.ports import RegionListener
from repave_controller.fleet.certificates import Certificates, Denial, Gate
from repave_controller.fleet.questions import (
    AnswerContent,
    BadQuestion,
    Questions,
    RegionUnreachable,
    content_of,
)
from repave_controller.fleet.regions import APPLICATIONS_PER_REGION_MAX, KnownRegion, Regions, Rival
from repave_controller.fleet.streams import GOODBYE_SECONDS, Stream, StreamEnded, encoded
from repave_protos.protocol import wire
from repave_protos.protocol.certificates import AgentIdentity
from repave_protos.protocol.channel import Link
from repave_protos.protocol.queries import (
    Accepted,
    AcceptedOf,
    Answer,
    FromAgent,
    Hosts,
    HostsOf,
    Orphans,
    Query,
    Question,
)
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    Beat,
    DesiredState,
    Hello,
    HostDetail,
    RegionName,
    Rejection,
    Report,
    Welcome,
)

HELLO_DEADLINE_SECONDS = 60.0  # of a link as slow as an agent bears
SILENCES_MAX = 3.0
"""An agent that is to say something every second is away when nothing came for so many."""

log = structlog.get_logger()


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
        self._welcome = welcome
        self._clock = clock
        self._ticket_of = ticket_of
        self._hello_deadline_seconds = hello_deadline_seconds
        self._listener: RegionListener
        self._certificates = Certificates(clock)
        self._regions = Regions(clock)
        self._streams: dict[RegionName, Stream] = {}
        self._query_ids = itertools.count(1)
        self._is_closed = False

    def report_to(self, listener: RegionListener) -> None:
        """Before the first stream is served."""
        self._listener = listener

    def guard_with(self, gate: Gate) -> None:
        """Before the first stream is served: without a certificate none is served from now on."""
        self._certificates.guard_with(gate)

    def denials(self) -> list[Denial]:
        """The agents that were refused of late for their certificate, of each region the newest."""
        return self._certificates.denials()

    def recheck(self) -> None:
        """Certificates were withdrawn: the streams of those that count no longer end."""
        for stream in list(self._streams.values()):
            if objection := self._certificates.withdrawal(stream.identity):
                self._certificates.deny(stream.region, objection)
                stream.finish(objection)

    def stream_of(self, region: RegionName) -> AgentIdentity | None:
        """Whose certificate the region's stream was opened with; None: there is no stream, or no TLS."""
        stream = self._streams.get(region)
        return stream.identity if stream is not None else None

    def views(self) -> Mapping[RegionName, KnownRegion]:
        """Every region that ever connected to this controller process, live or not."""
        return self._regions.views

    def questions_waiting(self, region: RegionName) -> int:
        """That the region's agent has yet to answer."""
        stream = self._streams.get(region)
        return len(stream.questions.unanswered) if stream is not None else 0

    def rivals(self) -> Mapping[RegionName, Rival]:
        """The agents that were refused of late because another one is that of their region."""
        return self._regions.rivals()

    def unused(self) -> Collection[RegionName]:
        """The regions that no application is in."""
        return [region for region in self._regions.views if self._listener.applications_in(region) == ()]

    def let_take_over(self, region: RegionName) -> None:
        """The next agent of the region may be another one than before. Raises KeyError: there is none."""
        self._regions.let_take_over(region)

    def forget(self, region: RegionName) -> bool:
        """Whether the region is known no longer; one whose agent is connected stays."""
        return self._regions.forget(region)

    def forget_unused(self) -> None:
        """Regions that were only ever a name: after a while, and the oldest when there are many."""
        self._regions.forget_unused(self.unused())

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
        return content_of(answer, region, kind)

    async def _ask(self, region: RegionName, query: Query, timeout_seconds: float) -> Answer:
        stream = self._streams.get(region)
        if stream is None:
            raise RegionUnreachable(f"the agent of {region} is not connected; is repave-agent running there?")
        if stream.questions.is_full:
            raise RegionUnreachable(f"the agent of {region} has too many questions to answer; ask again soon")
        try:
            encoded(query)
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
            identity, objection = self._certificates.identity(hello, certificate)
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
            raise StreamEnded(f"no Hello within {self._hello_deadline_seconds:g} s") from error
        except StopAsyncIteration as error:
            raise StreamEnded("it ended without Hello") from error
        if not isinstance(message, Hello):
            raise StreamEnded(f"its first message is {type(message).__name__}, not Hello")
        return message

    def _objection(self, hello: Hello) -> str:
        """Why this agent can't be worked with, or ""."""
        if hello.protocol_version != PROTOCOL_VERSION:
            older = "agent" if hello.protocol_version < PROTOCOL_VERSION else "controller"
            return (
                f"the agent ({hello.agent_version}) speaks protocol {hello.protocol_version}, the controller "
                f"({self._welcome.controller_version}) speaks {PROTOCOL_VERSION}; upgrade the {older}"
            )
        if self._is_closed:
            return "the controller stops"
        return self._regions.objection(hello, self._certificates.withdrawal)

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
                    tasks.create_task(stream.miss(SILENCES_MAX * self._welcome.beat_seconds, self._clock))
        except* (OSError, wire.WireError) as group:
            reason = str(group.exceptions[0])
        finally:
            self._drop(stream, reason)

    def _open(self, hello: Hello, link: Link, identity: AgentIdentity | None) -> Stream:
        """Makes this the region's stream, with everything that shall be there waiting to be sent."""
        region = hello.region
        older = self._streams.get(region)
        if older is not None:
            older.finish(f"a newer agent has taken over {region}; is another one running?")
        self._certificates.admit(region)
        self._listener.greet(hello)
        waiting = {desired.application: desired for desired in self._listener.desired_for(region)}
        stream = Stream(region, link, waiting, self._clock(), Questions(region), identity)
        self._streams[region] = stream
        known = self._regions.connect(hello, identity)
        log.info(
            "agent.connected", region=region, agent=hello.agent_version, has_taken_over=older is not None
        )
        self.forget_unused()
        self._listener.region_changed(region, known)
        return stream

    def _drop(self, stream: Stream, reason: str) -> None:
        stream.questions.fail(reason)
        log.info("agent.disconnected", region=stream.region, reason=reason)
        if self._streams.get(stream.region) is not stream:
            return  # a newer stream has taken over: the view is its own
        del self._streams[stream.region]
        self._listener.region_changed(stream.region, self._regions.disconnect(stream.region))

    async def _expire(self, stream: Stream, identity: AgentIdentity) -> None:
        objection = await self._certificates.expiry(identity)
        self._certificates.deny(stream.region, objection)
        stream.finish(objection)

    # ------------------------------------------------------------------------------------------------- up

    async def _read(self, stream: Stream, messages: AsyncIterator[bytes]) -> None:
        async for message in messages:
            stream.heard_at = self._clock()
            if self._streams.get(stream.region) is not stream:
                continue  # taken over: what the older agent says counts no more
            self._take(stream, wire.decode_from_agent(message))
        raise StreamEnded("the agent closed the stream")

    def _take(self, stream: Stream, message: FromAgent) -> None:
        match message:
            case Report():
                self._merge(stream, message)
            case Answer():
                stream.questions.take(message)
            case Beat(sent_at):
                self._regions.views[stream.region].hear_clock(sent_at, self._clock())
            case Hello():
                raise StreamEnded("the agent said Hello twice")

    def _merge(self, stream: Stream, report: Report) -> None:
        if report.sequence <= stream.reports_until:
            return  # repeated, or overtaken by a newer one
        stream.reports_until = report.sequence
        view = self._regions.views[stream.region]
        changed, is_same = view.merge(report)
        if len(view.observations.applications) > APPLICATIONS_PER_REGION_MAX:
            raise StreamEnded(f"it reports more than {APPLICATIONS_PER_REGION_MAX} applications")
        if report.is_full:
            stream.is_resync_asked = False
        if not is_same:
            self._mend(stream, report)
        if changed:
            self._listener.region_changed(stream.region, changed)
        if report.notices:
            self._listener.notices(stream.region, list(report.notices))

    def _mend(self, stream: Stream, report: Report) -> None:
        """The digests differ: asks once for everything. A full report that differs can't be mended so."""
        if stream.is_resync_asked:
            return
        log.warning("agent.digest_differs", region=stream.region, is_full=report.is_full)
        if not report.is_full:
            stream.is_resync_asked = stream.is_resync_due = True
            stream.wake.set()

    # ----------------------------------------------------------------------------------------------- down

    async def _write(self, stream: Stream) -> None:
        """The only one that writes to the link: two at a time would end a gRPC stream."""
        await stream.send(self._welcome_to(stream.region))
        while not stream.farewell:
            while (message := stream.next_message()) is not None:
                await stream.send(message)
            await stream.wake.wait()
            stream.wake.clear()
        if not self._is_closed:
            await stream.send(Rejection(stream.farewell))
        raise StreamEnded(stream.farewell)

    def _welcome_to(self, region: RegionName) -> Welcome:
        """Built when it is sent: what begins later is in its desired state, which follows."""
        named = self._listener.applications_in(region)
        if named is not None and len(named) > APPLICATIONS_PER_REGION_MAX:
            named = None
        ticket = self._ticket_of(region) if self._ticket_of is not None else ""
        return replace(self._welcome, applications=named, image_ticket=ticket)
