"""Keeps the agent's record of every host: what was launched, adopted, verified, failed. No I/O, clock or log.

Facts only; what to do about them is decided in `reconcile`. A host's record ends when the host is destroyed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from repave_agent.core.adopted import taken_in
from repave_agent.core.balancer_health import BalancerHealth
from repave_agent.core.host_health import Health, HealthRecord, Healths, ProbeTarget, at_port
from repave_agent.core.host_phase import Judgement, judge_host
from repave_agent.core.host_records import Record, fact_of, signs_of
from repave_agent.core.observation import NO_FACT, Claims, GroupFact, HostFact
from repave_agent.core.orphans import MINUTE_SECONDS, sighted
from repave_agent.core.ports import TAKEN_BACK, BalancerView, Host, HostSpec, Structure
from repave_agent.core.reconcile import Destroy, Launch
from repave_agent.core.traffic import enabled_hosts
from repave_protos.daemon.endpoint import endpoint
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    GroupName,
    HostName,
    HostPhase,
    Notice,
)

RETRY_BASE_SECONDS = 0.5
RETRY_CAP_SECONDS = 180.0
FORGIVEN_SECONDS = 600.0
"""One setback in so long is none: an image whose hosts fall ill again and again, each some time after it was
proven, is replaced ever more slowly; a host that dies now and then is replaced at once."""
AWAIT_CAP_SECONDS = 5.0
"""While nothing speaks against the hosts: a package that is still to come, a provider without room."""
LOST_AFTER_SECONDS = 30.0
"""Providers' listings lag behind what they did. A host that is missing for so long, and that answers no probe
either, is lost."""
UNSEEN_SECONDS = 8.0
"""An agent looks at its hosts every second; one that has not for so long was frozen."""
GHOST_SECONDS = 120.0
"""How long a listing may still show a host that was destroyed."""
GONE_GROUPS_MAX = 50
"""So many groups that are gone may come back without a name that one of their hosts had."""
NOTHING_KNOWN = Claims()


@dataclass(frozen=True, slots=True)
class Known:
    """The hosts known before the provider was asked; `settled`: neither made nor ended just then."""

    names: frozenset[HostName]
    settled: frozenset[HostName]
    asked_at: float | None = None  # None: such a listing proves no orphan


class Fleet:
    """All hosts of the region, and what must be remembered of their groups."""

    def __init__(self) -> None:
        self.records: dict[HostName, Record] = {}
        self.of_group: dict[GroupName, dict[HostName, Record]] = {}  # the same records
        self.groups: dict[GroupName, GroupFact] = {}
        self.touched: set[GroupName] = set()  # of which something has changed since it was emptied
        self.changes = 0  # so often has something changed that may have to be saved
        self._unsorted: set[HostName] = set()  # whether they take requests was not looked at yet
        self._structure: Structure | None = None  # that whether hosts take requests was taken from last
        self.troubles: dict[GroupName, str] = {}
        self.condemned: set[HostName] = set()  # their end was begun, by this agent or one before it
        self._gone: dict[HostName, float] = {}  # destroyed lately, when
        self._judged_at = float("inf")
        self.orphans_ended: tuple[float, ...] = ()  # when, within the last minute
        self.launches_begun: tuple[float, ...] = ()  # when, within the last minute
        self._probes: dict[HostName, ProbeTarget] = {}  # of the hosts that are to be probed
        self._are_probes_given = False
        self.health: dict[HostName, Health] = {}  # what their probes had said when that was looked at last
        self.balancer_health = BalancerHealth()
        self.adopted_seen: set[GroupName] = set()  # adopted groups whose hosts the balancer has told of
        self.left: tuple[Host, ...] = ()  # that count as gone, and may still run
        self.notices: list[Notice] = []  # not yet taken

    # -------------------------------------------------------------------------------- what happened

    @property
    def probes(self) -> Mapping[HostName, ProbeTarget]:
        """Of the hosts that are to be probed: the same object as long as nothing changes."""
        self._are_probes_given = True
        return self._probes

    def touch(self, group: GroupName) -> None:
        """Something of the group or its hosts has changed: it must be judged again."""
        self.touched.add(group)
        self.changes += 1

    def _set_fact(self, group: GroupName, fact: GroupFact) -> None:
        if self.groups.get(group) != fact:
            self.groups[group] = fact
            self.touch(group)

    def _add(self, record: Record) -> None:
        self.records[record.name] = record
        self.of_group.setdefault(record.group, {})[record.name] = record
        self._unsorted.add(record.name)
        self.touch(record.group)

    def _drop(self, name: HostName) -> Record:
        record = self.records.pop(name)
        left = self.of_group[record.group]
        del left[name]
        if not left:
            del self.of_group[record.group]
        self._unsorted.discard(name)
        self._unwatch(name)
        self.balancer_health.forget(name)
        self.touch(record.group)
        return record

    def launching(self, launch: Launch, now: float) -> list[HostSpec]:
        """Launches begin; the names of the fresh hosts are used up."""
        group, fact = launch.group, self.fact(launch.group.name)
        end = fact.next_ordinal + launch.count
        self.groups[group.name] = replace(fact, next_ordinal=end)
        self.touch(group.name)
        recent = (at for at in self.launches_begun if at > now - MINUTE_SECONDS)
        self.launches_begun = (*recent, *(now for _ in range(launch.count)))
        specs = [_spec(launch, ordinal) for ordinal in range(fact.next_ordinal, end)]
        for spec in specs:
            record = Record(spec.name, spec.group, spec.application, spec.digest, spec.port, now, now)
            record.is_launching = True
            self._add(record)
        return specs

    def launched(self, host: Host, now: float, secrets: tuple[str, ...] = ()) -> None:
        record = self.records[host.name]
        record.is_launching, record.launched_at, record.address = False, now, host.address
        record.launch_time, record.is_spot = host.launched_at, host.is_spot
        record.public_address = host.public_address
        self.touch(record.group)
        fact = self.fact(host.group)
        self._set_fact(host.group, replace(fact, launched_total=fact.launched_total + 1))
        handed = f", with {', '.join(secrets)}" if secrets else ""
        self.tell("host.launched", f"{host.name} runs on {endpoint(host.address, host.port)}{handed}", record)

    def launch_failed(self, name: HostName, why: str, now: float, *, counts: bool, is_final: bool) -> None:
        """Nothing is left of the launch. `counts`: as the group's failure; `is_final`: trying is no use."""
        record = self._drop(name)
        fact = self.fact(record.group)
        failed = replace(
            fact, failures=fact.failures + int(counts), refused=why if is_final else fact.refused
        )
        paused = _paused(failed, now, RETRY_CAP_SECONDS if counts else AWAIT_CAP_SECONDS)
        self._set_fact(record.group, paused)
        self.tell("host.not_launched", f"{name} could not be made: {why}", record)
        self.troubles[record.group] = why

    def known(self, now: float | None = None) -> "Known":
        """To be taken before the provider is asked: what changes meanwhile is not in its answer."""
        settled = {
            record.name
            for record in self.records.values()
            if not (record.is_launching or record.is_destroying or record.is_adopted)
        }
        return Known(frozenset(self.records), frozenset(settled), now)

    def adopt(self, hosts: Iterable[Host], known: "Known", verified: set[HostName], now: float) -> None:
        """Takes over what the provider lists, late as that may be."""
        self._gone = {name: at for name, at in self._gone.items() if now < at + GHOST_SECONDS}
        there = tuple(hosts)
        self.left = tuple(host for host in there if host.left)
        listed = {host.name: host for host in there if host.name not in self._gone and not host.left}
        for host in listed.values():
            record = self.records.get(host.name)
            if record is None and host.name not in known.names:
                made_at = now - host.age_seconds
                record = Record(host.name, host.group, host.application, host.digest, host.port, now, made_at)
                record.was_verified = host.name in verified
                record.failure = "its end had begun" if host.name in self.condemned else ""
                self._add(record)
                self._use_up(host)
            if record is not None and not record.is_launching:
                before = (record.address, record.is_running, record.ended, record.launch_time)
                record.address = host.address
                self._note_whether_it_runs(record, host)
                record.missing_since, record.listed_at = None, known.asked_at
                record.launch_time, record.is_spot = host.launched_at, host.is_spot
                record.public_address = host.public_address
                if before != (record.address, record.is_running, record.ended, record.launch_time):
                    self.touch(record.group)
        for name in sorted(known.settled - listed.keys()):
            if name in self.records:
                self._miss(self.records[name], now)

    def take_in(
        self, desired: Iterable[DesiredState], verified: set[HostName], view: BalancerView, now: float
    ) -> None:
        """Hosts of adopted groups count as there from the moment at which they are wanted. `verified`: those
        that the journal names."""
        adopted = {group.name: (group, each) for each in desired for group in each.groups if group.is_adopted}
        for record in [each for each in self.records.values() if each.is_adopted]:
            if record.group not in adopted:
                self._drop(record.name)
        self.adopted_seen &= adopted.keys()
        for name, (group, state) in adopted.items():
            there, known = self.of_group.get(name, {}), None if name in self.adopted_seen else view.structure
            for record in list(taken_in(group, state.application, there, verified, known, now)):
                self._add(record)
                self.tell(
                    "host.adopted", f"{record.name} is {_place(record)}, which was there before", record
                )
            if view.is_running:
                self.adopted_seen.add(name)

    def let_go(self, name: HostName) -> None:
        """An adopted host gets no more requests, and is its owner's alone again."""
        record = self._drop(name)
        fact = self.fact(record.group)
        self._set_fact(record.group, replace(fact, destroyed_total=fact.destroyed_total + 1))
        self.tell("host.let_go", f"{name}, {_place(record)}, is let go: it runs on, untouched", record)

    def _note_whether_it_runs(self, record: Record, host: Host) -> None:
        record.unseen = host.unseen
        record.is_running, record.ended = host.is_running, host.ended
        if host.is_running and host.unseen and not self._answers(record):
            record.is_running, record.ended = False, host.unseen

    def _miss(self, record: Record, now: float) -> None:
        if record.missing_since is None:
            record.missing_since = now
        if now >= record.missing_since + LOST_AFTER_SECONDS and not self._answers(record):
            taken = f": {TAKEN_BACK}" if record.is_spot else ""
            record.is_running, record.ended = False, f"its provider has lost it{taken}"
            self.touch(record.group)

    def _answers(self, record: Record) -> bool:
        """A host that answers its probe is there, whatever its provider says."""
        health = self.health_of(record.name)
        return health is not None and health.is_healthy

    def _use_up(self, host: Host) -> None:
        """A journal that was lost, or is older than the host, must not give its name to another one."""
        ordinal = host.name.rpartition("-")[2]
        fact = self.fact(host.group)
        if ordinal.isdecimal() and int(ordinal) >= fact.next_ordinal:
            self._set_fact(host.group, replace(fact, next_ordinal=int(ordinal) + 1))

    def destroying(self, name: HostName, now: float) -> None:
        """The host begins to end."""
        record = self.records[name]
        if record.judgement.phase is HostPhase.UNHEALTHY and self.fact(record.group).is_proven:
            # It is ended because it is ill: the next one that falls ill is replaced more slowly.
            self._set_fact(record.group, _paused(self.fact(record.group), now, RETRY_CAP_SECONDS))
        record.is_destroying = True
        self.touch(record.group)
        self.condemned.add(name)
        if record.sighting is not None:
            self.orphans_ended = (
                *(at for at in self.orphans_ended if at > now - MINUTE_SECONDS),
                now,
            )

    def note_drift(self, name: HostName, drift: str, now: float) -> None:
        """The host was looked at, if it is still there."""
        record = self.records.get(name)
        if record is not None:
            record.inspected_at, record.drift = now, record.drift or drift
            if drift:
                self.touch(record.group)

    def note_worn(self, reports: Iterable[ApplicationReport]) -> None:
        """Noticed once for each host."""
        for worn in (each for report in reports for group in report.groups for each in group.worn):
            record = self.records.get(worn.host)
            if record is not None and not record.is_worn_noticed and worn.why != "asked":
                record.is_worn_noticed = True
                self.tell("host.worn", f"{worn.host} is worn: {worn.text}", record)

    def call_off(self, destroys: Iterable[Destroy]) -> list[Destroy]:
        """They could not be written down: gives those that may go on all the same, and undoes the beginning
        of the others. A next agent that knows nothing of it would give traffic to a host while it still ends;
        not so to one that has ended by itself, and ending that may be what makes room for the journal."""
        goes_on = []
        for destroy in destroys:
            record = self.records[destroy.host]
            if not record.is_running and record.missing_since is None:
                goes_on.append(destroy)
                continue
            record.is_destroying = False
            self.touch(record.group)
            if not record.failure:  # a failed one is never used again, written down or not
                self.condemned.discard(record.name)
            if record.sighting is not None:
                self.orphans_ended = self.orphans_ended[:-1]
        return goes_on

    def note_orphans(self, names: Iterable[HostName]) -> None:
        """They are proven to be orphans: noticed once for each."""
        for record in (self.records[name] for name in names):
            if record.sighting is not None and not record.is_orphan_noticed:
                record.is_orphan_noticed = True
                self.tell("host.orphaned", f"{record.name} is an orphan: {record.sighting.why}", record)

    def not_destroyed(self, name: HostName, why: str) -> None:
        """What became of it is unknown: it may still end at any moment, and is never used again."""
        record = self.records[name]
        record.is_destroying, record.failure = False, f"it could not be destroyed: {why}"
        self.touch(record.group)

    def destroyed(self, name: HostName, now: float) -> None:
        record = self._drop(name)
        self._gone[name] = now
        self.condemned.discard(name)
        fact = self.fact(record.group)
        self._set_fact(record.group, replace(fact, destroyed_total=fact.destroyed_total + 1))
        self.tell("host.destroyed", f"{name} is destroyed", record)

    def note_routed(self, groups: Iterable[GroupName]) -> None:
        """They have traffic, or are about to: they must be drained when they go."""
        for name in groups:
            fact = self.fact(name)
            if not fact.was_routed or fact.drain_since is not None:
                self._set_fact(name, replace(fact, was_routed=True, drain_since=None))

    def note_enabled(self, balancer: BalancerView, now: float) -> None:
        """A host that is not enabled any more finishes its requests from now on. One that is was
        verified, also if the journal that said so was lost."""
        if not balancer.is_consistent or (balancer.structure is self._structure and not self._unsorted):
            return
        enabled = enabled_hosts(balancer)
        for record in self.records.values():
            before = (record.idle_since, record.was_verified)
            if record.name in enabled:
                record.idle_since, record.was_verified = None, True
            elif record.idle_since is None:
                record.idle_since = now
            if before != (record.idle_since, record.was_verified):
                self.touch(record.group)
        self._structure, self._unsorted = balancer.structure, set()

    def suspect_routed(self, balancer: BalancerView) -> None:
        """Who has requests has had traffic, also when no journal says so any more."""
        self.note_routed(backend.group for backend in balancer.backends if backend.in_flight)

    def begin_drain(self, group: GroupName, now: float) -> None:
        self._set_fact(group, replace(self.fact(group), drain_since=now))

    def desired_changed(self, desired: Iterable[DesiredState]) -> None:
        """A group that is wanted again has not begun to drain; of a group that is not named and has no hosts
        only the names of its hosts are remembered, for it may be wanted once more."""
        groups = {group.name: group for state in desired for group in state.groups}
        named = groups.keys() | {record.group for record in self.records.values()}
        self.troubles = {name: text for name, text in self.troubles.items() if name in named}
        gone = [(name, fact) for name, fact in self.groups.items() if name not in named]
        remembered = {
            name: GroupFact(next_ordinal=fact.next_ordinal) for name, fact in gone[-GONE_GROUPS_MAX:]
        }
        self.groups = remembered | {
            name: replace(fact, drain_since=None) if _drains_no_more(fact, groups.get(name)) else fact
            for name, fact in self.groups.items()
            if name in named
        }
        self.changes += 1

    # ------------------------------------------------------------------------------ what it amounts to

    def fact(self, group: GroupName) -> GroupFact:
        return self.groups.get(group, NO_FACT)

    def judge(
        self,
        desired: Mapping[GroupName, DesiredGroup],
        now: float,
        claims: Claims = NOTHING_KNOWN,
        others: Iterable[GroupName] | None = None,
    ) -> tuple[HostFact, ...]:
        """The phase at `now` of every host of these groups and of `others`, and whether it is unclaimed by
        `claims`. What newly failed or was newly verified is remembered, and a notice made of it. `others`:
        groups that are not desired; by default all that there are."""
        self.forgive(now)
        self._try_again(desired)
        self._outdate(desired.values())
        judged = (*desired, *(self.of_group.keys() - desired.keys() if others is None else others))
        records = [record for name in judged for record in self.of_group.get(name, {}).values()]
        for record in records:
            group = desired.get(record.group)
            self._watch(record, group)
            if group is None:
                record.launched_at = now  # it is not probed: its time to start has not begun
            why = claims.why_unclaimed(record.application, record.group)
            record.sighting = sighted(record.sighting, why, record.listed_at, now)
            record.is_orphan_noticed = record.is_orphan_noticed and record.sighting is not None
            signs = signs_of(record, self.health_of(record.name))
            self._take(record, judge_host(signs, group, now), now)
        self._prove(desired)
        return tuple(fact_of(record) for record in records)

    def forgive(self, now: float) -> None:
        """An agent that stood still probed no host: that time counts against no starting host."""
        unseen_seconds = now - self._judged_at
        self._judged_at = now
        if unseen_seconds < UNSEEN_SECONDS:
            return
        for record in self.records.values():
            if not record.was_verified and not record.is_launching:
                record.launched_at += unseen_seconds
                self.touch(record.group)

    def _try_again(self, desired: Mapping[GroupName, DesiredGroup]) -> None:
        """A person has asked for another attempt: what failed in the one before counts no longer. A group
        that grows has to prove itself anew."""
        for name, group in desired.items():
            fact = self.fact(name)
            if group.attempt > fact.attempt:
                fresh = replace(fact, attempt=group.attempt, failures=0, setbacks=0, refused="", retry_at=0.0)
                self._set_fact(name, fresh)
                self.troubles.pop(name, None)
            elif fact.is_proven and not group.is_proven and group.count > fact.proven_count:
                self._set_fact(name, replace(fact, is_proven=False))

    def _outdate(self, desired: Iterable[DesiredGroup]) -> None:
        """When a group's generation grows, the hosts that are there are of an older one."""
        for group in desired:
            fact = self.fact(group.name)
            if group.generation > fact.generation:
                fresh_from = fact.next_ordinal
                renewed = replace(fact, generation=group.generation, fresh_from=fresh_from)
                self._set_fact(group.name, renewed)

    def _watch(self, record: Record, group: DesiredGroup | None) -> None:
        is_there = record.is_running and record.address and not (record.failure or record.is_destroying)
        if group is None or not is_there:
            self._unwatch(record.name)
            self.balancer_health.forget(record.name)
        elif self.balancer_health.tells(record.name):
            self._unwatch(record.name)
        else:
            known, probe = self._probes.get(record.name), at_port(group.template.probe, record.port)
            if known is None or known.address != record.address or known.probe is not probe:
                self._own_probes()[record.name] = ProbeTarget(
                    record.address, probe, is_quoted=not record.is_adopted
                )

    def _unwatch(self, host: HostName) -> None:
        self.health.pop(host, None)
        if host in self._probes:
            del self._own_probes()[host]

    def _own_probes(self) -> dict[HostName, ProbeTarget]:
        if self._are_probes_given:
            self._probes, self._are_probes_given = dict(self._probes), False
        return self._probes

    def hear_probes(self, health: Healths) -> None:
        """What the probes of these hosts have said so far."""
        for host, known in health.items():
            record, before = self.records.get(host), self.health.get(host)
            if record is None or (before is not None and before.record is known.record):
                continue
            self.health[host] = known
            if known.record.answered_at is not None:
                self.balancer_health.answered(host)
            if before is None or _verdict(before) != _verdict(known):
                self.touch(record.group)

    def hear_balancer(self, view: BalancerView, groups: Mapping[GroupName, DesiredGroup], now: float) -> None:
        """What its own checks say of the hosts of `groups`, whose health is its to tell."""
        for host in self.balancer_health.hear(view, groups, self.records, self.health_of, now):
            if (record := self.records.get(host)) is not None:
                self.touch(record.group)

    def health_of(self, host: HostName) -> HealthRecord | None:
        """What the host's probes, or the balancer's, have said; None when it is not to be probed."""
        told = self.balancer_health.told(host)
        target, known = self._probes.get(host), self.health.get(host)
        if target is None or self.balancer_health.tells(host):
            return told
        own = known.record if known is not None and known.target == target else HealthRecord.of(target.probe)
        return own if told is None or own.answered_at is not None else told

    def _take(self, record: Record, judgement: Judgement, now: float) -> None:
        before, record.judgement = record.judgement, judgement
        if record.is_adopted and judgement.phase is HostPhase.STARTING and judgement != before:
            self._tell_silent(record)
        if judgement.phase == before.phase:
            return
        match judgement.phase:
            case HostPhase.VERIFIED:
                record.was_verified, record.is_recovering = True, False
                self.changes += 1
            case HostPhase.FAILED if not record.failure:
                record.failure = judgement.trouble or "it failed"
                self._count_failure(record, now)
            case HostPhase.UNHEALTHY:
                record.is_recovering = True
                self.troubles[record.group] = f"{record.name}: {judgement.trouble}"
                self.tell("host.unhealthy", f"{record.name}: {judgement.trouble}", record)
            case _:
                pass

    def _tell_silent(self, record: Record) -> None:
        """An adopted host that has not passed a probe yet has no deadline, after which it would be told."""
        if record.judgement.trouble:
            self.troubles[record.group] = f"{record.name}: {record.judgement.trouble}"
            self.tell("host.unhealthy", f"{record.name}: {record.judgement.trouble}", record)

    def _count_failure(self, record: Record, now: float) -> None:
        fact = self.fact(record.group)
        failed = replace(fact, failures=fact.failures + 1)
        self._set_fact(record.group, _paused(failed, now, RETRY_CAP_SECONDS))
        self.troubles[record.group] = f"{record.name}: {record.failure}"
        self.tell("host.failed", f"{record.name}: {record.failure}", record)

    def _prove(self, desired: Mapping[GroupName, DesiredGroup]) -> None:
        """A group whose hosts are all verified at once is proven, and its troubles are over."""
        for name, group in desired.items():
            hosts = self.of_group.get(name, {}).values()
            verified = sum(record.judgement.phase is HostPhase.VERIFIED for record in hosts)
            fact = self.fact(name)
            if group.count > 0 and verified >= group.count:
                self.troubles.pop(name, None)
                if _is_proven_by(fact, group):
                    continue
                # What went wrong before the first proof is over. Later setbacks are forgiven by time alone.
                setbacks = fact.setbacks if fact.is_proven else 0
                proven = replace(fact, is_proven=True, proven_count=group.count)
                self._set_fact(name, replace(proven, failures=0, setbacks=setbacks, refused=""))

    def tell(self, kind: str, text: str, record: Record) -> None:
        """For people: to the agent's log, and up to the controller's events."""
        self.notices.append(Notice(kind, text, record.application, record.group, record.name))


def _place(record: Record) -> str:
    return endpoint(record.address, record.port)


def _is_proven_by(fact: GroupFact, group: DesiredGroup) -> bool:
    """And nothing went wrong since."""
    return fact.is_proven and fact.proven_count == group.count and not fact.failures and not fact.refused


def _drains_no_more(fact: GroupFact, group: DesiredGroup | None) -> bool:
    return fact.drain_since is not None and group is not None and group.count > 0


def _verdict(health: Health) -> tuple[object, ...]:
    """What of a verified host's health may change its phase."""
    return health.target, health.record.is_healthy, health.record.reason


def _paused(fact: GroupFact, now: float, cap_seconds: float) -> GroupFact:
    """No launch for a while, which doubles with every setback that is not forgiven yet. What fails while
    launches wait anyway is part of the same setback: a rack of hosts that die at once is healed as soon as
    one host."""
    if now < fact.retry_at:
        return fact
    forgiven = int(max(0.0, now - fact.setback_at) // FORGIVEN_SECONDS)
    setbacks = max(0, fact.setbacks - forgiven)
    pause = min(cap_seconds, RETRY_BASE_SECONDS * 2.0 ** min(setbacks, 16))
    if pause < cap_seconds:  # more would make no longer pause, and only take longer to be forgiven
        setbacks += 1
    return replace(fact, setbacks=setbacks, setback_at=now, retry_at=now + pause)


def _spec(launch: Launch, ordinal: int) -> HostSpec:
    group = launch.group
    return HostSpec(
        name=HostName(f"{group.name}-{ordinal}"),
        group=group.name,
        application=launch.state.application,
        digest=group.digest,
        template=group.template,
        released_at=group.released_at,
    )
