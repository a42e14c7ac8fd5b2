"""Hosts, as their regions' agents tell of them; renewed and tainted."""

import asyncio

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.answers.queries import HostsQuery
from repave_controller.api.resources.names import Names
from repave_controller.api.web.callers import require
from repave_controller.api.web.negotiation import generations_in
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.paging import paged
from repave_controller.api.web.requests import body_of, key_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.naming import NamingError, parse_group
from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.fleet.sessions import Sessions
from repave_controller.operations.host_renewal import HostRenewal
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.principals import Permission
from repave_protos.protocol.values import ApplicationName, HostName, RegionName

REGIONS_AT_ONCE = 20
"""Of a page: more hosts are asked for than it needs, as many as these regions have."""


LIST_REFUSES = ("422 unknown-region", "unknown-group")
TAINT_REFUSES = (
    "unknown-host",
    "unknown-application",
    "ambiguous-host",
    "region-unreachable",
    "group-failed",
    "retiring-group",
    "too-many-tainted",
    "nothing-to-renew",
)


class Hosts:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, sessions: Sessions, names: Names) -> None:
        self._scheduler, self._sessions, self._names = scheduler, sessions, names
        self._host_renewal = HostRenewal(scheduler, sessions)

    def routes(self) -> tuple[Route, ...]:
        one = "applications/{application}"
        return (
            Route("GET", "hosts", self.hosts, models.HostsAnswer, query=HostsQuery, refuses=LIST_REFUSES),
            Route(
                "GET", f"{one}/hosts", self.hosts, models.HostsAnswer, query=HostsQuery, refuses=LIST_REFUSES
            ),
            Route(
                "POST",
                f"{one}/renew",
                self.renew,
                models.AcceptedAnswer,
                models.RenewRequest,
                refuses=("nothing-to-renew", "rollout-running"),
            ),
            Route(
                "POST",
                "hosts/{host}/taint",
                self.taint,
                models.TaintAnswer,
                models.TaintRequest,
                refuses=TAINT_REFUSES,
            ),
        )

    async def hosts(self, request: web.Request) -> web.Response:
        """The hosts, asked of their regions just now; `unreachable` names regions that could not be."""
        query = query_of(request, HostsQuery)
        after = query.after or query.cursor
        asked: dict[RegionName, list[ApplicationName]] = {}
        known = self._scheduler.applications()
        names = self._names.all(request)
        self._names.check_region(query.region, names if "application" in request.match_info else None)
        if not (query.gone and any(_has_had(known[name], query.group) for name in names)):
            self._names.check_group(query.group, names)
        for name in names:
            for region in _regions_of(known[name], with_gone=query.gone):
                if query.region in ("", region):
                    asked.setdefault(region, []).append(name)
        items: list[models.HostItem] = []
        unreachable: dict[str, str] = {}
        left = sorted(region for region in asked if region > after)
        while left and (not query.limit or len(items) < query.limit):
            now = left[: REGIONS_AT_ONCE if query.limit else None]
            del left[: len(now)]
            for found, missing in await asyncio.gather(
                *(self._hosts_of(region, asked[region], query) for region in now)
            ):
                items += found
                unreachable |= dict(missing)
        items = [each for each in items if query.host in ("", each.name)]
        items.sort(key=_place)
        last = now[-1] if left else ""
        return paged(request, models.HostsAnswer(items=items, unreachable=unreachable, next=last))

    async def _hosts_of(
        self, region: RegionName, names: list[ApplicationName], query: HostsQuery
    ) -> tuple[list[models.HostItem], list[tuple[str, str]]]:
        """One region's hosts, or why it could not be asked; one question at a time."""
        items: list[models.HostItem] = []
        try:
            for name in names:
                hosts = await self._sessions.query(
                    region,
                    name,
                    query.group,
                    query.log_lines,
                    with_gone=query.gone,
                    host=query.host,
                    probes=query.probes,
                )
                application = self._scheduler.applications().get(name)
                if application is not None:  # it may have gone meanwhile
                    items += [views.host_item(host, region, application) for host in hosts]
        except RegionUnreachable as error:
            return items, [(region, str(error))]
        return items, []

    async def renew(self, request: web.Request) -> web.Response:
        """Replace every host of the group that serves by a fresh one, in place."""
        asked, expected = await body_of(request, models.RenewRequest), generations_in(request)
        accepted = await self._host_renewal.renew(
            self._names.one(request), by=asked.by, reason=asked.reason, key=key_of(request), expected=expected
        )
        return answer(views.accepted(accepted), status=202)

    async def taint(self, request: web.Request) -> web.Response:
        """Replace one host by a fresh one: the fresh one comes first."""
        asked = await body_of(request, models.TaintRequest)
        host = HostName(request.match_info["host"])
        require(request, Permission.STEER, self._host_renewal.application_of(host))
        accepted, region = await self._host_renewal.taint(
            host,
            asked.region,
            by=asked.by,
            reason=asked.reason,
            key=key_of(request),
            expected=generations_in(request),
        )
        return answer(views.tainted(accepted, region, host), status=202)


def _regions_of(application: Application, *, with_gone: bool) -> list[RegionName]:
    """A release that failed everywhere has left no group, and its regions know why."""
    tracks = application.rollout.tracks if with_gone and application.rollout is not None else ()
    return sorted({*application.regions, *(track.region for track in tracks)})


def _has_had(application: Application, group: str) -> bool:
    """Whether a group of this name was made at any time."""
    try:
        parts = parse_group(group)
    except NamingError:
        return False
    return parts.cluster == application.cluster and parts.number < application.next_number


def _place(host: models.HostItem) -> tuple[str, str]:
    return host.application, host.region
