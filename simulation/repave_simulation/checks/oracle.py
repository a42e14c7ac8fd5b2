"""Judges every effect on the truth by all checks of this room: implements world.bench.Judge."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from repave_agent.core.ports import HostSpec, Route, Structure
from repave_controller.core.domain.application import Application, Event, GroupState
from repave_protos.protocol.values import DesiredState, HostName, RegionName, is_job_host
from repave_simulation.checks import promises
from repave_simulation.checks.analyses import Analyses
from repave_simulation.checks.course import Course
from repave_simulation.checks.decisions import Decisions
from repave_simulation.checks.fronts import check_fronts
from repave_simulation.checks.jobs import JobTruth
from repave_simulation.checks.plans import Plans
from repave_simulation.checks.queues import Queues
from repave_simulation.checks.returns import Returns
from repave_simulation.checks.scaling import ScalingTruth
from repave_simulation.world.place import routed
from repave_simulation.world.world import World


class Oracle:
    """Knows more than any process can. Becomes the judge of the world that it is made for."""

    def __init__(self, world: World) -> None:
        self.plans = Plans(world)
        self._world = world
        self._course, self._returns, self._decisions = Course(world), Returns(world), Decisions(world)
        self._queues = Queues(world)
        self._analyses = Analyses(world)
        self._jobs = JobTruth(world)
        self._scaling = ScalingTruth(world)
        world.judge = self

    def decides(self, before: Application | None, after: Application, events: Sequence[Event]) -> None:
        self._course.check(before, after, events)
        self._returns.check(before, after)
        self.plans.check(before, after)
        self._decisions.check(before, after)
        self._queues.check(before, after, events)
        self._analyses.check(before, after)
        self._jobs.decides(before, after)
        self._scaling.decides(before, after, events)

    def makes(self, region: RegionName, spec: HostSpec, memory: int) -> None:
        if is_job_host(spec.name):
            self._jobs.makes(region, spec)
        promises.check_make(self._world.places[region], spec, memory)

    def condemns(self, region: RegionName, host: HostName) -> None:
        place = self._world.places[region]
        if not is_job_host(host):  # it is of its group's package, and none of its hosts
            promises.check_condemned(place, place.machines[host])
            promises.check_workers(place, place.machines[host])

    def ends(self, region: RegionName, host: HostName) -> None:
        place = self._world.places[region]
        promises.check_end(place, place.machines[host])

    @contextmanager
    def arranges(self, region: RegionName, structure: Structure) -> Iterator[None]:
        place = self._world.places[region]
        before = promises.capacities(place)
        promises.check_arrange(place, structure)
        check_fronts(place, structure)
        yield
        promises.check_capacities(place, before, "arranged")

    @contextmanager
    def routes(self, region: RegionName, routes: tuple[Route, ...], asked_at: float) -> Iterator[None]:
        place = self._world.places[region]
        before, left = promises.capacities(place), routed(place.balancer.routes) - routed(routes)
        promises.check_routes(self._world, place, routes, asked_at)
        yield
        promises.check_capacities(place, before, "routed", left=left)

    def accepts(self, region: RegionName, state: DesiredState) -> None:
        promises.check_accept(self._world.places[region], state)

    def unfinished(self) -> str:
        return self.plans.unfinished() or self._queues.unfinished() or self._looked_at()

    def _looked_at(self) -> str:
        """A group that failed and is still kept to be looked at; "" when there is none."""
        for application in self._world.ledger.applications.values():
            for group in application.groups:
                if group.failed_at is not None and group.state is GroupState.FAILED:
                    return f"{group.name} failed, and is still kept"
        return ""
