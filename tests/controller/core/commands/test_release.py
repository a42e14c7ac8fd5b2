"""What people may ask, command by command: what becomes of it, and what a refusal says. How the commands are
carried out is in test_rollout.py."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repave_controller.core.commands.release import (
    QUEUE_MAX,
    Accepted,
    answer,
    check_regions,
    from_text,
    request_release,
    to_text,
    unknown_application,
)
from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.commands.steering import request_size
from repave_controller.core.domain.application import GroupState, Instant, Outcome, Policy
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import Phase, RolloutKind
from repave_controller.core.planning.plan import never_released, plan_release
from repave_controller.core.steps import Weight
from repave_controller.core.strategies.checks import objection
from repave_controller.core.strategies.presets import Stage, pace_of, rolling
from repave_controller.wording.render import event_text, text_of
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName
from tests.fakes.controller.stepping import HELLO, OSLO, PARIS, World, an_order, released

NOW = Instant(5000.0)
V1, V2 = GroupName("hello-v001"), GroupName("hello-v002")


def refusal(command: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        command()
    return caught.value


def rollback(world: World, force: bool = False, reason: str = "") -> Outcome:
    return request_rollback(world.application, world.observed, "ann", reason, force, NOW)


# ------------------------------------------------------------------------------------------------ release


def test_a_release_makes_a_new_group_that_is_named_after_the_cluster() -> None:
    after, (event,) = request_release(never_released(HELLO, "hello-prod"), an_order(reason="why"), False, NOW)
    (group,) = after.groups
    assert (group.name, group.state, group.created_at) == ("hello-prod-v001", GroupState.NEW, NOW)
    assert after.rollout is not None
    assert (after.rollout.kind, after.rollout.origin, after.rollout.reason) == (
        RolloutKind.RELEASE,
        None,
        "why",
    )
    assert (event.kind, event.by, event.at, event.group) == ("release.started", "ann", NOW, group.name)
    assert event_text(event) == "hello-prod-v001 (a) is released to paris, oslo"


def test_numbers_of_groups_are_never_used_again() -> None:
    world = released("a")
    world.release("b")
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.settle()
    world.release("b")
    assert world.application.groups[-1].name == "hello-v003"


def test_a_refused_release_names_the_running_one_and_the_ways_on() -> None:
    world = released("a")
    world.release("b")
    refused = refusal(lambda: request_release(world.application, an_order("c"), False, NOW))
    assert refused.rule == "rollout-running"
    for way in ("hello-v002", "repave watch hello", "repave abort hello", "--queue"):
        assert way in text_of(refused.reason)


def test_the_queue_is_bounded_and_keeps_the_order() -> None:
    world = released("a")
    world.release("b")
    for number in range(QUEUE_MAX):
        world.release("c", queue=True, version=str(number))
    assert [order.version for order in world.application.queue] == [str(n) for n in range(QUEUE_MAX)]
    refused = refusal(lambda: request_release(world.application, an_order("d"), True, NOW))
    assert refused.rule == "queue-full"


def test_a_queued_release_that_may_not_be_any_more_is_refused_when_its_turn_comes() -> None:
    world = released("a")
    world.release("b")
    world.release("c", queue=True, frontend_port=81)
    world.finish()
    world.settle()
    assert "release.refused" in world.kinds
    assert world.application.queue == ()
    assert world.weights() == {V2: 10_000}


def test_who_queues_behind_nothing_starts_at_once() -> None:
    after, (event,) = request_release(never_released(HELLO, "hello"), an_order(), True, NOW)
    assert (event.kind, after.queue) == ("release.started", ())


@pytest.mark.parametrize(
    ("rule", "changes", "told"),
    [
        ("region-dropped", {"sizes": ((PARIS, 3),)}, "put the region back under regions"),
        ("frontend-port-changed", {"frontend_port": 81}, "keep the port"),
    ],
)
def test_what_would_break_clients_is_refused_with_the_fix(
    rule: str, changes: dict[str, object], told: str
) -> None:
    world = released("a")
    order = replace(an_order("b"), **changes)  # type: ignore[arg-type]  # fields of the dataclass
    refused = refusal(lambda: request_release(world.application, order, False, NOW))
    assert refused.rule == rule
    assert told in text_of(refused.reason)


@pytest.mark.parametrize(
    ("before", "size", "is_refused"), [(3, 2, True), (1, 4, True), (4, 2, False), (2, 4, False)]
)
def test_steps_that_suit_the_spec_but_not_the_group_that_serves_are_refused(
    before: int, size: int, is_refused: bool
) -> None:
    """Half of 3 hosts is less than half of them; half of 1 is none."""
    halves = [Stage(5_000), Stage(10_000)]
    steps = rolling(pace_of(an_order("b").template), halves, is_old_first=True)
    order = replace(
        an_order("b"), sizes=((PARIS, size),), steps=steps, policy=Policy(min_capacity_percent=50.0), waves=()
    )
    assert objection(steps, order.policy, order.sizes) is None
    world = World()
    world.release("a", sizes=((PARIS, before),))
    world.finish()
    if is_refused:
        refused = refusal(lambda: request_release(world.application, order, False, NOW))
        assert refused.rule == "steps"
        told = f"step 1: paris, {before} to {size} hosts: 100% of the traffic takes"
        assert told in text_of(refused.reason)
        plan = plan_release(world.application, order, world.observed, NOW)
        assert refused.reason in plan.problems
    else:
        application, _ = request_release(world.application, order, False, NOW)
        assert application.running is not None


@pytest.mark.parametrize(("size", "is_refused"), [(5, True), (8, False)])
def test_a_size_that_does_not_suit_the_steps_of_the_running_release_is_refused(
    size: int, is_refused: bool
) -> None:
    halves = [Stage(5_000), Stage(10_000)]
    steps = rolling(pace_of(an_order("b").template), halves, is_old_first=True)
    world = World()
    world.release("a", sizes=((PARIS, 4),))
    world.finish()
    world.release("b", sizes=((PARIS, 4),), steps=steps, policy=Policy(min_capacity_percent=50.0))
    if is_refused:
        refused = refusal(lambda: request_size(world.application, ((PARIS, size),), "ann", "", NOW))
        assert refused.rule == "steps"
        assert "step 1: paris, 5 hosts: 100% of the traffic takes 3 hosts" in text_of(refused.reason)
    else:
        application, _ = request_size(world.application, ((PARIS, size),), "ann", "", NOW)
        assert {group.size(PARIS) for group in application.groups} == {size}


def test_unknown_regions_are_named_with_those_there_are() -> None:
    known = (OSLO, PARIS)
    check_regions(((PARIS, 1),), known)
    refused = refusal(lambda: check_regions(((RegionName("rome"), 1), (PARIS, 1)), known))
    assert text_of(refused.reason) == "regions: no agent has ever spoken for rome; known are: oslo, paris"
    assert "no agent has connected yet" in text_of(refusal(lambda: check_regions(((PARIS, 1),), ())).reason)


def test_an_unknown_application_is_told_with_those_there_are() -> None:
    assert (
        text_of(unknown_application("x", ("a", "b")).reason) == "no application is called x; there are: a, b"
    )
    assert "nothing has been released yet" in text_of(unknown_application("x", ()).reason)


# ----------------------------------------------------------------------------------------- rollback, abort


def test_a_rollback_goes_to_the_newest_warm_group_in_one_switch() -> None:
    world = released("a", "b")
    after, (event,) = rollback(world, reason="too slow")
    assert after.rollout is not None
    assert (after.rollout.kind, after.rollout.target, after.rollout.origin) == (RolloutKind.ROLLBACK, 1, 2)
    assert [type(step) for step in after.rollout.steps] == [Weight]
    assert event_text(event) == "all traffic goes back to hello-v001, asked by ann: too slow"


def test_a_rollback_of_a_running_release_turns_it_round() -> None:
    world = released("a")
    world.release("b")
    after, (event,) = rollback(world)
    assert after.rollout is not None
    assert (after.rollout.phase, after.rollout.undo_end) == (Phase.UNDOING, Phase.ROLLED_BACK)
    assert (event.kind, event_text(event)) == ("release.undoing", "hello-v002: rolled back by ann")
    new = after.group(after.rollout.target)
    assert new is not None
    assert new.state is GroupState.RETIRING


def test_undoing_twice_changes_nothing_more() -> None:
    world = released("a")
    world.release("b")
    world.application, _ = rollback(world)
    assert rollback(world) == (world.application, ())
    assert request_abort(world.application, "ann", "", NOW) == (world.application, ())


def test_with_no_older_group_there_is_nothing_to_go_back_to() -> None:
    refused = refusal(lambda: rollback(released("a")))
    assert refused.rule == "nothing-to-roll-back-to"
    assert "release the older version again" in text_of(refused.reason)


def test_a_first_release_can_be_ended_until_it_has_the_traffic() -> None:
    world = World()
    world.release()
    after, _ = request_abort(world.application, "ann", "typo", NOW)
    assert after.rollout is not None
    assert (after.rollout.phase, text_of(after.rollout.undo_reason)) == (
        Phase.UNDOING,
        "aborted by ann: typo",
    )
    world.settle()
    assert world.weights() == {V1: 10_000}
    for command in (lambda: request_abort(world.application, "", "", NOW), lambda: rollback(world)):
        assert refusal(command).rule == "nothing-to-roll-back-to"


def test_only_what_runs_can_be_aborted() -> None:
    refused = refusal(lambda: request_abort(released("a", "b").application, "ann", "", NOW))
    assert refused.rule == "nothing-to-abort"
    assert "repave rollback hello" in text_of(refused.reason)


def test_a_region_that_cannot_be_seen_does_not_stop_a_rollback() -> None:
    world = released("a", "b")
    world.regions[OSLO].sick.add(V1)
    world.settle()
    assert refusal(lambda: rollback(world)).rule == "unhealthy-target"
    world.regions[OSLO].is_connected = False
    after, _ = rollback(world)
    assert after.running is not None


# ------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    "accepted",
    [
        Accepted(ApplicationName("hello"), V2, 7, "rollback"),
        Accepted(ApplicationName("hello"), GroupName(""), 0, "release", is_queued=True),
    ],
)
def test_an_answer_is_the_same_when_it_is_read_from_its_receipt(accepted: Accepted) -> None:
    assert from_text(to_text(accepted)) == accepted


def test_the_answer_names_the_group_that_was_turned_round() -> None:
    world = released("a")
    world.release("b")
    before = world.application
    after, _ = request_abort(before, "", "", NOW)
    assert answer(before, after) == Accepted(HELLO, V2, 2, "release")
    queued = replace(before, queue=(an_order("c"),), queued_total=1)
    assert answer(before, queued).is_queued
