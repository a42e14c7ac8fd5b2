"""Runs one scenario in one of the tiers, from the first fault to the last check."""

from collections import Counter
from dataclasses import dataclass

from repave_simulation.kernel.story import Broken
from repave_simulation.scenarios.plural import draw_plural
from repave_simulation.scenarios.scenario import Scenario, draw
from repave_simulation.tiers.cores import TierOne
from repave_simulation.tiers.living import Engine


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run. `lines` are its whole story."""

    scenario: Scenario
    broken: Broken | None
    fates: dict[str, str]  # what went wrong, by effect
    effects: tuple[str, ...]  # every effect on the world, in order
    lines: tuple[str, ...]
    digest: str  # of the story
    met: Counter[tuple[str, str]]
    reached: Counter[str]
    rollouts: int  # that ended
    happened: int  # events
    seconds: float  # of virtual time


def run(tier: int, scenario: Scenario) -> Result:
    """One run of the scenario; the same scenario gives the same result, to the last byte of its story."""
    engine: Engine = TierOne(scenario) if tier == 1 else _whole(tier, scenario)
    world = engine.run()
    story = world.story
    return Result(
        scenario,
        story.broken,
        world.fates,
        tuple(world.effects),
        tuple(story.lines),
        story.digest(),
        story.met,
        story.reached,
        len(world.ledger.ended),
        engine.happened,
        world.now,
    )


def drawn(tier: int, seed: int) -> Scenario:
    """The scenario of a seed."""
    return draw_plural(seed) if tier == 3 else draw(seed)


def _whole(tier: int, scenario: Scenario) -> Engine:
    # All that the real code imports, gRPC and pydantic, takes longer than most runs of the first tier.
    if tier == 3:
        from repave_simulation.tiers.plural import TierThree

        return TierThree(scenario)
    from repave_simulation.tiers.processes import TierTwo

    return TierTwo(scenario)
