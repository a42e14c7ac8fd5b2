"""What was durably decided and promised to people: the truth that everything else is held against."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from repave_controller.core.commands.release import Accepted
from repave_controller.core.domain.application import Application, Event, GroupState, Part, ServerGroup
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, TrackPhase
from repave_controller.core.steps import Weight
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ApplicationName,
    DesiredState,
    Epoch,
    GroupName,
    RegionName,
)
from repave_simulation.checks.course import Course
from repave_simulation.checks.plans import Plans
from repave_simulation.checks.returns import Returns

if TYPE_CHECKING:
    from repave_simulation.world.world import World

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
    courses: Course = field(init=False)
    returns: Returns = field(init=False)
    plans: Plans = field(init=False)

    def __post_init__(self) -> None:
        self.courses, self.returns, self.plans = Course(self.world), Returns(self.world), Plans(self.world)

    def commit(self, application: Application, events: Sequence[Event]) -> None:
        """Takes what has just become durable, and checks that it follows from what was before."""
        before = self.applications.get(application.name)
        self.courses.check(before, application, events)
        self.returns.check(before, application)
        self.plans.check(before, application)
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
        for region in before.regions:
            known = {group.number for group, part in _parts(before, region) if _is_to_be_kept(part)}
            warm = [
                (group, part)
                for group, part in _parts(after, region)
                if part.state is GroupState.WARM or group.number in known
            ]
            warm.sort(key=lambda each: (each[1].left_traffic_at or 0.0, each[0].number), reverse=True)
            for group, part in warm[: after.policy.keep_groups]:
                until = (part.left_traffic_at or 0.0) + after.policy.keep_seconds
                is_given_up = part.state is GroupState.RETIRING and part.left_traffic_at is not None
                if is_given_up and self.last_at < until - KEEP_SLACK_SECONDS:
                    text = f"{group.name} is given up {until - self.last_at:.1f} s too early"
                    self.world.broken(4, f"{region}: {text}")

    def _check_moved(self, before: Application, after: Application) -> None:
        """A switch that is called done is done: each balancer has the share that the step asked for."""
        rollout, now = before.running, after.rollout
        target = before.group(rollout.target) if rollout is not None else None
        if rollout is None or now is None or target is None or now.number != rollout.number:
            return
        for track in rollout.tracks:
            later = now.track(track.region)
            if later is None or track.phase is not TrackPhase.RUNNING:
                continue
            is_done = later.phase is TrackPhase.DONE or (
                later.phase is TrackPhase.RUNNING and later.cursor > track.cursor
            )
            part = target.part(track.region)
            if is_done and part is not None and isinstance(rollout.step(track), Weight):
                self._check_share(track.region, target, part.weight_bp)

    def _check_share(self, region: RegionName, target: ServerGroup, asked_bp: int) -> None:
        balancer = self.world.places[region].balancer
        if balancer.weight_bp(target.name) != asked_bp and not balancer.has_forgotten:
            text = f"{target.name} is called to have {asked_bp} bp and has"
            self.world.broken(5, f"{region}: {text} {balancer.weight_bp(target.name)}")

    def _check_end(self, application: Application, rollout: Rollout) -> None:
        """What is said to have ended has: traffic is where it was said to be. Where something goes wrong a
        rollout that goes back may end without a region that is away."""
        target = self.numbered(application, rollout.target)
        if target is None or rollout.phase is Phase.HELD:
            return
        for track in rollout.tracks:
            is_there = track.phase is TrackPhase.DONE
            if not is_there and not self.world.scenario.is_calm:
                continue
            balancer = self.world.places[track.region].balancer
            weight_bp = balancer.weight_bp(target.name)
            if weight_bp != (FULL_WEIGHT_BP if is_there else 0) and not balancer.has_forgotten:
                text = f"rollout {rollout.number} is called {rollout.phase}, and its group has {weight_bp} bp"
                self.world.broken(5, f"{track.region}: {text}")

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

    def kept(self, group: ServerGroup, region: RegionName) -> int:
        """How many hosts of it are wanted there by now, if it serves or is kept for a rollback; else 0."""
        for application in self.applications.values():
            known = application.group(group.number)
            part = known.part(region) if known is not None and known.name == group.name else None
            if part is not None:
                return part.count if part.state in (GroupState.SERVING, GroupState.WARM) else 0
        return 0

    def step_of(self, application: Application) -> str:
        rollout = application.running
        if rollout is None:
            return "at rest" if application.serving else "before"
        return rollout.steps[rollout.cursor].kind if rollout.phase == "running" else "undoing"

    def steps(self) -> list[str]:
        """The step in which each application is, for the coverage of faults."""
        return [self.step_of(each) for each in self.applications.values()] or ["before"]


def _is_to_be_kept(part: Part) -> bool:
    """It is warm, or serves with hosts: what steps of the user's choice have let go is not kept."""
    return part.state is GroupState.WARM or (part.state is GroupState.SERVING and part.percent > 0)


def _parts(application: Application, region: RegionName) -> list[tuple[ServerGroup, Part]]:
    found = ((group, group.part(region)) for group in application.groups)
    return [(group, part) for group, part in found if part is not None]
