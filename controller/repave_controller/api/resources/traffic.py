"""The traffic of an application's server groups, as the balancers of its regions have counted it."""

from aiohttp import web

from repave_controller.api.answers.queries import TrafficQuery
from repave_controller.api.answers.traffic import TrafficAnswer, traffic
from repave_controller.api.resources.names import Names
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.requests import query_of
from repave_controller.api.web.responses import answer
from repave_controller.operations.traffic import TrafficReader
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.values import RegionName


class TrafficRoutes:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, reader: TrafficReader, clock: SteadyClock, names: Names) -> None:
        self._scheduler, self._reader, self._clock, self._names = scheduler, reader, clock, names

    def routes(self) -> tuple[Route, ...]:
        path = "applications/{application}/traffic"
        return (
            Route("GET", path, self.traffic, TrafficAnswer, query=TrafficQuery, refuses=("unknown-region",)),
        )

    async def traffic(self, request: web.Request) -> web.Response:
        """What each server group's requests are, and how they fare, as balancers count them."""
        query, name = query_of(request, TrafficQuery), self._names.one(request)
        self._names.check_region(query.region, [name])
        application = self._scheduler.applications()[name]
        regions = [RegionName(query.region)] if query.region else sorted(application.regions)
        figures = await self._reader.read(name, regions, query.since or self._clock() - query.last)
        return answer(traffic(figures, application))
