"""Keeps the agent's record of every host: what was launched, adopted, verified, failed.

Facts only; what to do about them is decided in `reconcile`. A host's record ends when the host is destroyed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from repave_agent.health import HealthRecord, Prober
from repave_agent.life import Judgement, Signs, judge_host
from repave_agent.observation import GroupFact, HostFact
from repave_agent.ports import Host, HostSpec
from repave_protos.values import (
    ApplicationName,
    DesiredGroup,
    Digest,
    GroupName,
    HostName,
    HostPhase,
    Notice,
)

log = structlog.get_logger()

RETRY_BASE_SECONDS = 0.5
RETRY_CAP_SECONDS = 60.0


@dataclass(slots=True)
class Record:
    """One host as this agent knows it."""

    name: HostName
    group: GroupName
    application: ApplicationName
    digest: Digest
    port: int
    launched_at: float
    address: str = ""
    is_launching: bool = False
    is_destroying: bool = False
    is_running: bool = True
    ended: str = ""
    failure: str = ""
    was_verified: bool = False
    is_recovering: bool = False  # was verified, then unhealthy, and not yet verified again
    unclaimed_since: float | None = None
    judgement: Judgement = Judgement(HostPhase.LAUNCHING)  # noqa: RUF009  # frozen


@dataclass(frozen=True, slots=True)
class Known:
    """The hosts known before the provider was asked; `settled`: neither made nor ended just then."""

    names: frozenset[HostName]
    settled: frozenset[HostName]


class Fleet:
    """All hosts of the region, and what must be remembered of their groups."""

    def __init__(self, prober: Prober, notice: Callable[[Notice], None]) -> None:
        self.records: dict[HostName, Record] = {}
        self.groups: dict[GroupName, GroupFact] = {}
        self.troubles: dict[GroupName, str] = {}
        self._prober = prober
        self._notice = notice

    # -------------------------------------------------------------------------------- what happened

    def launching(self, spec: HostSpec, now: float) -> None:
        """A launch begins; its name is used up."""
        self.records[spec.name] = Record(
            spec.name, spec.group, spec.application, spec.digest, spec.port, now, is_launching=True
        )

    def launched(self, host: Host, now: float) -> None:
        record = self.records[host.name]
        record.is_launching, record.launched_at, record.address = False, now, host.address
        fact = self.fact(host.group)
        self.groups[host.group] = replace(fact, launched_total=fact.launched_total + 1)
        self.tell("host.launched", f"{host.name} runs on {host.address}:{host.port}", record)

    def launch_failed(self, name: HostName, why: str, now: float, *, counts: bool, is_final: bool) -> None:
        """Nothing is left of the launch. `counts`: as the group's failure; `is_final`: trying is no use."""
        record = self.records.pop(name)
        fact = self.fact(record.group)
        failures = fact.failures + int(counts)
        self.groups[record.group] = replace(
            fact, failures=failures, retry_at=now + _pause(failures + 1), refused=why if is_final else ""
        )
        self.tell("host.not_launched", f"{name} could not be made: {why}", record)
        self.troubles[record.group] = why

    def known(self) -> "Known":
        """To be taken before the provider is asked: what changes meanwhile is not in its answer."""
        settled = {
            record.name
            for record in self.records.values()
            if not (record.is_launching or record.is_destroying)
        }
        return Known(frozenset(self.records), frozenset(settled))

    def adopt(self, hosts: Iterable[Host], known: "Known", verified: set[HostName], now: float) -> None:
        """Takes over what the provider lists; the truth about which hosts exist and run."""
        listed = {host.name: host for host in hosts}
        for host in listed.values():
            record = self.records.get(host.name)
            if record is None and host.name not in known.names:
                record = Record(host.name, host.group, host.application, host.digest, host.port, now)
                record.was_verified = host.name in verified
                self.records[host.name] = record
            if record is not None and not record.is_launching:
                record.address, record.is_running, record.ended = host.address, host.is_running, host.ended
        for name in known.settled - listed.keys():
            if name in self.records:
                self.records[name].is_running, self.records[name].ended = False, "its provider has lost it"

    def destroyed(self, name: HostName) -> None:
        record = self.records.pop(name)
        self._prober.forget(name)
        fact = self.fact(record.group)
        self.groups[record.group] = replace(fact, destroyed_total=fact.destroyed_total + 1)
        self.tell("host.destroyed", f"{name} is destroyed", record)

    # ------------------------------------------------------------------------------ what it amounts to

    def fact(self, group: GroupName) -> GroupFact:
        return self.groups.get(group, GroupFact())

    def judge(self, desired: Mapping[GroupName, DesiredGroup], now: float) -> tuple[HostFact, ...]:
        """Every host's phase at `now`. What newly failed or was newly verified is remembered and told."""
        for record in self.records.values():
            group = desired.get(record.group)
            self._watch(record, group)
            if group is not None:
                record.unclaimed_since = None
            elif record.unclaimed_since is None:
                record.unclaimed_since = now
            self._take(record, judge_host(self._signs(record), group, now), now)
        self._prove(desired)
        return tuple(_fact(record) for record in self.records.values())

    def _watch(self, record: Record, group: DesiredGroup | None) -> None:
        is_probed = group is not None and record.is_running and record.address and not record.failure
        if is_probed and group is not None and not record.is_destroying:
            self._prober.watch(record.name, record.address, group.probe)
        else:
            self._prober.forget(record.name)

    def _signs(self, record: Record) -> Signs:
        health = self._prober.record(record.name)
        return Signs(
            launched_at=record.launched_at,
            is_launching=record.is_launching,
            is_destroying=record.is_destroying,
            failure=record.failure,
            is_running=record.is_running,
            ended=record.ended,
            is_healthy=_verdict(health),
            healthy_since=_since(health, record),
            health_reason=health.reason if health is not None else "",
            was_verified=record.was_verified,
            is_recovering=record.is_recovering,
        )

    def _take(self, record: Record, judgement: Judgement, now: float) -> None:
        before, record.judgement = record.judgement, judgement
        if judgement.phase == before.phase:
            return
        match judgement.phase:
            case HostPhase.VERIFIED:
                record.was_verified, record.is_recovering = True, False
            case HostPhase.FAILED if not record.failure:
                record.failure = judgement.trouble or "it failed"
                self._count_failure(record, now)
            case HostPhase.UNHEALTHY:
                record.is_recovering = True
                self.troubles[record.group] = f"{record.name}: {judgement.trouble}"
                self.tell("host.unhealthy", f"{record.name}: {judgement.trouble}", record)
            case _:
                pass

    def _count_failure(self, record: Record, now: float) -> None:
        fact = self.fact(record.group)
        failures = fact.failures + 1
        self.groups[record.group] = replace(fact, failures=failures, retry_at=now + _pause(failures))
        self.troubles[record.group] = f"{record.name}: {record.failure}"
        self.tell("host.failed", f"{record.name}: {record.failure}", record)

    def _prove(self, desired: Mapping[GroupName, DesiredGroup]) -> None:
        """A group whose hosts are all verified at once is proven, and its troubles are over."""
        for name, group in desired.items():
            verified = sum(
                record.group == name and record.judgement.phase is HostPhase.VERIFIED
                for record in self.records.values()
            )
            fact = self.fact(name)
            if group.count > 0 and verified >= group.count:
                self.troubles.pop(name, None)
                if not fact.is_proven or fact.failures:
                    self.groups[name] = replace(fact, is_proven=True, failures=0, refused="")

    def tell(self, kind: str, text: str, record: Record) -> None:
        """For people: to the agent's log, and up to the controller's events."""
        log.info(kind, host=record.name, group=record.group, text=text)
        self._notice(Notice(kind, text, record.application, record.group, record.name))


def _fact(record: Record) -> HostFact:
    return HostFact(
        name=record.name,
        group=record.group,
        application=record.application,
        phase=record.judgement.phase,
        address=record.address,
        port=record.port,
        launched_at=record.launched_at,
        unclaimed_since=record.unclaimed_since,
        due_at=record.judgement.due_at,
    )


def _verdict(health: HealthRecord | None) -> bool | None:
    """None while too few probes have answered to say either."""
    if health is None:
        return None
    if health.is_healthy:
        return True
    return False if health.failed >= health.unhealthy_after else None


def _since(health: HealthRecord | None, record: Record) -> float | None:
    """A host that has not proved itself must not fail a single probe; later the thresholds forgive some."""
    if health is None:
        return None
    return health.healthy_since if record.was_verified else health.steady_since


def _pause(failures: int) -> float:
    """Before the next launch of the group; doubles with every failure in a row."""
    return min(RETRY_CAP_SECONDS, RETRY_BASE_SECONDS * 2.0 ** min(failures - 1, 16))
