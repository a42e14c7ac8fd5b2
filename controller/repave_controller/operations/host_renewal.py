"""Finds the host that a person wants replaced, by asking its region, and has that decided; renews groups.

A host's name says its group, and so its application; the same name may be there in several regions.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from repave_controller.core.commands.release import Accepted
from repave_controller.core.commands.renewal import request_renewal, request_taint
from repave_controller.core.domain.application import Application, Instant, Observed, Outcome, ServerGroup
from repave_controller.core.domain.reasons import Refusal, Refused, cli
from repave_controller.fleet.questions import RegionUnreachable
from repave_protos.protocol.values import (
    ApplicationName,
    GroupName,
    HostDetail,
    HostName,
    HostPhase,
    RegionName,
)


class Agents(Protocol):
    """Whom to ask: the sessions."""

    def query(
        self, region: RegionName, application: ApplicationName, group: str = "", /
    ) -> Awaitable[tuple[HostDetail, ...]]:
        """Raises RegionUnreachable."""


class Decider(Protocol):
    """What decides: the scheduler."""

    def applications(self) -> Mapping[ApplicationName, Application]: ...

    async def change(
        self,
        accepted: Accepted,
        change: Callable[[Application, Observed, Instant], Outcome],
        key: str,
        body: str,
        expected: tuple[str, ...],
        /,
    ) -> Accepted:
        """Raises Refused, StoreError."""


class HostRenewal:
    """One for a controller."""

    def __init__(self, decider: Decider, agents: Agents) -> None:
        self._decider = decider
        self._agents = agents

    async def taint(
        self,
        host: HostName,
        region: str,
        *,
        by: str,
        reason: str,
        key: str,
        expected: tuple[str, ...] = (),
    ) -> tuple[Accepted, RegionName]:
        """The host is replaced once a fresh one is there; also says where it is.

        Raises Refused, StoreError."""
        application, group = self._group_of(host)
        place = await self._place(application, group, host, region)

        def change(known: Application, _: Observed, now: Instant) -> Outcome:
            return request_taint(known, group.name, place, host, by, reason, now)

        accepted = Accepted(application.name, group.name, application.rollouts_total, "taint")
        return await self._decider.change(accepted, change, key, repr((host, place, reason)), expected), place

    def application_of(self, host: HostName) -> ApplicationName:
        """Raises Refused where no group has hosts of such a name."""
        return self._group_of(host)[0].name

    async def renew(
        self, name: ApplicationName, *, by: str, reason: str, key: str, expected: tuple[str, ...] = ()
    ) -> Accepted:
        """Every host of the group that serves is replaced. Raises Refused, StoreError."""
        application = self._decider.applications()[name]
        serving = application.group(application.serving)
        group = serving.name if serving is not None else GroupName("")

        def change(known: Application, _: Observed, now: Instant) -> Outcome:
            return request_renewal(known, by, reason, now)

        accepted = Accepted(name, group, application.rollouts_total, "renewal")
        return await self._decider.change(accepted, change, key, repr((group, reason)), expected)

    def _group_of(self, host: HostName) -> tuple[Application, ServerGroup]:
        name = host.rpartition("-")[0]
        known = [
            (each, group) for _, each in sorted(self._decider.applications().items()) for group in each.groups
        ]
        for application, group in known:
            if group.name == name:
                return application, group
        groups = tuple(group.name for _, group in known)
        raise Refused(Refusal.UNKNOWN_HOST_GROUP, cli("hosts"), host=host, group=name or host, known=groups)

    async def _place(
        self, application: Application, group: ServerGroup, host: HostName, region: str
    ) -> RegionName:
        """The one region that has the host. Raises Refused."""
        regions = [name for name, _ in group.sizes if region in ("", name)]
        if not regions:
            there = tuple(name for name, _ in group.sizes)
            raise Refused(Refusal.UNKNOWN_HOST_REGION, group=group.name, region=region, known=there)
        answers = await asyncio.gather(*(self._ask(name, application, group) for name in regions))
        found = {
            name: each
            for name, hosts in zip(regions, answers, strict=True)
            if isinstance(hosts, tuple)
            for each in hosts
            if each.host == host
        }
        silent = {name: why for name, why in zip(regions, answers, strict=True) if isinstance(why, str)}
        if len(found) != 1 or silent:
            raise _not_found(group, host, sorted(found), silent, answers)
        ((place, detail),) = found.items()
        if detail.phase is HostPhase.DESTROYING:
            raise Refused(Refusal.UNKNOWN_HOST_ENDING, host=host, region=place)
        return place

    async def _ask(
        self, region: RegionName, application: Application, group: ServerGroup
    ) -> tuple[HostDetail, ...] | str:
        try:
            return await self._agents.query(region, application.name, group.name)
        except RegionUnreachable as error:
            return str(error)


def _not_found(
    group: ServerGroup,
    host: HostName,
    found: list[RegionName],
    silent: dict[RegionName, str],
    answers: list[tuple[HostDetail, ...] | str],
) -> Refused:
    """In more than one region, in none, or one that may have it does not answer."""
    if len(found) > 1 or (found and silent):
        return Refused(Refusal.AMBIGUOUS_HOST, host=host, regions=tuple(found), silent=tuple(silent))
    if silent:
        return Refused(Refusal.REGION_UNREACHABLE, host=host, reasons=tuple(silent.values()))
    names = sorted({each.host for hosts in answers if isinstance(hosts, tuple) for each in hosts})
    return Refused(Refusal.UNKNOWN_HOST, group=group.name, host=host, known=tuple(names))
