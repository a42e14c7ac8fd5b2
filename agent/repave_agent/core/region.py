"""The region of one agent, without its I/O: takes what happened, gives what to do. No clock, task or log.

What runs it (`runtime/worker.py`, and the first tier of the simulation) reports each event as it comes, then:

    decision = region.decide(now)                       # notes what is about to begin
    trouble = journal.save(decision.entries)            # before anything of it begins
    step = region.begin(decision, trouble, now)         # what may begin, what to report, when to decide again

Every event only changes what is known; the next decision looks at the whole again, so that a lost or repeated
one is harmless.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from repave_agent.core.balancer_health import SILENT
from repave_agent.core.fence import Accept, Again, Outdated, Refuse, admit
from repave_agent.core.fleet import Fleet, Known
from repave_agent.core.host_health import HealthRecord, Healths, ProbeTarget
from repave_agent.core.host_records import Record
from repave_agent.core.host_secrets import Lack, SecretError
from repave_agent.core.jobs import EndJob, JobPlan, JobRecord, Jobs
from repave_agent.core.observation import (
    EMPTY_VIEW,
    Claims,
    GroupFact,
    HostFact,
    LeftOut,
    Limits,
    Observation,
    claims_of,
)
from repave_agent.core.orphans import is_orphan
from repave_agent.core.ports import (
    BackendView,
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
from repave_agent.core.traffic import Shares, is_awaited
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    HostName,
    JobId,
    Notice,
    Probe,
    RecordReport,
    Welcome,
    is_job_host,
)

Key = TypeVar("Key")
Told = TypeVar("Told")
FORMAT = 2
LOOK_SECONDS = 1.0
"""The balancer is asked at least this often, whatever happens."""
HURRY_SECONDS = 0.05
"""While something is awaited of the balancer: servers coming up, requests draining."""
RELIST_SECONDS = 5.0
RELIST_SOONEST_SECONDS = 1.0
FULL_LOOK_SECONDS = 30.0
"""All applications are judged again so often, though nothing of them has changed: a change that was missed
costs no more than that."""
RETRY_SECONDS = 1.0
"""After the balancer could not be changed, or a host not be destroyed."""
COUNTS_KEPT_MAX = 1000
"""Groups of which is known what was told of their counts last: more than a balancer tells of."""
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
    journal: str = ""  # names it: attempts of jobs are given to a journal, and no other one may begin them
    jobs: tuple[JobRecord, ...] = ()  # attempts that were begun
    jobs_begun: dict[ApplicationName, JobId] = field(default_factory=dict)  # the highest one that was


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next. Nothing of it may begin before `entries` are saved."""

    plan: Plan
    launches: tuple[HostSpec, ...]
    destroys: tuple[Destroy, ...]
    changes: tuple[Arrange | Steer, ...]  # of the balancer, of which one may begin
    entries: Entries
    judged: tuple[ApplicationName, ...] = ()  # the others are at rest
    jobs: JobPlan = JobPlan()  # noqa: RUF009  # frozen

    @property
    def is_durable(self) -> bool:
        """The names of hosts must outlive the machine too: none is ever used twice."""
        return bool(self.launches) or self.jobs.is_durable


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
    jobs: tuple[HostSpec, ...] = ()  # attempts to be prepared, which then `job_begins`
    job_ends: tuple[EndJob, ...] = ()


class Region:
    """The one owner of what is known of a region's hosts and balancer.

    An application at rest (`reconcile.is_at_rest`) is not judged until something of it changes. Hosts that no
    accepted state asks for are judged at every look.
    """

    def __init__(
        self, limits: Limits, full_look_seconds: float = FULL_LOOK_SECONDS, new_journal: str = ""
    ) -> None:
        """`new_journal`: the name of the journal, if it is empty as yet."""
        self.jobs = Jobs(new_journal)
        self.installation = ""
        self.term = 0
        self.is_bound = False
        self.look_seconds = LOOK_SECONDS
        """From one look at the balancer to the next."""
        self._limits = limits
        self._full_look_seconds = full_look_seconds
        self._fleet = Fleet()
        self._desired: dict[ApplicationName, DesiredState] = {}
        self._refusals: dict[ApplicationName, str] = {}
        self._named: frozenset[ApplicationName] | None = None  # by the controller, in this life of the agent
        self._verified: set[HostName] = set()  # by the life before, until its hosts are adopted
        self._view = EMPTY_VIEW
        self._restarts_noticed = 0
        self._closed: dict[GroupName, int] = {}  # connections, as told last
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
        self._restless: set[ApplicationName] = set()
        self._due: dict[ApplicationName, float] = {}  # of those at rest, when they are not any more
        self._full_look_at = float("-inf")
        self._application_of: dict[GroupName, ApplicationName] = {}
        self._claims = Claims()
        self._told_by_balancer: dict[GroupName, DesiredGroup] = {}  # the health of their hosts
        self._shares: Shares = {}
        self._facts: dict[ApplicationName, tuple[HostFact, ...]] = {}  # as judged last
        self._other_facts: tuple[HostFact, ...] = ()
        self._judged_at = 0.0
        self._plan = Plan((), (), None)  # the last one
        self._decided_by: tuple[tuple[ApplicationName, ...], Observation] | None = None
        self._taken_in: tuple[object, bool] = (None, False)  # desired states, whether the balancer ran
        self._routed: tuple[object, object] = (None, None)  # routes and desired states as noted last
        self._is_plan_due = True  # also where no application has to be judged
        self._outside: tuple[str, ...] = ()  # troubles of all groups, as reported last
        self._reports: Mapping[ApplicationName, ApplicationReport] = {}
        self._entries: tuple[tuple[object, ...], Entries] = ((), Entries())

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
        """The region as every application was judged last."""
        facts = (each for name in self._desired for each in self._facts.get(name, ()))
        hosts = tuple(each for each in (*facts, *self._other_facts) if each.name in self._fleet.records)
        return self._observation(self._judged_at, tuple(self._desired.values()), hosts)

    @property
    def attended(self) -> list[HostName]:
        """The hosts whose health is to be told before each decision. Of the others it is enough when they
        turn healthy or ill, or their reason is another one."""
        fleet, others = self._fleet, self._others()
        groups = [group.name for name in self._restless for group in self._desired[name].groups]
        return [host for group in (*groups, *others) for host in fleet.of_group.get(group, ())]

    @property
    def left(self) -> tuple[Host, ...]:
        """What counts as gone and may still run, by the newest listing."""
        return self._fleet.left

    def health_of(self, host: HostName) -> HealthRecord | None:
        """What its probes had said at the last decision; None when it is not probed."""
        return self._fleet.health_of(host)

    def entries(self, accepting: DesiredState | None = None) -> Entries:
        """To be saved; with `accepting` as they will be once that state is accepted."""
        if accepting is not None:
            return self._entries_of({**self._desired, accepting.application: accepting})
        key = (self.installation, self.term, self.is_bound, self._fleet.changes, self.jobs.changes)
        if self._entries[0] != key:
            self._entries = (key, self._entries_of(self._desired))
        return self._entries[1]

    def _entries_of(self, desired: Mapping[ApplicationName, DesiredState]) -> Entries:
        verified = sorted(record.name for record in self._fleet.records.values() if record.was_verified)
        return Entries(
            installation=self.installation,
            desired=tuple(desired.values()),
            verified=tuple(verified),
            condemned=tuple(sorted(self._fleet.condemned)),
            groups=dict(self._fleet.groups),
            term=self.term,
            is_bound=self.is_bound,
            journal=self.jobs.journal,
            jobs=tuple(self.jobs.records.values()),
            jobs_begun=dict(self.jobs.begun),
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
        self._fleet.changes += 1
        self.jobs.journal = entries.journal or self.jobs.journal
        self.jobs.recall(entries.jobs, entries.jobs_begun)
        self._desired_changed(*self._desired)

    def adopt(self, hosts: Iterable[Host], view: BalancerView, now: float) -> None:
        """The first listing. A journal that is older than the balancer's state must not take hosts out of
        traffic."""
        self._view, self._viewed_at, self._listed_at = view, now, now
        self._wake_all()
        self._fleet.suspect_routed(view)
        self._fleet.adopt(self._of_groups(hosts, now, now), self._fleet.known(), self._verified, now)
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
        self._claim()
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
            self._fleet.adopted_seen.clear()
            self._taken_in = (None, False)
            self._fleet.changes += 1
            self._routed = (None, None)
            self._wake_all()
        return is_void

    def hear(self, state: DesiredState) -> Accept | Again | Outdated | Refuse:
        """Judges a desired state. One to be accepted changes nothing yet: `entries(accepting=state)` have to
        be saved first, then `accept` or `not_accepted` follows."""
        if self._named is not None and state.application not in self._named:
            self._named |= {state.application}
            self._claim()
        admission = admit(self._desired.get(state.application), state)
        match admission:
            case Refuse(why):
                self.refuse(state.application, why)
            case Again():
                self._refusals.pop(state.application, None)
                self._wake(state.application)
        return admission

    def accept(self, state: DesiredState) -> None:
        """It is saved, and counts from now on."""
        self._desired = {**self._desired, state.application: state}
        self._fleet.desired_changed(self._desired.values())
        self._refusals.pop(state.application, None)
        self._desired_changed(state.application)

    def _desired_changed(self, *applications: ApplicationName) -> None:
        for application in applications:
            for group in self._desired[application].groups:
                self._application_of[group.name] = application
            self._wake(application)
        self._claim()

    def _claim(self) -> None:
        self.jobs.wants(self._desired.values())
        self._claims = claims_of(self._desired.values(), self._named)
        self._told_by_balancer = {
            group.name: group
            for state in self._desired.values()
            for group in state.groups
            if group.template.health_by == "balancer"
        }
        self._is_plan_due = True

    def refuse(self, application: ApplicationName, why: str) -> None:
        """What is desired of it now could not be read."""
        self._refusals[application] = why
        self._wake(application)

    def not_accepted(self, state: DesiredState, why: str) -> None:
        """It could not be saved."""
        self.refuse(state.application, why)

    # -------------------------------------------------------------------------- what has to be judged again

    def _wake(self, application: ApplicationName) -> None:
        if application in self._desired:
            self._due.pop(application, None)
            self._restless.add(application)

    def _wake_all(self) -> None:
        self._due.clear()
        self._restless.update(self._desired)

    def _wake_touched(self, now: float) -> None:
        self._wake_owners(self._fleet.touched)
        self._fleet.touched.clear()
        for application in [each for each, due_at in self._due.items() if due_at <= now]:
            self._wake(application)
        if now >= self._full_look_at:
            self._full_look_at = now + self._full_look_seconds
            self._wake_all()

    def _rest(self, resting: Mapping[ApplicationName, float]) -> None:
        """Of those that were judged and reported; what was touched meanwhile is judged again."""
        self._due.update(resting)
        self._restless -= resting.keys()

    def _others(self) -> list[GroupName]:
        """Groups of hosts that no accepted state asks for."""
        return [name for name in self._fleet.of_group if name not in self._claims.groups]

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
        self._fleet.adopt(self._of_groups(hosts, known.asked_at, now), known, set(), now)
        self._fleet.note_enabled(self._view, now)

    def _of_groups(self, hosts: Iterable[Host], asked_at: float | None, now: float) -> list[Host]:
        """Those of server groups; those of jobs are looked at by the way."""
        there = tuple(hosts)
        self.jobs.listed(
            (each for each in there if is_job_host(each.name)), asked_at if asked_at is not None else now, now
        )
        return [each for each in there if not is_job_host(each.name)]

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
        if is_job_host(spec.name):
            return self.jobs.is_wanted(spec.name)
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
        """What the probes of these hosts have said so far; those that are `attended` at least."""
        self._fleet.hear_probes(health)

    def wants_view(self, now: float) -> bool:
        """Whether the balancer should be looked at."""
        return self._change is None and now - self._viewed_at >= self.look_seconds

    def viewed(self, view: BalancerView, now: float) -> None:
        """What the balancer says of itself; EMPTY_VIEW when it does not answer."""
        view = _with_same_parts(view, self._view)
        self._wake_moved(self._view, view)
        self._view, self._viewed_at = view, now
        self._fleet.note_enabled(view, now)
        self._fleet.hear_balancer(view, self._told_by_balancer, now)
        if view.restarts > self._restarts_noticed:
            self._restarts_noticed = view.restarts
            self._notice(
                "balancer.restarted",
                "the balancer's process is a new one: it died, or its operator reloaded it",
            )
        for each in view.fallen_back:
            self._note_fallen_back(each, now)
        self._note_closed(view)

    def _wake_moved(self, before: BalancerView, after: BalancerView) -> None:
        """Those of which the balancer says something else now."""
        if _nature(before) != _nature(after):
            self._wake_all()
        elif before.structure is not after.structure:
            self._wake_owners(_moved(before.structure, after.structure))
            for frontend in set(before.structure.frontends) ^ set(after.structure.frontends):
                self._wake(frontend.application)
        if before.routes is not after.routes:
            for route in set(before.routes) ^ set(after.routes):
                self._wake(route.application)
        if before.structure is not after.structure or before.routes is not after.routes:
            self._is_plan_due = True
        self._wake_owners(each.group for each in before.backends if after.backend(each.group) is None)
        self._wake_owners(each.group for each in after.backends if self._has_moved(each, before, after))

    def _has_moved(self, now: BackendView, before: BalancerView, after: BalancerView) -> bool:
        """Requests in flight count only where no new ones come; elsewhere they change at every look."""
        known = before.backend(now.group)
        if known is None or known.servers_up != now.servers_up:
            return True
        if known.in_flight == now.in_flight:
            return False
        application = self._application_of.get(now.group)
        route = after.route(application) if application is not None else None
        return route is None or not route.reaches(now.group)

    def _wake_owners(self, groups: Iterable[GroupName]) -> None:
        for group in groups:
            if (application := self._application_of.get(group)) is not None:
                self._wake(application)

    def _note_fallen_back(self, counted: FallenBack, now: float) -> None:
        """At once, and then what has come together, not more often than is worth reading."""
        which, count = replace(counted, requests=0), counted.requests
        told, told_at = self._fallen_back.get(which, (0, float("-inf")))
        if count < told:  # one of the balancer's processes is away, with what it had counted
            self._fallen_back[which] = (count, told_at)
        if count <= told or now < told_at + FALLEN_BACK_SECONDS:
            return
        self._fallen_back[which] = (count, now)
        _keep_newest(self._fallen_back)
        requests = "1 request" if count - told == 1 else f"{count - told} requests"
        answered = f"answered {requests}" if counted.is_counted else "answers"
        text = f"{counted.spare} {answered} for {counted.group}, which had no host up"
        self._fleet.notices.append(Notice("traffic.fell_back", text, counted.application, counted.group))

    def _note_closed(self, view: BalancerView) -> None:
        for each in view.closed:
            told = self._closed.get(each.group, 0)  # more, if one of the balancer's processes is away
            new = each.connections - told
            self._closed[each.group] = max(each.connections, told)
            if new > 0:
                connections = "1 connection" if new == 1 else f"{new} connections"
                text = f"{connections} to {each.group} closed: still open when its time to drain was over"
                application = self._application_of.get(each.group, ApplicationName(""))
                self._fleet.notices.append(Notice("traffic.closed", text, application, each.group))
        _keep_newest(self._closed)

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
            if not state.is_worker and (name := name_of(application))
        }

    def note_record(self, application: ApplicationName, record: RecordReport) -> None:
        """Its record in DNS, as it was looked at last."""
        known = self._records.get(application)
        self._records[application] = record
        if record != known:
            self._wake(application)
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
        self._wake_all()

    def _let_in(self, structure: Structure) -> None:
        """What was arranged is not left out any more, nor what is not wanted."""
        if not self._left_out:
            return
        self._wake_all()
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
        self._fleet.forgive(now)
        self._take_in(now)
        jobs = self.jobs.decide(now, self._named)
        for application in jobs.changed:
            self._wake(application)
        self._wake_touched(now)
        judged = self._in_order(self._restless)
        if judged or self._is_plan_due or not self._plan.is_idle or self._others():
            self._is_plan_due = False
            seen = self._observe(judged, now)
            self._decided_by = (judged, seen)
            self._plan = reconcile(seen, self._limits, self._shares)
            self._shares = self._plan.shares
        plan = replace(self._plan, wake_at=_sooner(self._next_at(now), jobs.wake_at))
        self._prove_at = plan.list_at if plan.list_at is not None else float("inf")
        launches: list[HostSpec] = []
        destroys: list[Destroy] = []
        changes: list[Arrange | Steer] = []
        for action in plan.actions:
            match action:
                case Launch():
                    launches += self._fleet.launching(action, now)
                case Destroy() if self._fleet.records[action.host].is_adopted:
                    self._fleet.let_go(action.host)  # no provider ever hears of it
                case Destroy():
                    self._fleet.destroying(action.host, now)
                    destroys.append(action)
                case BeginDrain(group):
                    self._fleet.begin_drain(group, now)
                case Arrange() | Steer():
                    changes.append(action)
        self._note_routed(changes)
        chosen = (tuple(launches), tuple(destroys), tuple(changes))
        return Decision(plan, *chosen, self.entries(), judged, jobs)

    def _take_in(self, now: float) -> None:
        """Hosts of adopted groups count as there: looked at again whenever something else is desired, and
        when the balancer first says which of them it has."""
        known, is_running = self._taken_in
        if known is not self._desired or is_running != self._view.is_running:
            self._taken_in = (self._desired, self._view.is_running)
            self._fleet.take_in(self._desired.values(), self._verified, self._view, now)
            self._fleet.note_enabled(self._view, now)

    def _next_at(self, now: float) -> float | None:
        """When something is due that was planned now, or of an application at rest."""
        due_at = min(self._due.values(), default=math.inf)
        planned_at = self._plan.wake_at if self._plan.wake_at is not None else math.inf
        next_at = min((each for each in (due_at, planned_at) if each > now), default=math.inf)
        return None if next_at == math.inf else next_at

    def begin(self, decision: Decision, journal_trouble: str, now: float) -> Step:
        """What may begin. With `journal_trouble`, when the entries could not be saved, what needs them is put
        off."""
        self._journal_trouble = journal_trouble
        launches, destroys, changes = decision.launches, decision.destroys, decision.changes
        jobs = decision.jobs
        if journal_trouble:
            for spec in launches:
                self._fleet.launch_failed(spec.name, journal_trouble, now, counts=False, is_final=False)
            launches, changes = (), tuple(each for each in changes if isinstance(each, Arrange))
            destroys = tuple(self._fleet.call_off(destroys))
            jobs = self.jobs.call_off(decision.jobs, journal_trouble, now)
        change = self._choose(changes, now)
        report = self._report(decision, now)
        wake_at = decision.plan.wake_at
        return Step(launches, destroys, change, self._fleet.probes, report, wake_at, jobs.begins, jobs.ends)

    def _in_order(self, applications: Collection[ApplicationName]) -> tuple[ApplicationName, ...]:
        """As their first desired states came."""
        return tuple(name for name in self._desired if name in applications) if applications else ()

    def _observe(self, applications: tuple[ApplicationName, ...], now: float) -> Observation:
        """These applications, and the hosts that none asks for."""
        states = tuple(self._desired[name] for name in applications)
        groups = {group.name: group for state in states for group in state.groups}
        hosts = self._fleet.judge(groups, now, self._claims, self._others())
        of_application: dict[ApplicationName, list[HostFact]] = {name: [] for name in applications}
        others: list[HostFact] = []
        for host in hosts:
            owner = self._application_of[host.group] if host.group in groups else None
            (others if owner is None else of_application[owner]).append(host)
        self._facts |= {name: tuple(facts) for name, facts in of_application.items()}
        self._other_facts, self._judged_at = tuple(others), now
        self._fleet.note_orphans(host.name for host in others if is_orphan(host, self._limits))
        return self._observation(now, states, hosts)

    def _observation(
        self, now: float, states: tuple[DesiredState, ...], hosts: tuple[HostFact, ...]
    ) -> Observation:
        named = {group.name for state in states for group in state.groups} | {host.group for host in hosts}
        known = self._fleet.groups
        return Observation(
            now=now,
            desired=states,
            hosts=hosts,
            groups={name: known[name] for name in named if name in known},
            balancer=self._view,
            is_balancer_busy=self._change is not None,
            named=self._named,
            orphans_ended=self._fleet.orphans_ended,
            launches_begun=self._fleet.launches_begun,
            left_out=dict(self._left_out),
            whole=self._claims,
        )

    def _note_routed(self, changes: Iterable[Arrange | Steer]) -> None:
        wanted = [route for change in changes if isinstance(change, Steer) for route in change.routes]
        noted = (self._view.routes, self._desired)
        is_known = self._routed[0] is noted[0] and self._routed[1] is noted[1]
        if wanted or not is_known:
            self._fleet.note_routed(
                {name for route in (*self._view.routes, *wanted) for name in route.groups}
            )
            self._routed = noted

    def _choose(self, changes: tuple[Arrange | Steer, ...], now: float) -> Change | None:
        """One at a time. What failed lets the other one try: it may be what the first one lacks."""
        if self._change is not None:
            return None
        if not changes:
            self._balancer_trouble = ""  # what it could not do is not wanted any more
        elif now >= self._retry_at:
            self._change = Change(changes[self._balancer_failures % len(changes)], self._desired)
        return self._change

    def _report(self, decision: Decision, now: float) -> Mapping[ApplicationName, ApplicationReport] | None:
        """What begins now (launches, destroys) is part of what is reported. While traffic moves the report
        waits these few milliseconds: epoch and weights go up together."""
        outside = (self._balancer_trouble, self._provider_trouble, self._journal_trouble)
        if outside != self._outside:
            self._wake_all()
        if self._change is not None and isinstance(self._change.action, Steer):
            return None  # nor is the balancer looked at before that is done
        judged = self._in_order(self._restless)
        seen = self._seen_after(decision, judged, now)
        is_hurried = any(is_awaited(state, seen) for state in seen.desired)
        self.look_seconds = HURRY_SECONDS if is_hurried else LOOK_SECONDS
        troubles = with_troubles(seen, decision.plan, self._troubles(), outside[1:], of_balancer=outside[0])
        fresh = reports(seen, troubles, self._refusals, self._records, self.jobs.reports)
        self._fleet.note_worn(fresh.values())
        self._outside = outside
        self._reports = _updated(self._reports, fresh)
        self._rest({name: at for name, at in self._plan.resting.items() if name in judged})
        return self._reports

    def _seen_after(self, decision: Decision, judged: tuple[ApplicationName, ...], now: float) -> Observation:
        """That which it was decided by, where nothing was begun."""
        if not decision.plan.actions and self._decided_by is not None:
            applications, seen = self._decided_by
            if applications == judged and seen.now == now:
                return seen
        return self._observe(judged, now)

    def _troubles(self) -> dict[GroupName, str]:
        troubles = self._fleet.troubles
        if not self._fleet.balancer_health.is_silent:
            return troubles
        silent = {name: [SILENT, troubles.get(name, "")] for name in self._told_by_balancer}
        return troubles | {name: "; ".join(filter(None, each)) for name, each in silent.items()}

    def _notice(self, kind: str, text: str) -> None:
        self._fleet.notices.append(Notice(kind, text))


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _updated(
    known: Mapping[ApplicationName, ApplicationReport], fresh: Mapping[ApplicationName, ApplicationReport]
) -> Mapping[ApplicationName, ApplicationReport]:
    """The same objects for what is the same."""
    changed = {name: report for name, report in fresh.items() if known.get(name) != report}
    return {**known, **changed} if changed else known


def _nature(view: BalancerView) -> tuple[bool, ...]:
    """What of it concerns every application."""
    return view.is_running, view.falls_back, view.takes_baselines, view.takes_hosts, view.is_consistent


def _with_same_parts(view: BalancerView, before: BalancerView) -> BalancerView:
    """The same objects for what is the same."""
    structure = before.structure if view.structure == before.structure else view.structure
    routes = before.routes if view.routes == before.routes else view.routes
    if structure is view.structure and routes is view.routes:
        return view
    return replace(view, structure=structure, routes=routes)


def _moved(before: Structure, after: Structure) -> Iterator[GroupName]:
    """Groups whose backend is another one."""
    yield from (each.group for each in before.backends if after.backend(each.group) is None)
    yield from (each.group for each in after.backends if before.backend(each.group) != each)


def _names(state: DesiredState) -> tuple[str, ...]:
    """Of what the application has in the balancer."""
    return (state.application, *(group.name for group in state.groups))


def _keep_newest(told: dict[Key, Told]) -> None:
    for key in list(told)[:-COUNTS_KEPT_MAX]:
        del told[key]
