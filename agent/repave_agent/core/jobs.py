"""Which attempts of jobs this agent has begun, how they went, and what to do of them next. No clock, no I/O.

An attempt runs at most once: it is begun only by the agent whose journal it was given to, and only after
that journal says so (`begins`, then a save, then the launch). What is found begun and can't be followed is
unknown, and never begun again. Numbers below the highest one that was begun are used up, also when all else
is forgotten.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from repave_agent.core.host_secrets import SecretError
from repave_agent.core.ports import (
    Host,
    HostSpec,
    NotActingError,
    OutOfCapacityError,
    PackageAwaitedError,
    PackageError,
    RefusedError,
)
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredJob,
    DesiredState,
    Digest,
    GroupName,
    HostName,
    JobId,
    JobReport,
    JobState,
)

LOST_AFTER_SECONDS = 30.0
"""Providers' listings lag. A host that is missing for so long after its launch is lost, or was never made."""
AGAIN_SECONDS = 2.0
"""After an attempt could not begin for lack of something that may come."""
KEPT_MAX = 8
"""Attempts of an application that are over and no longer desired, of which is still known how they ended."""
STRAY_SECONDS = 86_400.0
"""So long the host of an attempt of which nothing is known may run: no job may take longer."""

Key = tuple[ApplicationName, JobId]
NOT_HERE = (
    "it was given to another agent, or this one's journal was lost since: nobody can say whether it ran"
)
USED_UP = "an attempt of a later number was begun here: nobody can say any more whether this one ran"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """An attempt that was begun, as the journal has it. "ready": it was not, after all, and may be."""

    id: JobId
    application: ApplicationName
    name: str
    group: GroupName
    host: HostName
    digest: Digest
    timeout_seconds: float
    state: JobState = "running"
    ending: Literal["", "stopped", "timeout"] = ""  # why this agent ends its host
    exit_code: int | None = None
    text: str = ""
    log_tail: str = ""
    is_logged: bool = False  # what it has printed was read
    is_gone: bool = False  # its host

    @property
    def key(self) -> Key:
        return self.application, self.id


@dataclass(slots=True)
class _Now:
    """What is known of a host in this life of the agent."""

    is_launching: bool = False
    launched_at: float | None = None  # when the launch was answered; None: by a life before
    is_destroying: bool = False
    seen_at: float | None = None  # first; or when it began, where its provider says so
    missing_since: float | None = None
    is_untouched: bool = False  # it is to be ended, and nothing was done to it yet


@dataclass(frozen=True, slots=True)
class EndJob:
    """Read what the host has printed, then end it. `record`: as it is known by now."""

    record: JobRecord


@dataclass(frozen=True, slots=True)
class JobPlan:
    """`begins`: to be prepared, then begun. `changed`: applications whose report is another one."""

    begins: tuple[HostSpec, ...] = ()
    ends: tuple[EndJob, ...] = ()
    changed: frozenset[ApplicationName] = frozenset()
    wake_at: float | None = None
    is_durable: bool = False  # what was noted must outlive the machine


@dataclass(slots=True)
class Jobs:
    """Those of one region. `journal` names the journal of this agent, which remembers what is here."""

    journal: str = ""
    records: dict[Key, JobRecord] = field(default_factory=dict)
    begun: dict[ApplicationName, JobId] = field(default_factory=dict)  # the highest that was
    changes: int = 0  # of what the journal has
    _desired: dict[Key, DesiredJob] = field(default_factory=dict)
    _accepted: frozenset[ApplicationName] = frozenset()  # the applications whose desired states are known
    _seen: dict[HostName, Host] = field(default_factory=dict)  # listed last
    _states: dict[HostName, _Now] = field(default_factory=dict)
    _preparing: set[Key] = field(default_factory=set)
    _retry_at: dict[Key, float] = field(default_factory=dict)
    _troubles: dict[Key, str] = field(default_factory=dict)
    _ending_strays: set[HostName] = field(default_factory=set)
    _touched: set[ApplicationName] = field(default_factory=set)
    _changes_decided: int = 0

    # ------------------------------------------------------------------------------------ what is known

    def recall(self, records: Iterable[JobRecord], begun: Mapping[ApplicationName, JobId]) -> None:
        """Takes up what the journal holds."""
        self.records = {each.key: each for each in records}
        self.begun = dict(begun)

    def wants(self, states: Iterable[DesiredState]) -> None:
        """What is desired now."""
        there = tuple(states)
        self._accepted = frozenset(state.application for state in there)
        desired = {(state.application, job.id): job for state in there for job in state.jobs}
        if desired != self._desired:
            self._touched |= {name for name, _ in desired.keys() ^ self._desired.keys()}
            self._touched |= {key[0] for key, job in desired.items() if self._desired.get(key) != job}
            self._desired = desired

    def listed(self, hosts: Iterable[Host], asked_at: float, now: float) -> None:
        """The provider's answer, as far as it is about jobs. `asked_at`: what happened since is not in it."""
        self._seen = {host.name: host for host in hosts if not host.left}
        for record in tuple(self.records.values()):
            self._look(record, asked_at, now)

    def _look(self, record: JobRecord, asked_at: float, now: float) -> None:
        state, host = self._now(record.host), self._seen.get(record.host)
        if state.is_launching or state.is_destroying:
            return
        if host is None:
            is_settled = state.launched_at is None or state.launched_at <= asked_at
            state.missing_since = state.missing_since or (now if is_settled else None)
            return
        began_at = now - host.age_seconds
        state.seen_at = began_at if state.seen_at is None else min(began_at, state.seen_at)
        state.missing_since = None
        if record.is_gone:
            self._put(replace(record, is_gone=False))  # made late, or listed late: it is ended once more
        elif record.state == "unknown" and record.key in self._desired and _tells(host):
            self._put(replace(record, state="running", text=""))
            self._look(self.records[record.key], asked_at, now)
        elif record.state == "running" and not host.is_running:
            self._ended(record, host)

    def needs_last_look(self, host: HostName) -> bool:
        """Whether it may have come to its own end since it was listed: what it came to counts, then, and not
        that it was to be ended."""
        record = self._record_of(host)
        return record is not None and record.state == "running" and self._now(host).is_untouched

    def looked_last(self, name: HostName, hosts: Iterable[Host]) -> None:
        """Right before it is ended. `hosts`: what the provider lists now; none where it does not answer."""
        self._now(name).is_untouched = False
        record, host = self._record_of(name), next((each for each in hosts if each.name == name), None)
        if record is not None and host is not None and not host.is_running and host.exit_code is not None:
            self._ended(replace(record, ending=""), host)

    def _ended(self, record: JobRecord, host: Host) -> None:
        code = host.exit_code
        if code is None:
            why = f"its exit code is not known: it {host.ended or 'ended'}"
            self._put(replace(record, state="unknown", text=why))
            return
        state: JobState = "succeeded" if code == 0 else "failed"
        self._put(replace(record, state=state, exit_code=code, text=host.ended))

    # -------------------------------------------------------------------------------------- an attempt

    def is_wanted(self, host: HostName) -> bool:
        """Whether the attempt may still begin here."""
        return self._to_begin(host) is not None

    def _to_begin(self, host: HostName) -> tuple[Key, DesiredJob] | None:
        for key, job in self._desired.items():
            if job.host == host and self._may_begin(key, job):
                return key, job
        return None

    def _may_begin(self, key: Key, job: DesiredJob) -> bool:
        record = self.records.get(key)
        if job.is_stopped or job.host in self._seen or job.journal != self.journal:
            return False
        return record.state == "ready" if record is not None else self._is_new(key)

    def _is_new(self, key: Key) -> bool:
        highest = self.begun.get(key[0])
        return highest is None or highest < key[1]

    def begins(self, host: HostName) -> bool:
        """Notes that the attempt is begun; nothing of it may happen before that is saved. False: it is not
        wanted any more."""
        found = self._to_begin(host)
        if found is None:
            self._preparing = {key for key in self._preparing if self._host_of(key) not in (None, host)}
            return False
        self._note_begun(*found)
        self._now(host).is_launching = True
        return True

    def _note_begun(self, key: Key, job: DesiredJob) -> None:
        application, number = key
        self._preparing.discard(key)
        self._troubles.pop(key, None)
        self.begun[application] = max(number, self.begun.get(application, number))
        self._put(
            JobRecord(number, application, job.name, job.group, job.host, job.digest, job.timeout_seconds)
        )

    def not_begun(self, host: HostName, error: Exception, now: float) -> None:
        """Nothing of the attempt has happened. It is tried again, unless that can't help."""
        self._states.pop(host, None)
        self._preparing = {key for key in self._preparing if self._host_of(key) not in (None, host)}
        record = self._record_of(host)
        key = next((key for key, job in self._desired.items() if job.host == host), None)
        if _is_final(error) and record is None and key is not None:
            self._note_begun(key, self._desired[key])
            record = self.records[key]
        if record is not None and _is_final(error):
            text = f"it could not begin: {error}"
            self._put(replace(record, state="failed", text=text, is_logged=True, is_gone=True))
        elif record is not None:
            self._put(replace(record, state="ready"))
        if key is not None:
            self._retry_at[key], self._troubles[key] = now + AGAIN_SECONDS, str(error)
            self._touched.add(key[0])

    def launched(self, host: Host, now: float) -> None:
        """Its command runs, or has ended already."""
        state = self._now(host.name)
        state.is_launching, state.launched_at, state.seen_at = False, now, now
        self._seen[host.name] = host
        record = self._record_of(host.name)
        if record is not None:
            self._touched.add(record.application)

    def launch_failed(self, host: HostName, error: Exception, now: float) -> None:
        """What refuses, or has no room, has begun nothing. Of all else nobody can say."""
        state = self._now(host)
        if isinstance(error, RefusedError | OutOfCapacityError | NotActingError):
            self.not_begun(host, error, now)
            return
        state.is_launching, state.launched_at = False, now
        record = self._record_of(host)
        if record is not None:
            self._put(replace(record, text=f"its launch was not answered: {error}"))

    def logged(self, host: HostName, log_tail: str) -> None:
        """What it has printed in the end was read, or can't be."""
        record = self._record_of(host)
        if record is not None and not record.is_logged:
            self._put(replace(record, is_logged=True, log_tail=log_tail))

    def destroyed(self, host: HostName) -> None:
        """Nothing is left of its host."""
        self._ending_strays.discard(host)
        self._seen.pop(host, None)
        state, record = self._states.pop(host, None), self._record_of(host)
        if record is None:
            return
        changed = replace(record, is_gone=True, is_logged=True)
        if record.state == "running":
            changed = _ended_by_us(changed, was_seen=state is not None and state.seen_at is not None)
        self._put(changed)

    def not_destroyed(self, host: HostName) -> None:
        """To be tried again."""
        self._ending_strays.discard(host)
        self._now(host).is_destroying = False

    # ---------------------------------------------------------------------------------------- decisions

    def decide(self, now: float, named: Collection[ApplicationName] | None) -> JobPlan:
        """Level-triggered, as all decisions. `named`: the applications that the controller has named."""
        begins, wakes = [], []
        for key, job in self._desired.items():
            if key not in self.records and job.host in self._seen:
                self._note_begun(key, job)  # by a life, or an agent, that has left no word
                self._now(job.host).seen_at = now
            elif self._may_begin(key, job) and key not in self._preparing:
                if now >= self._retry_at.get(key, 0.0):
                    self._preparing.add(key)
                    begins.append(_spec(key[0], job))
                else:
                    wakes.append(self._retry_at[key])
        ends = []
        for record in tuple(self.records.values()):
            self._judge(record, now, wakes)
            end = self._end(self.records[record.key])
            ends += [end] if end is not None else []
        ends += self._strays(now, named)
        self._forget()
        changed, self._touched = frozenset(self._touched), set()
        wake_at = min((at for at in wakes if at > now), default=None)
        is_durable, self._changes_decided = self.changes != self._changes_decided, self.changes
        return JobPlan(tuple(begins), tuple(ends), changed, wake_at, is_durable)

    def call_off(self, plan: JobPlan, why: str, now: float) -> JobPlan:
        """What was decided last could not be saved: nothing of it begins."""
        self._changes_decided = -1
        for end in plan.ends:
            self.not_destroyed(end.record.host)
        for spec in plan.begins:
            self.not_begun(spec.name, PackageAwaitedError(why), now)
        return JobPlan()

    def _judge(self, record: JobRecord, now: float, wakes: list[float]) -> None:
        """What the passing of time, and what is desired, make of an attempt that runs."""
        state, host = self._now(record.host), self._seen.get(record.host)
        if record.state != "running" or state.is_launching or state.is_destroying:
            return
        if host is not None and not record.ending:
            seen_at = state.seen_at if state.seen_at is not None else now
            due_at = seen_at + record.timeout_seconds
            if now >= due_at:
                self._end_soon(record, "timeout")
                return
            wakes.append(due_at)
        if state.missing_since is not None:
            lost_at = state.missing_since + LOST_AFTER_SECONDS
            if now >= lost_at:
                self._put(replace(record, state="unknown", text=record.text or "its host is lost"))
                return
            wakes.append(lost_at)
        wanted = self._desired.get(record.key)
        if wanted is not None and wanted.is_stopped and not record.ending:
            self._end_soon(record, "stopped")

    def _end_soon(self, record: JobRecord, why: Literal["stopped", "timeout"]) -> None:
        self._now(record.host).is_untouched = True
        self._put(replace(record, ending=why))

    def _end(self, record: JobRecord) -> EndJob | None:
        """One that is over leaves nothing; one that nobody asks for any more, and of which nothing is known,
        is ended when it shows itself."""
        state = self._now(record.host)
        if record.is_gone or state.is_launching or state.is_destroying:
            return None
        is_due = bool(record.ending) or record.state not in ("ready", "running", "unknown")
        if record.state == "unknown":
            host = self._seen.get(record.host)
            is_due = host is not None and (record.key not in self._desired or not host.is_running)
        if not is_due:
            return None
        state.is_destroying = True
        return EndJob(record)

    def _strays(self, now: float, named: Collection[ApplicationName] | None) -> Iterator[EndJob]:
        """Hosts of jobs of which nothing is known, once it is sure that nothing will be: by their end, and
        not before it is known what is desired of their application."""
        mine = {record.host for record in self.records.values()}
        mine |= {job.host for job in self._desired.values()}
        if named is None:
            return
        for host in self._seen.values():
            if host.application in named and host.application not in self._accepted:
                continue
            is_over = not host.is_running or host.age_seconds >= STRAY_SECONDS
            if host.name in mine or host.name in self._ending_strays or not is_over:
                continue
            self._ending_strays.add(host.name)
            nothing = JobId(0, 0)
            yield EndJob(JobRecord(nothing, host.application, "", host.group, host.name, host.digest, 0.0))

    def _forget(self) -> None:
        """The oldest ones that are over and not desired; that their numbers are used up stays known."""
        over: dict[ApplicationName, list[Key]] = {}
        for record in self.records.values():
            is_over = record.is_gone or record.state == "ready" or record.host not in self._seen
            if record.key not in self._desired and is_over and record.state != "running":
                over.setdefault(record.application, []).append(record.key)
        for keys in over.values():
            for key in sorted(keys)[:-KEPT_MAX]:
                del self.records[key]
                self.changes += 1

    # ------------------------------------------------------------------------------------------ reports

    def reports(self, application: ApplicationName) -> tuple[JobReport, ...]:
        """Of all that is desired."""
        return tuple(self._report(key, job) for key, job in self._desired.items() if key[0] == application)

    def _report(self, key: Key, job: DesiredJob) -> JobReport:
        record = self.records.get(key)
        if record is None or record.state == "ready":
            return JobReport(key[1], *self._before(key, job, is_kept=record is not None))
        is_told = record.is_logged or record.state in ("running", "unknown")
        if not is_told or (record.ending and not record.is_gone):
            return JobReport(key[1], "running", self.journal)
        return JobReport(key[1], record.state, self.journal, record.exit_code, record.text, record.log_tail)

    def _before(self, key: Key, job: DesiredJob, *, is_kept: bool) -> tuple[JobState, str, None, str]:
        """Of one that has not begun. `is_kept`: its number is not used up."""
        if not is_kept and not self._is_new(key):
            return "unknown", self.journal, None, USED_UP
        if job.is_stopped:
            is_mine = job.journal in ("", self.journal)
            return (
                ("stopped", self.journal, None, "") if is_mine else ("unknown", self.journal, None, NOT_HERE)
            )
        if job.journal not in ("", self.journal):
            return "unknown", self.journal, None, NOT_HERE
        return "ready", self.journal, None, self._troubles.get(key, "")

    # ------------------------------------------------------------------------------------------- pieces

    def _now(self, host: HostName) -> _Now:
        return self._states.setdefault(host, _Now())

    def _host_of(self, key: Key) -> HostName | None:
        job = self._desired.get(key)
        return job.host if job is not None else None

    def _record_of(self, host: HostName) -> JobRecord | None:
        return next((each for each in self.records.values() if each.host == host), None)

    def _put(self, record: JobRecord) -> None:
        if self.records.get(record.key) != record:
            self.records[record.key] = record
            self.changes += 1
            self._touched.add(record.application)


def _tells(host: Host) -> bool:
    """Whether it runs, or says how its command ended."""
    return host.is_running or host.exit_code is not None


def _ended_by_us(record: JobRecord, *, was_seen: bool) -> JobRecord:
    """What has become of one that was ended. Where its launch was never answered it may yet come."""
    if not was_seen:
        text = record.text or "it was ended, and may have run before"
        return replace(record, state="unknown", text=text)
    if record.ending == "timeout":
        text = f"it took longer than its timeout of {record.timeout_seconds:g} s"
        return replace(record, state="failed", text=text)
    return replace(record, state="stopped", text="it was ended before it had come to its own end")


def _is_final(error: Exception) -> bool:
    """Whether trying again can't help."""
    if isinstance(error, PackageError):
        return not isinstance(error, PackageAwaitedError)
    if isinstance(error, SecretError):
        return not error.is_awaited
    return isinstance(error, RefusedError)


def _spec(application: ApplicationName, job: DesiredJob) -> HostSpec:
    return HostSpec(job.host, job.group, application, job.digest, job.template, job.released_at)
