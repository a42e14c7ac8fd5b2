"""What goes on without the other side: days without a controller, an abort of a region that is away."""

from dataclasses import replace
from functools import partial

import pytest

from repave_simulation.campaigns.exhaustive import PLACES, plain_scenario
from repave_simulation.scenarios.scenario import Command, Scenario, Strike
from repave_simulation.tiers.cores import TierOne
from repave_simulation.tiers.run import Result, run

HOUR = 3600.0
DAYS = 3 * 24 * HOUR
HEALED_SECONDS = 60.0


def _released(*more: Command) -> Scenario:
    """The first release of the plain scenario, and what comes after it."""
    scenario = plain_scenario()
    return replace(scenario, commands=(scenario.commands[0], *more), unfair_seconds=30.0)


def test_an_agent_heals_and_balances_for_days_without_a_controller() -> None:
    deaths = tuple(
        Strike(number, 60.0 + number * 6 * HOUR, "host-dies", PLACES[number % 2]) for number in range(1, 12)
    )
    away = Strike(0, 60.0, "controller-killed", PLACES[0], seconds=DAYS)
    tier = TierOne(replace(_released(), strikes=(away, *deaths), unfair_seconds=DAYS + HOUR))
    answering: list[int] = []

    def count(number: int) -> None:
        place = tier.world.places[PLACES[number % 2]]
        answering.append(sum(machine.is_well for machine in place.ours()))

    for strike in deaths:
        tier.world.later(strike.at + HEALED_SECONDS, partial(count, strike.number))
    world = tier.run()
    assert world.story.broken is None
    assert answering == [2] * len(deaths)
    assert sum("is killed" in line and "controller" in line for line in world.story.lines) == 1


@pytest.mark.parametrize("tier", [1, 2])
def test_an_abort_ends_though_a_region_is_unreachable_and_that_region_is_told_when_it_returns(
    tier: int,
) -> None:
    second = plain_scenario().commands[1]
    abort = Command(27.0, "abort", second.application, "abort")
    cut = Strike(0, 25.6, "region-cut", PLACES[1], seconds=400.0)
    result = run(tier, replace(_released(second, abort), strikes=(cut,), fates=None, unfair_seconds=500.0))
    assert result.broken is None, result.broken
    ended = _at(result, "release.aborted")
    assert 27.0 <= ended < 425.6, "nobody waits for the region for ever"
    assert _at(result, f"{PLACES[1]}: shop-v002-1 is gone") > 425.6, "it is told when it returns"
    assert _at(result, f"{PLACES[0]}: shop-v002-1 is gone") < 40.0


def _at(result: Result, text: str) -> float:
    """When that happened."""
    return next(float(line.split()[0]) for line in result.lines if text in line)
