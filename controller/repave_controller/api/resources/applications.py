"""Applications as they are now and were before: status, groups, ages, queue, history."""

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.answers.ages import age_item, aging
from repave_controller.api.answers.listed import ApplicationItems
from repave_controller.api.answers.queries import (
    ApplicationsQuery,
    GroupsQuery,
    HistoryQuery,
    PageQuery,
    RegionPageQuery,
    StreamQuery,
)
from repave_controller.api.answers.summary import ApplicationSummary, WhySummary, summary, why_summary
from repave_controller.api.resources.names import Names
from repave_controller.api.web.callers import may_read
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.paging import items, items_as_text, page, paged
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import query_of
from repave_controller.api.web.responses import answer
from repave_controller.api.web.streams import Streams
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Aged, Kept, Store
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.values import ApplicationName, RegionName


class Applications:
    """One for an API."""

    def __init__(
        self,
        scheduler: Scheduler,
        store: Store,
        sessions: Sessions,
        clock: SteadyClock,
        names: Names,
        streams: Streams,
    ) -> None:
        self._scheduler, self._store, self._sessions, self._clock = scheduler, store, sessions, clock
        self._names, self._streams, self._items = names, streams, ApplicationItems()

    def routes(self) -> tuple[Route, ...]:
        one = "applications/{application}"
        return (
            Route(
                "GET",
                "applications",
                self.applications,
                models.Items[models.ApplicationItem],
                query=ApplicationsQuery,
            ),
            Route("GET", one, self.application, models.ApplicationStatus),
            Route("GET", f"{one}/summary", self.summary, ApplicationSummary),
            Route("GET", f"{one}/why/summary", self.why_summary, WhySummary),
            Route("GET", f"{one}/regions", self.regions, models.RegionPage, query=RegionPageQuery),
            Route("GET", f"{one}/why", self.why, models.WhyAnswer),
            Route("GET", f"{one}/history", self.history, models.History, query=HistoryQuery),
            Route("GET", f"{one}/groups", self.groups, models.Items[models.GroupItem], query=GroupsQuery),
            Route("GET", f"{one}/ages", self.ages, models.Items[models.AgeItem], query=PageQuery),
            Route("GET", f"{one}/queue", self.queue, models.QueueAnswer),
            Route("GET", f"{one}/stream", self.stream, models.ApplicationStatus, query=StreamQuery),
            Route("GET", "groups", self.groups, models.Items[models.GroupItem], query=GroupsQuery),
            Route("GET", "ages", self.ages, models.Items[models.AgeItem], query=PageQuery),
        )

    async def applications(self, request: web.Request) -> web.Response:
        """The applications that the caller may see, one line each."""
        asked, known = query_of(request, ApplicationsQuery), self._scheduler.applications()
        named = [name for name in may_read(request, known) if name.startswith(asked.prefix)]
        if asked.phase:
            named = [name for name in named if views.phase_of_application(known[name]) == asked.phase]
        shown, following = page(named, asked, lambda name: (name,))
        self._items.keep(known)
        seen, regions = self._scheduler.fence.seen, self._sessions.views()
        texts = (self._items.text(known[name], seen(name), regions) for name in shown)
        return items_as_text(request, texts, following)

    async def application(self, request: web.Request) -> web.Response:
        """An application as a whole: what serves, what is rolled out, what is waited for, each region."""
        return answer(self._status(self._names.one(request)))

    def _status(self, name: ApplicationName) -> models.ApplicationStatus:
        return views.application_status(
            self._scheduler.applications()[name],
            self._scheduler.fence.seen(name),
            self._scheduler.because(name),
            self._sessions.views(),
            self._clock(),
        )

    async def summary(self, request: web.Request) -> web.Response:
        """The same in few lines, however many regions there are."""
        return answer(self._summary(self._names.one(request)))

    def _summary(self, name: ApplicationName) -> ApplicationSummary:
        return summary(
            self._scheduler.applications()[name],
            self._scheduler.fence.seen(name),
            self._scheduler.because(name),
            self._sessions.views(),
            self._clock(),
        )

    async def regions(self, request: web.Request) -> web.Response:
        """The regions of an application, in pages."""
        name, asked = self._names.one(request), query_of(request, RegionPageQuery)
        application, views_of = self._scheduler.applications()[name], self._sessions.views()
        names = list(application.regions)
        after = asked.after or asked.cursor
        first = names.index(RegionName(after)) + 1 if after in names else 0
        if after and not first:
            field = "after" if asked.after else "cursor"
            raise Problem(400, "bad-request", f"{field}: {after} is no region of {name}")
        shown = names[first : first + asked.limit]
        seen = self._scheduler.fence.seen(name)
        return paged(
            request,
            models.RegionPage(
                items=[views.region_of(each, application, seen, views_of.get(each)) for each in shown],
                next=shown[-1] if first + len(shown) < len(names) else "",
            ),
        )

    async def why(self, request: web.Request) -> web.Response:
        """What an application waits for, and what a person could do about it."""
        name = self._names.one(request)
        application, because = self._scheduler.applications()[name], self._scheduler.because(name)
        observed = self._scheduler.fence.seen(name)
        return answer(views.why(application, observed, because, self._sessions.views()))

    async def why_summary(self, request: web.Request) -> web.Response:
        """The same in few lines: regions that wait for the same are one item."""
        name = self._names.one(request)
        application, because = self._scheduler.applications()[name], self._scheduler.because(name)
        observed = self._scheduler.fence.seen(name)
        return answer(why_summary(application, observed, because, self._sessions.views()))

    async def history(self, request: web.Request) -> web.Response:
        """The rollouts of an application, newest first; also of one that is deleted."""
        name = self._names.one(request, is_past=True)
        known = self._scheduler.saved(name)
        cluster = known.cluster if known is not None else ""
        asked = query_of(request, HistoryQuery)
        found = await self._store.rollouts(name, asked.limit + 1, asked.before or asked.cursor or None)
        rollouts, is_more = found[: asked.limit], len(found) > asked.limit
        oldest = await self._store.oldest(Kept.ROLLOUTS, 1, Aged((name, 0), Instant(0)))
        kept_from = next((int(each.key[1]) for each in oldest if each.key[0] == name), 1)
        item_of = views.brief_item if asked.brief else views.rollout_item
        history = [item_of(rollout, cluster) for rollout in rollouts]
        return paged(
            request,
            models.History(
                items=history,
                dropped_through=kept_from - 1,
                next=rollouts[-1].number if is_more else 0,
            ),
        )

    async def queue(self, request: web.Request) -> web.Response:
        """The releases that wait, the next one first, and why none begins where the queue stands."""
        return answer(views.queue_answer(self._scheduler.applications()[self._names.one(request)]))

    async def groups(self, request: web.Request) -> web.Response:
        """The server groups that have hosts, over all their regions."""
        asked, known = query_of(request, GroupsQuery), self._scheduler.applications()
        found = [
            (name, group)
            for name in self._names.all(request)
            for group in known[name].groups
            if asked.state in ("", group.state)
        ]
        shown, following = page(found, asked, lambda each: (each[0], each[1].number))
        each = (
            views.group_item(group, known[name], self._scheduler.fence.seen(name)) for name, group in shown
        )
        return items(request, each, following)

    async def ages(self, request: web.Request) -> web.Response:
        """How old and how worn the hosts of each group are, by region."""
        asked, known = query_of(request, PageQuery), self._scheduler.applications()
        found = (
            (name, region, group) for name in self._names.all(request) for region, group in aging(known[name])
        )
        shown, following = page(found, asked, lambda each: (each[0], each[1], each[2].number))
        seen = {name: self._scheduler.fence.seen(name) for name in {name for name, _, _ in shown}}
        return items(
            request,
            (age_item(known[name], group, region, seen[name]) for name, region, group in shown),
            following,
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """The status of an application, whole, whenever it has changed; ten times a second at most

        and at once when its rollout has come to another phase."""
        name = self._names.one(request)
        snapshot = self._summary if query_of(request, StreamQuery).summary else self._status
        return await self._streams.status(
            request, lambda: snapshot(self._names.one(request)), lambda: self._turn(name)
        )

    def _turn(self, name: ApplicationName) -> object:
        known = self._scheduler.saved(name)
        return None if known is None or known.rollout is None else (known.rollout.number, known.rollout.phase)
