"""The second tier: the real scheduler, sessions, session, worker, prober and journal on a virtual-time loop.

Only ports are simulated. A process is a set of tasks that share a `Life`: kill -9 is that none of them ever
runs again, whatever it was waiting for.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from repave_agent.core.ports import BalancerError, ProviderError
from repave_agent.health.prober import Prober
from repave_agent.runtime.journal import Journal, JournalError
from repave_agent.runtime.retry import Postponed
from repave_agent.runtime.session import Session
from repave_agent.runtime.worker import Worker
from repave_controller.core.commands.adoption import AdoptionOrder, Fleet
from repave_controller.core.commands.judging import Judged
from repave_controller.core.commands.release import Accepted, unknown_application
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.ports import ImageStore, StoreError
from repave_controller.fleet.sessions import Sessions
from repave_controller.peers.ports import NotOwner
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.channel import Link
from repave_protos.protocol.fronts import ABILITIES as FRONT_ABILITIES
from repave_protos.protocol.queries import AcceptedOf, Answer, HostsOf, Orphans, Query, Refusal
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    ApplicationName,
    ApplicationReport,
    DesiredState,
    Digest,
    Hello,
    Notice,
    RegionName,
    Welcome,
)
from repave_simulation.checks import people
from repave_simulation.checks.oracle import Oracle
from repave_simulation.checks.people import People
from repave_simulation.kernel.log import listen
from repave_simulation.kernel.loop import SimulatedLoop
from repave_simulation.kernel.timeline import CONTROLLER, WALL, Life
from repave_simulation.scenarios.scenario import DESK, Command, Scenario
from repave_simulation.tiers.figures import LATENCY_SECONDS, LIMITS, RESTART_SECONDS
from repave_simulation.tiers.living import live_through
from repave_simulation.tiers.looking import Looker
from repave_simulation.tiers.network import Network
from repave_simulation.tiers.ports import (
    SimulatedBalancer,
    SimulatedDisk,
    SimulatedPackages,
    SimulatedProvider,
    SimulatedStore,
)
from repave_simulation.tiers.store import Shelf
from repave_simulation.world.strikes import prepare_strikes
from repave_simulation.world.world import World


class SimulatedController:
    """As repave_controller.serving puts it together, over simulated ports."""

    def __init__(self, world: World, life: Life, shelf: Shelf) -> None:
        store = SimulatedStore(world, life, shelf)
        loaded = store.opened()
        clock = SteadyClock(
            loaded.last_event_at,
            lambda: WALL + world.now - world.clock_set_back_seconds,
            lambda: world.now,
        )
        self.sessions = Sessions(
            Welcome("0", loaded.installation, "http://127.0.0.1/v1/images", takes_sums=True),
            clock,
        )
        self.scheduler = Scheduler(store, images_of(world), loaded, clock, self.sessions)
        self.sessions.report_to(self.scheduler)


def images_of(world: World) -> ImageStore:
    """All that are stored."""
    return _Images(world)


class _Images:
    def __init__(self, world: World) -> None:
        self._world = world

    def path(self, digest: Digest) -> Path | None:
        return Path(digest) if digest in self._world.stored else None

    async def bring(self, digest: Digest) -> Path | None:
        return self.path(digest)


class SimulatedAgent:
    """As repave_agent.__main__ wires it, over simulated ports."""

    def __init__(self, world: World, life: Life, region: RegionName, network: Network) -> None:
        place = world.places[region]
        self._world, self._life, self._region = world, life, region
        self.provider = SimulatedProvider(world, life, place)
        clock = asyncio.get_running_loop().time
        self.worker = Worker(
            provider=self.provider,
            balancer=SimulatedBalancer(world, life, place),
            packages=SimulatedPackages(world, life, place),
            prober=Prober(clock, self.provider.execute, self.provider.ask),
            journal=Journal(SimulatedDisk(world, life, place)),
            upwards=self,
            clock=clock,
            limits=LIMITS,
            new_journal=f"{region}-{place.memory}",
        )
        draws = iter(range(1, 1_000_000_000))
        self.postponed = Postponed(self.worker.on_desired, asyncio.sleep)
        self.session = Session(
            dial=lambda _: network.dial(region, life),
            hello=self._hello,
            handler=self,
            clock=clock,
            sleep=asyncio.sleep,
            chance=lambda: world.chance.of("jitter", region, next(draws)),
        )

    def _hello(self) -> Hello:
        return Hello(
            self._region,
            PROTOCOL_VERSION,
            "0",
            "simulated",
            "simulated",
            capabilities=("jobs", "adopts", "workers", *(f"front={each}" for each in FRONT_ABILITIES)),
            applied=self.worker.applied(),
        )

    async def on_welcome(self, welcome: Welcome) -> None:
        try:
            is_ours = self.worker.welcome(welcome)
        except JournalError as error:
            raise ConnectionError(str(error)) from error
        if not is_ours:
            raise ConnectionError("this region belongs to another controller")

    async def on_desired(self, desired: DesiredState) -> None:
        await self.postponed.on_desired(desired)

    async def on_stand_by(self, why: str) -> None:
        self.worker.stand_by()

    async def on_unreadable(self, application: ApplicationName, why: str) -> None:
        self.worker.refuse(application, why)

    async def on_query(self, query: Query) -> Answer:
        match query.question:
            case HostsOf() | Orphans() | AcceptedOf() as question:
                return Answer(query.query_id, await self.worker.answer(question))
            case question:
                return Answer(query.query_id, Refusal(f"no provider here to ask: {question}"))

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None:
        self.session.observed(applications)

    def notice(self, notice: Notice) -> None:
        self.session.notice(notice)

    async def run(self) -> None:
        """One that can't start ends, and is started again."""
        try:
            await self.worker.start()
        except (ProviderError, BalancerError, JournalError) as error:
            self._world.tell(self._region, f"can't start: {error}")
            self._world.kill(self._region, down_seconds=RESTART_SECONDS)
            return
        await asyncio.gather(self.worker.run(), self.session.run(), self.postponed.run())


class TierTwo:
    """Implements world.Tier."""

    def __init__(self, scenario: Scenario, controllers: tuple[str, ...] = (CONTROLLER,)) -> None:
        self.loop = SimulatedLoop(scenario.seed)
        self.world = World(scenario, self.loop, controllers)
        self.loop.is_stopped = lambda: self.world.story.broken is not None
        self.shelf = Shelf()
        self.controller: SimulatedController
        self.agents: dict[RegionName, SimulatedAgent] = {}
        self.network = Network(self.world, self.loop, self._serve)
        self.people = People(self.world, Oracle(self.world).plans, self._ask)
        self._mistakes: list[str] = []
        listen(self._mistakes)
        self.loop.after(0.0, self._set_going)
        self.people.begin()

    async def _serve(self, controller: str, link: Link) -> None:
        await self.controller.sessions.serve(link)

    def _set_going(self) -> None:
        self.world.begin(self)
        prepare_strikes(self.world)

    @property
    def happened(self) -> int:
        return self.loop.happened

    def run(self) -> World:
        try:
            live_through(self.world, self.people, self._run)
        finally:
            self.loop.end()
        return self.world

    def _run(self, until: float) -> None:
        self.loop.run(until)
        for mistake in (*self._mistakes, *self.loop.failures):
            self.world.broken(0, mistake)

    # ------------------------------------------------------------------------------------ processes

    def start(self, name: str, life: Life) -> None:
        self.loop.after(0.0, partial(self._begin, name, life), life)

    def _begin(self, name: str, life: Life) -> None:
        if name == CONTROLLER:
            self.controller = SimulatedController(self.world, life, self.shelf)
            scheduler = self.controller.scheduler
            self.loop.spawn(life, scheduler.run(), "scheduler")

            def deliver(application: ApplicationName, judged: Judged) -> None:
                self.loop.spawn(life, taken_in(scheduler, application, judged), "look")

            def known() -> list[Application]:
                return [each for each in scheduler.all_applications() if scheduler.decides_for(each.name)]

            Looker(self.world, life, scheduler.clock, known, deliver)
            return
        agent = self.agents[RegionName(name)] = SimulatedAgent(
            self.world, life, RegionName(name), self.network
        )
        self.loop.spawn(life, agent.run(), f"agent of {name}")

    def regions_of(self, name: str) -> Iterable[RegionName]:
        return self.world.places if name == CONTROLLER else (RegionName(name),)

    def ended(self, name: str) -> None:
        for region in self.regions_of(name):
            self.network.cut(region)

    def cut(self, region: RegionName) -> None:
        self.network.cut(region)

    def replay_old(self, region: RegionName) -> None:
        self.network.replay_old(region)

    # --------------------------------------------------------------------------------------- people

    def _ask(self, command: Command, done: Callable[[people.Answer], None]) -> None:
        life = self.world.lives[CONTROLLER]
        if life.is_over:
            done(None)
            return

        def arrive() -> None:
            self.loop.spawn(life, self._answer(self.controller.scheduler, life, command, done), "request")

        self.loop.after(LATENCY_SECONDS, arrive, life)

    async def _answer(
        self, scheduler: Scheduler, life: Life, command: Command, done: Callable[[people.Answer], None]
    ) -> None:
        try:
            accepted = await carried_out(scheduler, command, self.world.scenario.fleet)
        except Refused as refused:
            done(refused)
        except StoreError:
            done(None)
        else:
            self._told(life, command, accepted, done)

    def _told(
        self, life: Life, command: Command, accepted: Accepted, done: Callable[[people.Answer], None]
    ) -> None:
        """The answer is on its way."""
        fate, _ = self.world.fate("answer", command.key, life.name)
        if fate == "crash-before":
            self.world.kill(life.name)
        if not life.is_over:
            done(None if fate == "lost-answer" else accepted)


async def taken_in(scheduler: Scheduler, application: ApplicationName, judged: Judged) -> None:
    """What can't be saved is looked at again."""
    with suppress(Refused, StoreError, NotOwner):
        await scheduler.judged(application, judged)


async def carried_out(scheduler: Scheduler, command: Command, fleet: Fleet) -> Accepted:
    """Raises Refused, StoreError, NotOwner."""
    name, text = command.application, f"spec of {command.key}"
    if command.order is not None and command.kind == "adopt":
        adoption = AdoptionOrder(command.order, fleet, command.serves)
        return await scheduler.adopt_fleet(name, name, adoption, text, command.key)
    if name == DESK and name not in scheduler.applications():
        raise unknown_application(name, ())
    if command.order is not None:
        return await scheduler.release(name, name, command.order, text, queue=command.busy)
    verb = command.verb or (Abort() if command.kind == "abort" else Rollback())
    return await scheduler.steer(name, verb, by=command.key, key=command.key)
