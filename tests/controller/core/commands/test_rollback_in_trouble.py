"""A rollback where something is in its way: closed windows, regions that are away, hosts that are missing."""

from dataclasses import replace
from typing import Literal

import pytest

from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.domain.application import Instant, Policy
from repave_controller.core.domain.freezes import Freezes, FullFreeze
from repave_controller.core.domain.limits import Limits, Load
from repave_controller.core.domain.rollout import Phase, RolloutKind, TrackPhase
from repave_controller.core.domain.steps import Step
from repave_controller.core.domain.windows import Window
from repave_controller.core.rollout.step import after_suspension, step
from repave_controller.core.rules.guards import Constraints
from repave_controller.core.rules.safety import check
from repave_controller.core.steps import Retire, Scale, Soak, Verify, Weight
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import ApplicationName, RegionName
from tests.fakes.controller.rolling_back import HIGHLANDER, ROME, V1, V2, WHOLE, rollback, serves
from tests.fakes.controller.stepping import KEEP_SECONDS, OSLO, PARIS, World, released
from tests.support.refusals import refused

# ------------------------------------------------------------------------------------------- always open

SHUT = Policy(keep_seconds=KEEP_SECONDS, windows=(Window(("mon",), 180, 181),), unreachable="wait")
STOPPED = Constraints(
    Freezes(FullFreeze("bob", "the network is ill", Instant(0))),
    Limits(releases=1, regions_in_flight=1, extra_hosts=1),
    Load((ApplicationName("cart"),), frozenset({ROME}), hosts_in_flight=4, hosts=8, extra_hosts=4),
)


@pytest.mark.parametrize("steps", [HIGHLANDER[:-1], HIGHLANDER], ids=["warm", "gone"])
@pytest.mark.parametrize("grows", [False, True])
def test_the_way_back_is_open_whatever_else_is_shut(steps: tuple[Step, ...], grows: bool) -> None:
    world = released("a")
    world.release("b", size=5 if grows else 3, steps=steps)
    world.finish()
    world.application = replace(world.application, policy=SHUT)
    rollback(world)
    for _ in range(10):
        for region in world.regions.values():
            region.work()
        decision = step(world.application, world.observed, world.now, world.tenure, STOPPED)
        assert check(world.application, decision, world.observed) == []
        assert [each for each in decision.because if each.reason.kind.root == "guard"] == []
        world.application = decision.application
        for name, state in decision.desired:
            world.regions[name].desired = state
    assert world.is_in(Phase.SUCCEEDED)
    assert world.application.rollout is not None
    assert world.application.rollout.kind is RolloutKind.ROLLBACK
    assert {serves(world, region) for region in world.regions} == {"a"}


# --------------------------------------------------------------------------------------- a region is away


@pytest.mark.parametrize("unreachable", ["wait", "skip", "fail"])
@pytest.mark.parametrize("grows", [False, True])
def test_a_region_that_is_away_is_done_and_follows_by_itself(
    unreachable: Literal["wait", "skip", "fail"], grows: bool
) -> None:
    world = released("a")
    policy = replace(WHOLE, unreachable=unreachable)
    world.release("b", size=5 if grows else 3, policy=policy)
    world.finish()
    world.regions[OSLO].is_connected = False
    rollback(world)
    world.settle()
    assert world.application.running is not None
    (waits,) = world.because
    assert (waits.region, waits.until) == (OSLO, world.now + 60)
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    (left,) = world.because
    assert text_of(left.reason) == (
        "its agent is not connected; all its traffic goes to hello-v001 when it returns"
    )
    world.regions[OSLO].is_connected = True
    world.settle()
    assert {serves(world, region) for region in world.regions} == {"a"}
    assert world.because == ()


@pytest.mark.parametrize("away", [(OSLO,), (OSLO, PARIS)])
def test_a_region_that_is_away_and_has_no_hosts_left_to_go_back_to_is_caught_up(
    away: tuple[RegionName, ...],
) -> None:
    world = released("a")
    world.release("b", steps=HIGHLANDER)
    world.finish()
    for region in away:
        world.regions[region].is_connected = False
    rollback(world)
    world.settle()
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED if len(away) == 1 else Phase.HELD)
    for region in away:
        world.regions[region].is_connected = True
        world.settle()
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert {serves(world, region) for region in world.regions} == {"a"}
    with refused(match="has gone back already"):
        rollback(world)


def test_a_controller_that_was_down_does_not_take_regions_that_are_to_report_for_lost() -> None:
    world = released("a")
    world.release("b", size=5)
    world.finish()
    rollback(world)
    world.now = Instant(world.now + 3600)
    world.application = after_suspension(world.application, world.now)
    world.regions[OSLO].is_connected = False
    world.decide()
    assert world.weights(OSLO) == {V2: 10_000}, "it has yet to grow"
    world.regions[OSLO].is_connected = True
    world.settle()
    assert {serves(world, region) for region in world.regions} == {"a"}


def test_an_abort_leaves_no_share_with_the_new_group_in_a_region_that_is_away() -> None:
    world = released("a")
    half = (
        Scale(50, 60.0),
        Verify(60.0),
        Weight(5_000, 60.0),
        Retire(50.0, 60.0),
        Soak(100.0, 60.0),
        Scale(100, 60.0),
        Verify(60.0),
        Weight(10_000, 60.0),
    )
    policy = replace(WHOLE, min_capacity_percent=50.0)
    world.release("b", steps=half, size=4, policy=policy)
    world.settle()
    assert world.weights(OSLO) == {V1: 5_000, V2: 5_000}
    world.regions[OSLO].is_connected = False
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.settle()
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.ABORTED)
    assert world.weights(OSLO) == {V1: 10_000}


# ----------------------------------------------------------------------------------- enough healthy hosts


def test_the_old_group_grows_to_what_serves_now_before_the_switch() -> None:
    world = released("a")
    world.release("b", sizes=((PARIS, 8), (OSLO, 3)))
    world.finish()
    world.regions[PARIS].most[V1] = 3
    assert rollback(world).endswith("hello-v001 grows from 3 to 8 hosts in paris first")
    world.settle()
    assert (serves(world, PARIS), serves(world, OSLO)) == ("b", "a")
    del world.regions[PARIS].most[V1]
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    desired = world.application.desired_in(PARIS)
    assert desired is not None
    assert [group.count for group in desired.groups if group.weight_bp] == [8]


def test_who_is_in_a_hurry_gets_the_switch_at_once_and_the_hosts_later() -> None:
    for asks_later in (False, True):
        world = released("a")
        world.release("b", size=8)
        world.finish()
        for region in world.regions.values():
            region.most[V1] = 3
        if asks_later:
            rollback(world)
            world.settle()
            assert serves(world, PARIS) == "b"
        rollback(world, at_once=True)
        assert {serves(world, region) for region in world.regions} == {"a"}
        world.settle()
        assert world.is_in(Phase.SUCCEEDED)
        group = world.application.group(world.application.serving)
        assert group is not None
        assert [part.count for part in group.parts] == [8, 8]


def test_a_smaller_release_shrinks_nothing_on_the_way_back() -> None:
    world = released("a")
    world.release("b", size=2)
    world.finish()
    rollback(world)
    assert {serves(world, region) for region in world.regions} == {"a"}
    world.settle()
    group = world.application.group(world.application.serving)
    assert group is not None
    assert [part.count for part in group.parts] == [3, 3]


@pytest.mark.parametrize("percent", [100.0, 50.0])
def test_a_rollback_that_is_aborted_leaves_the_kept_group_as_it_was(percent: float) -> None:
    policy = replace(WHOLE, keep_percent=percent)
    world = World()
    world.release("a", size=4, policy=policy)
    world.finish()
    world.release("b", size=8, policy=policy)
    world.finish()
    before = [(group.name, group.parts) for group in world.application.groups]
    rollback(world)
    assert [(group.name, group.parts) for group in world.application.groups] != before
    world.decide()
    world.application, _ = request_abort(world.application, "ann", "", world.now, world.observed)
    world.settle()
    assert world.is_in(Phase.ABORTED)
    assert [(group.name, group.parts) for group in world.application.groups] == before


def test_hosts_that_are_kept_and_are_as_many_as_serve_now_take_the_traffic_at_once() -> None:
    half = replace(WHOLE, keep_percent=50.0)
    world = World()
    world.release("a", size=8, policy=half)
    world.finish()
    world.release("b", size=3, policy=half)
    world.finish()
    assert "grows from 8 to 16 hosts in oslo, paris meanwhile" in rollback(world)
    assert {region: world.weights(region) for region in world.regions} == {
        PARIS: {V1: 10_000},
        OSLO: {V1: 10_000},
    }
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    group = world.application.group(world.application.serving)
    assert group is not None
    assert [part.count for part in group.parts] == [8, 8]


def test_it_does_not_wait_for_hosts_while_nothing_else_can_serve() -> None:
    world = released("a")
    world.release("b", size=8)
    world.finish()
    for region in world.regions.values():
        region.most[V1] = 3
        region.sick.add(V2)
        region.work()
    rollback(world)
    world.settle()
    assert {serves(world, region) for region in world.regions} == {"a"}


def test_a_region_that_never_grows_is_held_and_the_others_go_back() -> None:
    world = released("a")
    world.release("b", size=8)
    world.finish()
    world.regions[PARIS].most[V1] = 3
    rollback(world)
    world.settle()
    world.now = Instant(world.now + 70)
    world.settle()
    assert world.is_in(Phase.HELD)
    assert (serves(world, PARIS), serves(world, OSLO)) == ("b", "a")
    assert world.application.rollout is not None
    assert [track.phase for track in world.application.rollout.tracks] == [TrackPhase.DONE, TrackPhase.UNDONE]
    rollback(world, at_once=True)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert serves(world, PARIS) == "a"


@pytest.mark.parametrize(("well", "is_enough"), [(10, True), (9, True), (8, False), (0, False)])
def test_it_needs_the_share_of_healthy_hosts_that_a_release_needs(well: int, is_enough: bool) -> None:
    world = World()
    policy = replace(WHOLE, ready_percent=90.0, min_capacity_percent=90.0)
    for digest in "ab":
        world.release(digest, size=10, policy=policy)
        world.finish()
    world.regions[OSLO].most[V1] = well
    world.settle()
    if is_enough:
        rollback(world)
        assert serves(world, OSLO) == "a"
        return
    text = (
        f"hello-v001 has {well} healthy hosts of 10 in oslo, a release would need 9; hello-v002, which "
        "serves, has 10; to go back all the same: repave rollback hello --force --reason TEXT"
    )
    with refused(match=text):
        rollback(world)
    with refused(match=text):
        rollback(world, force=True)
    rollback(world, force=True, reason="b loses orders")
    assert serves(world, OSLO) == "a"


def test_what_serves_is_worse_so_no_force_is_needed() -> None:
    world = released("a", "b")
    world.regions[OSLO].most |= {V1: 2, V2: 1}
    world.settle()
    rollback(world)
    assert serves(world, OSLO) == "a"


def test_a_release_that_is_turned_round_in_a_hurry_does_not_wait_for_hosts_either() -> None:
    world = released("a")
    half = (Scale(50, 60.0), Verify(60.0), Weight(5_000, 60.0), Retire(50.0, 60.0), Soak(100.0, 60.0))
    policy = replace(WHOLE, min_capacity_percent=50.0)
    rest = (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0))
    world.release("b", steps=(*half, *rest), size=4, policy=policy)
    world.settle()
    for region in world.regions.values():
        region.most[V1] = 2
    rollback(world)
    world.settle()
    assert world.weights(PARIS) == {V1: 5_000, V2: 5_000}
    rollback(world, at_once=True)
    assert world.weights(PARIS) == {V1: 10_000}


def test_adopted_groups_are_gone_back_to_by_when_they_lost_the_traffic() -> None:
    world = released("a", "b")
    parts = [replace(part, left_traffic_at=None) for part in world.application.groups[0].parts]
    group = world.application.groups[0]
    for part in parts:
        group = group.with_part(part)
    world.application = world.application.with_group(group)
    rollback(world)
    assert {serves(world, region) for region in world.regions} == {"a"}
