"""The promises about a fresh baseline: beside a canary as long as that is compared with it, with equal
shares, and gone afterwards, however it ended."""

from dataclasses import dataclass, replace

import pytest

from repave_controller.core.commands.lifecycle import RetireGroup
from repave_controller.core.commands.recovery import adopt
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort, Pause, Resize, Resume, Retry, StepBack
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import GroupState, Instant, Policy
from repave_controller.core.domain.limits import load_of
from repave_controller.core.domain.reasons import Refusal, Refused, Why
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.domain.steps import baseline_hosts, baseline_range
from repave_controller.core.planning.plan import plan_release
from repave_controller.core.rules.guards import check_baselines
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_controller.core.strategies.checks import objection
from repave_controller.core.strategies.presets import Pace, with_baselines
from repave_controller.stores.codec import decode_application, encode_application
from repave_controller.wording.render import text_of as sentence
from repave_protos.protocol.values import GroupName
from tests.fakes.controller.stepping import KEEP_SECONDS, OSLO, PARIS, World, an_order
from tests.support.refusals import refused

OLD, NEW, BESIDE = GroupName("hello-v001"), GroupName("hello-v002"), GroupName("hello-v003")
PACE = Pace(30.0, 2.0)
SIZE = 10


@dataclass(frozen=True, slots=True)
class Compared(Soak):
    """A soak that needs a baseline."""

    @property
    def needs_baseline(self) -> bool:
        return True


LOOK = Compared(20.0, 60.0)
UP = (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0))
PLAIN = (Scale(20, 60.0), Verify(60.0), Weight(500, 60.0), LOOK, *UP)
STEPS = with_baselines(PACE, PLAIN)
GROWING = with_baselines(PACE, (*PLAIN[:4], Scale(50, 60.0), Verify(60.0), Weight(2_500, 60.0), LOOK, *UP))
POLICY = Policy(keep_seconds=KEEP_SECONDS)


def comparing(steps: tuple[object, ...] = STEPS, policy: Policy = POLICY) -> World:
    """A world whose canary is just being compared with a baseline."""
    world = World()
    world.release("a", size=SIZE, policy=policy)
    world.finish()
    world.release("b", size=SIZE, steps=steps, policy=policy)
    world.settle()
    return world


def ask(world: World, verb: Verb) -> None:
    world.application, _ = verb.apply(world.application, world.observed, "ann", "", world.now)
    world.decide()


def part_of(world: World, name: GroupName = BESIDE) -> tuple[GroupState, int, int] | None:
    group = next((each for each in world.application.groups if each.name == name), None)
    part = group.part(PARIS) if group is not None else None
    return (part.state, part.count, part.weight_bp) if part is not None else None


def hosts(world: World) -> dict[str, int]:
    state = world.application.desired_in(PARIS)
    assert state is not None
    return {group.name: group.count for group in state.groups if group.count}


def whys(world: World) -> set[object]:
    return {each.reason.kind for each in world.because}


# ------------------------------------------------------------------------------------------- is there


def test_a_canary_has_a_baseline_as_large_and_with_as_much_traffic() -> None:
    world = comparing()
    assert [step.kind for step in STEPS[:5]] == ["scale", "baseline", "verify", "weight", "soak"]
    assert hosts(world) == {OLD: SIZE, NEW: 2, BESIDE: 2}
    assert world.weights() == {OLD: 9_000, NEW: 500, BESIDE: 500}
    group = world.application.group(world.application.groups[-1].number)
    assert group is not None
    assert (group.version, group.digest, group.baseline_of) == ("a", "a" * 64, 1)
    assert world.kinds.count("baseline.started") == 1, "one for both regions"


def test_it_has_no_traffic_before_its_hosts_are_there_and_the_canary_waits_for_it() -> None:
    world = World()
    world.release("a", size=SIZE)
    world.finish()
    world.regions[OSLO].most[BESIDE] = 1
    world.release("b", size=SIZE, steps=STEPS)
    world.settle()
    assert world.weights() == {OLD: 10_000}
    assert Why.BASELINE in whys(world)
    del world.regions[OSLO].most[BESIDE]
    world.settle()
    assert world.weights() == world.weights(OSLO) == {OLD: 9_000, NEW: 500, BESIDE: 500}


def test_it_grows_with_the_canary_from_one_comparison_to_the_next() -> None:
    world = comparing(GROWING)
    world.finish()
    assert hosts(world) == {OLD: SIZE, NEW: 5, BESIDE: 5}
    assert world.weights() == {OLD: 5_000, NEW: 2_500, BESIDE: 2_500}
    assert world.kinds.count("baseline.started") == 1
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)


def test_a_region_that_no_group_served_before_has_none() -> None:
    world = World()
    world.release("a", size=SIZE, steps=STEPS)
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert "baseline.started" not in world.kinds


def test_steps_that_compare_with_nothing_fresh_have_none() -> None:
    plain = (*PLAIN[:3], Soak(20.0, 60.0), *UP)
    assert with_baselines(PACE, plain) == plain
    assert not baseline_range(plain)
    assert baseline_hosts(GROWING, SIZE) == 5
    assert baseline_hosts(GROWING, SIZE, len(GROWING) - 2) == 0


# ------------------------------------------------------------------------------------------------ ends


def test_a_release_that_passes_leaves_none() -> None:
    world = comparing()
    world.now = Instant(world.now + 21)
    world.decide()
    assert part_of(world) == (GroupState.RETIRING, 0, 0)
    assert world.weights() == {OLD: 9_500, NEW: 500}
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert part_of(world) is None, "it is gone"
    assert [group.name for group in world.application.past] == []


def fail(world: World) -> None:
    for region in world.regions.values():
        region.sick.add(NEW)
    for region in world.regions.values():
        region.work()
    world.decide()


def abort(world: World) -> None:
    ask(world, Abort())


def roll_back(world: World) -> None:
    ask(world, Rollback())


def abort_here(world: World) -> None:
    ask(world, Abort(PARIS))


def replace_it(world: World) -> None:
    world.release("c", queue=True)  # waits, and changes nothing
    ask(world, Rollback(at_once=True))


@pytest.mark.parametrize(
    "end", [fail, abort, roll_back, abort_here, replace_it], ids=lambda each: each.__name__
)
def test_going_back_is_one_switch_and_ends_it_in_the_same_decision(end: object) -> None:
    world = comparing()
    before = world.application.desired_in(PARIS)
    end(world)  # type: ignore[operator]
    after = world.application.desired_in(PARIS)
    assert before is not None
    assert after is not None
    assert after.epoch.rev == before.epoch.rev + 1
    assert world.weights() == {OLD: 10_000}
    assert part_of(world) == (GroupState.RETIRING, 0, 0)
    world.settle()
    assert part_of(world) is None


def test_a_baseline_that_was_lost_holds_nothing_of_a_rollback_up() -> None:
    world = comparing()
    for region in world.regions.values():
        region.draining.add(BESIDE)
    ask(world, Abort())
    world.settle()
    assert world.is_in(Phase.ABORTED)
    assert part_of(world) is not None, "it still ends its requests"
    for region in world.regions.values():
        region.draining.clear()
    world.settle()
    assert part_of(world) is None


def test_a_pause_and_another_controller_change_nothing_of_it() -> None:
    world = comparing()
    ask(world, Pause())
    world.settle()
    assert world.weights() == {OLD: 9_000, NEW: 500, BESIDE: 500}
    world.tenure = replace(world.tenure, term=2)
    ask(world, Resume())
    world.settle()
    assert world.weights() == {OLD: 9_000, NEW: 500, BESIDE: 500}
    assert len(world.application.groups) == 3


def test_a_store_keeps_what_it_is() -> None:
    world = comparing()
    again = decode_application(encode_application(world.application))
    assert again.groups == world.application.groups
    assert again.rollout is not None
    assert again.rollout.steps[1] == STEPS[1]


def test_a_step_back_takes_its_share_and_keeps_its_hosts() -> None:
    world = comparing()
    ask(world, StepBack())
    assert world.weights() == {OLD: 10_000}
    assert hosts(world) == {OLD: SIZE, NEW: 2, BESIDE: 2}
    ask(world, Resume())
    world.settle()
    assert world.weights() == {OLD: 9_000, NEW: 500, BESIDE: 500}


def test_after_a_step_back_from_a_later_step_there_is_another_one() -> None:
    world = comparing((*STEPS[:5], Scale(30, 60.0), Verify(60.0), Soak(500.0, 60.0), *UP))
    world.finish()
    assert hosts(world) == {OLD: SIZE, NEW: 3}
    ask(world, StepBack())
    ask(world, Resume())
    world.settle()
    assert world.weights() == {OLD: 9_000, NEW: 500, GroupName("hello-v004"): 500}


# -------------------------------------------------------------------------------------------- is not well


def test_one_that_can_not_be_had_says_nothing_of_the_release_which_is_held() -> None:
    world = World()
    world.release("a", size=SIZE)
    world.finish()
    world.regions[PARIS].broken.add(BESIDE)
    world.release("b", size=SIZE, steps=STEPS)
    world.settle()
    rollout = world.application.running
    assert rollout is not None
    assert rollout.pause is not None
    assert rollout.pause.reason is not None
    assert rollout.pause.reason.kind is Why.NO_BASELINE
    assert "hello-v003 can't be had" in sentence(rollout.pause.reason)
    world.regions[PARIS].broken.clear()
    ask(world, Retry())
    world.settle()
    assert world.weights() == {OLD: 9_000, NEW: 500, BESIDE: 500}


def test_one_that_does_not_come_up_in_time_holds_it_as_well() -> None:
    world = World()
    world.release("a", size=SIZE)
    world.finish()
    world.regions[PARIS].most[BESIDE] = 1
    world.release("b", size=SIZE, steps=STEPS)
    world.settle()
    world.now = Instant(world.now + 1_000)
    world.settle()
    rollout = world.application.running
    assert rollout is not None
    assert rollout.pause is not None
    assert rollout.phase is Phase.RUNNING


@pytest.mark.parametrize(("left", "weight"), [(1, 500), (0, 0)])
def test_one_that_falls_ill_holds_the_release_and_loses_its_share_with_its_last_host(
    left: int, weight: int
) -> None:
    world = comparing()
    world.regions[PARIS].most[BESIDE] = left
    world.settle()
    rollout = world.application.running
    assert rollout is not None
    assert rollout.pause is not None
    assert rollout.pause.reason is not None
    assert rollout.pause.reason.kind is Why.BASELINE_ILL
    assert world.weights().get(BESIDE, 0) == weight
    assert world.weights()[OLD] == 9_500 - weight
    world.regions[PARIS].most.clear()
    world.settle()
    ask(world, Retry())
    world.settle()
    assert world.weights() == {OLD: 9_000, NEW: 500, BESIDE: 500}
    world.finish()
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)


def test_traffic_that_flees_from_a_dead_canary_leaves_the_baseline_too() -> None:
    world = comparing(policy=replace(POLICY, goes_back_on=()))
    fail(world)
    world.settle()
    assert world.weights() == {OLD: 10_000}
    assert world.application.running is not None


# ------------------------------------------------------------------------------------------- what people do


def test_another_size_is_the_baseline_s_too() -> None:
    world = comparing()
    ask(world, Resize(((PARIS, 20),)))
    world.settle()
    assert hosts(world) == {OLD: 20, NEW: 4, BESIDE: 4}
    assert world.weights() == {OLD: 9_000, NEW: 500, BESIDE: 500}


def test_a_baseline_is_no_way_back_and_can_not_be_retired_meanwhile() -> None:
    world = comparing()
    with refused("in the rollout|rollout"):
        ask(world, RetireGroup(BESIDE))
    world.finish()
    world.settle()
    ask(world, Rollback(to="a"))
    world.settle()
    assert world.weights() == {OLD: 10_000}


def test_limits_and_the_plan_count_its_hosts() -> None:
    world = comparing()
    assert load_of([world.application]).extra_hosts == 2 * (SIZE + 2)
    world.finish()
    world.settle()
    order = an_order("c", size=SIZE, steps=STEPS)
    foretold = plan_release(world.application, order, world.observed, world.now)
    paris = foretold.regions[0]
    assert [(each.new_hosts, each.old_hosts, each.baseline_hosts) for each in paris.moments] == [
        (2, SIZE, 0),
        *[(2, SIZE, 2)] * 4,
        *[(SIZE, SIZE, 0)] * 3,
    ]
    (together,) = [
        text for text in map(sentence, (each.reason for each in foretold.guards)) if "hosts" in text
    ][:1]
    assert together


def test_shares_that_leave_nothing_to_the_old_group_are_refused() -> None:
    half = with_baselines(PACE, (*PLAIN[:2], Weight(5_000, 60.0), LOOK, *UP))
    enough = with_baselines(PACE, (Scale(60, 60.0), *PLAIN[1:2], Weight(4_900, 60.0), LOOK, *UP))
    found = objection(half, Policy(min_capacity_percent=0), ((PARIS, SIZE),))
    assert found is not None
    assert "below 50%" in found.text
    assert objection(enough, Policy(), ((PARIS, SIZE),)) is None
    after_all = (*UP, LOOK)
    assert objection(with_baselines(PACE, after_all), Policy(), ((PARIS, SIZE),)) is not None
    surge = objection(STEPS, Policy(), ((PARIS, SIZE),), max_surge_percent=100.0)
    assert surge is None
    wide = with_baselines(PACE, (Scale(100, 60.0), *PLAIN[1:4], *UP))
    surge = objection(wide, Policy(), ((PARIS, SIZE),), max_surge_percent=150.0)
    assert surge is not None
    assert "of a baseline" in surge.text


def test_regions_whose_balancer_splits_in_two_are_named() -> None:
    order = an_order("b", steps=STEPS)
    check_baselines(order, [], {})
    check_baselines(an_order("b"), [PARIS], {})
    with pytest.raises(Refused) as raised:
        check_baselines(order, [PARIS], {PARIS: "octavia"})
    assert raised.value.reason.kind is Refusal.NO_BASELINES
    assert "paris (octavia) splits the traffic in two" in sentence(raised.value.reason)


def test_a_controller_that_lost_its_store_lets_it_go() -> None:
    world = comparing()
    said = dict(world.application.desired)
    adopted = adopt(world.application.name, None, said, world.now, serving=OLD)
    states_of = {group.name: group.state for group in adopted.application.groups}
    assert states_of == {OLD: GroupState.SERVING, NEW: GroupState.WARM, BESIDE: GroupState.RETIRING}
