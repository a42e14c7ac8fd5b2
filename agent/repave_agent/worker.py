"""Brings the region to its desired state: looks, reconciles, acts within bounds, reports; again and again.

Nothing is decided here. Whatever happens only wakes the one loop, which looks at the whole again, so that a
lost or repeated wake-up is harmless. Actions run beside the loop; the balancer is handled one at a time.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol

import structlog

from repave_agent.admission import Accept, Again, Refuse, admit
from repave_agent.fleet import Fleet, Record
from repave_agent.health import Prober
from repave_agent.journal import Entries, Journal
from repave_agent.observation import EMPTY_VIEW, Limits, Observation
from repave_agent.ports import (
    Balancer,
    BalancerError,
    HostSpec,
    PackageAwaitedError,
    PackageError,
    Packages,
    Provider,
    ProviderError,
    RefusedError,
)
from repave_agent.reconcile import Arrange, BeginDrain, Destroy, Launch, Plan, Steer, reconcile
from repave_agent.summary import reports
from repave_protos.values import (
    Answer,
    ApplicationName,
    ApplicationReport,
    Applied,
    DesiredState,
    HostDetail,
    HostName,
    Notice,
    Query,
    Welcome,
    fingerprint,
)

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""The balancer is asked at least this often, whatever happens."""
HURRY_SECONDS = 0.05
"""While something is awaited of the balancer: servers coming up, requests draining."""
RELIST_SECONDS = 5.0
LOG_TAILS_MAX = 50
BALANCER_RETRY_SECONDS = 1.0


class Upwards(Protocol):
    """Where reports go."""

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None: ...

    def notice(self, notice: Notice) -> None: ...


class Worker:
    """The one owner of a region's hosts and balancer. `start` once, then `run` for ever."""

    def __init__(
        self,
        provider: Provider,
        balancer: Balancer,
        packages: Packages,
        prober: Prober,
        journal: Journal,
        upwards: Upwards,
        clock: Callable[[], float],
        limits: Limits,
    ) -> None:
        self._provider = provider
        self._balancer = balancer
        self._packages = packages
        self._prober = prober
        self._journal = journal
        self._upwards = upwards
        self._clock = clock
        self._limits = limits
        self._fleet = Fleet(prober, upwards.notice)
        self._installation = ""
        self._desired: dict[ApplicationName, DesiredState] = {}
        self._refusals: dict[ApplicationName, str] = {}
        self._view = EMPTY_VIEW
        self._restarts_told = 0
        self._viewed_at = self._listed_at = float("-inf")
        self._hurries = False
        self._wake = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._balancer_task: asyncio.Task[None] | None = None
        self._is_steering = False
        self._balancer_retry_at = 0.0

    # ------------------------------------------------------------------------------------ from outside

    def recall(self) -> Entries:
        """Takes up what the journal holds. Raises JournalError."""
        entries = self._journal.load()
        self._installation = entries.installation
        self._desired = {state.application: state for state in entries.desired}
        return entries

    async def start(self) -> None:
        """Recalls the journal, adopts what runs. Raises JournalError, ProviderError, BalancerError."""
        entries = self.recall()
        # Instants of the former life's clock mean nothing now: pauses and drains begin again.
        self._fleet.groups = {
            name: replace(fact, retry_at=0.0, drain_since=None) for name, fact in entries.groups.items()
        }
        hosts = await self._provider.list_hosts()
        self._fleet.adopt(hosts, self._fleet.known(), set(entries.verified), self._clock())
        self._listed_at = self._clock()
        await self._balancer.start()
        self._provider.on_change(self._hosts_changed)
        self._balancer.on_change(self._balancer_changed)
        self._prober.on_change(lambda _host: self._wake.set())
        log.info("agent.adopted", hosts=len(hosts), applications=sorted(self._desired))

    def welcome(self, welcome: Welcome) -> bool:
        """Whether this controller is the one this region belongs to; the first one it meets is."""
        if not self._installation:
            self._installation = welcome.installation
            self._save(durable=True)
        if self._installation == welcome.installation:
            return True
        log.error(
            "controller.foreign",
            text=f"this region belongs to installation {self._installation}, the controller is "
            f"{welcome.installation}; point the agent at its own controller, or give it a new state "
            "directory",
        )
        return False

    @property
    def installation(self) -> str:
        return self._installation

    async def on_desired(self, state: DesiredState) -> None:
        """Accepts or refuses; an accepted state is on disk before anything follows from it."""
        known = self._desired.get(state.application)
        match admit(known, state):
            case Refuse(why):
                log.error("desired.refused", application=state.application, epoch=str(state.epoch), why=why)
                self._refusals[state.application] = why
            case Again():
                self._refusals.pop(state.application, None)
            case Accept():
                self._refusals.pop(state.application, None)
                self._desired[state.application] = state
                self._forget_groups()
                self._save(durable=True)
                log.info("desired.accepted", application=state.application, epoch=str(state.epoch))
        self._wake.set()

    async def on_query(self, query: Query) -> Answer:
        """Host detail for people."""
        chosen = [
            record
            for record in self._fleet.records.values()
            if record.application == query.application and query.group in ("", record.group)
        ]
        chosen.sort(key=lambda record: record.name)
        tails = await asyncio.gather(*(self._tail(record, query) for record in chosen[:LOG_TAILS_MAX]))
        tails += [""] * (len(chosen) - len(tails))
        return Answer(query.query_id, tuple(map(self._detail, chosen, tails)))

    async def _tail(self, record: Record, query: Query) -> str:
        if not query.log_lines or record.is_launching:
            return ""
        try:
            return await self._provider.log_tail(record.name, query.log_lines)
        except ProviderError as error:
            return f"(no log: {error})"

    def _detail(self, record: Record, tail: str) -> HostDetail:
        now = self._clock()
        health = self._prober.record(record.name)
        since = health.healthy_since if health is not None else None
        return HostDetail(
            host=record.name,
            group=record.group,
            application=record.application,
            phase=record.judgement.phase,
            address=record.address,
            port=record.port,
            digest=record.digest,
            age_seconds=now - record.launched_at,
            healthy_seconds=now - since if since is not None else 0.0,
            trouble=record.judgement.trouble,
            log_tail=tail,
        )

    def applied(self) -> tuple[Applied, ...]:
        """What Hello tells of each application."""
        return tuple(
            Applied(state.application, state.epoch, fingerprint(state)) for state in self._desired.values()
        )

    # ---------------------------------------------------------------------------------------- the loop

    async def run(self) -> None:
        """Converges until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                self._wake.clear()
                wake_at = await self._converge()
                await self._rest(wake_at)

    async def _rest(self, wake_at: float | None) -> None:
        pause = HURRY_SECONDS if self._hurries else LOOK_SECONDS
        if wake_at is not None:
            pause = min(pause, max(0.0, wake_at - self._clock()))
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _converge(self) -> float | None:
        await self._look()
        observation = self._observation()
        plan = reconcile(observation, self._limits)
        self._perform(plan)
        # What was just begun (launches, destroys) is part of what is reported.
        observation = self._observation()
        troubles = dict(self._fleet.troubles)
        for held in plan.held:
            for group in held.state.groups:
                if group.weight_bp > 0:
                    troubles[group.name] = held.why
        if not self._is_steering:
            # While traffic moves the report waits these few milliseconds: epoch and weights go up together.
            self._upwards.observed(reports(observation, troubles, self._refusals))
        self._hurries = _is_awaiting_balancer(observation)
        return plan.wake_at

    async def _look(self) -> None:
        now = self._clock()
        if now - self._listed_at >= RELIST_SECONDS:
            self._listed_at = now
            known = self._fleet.known()
            self._fleet.adopt(await self._provider.list_hosts(), known, set(), now)
        pause = HURRY_SECONDS if self._hurries else LOOK_SECONDS
        is_idle = self._balancer_task is None or self._balancer_task.done()
        if is_idle and now - self._viewed_at >= pause:
            self._view = await self._balancer.observe()
            self._viewed_at = self._clock()
            if self._view.restarts > self._restarts_told:
                self._restarts_told = self._view.restarts
                self._upwards.notice(
                    Notice("balancer.restarted", "the balancer had died and was started again")
                )

    def _observation(self) -> Observation:
        now = self._clock()
        desired = {group.name: group for state in self._desired.values() for group in state.groups}
        facts = self._fleet.judge(desired, now)
        return Observation(
            now=now,
            desired=tuple(self._desired.values()),
            hosts=facts,
            groups=dict(self._fleet.groups),
            balancer=self._view,
        )

    def _hosts_changed(self) -> None:
        self._listed_at = float("-inf")
        self._wake.set()

    def _balancer_changed(self) -> None:
        self._viewed_at = float("-inf")
        self._wake.set()

    # --------------------------------------------------------------------------------------- actions

    def _perform(self, plan: Plan) -> None:
        """Notes first what must be remembered, saves it, then begins the actions."""
        begun: list[tuple[str, Coroutine[Any, Any, None]]] = []
        balancing: list[Arrange | Steer] = []
        for action in plan.actions:
            match action:
                case Launch():
                    begun += self._prepare_launches(action)
                case Destroy():
                    self._fleet.records[action.host].is_destroying = True
                    begun.append((f"destroy {action.host}", self._destroy(action)))
                case BeginDrain(group):
                    fact = self._fleet.fact(group)
                    self._fleet.groups[group] = replace(fact, drain_since=self._clock())
                case Arrange() | Steer():
                    balancing.append(action)
        self._note_routed(balancing)
        self._save(durable=False)
        assert self._tasks is not None
        for name, action_coroutine in begun:
            self._tasks.create_task(action_coroutine, name=name)
        is_idle = self._balancer_task is None or self._balancer_task.done()
        if balancing and is_idle and self._clock() >= self._balancer_retry_at:
            self._is_steering = isinstance(balancing[0], Steer)
            self._balancer_task = self._tasks.create_task(self._balance(balancing[0]), name="balance")

    def _note_routed(self, balancing: list[Arrange | Steer]) -> None:
        routes = [*self._view.routes]
        for action in balancing:
            if isinstance(action, Steer):
                routes += action.routes
        for name in {name for route in routes for name in (route.first, route.second) if name is not None}:
            fact = self._fleet.fact(name)
            if not fact.was_routed:
                self._fleet.groups[name] = replace(fact, was_routed=True)

    def _prepare_launches(self, launch: Launch) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        group, fact = launch.group, self._fleet.fact(launch.group.name)
        specs = [
            HostSpec(
                name=HostName(f"{group.name}-{ordinal}"),
                group=group.name,
                application=launch.state.application,
                digest=group.digest,
                run=group.run,
                environment=group.environment,
                port=group.probe.port,
            )
            for ordinal in range(fact.next_ordinal, fact.next_ordinal + launch.count)
        ]
        self._fleet.groups[group.name] = replace(fact, next_ordinal=fact.next_ordinal + launch.count)
        for spec in specs:
            self._fleet.launching(spec, self._clock())
        return [(f"launch {spec.name}", self._launch(spec)) for spec in specs]

    async def _launch(self, spec: HostSpec) -> None:
        try:
            package = await self._packages.fetch(spec.digest)
            host = await self._provider.launch(spec, package)
        except PackageAwaitedError as error:
            self._launch_failed(spec, str(error), counts=False)
        except PackageError as error:
            self._launch_failed(spec, str(error), counts=True)
        except RefusedError as error:
            self._launch_failed(spec, str(error), counts=True, is_final=True)
        except ProviderError as error:
            self._launch_failed(spec, str(error), counts=False)
        else:
            self._fleet.launched(host, self._clock())
        self._wake.set()

    def _launch_failed(self, spec: HostSpec, why: str, *, counts: bool, is_final: bool = False) -> None:
        self._fleet.launch_failed(spec.name, why, self._clock(), counts=counts, is_final=is_final)

    async def _destroy(self, action: Destroy) -> None:
        try:
            await self._provider.destroy(action.host)
        except ProviderError as error:
            log.error("host.not_destroyed", host=action.host, why=str(error))
            await asyncio.sleep(BALANCER_RETRY_SECONDS)
            self._fleet.records[action.host].is_destroying = False
        else:
            self._fleet.destroyed(action.host)
        self._wake.set()

    async def _balance(self, action: Arrange | Steer) -> None:
        try:
            match action:
                case Arrange(structure):
                    await self._balancer.arrange(structure)
                case Steer(routes):
                    await self._balancer.route(routes)
        except BalancerError as error:
            log.error("balancer.failed", why=str(error))
            self._upwards.notice(Notice("balancer.failed", str(error)))
            for state in self._desired.values():
                for group in state.groups:
                    self._fleet.troubles.setdefault(group.name, f"balancer: {error}")
            self._balancer_retry_at = self._clock() + BALANCER_RETRY_SECONDS
        self._view = await self._balancer.observe()
        self._viewed_at = self._clock()
        self._is_steering = False
        self._wake.set()

    # --------------------------------------------------------------------------------------- memory

    def _forget_groups(self) -> None:
        """Facts of groups that nobody names any more and that have no hosts."""
        named = {group.name for state in self._desired.values() for group in state.groups}
        named |= {record.group for record in self._fleet.records.values()}
        self._fleet.groups = {name: fact for name, fact in self._fleet.groups.items() if name in named}
        self._fleet.troubles = {name: text for name, text in self._fleet.troubles.items() if name in named}

    def _save(self, *, durable: bool) -> None:
        verified = sorted(record.name for record in self._fleet.records.values() if record.was_verified)
        entries = Entries(
            installation=self._installation,
            desired=tuple(self._desired.values()),
            verified=tuple(verified),
            groups=dict(self._fleet.groups),
        )
        self._journal.save(entries, durable=durable)


def _is_awaiting_balancer(observation: Observation) -> bool:
    """Whether the balancer is about to change by itself: servers coming up, requests draining."""
    for state in observation.desired:
        for group in state.groups:
            backend = observation.balancer.backend(group.name)
            if backend is None:
                continue
            present = observation.balancer.structure.backend(group.name)
            enabled = sum(server.is_enabled for server in present.servers) if present else 0
            if group.count == 0 or backend.servers_up < enabled:
                return True
    return False
