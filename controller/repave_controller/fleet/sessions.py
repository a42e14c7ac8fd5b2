"""Holds the streams of all agents: what each region observes, and how desired states get there.

One live stream per region, of the agent that has it (holders.py). Decides nothing: it merges reports into
views, tells the scheduler which applications changed, and sends what is published. Over TLS the certificate
says which region an agent speaks for, and a stream does not outlive it. Runs over any Link; `listening.py`
brings gRPC's.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from repave_controller.core.ports import RegionListener, StoreError
from repave_controller.fleet import afar
from repave_controller.fleet.afar import Afar
from repave_controller.fleet.certificates import Certificates, Denial, Gate
from repave_controller.fleet.elsewhere import Elsewhere, IsLive, Surroundings
from repave_controller.fleet.holders import Holder, Holders, Kept, Known, known_of
from repave_controller.fleet.questions import (
    AnswerContent,
    BadQuestion,
    Questions,
    RegionUnreachable,
    content_of,
)
from repave_controller.fleet.regions import (
    APPLICATIONS_PER_REGION_MAX,
    REGIONS_MAX,
    KnownRegion,
    Regions,
    Rival,
)
from repave_controller.fleet.streams import GOODBYE_SECONDS, Stream, StreamEnded, TraceOf, encoded
from repave_controller.peers.reports import Standing
from repave_protos.daemon.causes import cause
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
    AskLease,
    Beat,
    DesiredState,
    Hello,
    HostDetail,
    Lease,
    RegionName,
    Rejection,
    Report,
    Welcome,
)

HELLO_DEADLINE_SECONDS = 60.0  # of a link as slow as an agent bears
CUT_OFF = "this controller can't reach its store; another one may"
BEATS_A_SECOND_MAX = 1_000
"""Agents of a larger fleet beat less often, over all controllers: a beat takes 60 us of CPU where many come
together, and 300 us where each wakes the process (3,000 agents of three controllers)."""
BEATS_GROWTH_MAX = 1.5
"""An agent is told anew once it beats so many times as often as one that comes now."""
RETURN_SECONDS_EACH, RETURN_SECONDS_MIN, RETURN_SECONDS_MAX = 0.002, 0.1, 5.0
"""Agents that lose this controller spread their first attempt over so long for each of them: a connection
over TLS takes some 2 ms of CPU here, and many at once memory too."""
ADMITTED_AT_ONCE_MAX = 100
"""Agents whose Hello waits for the store."""
FORGET_EVERY_SECONDS = 1.0
"""So often it is looked for regions that can be forgotten, however many agents connect."""


class Save(Protocol):
    """Keeps who has a region."""

    async def __call__(self, holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
        """And that those that are `gone` have no agent. `is_other`: another agent had the region before.
        Raises StoreError; then nothing has changed."""


class Tell(Protocol):
    """Tells other controllers of the regions whose agents are connected here."""

    async def next_session(self) -> int:
        """Above all that any controller was given. Raises StoreError."""

    def tell(self, region: RegionName, applications: Collection[ApplicationName]) -> None:
        """These applications of the region have changed, or the region itself."""

    def forget(self, region: RegionName, session: int) -> None:
        """No controller shall know the region any longer."""


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
        self._holders = Holders(clock)
        self._save: Save | None = None
        self._others: Tell | None = None
        self._may_lend: Callable[[], bool] = lambda: True
        self._afar: Afar | None = None
        self._deciding: set[RegionName] = set()
        self._admission = asyncio.Semaphore(ADMITTED_AT_ONCE_MAX)
        self._streams: dict[RegionName, Stream] = {}
        self._query_ids = itertools.count(1)
        self._looked_for_unused_at = 0.0
        self._is_closed = False
        self._is_cut_off = False
        self.traces: TraceOf | None = None  # before the first stream is served

    def report_to(self, listener: RegionListener) -> None:
        """Before the first stream is served."""
        self._listener = listener

    def elsewhere(self, is_live: IsLive) -> Elsewhere:
        """Where what other controllers tell of their regions is heard."""
        around = Surroundings(
            self._regions, lambda: self._listener, self._clock, self._end, self._holders.lent_elsewhere
        )
        return Elsewhere(around, is_live)

    def share_with(self, tell: Tell, may_lend: Callable[[], bool], far: Afar | None = None) -> None:
        """Before the first stream is served: other controllers have the store too. `may_lend`: they take this
        one to be there; once they don't, they count down the leases that it lent. `far`: the way to agents
        that are connected to them."""
        self._others, self._may_lend, self._afar = tell, may_lend, far

    def hear_holder(self, region: RegionName, holder: Holder | None) -> None:
        """Which agent has the region, as another controller has saved."""
        self._holders.hear(region, holder)

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

    def recall(self, holders: Iterable[Holder], save: Save) -> None:
        """Before the first stream is served: who had which region, and how that is kept from now on. Else the
        next controller process does not know."""
        self._holders.load(holders)
        self._save = save

    def is_bound(self, region: RegionName) -> bool:
        """Whether the region's agent acts by lease, as one with a stand-by does."""
        holder = self._holders.of(region)
        return holder is not None and holder.is_bound

    def unused(self) -> Collection[RegionName]:
        """The regions that no application is in."""
        return [region for region in self._regions.views if self._listener.applications_in(region) == ()]

    def let_take_over(self, region: RegionName) -> None:
        """The next agent of the region may be another one than before. Raises KeyError: there is none."""
        if region not in self._regions.views and self._holders.of(region) is None:
            raise KeyError(region)
        self._holders.force(region)

    async def tell_take_over(self, region: RegionName) -> None:
        """It may ask another controller, too. Raises StoreError."""
        yielding = self._holders.yielding(region)
        if self._others is not None and yielding is not None:
            await self._take(yielding)

    def may_act_seconds(self, region: RegionName) -> float | None:
        """For how long the region's agent may act though it hears nothing; None: without end."""
        self._note_lent(region)
        return self._holders.may_act_seconds(region)

    def forget(self, region: RegionName) -> bool:
        """Whether the region is known no longer; one whose agent is connected stays."""
        view = self._regions.views.get(region)
        is_forgotten = self._regions.forget(region)
        if is_forgotten:
            self._forgotten(region, view)
        return is_forgotten

    def _forgotten(self, region: RegionName, view: KnownRegion | None) -> None:
        self._holders.forget(region)
        if self._others is not None and view is not None:
            self._others.forget(region, view.session)

    def forget_unused(self) -> None:
        """Regions that were only ever a name: after a while, and the oldest when there are many."""
        self._looked_for_unused_at = self._clock()
        away = (name for name, view in self._regions.views.items() if not view.is_connected)
        unused = [name for name in away if self._listener.applications_in(name) == ()]
        for view in self._regions.forget_unused(unused):
            self._forgotten(view.region, view)

    def _forget_unused_at_times(self) -> None:
        """Not at each Hello: a fleet that returns would be looked through once for each of its agents."""
        since = self._looked_for_unused_at
        if not since <= self._clock() < since + FORGET_EVERY_SECONDS:  # also when the clock was set back
            self.forget_unused()

    def publish(self, region: RegionName, desired: DesiredState) -> None:
        """Sends it to the region soon; a newer one of the same application replaces it while it waits.

        A region that is not connected gets it from `desired_for` when it returns.
        """
        stream = self._streams.get(region)
        if stream is None:
            return
        view = self._regions.views[region]
        before = view.troubles
        is_admitted = view.admits(desired)
        if view.troubles != before:
            self._told(region)
        if not is_admitted:
            stream.desired.pop(desired.application, None)
            return
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
        host: str = "",
        probes: int = 0,
    ) -> tuple[HostDetail, ...]:
        """Asks the region's agent for its hosts, or for one; an older agent tells of all. Raises
        RegionUnreachable, BadQuestion."""
        question = HostsOf(application, group, log_lines, with_gone, host, probes)
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
        answer = await self._ask(region, Query(next(self._query_ids), question, cause()), timeout_seconds)
        return content_of(answer, region, kind)

    async def ask_all(
        self,
        questions: Mapping[RegionName, Question],
        kind: type[AnswerContent],
        timeout_seconds: float = 5.0,
    ) -> dict[RegionName, AnswerContent | RegionUnreachable]:
        """The same of many regions at once: the answers, or why there is none. Equal questions are one, which
        is encoded once. Raises BadQuestion."""
        queries = {
            question: Query(next(self._query_ids), question, cause())
            for question in dict.fromkeys(questions.values())
        }

        async def ask(region: RegionName, query: Query) -> AnswerContent | RegionUnreachable:
            try:
                return content_of(await self._ask(region, query, timeout_seconds), region, kind)
            except RegionUnreachable as unreachable:
                return unreachable

        asked = ((region, queries[question]) for region, question in questions.items())
        found = await asyncio.gather(*(ask(*each) for each in asked))
        return dict(zip(questions, found, strict=True))

    async def _ask(self, region: RegionName, query: Query, timeout_seconds: float) -> Answer:
        view = self._regions.views.get(region)
        home = view.home if view is not None and view.is_connected else None
        if home is None or self._afar is None or region in self._streams:
            return await self._ask_here(region, query, timeout_seconds)
        _check(query)
        return await self._afar.ask(home.controller, region, query, timeout_seconds)

    async def answer(self, letter: bytes) -> bytes:
        """What another controller asks an agent that is connected here."""

        async def ask(region: RegionName, query: Query, timeout_seconds: float) -> Answer:
            own = replace(query, query_id=next(self._query_ids))
            return await self._ask_here(region, own, timeout_seconds)

        return await afar.answer(letter, ask)

    async def hear_stand_by(self, letter: bytes) -> bytes:
        """Another controller has heard a stand-by of a region whose agent is connected here."""
        self._bind(RegionName(letter.decode()))
        return b""

    async def _ask_here(self, region: RegionName, query: Query, timeout_seconds: float) -> Answer:
        stream = self._streams.get(region)
        if stream is None:
            raise RegionUnreachable(f"the agent of {region} is not connected; is repave-agent running there?")
        if stream.questions.is_full:
            raise RegionUnreachable(f"the agent of {region} has too many questions to answer; ask again soon")
        _check(query)
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
            entered = Rejection(objection) if objection else await self._admitted(hello, identity)
            if isinstance(entered, Rejection):
                log.warning("agent.rejected", region=hello.region, reason=entered.reason)
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await link.send(wire.encode_from_controller(entered))
            else:
                await self._serve_region(hello, link, messages, identity, entered)
        except (OSError, wire.WireError) as error:
            log.warning("agent.stream_ended", reason=str(error))
        except Exception:  # the root of a stream: a mistake of ours must not end the others
            log.exception("agent.stream_failed")
        finally:
            await link.close()

    async def _admitted(self, hello: Hello, identity: AgentIdentity | None) -> Rejection | int:
        """One of a few at a time: of a fleet that returns the first are served before the last are let in."""
        async with self._admission:
            return await self._enter(hello, identity)

    def cut_off(self, *, is_so: bool) -> None:
        """This controller can't reach the store it shares: its agents are to go to another one, which may."""
        if is_so and not self._is_cut_off:
            log.warning("agents.sent_away", text=CUT_OFF, count=len(self._streams))
            for stream in self._streams.values():
                stream.finish(CUT_OFF)
        self._is_cut_off = is_so

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
        if self._is_cut_off:
            return CUT_OFF
        if self._regions.is_one_too_many(hello.region):
            return f"this controller has {REGIONS_MAX} regions already; that is the limit"
        return ""

    async def _enter(self, hello: Hello, identity: AgentIdentity | None) -> Rejection | int:
        """The number of the agent's session; 0 where no other controller has the store."""
        try:
            await self._listener.before_greeting()
            rejection = await self._admit(hello, identity)
            if rejection is not None or self._others is None:
                return rejection or 0
            session = await self._others.next_session()
        except StoreError as error:
            return Rejection(f"what other controllers have decided can't be read: {error}")
        view = self._regions.views.get(hello.region)
        if view is not None and view.session > session:
            return Rejection(f"a newer stream of {hello.region} has been opened meanwhile; ask again")
        return session

    async def _admit(self, hello: Hello, identity: AgentIdentity | None) -> Rejection | None:
        """None: the agent has the region, and that is saved."""
        region = hello.region
        if objection := self._objection(hello):
            return Rejection(objection)
        if region in self._deciding:
            return Rejection(f"another agent of {region} is let in just now; ask again")
        self._note_lent(region)
        claim = self._holders.claim(hello, self._known(region), identity.agent if identity else "")
        if isinstance(claim, Kept):
            self._regions.refuse(Rival(hello, self._clock(), claim.why, claim.can_follow, identity))
            if claim.can_follow:
                await self._tell_stand_by(region)
            return Rejection(claim.why, stands_by=True)
        if claim.holder is None or claim.holder == self._holders.of(region):
            return None
        self._deciding.add(region)
        try:
            await self._take(claim.holder)
        except StoreError as error:
            return Rejection(f"that this agent has {region} can't be written down: {error}")
        finally:
            self._deciding.discard(region)
        return None

    def _note_lent(self, region: RegionName) -> None:
        """The controller that the region's agent is connected to may have lent to it just now."""
        view = self._regions.views.get(region)
        if view is not None and view.home is not None and view.is_connected:
            self._holders.lent_elsewhere(region)

    def _known(self, region: RegionName) -> Known:
        """Of the agent that has the region."""
        view, holder = self._regions.views.get(region), self._holders.of(region)
        identity = view.identity if view is not None else None
        objection = self._certificates.withdrawal(identity)
        if view is None and holder is not None:  # of an earlier life of this controller
            objection = self._certificates.revocation(region, holder.agent)
        hello, is_connected = (view.hello, view.is_connected) if view is not None else (None, False)
        return known_of(
            hello, is_connected=is_connected, identity=identity, objection=objection, now=self._clock()
        )

    async def _take(self, holder: Holder) -> None:
        """Raises StoreError."""
        former = self._holders.of(holder.region)
        is_other = former is not None and former.instance != holder.instance
        if self._save is not None:
            gone = tuple(self._holders.forgotten - {holder.region})
            await self._save(holder, gone, is_other=is_other)
            self._holders.forgotten.difference_update(gone)
        self._holders.take(holder)
        if is_other:
            log.warning("agent.took_over", region=holder.region, instance=holder.instance, term=holder.term)

    async def _tell_stand_by(self, region: RegionName) -> None:
        """To the controller that the region's agent is connected to."""
        view = self._regions.views.get(region)
        if view is None or view.home is None or self._afar is None:
            self._bind(region)
        elif view.is_connected:
            try:
                await self._afar.tell_stand_by(view.home.controller, region)
            except (StoreError, TimeoutError) as error:  # the stand-by asks again
                log.warning("agent.stand_by_not_told", region=region, why=str(error))

    def _bind(self, region: RegionName) -> None:
        """A stand-by was heard: the region's agent is told that it needs leases, if it does not know."""
        stream = self._streams.get(region)
        if self._holders.follow(region) and stream is not None and stream.hello.leases:
            stream.is_welcome_due = True
            stream.wake.set()

    async def _serve_region(
        self,
        hello: Hello,
        link: Link,
        messages: AsyncIterator[bytes],
        identity: AgentIdentity | None,
        session: int,
    ) -> None:
        stream = self._open(hello, link, identity, session)
        reason = "the stream was cut"
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(stream))
                tasks.create_task(self._read(stream, messages))
                tasks.create_task(stream.give_up())
                if identity is not None:
                    tasks.create_task(self._expire(stream, identity))
                if hello.beats and stream.beat_seconds > 0:
                    tasks.create_task(stream.miss(self._clock))
        except* (OSError, wire.WireError) as group:
            reason = str(group.exceptions[0])
        finally:
            self._drop(stream, reason)

    def _open(self, hello: Hello, link: Link, identity: AgentIdentity | None, session: int) -> Stream:
        """Makes this the region's stream, with everything that shall be there waiting to be sent."""
        region = hello.region
        older = self._streams.get(region)
        if older is not None:
            is_other = older.hello.instance != hello.instance
            text = f"a newer agent has taken over {region}; is another one running?"
            older.finish(text, is_followed=is_other)
        self._certificates.admit(region)
        self._listener.greet(hello)
        known = self._regions.connect(hello, identity, session)
        view = self._regions.views[region]
        wanted = filter(view.admits, self._listener.desired_for(region))
        waiting = {desired.application: desired for desired in wanted}
        stream = Stream(hello, link, waiting, self._clock(), Questions(region), identity, traces=self.traces)
        stream.beat_seconds = self._beat_seconds()
        self._streams[region] = stream
        log.info(
            "agent.connected", region=region, agent=hello.agent_version, has_taken_over=older is not None
        )
        self._forget_unused_at_times()
        self._told(region, known)
        self._listener.region_changed(region, known)
        return stream

    def _told(self, region: RegionName, applications: Collection[ApplicationName] = ()) -> None:
        if self._others is not None:
            self._others.tell(region, applications)

    def _end(self, region: RegionName, newer: Standing) -> None:
        """The region's agent, or another one that has it now, is connected to another controller."""
        stream = self._streams.pop(region, None)
        if stream is not None:
            text = f"a newer stream of {region} is open at controller {newer.controller}"
            stream.finish(text, is_followed=newer.hello.instance != stream.hello.instance)

    def _drop(self, stream: Stream, reason: str) -> None:
        stream.questions.fail(reason)
        log.info("agent.disconnected", region=stream.region, reason=reason)
        if self._streams.get(stream.region) is not stream:
            return  # a newer stream has taken over: the view is its own
        del self._streams[stream.region]
        known = self._regions.disconnect(stream.region)
        self._told(stream.region)
        self._listener.region_changed(stream.region, known)

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
            message_read = wire.decode_from_agent(message)
            if isinstance(message_read, AskLease):
                await self._lend(stream, message_read)
            else:
                self._hear(stream, message_read)
        raise StreamEnded("the agent closed the stream")

    async def _lend(self, stream: Stream, asked: AskLease) -> None:
        """The agent acts by lease from now on: the first time that is saved before it counts. Once there has
        been no stand-by for long, it is told that it needs none."""
        region, holder = stream.region, self._holders.of(stream.region)
        if holder is None or holder.instance != stream.hello.instance or region in self._deciding:
            return
        if not self._may_lend():
            return  # it asks again
        is_alone = self._holders.is_alone(region)
        if holder.is_bound == is_alone:
            self._deciding.add(region)
            try:
                await self._take(replace(holder, is_bound=not is_alone))
            except StoreError as error:
                log.error("agent.lease_not_saved", region=region, why=str(error))
                return
            finally:
                self._deciding.discard(region)
        if is_alone:
            self._holders.release(region)
            stream.is_welcome_due = True
        else:
            stream.lease = Lease(asked.number, self._holders.lend(region), holder.term)
        stream.wake.set()

    def _hear(self, stream: Stream, message: FromAgent) -> None:
        match message:
            case Report():
                self._merge(stream, message)
            case Answer():
                stream.questions.take(message)
            case Beat(sent_at):
                self._hear_clock(self._regions.views[stream.region], sent_at)
                self._slow_down(stream)
            case AskLease():
                raise AssertionError("leases are given where it may take a while")
            case Hello():
                raise StreamEnded("the agent said Hello twice")

    def _slow_down(self, stream: Stream) -> None:
        """The fleet has grown since its agent was told how often to beat."""
        seconds = self._beat_seconds()
        if seconds > BEATS_GROWTH_MAX * stream.beat_seconds > 0:
            stream.beat_seconds, stream.is_welcome_due = seconds, True
            stream.wake.set()

    def _hear_clock(self, view: KnownRegion, sent_at: float) -> None:
        before = view.told_offset_seconds
        view.hear_clock(sent_at, self._clock())
        if view.told_offset_seconds != before:
            self._told(view.region)

    def _merge(self, stream: Stream, report: Report) -> None:
        if report.sequence <= stream.reports_until:
            return  # repeated, or overtaken by a newer one
        stream.reports_until = report.sequence
        view = self._regions.views[stream.region]
        view.reported_at = self._clock()
        changed, is_same = view.merge(report)
        if len(view.observations.applications) > APPLICATIONS_PER_REGION_MAX:
            raise StreamEnded(f"it reports more than {APPLICATIONS_PER_REGION_MAX} applications")
        if report.is_full:
            stream.is_resync_asked = False
        if not is_same:
            self._mend(stream, report)
        if changed:
            self._told(stream.region, changed)
            self._listener.region_changed(stream.region, changed)
        if report.notices:
            self._listener.notices(stream.region, list(report.notices))

    def _mend(self, stream: Stream, report: Report) -> None:
        """The digests differ: asks once for everything. A full report that differs can't be mended so."""
        if stream.is_resync_asked or stream.counts_otherwise:
            return
        log.warning("agent.digest_differs", region=stream.region, is_full=report.is_full)
        stream.counts_otherwise = report.is_full  # its version knows more than this one, or less
        if not report.is_full:
            stream.is_resync_asked = stream.is_resync_due = True
            stream.wake.set()

    # ----------------------------------------------------------------------------------------------- down

    async def _write(self, stream: Stream) -> None:
        """The only one that writes to the link: two at a time would end a gRPC stream."""
        stream.is_welcome_due = True
        while not stream.farewell:
            if stream.is_welcome_due:
                stream.is_welcome_due = False
                await stream.send(self._welcome_to(stream))
            while (message := stream.next_message()) is not None:
                await stream.send(message)
            await stream.wake.wait()
            stream.wake.clear()
        if not self._is_closed:
            await stream.send(Rejection(stream.farewell, stands_by=stream.is_followed))
        raise StreamEnded(stream.farewell)

    def _welcome_to(self, stream: Stream) -> Welcome:
        """Built when it is sent: what begins later is in its desired state, which follows. An agent that has
        a certificate needs no ticket, and once it is revoked shall have none left."""
        region, holder = stream.region, self._holders.of(stream.region)
        named = self._listener.applications_in(region)
        if named is not None and len(named) > APPLICATIONS_PER_REGION_MAX:
            named = None
        is_asked = self._ticket_of is not None and stream.identity is None
        ticket = self._ticket_of(region) if self._ticket_of is not None and is_asked else ""
        lease_seconds = self._holders.lease_seconds(stream.hello)
        if lease_seconds and not self._may_lend():
            raise StreamEnded("this controller can't lend now: the others may take it to be gone")
        return replace(
            self._welcome,
            applications=named,
            image_ticket=ticket,
            lease_seconds=lease_seconds,
            term=holder.term if holder is not None else 0,
            beat_seconds=stream.beat_seconds,
            return_seconds=self._return_seconds(),
        )

    @property
    def _fleet(self) -> int:
        """How many agents there are, those that have yet to come back among them."""
        return max(len(self._regions.views), len(self._holders))

    def _beat_seconds(self) -> float:
        """Of a stream that opens now. 0: it need not."""
        asked = self._welcome.beat_seconds
        return max(asked, self._fleet / BEATS_A_SECOND_MAX) if asked > 0 else 0.0

    def _return_seconds(self) -> float:
        """0 where agents by themselves come back over no less."""
        seconds = min(RETURN_SECONDS_MAX, RETURN_SECONDS_EACH * self._fleet)
        return seconds if seconds > RETURN_SECONDS_MIN else 0.0


def _check(query: Query) -> None:
    """Raises BadQuestion."""
    try:
        encoded(query)
    except ValueError as error:
        raise BadQuestion(str(error)) from error
