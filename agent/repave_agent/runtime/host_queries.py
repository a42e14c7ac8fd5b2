"""Answers what the controller asks of single hosts: detail, the ends of their logs, and who is an orphan.

Changes nothing, and decides nothing: the worker goes on beside it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from repave_agent.core import orphans
from repave_agent.core.host_records import Record
from repave_agent.core.observation import Limits
from repave_agent.core.ports import Host, Provider, ProviderError
from repave_agent.core.region import Region
from repave_agent.core.reports import worn_hosts
from repave_agent.runtime.host_details import detail_of
from repave_agent.runtime.host_output import NO_LOG
from repave_agent.runtime.remains import Remains
from repave_protos.protocol.queries import Hosts, HostsOf, OfHosts, Orphans
from repave_protos.protocol.values import HostDetail, HostName, HostPhase, ProbeSample

LOG_TAILS_MAX = 50
SAMPLED_MAX = 1_000
"""Hosts of one answer whose probes are told."""


class Answers:
    """Knows the hosts of one region, as they were at its last decision."""

    def __init__(
        self,
        region: Region,
        provider: Provider,
        clock: Callable[[], float],
        limits: Limits,
        remains: Remains,
        samples: Callable[[HostName, int], tuple[ProbeSample, ...]],
    ) -> None:
        self._region = region
        self._remains = remains
        self._provider = provider
        self._clock = clock
        self._limits = limits
        self._samples = samples

    async def answer(self, question: OfHosts) -> Hosts:
        """Host detail for people."""
        fates = self._fates() if isinstance(question, Orphans) else {}
        worn = self._worn()
        chosen = [record for record in self._region.records.values() if _is_chosen(record, question, fates)]
        chosen.sort(key=lambda record: record.name)
        lines = question.log_lines if isinstance(question, HostsOf) else 0
        tails = await asyncio.gather(*(self._tail(record, lines) for record in chosen[:LOG_TAILS_MAX]))
        tails += [""] * (len(chosen) - len(tails))
        probes = question.probes if isinstance(question, HostsOf) else 0
        sampled = chosen[:SAMPLED_MAX] if probes else []
        samples = {record.name: self._samples(record.name, probes) for record in sampled}
        details = (
            replace(
                detail,
                orphan=fates.get(detail.host, ""),
                worn=worn.get(detail.host, ""),
                probes=samples.get(detail.host, ()),
            )
            for detail in map(self._detail, chosen, tails)
        )
        left = map(_left, self._region.left) if isinstance(question, Orphans) else ()
        return Hosts((*details, *left, *self._gone(question)))

    def _gone(self, question: OfHosts) -> list[HostDetail]:
        if not isinstance(question, HostsOf) or not question.with_gone:
            return []
        kept = self._remains.details(question.application, question.group, question.log_lines)
        return [
            each
            for each in kept
            if each.host not in self._region.records and question.host in ("", each.host)
        ]

    def _worn(self) -> dict[HostName, str]:
        observation = self._region.seen
        groups = (group for state in observation.desired for group in state.groups if group.count > 0)
        return {
            worn.host: f"{worn.why}: {worn.text}"
            for group in groups
            for worn in worn_hosts(group, observation)
        }

    def _fates(self) -> dict[HostName, str]:
        observation = replace(self._region.seen, now=self._clock())
        return {host.name: fate for host, fate in orphans.suspects(observation, self._limits)}

    async def _tail(self, record: Record, lines: int) -> str:
        if not lines or record.is_launching:
            return ""
        if record.is_adopted:
            return f"(no log: {NO_LOG})"
        try:
            return await self._provider.log_tail(record.name, lines)
        except ProviderError as error:
            return f"(no log: {error})"

    def _detail(self, record: Record, tail: str) -> HostDetail:
        now = self._clock()
        health = self._region.health_of(record.name)
        since = health.healthy_since if health is not None else None
        return detail_of(
            record,
            record.judgement.phase,
            record.judgement.trouble,
            max(0.0, now - record.made_at),
            now - since if since is not None else 0.0,
            tail,
            unclaimed_seconds=now - record.sighting.since if record.sighting is not None else 0.0,
            public_address=record.public_address,
        )


def _left(host: Host) -> HostDetail:
    return detail_of(host, HostPhase.FAILED, host.left, host.age_seconds, orphan=f"kept: {host.left}")


def _is_chosen(record: Record, question: OfHosts, fates: Mapping[HostName, str]) -> bool:
    """`fates` are those of all orphans, if these are wanted."""
    match question:
        case Orphans():
            return record.name in fates
        case HostsOf():
            is_of_group = question.group in ("", record.group) and question.host in ("", record.name)
            return record.application == question.application and is_of_group
