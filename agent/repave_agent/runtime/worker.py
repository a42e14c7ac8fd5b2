"""Brings the region to its desired state: looks, reconciles, acts within bounds, reports; again and again.

Nothing is decided here. Whatever happens only wakes the one loop, which looks at the whole again, so that a
lost or repeated wake-up is harmless. Actions run beside the loop; the balancer is handled one at a time.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from repave_agent.core.fence import Accept, Again, Outdated, Refuse, admit, foreign
from repave_agent.core.observation import EMPTY_VIEW, Limits, Observation, claims_of
from repave_agent.core.orphans import is_orphan
from repave_agent.core.ports import (
    Balancer,
    BalancerError,
    HostSpec,
    PackageAwaitedError,
    PackageError,
    Packages,
    Provider,
    ProviderError,
    RefusedError,
    Upwards,
)
from repave_agent.core.reconcile import Arrange, BeginDrain, Destroy, Launch, Plan, Steer, reconcile
from repave_agent.core.reports import reports, with_troubles
from repave_agent.core.traffic import is_awaited
from repave_agent.health.prober import Prober
from repave_agent.runtime.drift import Inspections
from repave_agent.runtime.fleet import Fleet
from repave_agent.runtime.host_queries import Answers
from repave_agent.runtime.journal import Entries, Journal, JournalError
from repave_agent.runtime.timeouts import PunctualBalancer, PunctualProvider, happens
from repave_protos.protocol.values import (
    Answer,
    ApplicationName,
    Applied,
    DesiredState,
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
BREATH_SECONDS = 0.01
"""Between two looks unless it is urgent: what happens to many hosts at once is looked at once."""
RELIST_SECONDS = 5.0
RELIST_SOONEST_SECONDS = 1.0
BALANCER_RETRY_SECONDS = 1.0


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
        self._provider = provider = PunctualProvider(provider)
        self._balancer = PunctualBalancer(balancer)
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
        self._named: frozenset[ApplicationName] | None = None  # by the controller, in this life of the agent
        self._seen = Observation(now=clock(), desired=(), hosts=(), groups={})
        self._answers = Answers(self._fleet, prober, provider, lambda: self._seen, clock, limits)
        self._inspections = Inspections(self._fleet, provider, clock, limits.inspect_seconds)
        self._view = EMPTY_VIEW
        self._restarts_told = 0
        self._viewed_at = self._listed_at = float("-inf")
        self._list_again_at = float("inf")  # to prove an orphan
        self._hurries = False
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._balancer_task: asyncio.Task[None] | None = None
        self._listing: asyncio.Task[None] | None = None
        self._is_steering = False
        self._balancer_retry_at = 0.0
        self._balancer_failures = 0  # in a row
        self._balancer_trouble = self._provider_trouble = self._journal_trouble = ""

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
            name: replace(fact, retry_at=0.0, drain_since=None, setback_at=self._clock())
            for name, fact in entries.groups.items()
        }
        self._fleet.condemned = set(entries.condemned)
        await self._balancer.start()
        await self._view_balancer()
        self._fleet.suspect_routed(self._view)
        known = self._fleet.known()
        hosts = await self._provider.list_hosts()
        self._fleet.adopt(hosts, known, set(entries.verified), self._clock())
        # A journal that is older than the balancer's state must not take hosts out of traffic.
        self._fleet.note_enabled(self._view, self._clock())
        self._listed_at = self._clock()
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
            self._heard_of(welcome)
            return True
        log.error("controller.foreign", text=foreign(self._installation, welcome.installation))
        return False

    def _heard_of(self, welcome: Welcome) -> None:
        """What it names may be wanted, though its desired state has not come yet; the rest is not."""
        self._named = None if welcome.applications is None else frozenset(welcome.applications)
        self._hosts_changed()  # a provider that did not know the installation lists more from now on

    @property
    def installation(self) -> str:
        return self._installation

    async def on_desired(self, state: DesiredState) -> None:
        """Accepts or refuses; an accepted state is on disk before anything follows from it. Raises
        JournalError when it can't be: then it must be sent again."""
        if self._named is not None:
            self._named |= {state.application}
        known = self._desired.get(state.application)
        match admit(known, state):
            case Outdated(why):
                log.warning("desired.outdated", application=state.application, why=why)
            case Refuse(why):
                log.error("desired.refused", application=state.application, epoch=str(state.epoch), why=why)
                self._refusals[state.application] = why
            case Again():
                self._refusals.pop(state.application, None)
            case Accept():
                self._accept(state)
        self._wake_at_once()

    def _accept(self, state: DesiredState) -> None:
        before = self._desired
        self._desired = {**before, state.application: state}
        try:
            self._save(durable=True)
        except JournalError as error:
            self._desired = before
            self._refusals[state.application] = str(error)
            self._wake_at_once()
            raise
        self._fleet.desired_changed(self._desired.values())
        self._refusals.pop(state.application, None)
        log.info("desired.accepted", application=state.application, epoch=str(state.epoch))

    async def on_query(self, query: Query) -> Answer:
        """What the controller asks of single hosts, or what was accepted if its store has lost it."""
        if query.wants_accepted:
            known = self._desired.get(query.application)
            return Answer(query.query_id, accepted=(known,) if known is not None else ())
        return await self._answers.answer(query)

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
                self._urgent.clear()
                wake_at = await self._converge()
                await self._rest(wake_at)

    async def _rest(self, wake_at: float | None) -> None:
        pause = HURRY_SECONDS if self._hurries else LOOK_SECONDS
        if wake_at is not None:
            pause = min(pause, max(0.0, wake_at - self._clock()))
        await happens(self._urgent, min(pause, BREATH_SECONDS))
        await happens(self._wake, pause - BREATH_SECONDS)

    def _wake_at_once(self) -> None:
        self._wake.set()
        self._urgent.set()

    async def _converge(self) -> float | None:
        await self._look()
        observation = self._observation()
        plan = reconcile(observation, self._limits)
        self._perform(plan)
        self._list_again_at = plan.list_at if plan.list_at is not None else float("inf")
        # What was just begun (launches, destroys) is part of what is reported.
        self._seen = observation = self._observation()
        outside = (self._balancer_trouble, self._provider_trouble, self._journal_trouble)
        troubles = with_troubles(observation, plan, self._fleet.troubles, outside)
        if not self._is_steering:
            # While traffic moves the report waits these few milliseconds: epoch and weights go up together.
            told = reports(observation, troubles, self._refusals)
            self._upwards.observed(told)
            self._fleet.note_worn(told.values())
        self._hurries = is_awaited(observation)
        assert self._tasks is not None
        self._inspections.go_on(observation.desired, self._tasks)
        return plan.wake_at

    async def _look(self) -> None:
        now = self._clock()
        is_asked_again = now >= self._list_again_at and now - self._listed_at >= RELIST_SOONEST_SECONDS
        is_due = is_asked_again or now - self._listed_at >= RELIST_SECONDS
        if is_due and (self._listing is None or self._listing.done()):
            self._listed_at = now
            assert self._tasks is not None
            self._listing = self._tasks.create_task(self._relist(), name="list")
        pause = HURRY_SECONDS if self._hurries else LOOK_SECONDS
        if not self._is_balancing and now - self._viewed_at >= pause:
            await self._view_balancer()
            if self._view.restarts > self._restarts_told:
                self._restarts_told = self._view.restarts
                self._upwards.notice(
                    Notice("balancer.restarted", "the balancer had died and was started again")
                )

    async def _relist(self) -> None:
        """Beside everything else: a slow provider must not hold up traffic. What it can't say now it may say
        at the next look; until then its hosts stay as known."""
        known = self._fleet.known(self._clock())
        try:
            hosts = await self._provider.list_hosts()
        except ProviderError as error:
            log.error("hosts.not_listed", why=str(error))
            self._provider_trouble = f"hosts can't be listed: {error}"
        else:
            self._provider_trouble = ""
            self._fleet.adopt(hosts, known, set(), self._clock())
            self._fleet.note_enabled(self._view, self._clock())  # who serves was verified, forgotten or not
        self._wake.set()

    async def _view_balancer(self) -> None:
        try:
            self._view = await self._balancer.observe()
        except BalancerError as error:
            log.error("balancer.not_seen", why=str(error))
            self._view = EMPTY_VIEW
        self._viewed_at = self._clock()
        self._fleet.note_enabled(self._view, self._viewed_at)

    @property
    def _is_balancing(self) -> bool:
        return self._balancer_task is not None and not self._balancer_task.done()

    def _observation(self) -> Observation:
        now = self._clock()
        desired = {group.name: group for state in self._desired.values() for group in state.groups}
        states = tuple(self._desired.values())
        facts = self._fleet.judge(desired, now, claims_of(states, self._named))
        self._fleet.note_orphans(host.name for host in facts if is_orphan(host, self._limits))
        return Observation(
            now=now,
            desired=states,
            hosts=facts,
            groups=dict(self._fleet.groups),
            balancer=self._view,
            is_balancer_busy=self._is_balancing,
            named=self._named,
            orphans_ended=self._fleet.orphans_ended,
            launches_begun=self._fleet.launches_begun,
        )

    def _hosts_changed(self) -> None:
        self._listed_at = float("-inf")
        self._wake.set()

    def _balancer_changed(self) -> None:
        self._viewed_at = float("-inf")
        self._wake_at_once()

    # --------------------------------------------------------------------------------------- actions

    def _perform(self, plan: Plan) -> None:
        """Notes first what must be remembered, saves it, then begins the actions."""
        launches: list[HostSpec] = []
        destroys: list[Destroy] = []
        balancing: list[Arrange | Steer] = []
        for action in plan.actions:
            match action:
                case Launch():
                    launches += self._fleet.launching(action, self._clock())
                case Destroy():
                    self._fleet.destroying(action.host, self._clock())
                    destroys.append(action)
                case BeginDrain(group):
                    self._fleet.begin_drain(group, self._clock())
                case Arrange() | Steer():
                    balancing.append(action)
        self._note_routed(balancing)
        if not self._remember(durable=bool(launches)):
            for spec in launches:
                self._launch_failed(spec, self._journal_trouble, counts=False)
            launches, balancing = [], [action for action in balancing if isinstance(action, Arrange)]
            destroys = self._fleet.spared(destroys)
        self._begin(launches, destroys, balancing)

    def _remember(self, *, durable: bool) -> bool:
        """Whether the journal holds what must outlive this agent; if not, what needs it is put off. Names of
        hosts must outlive the machine too: none is ever used twice."""
        try:
            self._save(durable=durable)
        except JournalError as error:
            if not self._journal_trouble:
                log.error("journal.not_written", why=str(error))
            self._journal_trouble = str(error)
        else:
            self._journal_trouble = ""
        return not self._journal_trouble

    def _begin(
        self, launches: list[HostSpec], destroys: list[Destroy], balancing: list[Arrange | Steer]
    ) -> None:
        assert self._tasks is not None
        for spec in launches:
            self._tasks.create_task(self._launch(spec), name=f"launch {spec.name}")
        for destroy in destroys:
            self._tasks.create_task(self._destroy(destroy), name=f"destroy {destroy.host}")
        if not balancing and not self._is_balancing:
            self._balancer_trouble = ""  # what it could not do is not wanted any more
        if balancing and self._clock() >= self._balancer_retry_at:
            # One at a time. What failed lets the other one try: it may be what the first one lacks.
            action = balancing[self._balancer_failures % len(balancing)]
            self._is_steering = isinstance(action, Steer)
            self._balancer_task = self._tasks.create_task(
                self._balance(action, self._desired), name="balance"
            )

    def _note_routed(self, balancing: list[Arrange | Steer]) -> None:
        routes = [*self._view.routes]
        for change in balancing:
            routes += change.routes if isinstance(change, Steer) else ()
        self._fleet.note_routed({name for route in routes for name in route.groups})

    async def _launch(self, spec: HostSpec) -> None:
        try:
            package = await self._packages.fetch(spec.digest)
            if not self._is_wanted(spec):
                raise PackageAwaitedError("its group is not wanted any more")
            host = await self._provider.launch(spec, package)
        except (PackageError, ProviderError) as error:
            is_final = isinstance(error, RefusedError)
            is_bad = isinstance(error, PackageError) and not isinstance(error, PackageAwaitedError)
            self._launch_failed(spec, str(error), counts=is_final or is_bad, is_final=is_final)
        else:
            self._fleet.launched(host, self._clock())
        self._wake.set()

    def _is_wanted(self, spec: HostSpec) -> bool:
        """Looked at again before the host is made: its package may have taken long to come."""
        state = self._desired.get(spec.application)
        group = state.group(spec.group) if state is not None else None
        return group is not None and group.count > 0

    def _launch_failed(self, spec: HostSpec, why: str, *, counts: bool, is_final: bool = False) -> None:
        self._fleet.launch_failed(spec.name, why, self._clock(), counts=counts, is_final=is_final)

    async def _destroy(self, action: Destroy) -> None:
        try:
            await self._provider.destroy(action.host)
        except ProviderError as error:
            log.error("host.not_destroyed", host=action.host, why=str(error))
            await asyncio.sleep(BALANCER_RETRY_SECONDS)
            self._fleet.not_destroyed(action.host, str(error))
        else:
            self._fleet.destroyed(action.host, self._clock())
        self._wake.set()

    async def _balance(
        self, action: Arrange | Steer, desired: Mapping[ApplicationName, DesiredState]
    ) -> None:
        """`desired`: what it was planned for. What was accepted since may want something else."""
        try:
            match action:
                case Arrange(structure) if self._desired is desired:
                    await self._balancer.arrange(structure)
                case Steer(routes) if self._desired is desired:
                    await self._balancer.route(routes)
        except BalancerError as error:
            if self._balancer_trouble != f"balancer: {error}":
                log.error("balancer.failed", why=str(error))
                self._upwards.notice(Notice("balancer.failed", str(error)))
            self._balancer_trouble = f"balancer: {error}"
            self._balancer_failures += 1
            self._balancer_retry_at = self._clock() + BALANCER_RETRY_SECONDS
        else:
            self._balancer_trouble, self._balancer_failures = "", 0
        await self._view_balancer()
        self._is_steering = False
        self._wake_at_once()

    # --------------------------------------------------------------------------------------- memory

    def _save(self, *, durable: bool) -> None:
        verified = sorted(record.name for record in self._fleet.records.values() if record.was_verified)
        entries = Entries(
            installation=self._installation,
            desired=tuple(self._desired.values()),
            verified=tuple(verified),
            condemned=tuple(sorted(self._fleet.condemned)),
            groups=dict(self._fleet.groups),
        )
        self._journal.save(entries, durable=durable)
