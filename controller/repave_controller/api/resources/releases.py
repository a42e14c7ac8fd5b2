"""Releases, and what people do to one under way: foretold, begun, steered."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.answers.going_back import RollbackPlanAnswer, rollback_plan_answer
from repave_controller.api.answers.plan import PlanAnswer, plan_answer
from repave_controller.api.resources.names import Names
from repave_controller.api.resources.packages import Packages
from repave_controller.api.resources.regional import Regional
from repave_controller.api.resources.steering import BODIES, REFUSES, RollbackRequest, SteeringRequest
from repave_controller.api.web.callers import (
    DIFFERENCES,
    explained,
    principal_of,
    require,
    with_real_roles,
)
from repave_controller.api.web.negotiation import generations_in
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.problems import Handler, Problem
from repave_controller.api.web.requests import body_of, key_of
from repave_controller.api.web.responses import answer
from repave_controller.core.commands.promotion import Promote
from repave_controller.core.commands.release import WhileBusy
from repave_controller.core.domain.analyses import Reading
from repave_controller.core.domain.application import Application, ReleaseOrder
from repave_controller.core.domain.reasons import Reason, Refused
from repave_controller.core.domain.scaling import Scaling
from repave_controller.core.planning.going_back import plan_rollback
from repave_controller.core.planning.plan import extra_hosts, never_released, plan_release
from repave_controller.core.ports import Store
from repave_controller.core.rollout.room import misfits_of
from repave_controller.core.rules.guards import check_baselines, check_shares, precision, split, unheard
from repave_controller.fleet.sessions import Sessions
from repave_controller.operations.analysis.sources.balancer import NAME as BALANCER
from repave_controller.operations.drafts import Draft, Drafts
from repave_controller.operations.prices import PriceFile
from repave_controller.operations.specs import Specs
from repave_controller.operations.traffic import cannot_count
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.differences import differences
from repave_controller.security.principals import Kind, Permission
from repave_controller.spec.agreement import disagreements
from repave_controller.spec.loader import SpecError
from repave_controller.spec.outline import outline
from repave_controller.spec.spec import Spec, compile_order
from repave_protos.protocol.capabilities import supports_sticky_split, takes_baselines, traffic_precision_bp
from repave_protos.protocol.values import ApplicationName, Digest, RegionName, short_digest

SPEC_REFUSES = (
    "spec",
    "disagreement",
    "size",
    "steps",
    "signature",
    "agents-do-not-verify",
    "unknown-image",
    "unknown-region",
)
PLAN_REFUSES = (
    *SPEC_REFUSES,
    "region-ahead",
    "port-taken",
    "frontend-port-changed",
    "region-dropped",
    "being-deleted",
    "image-storage",
)
RELEASE_REFUSES = (
    *PLAN_REFUSES,
    "rollout-running",
    "nothing-to-roll-back-to",
    "queue-full",
    "plan-changed",
    "no-room",
    "no-such-host",
    "no-way-in",
    "only-switches",
    "no-baselines",
    "undoing",
    "held",
)


Unreadable = Callable[[str, Reading], str]
"""Why an application's metric can't be read; "": it can."""
Unmeasurable = Callable[[str, Scaling], str]
"""Why the load of a region can't be read; "": it can."""


class Releases:
    """One for an API."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        sessions: Sessions,
        clock: SteadyClock,
        names: Names,
        regional: Regional,
        packages: Packages,
        prices: PriceFile,
        drafts: Drafts,
        hearing: Collection[str] = (),
        unreadable: Unreadable | None = None,
        unmeasurable: Unmeasurable | None = None,
    ) -> None:
        """`hearing`: the targets that a spec may name to be told. `unreadable`, `unmeasurable`: why numbers
        can't be had."""
        self._unreadable, self._unmeasurable = unreadable, unmeasurable
        self._scheduler, self._store, self._sessions, self._clock = scheduler, store, sessions, clock
        self._names, self._regional, self._packages = names, regional, packages
        self._prices, self._drafts, self._hearing = prices, drafts, hearing
        self._specs = Specs()

    def routes(self) -> tuple[Route, ...]:
        safe = partial(Route, "POST", repeats=Repeats.SAFE)
        one = "applications/{application}"
        return (
            safe("outline", self.outline, models.OutlineAnswer, models.OutlineRequest, refuses=("spec",)),
            safe("plan", self.plan, PlanAnswer, models.ForetellRequest, refuses=PLAN_REFUSES),
            safe(
                f"{one}/rollback/plan",
                self.plan_rollback,
                RollbackPlanAnswer,
                RollbackRequest,
                refuses=REFUSES["rollback"],
            ),
            Route(
                "POST",
                f"{one}/releases",
                self.release,
                models.AcceptedAnswer,
                models.ReleaseRequest,
                refuses=RELEASE_REFUSES,
            ),
            *(
                Route(
                    "POST",
                    f"{one}/{name}",
                    self._steering(body),
                    models.AcceptedAnswer,
                    body,
                    refuses=REFUSES[name],
                )
                for name, body in BODIES.items()
            ),
        )

    async def begin(self) -> None:
        """Before the first request."""
        self._scheduler.ask_room_with(self._lacks)

    async def outline(self, request: web.Request) -> web.Response:
        """What a spec says of its release; asks no region."""
        asked = await body_of(request, models.OutlineRequest)
        (name, content), *overrides = [(each.name, each.text) for each in asked.files]
        spec, text = await self._specs.read(content, name, overrides)
        return answer(models.OutlineAnswer.model_validate(outline(spec, text, asked.version)._asdict()))

    async def plan(self, request: web.Request) -> web.Response:
        """What a release of this spec would do."""
        asked = await body_of(request, models.ForetellRequest)
        application, order = await self._order(asked)
        require(request, Permission.READ, application.name)
        lacking: tuple[Reason, ...] = ()
        signer = None
        try:
            await self._packages.check_reach(request, application.name, order.digest)
            order, signer = await self._packages.sealed(order, application.name, asked.signature)
        except Refused as refused:
            lacking = (refused.reason,)
        foretold = plan_release(
            application,
            order,
            self._scheduler.observed(application.name),
            self._clock(),
            self._scheduler.constraints_of_new(application.name),
            await self._prices.now(
                {name: each.hello.provider for name, each in self._sessions.views().items()}
            ),
        )
        said = {name: each.hello.capabilities for name, each in self._sessions.views().items()}
        inexact = [
            *precision(order, _precisions(said)),
            *split(order, {name: supports_sticky_split(words) for name, words in said.items()}),
            *unheard(order, self._hearing),
        ]
        full = await self._regional.room(foretold, application, order)
        foretold = replace(foretold, guards=(*foretold.guards, *inexact, *full))
        self._scheduler.shown_plans.remember(application, order)
        draft = Draft(
            application.name,
            asked.spec,
            asked.filename,
            order.digest,
            order.version,
            asked.keep_sizes,
            self._clock(),
        )
        self._drafts.remember(foretold.id, draft)
        try:
            self._check_shares(order)
            self._scheduler.check_places(application.name, order)
            await self._regional.check_ways_in(application.name, order)
            if not asked.will_push:
                self._scheduler.check_image(order)
        except Refused as refused:
            foretold = replace(foretold, problems=(*foretold.problems, refused.reason))
        foretold = replace(foretold, problems=(*foretold.problems, *lacking))
        return answer(plan_answer(foretold, order.version, str(signer or "")))

    async def plan_rollback(self, request: web.Request) -> web.Response:
        """What a rollback would do."""
        asked = await body_of(request, RollbackRequest)
        name = self._names.one(request)
        return answer(
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
        """Release a spec with a package; while a rollout runs, what `queue`, `latest` and `replace` say."""
        asked, expected = await body_of(request, models.ReleaseRequest), generations_in(request)
        application, order = await self._order(asked, asked.by, asked.reason, key_of(request))
        if application.name != request.match_info["application"]:
            text = f"the spec is of {application.name}, the address of {request.match_info['application']}"
            raise Problem(422, "spec", text)
        await self._packages.check_reach(request, application.name, order.digest)
        order, _ = await self._packages.sealed(order, application.name, asked.signature, is_stored=True)
        await self._note_differences(request, application, asked)
        self._check_shares(order)
        await self._regional.check_ways_in(application.name, order)
        order = replace(order, is_forced=asked.force)
        lacks = await self._lacks(application, order)
        busy = WhileBusy(asked.queue, asked.latest, asked.replace)
        accepted = await self._scheduler.release(
            application.name,
            application.cluster,
            order,
            asked.spec,
            queue=busy,
            plan=asked.plan,
            lacks=misfits_of(lacks) if asked.force else lacks,
            expected=expected,
        )
        return answer(views.accepted(accepted), status=202)

    async def _note_differences(
        self, request: web.Request, application: Application, asked: models.ReleaseRequest
    ) -> None:
        """What the release changes in the spec, for the audit log."""
        if principal_of(request).kind is Kind.LOCAL:
            return
        serving = application.group(application.serving)
        former = await self._store.spec(application.name, serving.name) if serving is not None else None
        old = await self._plain(former, "repave.yaml") if former else {}
        request[DIFFERENCES] = differences(old, await self._plain(asked.spec, asked.filename))

    async def _plain(self, text: str, filename: str) -> dict[str, Any]:
        """A spec's fields; of one that can't be read any more, none."""
        try:
            spec, _ = await self._specs.read(text, filename)
        except SpecError:
            return {}
        return spec.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def _lacks(self, application: Application, order: ReleaseOrder) -> dict[RegionName, Reason]:
        """The regions that have no room for the release, and say so."""
        if application.running is not None:
            return {}
        return await self._regional.lacks(extra_hosts(application, order, self._clock()), order)

    async def _order(
        self, asked: models.PlanRequest, by: str = "", reason: str = "", key: str = ""
    ) -> tuple[Application, ReleaseOrder]:
        spec, _ = await self._specs.read(asked.spec, asked.filename)
        version = asked.version or short_digest(asked.digest)
        self._check_agreement(spec)
        order = compile_order(spec, Digest(asked.digest), version, by=by, reason=reason, key=key)
        order = replace(order, keeps_sizes=asked.keep_sizes)
        self._check_analyses(spec.application, order)
        self._check_scaling(spec)
        known = self._scheduler.saved(spec.application)
        return known or never_released(spec.application, spec.cluster), order

    def _check_agreement(self, spec: Spec) -> None:
        agents = {name: view.hello for name, view in self._sessions.views().items()}
        for first in disagreements(spec, agents):
            place = {"field": first.field, "message": first.text}
            raise Problem(422, "disagreement", f"{first.field}: {first.text}", [place])

    def _check_analyses(self, application: ApplicationName, order: ReleaseOrder) -> None:
        """Each metric can be read, as far as the settings and the agents say. Raises Problem."""
        plans = [plan for step in order.steps if (plan := step.analysis) is not None]
        views = self._sessions.views()
        for reading in dict.fromkeys(each for plan in plans for each in plan.readings):
            why = self._unreadable(application, reading) if self._unreadable is not None else ""
            if not why and reading.source == BALANCER:
                hellos = {name: views[name].hello for name, _ in order.sizes if name in views}
                cannot = {
                    name: cannot_count(each.capabilities, each.balancer) for name, each in hellos.items()
                }
                why = next((f"{name}: {said}" for name, said in cannot.items() if said), "")
            if why:
                place = {"field": "analysis.metrics", "message": f"{reading.metric.name}: {why}"}
                raise Problem(422, "disagreement", f"analysis.metrics: {place['message']}", [place])

    def _check_scaling(self, spec: Spec) -> None:
        """The load of each region can be read, as far as the settings say. Raises Problem."""
        for index, region in enumerate(spec.regions):
            scaling = region.scaling
            if scaling is None or self._unmeasurable is None:
                continue
            if why := self._unmeasurable(spec.application, scaling):
                field = f"regions.{index}.size." + ("source" if scaling.source else "by")
                raise Problem(422, "disagreement", f"{field}: {why}", [{"field": field, "message": why}])

    def _check_shares(self, order: ReleaseOrder) -> None:
        views = self._sessions.views()
        said = {name: each.hello.capabilities for name, each in views.items()}
        kinds = {name: each.hello.balancer for name, each in views.items()}
        check_shares(order, _precisions(said), kinds)
        lacking = [name for name, words in said.items() if not takes_baselines(words)]
        check_baselines(order, lacking, kinds)

    def _steering(self, body: type[SteeringRequest]) -> Handler:
        """The handler of one of the commands of resources/steering.py."""

        async def steer(request: web.Request) -> web.Response:
            asked, expected = await body_of(request, body), generations_in(request)
            name = self._names.one(request)
            asked = with_real_roles(request, asked, name)
            verb = asked.wanted()
            if isinstance(verb, Promote):
                verb = replace(verb, is_recognised=principal_of(request).kind is not Kind.LOCAL)
            try:
                accepted = await self._scheduler.steer(
                    name, verb, by=asked.by, reason=asked.reason, key=key_of(request), expected=expected
                )
            except Refused as refused:
                raise explained(request, refused, name) from refused
            return answer(views.accepted(accepted), status=202)

        return steer


def _precisions(said: Mapping[RegionName, tuple[str, ...]]) -> dict[RegionName, int]:
    """How exactly each region's balancer can split, where its agent has said so."""
    return {name: bp for name, words in said.items() if (bp := traffic_precision_bp(words)) is not None}
