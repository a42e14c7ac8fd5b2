"""Scales regions by their load: what is measured of it, and a runner that is as small as it can be.

The real rule chooses. The load is that of the scenario; what tells it is late, down, without numbers, or says
things twice.
"""

from collections.abc import Callable, Iterable
from math import nan

from repave_controller.core.commands.scaling import Scale, hosts_in_force
from repave_controller.core.domain.application import Application, Instant, Observed
from repave_controller.core.domain.scaling import Scaling
from repave_controller.core.rules.scaling import Measured, choose, hosts_up
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.kernel.timeline import Life
from repave_simulation.scenarios.load import load_at
from repave_simulation.tiers.figures import LATENCY_SECONDS
from repave_simulation.world.world import FREEZE_SECONDS, World

POLL_SECONDS = 1.0
LATE_SECONDS = (1.0, 40.0)
STEP_SECONDS = 1.0

Deliver = Callable[[ApplicationName, Scale], None]


class Scaler:
    """Of one life of a controller. `deliver` takes in what was chosen."""

    def __init__(
        self,
        world: World,
        life: Life,
        clock: Callable[[], Instant],
        known: Callable[[], Iterable[Application]],
        observed: Callable[[ApplicationName], Observed],
        deliver: Deliver,
    ) -> None:
        self._world, self._life, self._clock = world, life, clock
        self._known, self._observed, self._deliver = known, observed, deliver
        self._next: dict[tuple[ApplicationName, RegionName], float] = {}
        world.timeline.after(POLL_SECONDS, self._poll, life)

    def _poll(self) -> None:
        for application in self._known():
            for scaling in application.policy.scaling:
                key = application.name, scaling.region
                hosts = hosts_in_force(application, scaling.region)
                if hosts is not None and self._world.now >= self._next.get(key, 0.0):
                    self._next[key] = self._world.now + scaling.interval_seconds
                    self._look(application, scaling, hosts)
        self._world.timeline.after(POLL_SECONDS, self._poll, self._life)

    def _look(self, application: Application, scaling: Scaling, hosts: int) -> None:
        world, life, region = self._world, self._life, scaling.region
        fate, name = world.fate("measure", f"{application.name}/{region}", life.name)
        if fate == "crash-before":
            world.kill(life.name)
            return
        if fate == "pause-before":
            world.freeze(life.name, world.chance.between(*FREEZE_SECONDS, "freeze", name))
        now = self._clock()
        measured = self._measured(application, scaling, fate)
        sized = application.sized.find(region)
        changed_at = sized.at if sized is not None else Instant(0)
        is_rolling = application.running is not None
        choice = choose(scaling, hosts, changed_at, measured, now, is_rolling=is_rolling)
        if choice.hosts == hosts and choice.trouble is None and (sized is None or sized.trouble is None):
            return
        scale = Scale(region, hosts, choice, now)
        seconds = LATENCY_SECONDS
        if fate == "late":
            seconds += world.chance.between(*LATE_SECONDS, "late", name)
        if fate == "crash-after":
            world.timeline.after(seconds, lambda: world.kill(life.name), life)
        elif fate == "pause-after":
            world.freeze(life.name, world.chance.between(*FREEZE_SECONDS, "freeze", name))
        world.timeline.after(seconds, lambda: self._deliver(application.name, scale), life)
        if fate == "repeated":
            again = seconds + world.chance.between(0.0, LATE_SECONDS[1], "again", name)
            world.timeline.after(again, lambda: self._deliver(application.name, scale), life)

    def _measured(self, application: Application, scaling: Scaling, fate: str) -> Measured:
        world, region, now = self._world, scaling.region, self._clock()
        up = hosts_up(application, region, self._observed(application.name))
        if fate == "down":
            return Measured(up=up, trouble="it is down")
        steps = round(scaling.steady_seconds / STEP_SECONDS)
        ends = (world.now - (steps - number - 1) * STEP_SECONDS for number in range(steps))
        scenario, name = world.scenario, application.name
        values = tuple(load_at(scenario.seed, scenario.unfair_seconds, name, region, end) for end in ends)
        if fate == "no-numbers":
            values = (nan,) * steps
        elif fate == "gap":
            values = (*(nan,) * (steps // 2), *values[steps // 2 :])
        return Measured(values, STEP_SECONDS, now, up)
