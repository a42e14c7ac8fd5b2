"""Each promise is broken on purpose, by a decision made by hand, and the checker names exactly that one. That
the decisions of `step` never break any is in test_rollout.py."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repave_controller.core.domain.application import (
    Application,
    Decision,
    GroupState,
    Instant,
    Observed,
    RegionView,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.rules.safety import Broken, check
from repave_protos.protocol.values import (
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    Epoch,
    GroupName,
    GroupReport,
)
from tests.fakes.controller.stepping import OSLO, PARIS, World, released

OLD, NEW = GroupName("hello-v001"), GroupName("hello-v002")


@pytest.fixture
def world() -> World:
    """v001 serves, v002 is being verified and none of its hosts has proved itself."""
    world = released("a")
    for region in world.regions.values():
        region.sick.add(NEW)
    world.release("b")
    world.settle()
    return world


@pytest.fixture
def soaking() -> World:
    """v002 has all the traffic and is watched; v001 is the way back."""
    world = released("a")
    world.release("b")
    world.settle()
    assert world.weights() == {NEW: 10_000}
    return world


def broken_by(world: World, after: Application, observed: Observed | None = None) -> list[Broken]:
    """What is broken when `after` follows what the world has decided, published as it is saved."""
    published = tuple(pair for pair in after.desired if pair not in world.application.desired)
    decision = Decision(after, published, (), None, ())
    return check(world.application, decision, observed if observed is not None else world.observed)


def with_groups(
    application: Application, change: Callable[[DesiredGroup], DesiredGroup], **changes: object
) -> Application:
    """Paris is wanted otherwise, under the next epoch."""
    state = application.desired_in(PARIS)
    assert state is not None
    epoch = replace(state.epoch, rev=state.epoch.rev + 1)
    changed = replace(state, groups=tuple(map(change, state.groups)), epoch=epoch, **changes)  # type: ignore[arg-type]  # keyword arguments of the dataclass
    return in_paris(application, changed)


def in_paris(application: Application, state: DesiredState) -> Application:
    return replace(application, desired=application.desired.put((PARIS, state)))


def weights(**weight_bp: int) -> Callable[[DesiredGroup], DesiredGroup]:
    return lambda group: replace(group, weight_bp=weight_bp.get(group.name.replace("hello-", ""), 0))


def counts(name: GroupName, count: int) -> Callable[[DesiredGroup], DesiredGroup]:
    return lambda group: replace(group, count=count) if group.name == name else group


def test_nothing_is_broken_when_nothing_changes(world: World, soaking: World) -> None:
    for each in (world, soaking):
        assert broken_by(each, each.application) == []


def test_promise_1_a_serving_group_keeps_its_size(world: World) -> None:
    world = released("a")
    after = with_groups(world.application, counts(OLD, 2))
    assert broken_by(world, after) == [Broken(1, "paris: hello-v001 serves 100 % with 2 of 3 hosts")]


def test_promise_2_an_unverified_group_gets_no_traffic(world: World) -> None:
    after = with_groups(world.application, weights(v001=9_999, v002=1))
    told = [Broken(2, "paris: hello-v002 is not verified and would get traffic")]
    assert broken_by(world, after) == told
    assert broken_by(world, after, observed={}) == told


def test_promise_2_one_host_too_few_is_not_verified(world: World) -> None:
    after = with_groups(world.application, weights(v002=10_000))
    state = world.application.desired_in(PARIS)
    assert state is not None

    def seen(verified: int) -> Observed:
        report = ApplicationReport(state.application, state.epoch, (GroupReport(NEW, verified=verified),))
        return {PARIS: RegionView(True, report, Instant(0))}

    assert [each.promise for each in broken_by(world, after, seen(2))] == [2]
    assert broken_by(world, after, seen(3)) == []


def test_promise_3_a_group_that_failed_gets_no_more_traffic(soaking: World) -> None:
    before = soaking.application
    failed = next(group for group in before.groups if group.name == NEW)
    for part in failed.parts:
        failed = failed.with_part(replace(part, state=GroupState.RETIRING))
    before = before.with_group(failed)
    before = with_groups(before, weights(v001=9_500, v002=500))
    soaking.application = before
    assert broken_by(soaking, before) == []
    assert broken_by(soaking, with_groups(before, weights(v001=10_000))) == []
    assert broken_by(soaking, with_groups(before, weights(v001=9_000, v002=1_000))) == [
        Broken(3, "paris: hello-v002 is given up and would get traffic")
    ]


@pytest.mark.parametrize("is_forgotten", [True, False])
def test_promise_4_the_group_to_go_back_to_is_not_given_up(soaking: World, is_forgotten: bool) -> None:
    application = soaking.application
    origin = application.group(GroupNumber(1))
    assert origin is not None
    if is_forgotten:
        after = replace(
            application,
            groups=tuple(group for group in application.groups if group != origin),
            desired=ByRegion(
                (name, replace(state, groups=state.groups[1:], spare=None, epoch=Epoch(1, 1, 99)))
                for name, state in application.desired
            ),
        )
        observed: Observed = {}
    else:
        for part in origin.parts:
            origin = origin.with_part(replace(part, state=GroupState.RETIRING))
        after, observed = application.with_group(origin), soaking.observed
    assert broken_by(soaking, after, observed) == [
        Broken(4, f"{region}: the group that it would go back to is given up") for region in (PARIS, OSLO)
    ]


def test_promise_4_the_group_to_go_back_to_keeps_every_host(soaking: World) -> None:
    after = with_groups(soaking.application, counts(OLD, 2))
    assert broken_by(soaking, after) == [
        Broken(4, "paris: the way back, hello-v001, would keep 2 of 3 hosts")
    ]
    state = soaking.application.desired_in(PARIS)
    assert state is not None
    without = replace(state, groups=state.groups[1:], spare=None, epoch=Epoch(1, 1, 99))
    assert broken_by(soaking, in_paris(soaking.application, without)) == [
        Broken(4, "paris: the way back, hello-v001, would keep 0 of 3 hosts")
    ]


def test_promise_5_a_group_with_hosts_is_not_forgotten() -> None:
    world = released("a", "b")
    application = world.application
    state = application.desired_in(PARIS)
    assert state is not None
    after = replace(
        application,
        groups=application.groups[1:],
        desired=ByRegion(
            (name, replace(state, groups=state.groups[1:], spare=None, epoch=Epoch(1, 1, 99)))
            for name, state in application.desired
        ),
    )
    assert broken_by(world, after) == [
        Broken(5, f"{region}: hello-v001 still has hosts and would be forgotten")
        for region, _ in application.groups[0].sizes
    ]
    assert broken_by(world, after, observed={}) == []


def test_promise_5_nothing_runs_that_nobody_owns() -> None:
    world = released("a", "b")
    after = replace(world.application, groups=world.application.groups[1:])
    assert broken_by(world, after, observed={}) == [
        Broken(5, f"{region}: hello-v001 would run without an owner") for region in (OSLO, PARIS)
    ]


@pytest.mark.parametrize(
    "epoch", [Epoch(1, 1, 0), Epoch(0, 9, 9), Epoch(1, 0, 99)], ids=["older rev", "older life", "older term"]
)
def test_promise_7_an_epoch_never_goes_back(epoch: Epoch) -> None:
    world = released("a")
    after = with_groups(world.application, lambda group: group, frontend_port=1)
    state = after.desired_in(PARIS)
    former = world.application.desired_in(PARIS)
    assert state is not None
    assert former is not None
    after = in_paris(after, replace(state, epoch=epoch))
    assert broken_by(world, after) == [Broken(7, f"paris: epoch {epoch} does not follow {former.epoch}")]


def test_promise_7_a_changed_state_has_a_new_epoch() -> None:
    world = released("a")
    former = world.application.desired_in(PARIS)
    assert former is not None
    after = in_paris(world.application, replace(former, frontend_port=1))
    text = f"paris: epoch {former.epoch} does not follow {former.epoch}"
    assert broken_by(world, after) == [Broken(7, text)]


@pytest.mark.parametrize("port", [8000, 0], ids=["open", "closed"])
def test_promise_7_somebody_serves_where_somebody_served(port: int) -> None:
    world = released("a")
    after = with_groups(world.application, weights(), frontend_port=port)
    assert broken_by(world, after) == [Broken(7, "paris: no group would serve")]


@pytest.mark.parametrize("weight_bp", [9_999, 10_001])
def test_promise_7_weights_add_up(weight_bp: int) -> None:
    world = released("a")
    after = with_groups(world.application, weights(v001=weight_bp))
    told = f"paris: weights add up to {weight_bp} basis points, not to 0 or 10000"
    assert broken_by(world, after) == [Broken(7, told)]


def test_promise_7_a_region_hears_what_is_saved() -> None:
    world = released("a")
    state = world.application.desired_in(PARIS)
    assert state is not None
    other = replace(state, frontend_port=9, epoch=Epoch(1, 1, 99))
    decision = Decision(world.application, ((PARIS, other),), (), None, ())
    assert check(world.application, decision, world.observed) == [
        Broken(7, "paris: what would be published is not what would be saved")
    ]
