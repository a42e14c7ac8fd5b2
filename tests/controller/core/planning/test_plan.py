"""What a plan foretells is what then happens, and its id holds exactly as long as that is so."""

from dataclasses import replace

import pytest

from repave_controller.core.commands.rollback import Rollback, request_abort
from repave_controller.core.domain.application import GroupState, Instant, Policy, Upkeep
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.overlays import Overlay
from repave_controller.core.domain.rollout import Phase, Wave
from repave_controller.core.planning.going_back import How, plan_rollback
from repave_controller.core.planning.plan import never_released, plan_id, plan_release
from repave_controller.core.steps import Retire, Scale, Soak, Verify, Weight
from repave_controller.core.steps.step import describe
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import Digest, GroupName, Probe, RegionName, Split
from tests.fakes.controller.stepping import (
    HELLO,
    KEEP_SECONDS,
    OSLO,
    PARIS,
    World,
    an_order,
    released,
)
from tests.fakes.templates import changed

PROOF = (Scale(100, 60.0), Verify(60.0))
ALL, SOAKED = Weight(10_000, 60.0), Soak(20.0, 60.0)
STEPS = {
    "blue/green": (*PROOF, ALL, SOAKED),
    "highlander": (*PROOF, ALL, SOAKED, Retire(0.0, 60.0)),
    "rolling": (*PROOF, Weight(5_000, 60.0), Retire(50.0, 60.0), ALL, Retire(0.0, 60.0), SOAKED),
    "half of the old": (*PROOF, ALL, SOAKED, Retire(50.0, 60.0)),
}
POLICIES = [
    Policy(keep_seconds=KEEP_SECONDS),
    Policy(keep_seconds=0.0, keep_groups=1, retain=1),
    Policy(keep_seconds=0.0),
    Policy(keep_seconds=KEEP_SECONDS, keep_groups=2),
    Policy(keep_seconds=KEEP_SECONDS, keep_groups=2, keep_percent=50.0),
]


def test_a_first_release_creates_everything_and_destroys_nothing() -> None:
    foretold = plan_release(never_released(HELLO, "hello"), an_order())
    assert (foretold.group, foretold.origin) == ("hello-v001", None)
    assert (foretold.keeps, foretold.destroys, foretold.problems) == ((), (), ())
    assert [(each.name, each.creates, each.peak, each.floor) for each in foretold.regions] == [
        (PARIS, 3, 3, 3),
        (OSLO, 3, 3, 3),
    ]
    assert foretold.at_least_seconds == 21.0


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("releases", [1, 2, 3])
def test_what_is_foretold_is_what_happens(policy: Policy, steps: str, releases: int) -> None:
    world = World()
    for digest in "abc"[:releases]:
        world.release(digest, policy=policy)
        world.finish()
    before = {group.name for group in world.application.groups}
    hosts = _hosts(world)
    foretold = plan_release(world.application, an_order("d", policy=policy, steps=STEPS[steps]))
    world.release("d", policy=policy, steps=STEPS[steps])
    peak = _hosts(world)
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    after = {group.name for group in world.application.groups if group.state is not GroupState.RETIRING}
    assert after - before == {foretold.group}
    assert set(foretold.keeps) == after - {foretold.group}
    assert set(foretold.destroys) == before - after
    assert foretold.regions[0].peak == peak
    assert foretold.back == _way_back(world)
    assert foretold.regions[0].keeps_warm == _hosts(world) - 3
    assert foretold.regions[0].destroys == hosts + 3 - _hosts(world)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("before", [((PARIS, 8), (OSLO, 3)), ((PARIS, 2), (OSLO, 8)), ((PARIS, 3),)])
def test_so_it_is_where_sizes_change_and_regions_are_new(
    before: tuple[tuple[RegionName, int], ...], steps: str, policy: Policy
) -> None:
    world = World()
    world.release("a", policy=policy, sizes=before)
    world.finish()
    hosts = _hosts(world)
    foretold = plan_release(world.application, an_order("b", policy=policy, steps=STEPS[steps]))
    assert not foretold.problems
    world.release("b", policy=policy, steps=STEPS[steps])
    peak = max(hosts, _hosts(world))
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert foretold.regions[0].peak == peak
    assert foretold.regions[0].keeps_warm == _hosts(world) - 3
    assert foretold.back == _way_back(world)


def test_a_group_whose_time_ends_while_later_waves_go_is_not_called_kept() -> None:
    policy, world = Policy(keep_seconds=200.0, keep_groups=2), World()
    for digest in "ab":
        world.release(digest, policy=policy)
        world.finish()
    waves = (Wave((PARIS,), bake_seconds=150.0), Wave((OSLO,), bake_seconds=150.0))
    order = an_order("c", policy=policy, waves=waves)
    assert plan_release(world.application, order, now=world.now).keeps == ("hello-v002",)
    alone = replace(order, waves=())
    assert plan_release(world.application, alone, now=world.now).keeps == ("hello-v002", "hello-v001")


def _way_back(world: World) -> str:
    hows = {each.how for each in plan_rollback(world.application, {}, Rollback(), "", world.now).regions}
    return next(how for how in (How.BUILD, How.GROW, How.SWITCH) if how in hows)


def _hosts(world: World) -> int:
    """That are wanted in a region now."""
    desired = world.application.desired_in(PARIS)
    return sum(group.count for group in desired.groups) if desired is not None else 0


def test_a_plan_says_why_it_would_be_refused_now() -> None:
    world = released("a")
    assert plan_release(world.application, an_order("b")).problems == ()
    (problem,) = plan_release(world.application, an_order("b", sizes=((PARIS, 3),))).problems
    assert "hello-v001 serves in oslo" in text_of(problem)
    world.release("b")
    (problem,) = plan_release(world.application, an_order("c")).problems
    assert "hello-v002 is being rolled out" in text_of(problem)


def test_foretelling_changes_nothing_and_gives_the_same_again() -> None:
    world = released("a")
    before = world.application
    assert plan_release(world.application, an_order("b")) == plan_release(world.application, an_order("b"))
    assert world.application == before


@pytest.mark.parametrize(
    "changes",
    [
        {"digest": Digest("c" * 64)},
        {"version": "1.1"},
        {"frontend_port": 1},
        {"sizes": ((PARIS, 4), (OSLO, 3))},
        {"run": ("./other",)},
        {"environment": (("A", "1"),)},
        {"probe": Probe("tcp", 8080)},
        {"min_healthy_seconds": 2.0},
        {"launch_deadline_seconds": 31.0},
        {"drain_seconds": 11.0},
        {"machine_sizes": ("xl",)},
        {"is_spot": True},
        {"health_by": "balancer"},
        {"steps": (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(0.0, 60.0))},
        {"policy": Policy(keep_seconds=1.0)},
        {"waves": (Wave((PARIS,)), Wave((OSLO,)))},
        {"split": Split("cookie", "uid")},
        {"prices": ((PARIS, 0.2),)},
        {"overlays": ByRegion([(PARIS, Overlay(is_spot=True))])},
        {"upkeep": Upkeep(max_age_seconds=1.0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_plans_id_changes_with_everything_that_is_asked(changes: dict[str, object]) -> None:
    application = released("a").application
    assert plan_id(application, an_order("b")) != plan_id(application, changed(an_order("b"), changes))


def test_other_machines_are_told_as_a_change() -> None:
    application = released("a").application
    order = an_order("b")
    choosy = replace(order, template=replace(order.template, machine_sizes=("xl", "l"), is_spot=True))
    told = plan_release(application, choosy).changes
    assert "machine size of the settings -> xl or l" in told
    assert "machines -> spot machines" in told
    assert not [each for each in plan_release(application, order).changes if "machine" in each]


def test_what_changes_in_one_region_alone_is_told_with_its_name() -> None:
    application, order = released("a").application, an_order("b")
    debug = replace(order, overlays=ByRegion([(PARIS, Overlay(environment=(("LOG", "debug"),)))]))
    assert "paris: env LOG added" in plan_release(application, debug).changes
    everywhere = replace(debug, template=replace(order.template, environment=(("LOG", "info"),)))
    assert [each for each in plan_release(application, everywhere).changes if "LOG" in each] == [
        "env LOG added"
    ]
    but_there = replace(everywhere, overlays=ByRegion([(PARIS, Overlay(environment=()))]))
    found = [each for each in plan_release(application, but_there).changes if "LOG" in each]
    assert found == ["env LOG added", "not in paris: env LOG added"]


def test_another_source_of_health_is_told_as_a_change() -> None:
    application, order = released("a").application, an_order("b")
    told = replace(order, template=replace(order.template, health_by="balancer"))
    assert "health by the agent -> by the balancer" in plan_release(application, told).changes
    assert not [each for each in plan_release(application, order).changes if "health" in each]


def test_who_asks_and_why_is_no_part_of_a_plan() -> None:
    application = released("a").application
    other = an_order("b", by="bob", reason="why not", key="k", spec_text="# a comment")
    assert plan_id(application, an_order("b")) == plan_id(application, other)


def test_a_plans_id_changes_with_what_it_would_act_on() -> None:
    world = released("a")
    ids = {plan_id(world.application, an_order("c"))}
    world.release("b")
    ids.add(plan_id(world.application, an_order("c")))
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    ids.add(plan_id(world.application, an_order("c")))
    world.settle()
    ids.add(plan_id(world.application, an_order("c")))
    assert len(ids) == 4


def test_what_regions_report_and_the_time_are_no_part_of_a_plan() -> None:
    world = released("a")
    before = plan_id(world.application, an_order("b"))
    world.now = Instant(world.now + 3600)
    world.regions[PARIS].sick.add(GroupName("hello-v001"))
    world.settle()
    world.tenure = replace(world.tenure, term=2)
    world.decide()
    assert plan_id(world.application, an_order("b")) == before


def test_every_step_is_described_for_people() -> None:
    told = [describe(step) for step in an_order().steps]
    assert told[0].startswith("scale: 100 %")
    assert "100 % of the traffic" in told[2]
    assert "watch it for 20 s" in told[3]
