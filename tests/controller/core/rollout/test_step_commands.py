"""What people ask for while a blue/green release is on its way, on the pure step function."""

from repave_controller.core.commands.release import request_release
from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.domain.application import (
    GroupState,
    Instant,
    Tenure,
)
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.rollout.step import step
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import (
    GroupName,
)
from tests.fakes.controller.stepping import OSLO, PARIS, World, an_order, released
from tests.support.refusals import refused


def test_rollback_is_one_switch_to_the_group_before() -> None:
    world = released("a", "b")
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "too slow", force=False, now=world.now
    )
    world.decide()
    assert world.weights() == {"hello-v001": 10_000}
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert world.application.serving == 1
    assert [group.state for group in world.application.groups] == [GroupState.SERVING, GroupState.WARM]


def test_a_rollback_never_returns_to_what_it_left_because_a_region_is_away() -> None:
    world = released("a", "b")
    world.regions[OSLO].is_connected = False
    world.application, _ = request_rollback(
        world.application, world.observed, "ann", "", force=False, now=world.now
    )
    world.settle()
    world.now = Instant(world.now + 61)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert world.application.rollout is not None
    outcome = text_of(world.application.rollout.undo_reason)
    assert outcome == "oslo: its agent is not connected; all its traffic goes to hello-v001 when it returns"
    assert world.weights(PARIS) == {"hello-v001": 10_000}
    world.regions[OSLO].is_connected = True
    world.settle()
    assert world.weights(OSLO) == {"hello-v001": 10_000}
    assert [group.state for group in world.application.groups] == [GroupState.SERVING, GroupState.WARM]


def test_a_rollback_to_a_sick_group_needs_force() -> None:
    world = released("a", "b")
    world.regions[OSLO].sick.add(GroupName("hello-v001"))
    world.settle()
    with refused(match="hello-v001 has 0 healthy hosts of 3 in oslo, a release would need 3"):
        request_rollback(world.application, world.observed, "ann", "", force=False, now=world.now)
    request_rollback(world.application, world.observed, "ann", "b is worse", force=True, now=world.now)


def test_abort_before_the_flip_cleans_up_and_ends() -> None:
    world = released("a")
    world.release("b")
    world.application, _ = request_abort(world.application, "ann", "typo", world.now)
    world.settle()
    assert world.is_in(Phase.ABORTED)
    assert [group.name for group in world.application.groups] == ["hello-v001"]


def test_a_second_release_is_refused_or_queued_as_the_user_chose() -> None:
    world = released("a")
    world.release("b")
    with refused(match="hello-v002 is being rolled out"):
        request_release(world.application, an_order("c"), queue=False, now=world.now)
    world.release("c", queue=True)
    world.finish()
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)
    assert world.weights() == {"hello-v003": 10_000}


def test_what_a_release_may_not_change_is_refused() -> None:
    world = released("a")
    with refused(match="hello-v001 serves in oslo"):
        request_release(world.application, an_order("b", sizes=((PARIS, 3),)), queue=False, now=world.now)
    with refused(match=r"traffic\.port"):
        request_release(world.application, an_order("b", frontend_port=81), queue=False, now=world.now)


def test_a_region_added_by_a_release_is_closed_again_when_it_is_undone() -> None:
    world = World()
    world.release("a", sizes=((PARIS, 3),))
    world.finish()
    world.release("b")
    world.settle()
    assert world.weights(OSLO) == {"hello-v002": 10_000}
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.settle()
    assert world.weights(PARIS) == {"hello-v001": 10_000}
    closed = world.application.desired_in(OSLO)
    assert closed is not None
    assert (closed.frontend_port, closed.groups) == (0, ())


def test_a_new_term_republishes_everything_under_higher_epochs() -> None:
    world = released("a")
    before = dict(world.application.desired)
    world.tenure = Tenure(1, 2)
    world.decide()
    for region, state in world.application.desired:
        assert state.epoch > before[region].epoch
        assert state.groups == before[region].groups


def test_step_is_idempotent_when_nothing_new_is_seen() -> None:
    world = released("a", "b")
    decision = step(world.application, world.observed, world.now, world.tenure)
    assert decision.application == world.application
    assert (decision.desired, decision.events) == ((), ())
