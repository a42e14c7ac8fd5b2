"""The first tier: the pure cores of controller and agents, joined by a network of plain calls on one heap."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from repave_protos.protocol.values import ApplicationName, ApplicationReport, DesiredState, RegionName
from repave_simulation.checks.oracle import Oracle
from repave_simulation.checks.people import Answer, People
from repave_simulation.kernel.log import listen
from repave_simulation.kernel.timeline import CONTROLLER, KEEPALIVE_SECONDS, Heap, Life
from repave_simulation.scenarios.scenario import Command, Scenario
from repave_simulation.tiers.core_agent import CoreAgent
from repave_simulation.tiers.core_controller import CoreController
from repave_simulation.tiers.figures import LATE_SECONDS_MAX, LATENCY_SECONDS, SENT_KEPT
from repave_simulation.tiers.living import live_through
from repave_simulation.world.strikes import prepare_strikes
from repave_simulation.world.world import FREEZE_SECONDS, World

REDIAL_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class _Stream:
    """One connection between two lives. Reports count up; an overtaken one is not taken."""

    region: RegionName
    is_open: bool = True
    sent: int = 0
    taken: int = 0


class TierOne:
    """Implements world.Tier."""

    def __init__(self, scenario: Scenario) -> None:
        listen([])
        self.heap = Heap()
        self.world = World(scenario, self.heap)
        self.controller: CoreController
        self.agents: dict[RegionName, CoreAgent] = {}
        self.people = People(self.world, Oracle(self.world).plans, self._ask)
        self._streams: dict[RegionName, _Stream] = {}
        self._sent: dict[RegionName, list[DesiredState]] = {region: [] for region in scenario.regions}
        self.world.begin(self)
        prepare_strikes(self.world)
        self.people.begin()

    @property
    def happened(self) -> int:
        return self.heap.happened

    def run(self) -> World:
        live_through(self.world, self.people, self.heap.run)
        return self.world

    # ------------------------------------------------------------------------------------ processes

    def start(self, name: str, life: Life) -> None:
        if name == CONTROLLER:
            self.controller = CoreController(self.world, life, self._down)
            return
        region = RegionName(name)
        place = self.world.places[region]
        self.agents[region] = CoreAgent(self.world, place, life, lambda reports: self._up(region, reports))
        self.heap.after(0.1, partial(self._dial, region), life)

    def regions_of(self, name: str) -> Iterable[RegionName]:
        return tuple(self._streams) if name == CONTROLLER else (RegionName(name),)

    def ended(self, name: str) -> None:
        for region in self.regions_of(name):
            self.cut(region)

    def _ask(self, command: Command, done: Callable[[Answer], None]) -> None:
        life = self.world.lives[CONTROLLER]
        if life.is_over:
            done(None)
        else:
            self.heap.after(LATENCY_SECONDS, lambda: self.controller.ask(command, done), life)

    # -------------------------------------------------------------------------------------- network

    def _dial(self, region: RegionName) -> None:
        life, other = self.world.lives[region], self.world.lives[CONTROLLER]
        is_cut = self.world.places[region].cut_until > self.world.now
        if region in self._streams or life.is_over:
            return
        if is_cut or other.is_over or other.is_frozen:
            self.heap.after(REDIAL_SECONDS, partial(self._dial, region), life)
            return
        stream = self._streams[region] = _Stream(region)
        self.heap.after(LATENCY_SECONDS, lambda: self._opened(stream), other)

    def _opened(self, stream: _Stream) -> None:
        if not stream.is_open:
            return
        named = frozenset(self.controller.connected(stream.region))
        agent = self.agents[stream.region]

        def welcomed() -> None:
            agent.welcomed(named)
            agent.report_everything()

        self.heap.after(LATENCY_SECONDS, welcomed, self.world.lives[stream.region])

    def cut(self, region: RegionName) -> None:
        stream = self._streams.pop(region, None)
        if stream is None:
            return
        stream.is_open = False
        self.world.tell(region, "the stream is broken")
        controller = self.controller
        self.heap.after(LATENCY_SECONDS, lambda: controller.lost(region), self.world.lives[CONTROLLER])
        self.heap.after(REDIAL_SECONDS, partial(self._dial, region), self.world.lives[region])

    def _down(self, region: RegionName, state: DesiredState) -> None:
        self._sent[region].append(state)
        del self._sent[region][:-SENT_KEPT]
        agent = self.agents[region]
        self._carry(region, CONTROLLER, region, "desired", state.application, lambda: agent.hear(state))

    def _up(self, region: RegionName, reports: Mapping[ApplicationName, ApplicationReport]) -> None:
        stream = self._streams.get(region)
        if stream is None:
            return
        stream.sent += 1
        number, taken = stream.sent, dict(reports)

        def deliver() -> None:
            if number > stream.taken:
                stream.taken = number
                for report in taken.values():
                    self.controller.reported(region, report)

        self._carry(region, region, CONTROLLER, "report", "", deliver)

    def _carry(
        self,
        region: RegionName,
        sender: str,
        receiver: str,
        kind: str,
        subject: str,
        deliver: Callable[[], None],
    ) -> None:
        stream, world = self._streams.get(region), self.world
        if stream is None:
            return
        fate, key = world.fate(kind, f"{region}/{subject}", sender)
        if fate == "crash-before":
            world.kill(sender)
            return
        wait = max(0.0, world.places[region].cut_until - world.now)
        if fate == "cut" or wait >= KEEPALIVE_SECONDS:
            if fate == "cut":
                self.cut(region)
            return
        seconds = wait + LATENCY_SECONDS
        if fate.startswith("pause"):
            frozen = world.chance.between(*FREEZE_SECONDS, "freeze", key)
            world.freeze(sender, frozen)
            seconds += frozen if fate == "pause-before" else 0.0
        elif fate == "late":
            seconds += world.chance.between(0.0, LATE_SECONDS_MAX, "late", key)

        def arrive() -> None:
            if stream.is_open:
                deliver()

        life = world.lives[receiver]
        self.heap.after(seconds, arrive, life)
        if fate == "repeated":
            self.heap.after(seconds + world.chance.between(0.0, LATE_SECONDS_MAX, "again", key), arrive, life)
        if fate == "crash-after":
            world.kill(sender)

    def replay_old(self, region: RegionName) -> None:
        sent = self._sent[region]
        if sent and not self.world.lives[region].is_over:
            count = self.world.chance.number(0, len(sent) - 1, "old", len(self.world.story.lines))
            state, agent = sent[count], self.agents[region]
            self.heap.after(LATENCY_SECONDS, lambda: agent.hear(state), self.world.lives[region])
