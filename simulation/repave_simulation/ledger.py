"""What was durably decided and promised to people: the truth that everything else is held against."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from repave_controller.commands import Accepted
from repave_controller.model import Application, GroupNumber, GroupState, Phase, Rollout, ServerGroup, Weight
from repave_controller.shares import weights_in
from repave_protos.values import FULL_WEIGHT_BP, ApplicationName, DesiredState, Epoch, GroupName, RegionName

if TYPE_CHECKING:
    from repave_simulation.world import World

KEEP_SLACK_SECONDS = 1.0
"""The decision was made a moment before it is saved."""


@dataclass(slots=True)
class Ledger:
    """All that was ever committed; `applications` are the newest ones."""

    world: "World"
    applications: dict[ApplicationName, Application] = field(default_factory=dict)
    states: dict[tuple[RegionName, ApplicationName, Epoch], DesiredState] = field(default_factory=dict)
    groups: dict[GroupName, ServerGroup] = field(default_factory=dict)
    rollouts: dict[tuple[ApplicationName, int], str] = field(default_factory=dict)  # who began them
    ended: dict[tuple[ApplicationName, int], Rollout] = field(default_factory=dict)
    receipts: dict[str, Accepted] = field(default_factory=dict)  # of the first tier
    term: int = 0
    lives: int = 0  # controllers that have opened the store
    last_at: float = 0.0

    def commit(self, application: Application) -> None:
        """Takes what has just become durable, and checks that it follows from what was before."""
        before = self.applications.get(application.name)
        for region, state in application.desired:
            self._take(region, state, before.desired_in(region) if before else None)
        if before is not None:
            self._check_kept(before, application)
            self._check_moved(before, application)
        for group in application.groups:
            self.groups[group.name] = group
        rollout = application.rollout
        if rollout is not None:
            place = (application.name, rollout.number)
            if self.rollouts.setdefault(place, rollout.started_by) != rollout.started_by:
                self.world.broken(6, f"rollout {rollout.number} of {application.name} is another one now")
            if rollout.phase.is_over and place not in self.ended:
                self.ended[place] = rollout
                self._check_end(application, rollout)
        if before is not None and application.rollouts_total < before.rollouts_total:
            self.world.broken(6, f"{application.name} has forgotten a rollout")
        self.applications[application.name] = application
        step = self.step_of(application)
        if before is None or self.step_of(before) != step:
            self.world.entered(step)

    def _take(self, region: RegionName, state: DesiredState, before: DesiredState | None) -> None:
        if state == before:
            return
        known = self.states.setdefault((region, state.application, state.epoch), state)
        if known != state:
            self.world.broken(7, f"{region}: two desired states of {state.application} have {state.epoch}")
        if before is not None and state.epoch <= before.epoch:
            self.world.broken(7, f"{region}: {state.epoch} was saved after {before.epoch}")
        if state.epoch.term < self.term:
            self.world.broken(7, f"{region}: term {state.epoch.term} decides after term {self.term}")
        self.term = state.epoch.term

    def _check_kept(self, before: Application, after: Application) -> None:
        """An old group stays for as long as the user has asked, unless newer ones have its place."""
        known = {group.number for group in before.groups if group.state is GroupState.WARM}
        warm = [each for each in after.groups if each.state is GroupState.WARM or each.number in known]
        warm.sort(key=lambda group: (group.left_traffic_at or 0.0, group.number), reverse=True)
        for group in warm[: after.policy.keep_groups]:
            until = (group.left_traffic_at or 0.0) + after.policy.keep_seconds
            if group.state is GroupState.RETIRING and self.last_at < until - KEEP_SLACK_SECONDS:
                self.world.broken(4, f"{group.name} is given up {until - self.last_at:.1f} s too early")

    def _check_moved(self, before: Application, after: Application) -> None:
        """A switch that is called done is done: each balancer has the share that the step asked for."""
        rollout, now = before.running, after.running
        if rollout is None or now is None or now.cursor <= rollout.cursor or now.number != rollout.number:
            return
        target = before.group(rollout.target)
        if not isinstance(rollout.step, Weight) or target is None:
            return
        for region, _ in target.sizes:
            balancer = self.world.places[region].balancer
            asked_bp = weights_in(before, region).get(target.number, 0)
            if balancer.weight_bp(target.name) != asked_bp and not balancer.has_forgotten:
                text = f"{target.name} is called to have {asked_bp} bp and has"
                self.world.broken(5, f"{region}: {text} {balancer.weight_bp(target.name)}")

    def _check_end(self, application: Application, rollout: Rollout) -> None:
        """What is said to have ended has: traffic is where it was said to be. Where something goes wrong a
        rollout that goes back may end without a region that is away."""
        target = self.numbered(application, rollout.target)
        if target is None or rollout.phase is Phase.HELD:
            return
        is_there = rollout.phase is Phase.SUCCEEDED
        if not is_there and not self.world.scenario.is_calm:
            return
        for region, _ in target.sizes:
            balancer = self.world.places[region].balancer
            weight_bp = balancer.weight_bp(target.name)
            if weight_bp != (FULL_WEIGHT_BP if is_there else 0) and not balancer.has_forgotten:
                text = f"rollout {rollout.number} is called {rollout.phase}, and its group has {weight_bp} bp"
                self.world.broken(5, f"{region}: {text}")

    def group(self, name: GroupName) -> ServerGroup | None:
        """As decided last; a forgotten one as it was."""
        return self.groups.get(name)

    def numbered(self, application: Application, number: GroupNumber) -> ServerGroup | None:
        """A group by its number, whether it still is or was once."""
        name = application.cluster
        return next(
            (
                each
                for each in self.groups.values()
                if each.number == number and each.name.rpartition("-")[0] == name
            ),
            None,
        )

    def is_proven(self, group: ServerGroup) -> bool:
        """Whether it serves, or is kept for a rollback."""
        for application in self.applications.values():
            known = application.group(group.number)
            if known is not None and known.name == group.name:
                return known.state in (GroupState.SERVING, GroupState.WARM)
        return False

    def step_of(self, application: Application) -> str:
        rollout = application.running
        if rollout is None:
            return "at rest" if application.serving else "before"
        return rollout.step.kind if rollout.phase == "running" else "undoing"

    def steps(self) -> list[str]:
        """The step in which each application is, for the coverage of faults."""
        return [self.step_of(each) for each in self.applications.values()] or ["before"]
