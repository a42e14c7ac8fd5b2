"""The region of one agent, without its I/O: takes what happened, gives what to do. No clock, task or log.

What runs it (`runtime/worker.py`, and the first tier of the simulation) reports each event as it comes, then:

    decision = region.decide(now)                       # notes what is about to begin
    trouble = journal.save(decision.entries)            # before anything of it begins
    step = region.begin(decision, trouble, now)         # what may begin, what to report, when to decide again

Every event only changes what is known; the next decision looks at the whole again, so that a lost or repeated
one is harmless.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from repave_agent.core.fence import Accept, Again, Outdated, Refuse, admit
from repave_agent.core.fleet import Fleet, Known
from repave_agent.core.host_health import HealthRecord, Healths, ProbeTarget
from repave_agent.core.host_records import Record
from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.core.observation import EMPTY_VIEW, GroupFact, LeftOut, Limits, Observation, claims_of
from repave_agent.core.orphans import is_orphan
from repave_agent.core.ports import (
    BalancerView,
    FallenBack,
    Frontend,
    Host,
    HostSpec,
    PackageAwaitedError,
    PackageError,
    RefusedError,
    Structure,
    UnfitError,
)
from repave_agent.core.reconcile import Arrange, BeginDrain, Destroy, Launch, Plan, Steer, reconcile
from repave_agent.core.records import Wanted, wanted_of
from repave_agent.core.reports import reports, with_troubles
from repave_agent.core.traffic import is_awaited
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredState,
    GroupName,
    HostName,
    Notice,
    Probe,
    RecordReport,
    Welcome,
)

FORMAT = 2
LOOK_SECONDS = 1.0
"""The balancer is asked at least this often, whatever happens."""
HURRY_SECONDS = 0.05
"""While something is awaited of the balancer: servers coming up, requests draining."""
RELIST_SECONDS = 5.0
RELIST_SOONEST_SECONDS = 1.0
RETRY_SECONDS = 1.0
"""After the balancer could not be changed, or a host not be destroyed."""
FALLEN_BACK_SECONDS = 60.0
"""Between two notices of requests that the same group did not answer."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What must outlive the agent: the journal's whole content."""

    format: int = FORMAT
    installation: str = ""  # of the controller whose region this is; "" before the first Welcome
    desired: tuple[DesiredState, ...] = ()
    verified: tuple[HostName, ...] = ()
    condemned: tuple[HostName, ...] = ()  # whose end was begun
    groups: dict[GroupName, GroupFact] = field(default_factory=dict)
    term: int = 0  # in which the rest is so; in a later one another agent may have changed the region since
    is_bound: bool = False  # another agent of the region is known: nothing is done here without a lease


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next. Nothing of it may begin before `entries` are saved."""

    plan: Plan
    launches: tuple[HostSpec, ...]
    destroys: tuple[Destroy, ...]
    changes: tuple[Arrange | Steer, ...]  # of the balancer, of which one may begin
    entries: Entries

    @property
    def is_durable(self) -> bool:
        """The names of hosts must outlive the machine too: none is ever used twice."""
        return bool(self.launches)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the balancer, and the desired states that it was planned for."""

    action: Arrange | Steer
    desired: Mapping[ApplicationName, DesiredState]


@dataclass(frozen=True, slots=True)
class Step:
    """What to begin now, what to report, and when to decide again at the latest."""

    launches: tuple[HostSpec, ...]
    destroys: tuple[Destroy, ...]
    change: Change | None
    probes: Mapping[HostName, ProbeTarget]  # exactly these hosts are to be probed
    reports: Mapping[ApplicationName, ApplicationReport] | None  # None: traffic is just moving
    wake_at: float | None


class Region:
    """The one owner of what is known of a region's hosts and balancer."""

    def __init__(self, limits: Limits) -> None:
        self.installation = ""
        self.term = 0
        self.is_bound = False
        self.look_seconds = LOOK_SECONDS
        """From one look at the balancer to the next."""
        self._limits = limits
        self._fleet = Fleet()
        self._desired: dict[ApplicationName, DesiredState] = {}
        self._refusals: dict[ApplicationName, str] = {}
        self._named: frozenset[ApplicationName] | None = None  # by the controller, in this life of the agent
        self._verified: set[HostName] = set()  # by the life before, until its hosts are adopted
        self._view = EMPTY_VIEW
        self._restarts_noticed = 0
        self._fallen_back: dict[FallenBack, tuple[int, float]] = {}  # requests as told last, and when
        self._viewed_at = self._listed_at = float("-inf")
        self._is_listing = False
        self._prove_at = float("inf")  # when a listing may prove an orphan
        self._change: Change | None = None  # under way
        self._retry_at = 0.0
        self._balancer_failures = 0  # in a row
        self._left_out: dict[str, LeftOut] = {}  # by application, or by group
        self._balancer_trouble = self._provider_trouble = self._journal_trouble = ""
        self._records: dict[ApplicationName, RecordReport] = {}
        self._seen = Observation(now=0.0, desired=(), hosts=(), groups={})

    # ------------------------------------------------------------------------------------- what is known

    @property
    def desired(self) -> Mapping[ApplicationName, DesiredState]:
        """The accepted desired states."""
        return self._desired

    @property
    def records(self) -> Mapping[HostName, Record]:
        return self._fleet.records

    @property
    def seen(self) -> Observation:
        """The region at the last decision."""
        return self._seen

    @property
    def left(self) -> tuple[Host, ...]:
        """What counts as gone and may still run, by the newest listing."""
        return self._fleet.left

    def health_of(self, host: HostName) -> HealthRecord | None:
        """What its probes had said at the last decision; None when it is not probed."""
        return self._fleet.health_of(host)

    def entries(self, accepting: DesiredState | None = None) -> Entries:
        """To be saved; with `accepting` as they will be once that state is accepted."""
        desired = self._desired if accepting is None else {**self._desired, accepting.application: accepting}
        verified = sorted(record.name for record in self._fleet.records.values() if record.was_verified)
        return Entries(
            installation=self.installation,
            desired=tuple(desired.values()),
            verified=tuple(verified),
            condemned=tuple(sorted(self._fleet.condemned)),
            groups=dict(self._fleet.groups),
            term=self.term,
            is_bound=self.is_bound,
        )

    def take_notices(self) -> list[Notice]:
        """What has happened since they were taken last."""
        notices, self._fleet.notices = self._fleet.notices, []
        return notices

    # --------------------------------------------------------------------------------------- the beginning

    def recall(self, entries: Entries, now: float) -> None:
        """Takes up what the journal holds. Instants of the former life's clock mean nothing now: pauses and
        drains begin again."""
        self.installation = entries.installation
        self.term, self.is_bound = entries.term, entries.is_bound
        self._desired = {state.application: state for state in entries.desired}
        self._fleet.groups = {
            name: replace(fact, retry_at=0.0, drain_since=None, setback_at=now)
            for name, fact in entries.groups.items()
        }
        self._fleet.condemned = set(entries.condemned)
        self._verified = set(entries.verified)

    def adopt(self, hosts: Iterable[Host], view: BalancerView, now: float) -> None:
        """The first listing. A journal that is older than the balancer's state must not take hosts out of
        traffic."""
        self._view, self._viewed_at, self._listed_at = view, now, now
        self._fleet.suspect_routed(view)
        self._fleet.adopt(hosts, self._fleet.known(), self._verified, now)
        self._fleet.note_enabled(view, now)

    # ------------------------------------------------------------------------------- from the controller

    def welcome(self, welcome: Welcome) -> bool:
        """Whether this controller is the one this region belongs to; the first one it meets is, and then
        `entries` have to be saved."""
        self.installation = self.installation or welcome.installation
        if self.installation != welcome.installation:
            return False
        # What it names may be desired, though its desired state has not come yet; the rest is not.
        self._named = None if welcome.applications is None else frozenset(welcome.applications)
        self.hosts_changed()  # a provider that did not know the installation lists more from now on
        return True

    def take_term(self, term: int) -> bool:
        """The region is this agent's in this term, which is none before the one that it knows. Whether what
        it knew of hosts is void: another agent had the region meanwhile. Then it is forgotten, and `entries`
        have to be saved before anything else."""
        is_void = self.term not in (0, term)
        self.term = term
        if is_void:
            self._fleet.condemned, self._verified, self._fleet.groups = set(), set(), {}
        return is_void

    def hear(self, state: DesiredState) -> Accept | Again | Outdated | Refuse:
        """Judges a desired state. One to be accepted changes nothing yet: `entries(accepting=state)` have to
        be saved first, then `accept` or `not_accepted` follows."""
        if self._named is not None:
            self._named |= {state.application}
        admission = admit(self._desired.get(state.application), state)
        match admission:
            case Refuse(why):
                self._refusals[state.application] = why
            case Again():
                self._refusals.pop(state.application, None)
        return admission

    def accept(self, state: DesiredState) -> None:
        """It is saved, and counts from now on."""
        self._desired = {**self._desired, state.application: state}
        self._fleet.desired_changed(self._desired.values())
        self._refusals.pop(state.application, None)

    def refuse(self, application: ApplicationName, why: str) -> None:
        """What is desired of it now could not be read."""
        self._refusals[application] = why

    def not_accepted(self, state: DesiredState, why: str) -> None:
        """It could not be saved."""
        self._refusals[state.application] = why

    # ------------------------------------------------------------------------------------- the provider

    def wants_listing(self, now: float) -> bool:
        """Whether the provider should be asked for its hosts."""
        return not self._is_listing and now >= min(self._listed_at + RELIST_SECONDS, self.prove_at)

    @property
    def prove_at(self) -> float:
        """When a listing is due that may prove an orphan."""
        return max(self._prove_at, self._listed_at + RELIST_SOONEST_SECONDS)

    def begin_listing(self, now: float) -> Known:
        """The provider is about to be asked. Gives what is known by then: what changes meanwhile is not in
        its answer."""
        self._listed_at, self._is_listing = now, True
        return self._fleet.known(now)

    def listed(self, hosts: Iterable[Host], known: Known, now: float) -> None:
        """The provider's answer. A host that serves was verified, whether the journal says so or not."""
        self._is_listing, self._provider_trouble = False, ""
        self._fleet.adopt(hosts, known, set(), now)
        self._fleet.note_enabled(self._view, now)

    def not_listed(self, why: str) -> None:
        """What the provider can't say now it may say later; until then its hosts stay as known."""
        self._is_listing, self._provider_trouble = False, f"hosts can't be listed: {why}"

    def hosts_changed(self) -> None:
        """A hint: the provider should be asked soon."""
        self._listed_at = float("-inf")

    def settled(self) -> frozenset[HostName]:
        """The hosts that are neither being made nor being ended."""
        return self._fleet.known().settled

    def is_wanted(self, spec: HostSpec) -> bool:
        """To be asked again before the host is made: its package may have taken long to come."""
        state = self._desired.get(spec.application)
        group = state.group(spec.group) if state is not None else None
        return group is not None and group.count > 0

    def launched(self, host: Host, now: float, secrets: tuple[str, ...] = ()) -> None:
        """`secrets`: those that it was handed, by name and place."""
        self._fleet.launched(host, now, secrets)

    def launch_failed(self, host: HostName, error: Exception, now: float) -> None:
        """Nothing is left of the launch. It counts against the group unless trying again may help."""
        is_forbidden = isinstance(error, SecretError) and error.lack is Lack.NOT_ALLOWED
        is_final = isinstance(error, RefusedError) or is_forbidden
        is_bad = isinstance(error, PackageError) and not isinstance(error, PackageAwaitedError)
        is_bad |= isinstance(error, SecretError) and not error.is_awaited
        self._fleet.launch_failed(host, str(error), now, counts=is_final or is_bad, is_final=is_final)

    def destroyed(self, host: HostName, now: float) -> None:
        self._fleet.destroyed(host, now)

    def not_destroyed(self, host: HostName, why: str) -> None:
        """To be reported RETRY_SECONDS after the failure: then it is tried again."""
        self._fleet.not_destroyed(host, why)

    def inspected(self, host: HostName, drift: str, now: float) -> None:
        """The host was compared with what it was made of; `drift` says how it differs."""
        self._fleet.note_drift(host, drift, now)

    # ------------------------------------------------------------------------- the prober and the balancer

    def probed(self, health: Healths) -> None:
        """What the probes of all hosts have said so far."""
        self._fleet.health = health

    def wants_view(self, now: float) -> bool:
        """Whether the balancer should be looked at."""
        return self._change is None and now - self._viewed_at >= self.look_seconds

    def viewed(self, view: BalancerView, now: float) -> None:
        """What the balancer says of itself; EMPTY_VIEW when it does not answer."""
        self._view, self._viewed_at = view, now
        self._fleet.note_enabled(view, now)
        if view.restarts > self._restarts_noticed:
            self._restarts_noticed = view.restarts
            self._notice(
                "balancer.restarted",
                "the balancer's process is a new one: it died, or its operator reloaded it",
            )
        for each in view.fallen_back:
            self._note_fallen_back(each, now)

    def _note_fallen_back(self, counted: FallenBack, now: float) -> None:
        """At once, and then what has come together, not more often than is worth reading."""
        which, count = replace(counted, requests=0), counted.requests
        told, told_at = self._fallen_back.get(which, (0, float("-inf")))
        if count < told:  # one of the balancer's processes is away, with what it had counted
            self._fallen_back[which] = (count, told_at)
        if count <= told or now < told_at + FALLEN_BACK_SECONDS:
            return
        self._fallen_back[which] = (count, now)
        requests = "1 request" if count - told == 1 else f"{count - told} requests"
        answered = f"answered {requests}" if counted.is_counted else "answers"
        text = f"{counted.spare} {answered} for {counted.group}, which had no host up"
        self._fleet.notices.append(Notice("traffic.fell_back", text, counted.application, counted.group))

    def is_served(self, application: ApplicationName) -> bool:
        """Whether the balancer gave requests of it to a group when it was looked at last."""
        return self._view.route(application) is not None

    def wanted_records(
        self, name_of: Callable[[ApplicationName], str], addresses: tuple[str, ...]
    ) -> dict[ApplicationName, Wanted]:
        """What the region's records in DNS shall be. `name_of`: "" of an application that has none."""
        return {
            application: wanted_of(state, name, addresses, is_served=self.is_served(application))
            for application, state in self.desired.items()
            if (name := name_of(application))
        }

    def note_record(self, application: ApplicationName, record: RecordReport) -> None:
        """Its record in DNS, as it was looked at last."""
        known = self._records.get(application)
        self._records[application] = record
        if known is not None and record.state != known.state and "unknown" not in (known.state, record.state):
            where = (
                "leads to this region" if record.state == "in" else "does not lead to this region any more"
            )
            kind = f"record.{record.state}"
            self._fleet.notices.append(Notice(kind, f"{record.name} {where}", application))

    def balancer_changed(self) -> None:
        """A hint: the balancer should be looked at soon."""
        self._viewed_at = float("-inf")

    def still_wants(self, change: Change) -> bool:
        """Whether it is still what the accepted states want; what was accepted since may want another one."""
        return self._desired is change.desired

    def changed(self) -> None:
        """The change of the balancer is done, and it was looked at since."""
        if self._change is not None and isinstance(self._change.action, Arrange):
            self._let_in(self._view.structure)
        self._change, self._balancer_trouble, self._balancer_failures = None, "", 0

    def unfit(self, error: UnfitError, now: float) -> None:
        """The balancer can't take these parts of the change that is under way: it is asked again without
        them, at once."""
        assert self._change is not None
        assert isinstance(self._change.action, Arrange)
        structure = self._change.action.structure
        for frontend in structure.frontends:
            if why := error.frontends.get(frontend.application):
                self._leave_out(frontend.application, frontend, why, now)
        for backend in structure.backends:
            if why := error.backends.get(backend.group):
                self._leave_out(backend.group, backend.probe, why, now)

    def _leave_out(self, name: str, thing: Frontend | Probe, why: str, now: float) -> None:
        known = self._left_out.get(name)
        if known is None or known.why != why:
            application = next((each for each, state in self._desired.items() if name in _names(state)), "")
            group = name if name != application else ""
            self._fleet.notices.append(Notice("balancer.unfit", f"left out: {why}", application, group))
        since = known.since if known is not None and known.thing == thing else now
        self._left_out[name] = LeftOut(thing, why, since, now)

    def _let_in(self, structure: Structure) -> None:
        """What was arranged is not left out any more, nor what is not wanted."""
        taken: dict[str, Frontend | Probe] = {each.application: each for each in structure.frontends}
        taken |= {each.group: each.probe for each in structure.backends}
        wanted = {name for state in self._desired.values() for name in _names(state)}
        self._left_out = {
            name: each
            for name, each in self._left_out.items()
            if name in wanted and taken.get(name) != each.thing
        }

    def not_changed(self, why: str, now: float) -> None:
        """The balancer could not be changed as it should; perhaps it was."""
        trouble = f"balancer: {why}"
        if trouble != self._balancer_trouble:
            self._notice("balancer.failed", why)
        self._change, self._balancer_trouble = None, trouble
        self._balancer_failures += 1
        self._retry_at = now + RETRY_SECONDS

    # ----------------------------------------------------------------------------------------- decisions

    def decide(self, now: float) -> Decision:
        """What brings the region nearer to what is desired. Notes what is about to begin."""
        plan = reconcile(self._observe(now), self._limits)
        self._prove_at = plan.list_at if plan.list_at is not None else float("inf")
        launches: list[HostSpec] = []
        destroys: list[Destroy] = []
        changes: list[Arrange | Steer] = []
        for action in plan.actions:
            match action:
                case Launch():
                    launches += self._fleet.launching(action, now)
                case Destroy():
                    self._fleet.destroying(action.host, now)
                    destroys.append(action)
                case BeginDrain(group):
                    self._fleet.begin_drain(group, now)
                case Arrange() | Steer():
                    changes.append(action)
        self._note_routed(changes)
        return Decision(plan, tuple(launches), tuple(destroys), tuple(changes), self.entries())

    def begin(self, decision: Decision, journal_trouble: str, now: float) -> Step:
        """What may begin. With `journal_trouble`, when the entries could not be saved, what needs them is put
        off."""
        self._journal_trouble = journal_trouble
        launches, destroys, changes = decision.launches, decision.destroys, decision.changes
        if journal_trouble:
            for spec in launches:
                self._fleet.launch_failed(spec.name, journal_trouble, now, counts=False, is_final=False)
            launches, changes = (), tuple(each for each in changes if isinstance(each, Arrange))
            destroys = tuple(self._fleet.call_off(destroys))
        change = self._choose(changes, now)
        # What begins now (launches, destroys) is part of what is reported.
        self._seen = self._observe(now)
        self.look_seconds = HURRY_SECONDS if is_awaited(self._seen) else LOOK_SECONDS
        probes = dict(self._fleet.probes)
        return Step(launches, destroys, change, probes, self._report(decision), decision.plan.wake_at)

    def _observe(self, now: float) -> Observation:
        states = tuple(self._desired.values())
        groups = {group.name: group for state in states for group in state.groups}
        hosts = self._fleet.judge(groups, now, claims_of(states, self._named))
        self._fleet.note_orphans(host.name for host in hosts if is_orphan(host, self._limits))
        return Observation(
            now=now,
            desired=states,
            hosts=hosts,
            groups=dict(self._fleet.groups),
            balancer=self._view,
            is_balancer_busy=self._change is not None,
            named=self._named,
            orphans_ended=self._fleet.orphans_ended,
            launches_begun=self._fleet.launches_begun,
            left_out=dict(self._left_out),
        )

    def _note_routed(self, changes: Iterable[Arrange | Steer]) -> None:
        routes = [*self._view.routes]
        for change in changes:
            routes += change.routes if isinstance(change, Steer) else ()
        self._fleet.note_routed({name for route in routes for name in route.groups})

    def _choose(self, changes: tuple[Arrange | Steer, ...], now: float) -> Change | None:
        """One at a time. What failed lets the other one try: it may be what the first one lacks."""
        if self._change is not None:
            return None
        if not changes:
            self._balancer_trouble = ""  # what it could not do is not wanted any more
        elif now >= self._retry_at:
            self._change = Change(changes[self._balancer_failures % len(changes)], self._desired)
        return self._change

    def _report(self, decision: Decision) -> Mapping[ApplicationName, ApplicationReport] | None:
        """While traffic moves the report waits these few milliseconds: epoch and weights go up together."""
        if self._change is not None and isinstance(self._change.action, Steer):
            return None
        outside = (self._balancer_trouble, self._provider_trouble, self._journal_trouble)
        troubles = with_troubles(self._seen, decision.plan, self._fleet.troubles, outside)
        reported = reports(self._seen, troubles, self._refusals, self._records)
        self._fleet.note_worn(reported.values())
        return reported

    def _notice(self, kind: str, text: str) -> None:
        self._fleet.notices.append(Notice(kind, text))


def _names(state: DesiredState) -> tuple[str, ...]:
    """Of what the application has in the balancer."""
    return (state.application, *(group.name for group in state.groups))
