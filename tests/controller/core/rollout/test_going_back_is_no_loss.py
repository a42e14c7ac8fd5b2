"""A region does not go back to a group that has fewer hosts up than the one that serves, unless it lacks no
more than is replaced by the way: whatever is ill in two regions, and whatever makes them go back."""

from copy import deepcopy
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.core.commands.release import WhileBusy, request_release
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.rollout import Phase
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.values import FULL_WEIGHT_BP, Digest, GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.world import World

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
OLD, NEW = GroupName("shop-v001"), GroupName("shop-v002")
SIZE, ENOUGH = 10, 9
VERBS: dict[str, Verb] = {
    "rollback": Rollback(),
    "rollback --now": Rollback(at_once=True),
    "rollback --force": Rollback(force=True),
    "abort": Abort(),
    "abort paris": Abort(PARIS),
}


def in_soak(extra: str = "") -> World:
    """All traffic is with the new group, and the old one runs in full beside it."""
    return deepcopy(_in_soak(extra))


@cache
def _in_soak(extra: str) -> World:
    world = World(spec("{blue_green: {warm: 1h}}", f"paris:{SIZE}, oslo:{SIZE}", extra), "")
    world.release("1.1")
    world.until_over()
    world.release("1.2")
    world.until(lambda each: each.weights("paris") == {NEW: FULL_WEIGHT_BP})
    world.run(2)
    return world


def ask(world: World, asked: str) -> None:
    if asked == "replace":
        order, busy = compile_order(world.spec, Digest("3" * 64), "1.3", "ann"), WhileBusy(replaces=True)
        world.ask(asked, lambda app, now: request_release(app, order, busy, now, world.observed))
    elif asked:
        world.ask(asked, lambda app, now: VERBS[asked].apply(app, world.observed, "ann", "it lies", now))


ill = st.sampled_from((0, 0, 1, 2, 5, 8, 10))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(("", "rollback", "abort", "abort paris", "replace")),
    st.sampled_from(("release", "wave", "region")),
    st.fixed_dictionaries({PARIS: st.tuples(ill, ill), OSLO: st.tuples(ill, ill)}),
)
def test_no_region_goes_back_to_fewer_hosts(
    asked: str, scope: str, troubles: dict[RegionName, tuple[int, int]]
) -> None:
    world = in_soak(f"rollback: {{scope: {scope}}}\n")
    for region, (old, new) in troubles.items():
        world.regions[region].ill = {OLD: old, NEW: new}
    ask(world, asked)
    world.run(10)
    for region, (old, new) in troubles.items():
        if world.weights(region) == {OLD: FULL_WEIGHT_BP}:
            assert SIZE - old >= min(SIZE - new, ENOUGH), world.transcript()


@settings(max_examples=8, deadline=None)
@given(st.sampled_from(("rollback", "abort", "replace")), st.sampled_from((2, 5, 10)))
def test_it_goes_back_once_the_old_hosts_are_well(asked: str, old: int) -> None:
    world = in_soak()
    world.regions[PARIS].ill[OLD] = old
    ask(world, asked)
    world.run(60)
    assert (world.weights("paris"), world.weights("oslo")) == ({NEW: 10_000}, {OLD: 10_000})
    world.regions[PARIS].ill.clear()
    world.run(1)
    assert world.weights("paris") == {OLD: FULL_WEIGHT_BP}
    world.run(60)
    assert (world.rollout.version == "1.3") == (asked == "replace")


def test_it_goes_back_at_once_when_a_person_says_so() -> None:
    for hasty in ("rollback --now", "rollback --force"):
        world = in_soak()
        world.regions[PARIS].ill[OLD] = SIZE
        ask(world, hasty)
        assert world.weights("paris") == {OLD: FULL_WEIGHT_BP}
    world = in_soak()
    world.regions[PARIS].ill[OLD] = SIZE
    ask(world, "abort")
    world.run(10)
    world.why()
    assert "0 of 10 are up" in world.lines[-1]
    assert "repave rollback shop --now" in world.lines[-1]
    ask(world, "rollback --now")
    world.run(1)
    assert world.weights("paris") == {OLD: FULL_WEIGHT_BP}


def test_what_never_comes_back_ends_held_with_the_group_that_serves() -> None:
    world = in_soak()
    world.regions[PARIS].ill[OLD] = SIZE
    ask(world, "rollback")
    assert world.until_over() is Phase.HELD
    assert (world.weights("paris"), world.weights("oslo")) == ({NEW: 10_000}, {OLD: 10_000})
    world.regions[PARIS].ill.clear()
    ask(world, "rollback")
    assert world.until_over() is Phase.SUCCEEDED
    assert (world.weights("paris"), world.weights("oslo")) == ({OLD: 10_000}, {OLD: 10_000})


def test_only_the_region_that_failed_goes_back_where_others_would_lose_hosts() -> None:
    world = in_soak()
    world.regions[PARIS].ill[OLD] = 8
    world.regions[OSLO].ill[NEW] = 3
    world.run(5)
    assert (world.weights("paris"), world.weights("oslo")) == ({NEW: 10_000}, {OLD: 10_000})
    pause = world.rollout.pause
    assert pause is not None
    assert pause.is_hold
    world.regions[PARIS].ill.clear()
    ask(world, "rollback")
    assert world.until_over() is Phase.ROLLED_BACK
