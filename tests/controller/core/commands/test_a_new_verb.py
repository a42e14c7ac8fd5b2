"""A verb costs its value: one that is made here is carried out and saved like those of repave."""

from dataclasses import dataclass, replace

from repave_controller.core.domain.application import Application, Event, Instant, Observed, Outcome
from tests.fakes.controller.scheduled import SHOP, scheduled
from tests.fakes.virtual_time import in_virtual_time


@dataclass(frozen=True, slots=True)
class KeepWarm:
    """The old groups are kept for so long."""

    seconds: float

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        kept = replace(application, policy=replace(application.policy, keep_seconds=self.seconds))
        return kept, (Event("keep.changed", reason, application=application.name, by=by, at=now),)


@in_virtual_time
async def test_a_verb_is_carried_out_by_what_it_says_itself() -> None:
    async with scheduled() as world:
        await world.release()
        await world.ended()
        await world.scheduler.steer(SHOP, KeepWarm(5.0), by="ann", reason="rehearsal")
        assert world.store.shelf.applications[SHOP].policy.keep_seconds == 5.0
        (event,) = (each for each in world.store.shelf.events if each.kind == "keep.changed")
        assert (event.by, event.text) == ("ann", "rehearsal")
