"""What has happened: a page of it, and as it happens."""

from collections.abc import Callable

from aiohttp import web

from repave_controller.api.answers import models, views
from repave_controller.api.answers.queries import EVENTS_MAX, EventsQuery, EventStreamQuery
from repave_controller.api.web.callers import may_read, principal_of, require
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.paging import items
from repave_controller.api.web.requests import last_event_of, query_of
from repave_controller.api.web.streams import Streams
from repave_controller.core.commands.release import unknown_application
from repave_controller.core.domain.application import Event
from repave_controller.core.ports import Store
from repave_controller.runtime.gaps import DROPPED, gap_after
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.principals import Permission
from repave_protos.protocol.values import ApplicationName

READ_OVER_MAX = 10
"""So many thousand events are read for one page of those of a kind or a region."""


_UNKNOWN = ("unknown-application",)


class Events:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, store: Store, streams: Streams) -> None:
        self._scheduler, self._store, self._streams = scheduler, store, streams

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                "events",
                self.events,
                models.Items[models.EventItem],
                query=EventsQuery,
                refuses=_UNKNOWN,
            ),
            Route("GET", "events/stream", self.events_stream, models.EventItem, query=EventStreamQuery),
        )

    async def events(self, request: web.Request) -> web.Response:
        """The log of events: those that follow a number, or the newest."""
        query = query_of(request, EventsQuery)
        await self._check_events_of(request, query.application)
        after = query.after or query.cursor
        seen, following = await self._found(query, after, _shown_to(request))
        gap = await gap_after(self._store, after) if after or not query.newest else None
        found = [gap, *seen] if gap is not None else seen
        return items(request, map(views.event_item, found), str(following or ""))

    async def _found(
        self, query: EventsQuery, after: int, is_shown: Callable[[Event], bool]
    ) -> tuple[list[Event], int]:
        """The events, and where those begin that follow; 0: there are none now. What is filtered out is read
        over, within a bound: a page may have fewer than it could, also none."""

        def counts(event: Event) -> bool:
            return is_shown(event) and query.kind in ("", event.kind) and query.region in ("", event.region)

        is_picky = bool(query.kind or query.region)
        at_once = EVENTS_MAX if is_picky else query.limit
        found: list[Event] = []
        for _ in range(READ_OVER_MAX if is_picky else 1):
            events = await self._store.events(
                after=after, application=query.application, limit=at_once, newest=query.newest
            )
            if query.newest:
                return [*filter(counts, events)][-query.limit :] if query.limit else [], 0
            for event in events:
                after = event.sequence
                found += [event] if counts(event) else []
                if len(found) == query.limit:
                    return found, after
            if len(events) < at_once:
                return found, 0
        return found, after

    async def events_stream(self, request: web.Request) -> web.StreamResponse:
        """The log of events as it grows, each with its number as `id`."""
        query = query_of(request, EventStreamQuery)
        if query.application:
            require(request, Permission.READ, query.application)
        after = last_event_of(request, query.after)
        is_shown = _shown_to(request)
        return await self._streams.events(
            request, after, query.application, lambda event: event.kind == DROPPED or is_shown(event)
        )

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


def _shown_to(request: web.Request) -> Callable[[Event], bool]:
    """What is of no application is for those who may see all."""
    principal = principal_of(request)
    return lambda event: principal.may(Permission.READ, event.application or None)
