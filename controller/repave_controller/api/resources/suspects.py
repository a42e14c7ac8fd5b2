"""Which releases explain errors that have risen, of an application or in a region."""

from collections.abc import Collection, Iterable

from aiohttp import web

from repave_controller.api.answers.suspects import (
    RegionSuspectsQuery,
    SuspectsAnswer,
    SuspectsQuery,
    suspects,
)
from repave_controller.api.resources.names import Names
from repave_controller.api.web.callers import may_read
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.requests import query_of
from repave_controller.api.web.responses import answer
from repave_controller.operations.suspects import Inquiry, Suspects
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.values import ApplicationName, RegionName


class SuspectRoutes:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, suspects: Suspects, clock: SteadyClock, names: Names) -> None:
        self._scheduler, self._suspects, self._clock, self._names = scheduler, suspects, clock, names

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                "applications/{application}/suspects",
                self.of_application,
                SuspectsAnswer,
                query=SuspectsQuery,
                refuses=("unknown-region",),
            ),
            Route(
                "GET",
                "regions/{region}/suspects",
                self.in_region,
                SuspectsAnswer,
                query=RegionSuspectsQuery,
                refuses=("unknown-region",),
            ),
        )

    async def of_application(self, request: web.Request) -> web.Response:
        """Errors of an application that have risen, and which releases in its regions explain them."""
        query, name = query_of(request, SuspectsQuery), self._names.one(request)
        self._names.check_region(query.region, [name])
        regions = (
            (RegionName(query.region),) if query.region else self._scheduler.applications()[name].regions
        )
        return await self._found(request, [name], regions, query.last)

    async def in_region(self, request: web.Request) -> web.Response:
        """Errors in a region that have risen, of any application, and which releases explain them."""
        query, region = query_of(request, RegionSuspectsQuery), RegionName(request.match_info["region"])
        self._names.check_region(region)
        there = [name for name, each in self._scheduler.applications().items() if region in each.regions]
        return await self._found(request, may_read(request, sorted(there)), (region,), query.last)

    async def _found(
        self,
        request: web.Request,
        names: Iterable[ApplicationName],
        regions: Collection[RegionName],
        last: float,
    ) -> web.Response:
        """Of releases only those that the caller may see."""
        known, now = self._scheduler.applications(), self._clock()
        asked = Inquiry([known[each] for each in names], frozenset(regions), now - last, now)
        among = [known[each] for each in may_read(request, sorted(known))]
        return answer(suspects(await self._suspects.find(asked, among)))
