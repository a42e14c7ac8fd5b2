"""What the balancer's own checks say of hosts, where a spec makes them the source of health. Pure.

They speak only of a host that is verified and enabled. A fresh one, one that recovers and one that takes no
requests are asked by the agent's prober; so are all once the balancer can't be read, and those of which its
processes say different things.
"""

import math
from collections.abc import Callable, Iterator, Mapping

from repave_agent.core.host_health import HealthRecord
from repave_agent.core.host_records import Record
from repave_agent.core.ports import BalancerView, Server
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import DesiredGroup, GroupName, HostName, HostPhase

SILENT_SECONDS = 3.0
"""So long what the balancer said last counts while it can't be read."""
SILENT = "the balancer can't be read (health.by: balancer): the agent asks the hosts itself"


class BalancerHealth:
    """What it said last of each host, and of which hosts it is the source now."""

    def __init__(self) -> None:
        self.is_silent = False  # it can't be read, and the agent asks hosts that it spoke of
        self._told: dict[HostName, HealthRecord] = {}
        self._sources: set[HostName] = set()
        self._heard_at = -math.inf

    def tells(self, host: HostName) -> bool:
        """Whether the agent need not ask the host itself."""
        return host in self._sources

    def told(self, host: HostName) -> HealthRecord | None:
        """What it said last; without being the source any more, it counts until the host has answered."""
        return self._told.get(host)

    def answered(self, host: HostName) -> None:
        """The agent has asked the host itself."""
        if host not in self._sources:
            self._told.pop(host, None)

    def forget(self, host: HostName) -> None:
        self._sources.discard(host)
        self._told.pop(host, None)

    def hear(
        self,
        view: BalancerView,
        groups: Mapping[GroupName, DesiredGroup],
        records: Mapping[HostName, Record],
        known: Callable[[HostName], HealthRecord | None],
        now: float,
    ) -> set[HostName]:
        """Takes in what it says of the hosts of `groups`; gives those of which it says something else than
        before. `known`: what is known of a host's health so far."""
        if not view.is_running:
            return self._fall_silent(now)
        passed_at, self._heard_at, self.is_silent = self._heard_at, now, False
        told = {}
        for record, why in _spoken_of(view, groups, records):
            is_source = record.name in self._sources
            before = self._told.get(record.name) if is_source else known(record.name)
            if before is not None and not (is_source or before.is_healthy):
                continue  # the agent has found it ill, and asks until it is proved again
            start = before or HealthRecord.of(groups[record.group].template.probe)
            since = passed_at if is_source else now
            told[record.name] = _failing(start, why, since, now) if why else _passing(start, now)
        changed = {host for host in self._sources if host not in told}
        changed |= {host for host, each in told.items() if self._told.get(host) is not each}
        self._told |= told
        self._sources = {host for host, each in told.items() if each.is_healthy}
        return changed

    def _fall_silent(self, now: float) -> set[HostName]:
        if now < self._heard_at + SILENT_SECONDS:
            return set()
        alone, self._sources = self._sources, set()
        self.is_silent |= bool(alone)
        return alone


def _spoken_of(
    view: BalancerView, groups: Mapping[GroupName, DesiredGroup], records: Mapping[HostName, Record]
) -> Iterator[tuple[Record, str]]:
    """The hosts whose health is its to tell, and why it calls them down; "": it does not."""
    for name, group in groups.items():
        backend, seen = view.structure.backend(name), view.backend(name)
        if backend is None or seen is None or backend.probe != group.template.probe:
            continue
        failing = dict(seen.failing)
        for server in backend.servers:
            record = records.get(server.host)
            is_said = server.host in seen.passing or server.host in failing
            if is_said and record is not None and _is_its_to_tell(record, server):
                yield record, failing.get(server.host, "")


def _is_its_to_tell(record: Record, server: Server) -> bool:
    is_there = record.is_running and not (record.is_destroying or record.failure)
    is_serving = record.was_verified and not record.is_recovering and record.idle_since is None
    is_same = (record.address, record.port) == (server.address, server.port)
    return is_there and is_serving and is_same and record.judgement.phase is HostPhase.VERIFIED


def _passing(known: HealthRecord, now: float) -> HealthRecord:
    """The same object where that is no news."""
    if known.is_healthy and not known.failed and known.passed >= known.healthy_after and not known.reason:
        return known
    return replace(
        known,
        is_healthy=True,
        healthy_since=known.healthy_since if known.is_healthy else now,
        steady_since=now,
        was_ever_healthy=True,
        passed=known.healthy_after,
        failed=0,
        reason="",
        failed_by="",
        answered_at=now,
    )


def _failing(known: HealthRecord, why: str, passed_at: float, now: float) -> HealthRecord:
    """It counts its own failures, and may ask more often than the spec says: the host is ill once as much
    time has gone as the prober would have needed. `passed_at`: when it was last known to pass."""
    since = known.answered_at if known.failed and known.answered_at is not None else passed_at
    is_ill = now >= since + (known.unhealthy_after - 1) * known.interval_seconds
    if known.failed and known.reason == why and not is_ill:
        return known
    return replace(
        known,
        is_healthy=not is_ill,
        healthy_since=None if is_ill else known.healthy_since,
        steady_since=None,
        passed=0,
        failed=known.unhealthy_after if is_ill else 1,
        reason=why,
        failed_by=why,
        answered_at=since,
    )
