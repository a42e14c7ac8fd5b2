"""The promises of a blue/green release, on the pure step function with regions that are obedient, slow,
failing or away. Nothing here waits: time is an argument."""

from dataclasses import replace

from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.domain.application import (
    GroupState,
    Instant,
    Policy,
)
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.rollout.step import after_suspension, step
from repave_controller.wording.render import remedy_of, text_of
from repave_protos.protocol.values import (
    GroupName,
)
from tests.fakes.controller.stepping import KEEP_SECONDS, OSLO, PARIS, World, released

# ---------------------------------------------------------------------------------------------- the way


def test_a_first_release_takes_traffic_only_when_every_region_is_verified() -> None:
    world = World()
    world.regions[OSLO].is_connected = False
    world.release()
    world.settle()
    assert world.weights() == {}
    world.regions[OSLO].is_connected = True
    world.settle()
    assert world.weights() == {"hello-v001": 10_000}


def test_a_release_goes_through_its_steps_and_keeps_the_old_group_warm() -> None:
    world = released("a", "b")
    assert world.weights() == {"hello-v002": 10_000}
    assert [(group.name, group.state) for group in world.application.groups] == [
        ("hello-v001", GroupState.WARM),
        ("hello-v002", GroupState.SERVING),
    ]


def test_no_region_flips_before_all_are_verified() -> None:
    world = released("a")
    world.regions[OSLO].sick.add(GroupName("hello-v002"))
    world.release("b")
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}


def test_the_soak_counts_from_the_moment_the_last_balancer_acknowledged() -> None:
    world = World()
    world.release()
    for region in world.regions.values():
        region.work()
    world.decide()  # all verified: the flip is published
    world.now = Instant(world.now + 30)  # longer than the soak, nobody has acknowledged
    world.decide()
    assert world.is_in(Phase.RUNNING)
    world.settle()
    assert world.is_in(Phase.RUNNING)
    world.now = Instant(world.now + 20)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)


def test_an_old_group_is_destroyed_when_its_time_is_over_and_then_forgotten() -> None:
    world = released("a", "b")
    world.now = Instant(world.now + KEEP_SECONDS + 1)
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v002"]
    assert world.kinds[-2:] == ["group.retiring", "group.destroyed"]


def test_a_group_is_not_forgotten_while_requests_to_it_are_not_over() -> None:
    """Its hosts may have died while it was drained; who is forgotten is drained no longer."""
    world = released("a", "b")
    world.regions[OSLO].draining.add(GroupName("hello-v001"))
    world.now = Instant(world.now + KEEP_SECONDS + 1)
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v001", "hello-v002"]
    world.regions[OSLO].draining.clear()
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v002"]


def test_only_as_many_old_groups_are_kept_as_the_policy_says() -> None:
    world = released("a", "b", "c")
    assert [group.name for group in world.application.groups] == ["hello-v002", "hello-v003"]


def test_retained_groups_outlive_their_time() -> None:
    world = World()
    for digest in "ab":
        world.release(digest, policy=Policy(keep_seconds=1.0, keep_groups=1, retain=1))
        world.finish()
    world.now = Instant(world.now + 1e6)
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v001", "hello-v002"]


# ---------------------------------------------------------------------------------------------- failure


def test_a_failure_before_the_flip_leaves_traffic_untouched_and_cleans_up() -> None:
    world = released("a")
    world.regions[OSLO].broken.add(GroupName("hello-v002"))
    world.release("b")
    world.settle()
    assert world.is_in(Phase.ROLLED_BACK)
    assert "traffic.moved" not in world.kinds[world.kinds.index("release.failed") :]
    assert world.weights() == {"hello-v001": 10_000}
    assert [group.name for group in world.application.groups] == ["hello-v001"]
    assert world.application.rollout is not None
    assert text_of(world.application.rollout.undo_reason) == "oslo: exited with code 1"


def test_a_failure_in_the_soak_flips_every_region_back_by_itself() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    assert world.weights() == {"hello-v002": 10_000}
    world.regions[PARIS].sick.add(GroupName("hello-v002"))
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}
    assert world.is_in(Phase.ROLLED_BACK)


def test_a_group_that_the_balancer_finds_down_goes_back_though_the_agent_finds_it_well() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    world.regions[PARIS].unseen.add(GroupName("hello-v002"))
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}
    assert world.is_in(Phase.ROLLED_BACK)
    assert world.application.rollout is not None
    told = "paris: the balancer finds none of hello-v002 up, though 3 are healthy to the agent in the soak"
    assert text_of(world.application.rollout.undo_reason) == told


def test_a_group_that_the_balancer_finds_down_never_gets_traffic() -> None:
    world = released("a")
    world.regions[PARIS].unseen.add(GroupName("hello-v002"))
    world.release("b")
    world.settle()
    assert world.weights(PARIS) == world.weights(OSLO) == {"hello-v001": 10_000}
    assert "weight" not in world.kinds[-1]


def test_a_first_release_that_fails_in_the_soak_is_held_because_nobody_else_can_serve() -> None:
    world = World()
    world.release()
    world.settle()
    world.regions[PARIS].sick.add(GroupName("hello-v001"))
    world.settle()
    assert world.is_in(Phase.HELD)
    assert world.weights() == {"hello-v001": 10_000}


def test_a_step_without_progress_fails_at_its_deadline_and_progress_resets_it() -> None:
    world = released("a")
    world.release("b")
    world.regions[OSLO].is_connected = False
    world.settle()
    world.now = Instant(world.now + 59)
    world.settle()
    assert world.is_in(Phase.RUNNING)
    world.now = Instant(world.now + 2)
    world.settle()
    assert world.is_in(Phase.UNDOING)
    assert world.application.rollout is not None
    assert "oslo: its agent is not connected" in text_of(world.application.rollout.undo_reason)


def test_a_region_that_is_away_during_an_undo_is_told_when_it_returns() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    world.regions[OSLO].is_connected = False
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "", force=False, now=world.now
    )
    world.settle()
    assert world.is_in(Phase.UNDOING)
    (waited,) = world.because
    assert (waited.region, waited.until) == (OSLO, world.now + 60)
    assert "it is told when it returns" in remedy_of(waited.reason)
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.ROLLED_BACK)
    assert [group.state for group in world.application.groups] == [GroupState.SERVING, GroupState.RETIRING]
    (left,) = world.because
    assert (left.region, text_of(left.reason)) == (
        OSLO,
        "its agent is not connected; hosts of hello-v002 may be left there",
    )
    world.regions[OSLO].is_connected = True
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v001"]
    assert world.because == ()


def test_a_region_that_listens_but_can_not_follow_is_never_said_to_have_gone_back() -> None:
    world = released("a")
    world.release("b")
    world.settle()
    stale = world.regions[OSLO].reported
    assert stale is not None
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "", force=False, now=world.now
    )
    world.decide()
    world.regions[PARIS].work()
    world.regions[OSLO].reported = replace(stale, refusal="the disk is full")
    world.now = Instant(world.now + 299)
    world.decide()
    assert world.is_in(Phase.UNDOING)
    (waited,) = world.because
    assert waited.region == OSLO
    assert "not confirmed yet (the disk is full)" in text_of(waited.reason)
    world.now = Instant(world.now + 12)
    world.decide()
    assert world.is_in(Phase.HELD)


def test_time_in_which_no_controller_looked_counts_for_no_deadline() -> None:
    world = released("a")
    world.release("b")
    world.regions[OSLO].is_connected = False
    world.settle()
    world.now = Instant(world.now + 3600)
    world.application = after_suspension(world.application, world.now)
    world.settle()
    assert world.is_in(Phase.RUNNING)
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.settle()
    world.now = Instant(world.now + 3600)
    world.application = after_suspension(world.application, world.now)
    world.settle()
    assert world.is_in(Phase.UNDOING)
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.ABORTED)
    assert after_suspension(world.application, world.now) == world.application


def test_an_old_report_never_completes_a_step() -> None:
    world = released("a")
    stale = world.regions[PARIS].reported
    world.release("b")
    world.settle()
    assert world.application.running is not None
    world.regions[PARIS].reported = stale
    world.decide()
    assert world.is_in(Phase.RUNNING)
    assert any(
        "confirmed" in text_of(each.reason)
        for each in step(world.application, world.observed, world.now, world.tenure).because
    )
