"""Regions that were away when others got a release, or went back, follow when they return; and what people
change on the way of a rollout holds. Found in simulation."""

import pytest

from repave_controller.core.commands.promotion import request_promote
from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.commands.steering import request_abort_region, request_size
from repave_controller.core.domain.application import GroupState
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.steps import Scale
from repave_protos.protocol.values import GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import away, back, rollback, serving
from tests.scenarios.world import World

PARIS, OSLO, ROME = (RegionName(name) for name in ("paris", "oslo", "rome"))
THREE = "paris:2, oslo:2, rome:2"
SKIPS = "guards: {unreachable_region: skip}\n"


def served_by(world: World, region: RegionName) -> str:
    group = world.application.serving_in(region)
    return group.name if group is not None else ""


def test_a_region_that_is_caught_up_first_does_not_make_repave_forget_the_other_one() -> None:
    world = serving("two are away", spec("{blue_green: {warm: 5s}}", THREE, SKIPS))
    away(world, OSLO)
    away(world, ROME)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    assert {each.region: each.size for each in world.application.missed} == {OSLO: 2, ROME: 2}
    for region in (OSLO, ROME):
        back(world, region)
        world.until(lambda each, region=region: served_by(each, region) == "shop-v002")  # type: ignore[misc]
    assert world.application.missed == ()


def test_a_region_that_was_away_in_a_rollback_goes_back_when_it_returns_with_the_hosts_it_has() -> None:
    world = serving("a rollback", spec("{blue_green: {warm: 5s}}", THREE, SKIPS))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    away(world, ROME)
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    assert world.weights("rome") == {"shop-v001": 10_000}, "as soon as it hears of it"
    back(world, ROME)
    world.until(lambda each: served_by(each, ROME) == "shop-v001" and each.application.running is None)
    assert world.counts("rome")["shop-v001"] == 2
    assert world.weights("rome") == {"shop-v001": 10_000}


def test_a_region_that_is_aborted_before_it_began_leaves_nothing_of_the_new_group() -> None:
    waves = "waves:\n  - {regions: [paris, oslo]}\n  - {regions: rest}\n"
    world = serving("waves", spec("{blue_green: {warm: 5s}}", THREE, waves))
    world.release("1.2")
    world.run(2)
    world.ask(
        "ann: repave abort --region rome",
        lambda app, now: request_abort_region(app, ROME, "ann", "", now),
    )
    assert world.until_over() is Phase.SUCCEEDED
    group = world.application.group(world.rollout.target)
    assert group is not None
    assert group.part(ROME) is None


def test_a_group_whose_origin_only_made_room_for_it_goes_when_it_fails_before_it_had_traffic() -> None:
    rolling = "{rolling: {first: old, steps: [{traffic: 50%, hold: 5s}]}}"
    world = serving("old first", spec(rolling, "paris:4", "guards: {min_capacity: 50%}\n"))
    world.release("1.2")
    world.until(lambda each: isinstance(each.rollout.steps[each.rollout.cursor], Scale))
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.ROLLED_BACK
    states = {part.state for group in world.application.groups for part in group.parts}
    assert GroupState.NEW not in states
    world.until(lambda each: each.counts("paris") == {"shop-v001": 4})


def test_a_group_that_grew_on_its_way_gets_its_share_once_it_has_the_hosts_for_it() -> None:
    canary = "{canary: {steps: [{traffic: 50%, hold: 10m}]}}"
    world = serving("grown", spec(canary, "paris:2"))
    world.release("1.2")
    world.until(lambda each: each.weights("paris").get("shop-v002") == 5000)
    world.ask("ann: repave scale paris=8", lambda app, now: request_size(app, ((PARIS, 8),), "ann", "", now))
    world.ask(
        "ann: repave promote --skip",
        lambda app, now: request_promote(app, "ann", "", "", now, skips=True),
    )
    lowest = 8

    def is_over(each: World) -> bool:
        nonlocal lowest
        if each.weights("paris") == {"shop-v002": 10_000}:
            ready = each.regions[PARIS].hosts[GroupName("shop-v002")].born
            lowest = min(lowest, sum(each.now >= born + 20 for born in ready))
        return each.application.running is None

    world.until(is_over)
    assert lowest == 8


@pytest.mark.parametrize("end", ["abort", "fails", "rollback --region"])
def test_a_region_that_missed_a_release_gets_it_whatever_else_was_tried_meanwhile(end: str) -> None:
    world = serving("oslo is away", spec("{blue_green: {warm: 5s}}", THREE, SKIPS))
    away(world, OSLO)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    match end:
        case "rollback --region":
            world.ask(end, rollback(world, regions=(ROME,)))
        case "fails":
            world.regions[PARIS].broken.add(GroupName("shop-v003"))
            world.release("1.3")
        case "abort":
            world.release("1.3")
            world.run(5)
            world.ask(end, lambda app, now: request_abort(app, "ann", "", now))
    world.until_over()
    world.why()
    assert any("it is caught up when it returns" in line for line in world.lines[-4:])
    back(world, OSLO)
    world.until(lambda each: served_by(each, OSLO) == "shop-v002" and each.application.running is None)
    assert world.application.missed == ()


def test_a_region_that_missed_a_release_does_not_get_what_has_been_taken_back() -> None:
    world = serving("oslo is away", spec("{blue_green: {warm: 5s}}", THREE, SKIPS))
    away(world, OSLO)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    back(world, OSLO)
    world.run(60)
    assert {served_by(world, region) for region in (PARIS, OSLO, ROME)} == {"shop-v001"}
    assert world.application.missed == ()
