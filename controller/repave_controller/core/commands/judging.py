"""Takes in what a look at a new group has found. Pure.

Nothing is decided here but whether the look counts: it is the next one of an analysis that waits for it. One
that is late, repeated or overtaken changes nothing. What follows is decided by `rollout.step`.
"""

from dataclasses import dataclass

from repave_controller.core.commands.release import event_of
from repave_controller.core.domain.analyses import Analysis, Ending, Finding
from repave_controller.core.domain.application import Application, Event, Instant, Observed, Outcome
from repave_controller.core.domain.reasons import Fact, Happening, reason_of
from repave_controller.core.rules.looks import DueLook, due, looked_at
from repave_protos.protocol.values import RegionName


@dataclass(frozen=True, slots=True)
class Judged:
    """Look number `look` of this run of the analysis, and what it found. A verb that no person has."""

    rollout: int
    gate: str
    region: RegionName
    run: int
    look: int
    finding: Finding

    @classmethod
    def of(cls, look: DueLook, finding: Finding) -> "Judged":
        return cls(look.rollout, look.gate, look.region, look.run, look.look, finding)

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        """The application itself where the look does not count."""
        wanted = (self.rollout, self.gate, self.region, self.run, self.look)
        look = next((each for each in due(application, now) if each.key == wanted), None)
        if look is None:
            return application, ()
        changed, before, after = looked_at(application, look, self.finding, now)
        return changed, tuple(_told(changed, look, before, after, now))


def _told(
    application: Application, look: DueLook, before: Analysis, after: Analysis, now: Instant
) -> list[Event]:
    """Where a look says something else than the one before; and how it came out, unless the rollout's own end
    or hold says so."""
    found, group = after.last, look.regions[0].target
    assert found is not None, "a look has found something"
    facts: dict[str, Fact] = {
        "group": group,
        "gate": look.gate,
        "region": look.region,
        "look": after.judged,
        "count": look.plan.count,
    }
    told = []
    if not before.said or before.said[-1] is not found.outcome:
        what = reason_of(
            Happening.LOOKED, **facts, outcome=str(found.outcome), score=found.score, last=found.reason
        )
        told.append(event_of(application, "analysis.judged", what, now, "", look.region))
    if after.ending is Ending.PASSED:
        what = reason_of(Happening.ANALYSIS_PASSED, **facts, said=tuple(map(str, after.said)))
        told.append(event_of(application, "analysis.passed", what, now, "", look.region))
    return told
