"""The HTTP/JSON API for people and their tools: every route, what it takes, what it gives."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from repave_controller.api.answers import models, views
from repave_controller.api.answers.ages import age_items
from repave_controller.api.answers.going_back import RollbackPlanAnswer, rollback_plan_answer
from repave_controller.api.answers.plan import PlanAnswer, plan_answer
from repave_controller.api.answers.queries import (
    EventsQuery,
    EventStreamQuery,
    HostsQuery,
    RegionQuery,
)
from repave_controller.api.resources.accounts import AccountRoutes
from repave_controller.api.resources.agents import Agents
from repave_controller.api.resources.doctor import examine
from repave_controller.api.resources.freezes import (
    FreezeChange,
    FreezeItem,
    FreezeRequest,
    FreezesAnswer,
    added_answer,
    adding,
    freezes_answer,
    freezing_all,
    lifting,
)
from repave_controller.api.resources.orphans import orphans_check, orphans_of
from repave_controller.api.resources.regional import Regional
from repave_controller.api.resources.regions import Regions
from repave_controller.api.resources.steering import BODIES, RollbackRequest, SteeringRequest
from repave_controller.api.web.access import Access, Guarded
from repave_controller.api.web.callers import (
    DIFFERENCES,
    explained,
    may_read,
    principal_of,
    require,
    with_real_roles,
)
from repave_controller.api.web.openapi import Route, document
from repave_controller.api.web.policy import check_guarded
from repave_controller.api.web.problems import Handler, Problem, as_problems, no_foreign_pages, no_strangers
from repave_controller.api.web.requests import (
    body_of,
    key_of,
    last_event_of,
    parts_of,
    query_of,
    without_query,
)
from repave_controller.api.web.streams import Streams
from repave_controller.core.commands.release import WhileBusy, deleted_application, unknown_application
from repave_controller.core.domain.application import Application, Event, ReleaseOrder
from repave_controller.core.domain.freezes import Command
from repave_controller.core.domain.naming import NamingError, parse_group
from repave_controller.core.domain.reasons import Reason, Refusal, Refused
from repave_controller.core.planning.going_back import plan_rollback
from repave_controller.core.planning.plan import never_released, plan_release
from repave_controller.core.ports import Store
from repave_controller.core.rules.guards import precision, split
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import RegionUnreachable, Sessions
from repave_controller.operations.host_renewal import HostRenewal
from repave_controller.operations.recovery import Recovery
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.differences import differences
from repave_controller.security.principals import Kind, Permission
from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import SpecError, load
from repave_controller.spec.spec import Spec, compile_order
from repave_protos import __version__
from repave_protos.protocol.capabilities import supports_sticky_split, traffic_precision_bp
from repave_protos.protocol.values import (
    ApplicationName,
    Digest,
    GroupName,
    HostName,
    RegionName,
    short_digest,
)

BODY_BYTES_MAX = 1 << 20
OWN_ROUTES = (("GET", "openapi.json"), ("GET", "healthz"), ("GET", "authority"))
"""Those that the OpenAPI document does not tell of."""


def make_app(
    *,
    scheduler: Scheduler,
    store: Store,
    images: ImageDirectory,
    sessions: Sessions,
    clock: SteadyClock,
    agents: Agents | None = None,
    guarded: Guarded | None = None,
    authority: Callable[[], str] = str,
) -> web.Application:
    """The whole API as an aiohttp application. `agents`: of a controller that enrols them. `authority` gives
    the certificate, if any, that clients check this controller's with."""
    api = Api(scheduler, store, images, sessions, clock, agents, guarded)
    access = Access(guarded, clock)
    strangers = no_strangers if guarded is None else no_foreign_pages
    app = web.Application(middlewares=[as_problems, strangers, access.check], client_max_size=BODY_BYTES_MAX)
    routes = api.routes()
    check_guarded([*OWN_ROUTES, *((route.method, route.path) for route in routes)])
    for route in routes:
        handler = without_query(route.handler) if route.query is None else route.handler
        app.router.add_route(route.method, f"/v1/{route.path}", handler)
    described = document(routes, __version__)

    async def openapi(_: web.Request) -> web.Response:
        return web.json_response(described)

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def root(_: web.Request) -> web.Response:
        text = authority()
        if not text:
            raise Problem(404, "no-authority", "this controller's certificate has no authority of its own")
        return web.Response(text=text, content_type="application/x-pem-file")

    app.router.add_get("/v1/openapi.json", openapi)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/v1/authority", root)
    app.on_startup.append(api.begin)
    app.on_shutdown.append(api.streams.close)
    return app


class Api:
    """One method a route; reads go straight to what is known, commands to the scheduler."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        images: ImageDirectory,
        sessions: Sessions,
        clock: SteadyClock,
        agents: Agents | None = None,
        guarded: Guarded | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._store = store
        self._images = images
        self._sessions = sessions
        self._clock = clock
        self._recovery = Recovery(scheduler, sessions, images, clock)
        self._host_renewal = HostRenewal(scheduler, sessions)
        self._regional = Regional(sessions, images)
        self._regions = Regions(scheduler, sessions)
        self._agents = agents if agents is not None else Agents(None, sessions, clock)
        self._accounts = AccountRoutes(guarded, clock)
        self.streams = Streams(scheduler)

    async def begin(self, _: web.Application) -> None:
        """Before the first request."""
        self._scheduler.ask_room_with(self._lacks)

    def routes(self) -> tuple[Route, ...]:
        """The table that the router and the OpenAPI document are made from."""
        one = "applications/{application}"
        return (
            Route("GET", "applications", self.applications, models.Items[models.ApplicationItem]),
            Route("GET", one, self.application, models.ApplicationStatus),
            Route("GET", f"{one}/why", self.why, models.WhyAnswer),
            Route("GET", f"{one}/history", self.history, models.Items[models.RolloutItem]),
            Route("GET", f"{one}/groups", self.groups, models.Items[models.GroupItem]),
            Route("GET", f"{one}/hosts", self.hosts, models.HostsAnswer, query=HostsQuery),
            Route("GET", f"{one}/ages", self.ages, models.Items[models.AgeItem]),
            Route("GET", f"{one}/queue", self.queue, models.QueueAnswer),
            Route("GET", f"{one}/stream", self.stream, models.ApplicationStatus),
            Route("POST", f"{one}/releases", self.release, models.AcceptedAnswer, models.ReleaseRequest),
            *(
                Route("POST", f"{one}/{name}", self._steering(body), models.AcceptedAnswer, body)
                for name, body in BODIES.items()
            ),
            Route("POST", "plan", self.plan, PlanAnswer, models.ForetellRequest),
            Route("POST", f"{one}/rollback/plan", self.plan_rollback, RollbackPlanAnswer, RollbackRequest),
            Route("POST", f"{one}/renew", self.renew, models.AcceptedAnswer, models.RenewRequest),
            Route("POST", "hosts/{host}/taint", self.taint, models.TaintAnswer, models.TaintRequest),
            Route("GET", "groups", self.groups, models.Items[models.GroupItem]),
            Route("GET", "hosts", self.hosts, models.HostsAnswer, query=HostsQuery),
            Route("GET", "freezes", self.freezes, FreezesAnswer),
            Route("POST", "freezes/all", self.freeze_all, FreezesAnswer, FreezeChange),
            Route("POST", "freezes", self.add_freeze, FreezeItem, FreezeRequest),
            Route("POST", "freezes/{freeze}/lift", self.lift_freeze, FreezesAnswer, FreezeChange),
            Route("GET", "ages", self.ages, models.Items[models.AgeItem]),
            Route("GET", "orphans", self.orphans, models.OrphansAnswer, query=RegionQuery),
            Route("GET", "regions", self.regions, models.Items[models.RegionItem]),
            Route("GET", "events", self.events, models.Items[models.EventItem], query=EventsQuery),
            Route("GET", "events/stream", self.events_stream, models.EventItem, query=EventStreamQuery),
            Route("POST", "images", self.push_image, models.ImageItem),
            Route("GET", "images", self.list_images, models.Items[models.ImageItem]),
            Route("GET", "images/{digest}", self.image, None),
            Route("HEAD", "images/{digest}", self.image, None),
            *self._regions.routes(),
            *self._regional.routes(),
            *self._agents.routes(),
            *self._accounts.routes(),
            Route("GET", "doctor", self.doctor, models.DoctorAnswer),
            Route("POST", "recovery", self.recover, models.RecoveryAnswer, models.RecoveryRequest),
        )

    # ------------------------------------------------------------------------------------------ reading

    async def applications(self, request: web.Request) -> web.Response:
        known = self._scheduler.applications()
        return _items(
            views.application_item(known[name], self._scheduler.fence.seen(name))
            for name in may_read(request, sorted(known))
        )

    async def application(self, request: web.Request) -> web.Response:
        return _answer(self._status(self._name(request)))

    def _status(self, name: ApplicationName) -> models.ApplicationStatus:
        return views.application_status(
            self._scheduler.applications()[name],
            self._scheduler.fence.seen(name),
            self._scheduler.because(name),
            self._sessions.views(),
            self._clock(),
        )

    async def why(self, request: web.Request) -> web.Response:
        name = self._name(request)
        application, because = self._scheduler.applications()[name], self._scheduler.because(name)
        observed = self._scheduler.fence.seen(name)
        return _answer(views.why(application, observed, because, self._sessions.views()))

    async def history(self, request: web.Request) -> web.Response:
        name = self._name(request, is_past=True)
        known = self._scheduler.saved(name)
        cluster = known.cluster if known is not None else ""
        rollouts = await self._store.rollouts(name)
        return _items(views.rollout_item(rollout, cluster) for rollout in rollouts)

    async def queue(self, request: web.Request) -> web.Response:
        return _answer(views.queue_answer(self._scheduler.applications()[self._name(request)]))

    async def groups(self, request: web.Request) -> web.Response:
        known = self._scheduler.applications()
        return _items(
            views.group_item(group, known[name], self._scheduler.fence.seen(name))
            for name in self._asked_for(request)
            for group in known[name].groups
        )

    async def hosts(self, request: web.Request) -> web.Response:
        query = query_of(request, HostsQuery)
        asked: dict[RegionName, list[ApplicationName]] = {}
        known = self._scheduler.applications()
        names = self._asked_for(request)
        self._check_region(query.region, names if "application" in request.match_info else None)
        if not (query.gone and any(_has_had(known[name], query.group) for name in names)):
            self._check_group(query.group, names)
        for name in names:
            for region in _regions_of(known[name], with_gone=query.gone):
                if query.region in ("", region):
                    asked.setdefault(region, []).append(name)
        answers = await asyncio.gather(
            *(self._hosts_of(region, names, query) for region, names in asked.items())
        )
        items = sorted((item for found, _ in answers for item in found), key=_place)
        unreachable = dict(each for _, missing in answers for each in missing)
        return _answer(models.HostsAnswer(items=items, unreachable=unreachable))

    async def _hosts_of(
        self, region: RegionName, names: list[ApplicationName], query: HostsQuery
    ) -> tuple[list[models.HostItem], list[tuple[str, str]]]:
        """One region's hosts, or why it could not be asked; one question at a time."""
        items: list[models.HostItem] = []
        try:
            for name in names:
                hosts = await self._sessions.query(
                    region, name, query.group, query.log_lines, with_gone=query.gone
                )
                application = self._scheduler.applications().get(name)
                if application is not None:  # it may have gone meanwhile
                    items += [views.host_item(host, region, application) for host in hosts]
        except RegionUnreachable as error:
            return items, [(region, str(error))]
        return items, []

    async def ages(self, request: web.Request) -> web.Response:
        known = self._scheduler.applications()
        return _items(
            item
            for name in self._asked_for(request)
            for item in age_items(known[name], self._scheduler.fence.seen(name))
        )

    async def orphans(self, request: web.Request) -> web.Response:
        only = query_of(request, RegionQuery).region
        self._check_region(only)
        return _answer(
            await orphans_of(self._sessions, [RegionName(only)] if only else self._sessions.views())
        )

    async def regions(self, _: web.Request) -> web.Response:
        return _items(self._regions.items())

    async def events(self, request: web.Request) -> web.Response:
        query = query_of(request, EventsQuery)
        await self._check_events_of(request, query.application)
        events = await self._store.events(
            after=query.after, application=query.application, limit=query.limit, newest=query.newest
        )
        return _items(views.event_item(event) for event in filter(_shown_to(request), events))

    async def events_stream(self, request: web.Request) -> web.StreamResponse:
        query = query_of(request, EventStreamQuery)
        if query.application:
            require(request, Permission.READ, query.application)
        after = last_event_of(request, query.after)
        return await self.streams.events(request, after, query.application, _shown_to(request))

    async def stream(self, request: web.Request) -> web.StreamResponse:
        self._name(request)
        return await self.streams.status(request, lambda: self._status(self._name(request)))

    def _name(self, request: web.Request, *, is_past: bool = False) -> ApplicationName:
        """The application of the path; with `is_past` also one that is gone. Raises Refused when there is
        none of that name."""
        name = ApplicationName(request.match_info["application"])
        known = self._scheduler.applications()
        saved = self._scheduler.saved(name)
        if saved is not None and saved.is_gone:
            if is_past:
                return name
            raise deleted_application(saved)
        if name not in known:
            shown = tuple(may_read(request, sorted(known)))
            raise unknown_application(name, shown, self._scheduler.fence.knowing(name))
        return name

    def _check_region(self, region: str, applications: list[ApplicationName] | None = None) -> None:
        """It is known, or was left empty; with applications, one of them is there. Raises Refused."""
        known = {*self._sessions.views()} if applications is None else set[RegionName]()
        applications = sorted(self._scheduler.applications()) if applications is None else applications
        for name in applications:
            known.update(self._scheduler.applications()[name].regions)
        if region and RegionName(region) not in known:
            raise Refused(Refusal.UNKNOWN_REGION_ASKED, region=region, known=tuple(sorted(known)))

    def _check_group(self, group: str, applications: list[ApplicationName]) -> None:
        """The same of a server group."""
        known = self._scheduler.applications()
        there = [each.name for name in applications for each in known[name].groups]
        if group and GroupName(group) not in there:
            raise Refused(Refusal.UNKNOWN_GROUP_ASKED, group=group, known=tuple(there))

    async def _check_events_of(self, request: web.Request, name: str) -> None:
        """It was released once, also if nothing but its events is left. Raises Refused, Problem."""
        if name:
            require(request, Permission.READ, name)
        known = self._scheduler.applications()
        if not name or name in known or await self._store.events(application=name, limit=1):
            return
        asked = ApplicationName(name)
        shown = tuple(may_read(request, sorted(known)))
        raise unknown_application(asked, shown, self._scheduler.fence.knowing(asked))

    def _asked_for(self, request: web.Request) -> list[ApplicationName]:
        """The one of the path, or all."""
        if "application" in request.match_info:
            return [self._name(request)]
        return may_read(request, sorted(self._scheduler.applications()))

    # ----------------------------------------------------------------------------------------- commands

    async def plan(self, request: web.Request) -> web.Response:
        asked = await body_of(request, models.ForetellRequest)
        application, order = await self._order(asked)
        require(request, Permission.READ, application.name)
        foretold = plan_release(
            application,
            order,
            self._scheduler.observed(application.name),
            self._clock(),
            self._scheduler.constraints_of_new(application.name),
        )
        said = {name: each.hello.capabilities for name, each in self._sessions.views().items()}
        inexact = [
            *precision(order, _precisions(said)),
            *split(order, {name: supports_sticky_split(words) for name, words in said.items()}),
        ]
        full = await self._regional.room(foretold, application, order)
        foretold = replace(foretold, guards=(*foretold.guards, *inexact, *full))
        self._scheduler.shown_plans.remember(application, order)
        try:
            self._scheduler.check_places(application.name, order)
            await self._regional.check_ways_in(application.name, order)
            if not asked.will_push:
                self._scheduler.check_image(order)
        except Refused as refused:
            foretold = replace(foretold, problems=(*foretold.problems, refused.reason))
        return _answer(plan_answer(foretold, order.version))

    async def plan_rollback(self, request: web.Request) -> web.Response:
        asked = await body_of(request, RollbackRequest)
        name = self._name(request)
        return _answer(
            rollback_plan_answer(
                plan_rollback(
                    self._scheduler.applications()[name],
                    self._scheduler.observed(name),
                    asked.wanted(),
                    asked.reason,
                    self._clock(),
                )
            )
        )

    async def release(self, request: web.Request) -> web.Response:
        asked = await body_of(request, models.ReleaseRequest)
        application, order = await self._order(asked, asked.by, asked.reason, key_of(request))
        if application.name != request.match_info["application"]:
            text = f"the spec is of {application.name}, the address of {request.match_info['application']}"
            raise Problem(422, "spec", text)
        await self._note_differences(request, application, asked.spec)
        await self._regional.check_ways_in(application.name, order)
        order = replace(order, is_forced=asked.force)
        busy = WhileBusy(asked.queue, asked.latest, asked.replace)
        accepted = await self._scheduler.release(
            application.name,
            application.cluster,
            order,
            asked.spec,
            queue=busy,
            plan=asked.plan,
            lacks=None if asked.force else await self._lacks(application, order),
        )
        return _answer(views.accepted(accepted), status=202)

    async def _note_differences(self, request: web.Request, application: Application, text: str) -> None:
        """What the release changes in the spec, for the audit log."""
        if principal_of(request).kind is Kind.LOCAL:
            return
        serving = application.group(application.serving)
        former = await self._store.spec(application.name, serving.name) if serving is not None else None
        old, new = await asyncio.to_thread(_plain, former or ""), await asyncio.to_thread(_plain, text)
        request[DIFFERENCES] = differences(old, new)

    async def _lacks(self, application: Application, order: ReleaseOrder) -> dict[RegionName, Reason]:
        """The regions that have no room for the release, and say so."""
        if application.running is not None:
            return {}
        observed = self._scheduler.observed(application.name)
        constraints = self._scheduler.constraints_of_new(application.name)
        foretold = plan_release(application, order, observed, self._clock(), constraints)
        return await self._regional.lacks(foretold)

    async def _order(
        self, asked: models.PlanRequest, by: str = "", reason: str = "", key: str = ""
    ) -> tuple[Application, ReleaseOrder]:
        spec, _ = await asyncio.to_thread(
            load, asked.spec, asked.filename
        )  # up to a second for a hostile one
        version = asked.version or short_digest(asked.digest)
        self._check_agreement(spec)
        order = compile_order(spec, Digest(asked.digest), version, by=by, reason=reason, key=key)
        order = replace(order, keeps_sizes=asked.keep_sizes)
        known = self._scheduler.saved(spec.application)
        return known or never_released(spec.application, spec.cluster), order

    def _check_agreement(self, spec: Spec) -> None:
        agents = {name: view.hello for name, view in self._sessions.views().items()}
        for first in disagreements(spec, agents):
            raise Problem(422, first.field.rpartition(".")[2], f"{first.field}: {first.text}")

    def _steering(self, body: type[SteeringRequest]) -> Handler:
        """The handler of one of the commands of resources/steering.py."""

        async def steer(request: web.Request) -> web.Response:
            asked = await body_of(request, body)
            name = self._name(request)
            asked = with_real_roles(request, asked, name)
            try:
                accepted = await self._scheduler.steer(
                    name, asked.wanted(), by=asked.by, reason=asked.reason, key=key_of(request)
                )
            except Refused as refused:
                raise explained(request, refused, name) from refused
            return _answer(views.accepted(accepted), status=202)

        return steer

    async def renew(self, request: web.Request) -> web.Response:
        asked = await body_of(request, models.RenewRequest)
        accepted = await self._host_renewal.renew(
            self._name(request), by=asked.by, reason=asked.reason, key=key_of(request)
        )
        return _answer(views.accepted(accepted), status=202)

    async def taint(self, request: web.Request) -> web.Response:
        asked = await body_of(request, models.TaintRequest)
        host = HostName(request.match_info["host"])
        require(request, Permission.STEER, self._host_renewal.application_of(host))
        accepted, region = await self._host_renewal.taint(
            host, asked.region, by=asked.by, reason=asked.reason, key=key_of(request)
        )
        return _answer(views.tainted(accepted, region, host), status=202)

    async def recover(self, request: web.Request) -> web.Response:
        asked = await body_of(request, models.RecoveryRequest)
        if asked.dry_run:
            return _answer(views.recovery_answer(await self._recovery.look(asked.application, asked.serving)))
        found = await self._recovery.adopt(asked.application, asked.serving, asked.by, asked.id)
        return _answer(views.recovery_answer(found))

    # --------------------------------------------------------------------------------------------- freezes

    async def freezes(self, _: web.Request) -> web.Response:
        return _answer(freezes_answer(self._scheduler.freezes, self._clock()))

    async def freeze_all(self, request: web.Request) -> web.Response:
        return await self._change_freezes(freezing_all(await body_of(request, FreezeChange)))

    async def add_freeze(self, request: web.Request) -> web.Response:
        asked = await body_of(request, FreezeRequest)
        freezes = await self._scheduler.change_freezes(adding(asked))
        return _answer(added_answer(freezes, asked, self._clock()), status=201)

    async def lift_freeze(self, request: web.Request) -> web.Response:
        asked = await body_of(request, FreezeChange)
        return await self._change_freezes(lifting(request.match_info["freeze"], asked))

    async def _change_freezes(self, command: Command) -> web.Response:
        return _answer(freezes_answer(await self._scheduler.change_freezes(command), self._clock()))

    # ------------------------------------------------------------------------------------------- images

    async def push_image(self, request: web.Request) -> web.Response:
        name = request.headers.get("X-Repave-Name", "")
        expected = request.headers.get("X-Repave-Digest", "")
        image = await self._images.receive(parts_of(request), name, Digest(expected) if expected else None)
        await self._store.add_image(image)
        return _answer(views.image_item(image), status=201)

    async def list_images(self, _: web.Request) -> web.Response:
        return _items(views.image_item(image) for image in await self._store.images())

    async def image(self, request: web.Request) -> web.StreamResponse:
        digest = Digest(request.match_info["digest"])
        path = self._images.path(digest)
        if path is None:
            raise Problem(404, "unknown-image", f"no package {digest} is stored here")
        return web.FileResponse(path, headers={"Content-Type": "application/gzip"})

    # ------------------------------------------------------------------------------------------- doctor

    async def doctor(self, _: web.Request) -> web.Response:
        self._sessions.forget_unused()
        regions, ahead = self._sessions.views(), self._scheduler.fence.ahead
        rivals, unused = self._sessions.rivals(), self._sessions.unused()
        found = await examine(self._store, self._clock, regions, ahead, rivals, unused)
        found += self._agents.checks()
        found.append(orphans_check(await orphans_of(self._sessions, regions)))
        return _answer(
            models.DoctorAnswer(version=__version__, now=views.time_of(self._clock()), items=found)
        )


def _shown_to(request: web.Request) -> Callable[[Event], bool]:
    """What is of no application is for those who may see all."""
    principal = principal_of(request)
    return lambda event: principal.may(Permission.READ, event.application or None)


def _plain(text: str) -> dict[str, Any]:
    """A spec's fields; of one that can't be read any more, none."""
    if not text:
        return {}
    try:
        spec, _ = load(text, "repave.yaml")
    except SpecError:
        return {}
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _precisions(said: Mapping[RegionName, tuple[str, ...]]) -> dict[RegionName, int]:
    """How exactly each region's balancer can split, where its agent has said so."""
    return {name: bp for name, words in said.items() if (bp := traffic_precision_bp(words)) is not None}


# --------------------------------------------------------------------------------------------- in and out


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


def _answer(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")


def _items(items: Any) -> web.Response:
    body = ",".join(item.model_dump_json() for item in items)
    return web.Response(text=f'{{"items":[{body}]}}', content_type="application/json")
