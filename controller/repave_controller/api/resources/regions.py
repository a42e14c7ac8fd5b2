"""Regions as people look after them: listed, removed, taken over by another agent."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from aiohttp import web
from pydantic import Field

from repave_controller.api.answers import views
from repave_controller.api.answers.models import Items, RegionItem, SignedRequest
from repave_controller.api.answers.queries import PartQuery, RegionsQuery
from repave_controller.api.answers.regional_models import DoneAnswer
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.paging import items, page
from repave_controller.api.web.problems import Problem, refusal_of
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.commands.draining import DrainRegion, UndrainRegion, check_may_drain, has_record
from repave_controller.core.commands.lifecycle import LeaveRegion, check_may_leave, check_out_of_dns
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import StoreError
from repave_controller.fleet.regions import Rival
from repave_controller.fleet.sessions import Sessions
from repave_controller.fleet.turned_away import TurnedAwayAgents
from repave_controller.peers.ports import NotOwner
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.values import RegionName


class RemoveRequest(SignedRequest):
    """Take every application out of a region, and forget it."""

    lost: bool = Field(
        False, description="It will never be heard again: what was there is forgotten and not waited for."
    )


REFUSES = ("404 unknown-region", "last-in-dns", "no-record", "no-owner", "reason-missing", "promise")
REMOVE_REFUSES = (
    *REFUSES,
    "region-connected",
    "rollout-running",
    "last-region",
    "in-dns",
    "group-in-rollout",
)


PassPart = Callable[[web.Request, NotOwner], Awaitable[web.Response | None]]
"""Returns what was refused."""


class Regions:
    """One for an API. What is asked of a region is done application by application, each at the controller
    that decides for it."""

    def __init__(
        self,
        scheduler: Scheduler,
        sessions: Sessions,
        turned_away: TurnedAwayAgents,
        pass_part: PassPart,
    ) -> None:
        """`turned_away`: by any of the controllers. `pass_part` lets the controller that decides for an
        application do what is asked of several."""
        self._scheduler, self._sessions, self._pass_part = scheduler, sessions, pass_part
        self._turned_away = turned_away

    def routes(self) -> tuple[Route, ...]:
        one = "regions/{region}"
        return (
            Route("GET", "regions", self.listed, Items[RegionItem], query=RegionsQuery),
            Route(
                "POST",
                f"{one}/remove",
                self.remove,
                DoneAnswer,
                RemoveRequest,
                PartQuery,
                refuses=REMOVE_REFUSES,
            ),
            Route("POST", f"{one}/drain", self.drain, DoneAnswer, SignedRequest, PartQuery, refuses=REFUSES),
            Route(
                "POST", f"{one}/undrain", self.undrain, DoneAnswer, SignedRequest, PartQuery, refuses=REFUSES
            ),
            Route("POST", f"{one}/take-over", self.take_over, DoneAnswer, SignedRequest, refuses=REFUSES),
        )

    async def listed(self, request: web.Request) -> web.Response:
        """The regions and their agents; those that applications are in first."""
        asked = query_of(request, RegionsQuery)
        rivals = (await self._turned_away.everywhere()).rivals
        found = (each for each in self._items(rivals) if each.troubles or not asked.troubled)
        shown, following = page(found, asked, lambda each: (each.unused, each.name))
        return items(request, shown, following)

    def _items(self, rivals: Mapping[RegionName, Rival]) -> Iterable[RegionItem]:
        """Those that applications are in first."""
        self._sessions.forget_unused()
        known, unused = self._sessions.views(), set(self._sessions.unused())
        ahead = self._scheduler.fence.ahead
        for name in sorted(known, key=lambda name: (name in unused, name)):
            rival = rivals.get(name)
            yield views.region_item(
                known[name],
                ahead.get(name, ()),
                rival,
                is_unused=name in unused,
                is_bound=self._sessions.is_bound(name),
            )

    async def remove(self, request: web.Request) -> web.Response:
        """Take every application out of a region and forget it: each is looked at before any leaves."""
        asked, region = await body_of(request, RemoveRequest), self._region(request)
        view = self._sessions.views().get(region)
        if asked.lost and view is not None and view.is_connected:
            raise Refused(Refusal.REGION_CONNECTED, region=region)
        there = self._asked_for(request, region)
        for application in there:
            check_may_leave(application, region)
            if not asked.lost:
                there_now = self._scheduler.observed(application.name)
                check_out_of_dns(application, region, there_now, self._scheduler.clock())
        if asked.lost:  # first: its last reports would hold its applications there (promise 5)
            self._sessions.forget(region)
        refused = await self._steer(request, there, LeaveRegion(region, asked.lost), asked)
        if refused is not None:
            return refused
        is_empty = not there and not self._applications_in(region)
        is_forgotten = is_empty and self._sessions.forget(region)
        return answer(DoneAnswer(text=_said(region, there, asked.lost, is_forgotten)))

    async def drain(self, request: web.Request) -> web.Response:
        """Take a region out of DNS: all applications with a record there, looked at before any leaves."""
        asked, region = await body_of(request, SignedRequest), self._region(request)
        observed, is_part = self._scheduler.observed, bool(query_of(request, PartQuery).application)
        there = [
            each
            for each in self._asked_for(request, region)
            if is_part or (each.deletion is None and has_record(observed(each.name).get(region)))
        ]
        for application in there:
            check_may_drain(application, region, observed(application.name))
        refused = await self._steer(request, there, DrainRegion(region), asked)
        if refused is not None:
            return refused
        names = ", ".join(application.name for application in there)
        text = f"no application has a record of {region} in DNS; docs/dns.md shows how its agent keeps one"
        if there:
            text = f"{names}: taken out of DNS in {region}; see how far it is with: repave why APP"
        return answer(DoneAnswer(text=text))

    async def undrain(self, request: web.Request) -> web.Response:
        """Put a region into DNS again, for all of its applications."""
        asked, region = await body_of(request, SignedRequest), self._region(request)
        there = [each for each in self._asked_for(request, region) if each.drained_in(region) is not None]
        refused = await self._steer(request, there, UndrainRegion(region), asked)
        if refused is not None:
            return refused
        names = ", ".join(application.name for application in there)
        text = f"{names}: back into DNS in {region}" if there else f"no application is drained in {region}"
        return answer(DoneAnswer(text=text))

    async def take_over(self, request: web.Request) -> web.Response:
        """Let the next agent of a region take its place within five minutes; the one there now is refused."""
        await body_of(request, SignedRequest)
        region = self._region(request)
        try:
            self._sessions.let_take_over(region)
            await self._sessions.tell_take_over(region)
        except KeyError as error:
            raise _unknown(region, self._sessions.views()) from error
        text = f"the next agent of {region} may take over within 5 minutes: the one there now is then refused"
        return answer(DoneAnswer(text=f"{text}{self._warning(region)}"))

    def _warning(self, region: RegionName) -> str:
        """What a forced take-over risks: the former agent may not hear of it."""
        view, seconds = self._sessions.views().get(region), self._sessions.may_act_seconds(region)
        if view is not None and view.is_connected:
            return ""
        if seconds is None:
            return (
                ". That one is away and had no lease: if it still runs, two act there until it reaches this "
                "controller again, so stop it first"
            )
        return f". That one is away and may act by its lease for {seconds:.0f} s more" if seconds else ""

    def _region(self, request: web.Request) -> RegionName:
        region = RegionName(request.match_info["region"])
        if region not in self._sessions.views() and not self._applications_in(region):
            raise _unknown(region, self._sessions.views())
        return region

    async def _steer(
        self, request: web.Request, applications: Iterable[Application], verb: Verb, asked: SignedRequest
    ) -> web.Response | None:
        """Returns what was refused. Raises Problem, Refused; NotOwner of the one that is asked for alone."""
        done: list[str] = []
        for application in applications:
            try:
                refused = await self._steer_one(request, application, verb, asked)
            except (Refused, StoreError, Problem) as error:
                if not done:
                    raise
                refused = refusal_of(error).response()
            if refused is not None:
                return _after(done, refused)
            done.append(application.name)
        return None

    async def _steer_one(
        self, request: web.Request, application: Application, verb: Verb, asked: SignedRequest
    ) -> web.Response | None:
        try:
            await self._scheduler.steer(application.name, verb, by=asked.by, reason=asked.reason)
        except NotOwner as error:
            if query_of(request, PartQuery).application:
                raise
            return await self._pass_part(request, error)
        return None

    def _asked_for(self, request: web.Request, region: RegionName) -> list[Application]:
        only = query_of(request, PartQuery).application
        return [each for each in self._applications_in(region) if only in ("", each.name)]

    def _applications_in(self, region: RegionName) -> list[Application]:
        known = self._scheduler.applications().values()
        return sorted((each for each in known if region in each.regions), key=lambda each: each.name)


def _after(done: Sequence[str], refused: web.Response) -> web.Response:
    """The refusal of one, with those that had done it by then: each is saved by itself."""
    if not done:
        return refused
    body = json.loads(refused.text or "{}")
    names = ", ".join(done)
    body["detail"] += f"; {names} did what was asked before that: ask again, and the others follow"
    return web.Response(
        status=refused.status,
        text=json.dumps(body),
        content_type=refused.content_type,
        headers={name: refused.headers[name] for name in ("Retry-After",) if name in refused.headers},
    )


def _unknown(region: RegionName, known: Iterable[RegionName]) -> Problem:
    return Problem(
        404, "unknown-region", f"no region is called {region}; there are: {', '.join(sorted(known))}"
    )


def _said(region: RegionName, there: list[Application], is_lost: bool, is_forgotten: bool) -> str:
    names = ", ".join(application.name for application in there)
    if is_forgotten or (is_lost and not there):
        return f"{region} is forgotten"
    if is_lost:
        return f"{region} is forgotten, with what {names} had there"
    if there:
        return f"{names}: drained and destroyed in {region}; then stop its agent, and repave forgets it"
    return f"no application is in {region}; stop its agent, and repave forgets it"
