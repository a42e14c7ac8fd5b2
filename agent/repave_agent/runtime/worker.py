"""Runs the region: brings what happens to `core/region.py`, does what that decides, and reports; for ever.

Nothing is decided here. Whatever happens only wakes the one loop, which has the whole decided again, so that
a lost or repeated wake-up is harmless. Actions run beside the loop.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from repave_agent.core.fence import Accept, Outdated, Refuse, foreign
from repave_agent.core.fleet import Known
from repave_agent.core.host_secrets import HostSecrets, NoSecrets, SecretError, SecretReader
from repave_agent.core.jobs import JobRecord
from repave_agent.core.observation import EMPTY_VIEW, Limits
from repave_agent.core.ports import (
    Balancer,
    BalancerError,
    BalancerView,
    HostSpec,
    PackageAwaitedError,
    PackageError,
    Packages,
    Proof,
    Provider,
    ProviderError,
    ReadLog,
    UnfitError,
    Upwards,
)
from repave_agent.core.reconcile import Arrange, Destroy, Steer
from repave_agent.core.records import Wanted
from repave_agent.core.region import RETRY_SECONDS, Change, Decision, Region, Step
from repave_agent.health.prober import Prober
from repave_agent.runtime.drift import Inspections
from repave_agent.runtime.host_output import READ_SECONDS, HostOutputs, by_tail
from repave_agent.runtime.host_queries import Answers
from repave_agent.runtime.journal import Journal, JournalError
from repave_agent.runtime.kept_logs import HOST_BYTES_MAX, KeptLogs
from repave_agent.runtime.remains import (
    LOG_CHARACTERS_MAX,
    LOG_LINES,
    Remain,
    Remains,
    remain_of,
    remain_of_job,
)
from repave_agent.runtime.tenancy import Tenancy
from repave_agent.runtime.timeouts import BalancerWithTimeouts, ProviderWithTimeouts, happens
from repave_protos.protocol.bounds import JOB_LOG_LENGTH_MAX, LOG_LINES_MAX
from repave_protos.protocol.queries import Accepted, AcceptedOf, Content, OfHosts, Output, ReadOutput
from repave_protos.protocol.values import (
    NO_PACKAGE,
    ApplicationName,
    Applied,
    DesiredState,
    Digest,
    HostName,
    RecordReport,
    Welcome,
    fingerprint_of_state,
)

log = structlog.get_logger()

BREATH_SECONDS, BREATH_SECONDS_MAX = 0.01, 0.1
BREATHS_PER_LOOK = 3
"""Between two looks unless it is urgent, so many times as long as the last one took: what happens to many
hosts at once is looked at once."""
ERRORS = ("balancer.failed", "balancer.unfit")
"""Kinds of notices that are errors in the agent's own log."""


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
        remains: Remains | None = None,
        proof: Proof | None = None,
        took: Callable[[float], object] = lambda _: None,
        read_log: ReadLog | None = None,
        kept_logs: KeptLogs | None = None,
        tenancy: Tenancy | None = None,
        secrets: SecretReader | None = None,
        new_journal: str = "",
    ) -> None:
        """`took` hears how many seconds each decision took. `read_log`: of a provider that can.
        `new_journal`: as Region has it."""
        self._tenancy = tenancy = tenancy or Tenancy()
        self._provider = provider = ProviderWithTimeouts(provider, tenancy.check)
        self._balancer = BalancerWithTimeouts(balancer, tenancy.check)
        self._packages, self._proof = packages, proof
        self._secrets = secrets or NoSecrets()
        self._prober = prober
        self._journal = journal
        self._upwards = upwards
        self._clock = clock
        self._region = Region(limits, new_journal=new_journal)
        self._remains = remains or Remains()
        self._answers = Answers(self._region, provider, clock, limits, self._remains, prober.samples)
        self._inspections = Inspections(self._region, provider, clock, limits.inspect_seconds)
        self._read_log, self._kept_logs = read_log or by_tail(provider), kept_logs
        self._outputs = HostOutputs(self._region, self._read_log, kept_logs)
        self._is_journal_failing = False
        self._probed: set[HostName] = set()  # whose probes say something else since the last look
        self._took = took
        self._breath = BREATH_SECONDS
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    # ------------------------------------------------------------------------------------ from outside

    def recall(self) -> None:
        """Takes up what the journal holds. Raises JournalError."""
        self._region.recall(self._journal.load(), self._clock())
        if self._region.is_bound:
            self._tenancy.bind()
        self._remains.recall()

    async def start(self) -> None:
        """Recalls the journal, adopts what runs. Raises JournalError, ProviderError, BalancerError."""
        self.recall()
        await self.serve()
        await self.adopt()

    async def serve(self) -> None:
        """Has the balancer serve as before. Raises BalancerError."""
        await self._balancer.start()

    async def adopt(self) -> None:
        """Takes over what runs; nothing is decided before. Raises ProviderError."""
        view = await self._observe_balancer()
        hosts = await self._provider.list_hosts()
        self._region.adopt(hosts, view, self._clock())
        self._provider.on_change(self._hosts_changed)
        self._balancer.on_change(self._balancer_changed)
        self._prober.on_change(self._probe_changed)
        log.info("agent.adopted", hosts=len(hosts), applications=sorted(self._region.desired))

    def welcome(self, welcome: Welcome) -> bool:
        """Whether this controller is the one this region belongs to; the first one it meets is. Raises
        JournalError."""
        is_first = not self._region.installation
        if not self._region.welcome(welcome):
            log.error("controller.foreign", text=foreign(self._region.installation, welcome.installation))
            return False
        if is_first:
            self._journal.save(self._region.entries(), durable=True)
        self._wake.set()
        return True

    async def read_output(self, question: ReadOutput) -> Output:
        return await self._outputs.answer(question)

    def wanted_records(
        self, name_of: Callable[[ApplicationName], str], addresses: tuple[str, ...]
    ) -> dict[ApplicationName, Wanted]:
        """What the region's records in DNS shall be. `name_of`: "" of an application that has none."""
        return self._region.wanted_records(name_of, addresses)

    def note_record(self, application: ApplicationName, record: RecordReport) -> None:
        self._region.note_record(application, record)
        self._wake.set()

    def hosts(self) -> Counter[tuple[str, ...]]:
        """How many there are, by application and phase."""
        records = self._region.records.values()
        return Counter((each.application, str(each.judgement.phase)) for each in records)

    def made_at(self) -> dict[str, ApplicationName]:
        """Whose the host is at each address: of those that were made, not adopted."""
        records = (each for each in self._region.records.values() if each.address and not each.is_adopted)
        return {each.address: each.application for each in records}

    def take_term(self, term: int, *, is_bound: bool) -> bool:
        """The region is this agent's, by lease if it `is_bound`. Whether it has to begin anew: another agent
        had the region meanwhile. Raises JournalError; then nothing has changed for the tenancy."""
        known = (self._region.term, self._region.is_bound)
        is_void = self._region.take_term(term)
        self._region.is_bound = is_bound
        if is_void and self._tasks is not None:
            self._tenancy.give_up()  # what is under way was begun by what it knew
        if known != (term, is_bound):
            self._journal.save(self._region.entries(), durable=True)
        if is_bound:
            self._tenancy.bind()
        elif not is_void:
            self._tenancy.release()
        return is_void

    def stand_by(self) -> None:
        """Another agent has the region. Raises JournalError; this one has stopped all the same."""
        self._tenancy.give_up()
        if not self._region.is_bound:
            self._region.is_bound = True
            self._journal.save(self._region.entries(), durable=True)

    @property
    def installation(self) -> str:
        return self._region.installation

    @property
    def term(self) -> int:
        return self._region.term

    async def on_desired(self, state: DesiredState) -> None:
        """Accepts or refuses; an accepted state is on disk before anything follows from it. Raises
        JournalError when it can't be: then it must be sent again."""
        match self._region.hear(state):
            case Outdated(why):
                log.warning("desired.outdated", application=state.application, why=why)
            case Refuse(why):
                log.error("desired.refused", application=state.application, epoch=str(state.epoch), why=why)
            case Accept():
                self._accept(state)
        self._wake_at_once()

    def refuse(self, application: ApplicationName, why: str) -> None:
        """A desired state came that can't be read: the region goes on with what it accepted before."""
        log.error("desired.unreadable", application=application, why=why)
        self._region.refuse(application, why)
        self._wake_at_once()

    def _accept(self, state: DesiredState) -> None:
        try:
            self._journal.save(self._region.entries(accepting=state), durable=True)
        except JournalError as error:
            self._region.not_accepted(state, str(error))
            self._wake_at_once()
            raise
        self._region.accept(state)
        groups = [group.name for group in state.groups]
        log.info("desired.accepted", application=state.application, epoch=str(state.epoch), groups=groups)

    async def answer(self, question: OfHosts | AcceptedOf) -> Content:
        """What the controller asks of single hosts, or what was accepted if its store has lost it."""
        if isinstance(question, AcceptedOf):
            return Accepted(self._region.desired.get(question.application))
        return await self._answers.answer(question)

    def applied(self) -> tuple[Applied, ...]:
        """What Hello tells of each application."""
        return tuple(
            Applied(state.application, state.epoch, fingerprint_of_state(state))
            for state in self._region.desired.values()
        )

    def packages(self) -> set[Digest]:
        """Those of what is released here, and of hosts that there are."""
        states = self._region.desired.values()
        released = {group.digest for state in states for group in state.groups}
        released |= {job.digest for state in states for job in state.jobs}
        return (released | {record.digest for record in self._region.records.values()}) - {NO_PACKAGE}

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
        pause = self._region.look_seconds
        if wake_at is not None:
            pause = min(pause, max(0.0, wake_at - self._clock()))
        await happens(self._urgent, min(pause, self._breath))
        await happens(self._wake, pause - self._breath)

    def _wake_at_once(self) -> None:
        self._wake.set()
        self._urgent.set()

    async def _converge(self) -> float | None:
        if self._region.wants_view(self._clock()):
            await self._view_balancer()
        now = self._clock()
        self._region.probed(self._prober.health((*self._region.attended, *self._probed)))
        self._probed.clear()
        decision = self._region.decide(now)
        self._took(self._clock() - now)
        step = self._region.begin(decision, self._save(decision), now)
        self._prober.watch_only(step.probes)
        self._begin(step)
        self._publish()
        if step.reports is not None:
            self._upwards.observed(step.reports)
        assert self._tasks is not None
        self._inspections.go_on(self._tasks)
        self._breath = breath_after(self._clock() - now)
        return step.wake_at

    async def _list(self, known: Known) -> None:
        """Beside everything else: a slow provider must not hold up traffic."""
        try:
            hosts = await self._provider.list_hosts()
        except ProviderError as error:
            log.error("hosts.not_listed", why=str(error))
            self._region.not_listed(str(error))
        else:
            self._region.listed(hosts, known, self._clock())
        self._wake.set()

    async def _view_balancer(self) -> None:
        self._region.viewed(await self._observe_balancer(), self._clock())

    async def _observe_balancer(self) -> BalancerView:
        try:
            return await self._balancer.observe()
        except BalancerError as error:
            log.error("balancer.not_seen", why=str(error))
            return EMPTY_VIEW

    def _probe_changed(self, host: HostName) -> None:
        self._probed.add(host)
        self._wake.set()

    def _hosts_changed(self) -> None:
        self._region.hosts_changed()
        self._wake.set()

    def _balancer_changed(self) -> None:
        self._region.balancer_changed()
        self._wake_at_once()

    def _save(self, decision: Decision) -> str:
        """Why the journal could not be written; "" when it could."""
        try:
            self._journal.save(decision.entries, durable=decision.is_durable)
        except JournalError as error:
            if not self._is_journal_failing:
                log.error("journal.not_written", why=str(error))
            self._is_journal_failing = True
            return str(error)
        self._is_journal_failing = False
        return ""

    def _publish(self) -> None:
        """Brings what has happened to people: into the agent's log, and up to the controller's events."""
        for notice in self._region.take_notices():
            write = log.error if notice.kind in ERRORS else log.info
            write(notice.kind, host=notice.host, group=notice.group, text=notice.text)
            self._upwards.notice(notice)

    # --------------------------------------------------------------------------------------- actions

    def _begin(self, step: Step) -> None:
        assert self._tasks is not None
        if self._region.wants_listing(self._clock()):
            known = self._region.begin_listing(self._clock())
            self._tasks.create_task(self._list(known), name="list")
        for spec in step.launches:
            self._tasks.create_task(self._launch(spec), name=f"launch {spec.name}")
        for destroy in step.destroys:
            remain = remain_of(self._region.records[destroy.host], self._clock())
            self._tasks.create_task(self._destroy(destroy, remain), name=f"destroy {destroy.host}")
        for spec in step.jobs:
            self._tasks.create_task(self._run_job(spec), name=f"job {spec.name}")
        for end in step.job_ends:
            self._tasks.create_task(self._end_job(end.record), name=f"end of job {end.record.host}")
        if step.change is not None:
            self._tasks.create_task(self._change(step.change), name="balance")

    async def _launch(self, spec: HostSpec) -> None:
        try:
            package = await self._fetch(spec)
            secrets = await self._secrets.read(spec.application, spec.template.secrets)
            host = await self._provider.launch(spec, package, secrets)
        except (PackageError, ProviderError, SecretError) as error:
            self._region.launch_failed(spec.name, error, self._clock())
        else:
            self._region.launched(host, self._clock(), tuple(each.told for each in secrets))
        self._publish()
        self._wake.set()

    async def _run_job(self, spec: HostSpec) -> None:
        """All that may take long comes first. Then the journal says that it is begun, and only then it is."""
        jobs = self._region.jobs
        try:
            package = await self._fetch(spec)
            secrets = await self._secrets.read(spec.application, spec.template.secrets)
        except (PackageError, SecretError) as error:
            jobs.not_begun(spec.name, error, self._clock())
        else:
            if jobs.begins(spec.name):
                await self._launch_job(spec, package, secrets)
        self._publish()
        self._wake.set()

    async def _launch_job(self, spec: HostSpec, package: Path, secrets: HostSecrets) -> None:
        jobs = self._region.jobs
        try:
            self._journal.save(self._region.entries(), durable=True)
            host = await self._provider.launch(spec, package, secrets)
        except JournalError as error:
            jobs.not_begun(spec.name, PackageAwaitedError(str(error)), self._clock())
        except ProviderError as error:
            jobs.launch_failed(spec.name, error, self._clock())
        else:
            log.info("job.launched", host=host.name, group=host.group)
            jobs.launched(host, self._clock())
        self._region.hosts_changed()  # a short one has ended by now

    async def _end_job(self, record: JobRecord) -> None:
        if self._region.jobs.needs_last_look(record.host):
            record = await self._look_last(record)
        try:
            tail = await self._provider.log_tail(record.host, LOG_LINES)
        except ProviderError as error:
            tail = f"(no log: {error})"
        log.info("job.ended", host=record.host, state=record.ending or record.state, text=record.text)
        self._region.jobs.logged(record.host, tail[-JOB_LOG_LENGTH_MAX:])
        if self._kept_logs is not None and record.name:
            await self._keep_log(self._kept_logs, remain_of_job(record), tail)
        try:
            await self._provider.destroy(record.host)
        except ProviderError as error:
            log.error("host.not_destroyed", host=record.host, why=str(error))
            await asyncio.sleep(RETRY_SECONDS)
            self._region.jobs.not_destroyed(record.host)
        else:
            self._region.jobs.destroyed(record.host)
        self._publish()
        self._wake.set()

    async def _look_last(self, record: JobRecord) -> JobRecord:
        try:
            hosts = await self._provider.list_hosts()
        except ProviderError:
            hosts = []
        self._region.jobs.looked_last(record.host, hosts)
        return self._region.jobs.records.get(record.key, record)

    async def _fetch(self, spec: HostSpec) -> Path:
        package = await self._packages.fetch(spec.digest)
        if not self._region.is_wanted(spec):
            raise PackageAwaitedError("it is not wanted any more")
        if self._proof is not None:
            await self._proof.check(spec, package)
        return package

    async def _destroy(self, action: Destroy, remain: Remain | None) -> None:
        if remain is not None:
            await self._keep(remain)
        try:
            await self._provider.destroy(action.host)
        except ProviderError as error:
            log.error("host.not_destroyed", host=action.host, why=str(error))
            await asyncio.sleep(RETRY_SECONDS)
            self._region.not_destroyed(action.host, str(error))
        else:
            self._region.destroyed(action.host, self._clock())
        self._publish()
        self._wake.set()

    async def _keep(self, remain: Remain) -> None:
        """The end of its log, which goes with it."""
        try:
            tail = await self._provider.log_tail(remain.host, LOG_LINES)
        except ProviderError as error:
            tail = f"(no log: {error})"
        self._remains.keep(replace(remain, log_tail=tail[-LOG_CHARACTERS_MAX:]))
        if self._kept_logs is not None:
            await self._keep_log(self._kept_logs, remain, tail)

    async def _keep_log(self, kept: KeptLogs, remain: Remain, tail: str) -> None:
        """More of it than people are shown at first, for a day."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                piece = await self._read_log(remain.host, "", LOG_LINES_MAX, HOST_BYTES_MAX)
        except (ProviderError, TimeoutError):
            text = tail
        else:
            text = piece.text or tail
        await asyncio.to_thread(kept.keep, remain, text)

    async def _change(self, change: Change) -> None:
        why = await self._try_change(change)
        await self._view_balancer()
        if why:
            self._region.not_changed(why, self._clock())
        else:
            self._region.changed()
        self._publish()
        self._wake_at_once()

    async def _try_change(self, change: Change) -> str:
        """Why the balancer could not be changed; "" when it was, when that is not wanted any more, or when
        parts of it are left out from now on."""
        if not self._region.still_wants(change):
            return ""
        try:
            match change.action:
                case Arrange(structure):
                    await self._balancer.arrange(structure)
                case Steer(routes):
                    await self._balancer.route(routes)
        except UnfitError as error:
            self._region.unfit(error, self._clock())
        except BalancerError as error:
            return str(error)
        return ""


def breath_after(look_seconds: float) -> float:
    """How long to wait after a look that took so long. 20 hosts, 3 ms: 10 ms. 200 hosts, 30 ms: 90 ms."""
    return min(BREATH_SECONDS_MAX, max(BREATH_SECONDS, look_seconds * BREATHS_PER_LOOK))
