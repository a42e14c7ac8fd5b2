"""The whole controller but its process: the real API, scheduler, SQLite store, packages and sessions on an
ephemeral port, with agents that obey at the other end of links in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from repave_controller.api.app import make_app
from repave_controller.api.resources.agents import Agents
from repave_controller.api.web.server import serve
from repave_controller.core.ports import Store
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import Sessions
from repave_controller.metrics.metrics import Metrics
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.authority import Authority, OwnAuthority
from repave_controller.security.enrolment import Enrolment
from repave_controller.serving.analyses import analyses_of, scaling_of, sources_for
from repave_controller.serving.hooks import gitops_of, hooks_of, promotions_of
from repave_controller.serving.notices import outbox_of
from repave_controller.settings import ControllerSettings
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.daemon.metrics import new_registry
from repave_protos.protocol import wire
from repave_protos.protocol.capabilities import BalancerAbilities, ProviderAbilities, capability_words
from repave_protos.protocol.queries import (
    Accepted,
    AcceptedOf,
    Answer,
    Bake,
    BakedImage,
    BakeOrder,
    Bakes,
    Content,
    Done,
    FindRoom,
    FindWayIn,
    FromAgent,
    Hosts,
    HostsOf,
    ListBakes,
    ListMachines,
    Machine,
    Machines,
    Orphans,
    Query,
    Question,
    Room,
    WayIn,
)
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationReport,
    Applied,
    DesiredState,
    Digest,
    GroupReport,
    Hello,
    HostDetail,
    HostName,
    HostPhase,
    Notice,
    Observations,
    RegionName,
    Report,
    Resync,
    Welcome,
)
from tests.fakes.controller.described import Described

MACHINE = Machine("m1", "10.0.0.1", "fresh", "", 60.0, "")
IMAGE = BakedImage("i1", "shop-1", Digest("d" * 64), "b1", "", 60.0, is_current=True)
BAKE = Bake(Digest("d" * 64), "shop-1", "the server boots", 60.0)


class ObedientAgent:
    """A link that reports at once whatever it is asked to be, and answers questions with one host a group.
    A question to its provider gets what `tells` has for its type, else `Done`; every question what
    `answers_all` has, if that is set. `applied`: what it accepted before this controller began."""

    def __init__(self, region: str, *applied: Applied, instance: str = "") -> None:
        self.region = RegionName(region)
        self.answers_all: Callable[[Query], bytes | None] | None = None
        self._incoming: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._observations = Observations()
        self._desired: dict[str, DesiredState] = {}
        self._is_held = False
        self._reports_sent = 0
        bakes = Bakes((IMAGE,), (BAKE,))
        self.tells: dict[type[Question], Content] = {
            ListMachines: Machines((MACHINE,)),
            ListBakes: bakes,
            BakeOrder: bakes,
            FindRoom: Room(""),
            FindWayIn: WayIn(),
        }
        self._say(
            Hello(
                self.region,
                PROTOCOL_VERSION,
                "0.1.0",
                "local",
                "haproxy",
                capability_words(ProviderAbilities(), BalancerAbilities()),
                applied,
                traffic_address="127.0.9.1",
                instance=instance,
            )
        )

    def _say(self, message: FromAgent) -> None:
        self._incoming.put_nowait(wire.encode_from_agent(message))

    def say_raw(self, message: bytes) -> None:
        self._incoming.put_nowait(message)

    def hold(self) -> None:
        """From now on it does nothing of what it is asked."""
        self._is_held = True

    def let_go(self) -> None:
        self._is_held = False
        for state in self._desired.values():
            self._obey(state)

    def cut(self, _: Query) -> None:
        """Its stream ends at a question."""
        self.leave()

    def leave(self) -> None:
        self._incoming.put_nowait(None)

    async def receive(self) -> AsyncIterator[bytes]:
        while (message := await self._incoming.get()) is not None:
            yield message

    async def close(self) -> None:
        pass

    async def send(self, message: bytes) -> None:
        match wire.decode_from_controller(message):
            case DesiredState() as state:
                self._obey(state)
            case Query() as query if self.answers_all is not None:
                answer = self.answers_all(query)
                if answer is not None:
                    self.say_raw(answer)
            case Query(query_id, AcceptedOf(name)):
                self._say(Answer(query_id, Accepted(self._desired.get(name))))
            case Query(query_id, HostsOf() | Orphans()):
                hosts = [self._host(state) for state in self._desired.values() if state.groups]
                self._say(Answer(query_id, Hosts(tuple(hosts))))
            case Query(query_id, question):
                self._say(Answer(query_id, self.tells.get(type(question), Done("it is done"))))
            case Welcome() | Resync():
                self._report(is_full=True)

    def _obey(self, state: DesiredState) -> None:
        self._desired[state.application] = state
        if self._is_held:
            return
        groups = tuple(
            GroupReport(each.name, verified=each.count, balancer_up=each.count, weight_bp=each.weight_bp)
            for each in state.groups
        )
        report = ApplicationReport(state.application, state.epoch, groups)
        self._observations.applications[state.application] = report
        self._report(report, notices=(Notice("host.launched", "a host", state.application),))

    def _report(
        self, *reports: ApplicationReport, is_full: bool = False, notices: tuple[Notice, ...] = ()
    ) -> None:
        told = tuple(self._observations.applications.values()) if is_full else reports
        self._reports_sent += 1
        self._say(Report(self._reports_sent, is_full, told, self._observations.digest(), notices))

    def _host(self, state: DesiredState) -> HostDetail:
        group = state.groups[-1]
        return HostDetail(
            HostName(f"{group.name}-1"),
            group.name,
            state.application,
            HostPhase.VERIFIED,
            "127.80.0.1",
            8080,
            group.digest,
            2.0,
            1.0,
        )


@dataclass
class RealController:
    """What a test holds."""

    client: aiohttp.ClientSession
    stop: Callable[[], Awaitable[None]]
    sessions: Sessions
    scheduler: Scheduler
    enrolment: Enrolment
    agents: dict[str, ObedientAgent]
    scheduling: asyncio.Task[None]
    metrics: Metrics


async def _enrolment(directory: Path, store: Store, scheduler: Scheduler) -> Enrolment:
    """The agents of this rig show no certificates."""
    clock = scheduler.clock
    source = OwnAuthority(directory, "store-1", clock())
    authority = Authority(source, "store-1", (), clock, directory)
    return Enrolment(authority, store, clock, lambda _: None, lambda: None)


@asynccontextmanager
async def real_controller(
    directory: Path,
    clock: SteadyClock,
    regions: tuple[str, ...] = ("paris", "oslo"),
    *,
    guests: tuple[ObedientAgent, ...] = (),
    kind: type[Sessions] = Sessions,
    settings: ControllerSettings | None = None,
) -> AsyncIterator[RealController]:
    """`guests`: agents of further regions. Of `settings` what tells others counts, and what others tell."""
    opened = SqliteStore(directory / "controller.db")
    loaded = await opened.open()
    metrics = Metrics(new_registry("0.1.0"), clock, directory)
    metrics.ledger.know(loaded.applications)
    store = metrics.measured(opened)
    images = ImageDirectory(directory / "images", clock)
    sessions = kind(Welcome("0.1.0", loaded.installation, "http://127.0.0.1:1/v1/images"), clock)
    scheduler = Scheduler(store, images, loaded, clock, sessions)
    sessions.report_to(scheduler)
    enrolment = await _enrolment(directory / "security", store, scheduler)
    enrolled = Agents(enrolment, sessions, clock, "https://repave.example:7444")
    metrics.read(scheduler, sessions, enrolment.authority.expiries, enrolment.expiries)
    settings = settings if settings is not None else ControllerSettings.model_validate({})
    outbox = outbox_of(settings, store, loaded.installation, scheduler)
    hooks = hooks_of(settings, store, scheduler)
    gitops = gitops_of(settings.model_copy(update={"state": directory}), store, scheduler)
    promotions = promotions_of(settings, store, scheduler)
    sources = sources_for(settings, scheduler, sessions)
    analyses, scaling = analyses_of(settings, scheduler, sources), scaling_of(scheduler, sources)
    metrics.read_scaling(scheduler, scaling.needed)
    app = make_app(
        scheduler=scheduler,
        store=store,
        images=images,
        sessions=sessions,
        clock=clock,
        agents=enrolled,
        metrics=metrics,
        outbox=outbox,
        hooks=hooks,
        gitops=gitops,
        promotions=promotions,
        analyses=analyses,
        scaling=scaling,
    )
    described = Described(app)
    agents = {name: ObedientAgent(name) for name in regions} | {each.region: each for each in guests}
    scheduling = asyncio.create_task(scheduler.run())
    tasks = [scheduling, asyncio.create_task(outbox.run()), asyncio.create_task(hooks.run())]
    tasks += [asyncio.create_task(gitops.run()), asyncio.create_task(promotions.run())]
    tasks += [asyncio.create_task(analyses.run()), asyncio.create_task(scaling.run())]
    tasks += [asyncio.create_task(sessions.serve(agent)) for agent in agents.values()]
    connector = aiohttp.TCPConnector(limit=0)
    async with AsyncExitStack() as serving:
        port = await serving.enter_async_context(serve(app, "127.0.0.1", 0))
        client = aiohttp.ClientSession(f"http://127.0.0.1:{port}/v1/", connector=connector)
        try:
            yield RealController(
                client, serving.aclose, sessions, scheduler, enrolment, agents, scheduling, metrics
            )
        finally:
            await client.close()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    await store.close()
    assert not described.faults, described.faults
