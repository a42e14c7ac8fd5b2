"""Plays: regions in waves, left out, away and caught up."""

from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.commands.steering import (
    request_abort_region,
)
from repave_controller.core.domain.rollout import Phase
from tests.scenarios.specs import spec
from tests.scenarios.stage import FOUR, OSLO, ROME, WAVES, away, back, play, serving
from tests.scenarios.world import World


@play
def waves_bake_from_completion(title: str) -> World:
    """Waves: the next one begins when the one before was watched for its bake time, counted from the end of
    its last region (asks 3, 4)."""
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, WAVES))
    world.release("1.2")
    world.until_told("region.done")
    world.why()
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def one_region_is_left_out(title: str) -> World:
    """One region is aborted, the others go on."""
    world = serving(title, spec("{blue_green: {warm: 1m}}", FOUR, WAVES))
    world.release("1.2")
    world.run(5)
    world.ask(
        "ann: repave abort --region rome",
        lambda app, now: request_abort_region(app, ROME, "ann", "its data centre moves", now),
    )
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def abort_works_with_a_region_away(title: str) -> World:
    """Abort ends at any moment, also with a region away; that one is told when it returns (ask 12)."""
    world = serving(title, spec("{blue_green: {warm: 1m}}"))
    world.release("1.2")
    world.run(10)
    away(world, OSLO)
    world.ask("ann: repave abort", lambda app, now: request_abort(app, "ann", "", now))
    assert world.until_over() is Phase.ABORTED
    world.why()
    back(world, OSLO)
    world.until_told("group.destroyed")
    return world


@play
def a_region_that_is_away_is_skipped_and_caught_up(title: str) -> World:
    """A region that is away is skipped and listed; it gets the release when it returns (ask 11)."""
    extra = f"guards: {{unreachable_region: skip}}\n{WAVES}"
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, extra))
    away(world, ROME)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.run(600)
    back(world, ROME)
    world.until(lambda each: each.weights("rome") == {"shop-v002": 10_000})
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def a_region_that_is_lost_before_its_traffic_moves_is_skipped(title: str) -> World:
    """A region that is lost when its wave has begun and its traffic has not moved is skipped like one that
    was away: waves that are done stay, and it is caught up when it returns."""
    extra = f"guards: {{unreachable_region: skip}}\n{WAVES}"
    world = serving(title, spec("{blue_green: {warm: 30s}}", FOUR, extra))
    world.release("1.2")
    world.until(lambda each: each.counts("oslo").get("shop-v002") == 4)
    world.run(5)
    away(world, OSLO)
    world.run(10)
    world.why()
    assert world.until_over() is Phase.SUCCEEDED
    assert world.weights("lima") == {"shop-v002": 10_000}
    world.run(60)
    back(world, OSLO)
    world.until(lambda each: each.weights("oslo") == {"shop-v002": 10_000})
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world
