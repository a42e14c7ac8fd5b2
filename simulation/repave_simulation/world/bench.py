"""What every part of one run shares: scenario, time, chance, story, ledger, and the judge of its effects."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from repave_agent.core.ports import HostSpec, Route, Structure
from repave_controller.core.domain.application import Application, Event
from repave_protos.protocol.values import DesiredState, Digest, HostName, RegionName
from repave_simulation.kernel.chance import Chance
from repave_simulation.kernel.story import Broken, Story
from repave_simulation.kernel.timeline import Timeline
from repave_simulation.scenarios.scenario import Behaviour, Scenario
from repave_simulation.world.ledger import Ledger


class Judge(Protocol):
    """Learns of every effect on the truth and calls `Bench.broken` when one breaks a promise."""

    def decides(self, before: Application | None, after: Application, events: Sequence[Event]) -> None:
        """`after` has become durable; the ledger does not have it yet."""

    def makes(self, region: RegionName, spec: HostSpec, memory: int) -> None:
        """The host is about to be made."""

    def condemns(self, region: RegionName, host: HostName) -> None:
        """An agent is about to destroy the host, for the first time."""

    def ends(self, region: RegionName, host: HostName) -> None:
        """The host is about to be gone."""

    def arranges(self, region: RegionName, structure: Structure) -> AbstractContextManager[None]:
        """Around the change of the balancer's structure."""

    def routes(
        self, region: RegionName, routes: tuple[Route, ...], asked_at: float
    ) -> AbstractContextManager[None]:
        """Around the change of the split, which was asked for at that moment."""

    def accepts(self, region: RegionName, state: DesiredState) -> None:
        """An agent is about to have accepted the state."""

    def unfinished(self) -> str:
        """What is still owed in the end; "" when nothing is."""


class Bench:
    """`on_change` is called with the region of each changed place, `on_step` with each step of a release that
    begins; both are for measurements."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        self.scenario = scenario
        self.timeline = timeline
        self.chance = Chance(scenario.seed)
        self.story = Story()
        self.ledger = Ledger()
        self.judge: Judge
        self.on_change: Callable[[RegionName], None] = lambda _: None
        self.on_step: Callable[[str], None] = lambda _: None

    @property
    def now(self) -> float:
        return self.timeline.now

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """The world's own doing: no process has to be alive for it."""
        self.timeline.after(seconds, act)

    def tell(self, who: str, text: str) -> None:
        self.story.tell(self.now, who, text)

    def broken(self, promise: int, text: str) -> None:
        """The run ends with the first promise that is broken."""
        if self.story.broken is None:
            self.story.broken = Broken(promise, text, self.now)
            self.tell("!", f"promise {promise} is broken: {text}")

    def behaviour(self, digest: Digest) -> Behaviour:
        return self.scenario.images.get(digest, Behaviour())
