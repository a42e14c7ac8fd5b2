"""The plan of a rollback is what then happens."""

import pytest

from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.planning.going_back import How, plan_rollback
from repave_controller.wording.render import text_of
from tests.fakes.controller.rolling_back import HIGHLANDER, V1, V2, failed_in, rollback, serves
from tests.fakes.controller.stepping import OSLO, PARIS, World, released


def foretold(world: World, verb: Rollback):  # type: ignore[no-untyped-def]
    return plan_rollback(world.application, world.observed, verb, "", world.now)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("steps", [HIGHLANDER[:-1], HIGHLANDER], ids=["warm", "gone"])
def test_each_region_goes_the_way_that_was_shown(at_once: bool, size: int, steps) -> None:  # type: ignore[no-untyped-def]
    world = released("a")
    failed_in(world, "b", OSLO)
    world.release("c", sizes=((PARIS, size), (OSLO, 3)), steps=steps)
    world.finish()
    plan = foretold(world, Rollback(at_once=at_once))
    assert plan.problems == ()
    shown = {each.name: each for each in plan.regions}
    assert {name: each.version for name, each in shown.items()} == {PARIS: "b", OSLO: "a"}
    for name, each in shown.items():
        is_whole = each.size <= 3
        kept = How.SWITCH if is_whole else How.GROW
        assert each.how is (How.BUILD if steps == HIGHLANDER else kept), name
    rollback(world, at_once=at_once)
    for name, each in shown.items():
        is_switched = serves(world, name) == each.version
        assert is_switched == (each.how is How.SWITCH or (at_once and each.how is How.GROW))
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    for name, each in shown.items():
        group = world.application.serving_in(name)
        assert group is not None
        assert (group.version, group.size(name)) == (each.version, each.size)


def test_a_plan_says_why_it_would_be_refused_and_who_stays() -> None:
    world = released("a", "b")
    world.regions[OSLO].most[V1] = 1
    world.settle()
    plan = foretold(world, Rollback())
    assert [(each.name, each.healthy, each.serving_healthy, each.is_ill) for each in plan.regions] == [
        (OSLO, 1, 3, True),
        (PARIS, 3, 3, False),
    ]
    assert "--force --reason TEXT" in text_of(plan.problems[0])
    alone = foretold(world, Rollback(regions=(PARIS,)))
    assert (alone.problems, alone.stays) == ((), ((OSLO, V2),))
    rollback(world, regions=(PARIS,))
    world.settle()
    again = foretold(world, Rollback(regions=(PARIS,)))
    assert (again.regions, again.problems[0].kind.root) == ((), "already-back")


def test_while_a_release_runs_it_is_turned_round() -> None:
    world = released("a")
    world.release("b")
    plan = foretold(world, Rollback())
    assert (plan.turns_round, plan.regions, plan.problems) == (V2, (), ())
