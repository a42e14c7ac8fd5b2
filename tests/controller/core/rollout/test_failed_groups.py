"""What becomes of a group that failed: its hosts are kept to be looked at, for as long as the spec says."""

from dataclasses import replace

import pytest

from repave_controller.core.commands.lifecycle import Delete, RetireGroup
from repave_controller.core.commands.release import WhileBusy, request_release
from repave_controller.core.commands.renewal import request_taint
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort, Resize
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import GroupState, Instant, Policy
from repave_controller.core.domain.limits import load_of
from repave_controller.core.domain.reasons import Why
from repave_controller.core.planning.plan import plan_release
from repave_controller.core.rollout.step import after_suspension
from repave_controller.stores.codec import decode_application, encode_application
from repave_protos.protocol.values import GroupName, HostName
from tests.fakes.controller.stepping import KEEP_SECONDS, OSLO, PARIS, World, an_order
from tests.support.refusals import refused

KEPT_SECONDS = 500.0
POLICY = Policy(keep_seconds=KEEP_SECONDS, keep_failed_seconds=KEPT_SECONDS)
FAILED = GroupName("hello-v002")


def failed(**changes: object) -> World:
    """A world in which a release has failed in its soak, and the one before serves."""
    world = World()
    world.release("a", policy=POLICY)
    world.finish()
    world.release("b", policy=replace(POLICY, **changes))  # type: ignore[arg-type]
    world.settle()
    world.regions[OSLO].sick.add(FAILED)
    world.decide()
    world.settle()
    return world


def ask(world: World, verb: Verb) -> None:
    world.application, _ = verb.apply(world.application, world.observed, "ann", "", world.now)
    world.decide()


def state_of(world: World, name: str = FAILED) -> GroupState | None:
    return next((group.state for group in world.application.groups if group.name == name), None)


def asked(world: World, name: str = FAILED) -> list[tuple[int, int, bool]]:
    """What the regions are to have of the group: hosts, share, whether it is left alone."""
    states = [state for _, state in world.application.desired]
    return [
        (each.count, each.weight_bp, each.keeps_failed)
        for state in states
        if (each := state.group(GroupName(name))) is not None
    ]


def test_the_hosts_of_a_release_that_went_back_are_left_alone_out_of_traffic() -> None:
    world = failed()
    assert state_of(world) is GroupState.FAILED
    assert asked(world) == [(0, 0, True)] * 2
    assert [region.present[FAILED] for region in world.regions.values()] == [3, 3]
    assert "group.kept" in world.kinds
    (kept,) = [each for each in world.because if each.reason.kind is Why.KEPT_FAILED]
    assert kept.since is not None
    assert kept.until == kept.since + KEPT_SECONDS


def test_they_end_when_their_time_is_over_also_while_another_release_runs() -> None:
    world = failed()
    world.release("c", policy=POLICY)
    world.settle()
    assert world.application.running is not None
    world.now = Instant(world.now + KEPT_SECONDS)
    world.decide()
    assert state_of(world) is GroupState.RETIRING
    world.finish()
    world.settle()
    assert state_of(world) is None


def test_without_the_option_they_end_at_once() -> None:
    world = failed(keep_failed_seconds=0.0)
    assert state_of(world) is None
    assert "group.kept" not in world.kinds


@pytest.mark.parametrize("ends", [Abort(), Abort(OSLO), Rollback()])
def test_the_same_holds_for_a_release_that_people_take_back(ends: Verb) -> None:
    world = World()
    world.release("a", policy=POLICY)
    world.finish()
    world.release("b", policy=POLICY)
    world.settle()
    ask(world, ends)
    part = next(group.part(OSLO) for group in world.application.groups if group.name == FAILED)
    assert part is not None
    assert part.state is GroupState.FAILED


def test_one_that_a_newer_release_takes_the_place_of_is_not_kept() -> None:
    world = World()
    world.release("a", policy=POLICY)
    world.finish()
    world.release("b", policy=POLICY)
    world.settle()
    order = an_order("c", policy=POLICY)
    world.application, _ = request_release(world.application, order, WhileBusy(replaces=True), world.now)
    world.decide()
    assert state_of(world) in (GroupState.RETIRING, None)


def test_only_the_last_one_that_failed_is_kept() -> None:
    world = failed()
    world.now = Instant(world.now + 10.0)
    world.release("c", policy=POLICY)
    world.settle()
    ask(world, Abort())
    world.settle()
    assert state_of(world) is None
    assert state_of(world, "hello-v003") is GroupState.FAILED


def test_no_rollback_goes_to_it() -> None:
    world = failed()
    with refused("nothing|gone back|no other"):
        ask(world, Rollback())
    for to in ("b", FAILED):
        with refused("hello-v002 failed .*: repave groups retire hello hello-v002"):
            ask(world, Rollback(to))
    world.release("c", policy=POLICY)
    world.finish()
    ask(world, Rollback())
    world.finish()
    serving = world.application.group(world.application.serving)
    assert serving is not None
    assert serving.version == "a"
    with refused("hello-v002 failed in oslo, paris"):
        ask(world, Rollback("b"))


def test_people_may_end_it_early_and_it_is_not_built_again() -> None:
    world = failed()
    ask(world, RetireGroup("b"))
    world.settle()
    assert state_of(world) is None
    assert world.application.past == ()
    ask(world, Delete())
    world.settle()
    assert world.application.is_gone


def test_nothing_makes_hosts_of_it() -> None:
    world = failed()
    with refused("is kept as it is .*: repave groups retire hello hello-v002"):
        request_taint(world.application, FAILED, OSLO, HostName("h"), "ann", "", world.now)
    ask(world, Resize(((PARIS, 9),)))
    assert asked(world) == [(0, 0, True)] * 2


def test_a_release_knows_of_its_hosts() -> None:
    world = failed()
    order = an_order("c", policy=POLICY)
    plan = plan_release(world.application, order, world.observed, world.now)
    assert (plan.failed, plan.keep_failed_seconds) == ((FAILED,), KEPT_SECONDS)
    assert [region.peak for region in plan.regions] == [9, 9]
    assert load_of([world.application]).extra_hosts == 6
    world.release("c", policy=POLICY, gives_way=(OSLO,))
    group = next(group for group in world.application.groups if group.name == FAILED)
    parts = {part.region: part.state for part in group.parts}
    assert parts == {OSLO: GroupState.RETIRING, PARIS: GroupState.FAILED}


def test_it_survives_a_controller_that_is_started_again() -> None:
    world = failed()
    before = asked(world)
    world.application = after_suspension(
        decode_application(encode_application(world.application)), Instant(world.now + 60.0)
    )
    world.decide()
    assert state_of(world) is GroupState.FAILED
    assert asked(world) == before
