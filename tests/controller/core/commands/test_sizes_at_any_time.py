"""A region's size may change at any moment of a release, also down and up again, and all promises hold: hosts
that have just been asked for are no failure, and the release comes to its end."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.core.commands.promotion import Promote
from repave_controller.core.commands.steering import Resize
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import Phase
from repave_protos.protocol.values import RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import serving
from tests.scenarios.world import World

PARIS = RegionName("paris")
WAYS = (
    "{blue_green: {warm: 40s}}",
    "{highlander: {warm: 40s}}",
    "{canary: {steps: [{traffic: 5%, hold: 30s}, {traffic: 50%, hold: 30s}]}}",
    "{phased: {steps: [{traffic: 10%, hold: 30s}]}}",
    "{rolling: {steps: [{traffic: 25%, hold: 30s}, {traffic: 50%}, {traffic: 75%}]}}",
    "{rolling: {first: old, steps: [{traffic: 34%, hold: 30s}, {traffic: 67%}]}}",
)
TOLERANT = "guards: {min_capacity: 33%}\n"


def sized(world: World, size: int) -> None:
    with suppress(Refused):
        verb = Resize(((PARIS, size),))
        world.application, _ = verb.apply(world.application, world.observed, "ann", "", Instant(world.now))
        world.decide()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(WAYS),
    st.sampled_from((2, 3, 8)),
    st.lists(st.tuples(st.sampled_from((1, 5, 24, 45)), st.sampled_from((1, 2, 3, 5, 8, 13))), max_size=4),
)
def test_a_release_ends_well_whatever_sizes_change_on_its_way(
    way: str, size: int, changes: list[tuple[int, int]]
) -> None:
    world = serving("sizes", spec(way, f"paris:{size}", TOLERANT))
    world.release("1.2")
    for seconds, changed in changes:
        world.run(seconds)
        sized(world, changed)
    if world.application.running is not None:
        assert world.until_over() is Phase.SUCCEEDED, world.transcript()


@pytest.mark.parametrize("size", [1, 3])
def test_hosts_of_a_size_that_is_taken_back_are_no_failure(size: int) -> None:
    world = serving("taken back", spec("{blue_green: {warm: 10m, approve: sre}}", "paris:8"))
    world.release("1.2")
    world.until(lambda each: each.rollout.steps[each.rollout.cursor].approver is not None)
    sized(world, size)
    world.run(1)
    sized(world, 8)
    world.run(10)
    assert world.rollout.phase is Phase.RUNNING, world.transcript()
    assert world.rollout.pause is None
    world.ask("", lambda app, now: Promote("sre").apply(app, world.observed, "ann", "", now))
    world.until(lambda each: each.weights("paris") == {"shop-v002": 10_000})
    sized(world, size)
    world.run(1)
    sized(world, 8)
    world.run(30)
    assert world.weights("paris") == {"shop-v002": 10_000}
    assert world.until_over() is Phase.SUCCEEDED
