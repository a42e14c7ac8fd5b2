"""Whether regions follow their load within their bounds: held against the true load, which no controller
knows.

One owner has the number: each choice is made upon the one that is in force. No host ends by it while a
rollout is under way, nor while the load needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from repave_controller.core.commands.scaling import SECONDS_MAX
from repave_controller.core.domain.application import Application, Event
from repave_controller.core.domain.scaling import Scaling
from repave_protos.protocol.values import RegionName
from repave_simulation.scenarios.load import load_at
from repave_simulation.world.world import World

PROMISE = 13
LATE_SECONDS = SECONDS_MAX + 1.0
"""So long ago a choice may have been made that becomes durable now."""


@dataclass(slots=True)
class ScalingTruth:
    world: World

    def decides(self, before: Application | None, after: Application, events: Sequence[Event]) -> None:
        """`after` has just become durable in place of `before`."""
        for event in events if before is not None else ():
            if event.kind == "region.scaled" and before is not None:
                assert event.what is not None, "it was decided here"
                facts, region = dict(event.what.facts), RegionName(event.region)
                had, hosts = facts["before"], facts["hosts"]
                assert isinstance(had, int), "a number of hosts"
                assert isinstance(hosts, int), "a number of hosts"
                self._check(before, after, region, had, hosts)

    def _check(
        self, before: Application, after: Application, region: RegionName, had: int, hosts: int
    ) -> None:
        rule, serving = after.policy.scaling.find(region), before.serving_in(region)
        if rule is None or rule.changed(had, hosts) != hosts:
            self._broken(after, region, f"{hosts} hosts are out of its bounds")
            return
        if serving is None or serving.size(region) != had:
            self._broken(after, region, f"it was chosen upon {had} hosts, which are not in force")
        if before.running is not None:
            for group in before.groups:
                now = after.group(group.number)
                if now is not None and now.size(region) < group.size(region):
                    self._broken(after, region, f"{group.name} loses hosts while a rollout is under way")
        if hosts < had:
            self._check_load(after, rule, region, hosts)

    def _check_load(self, after: Application, rule: Scaling, region: RegionName, hosts: int) -> None:
        """In all of its steady time fewer hosts would have done, however late the choice became durable."""
        until, seconds = self.world.now - LATE_SECONDS, rule.window_seconds
        while until - seconds >= self.world.now - rule.steady_seconds:
            loads = (self._load(after, region, until - back) for back in range(int(seconds)))
            mean = sum(loads) / int(seconds)
            if mean > rule.target * hosts + 1e-6:
                ago, needed = self.world.now - until, mean / rule.target
                text = f"{hosts} hosts, and {ago:.0f} s ago {needed:g} were needed"
                self._broken(after, region, text)
                return
            until -= 1.0

    def _load(self, application: Application, region: RegionName, instant: float) -> float:
        scenario = self.world.scenario
        return load_at(scenario.seed, scenario.unfair_seconds, application.name, region, instant)

    def _broken(self, application: Application, region: RegionName, text: str) -> None:
        self.world.broken(PROMISE, f"{application.name} in {region}: {text}")
