"""Regions are looked at when it is time, by what their balancers or a source of metrics say, and the number
in force is the application's: whoever looks goes on from there."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from repave_controller.core.commands.scaling import Scale
from repave_controller.core.commands.steering import Resize
from repave_controller.core.domain.application import Application, Drained, Instant, Observed
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import Phase
from repave_controller.operations.analysis.sources.balancer import NAME, Balancer
from repave_controller.operations.analysis.sources.ports import Series, Side, Source, SourceError, Window
from repave_controller.operations.scaling.reading import LoadReader
from repave_controller.operations.scaling.runner import ScalingRunner
from repave_controller.operations.traffic import Figures, together
from repave_protos.protocol.queries import GroupTraffic, Traffic
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import done, serving
from tests.scenarios.world import World

SHOP, PARIS = ApplicationName("shop"), RegionName("paris")
TIMES = "every: 5s, over: 10s, steady: 30s"
BY_REQUESTS = f"{{min: 2, max: 10, by: requests, target: 50, {TIMES}}}"
BY_QUEUE = f"{{min: 2, max: 10, by: queue, target: 4, {TIMES}}}"
BY_METRIC = f"{{min: 2, max: 10, by: metric, source: prom, query: 'jobs', target: 5, {TIMES}}}"
BY_AVERAGE = (
    f"{{min: 2, max: 10, by: metric, source: prom, query: 'jobs', value: average, target: 60, {TIMES}}}"
)
STARTED = 100


@dataclass
class Agents:
    """What each balancer counts a second: `requests`, and `in_flight` at each look; of all groups
    together."""

    clock: Callable[[], float]
    requests: float = 0.0
    in_flight: int = 0
    kept_since: float = 0.0
    unknown: str = ""
    tells: bool = True

    async def read(
        self, application: ApplicationName, regions: tuple[RegionName, ...], since: float
    ) -> Figures:
        if self.unknown:
            return together({}, dict.fromkeys(regions, self.unknown), since, self.clock())
        slots = tuple(range(int(max(since, self.kept_since) // 5), int(self.clock() // 5) + 1))
        halves = (self.requests * 5 / 2,) * len(slots)
        flying = (self.in_flight,) * len(slots) if self.tells else ()
        groups = [
            GroupTraffic(
                GroupName(f"shop-v00{number}"),
                slots,
                tuple(map(int, halves)),
                (0,) * len(slots),
                (1000,) * len(slots),
                flying if number == 1 else (0,) * len(flying),
            )
            for number in (1, 2)
        ]
        found = {region: Traffic(5, tuple(groups), kept_since=self.kept_since) for region in regions}
        return together(found, {}, since, self.clock())


@dataclass
class Metric:
    """Implements ports.Source: `value` at each step."""

    value: float = 0.0
    trouble: str = ""
    name: str = "prom"
    kind: str = "prometheus"
    applications: tuple[str, ...] = ("*",)
    asked: list[tuple[str, Side]] = field(default_factory=list)

    def step_for(self, seconds: float) -> int:
        return 5

    def total_of(self, query: str) -> str:
        return ""

    def objection(self, query: str) -> str:
        return "" if query == "jobs" else "no such query"

    def objection_to_sides(self, query: str) -> str:
        return "both sides would be the same"

    async def is_by_version(self, query: str) -> bool:
        return True

    async def read(self, query: str, side: Side, window: Window) -> Series:
        self.asked.append((query, side))
        if self.trouble:
            raise SourceError(self.trouble)
        return Series(window.since, window.step_seconds, (self.value,) * window.slots)


@dataclass
class Office:
    world: World
    is_mine: bool = True
    told: list[Scale] = field(default_factory=list)

    @property
    def clock(self) -> Callable[[], Instant]:
        return lambda: Instant(self.world.now)

    def applications(self) -> Mapping[ApplicationName, Application]:
        return {SHOP: self.world.application}

    def decides_for(self, application: ApplicationName) -> bool:
        return self.is_mine

    def observed(self, application: ApplicationName) -> Observed:
        return self.world.observed

    async def scale(self, application: ApplicationName, scale: Scale) -> None:
        self.told.append(scale)
        assert done(self.world, scale) is None


@dataclass
class Play:
    """A world, who looks at it, and what they see."""

    office: Office
    agents: Agents
    metric: Metric
    runner: ScalingRunner

    async def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.office.world.tick()
            for application, scaling in self.runner.due(self.office.clock()):
                await self.runner.look(application, scaling)

    @property
    def hosts(self) -> int:
        group = self.office.world.application.serving_in(PARIS)
        assert group is not None
        return group.size(PARIS)

    @property
    def waits(self) -> list[object]:
        return [each.reason.kind for each in self.office.world.because]


def play(bounds: str, now: int = STARTED) -> Play:
    text = spec("{blue_green: {warm: 0s}}", "paris:8").replace("size: 8", f"size: {bounds}")
    office = Office(serving("scaling", text, now))
    agents, metric = Agents(office.clock), Metric()
    sources: dict[str, Source] = {NAME: Balancer(agents), "prom": metric}
    runner = ScalingRunner(office, LoadReader(sources))
    return Play(office, agents, metric, runner)


async def test_more_hosts_come_for_more_requests_and_end_after_the_steady_time() -> None:
    found = play(BY_REQUESTS)
    found.agents.requests = 240.0
    await found.run(5)
    assert found.hosts == 3
    await found.run(5)
    assert found.hosts == 5
    assert found.runner.needed == {(SHOP, PARIS): pytest.approx(4.8)}
    found.agents.requests = 20.0
    await found.run(25)
    assert found.hosts == 5
    await found.run(40)
    assert found.hosts < 5
    await found.run(100)
    assert found.hosts == 2


async def test_a_queue_is_what_is_in_flight_at_once() -> None:
    found = play(BY_QUEUE)
    found.agents.in_flight = 12
    await found.run(20)
    assert found.hosts == 3


async def test_an_agent_that_does_not_tell_what_is_in_flight_lets_nothing_end() -> None:
    found = play(BY_QUEUE)
    found.agents.requests, found.agents.tells = 50.0, False
    await found.run(90)
    assert found.hosts == 2
    assert found.waits == [Why.SIZE_UNKNOWN]


async def test_a_query_is_read_for_all_groups_of_the_region() -> None:
    found = play(BY_METRIC)
    found.metric.value = 15.0
    await found.run(20)
    assert found.hosts == 3
    query, side = found.metric.asked[0]
    assert (query, side.regions, side.group) == ("jobs", (PARIS,), "")


async def test_an_average_is_of_hosts_that_are_kept_too() -> None:
    """Half of the hosts have nothing to do: those that serve have the target where the mean is half of it."""
    found = play(BY_AVERAGE)
    world = found.office.world
    assert done(world, Resize(((PARIS, 4),))) is None
    world.run(30)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    found.metric.value = 30.0
    await found.run(60)
    assert found.runner.needed == {(SHOP, PARIS): pytest.approx(4.0)}
    assert found.hosts == 4


async def test_an_agent_that_has_just_begun_does_not_say_that_there_were_no_requests() -> None:
    found = play(BY_REQUESTS)
    found.agents.requests = 240.0
    await found.run(40)
    assert found.hosts == 5
    found.agents.requests, found.agents.kept_since = 20.0, float(found.office.world.now)
    await found.run(28)
    assert found.hosts == 5


async def test_missing_numbers_let_nothing_end_and_are_told_after_a_while() -> None:
    found = play(BY_METRIC)
    found.metric.value = 20.0
    await found.run(40)
    hosts = found.hosts
    found.metric.trouble = "prometheus is down"
    await found.run(50)
    assert (found.hosts, found.waits) == (hosts, [])
    await found.run(30)
    assert (found.hosts, found.waits) == (hosts, [Why.SIZE_UNKNOWN])
    found.metric.trouble = ""
    await found.run(10)
    assert found.waits == []


async def test_another_controller_goes_on_with_the_number_in_force() -> None:
    found = play(BY_REQUESTS)
    found.agents.requests = 240.0
    await found.run(40)
    changed_at = found.office.told[-1].at
    second = ScalingRunner(found.office, LoadReader({NAME: Balancer(found.agents)}))
    found.runner, found.agents.requests = second, 20.0
    await found.run(int(changed_at) + 29 - found.office.world.now)
    assert found.hosts == 5, "the steady time counts from the last change, whoever made it"
    await found.run(60)
    assert found.hosts < 5


async def test_only_the_controller_that_decides_looks() -> None:
    found = play(BY_REQUESTS)
    found.office.is_mine, found.agents.requests = False, 500.0
    await found.run(30)
    assert (found.hosts, found.runner.needed) == (2, {})


async def test_a_time_in_which_no_host_served_is_no_quiet_one() -> None:
    """Clients come back with what they had before."""
    found = play(BY_REQUESTS)
    found.agents.requests = 240.0
    await found.run(40)
    world = found.office.world
    serving_now = world.application.serving_in(PARIS)
    assert serving_now is not None
    world.regions[PARIS].sick.add(serving_now.name)
    found.agents.requests = 0.0
    await found.run(40)
    world.regions[PARIS].sick.clear()
    await found.run(20)
    assert found.hosts == 5
    await found.run(40)
    assert found.hosts < 5, "there is still no load"


async def test_a_drained_region_keeps_its_hosts_until_its_clients_are_back() -> None:
    found = play(BY_REQUESTS)
    found.agents.requests = 240.0
    await found.run(40)
    world = found.office.world
    drained = ByRegion([Drained(PARIS, Instant(world.now))])
    world.application = replace(world.application, drained=drained)
    found.agents.requests = 0.0
    await found.run(60)
    assert found.hosts == 5
    world.application = replace(world.application, drained=ByRegion())
    await found.run(20)
    assert found.hosts == 5
    await found.run(40)
    assert found.hosts < 5


async def test_a_region_that_is_away_keeps_its_hosts() -> None:
    found = play(BY_REQUESTS)
    found.agents.requests = 240.0
    await found.run(40)
    found.agents.unknown = "its agent is not connected"
    found.office.world.regions[PARIS].is_connected = False
    await found.run(100)
    assert found.hosts == 5
    assert Why.SIZE_UNKNOWN in found.waits
    found.agents.unknown, found.agents.requests = "", 0.0
    found.office.world.regions[PARIS].is_connected = True
    await found.run(20)
    assert found.hosts == 5, "its machine may have stood still"
    await found.run(40)
    assert found.hosts < 5


def test_what_can_not_be_read_is_said_when_a_release_is_planned() -> None:
    found = play(BY_METRIC)
    (scaling,) = found.office.world.application.policy.scaling
    assert found.runner.objection("shop", scaling) == ""
    reader = LoadReader({NAME: Balancer(found.agents)})
    assert "no source prom" in reader.objection("shop", scaling)
    assert not math.isnan(found.metric.value)
