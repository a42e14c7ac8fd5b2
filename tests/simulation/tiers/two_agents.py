"""Two agents of one region in virtual time: the real sessions, session, worker, journal and lease. The
network cuts them off, processes freeze and die, and their clocks run fast or slow.

What is checked is the truth: each effect on the region has the term of its agent, and terms only grow. So
from the first effect of one agent on, the other has none until it is given the region anew.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.observation import Limits
from repave_agent.core.ports import (
    BackendView,
    BalancerError,
    BalancerView,
    Frontend,
    Host,
    HostSpec,
    ProviderError,
    Route,
    Structure,
    WayIn,
)
from repave_agent.health.prober import Prober
from repave_agent.runtime.journal import Journal
from repave_agent.runtime.session import Session
from repave_agent.runtime.standing import Standing
from repave_agent.runtime.tenancy import Tenancy
from repave_agent.runtime.worker import Worker
from repave_controller.fleet.holders import Holder
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol.channel import Link
from repave_protos.protocol.queries import Answer, Failure, FindRoom, Query
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    Hello,
    HostName,
    HostTemplate,
    Notice,
    Probe,
    RegionName,
    Welcome,
)
from repave_simulation.kernel.loop import SimulatedLoop
from repave_simulation.kernel.timeline import Life
from tests.fakes.controller.listener import QuietListener

REGION, SHOP, GROUP = RegionName("paris"), ApplicationName("shop"), GroupName("shop-v001")
LATENCY_SECONDS = 0.05
TROUBLE_SECONDS = 1500.0
PEACE_SECONDS = 300.0
PROBE = Probe("command", 8080, command=("true",), interval_seconds=5.0)
TEMPLATE = HostTemplate(("serve",), (), PROBE, 0.0, 60.0, 1.0)
AGENTS = ("one", "two")


@dataclass(frozen=True, slots=True)
class Effect:
    at: float
    agent: str
    term: int
    what: str


@dataclass
class Cloud:
    """What both agents reach: hosts, the balancer, and what was ever done there."""

    hosts: dict[HostName, Host] = field(default_factory=dict)
    structure: Structure = field(default_factory=Structure)
    routes: tuple[Route, ...] = ()
    effects: list[Effect] = field(default_factory=list)
    addresses: int = 0


class Hands:
    """One agent's provider and balancer. Each call of the cloud is checked as the client of a cloud does."""

    name = "cloud"
    traffic_address = "192.0.2.1"

    def __init__(self, world: "TwoAgents", agent: "Agent", check: Callable[[], None]) -> None:
        self._world, self._agent, self._check = world, agent, check

    async def _call(self, what: str) -> None:
        await asyncio.sleep(self._world.chance.uniform(0.05, 3.0))
        self._check()
        agent = self._agent
        self._world.done(Effect(self._world.loop.now, agent.name, agent.worker.term, what))

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        await self._call(f"port of {spec.name}")
        await self._call(f"launch {spec.name}")
        cloud = self._world.cloud
        cloud.addresses += 1
        address = f"192.0.2.{2 + cloud.addresses % 250}"
        now = self._world.loop.now
        host = Host(spec.name, spec.group, spec.application, spec.digest, address, spec.port, now, True)
        cloud.hosts[spec.name] = host
        return host

    async def list_hosts(self) -> list[Host]:
        await asyncio.sleep(0.1)
        return list(self._world.cloud.hosts.values())

    async def destroy(self, host: HostName) -> None:
        await self._call(f"destroy {host}")
        self._world.cloud.hosts.pop(host, None)

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        await asyncio.sleep(0.01)
        return 0 if host in self._world.cloud.hosts else 1

    async def log_tail(self, host: HostName, lines: int) -> str:
        return ""

    async def inspect(self, host: HostName) -> str:
        return ""

    async def room(self, asked: FindRoom) -> str:
        return ""

    def on_change(self, callback: Callable[[], None]) -> None:
        """It does not tell."""

    async def close(self) -> None:
        """Nothing is held."""

    async def start(self) -> None:
        await self._call("start")

    async def arrange(self, structure: Structure) -> None:
        await self._call("arrange")
        self._world.cloud.structure = structure

    async def way_in(self, frontend: Frontend) -> WayIn:
        return WayIn()

    async def route(self, routes: tuple[Route, ...]) -> None:
        await self._call("route")
        self._world.cloud.routes = routes

    async def observe(self) -> BalancerView:
        await asyncio.sleep(0.02)
        cloud = self._world.cloud
        backends = tuple(
            BackendView(each.group, sum(server.host in cloud.hosts for server in each.servers), 0)
            for each in cloud.structure.backends
        )
        return BalancerView(True, cloud.structure, cloud.routes, backends, 0)


class Packages:
    async def fetch(self, digest: Digest) -> Path:
        return Path("package")


class Disk:
    """Implements journal.Disk."""

    name = "journal"

    def __init__(self) -> None:
        self.content: bytes | None = None

    def read(self) -> bytes | None:
        return self.content

    def replace(self, content: bytes, *, durable: bool) -> None:
        self.content = content


class Agent:
    """As repave_agent.__main__ wires it. `rate`: how fast its clock runs."""

    def __init__(self, world: "TwoAgents", name: str, rate: float) -> None:
        self.world, self.name, self.rate = world, name, rate
        self.disk = Disk()
        self.life = Life(name, is_over=True)  # not yet begun
        self.cut_until = 0.0
        self.tenancy: Tenancy
        self.worker: Worker

    def clock(self) -> float:
        return 1000.0 + self.world.loop.now * self.rate

    async def run(self) -> None:
        is_bound = False
        while True:
            self._begin(is_bound=is_bound)
            parts = (self._act(), self.session.run())
            tasks = [asyncio.ensure_future(each) for each in (self.standing.until_it_must_stop(), *parts)]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    if task.done() and self.tenancy.may_act:
                        task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            is_bound = self.tenancy.is_bound

    def _begin(self, *, is_bound: bool) -> None:
        world = self.world
        self.tenancy = world.tenancy(self.clock)
        if is_bound:
            self.tenancy.bind()
        hands = Hands(world, self, self.tenancy.check)
        self.worker = Worker(
            provider=hands,
            balancer=hands,
            packages=Packages(),
            prober=Prober(lambda: world.loop.now, hands.execute),
            journal=Journal(self.disk),
            upwards=self,
            clock=lambda: world.loop.now,
            limits=Limits(),
            tenancy=self.tenancy,
        )
        self.worker.recall()
        self.standing = Standing(self.worker, self.tenancy, waits=True)
        self.session = Session(
            dial=lambda _: world.dial(self),
            hello=self._hello,
            handler=self,
            clock=lambda: world.loop.now,
            sleep=asyncio.sleep,
            chance=world.chance.random,
            tenancy=self.tenancy,
        )

    async def _act(self) -> None:
        await self.standing.until_it_may_act()
        try:
            await self.worker.serve()
            await self.worker.adopt()
        except (ProviderError, BalancerError):
            if self.tenancy.may_act:
                raise
            await asyncio.Event().wait()  # it is told to stop
        await self.worker.run()

    def _hello(self) -> Hello:
        return Hello(
            REGION,
            PROTOCOL_VERSION,
            "0",
            "cloud",
            "cloud",
            capabilities=("take_over",),
            applied=self.worker.applied(),
            instance=self.name,
            leases=True,
            term=self.worker.term,
        )

    async def on_welcome(self, welcome: Welcome) -> None:
        assert self.worker.welcome(welcome)
        self.standing.welcome(welcome)

    async def on_stand_by(self, why: str) -> None:
        self.standing.stand_by(why)

    async def on_desired(self, desired: DesiredState) -> None:
        await self.worker.on_desired(desired)

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        raise AssertionError(why)

    async def on_query(self, query: Query) -> Answer:
        return Answer(query.query_id, Failure("not asked here"))

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None:
        self.session.observed(applications)

    def notice(self, notice: Notice) -> None:
        self.session.notice(notice)


class Controller(QuietListener):
    """One life of it, over a store that outlives it."""

    def __init__(self, world: "TwoAgents") -> None:
        self.world = world
        self.life = Life("controller")
        self.sessions = Sessions(Welcome("0", "store", ""), lambda: world.loop.now * world.controller_rate)
        self.sessions.report_to(self)
        self.sessions.recall(list(world.holders.values()), self._save)

    async def _save(self, holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
        await asyncio.sleep(self.world.chance.uniform(0.0, 0.5))
        self.world.holders[holder.region] = holder

    def desired_for(self, region: RegionName) -> Sequence[DesiredState]:
        return [self.world.desired]


@dataclass(eq=False)
class Pipe:
    """A connection, as one of its ends sees it."""

    world: "TwoAgents"
    agent: Agent
    reader: Life
    inbox: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    peer: "Pipe | None" = None
    is_open: bool = True
    is_over: bool = False
    due: float = 0.0  # when the newest message to this end arrives

    async def send(self, message: bytes) -> None:
        await asyncio.sleep(0)
        if not self.is_open:
            raise ConnectionError("the stream is gone")
        assert self.peer is not None
        wait = max(0.0, self.agent.cut_until - self.world.loop.now)  # TCP brings it when the cut is over
        late = self.world.chance.choice((0.0, 0.0, 0.0, 20.0))
        seconds = wait + LATENCY_SECONDS + self.world.chance.uniform(0.0, late)
        peer = self.peer
        peer_due = max(peer.due, self.world.loop.now + seconds)  # in order
        peer.due = peer_due
        self.world.loop.after(peer_due - self.world.loop.now, partial(peer.arrive, message), peer.reader)

    def arrive(self, message: bytes) -> None:
        if not self.is_over:
            self.inbox.put_nowait(message)

    def end(self) -> None:
        self.is_over = True
        self.inbox.put_nowait(None)

    async def receive(self) -> AsyncIterator[bytes]:
        while (message := await self.inbox.get()) is not None:
            yield message
        raise ConnectionError("the stream was cut")

    async def close(self) -> None:
        """What was sent arrives first."""
        for end in (self, self.peer):
            if end is not None and end.is_open:
                end.is_open = False
                due = max(end.due, self.world.loop.now + LATENCY_SECONDS)
                self.world.loop.after(due - self.world.loop.now, end.end, end.reader)


class TwoAgents:
    """One world. `tenancy` makes an agent's, from its clock; tests break it."""

    def __init__(
        self, seed: int, tenancy: Callable[[Callable[[], float]], Tenancy] = lambda clock: Tenancy(clock)
    ) -> None:
        self.chance = Random(f"{seed}/two-agents")
        self.loop = SimulatedLoop(seed)
        self.tenancy = tenancy
        self.cloud = Cloud()
        self.holders: dict[RegionName, Holder] = {}
        self.controller_rate = self.chance.uniform(0.95, 1.05)
        self.revisions = itertools.count(1)
        self.desired = self._want()
        self.controller = Controller(self)
        self.agents = [Agent(self, name, self.chance.uniform(0.95, 1.05)) for name in AGENTS]
        self.pipes: list[Pipe] = []
        self.broken = ""  # which effect came from an agent that was to have stopped
        self.agent_of: dict[int, str] = {}  # by term
        self.loop.is_stopped = lambda: bool(self.broken)

    def _want(self) -> DesiredState:
        group = DesiredGroup(
            GROUP, Digest("0" * 64), self.chance.randint(1, 4), 10_000, TEMPLATE, is_proven=True
        )
        return DesiredState(SHOP, Epoch(1, 1, next(self.revisions)), 8000, (group,))

    async def dial(self, agent: Agent) -> Link:
        await asyncio.sleep(LATENCY_SECONDS)
        controller = self.controller
        if controller.life.is_over or agent.cut_until > self.loop.now:
            await asyncio.sleep(2.0)
            raise ConnectionError("no answer")
        lower, upper = Pipe(self, agent, agent.life), Pipe(self, agent, controller.life)
        lower.peer, upper.peer = upper, lower
        self.pipes.append(lower)
        self.loop.spawn(controller.life, _served(controller.sessions, upper), "stream")
        return lower

    # ---------------------------------------------------------------------------------------- the run

    def run(self) -> None:
        for agent, at in zip(self.agents, (0.0, self.chance.choice((0.0, 5.0, 100.0))), strict=True):
            self.loop.after(at, partial(self._start, agent))
        self._go_on()
        self._strike()
        self.loop.run(TROUBLE_SECONDS)
        for agent in self.agents:
            agent.cut_until = 0.0
        self.loop.run(TROUBLE_SECONDS + PEACE_SECONDS)
        self.loop.end()
        assert not self.loop.failures, self.loop.failures

    def _start(self, agent: Agent) -> None:
        agent.life = Life(agent.name)
        self._spawn(agent.life, agent.run(), agent.name)

    def _spawn(self, life: Life, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self.loop.spawn(life, coroutine, name)

    def _go_on(self) -> None:
        """What people want changes, and hosts die."""
        self.desired = self._want()
        if not self.controller.life.is_over:
            self.controller.sessions.publish(REGION, self.desired)
        if self.cloud.hosts and self.chance.random() < 0.1 and self.loop.now < TROUBLE_SECONDS:
            name = self.chance.choice(sorted(self.cloud.hosts))
            self.cloud.hosts[name] = replace(self.cloud.hosts[name], is_running=False, ended="it died")
        self.loop.after(self.chance.uniform(5.0, 30.0), self._go_on)

    def _strike(self) -> None:
        if self.loop.now >= TROUBLE_SECONDS - 50.0:
            return
        agent, seconds = self.chance.choice(self.agents), self.chance.choice((3.0, 30.0, 70.0, 200.0))
        match self.chance.choice(("cut", "cut", "break", "freeze", "kill", "controller", "nothing")):
            case "cut":
                agent.cut_until = self.loop.now + seconds
            case "break":
                agent.cut_until = self.loop.now + seconds
                self._break(agent)
            case "freeze" if not (agent.life.is_frozen or agent.life.is_over):
                agent.life.is_frozen = True
                self.loop.after(seconds, partial(self.loop.thaw, agent.life))
            case "kill" if not agent.life.is_over:
                agent.life.is_over = True
                self._break(agent)
                self.loop.after(seconds, partial(self._start, agent))
            case "controller" if not self.controller.life.is_over:
                self.controller.life.is_over = True
                for each in self.agents:
                    self._break(each)
                self.loop.after(seconds, self._new_controller)
        self.loop.after(self.chance.uniform(5.0, 90.0), self._strike)

    def _new_controller(self) -> None:
        self.controller = Controller(self)

    def _break(self, agent: Agent) -> None:
        """Both ends hear of it."""
        for pipe in self.pipes:
            if pipe.agent is agent and pipe.peer is not None:
                for end in (pipe, pipe.peer):
                    end.is_open = False
                    self.loop.after(LATENCY_SECONDS, end.end, end.reader)
        self.pipes = [pipe for pipe in self.pipes if pipe.is_open]

    # --------------------------------------------------------------------------------------- the truth

    def done(self, effect: Effect) -> None:
        """Something was done to the region."""
        self.cloud.effects.append(effect)
        newest = max(self.agent_of, default=0)
        if not self.broken and effect.term < newest:
            self.broken = f"{effect} after an effect of term {newest} of {self.agent_of[newest]}"
        if not self.broken and self.agent_of.setdefault(effect.term, effect.agent) != effect.agent:
            self.broken = f"{effect} in the term of {self.agent_of[effect.term]}"


async def _served(sessions: Sessions, link: Link) -> None:
    await sessions.serve(link)
