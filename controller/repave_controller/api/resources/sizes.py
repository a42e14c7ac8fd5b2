"""What other numbers of hosts would do: asked by those who may change them. They are changed as any command
is given: steering.py."""

from aiohttp import web

from repave_controller.api.answers.scaling import SizePlanAnswer, size_plan_answer
from repave_controller.api.resources.names import Names
from repave_controller.api.resources.steering import SizesRequest
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.requests import body_of
from repave_controller.api.web.responses import answer
from repave_controller.core.planning.sizes import plan_sizes
from repave_controller.runtime.scheduler import Scheduler


class SizeRoutes:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, names: Names) -> None:
        self._scheduler, self._names = scheduler, names

    def routes(self) -> tuple[Route, ...]:
        path = "applications/{application}/sizes/plan"
        return (Route("POST", path, self.plan, SizePlanAnswer, SizesRequest, repeats=Repeats.SAFE),)

    async def plan(self, request: web.Request) -> web.Response:
        """What other numbers of hosts would do."""
        asked = await body_of(request, SizesRequest)
        name = self._names.one(request)
        plan = plan_sizes(self._scheduler.applications()[name], asked.wanted().sizes)
        return answer(size_plan_answer(plan))
