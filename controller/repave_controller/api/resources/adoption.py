"""A fleet that is there already: found, shown, adopted."""

from dataclasses import replace

from aiohttp import web

from repave_controller.api.answers.adoptions import (
    AdoptedHostItem,
    AdoptionAnswer,
    AdoptRequest,
    FleetItem,
)
from repave_controller.api.resources.regional import Regional
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of, key_of
from repave_controller.api.web.responses import answer
from repave_controller.core.commands.adoption import AdoptionOrder
from repave_controller.core.domain.application import ADOPTED_VERSION, ReleaseOrder
from repave_controller.core.domain.reasons import Refused
from repave_controller.fleet.sessions import Sessions
from repave_controller.operations.adoption import Found, Source, find_fleet, notes_of
from repave_controller.operations.specs import Specs
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.spec.spec import Spec, compile_order
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import NO_PACKAGE, GivenHost, RegionName

NAMED = "hosts"
REFUSES = (
    "spec",
    "fleet",
    "adopted-otherwise",
    "has-releases",
    "host-adopted",
    "agents-do-not-adopt",
    "being-deleted",
    "no-way-in",
    "port-taken",
    "region-ahead",
    "unknown-region",
)


class Adoptions:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, sessions: Sessions, regional: Regional) -> None:
        self._scheduler, self._sessions, self._regional = scheduler, sessions, regional
        self._specs = Specs()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "POST",
                "applications/{application}/adopt",
                self.adopt,
                AdoptionAnswer,
                AdoptRequest,
                status=200,
                repeats=Repeats.NATURAL,
                refuses=REFUSES,
            ),
        )

    async def adopt(self, request: web.Request) -> web.Response:
        """Adopt a fleet that is there already; with dry_run only tell what it is and what would follow."""
        asked = await body_of(request, AdoptRequest)
        spec, _ = await self._specs.read(asked.spec, asked.filename)
        if spec.application != request.match_info["application"]:
            text = f"the spec is of {spec.application}, the address of {request.match_info['application']}"
            raise Problem(422, "spec", text)
        order = _order(spec, asked)
        sources = [_source(each) for each in asked.fleets]
        found = await find_fleet(self._sessions, order, sources)
        of_fleet = replace(order, sizes=tuple((region, len(hosts)) for region, hosts in found.hosts))
        adoption = AdoptionOrder(of_fleet, found.fleet, asked.serve)
        notes = [*notes_of(found, order, serves=asked.serve), *await self._shut(spec, of_fleet, asked)]
        shown = _Shown(str(spec.application), found, notes, asked)
        if asked.dry_run:
            return answer(shown.answer(problems=self._problems(spec, adoption)))
        accepted = await self._scheduler.adopt_fleet(
            spec.application, spec.cluster, adoption, asked.spec, key_of(request)
        )
        return answer(shown.answer(accepted.group, is_joined=accepted.is_joined))

    async def _shut(self, spec: Spec, order: ReleaseOrder, asked: AdoptRequest) -> list[str]:
        """Why clients can't come in yet: no obstacle while the fleet is only watched. Raises Refused."""
        try:
            await self._regional.check_ways_in(spec.application, order)
        except Refused as refused:
            if asked.serve and not asked.dry_run:
                raise
            return [f"before the first release, or adopt --serve: {text_of(refused.reason)}"]
        return []

    def _problems(self, spec: Spec, adoption: AdoptionOrder) -> list[str]:
        try:
            self._scheduler.try_adoption(spec.application, spec.cluster, adoption)
        except Refused as refused:
            return [text_of(refused.reason)]
        return []


class _Shown:
    """What is told in any case."""

    def __init__(self, application: str, found: Found, notes: list[str], asked: AdoptRequest) -> None:
        self._application, self._found, self._notes, self._asked = application, found, notes, asked

    def answer(
        self, group: str = "", *, is_joined: bool = False, problems: list[str] | None = None
    ) -> AdoptionAnswer:
        return AdoptionAnswer(
            application=self._application,
            group=group,
            is_joined=is_joined,
            is_dry_run=self._asked.dry_run,
            serves=self._asked.serve,
            hosts=[
                AdoptedHostItem(
                    region=region,
                    name=each.host.name,
                    address=each.host.address,
                    port=each.host.port,
                    trouble=each.trouble,
                )
                for region, hosts in self._found.hosts
                for each in hosts
            ],
            notes=self._notes,
            problems=problems or [],
        )


def _order(spec: Spec, asked: AdoptRequest) -> ReleaseOrder:
    """What counts of the spec already; its package does not."""
    wanted = spec.artifact.model_copy(update={"sha256": None})
    whole = spec.model_copy(update={"artifact": wanted})
    return compile_order(whole, NO_PACKAGE, ADOPTED_VERSION, by=asked.by, reason=asked.reason)


def _source(fleet: FleetItem) -> Source:
    """Raises Problem."""
    is_named = fleet.kind == NAMED
    if is_named == bool(fleet.name) or is_named != bool(fleet.hosts):
        field = "hosts" if is_named else "name"
        text = f"fleets: {fleet.region}: kind {fleet.kind} takes {field} alone, which must be there"
        raise Problem(422, "fleet", text, [{"field": f"fleets.{field}", "message": text}])
    hosts = tuple(GivenHost(each.address, each.port, each.name) for each in fleet.hosts)
    return Source(RegionName(fleet.region), fleet.kind, fleet.name, hosts)
