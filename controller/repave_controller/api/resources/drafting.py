"""What comes before a release: the spec that serves, a plan that was shown, a rehearsal."""

from datetime import datetime
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import SPEC_LENGTH_MAX, Body, Items
from repave_controller.api.answers.queries import Name, Number, PageQuery, Query
from repave_controller.api.answers.views import time_of
from repave_controller.api.resources.names import Names
from repave_controller.api.web.callers import may_read, require
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.paging import items, page
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.naming import format_group
from repave_controller.core.ports import Store
from repave_controller.operations.drafts import Draft, Drafts
from repave_controller.operations.rehearsals import (
    RehearsalBusyError,
    RehearsalFailedError,
    Rehearsals,
    Rehearsed,
)
from repave_controller.operations.specs import Specs
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.principals import Permission

FAULT = r"^[a-z-]+$"


class SpecQuery(Query):
    """Of which server group."""

    group: Name = Field("", description="Its name; empty: the one that serves, else the newest.")
    release: Number = Field(0, description="The number of its rollout, instead; also when it is gone.")


class SpecAnswer(Answer):
    """The spec that a server group was made of."""

    application: str
    group: str
    version: str
    digest: str = Field(description="SHA-256 of its package; empty: its hosts are gone.")
    text: str


class DraftItem(Answer):
    """A plan that was shown."""

    id: str
    application: str
    version: str
    asked_at: datetime


class DraftAnswer(DraftItem):
    """What a plan was made of. Ask for the plan again to see what it is now."""

    spec: str
    filename: str
    digest: str
    keep_sizes: bool


class RehearsalRequest(Body):
    """How would a release of this spec go? It is run in a simulated fleet; nothing is changed."""

    spec: str = Field(max_length=SPEC_LENGTH_MAX, description="The text of repave.yaml.")
    filename: str = Field("repave.yaml", max_length=200, description="How errors call the spec.")
    faults: Annotated[list[Annotated[str, Field(max_length=50, pattern=FAULT)]], Field(max_length=50)] = (
        Field(
            default_factory=list,
            description="What goes wrong at each step: names, or all. Empty: nothing does.",
        )
    )
    before: Literal["serving", "nothing"] = Field(
        "serving", description="What serves when it begins: what does now, or nothing."
    )


class RehearsalAnswer(Answer):
    """What `repave simulate -o json` prints. Times are seconds from the release command."""

    application: str
    is_fine: bool = Field(description="All of it ended well.")
    sizes_from: str
    is_whole_code: bool = Field(description="Whether the run without faults ran the whole code.")
    boot_seconds: float
    ill_after_seconds: float
    outage_seconds: float
    regions: list[dict[str, Any]]
    calm: dict[str, Any] = Field(description="The run without faults: its steps, and samples of each region.")
    rollbacks: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    seeds: dict[str, Any]
    advice: list[dict[str, Any]]
    unhelped: list[Any]
    broken_promises: list[Any]


class Drafting:
    """One for an API."""

    def __init__(
        self, scheduler: Scheduler, store: Store, names: Names, drafts: Drafts, rehearsals: Rehearsals
    ) -> None:
        self._scheduler, self._store, self._names = scheduler, store, names
        self._drafts, self._rehearsals, self._specs = drafts, rehearsals, Specs()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                "applications/{application}/spec",
                self.spec,
                SpecAnswer,
                query=SpecQuery,
                refuses=("unknown-spec", "unknown-group"),
            ),
            Route("GET", "plans", self.drafts, Items[DraftItem], query=PageQuery),
            Route("GET", "plans/{plan}", self.draft, DraftAnswer, refuses=("unknown-plan",)),
            Route(
                "POST",
                "simulations",
                self.rehearse,
                RehearsalAnswer,
                RehearsalRequest,
                repeats=Repeats.SAFE,
                refuses=("spec", "simulation-runs", "simulation-failed"),
            ),
        )

    async def spec(self, request: web.Request) -> web.Response:
        """The spec that a server group was made of."""
        name, query = self._names.one(request), query_of(request, SpecQuery)
        self._names.check_group(query.group, [name])
        application = self._scheduler.applications()[name]
        serving, version = application.group(application.serving), ""
        wanted = query.group or (serving.name if serving is not None else "")
        if query.release:
            found = next(iter(await self._store.rollouts(name, 1, query.release + 1)), None)
            if found is None or found.number != query.release:
                raise Problem(404, "unknown-spec", f"{name} has had no rollout {query.release}")
            wanted, version = format_group(application.cluster, found.target), found.version
        groups = [each for each in application.groups if wanted in ("", each.name)]
        group = groups[-1] if groups else None
        wanted = wanted or (group.name if group is not None else "")
        text = await self._store.spec(name, wanted) if wanted else None
        if text is None:
            raise Problem(404, "unknown-spec", f"no spec of {wanted or name} is kept")
        return answer(
            SpecAnswer(
                application=name,
                group=wanted,
                version=group.version if group is not None else version,
                digest=group.digest if group is not None and not group.is_adopted else "",
                text=text,
            )
        )

    async def drafts(self, request: web.Request) -> web.Response:
        """The plans that were shown of late, newest first."""
        asked, found = query_of(request, PageQuery), await self._drafts.newest()
        readable = set(may_read(request, {draft.application for _, draft in found}))
        shown, following = page(
            [each for each in found if each[1].application in readable],
            asked,
            lambda each: (-each[1].at, each[0]),
        )
        return items(request, (_item(plan, draft) for plan, draft in shown), following)

    async def draft(self, request: web.Request) -> web.Response:
        """What a plan was made of."""
        plan = request.match_info["plan"]
        draft = await self._drafts.find(plan)
        if draft is None or not may_read(request, [draft.application]):
            text = (
                f"no plan {plan[:40]} was shown of late, or its controller has ended; ask for the plan again"
            )
            raise Problem(404, "unknown-plan", text)
        return answer(
            DraftAnswer(
                **dict(_item(plan.upper(), draft)),
                spec=draft.spec,
                filename=draft.filename,
                digest=draft.digest,
                keep_sizes=draft.keeps_sizes,
            )
        )

    async def rehearse(self, request: web.Request) -> web.Response:
        """How a release of this spec would go, run in a simulated fleet."""
        asked = await body_of(request, RehearsalRequest)
        spec, _ = await self._specs.read(asked.spec, asked.filename)
        require(request, Permission.RELEASE, spec.application)
        known = self._scheduler.saved(spec.application)
        serving = _serving(known) if known is not None and asked.before == "serving" else ()
        try:
            document = await self._rehearsals.run(
                Rehearsed(asked.spec, serving, ",".join(asked.faults) or "none")
            )
        except RehearsalBusyError as error:
            text = "another simulation runs on this controller; try again when it is done"
            raise Problem(409, "simulation-runs", text, retry_seconds=5.0) from error
        except RehearsalFailedError as error:
            raise Problem(422, "simulation-failed", f"the simulation gave no answer: {error}") from error
        return answer(RehearsalAnswer.model_validate(document))


def _item(plan: str, draft: Draft) -> DraftItem:
    return DraftItem(
        id=plan, application=draft.application, version=draft.version, asked_at=time_of(draft.at)
    )


def _serving(application: Application) -> tuple[tuple[str, int], ...]:
    """The hosts of what serves now, by region."""
    group = application.group(application.serving)
    return () if group is None else tuple(sorted(group.sizes))
