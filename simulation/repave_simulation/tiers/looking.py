"""Looks at new groups: what a source says of them, and a runner that is as small as it can be.

The real judge decides. The source knows the truth, and is late, down, empty, without numbers, silent, says
things twice, or lies.
"""

from collections.abc import Callable, Iterable
from math import nan

from repave_controller.core.analysis.judge import judge
from repave_controller.core.analysis.values import Samples
from repave_controller.core.commands.judging import Judged
from repave_controller.core.domain.analyses import Finding
from repave_controller.core.domain.application import Application, Instant
from repave_controller.core.rules.looks import DueLook, due
from repave_protos.protocol.values import ApplicationName
from repave_simulation.kernel.timeline import Life
from repave_simulation.tiers.figures import LATENCY_SECONDS
from repave_simulation.world.ledger import LookKey
from repave_simulation.world.world import FREEZE_SECONDS, World

POLL_SECONDS = 2.0
PATIENCE_SECONDS = 6.0
"""After so long without an answer a look is made again."""
LATE_SECONDS = (1.0, 40.0)
STEPS, REQUESTS = 5, 400.0
USUAL, WORSE = 0.002, 0.3
"""Errors of a request."""

Deliver = Callable[[ApplicationName, Judged], None]


class Looker:
    """Of one life of a controller. `deliver` takes in what was found."""

    def __init__(
        self,
        world: World,
        life: Life,
        clock: Callable[[], Instant],
        known: Callable[[], Iterable[Application]],
        deliver: Deliver,
    ) -> None:
        self._world, self._life, self._clock = world, life, clock
        self._known, self._deliver = known, deliver
        self._asked: dict[LookKey, float] = {}
        world.timeline.after(POLL_SECONDS, self._poll, life)

    def _poll(self) -> None:
        for application in self._known():
            for look in due(application, self._clock()):
                key = (application.name, *look.key)
                if self._world.now >= self._asked.get(key, 0.0) + PATIENCE_SECONDS:
                    self._asked[key] = self._world.now
                    self._ask(application, look, key)
        self._world.timeline.after(POLL_SECONDS, self._poll, self._life)

    def _ask(self, application: Application, look: DueLook, key: LookKey) -> None:
        world, life = self._world, self._life
        fate, name = world.fate("look", f"{application.name}/{look.gate}/{look.region}", life.name)
        if fate == "crash-before":
            world.kill(life.name)
            return
        seconds = LATENCY_SECONDS
        if fate == "late":
            seconds += world.chance.between(*LATE_SECONDS, "late", name)
        if fate == "pause-before":
            world.freeze(life.name, world.chance.between(*FREEZE_SECONDS, "freeze", name))
        finding = self._finding(application, look, fate)
        world.ledger.found.setdefault(key, []).append(finding.outcome)
        world.story.reached[f"look: {finding.outcome}"] += 1
        found = Judged.of(look, finding)
        if fate == "crash-after":
            world.timeline.after(seconds, lambda: world.kill(life.name), life)
        elif fate == "pause-after":
            world.freeze(life.name, world.chance.between(*FREEZE_SECONDS, "freeze", name))
        if fate != "lost-answer":
            world.timeline.after(seconds, lambda: self._deliver(application.name, found), life)
        if fate == "repeated":
            again = seconds + world.chance.between(0.0, LATE_SECONDS[1], "again", name)
            world.timeline.after(again, lambda: self._deliver(application.name, found), life)

    def _finding(self, application: Application, look: DueLook, fate: str) -> Finding:
        if fate == "down":
            return Finding.error("balancer", "it is down")
        is_worse = self._is_worse(application, look) != (fate == "lies")
        new, old = _samples(WORSE if is_worse else USUAL), _samples(USUAL)
        if fate == "empty":
            new = old = Samples()
        if fate == "no-numbers":
            new = old = Samples(events=(nan,) * STEPS, trials=(nan,) * STEPS)
        metrics = [each.metric for each in look.plan.readings]
        baseline, canary = ({each.name: side for each in metrics} for side in (old, new))
        made = look.judged + 1
        return Finding.of(judge(look.plan.judge, metrics, baseline, canary, made, look.plan.count))

    def _is_worse(self, application: Application, look: DueLook) -> bool:
        groups = {each.name: each.digest for each in application.groups}
        named = {each.target for each in look.regions}
        return any(self._world.behaviour(groups[name]).is_worse for name in named)


def _samples(rate: float) -> Samples:
    return Samples(events=(round(rate * REQUESTS),) * STEPS, trials=(REQUESTS,) * STEPS)
