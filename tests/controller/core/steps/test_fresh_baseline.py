"""`baseline: fresh` in a spec: what its steps are, and who is compared with whom until it ends."""

import pytest

from repave_controller.core.commands.promotion import Promote
from repave_controller.core.commands.steering import Retry
from repave_controller.core.domain.application import GroupState
from repave_controller.core.domain.rollout import Phase
from repave_controller.spec.loader import SpecError
from repave_protos.protocol.values import GroupName
from tests.controller.core.steps.test_analyse import (
    FAIL,
    OSLO,
    PARIS,
    PASS,
    UNSURE,
    analysed,
    canary,
    in_analysis,
    judged,
    looks,
    say,
)
from tests.scenarios.specs import spec
from tests.scenarios.stage import away, done, serving
from tests.scenarios.world import World

OLD, NEW, BESIDE = GroupName("shop-v001"), GroupName("shop-v002"), GroupName("shop-v003")
STAGES = (
    "{canary: {steps: [{traffic: 10%, hold: 50s, analyse: true}, {traffic: 25%, hold: 50s, analyse: true}]}}"
)


def fresh(strategy: str = STAGES) -> World:
    """A release that has come to its first comparison with fresh hosts."""
    world = serving(
        "analysis", spec(strategy, "paris:8, oslo:8", "analysis: {interval: 10s, baseline: fresh}\n")
    )
    world.release("1.2")
    world.until(in_analysis)
    return world


def test_the_canary_is_looked_at_beside_fresh_hosts_of_the_old_version() -> None:
    world = fresh()
    world.until(lambda each: bool(looks(each)))
    (look,) = looks(world)
    assert [(each.region, each.target, each.origin) for each in look.regions] == [
        (PARIS, NEW, BESIDE),
        (OSLO, NEW, BESIDE),
    ]
    assert all(each.baseline_until == look.until for each in look.regions)
    assert world.weights(PARIS) == {OLD: 8_000, NEW: 1_000, BESIDE: 1_000}
    assert world.counts(PARIS)[BESIDE] == world.counts(PARIS)[NEW] == 1
    group = next(each for each in world.application.groups if each.name == BESIDE)
    assert (group.version, group.state) == ("1.1", GroupState.NEW)


def test_both_have_their_shares_from_the_first_moment_of_the_comparison() -> None:
    world = serving("analysis", spec(STAGES, "paris:8", "analysis: {interval: 10s, baseline: fresh}\n"))
    world.release("1.2")
    seen = []
    while not in_analysis(world):
        world.run(1)
        seen.append(world.weights(PARIS))
    shared = [each for each in seen if each.get(NEW)]
    assert shared
    assert all(each[NEW] == each[BESIDE] for each in shared)


def test_it_grows_and_is_gone_when_the_release_is_through() -> None:
    world = fresh()
    say(world, [PASS] * 5)
    world.until(lambda each: each.weights(PARIS).get(NEW) == 2_500)
    world.until(in_analysis)
    assert world.weights(PARIS) == {OLD: 5_000, NEW: 2_500, BESIDE: 2_500}
    say(world, [PASS] * 5)
    world.until(lambda each: BESIDE not in each.weights(PARIS))
    assert world.until_over() is Phase.SUCCEEDED
    world.run(30)
    assert BESIDE not in [group.name for group in world.application.groups]


@pytest.mark.parametrize("is_final", [True, False])
def test_a_canary_that_is_worse_goes_back_at_once_and_takes_the_baseline_with_it(is_final: bool) -> None:
    world = fresh()
    world.until(lambda each: bool(looks(each)))
    (look,) = looks(world)
    judged(world, look, FAIL, is_final=is_final)
    assert world.weights(PARIS) == world.weights(OSLO) == {OLD: 10_000}
    assert world.until_over() is Phase.ROLLED_BACK
    world.run(30)
    assert [group.name for group in world.application.groups] == [OLD]


def test_one_that_can_not_be_told_apart_is_held_with_both_sides_and_tried_again_or_let_go() -> None:
    for way in (Retry(), Promote(skips=True)):
        world = fresh()
        say(world, [UNSURE] * 5)
        world.run(5)
        assert world.rollout.pause is not None
        assert world.weights(PARIS) == {OLD: 8_000, NEW: 1_000, BESIDE: 1_000}
        assert done(world, way) is None
        if isinstance(way, Retry):
            world.run(2)
            assert world.weights(PARIS) == {OLD: 8_000, NEW: 1_000, BESIDE: 1_000}
            say(world, [PASS] * 5)
        world.until(lambda each: each.weights(PARIS).get(NEW) == 2_500)


def test_a_region_that_is_away_meanwhile_ends_its_baseline_when_it_hears_of_the_end() -> None:
    world = fresh()
    away(world, OSLO)
    world.until(lambda each: bool(looks(each)))
    (look,) = looks(world)
    judged(world, look, FAIL)
    state = world.application.desired_in(OSLO)
    assert state is not None
    beside = state.group(BESIDE)
    assert beside is not None
    assert (beside.count, beside.weight_bp) == (0, 0)


def test_with_the_hosts_that_serve_there_is_no_third_group() -> None:
    world = analysed()
    assert len(world.application.groups) == 2


@pytest.mark.parametrize(
    ("strategy", "says"),
    [
        (canary("baseline: fresh"), "below 50%"),
        ("{blue_green: {warm: 1m, analyse: {baseline: fresh}}}", "below 50%"),
        (
            "{steps: [{scale: 20%}, {verify: {}}, {weight: 10%}, {analyse: {baseline: fresh}}, {scale: 100%},"
            " {verify: {}}, {weight: 100%}]}",
            "",
        ),
        ("{rolling: {steps: [{traffic: 25%, hold: 1m, analyse: {baseline: fresh}}]}}", ""),
    ],
)
def test_where_it_can_not_be_the_spec_is_refused(strategy: str, says: str) -> None:
    text = spec(strategy, "paris:8")
    if says:
        with pytest.raises(SpecError, match=says):
            serving("", text)
    else:
        serving("", text)
