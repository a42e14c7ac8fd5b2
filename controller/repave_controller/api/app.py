"""The HTTP/JSON API for people and their tools, composed of the routes of every subject (resources/)."""

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from functools import cache

from aiohttp import web
from aiohttp.typedefs import Middleware

from repave_controller.api.resources.accounts import AccountRoutes
from repave_controller.api.resources.adoption import Adoptions
from repave_controller.api.resources.agents import Agents
from repave_controller.api.resources.analyses import AnalysisRoutes
from repave_controller.api.resources.applications import Applications
from repave_controller.api.resources.controllers import Controllers
from repave_controller.api.resources.doctor import Doctor
from repave_controller.api.resources.drafting import Drafting
from repave_controller.api.resources.events import Events
from repave_controller.api.resources.freezes import FreezeRoutes
from repave_controller.api.resources.gitops import GitOpsRoutes
from repave_controller.api.resources.hooks import HookRoutes
from repave_controller.api.resources.hosts import Hosts
from repave_controller.api.resources.live import Live
from repave_controller.api.resources.logins import LoginRoutes
from repave_controller.api.resources.logs import Logs
from repave_controller.api.resources.names import Names
from repave_controller.api.resources.notices import Notices
from repave_controller.api.resources.orphans import Orphans
from repave_controller.api.resources.packages import Packages
from repave_controller.api.resources.promotions import PromotionRoutes
from repave_controller.api.resources.recovery import RecoveryRoutes
from repave_controller.api.resources.regional import Regional
from repave_controller.api.resources.regions import PassPart, Regions
from repave_controller.api.resources.releases import Releases
from repave_controller.api.resources.sizes import SizeRoutes
from repave_controller.api.resources.suspects import SuspectRoutes
from repave_controller.api.resources.traffic import TrafficRoutes
from repave_controller.api.web.access import Access, Guarded
from repave_controller.api.web.acting import Acting
from repave_controller.api.web.freshness import Freshness
from repave_controller.api.web.negotiation import conditional, negotiated
from repave_controller.api.web.once import Once
from repave_controller.api.web.openapi import JSON, Repeats, Route, document
from repave_controller.api.web.policy import check_guarded
from repave_controller.api.web.problems import Handler, Problem, as_problems, no_foreign_pages, no_strangers
from repave_controller.api.web.relay import Owners, Relay
from repave_controller.api.web.requests import without_query
from repave_controller.api.web.streams import Streams
from repave_controller.api.web.tracing import spanned, traced
from repave_controller.core.ports import Store
from repave_controller.dashboard.serving import Dashboard
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.sessions import Sessions
from repave_controller.gitops.watching import GitOps
from repave_controller.hooks.hooks import Hooks
from repave_controller.metrics.metrics import Metrics
from repave_controller.notices.outbox import Outbox
from repave_controller.operations.analysis.runner import Analyses
from repave_controller.operations.artifacts import Artifacts, artifacts_of
from repave_controller.operations.disk import Disk
from repave_controller.operations.drafts import Drafts
from repave_controller.operations.prices import PriceFile
from repave_controller.operations.promotion import Promotions
from repave_controller.operations.reach import Reach
from repave_controller.operations.recovery import Recovery
from repave_controller.operations.rehearsals import Rehearsals
from repave_controller.operations.scaling.runner import ScalingRunner
from repave_controller.operations.suspects import Suspects
from repave_controller.operations.traffic import TrafficReader
from repave_controller.peers.company import Company
from repave_controller.peers.ports import ControllerId, Member
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.provenance import Provenance
from repave_controller.settings import ArtifactsSettings
from repave_protos import __version__
from repave_protos.daemon.scrape import shows
from repave_protos.package.signing import Signing

BODY_BYTES_MAX = 4 << 20
OWN_ROUTES = (
    ("GET", "openapi.json"),
    ("GET", "healthz"),
    ("GET", "authority"),
    ("GET", "metrics"),
    ("POST", "hooks/{hook}"),
)
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
    signing: Signing = Signing(),  # noqa: B008  # frozen
    metrics: Metrics | None = None,
    artifacts: Artifacts | None = None,
    provenance: Provenance | None = None,
    reach: Reach | None = None,
    prices: PriceFile | None = None,
    company: Company | None = None,
    disk: Disk | None = None,
    relay: Relay | None = None,
    outbox: Outbox | None = None,
    hooks: Hooks | None = None,
    gitops: GitOps | None = None,
    promotions: Promotions | None = None,
    analyses: Analyses | None = None,
    scaling: ScalingRunner | None = None,
    drafts: Drafts | None = None,
) -> web.Application:
    """The whole API as an aiohttp application. `agents`: of a controller that enrols them. `authority` gives
    the certificate, if any, that clients check this controller's with. `relay`: of one among several."""
    provenance = provenance if provenance is not None else Provenance(store)
    if artifacts is None:
        artifacts = artifacts_of(ArtifactsSettings(), images, store, provenance, scheduler, clock)
    reach = reach if reach is not None else Reach(lambda: scheduler.applications(), provenance)
    packages = Packages(images, store, sessions, signing, provenance, artifacts, reach)
    doing = relay if relay is not None else _alone(scheduler)
    api = Api(
        scheduler,
        store,
        images,
        sessions,
        clock,
        agents,
        guarded,
        packages,
        prices,
        disk,
        company,
        outbox,
        hooks,
        gitops,
        promotions,
        analyses,
        scaling,
        drafts,
        doing.pass_part,
    )
    access = Access(guarded, clock, metrics.refused if metrics is not None else None)
    strangers = no_strangers if guarded is None else no_foreign_pages
    spans = [spanned(metrics.traces, clock)] if metrics is not None and metrics.traces is not None else []
    layers = [traced, *spans, conditional, as_problems, strangers, _pages(Dashboard())]
    if relay is not None:
        layers += [Freshness(scheduler.catch_up).check, access.check, relay.pass_on]
    else:
        layers.append(access.check)
    app = web.Application(middlewares=layers, client_max_size=BODY_BYTES_MAX)
    routes, once = api.routes(), Once(store, clock)
    _open_inside(app, doing, routes, once)
    acting = Acting(doing, guarded)
    for each in (hooks, gitops, promotions):
        if each is not None:
            each.act_with(acting)
    app.router.add_post("/hooks/{hook}", api.hooks.take)
    check_guarded([*OWN_ROUTES, *((route.method, route.path) for route in routes)])
    _add(app, routes, once)

    @cache
    def described() -> bytes:
        return json.dumps(document(routes, __version__)).encode()

    async def openapi(_: web.Request) -> web.Response:
        """Made when it is asked for first, beside everything else: that takes a fifth of a second."""
        return web.Response(body=await asyncio.to_thread(described), content_type=JSON)

    async def alive(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def root(_: web.Request) -> web.Response:
        text = authority()
        if not text:
            raise Problem(404, "no-authority", "this controller's certificate has no authority of its own")
        return web.Response(text=text, content_type="application/x-pem-file")

    if metrics is not None:
        app.router.add_get("/metrics", shows(metrics.exposition))
    app.router.add_get("/v1/openapi.json", without_query(openapi))
    app.router.add_get("/healthz", alive)
    app.router.add_get("/v1/authority", without_query(root))
    app.on_startup.append(api.begin)
    app.on_shutdown.append(api.streams.close)
    app.on_shutdown.append(packages.close)
    return app


def _pages(dashboard: Dashboard) -> Middleware:
    """The dashboard's files are for anyone who can reach the API; what they show is not."""

    @web.middleware
    async def page(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = dashboard.answer(request)
        return found if found is not None else await handler(request)

    return page


def _alone(scheduler: Scheduler) -> Relay:
    """Of a controller that decides for all applications: nothing is passed on."""

    async def ask(recipient: ControllerId, kind: str, body: bytes, timeout_seconds: float) -> bytes:
        raise AssertionError("there is no other controller")

    owners = Owners("", lambda name: scheduler.tenure_of(name), lambda _: None)
    return Relay(ask, owners, lambda: str(uuid.uuid4()))


def _add(app: web.Application, routes: Sequence[Route], once: Once) -> None:
    """What all routes have in common is put around their handlers here. Every GET is a HEAD as well."""
    named = {(route.method, route.path) for route in routes}
    for route in routes:
        handler = without_query(route.handler) if route.query is None else route.handler
        if route.sent_again in (Repeats.ONCE, Repeats.SECRET):
            handler = once.kept(route, handler)
        handler = negotiated(route, handler)
        app.router.add_route(route.method, f"/v1/{route.path}", handler)
        if route.method == "GET" and ("HEAD", route.path) not in named:
            app.router.add_route("HEAD", f"/v1/{route.path}", handler)


def _open_inside(app: web.Application, relay: Relay, routes: Sequence[Route], once: Once) -> None:
    """The commands that other controllers pass on, and what this one does by itself."""
    within = relay.inside.app(BODY_BYTES_MAX)
    _add(within, routes, once)

    async def begin(_: web.Application) -> None:
        await relay.inside.begin(within)

    app.on_startup.append(begin)
    app.on_cleanup.append(relay.inside.end)


class Api:
    """The subjects, and what they share."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        images: ImageDirectory,
        sessions: Sessions,
        clock: SteadyClock,
        agents: Agents | None = None,
        guarded: Guarded | None = None,
        packages: Packages | None = None,
        prices: PriceFile | None = None,
        disk: Disk | None = None,
        company: Company | None = None,
        outbox: Outbox | None = None,
        hooks: Hooks | None = None,
        gitops: GitOps | None = None,
        promotions: Promotions | None = None,
        analyses: Analyses | None = None,
        scaling: ScalingRunner | None = None,
        drafts: Drafts | None = None,
        pass_part: PassPart | None = None,
    ) -> None:
        packages = packages if packages is not None else Packages(images, store, sessions)
        names, regional = Names(scheduler, sessions), Regional(sessions, images, packages)
        agents = agents if agents is not None else Agents(None, sessions, clock)
        accounts = AccountRoutes(guarded, clock)
        logins = guarded.logins if guarded is not None else None
        self.streams = Streams(scheduler)
        priced = prices if prices is not None else PriceFile(None)
        drafts = drafts if drafts is not None else Drafts()
        self._releases = Releases(
            scheduler,
            store,
            sessions,
            clock,
            names,
            regional,
            packages,
            priced,
            drafts,
            outbox.named if outbox is not None else (),
            analyses.objection if analyses is not None else None,
            scaling.objection if scaling is not None else None,
        )
        company = company if company is not None else Company(Member("", "", "", "", __version__, 0.0))
        controllers = Controllers(company, scheduler, sessions, clock)
        notices = Notices(outbox, clock, scheduler)
        traffic = TrafficReader(sessions, clock)
        self.hooks = HookRoutes(hooks, clock)
        self._subjects = (
            Applications(scheduler, store, sessions, clock, names, self.streams),
            self._releases,
            Drafting(scheduler, store, names, drafts, Rehearsals()),
            Hosts(scheduler, sessions, names),
            Logs(scheduler, sessions, clock, names, self.streams),
            TrafficRoutes(scheduler, traffic, clock, names),
            AnalysisRoutes(store, names),
            SizeRoutes(scheduler, names),
            SuspectRoutes(scheduler, Suspects(traffic, store), clock, names),
            FreezeRoutes(scheduler, clock),
            Events(scheduler, store, self.streams),
            Live(scheduler, sessions, clock, self.streams, company.me.instance),
            packages,
            Orphans(sessions, names),
            Regions(scheduler, sessions, agents.turned_away, pass_part or _alone(scheduler).pass_part),
            regional,
            controllers,
            notices,
            self.hooks,
            GitOpsRoutes(gitops),
            PromotionRoutes(promotions),
            agents,
            accounts,
            LoginRoutes(guarded, accounts, clock),
            Doctor(scheduler, store, sessions, clock, agents, controllers, logins, disk, notices),
            Adoptions(scheduler, sessions, regional),
            RecoveryRoutes(Recovery(scheduler, sessions, images, clock)),
        )

    async def begin(self, _: web.Application) -> None:
        """Before the first request."""
        await self._releases.begin()

    def routes(self) -> tuple[Route, ...]:
        """The table that the router and the OpenAPI document are made from."""
        return tuple(route for subject in self._subjects for route in subject.routes())
