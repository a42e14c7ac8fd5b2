"""Releases that wait, and applications that end: what people asked of them is what becomes durable."""

from collections.abc import Sequence
from dataclasses import dataclass

from repave_controller.core.domain.application import Application, Event, ReleaseOrder
from repave_controller.core.domain.rollout import Phase
from repave_simulation.scenarios.scenario import CommandKind
from repave_simulation.world.world import World


@dataclass(slots=True)
class Queues:
    """Holds each decision against what people asked for."""

    world: World

    def check(self, before: Application | None, after: Application, events: Sequence[Event]) -> None:
        """`after` has just become durable in place of `before`, with these events."""
        known = {order.key for order in before.queue} if before is not None else set()
        for order in after.queue:
            if order.key not in known:
                self._check_entered(after, order)
        for order in before.queue if before is not None else ():
            if order.key not in {each.key for each in after.queue}:
                self._check_left(after, order, events)
        if after.deletion is not None:
            self._check_deleted(after)

    def _check_entered(self, after: Application, order: ReleaseOrder) -> None:
        kind = self._kind_of(after, order)
        if kind == "latest" and after.queue != (order,):
            self._broken(after, f"{order.key} is the latest, and {len(after.queue)} releases wait")
        if kind != "replace":
            return
        rollout = after.rollout
        if after.queue[0] != order or rollout is None or rollout.phase is Phase.RUNNING:
            self._broken(after, f"{order.key} shall replace what runs, and that does not go back")

    def _check_left(self, after: Application, order: ReleaseOrder, events: Sequence[Event]) -> None:
        """It has begun, was refused with a reason, or people asked for something else instead."""
        begun = after.rollout is not None and after.rollout.started_by == order.by
        told = {event.kind for event in events}
        is_asked = after.deletion is not None or told & {"release.superseded", "release.replaces"}
        if not (begun or is_asked or "release.refused" in told):
            self._broken(after, f"{order.key} waited, and is lost")

    def _check_deleted(self, after: Application) -> None:
        for group in after.groups:
            for part in group.parts:
                if part.weight_bp or part.count:
                    self._broken(after, f"it is deleted, and {group.name} is wanted in {part.region}")

    def _kind_of(self, application: Application, order: ReleaseOrder) -> CommandKind | None:
        asked = self.world.scenario.commands
        found = (each.kind for each in asked if (each.application, each.key) == (application.name, order.key))
        return next(found, None)

    def unfinished(self) -> str:
        """An application that was deleted, and is still there; "" when there is none."""
        for application in self.world.ledger.applications.values():
            if application.deletion is not None and application.groups:
                return f"{application.name} was deleted, and {application.groups[0].name} is left"
        return ""

    def _broken(self, application: Application, text: str) -> None:
        self.world.broken(6, f"{application.name}: {text}")
