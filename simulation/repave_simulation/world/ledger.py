"""What was durably decided and promised to people: the truth that everything else is held against."""

from dataclasses import dataclass, field

from repave_controller.core.analysis.values import Outcome
from repave_controller.core.commands.release import Accepted
from repave_controller.core.domain.application import Application, GroupState, ServerGroup
from repave_controller.core.domain.rollout import GroupNumber, Rollout
from repave_protos.protocol.values import ApplicationName, DesiredState, Epoch, GroupName, RegionName

LookKey = tuple[ApplicationName, int, str, RegionName, int, int]
"""A look: of which rollout, gate, region and run, and its number."""


@dataclass(slots=True)
class Ledger:
    """All that was ever committed; `applications` are the newest ones."""

    applications: dict[ApplicationName, Application] = field(default_factory=dict)
    states: dict[tuple[RegionName, ApplicationName, Epoch], DesiredState] = field(default_factory=dict)
    groups: dict[GroupName, ServerGroup] = field(default_factory=dict)
    rollouts: dict[tuple[ApplicationName, int], str] = field(default_factory=dict)  # who began them
    ended: dict[tuple[ApplicationName, int], Rollout] = field(default_factory=dict)
    receipts: dict[str, Accepted] = field(default_factory=dict)  # of the first tier
    terms: dict[ApplicationName, tuple[int, int]] = field(default_factory=dict)
    """Incarnation and term of the newest desired state."""
    found: dict[LookKey, list[Outcome]] = field(default_factory=dict)
    """What sources and judge came to, by the look: rightly or not."""
    lives: int = 0  # controllers that have opened the store
    last_at: float = 0.0

    def commit(self, application: Application) -> None:
        """Takes what has just become durable."""
        before = self.applications.get(application.name)
        for region, state in application.desired:
            if before is None or state != before.desired_in(region):
                self.states.setdefault((region, state.application, state.epoch), state)
                self.terms[application.name] = (state.epoch.incarnation, state.epoch.term)
        for group in application.groups:
            self.groups[group.name] = group
        rollout = application.rollout
        if rollout is not None:
            self.rollouts.setdefault((application.name, rollout.number), rollout.started_by)
            if rollout.phase.is_over:
                self.ended.setdefault((application.name, rollout.number), rollout)
        self.applications[application.name] = application

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

    def failed(self, group: ServerGroup, region: RegionName) -> bool:
        """Whether it failed there by now, and its hosts are kept to be looked at."""
        for application in self.applications.values():
            known = application.group(group.number)
            if known is not None and known.name == group.name:
                part = known.part(region)
                return part is not None and part.state is GroupState.FAILED
        return False

    def step_of(self, application: Application) -> str:
        rollout = application.running
        if rollout is None:
            return "at rest" if application.serving else "before"
        return rollout.steps[rollout.cursor].kind if rollout.phase == "running" else "undoing"

    def steps(self) -> list[str]:
        """The step in which each application is, for the coverage of faults."""
        return [self.step_of(each) for each in self.applications.values()] or ["before"]
