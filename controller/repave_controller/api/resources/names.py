"""Which applications, regions and groups a request names, and whether they are there."""

from aiohttp import web

from repave_controller.api.web.callers import may_read
from repave_controller.core.commands.release import deleted_application, unknown_application
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName


class Names:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, sessions: Sessions) -> None:
        self._scheduler, self._sessions = scheduler, sessions

    def one(self, request: web.Request, *, is_past: bool = False) -> ApplicationName:
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

    def all(self, request: web.Request) -> list[ApplicationName]:
        """The one of the path, or all."""
        if "application" in request.match_info:
            return [self.one(request)]
        return may_read(request, sorted(self._scheduler.applications()))

    def check_region(self, region: str, applications: list[ApplicationName] | None = None) -> None:
        """It is known, or was left empty; with applications, one of them is there. Raises Refused."""
        known = {*self._sessions.views()} if applications is None else set[RegionName]()
        applications = sorted(self._scheduler.applications()) if applications is None else applications
        for name in applications:
            known.update(self._scheduler.applications()[name].regions)
        if region and RegionName(region) not in known:
            raise Refused(Refusal.UNKNOWN_REGION_ASKED, region=region, known=tuple(sorted(known)))

    def check_group(self, group: str, applications: list[ApplicationName]) -> None:
        """The same of a server group."""
        known = self._scheduler.applications()
        there = [each.name for name in applications for each in known[name].groups]
        if group and GroupName(group) not in there:
            raise Refused(Refusal.UNKNOWN_GROUP_ASKED, group=group, known=tuple(there))
