"""Releases of a worker: both groups work until the new one is proven, then the old one is stopped; going back
launches it again."""

from typing import Any

import pytest

from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.domain.application import Instant, Policy
from repave_controller.core.domain.reasons import Refusal, Why, reason_of
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.planning.plan import plan_release
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_controller.core.strategies.presets import Pace, for_worker
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import GroupName, HostTemplate
from tests.fakes.controller.stepping import OSLO, PARIS, World, an_order
from tests.fakes.templates import a_template
from tests.support.refusals import refused

STEPS = for_worker(Pace(60.0, 0.0), (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(20.0, 60.0)))
OLD, NEW = GroupName("hello-v001"), GroupName("hello-v002")


def at_work() -> dict[str, Any]:
    template: HostTemplate = a_template(("./work",), is_worker=True)
    return {"template": template, "frontend_port": 0, "steps": STEPS, "policy": Policy(keep_groups=0)}


def working(*digests: str) -> World:
    world = World()
    for digest in digests:
        world.release(digest, **at_work())
        world.finish()
        assert world.is_in(Phase.SUCCEEDED)
    return world


def hosts(world: World) -> dict[GroupName, int]:
    return {name: count for name, count in world.regions[PARIS].present.items() if count}


def test_old_hosts_work_until_the_new_ones_are_proven_and_are_then_stopped() -> None:
    world = working("a")
    world.release("b", **at_work())
    world.settle()
    assert hosts(world) == {OLD: 3, NEW: 3}
    assert world.weights() == {NEW: 10_000}
    assert {each.reason.kind for each in world.because} == {Why.SOAK}
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert hosts(world) == {NEW: 3}


def test_what_a_worker_waits_for_names_no_balancer() -> None:
    world = working("a")
    world.release("b", **at_work())
    said = dict[Why, str]()
    while world.application.running is not None:
        world.decide()
        said |= {each.reason.kind: text_of(each.reason) for each in world.because}  # type: ignore[misc]
        for region in world.regions.values():
            region.work()
        world.now = Instant(world.now + 1)
    assert said.keys() >= {Why.WEIGHT, Why.SOAK}
    unproven = reason_of(Why.VERIFY, have=1, need=2, weight_bp=0, trouble="", is_work=True)
    assert text_of(unproven) == "verify: 1 of 2 hosts verified"
    assert [text for text in said.values() if "balancer" in text] == []


def test_while_a_release_runs_going_back_only_stops_the_new_hosts() -> None:
    world = working("a")
    world.release("b", **at_work())
    world.settle()
    world.regions[PARIS].sick.add(NEW)
    world.finish()
    assert world.is_in(Phase.ROLLED_BACK)
    assert hosts(world) == {OLD: 3}


def test_a_rollback_launches_the_old_package_again_and_stops_the_others() -> None:
    world = working("a", "b")
    world.application, _ = Rollback().apply(world.application, world.observed, "ann", "", world.now)
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    (back,) = world.application.groups
    assert (back.name, back.version) == ("hello-v003", "a")
    assert hosts(world) == {GroupName("hello-v003"): 3}


def test_no_old_host_is_stopped_while_too_few_new_ones_are_well() -> None:
    world = working("a")
    world.release("b", **at_work())
    world.settle()
    world.now = Instant(world.now + 20)
    for region in world.regions.values():
        region.work()
    world.regions[PARIS].most[NEW] = 2
    for region in world.regions.values():
        region.work()
    world.decide()
    assert hosts(world)[OLD] == 3


def test_the_plan_says_that_nothing_is_kept() -> None:
    world = working("a")
    plan = plan_release(world.application, an_order("b", **at_work()))
    assert plan.is_worker
    assert (plan.keeps, plan.destroys, plan.back) == ((), (OLD,), "build")
    assert [moment.old_hosts for moment in plan.regions[0].moments] == [3, 3, 3, 3, 0]


@pytest.mark.parametrize("begins_at_work", [True, False])
def test_no_release_turns_a_worker_into_an_application_with_clients(begins_at_work: bool) -> None:
    first, second = (at_work(), {}) if begins_at_work else ({}, at_work())
    world = World()
    world.release("a", **first)
    world.finish()
    with refused() as caught:
        world.release("b", **second)
    assert caught.value.kind is (Refusal.WORKER_TO_SERVE if begins_at_work else Refusal.SERVED_TO_WORK)


@pytest.mark.parametrize("begins_at_work", [True, False])
def test_what_is_left_of_a_first_release_that_failed_is_waited_for_before_it_is_turned(
    begins_at_work: bool,
) -> None:
    """Its hosts may still run in a region that is away: told of both groups, it would refuse the two."""
    first, second = (at_work(), {}) if begins_at_work else ({}, at_work())
    world = World()
    world.release("a", **first)
    world.regions[OSLO].work()
    world.regions[OSLO].is_connected = False
    world.regions[PARIS].broken.add(OLD)
    for _ in range(60):
        world.finish()
    assert world.is_in(Phase.ROLLED_BACK)
    with refused("^hello-v001 does not serve, and is not gone from oslo yet") as caught:
        world.release("b", **second)
    assert caught.value.kind is Refusal.LEFT_OTHERWISE
    world.regions[OSLO].is_connected = True
    world.settle()
    world.release("b", **second)
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
