"""What regions are told: one projection of all regions says of each what its own projection says."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.domain.application import GroupState, Instant, Part, Tenure
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.overlays import Overlay
from repave_controller.core.rollout.desired_state import desired_state, is_published, publish
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_protos.protocol.values import RegionName, contradictions
from tests.fakes.controller.stepping import World, released

PARTS = st.builds(
    Part,
    region=st.just(RegionName("")),
    size=st.integers(1, 3),
    state=st.sampled_from(GroupState),
    percent=st.sampled_from((0.0, 50.0, 100.0)),
    weight_bp=st.sampled_from((0, 2500, 10_000)),
    proven=st.integers(0, 3),
)


OVERLAYS = st.sampled_from((Overlay(), Overlay(environment=(("A", "b"),)), Overlay(machine_image="other")))


@given(st.lists(PARTS, min_size=2, max_size=12), st.lists(OVERLAYS, min_size=12, max_size=12))
def test_regions_that_share_a_projection_are_told_what_they_would_be_told_alone(
    parts: list[Part], overlays: list[Overlay]
) -> None:
    application = released("a").application
    (group,) = application.groups
    placed = ByRegion(replace(part, region=RegionName(f"r{at:02}")) for at, part in enumerate(parts))
    made = ByRegion((part.region, each) for part, each in zip(placed, overlays, strict=False))
    application = replace(
        application, groups=(replace(group, parts=placed, overlays=made),), desired=ByRegion()
    )
    told = publish(application, Tenure(1, 1))
    assert [region for region, _ in told] == [part.region for part in placed if is_published(part)]
    for region, state in told:
        assert state == desired_state(application, region, state.epoch)
        assert state.groups[0].template == dict(made)[region].on(group.template)


def spares(world: World) -> list[str | None]:
    """In each region; what is said is consistent."""
    states = [state for _, state in world.application.desired]
    assert [contradictions(state) for state in states] == [[]] * len(states)
    return [state.spare for state in states]


SHARED = (Weight(2_500, 60.0), Soak(5.0, 60.0))
STEPS = (Scale(100, 60.0), Verify(60.0), *SHARED, Weight(10_000, 60.0), Soak(20.0, 60.0))


def test_what_a_release_takes_the_traffic_from_is_its_spare_until_it_ends() -> None:
    world = released("a")
    world.release("b", steps=STEPS)
    seen = []
    while world.application.running is not None:
        assert len(set(spares(world))) == 1
        seen.append((world.weights().get("hello-v002", 0), spares(world)[0]))
        for region in world.regions.values():
            region.work()
        world.now = Instant(world.now + 2)
        world.decide()
    assert list(dict.fromkeys(seen)) == [(0, None), (2_500, "hello-v001"), (10_000, "hello-v001")]
    assert spares(world) == [None, None]
    assert world.application.groups[0].state is GroupState.WARM


def test_an_application_that_is_not_to_be_protected_has_no_spare() -> None:
    world = released("a")
    world.release("b", steps=STEPS, policy=replace(world.application.policy, protects=False))
    world.settle()
    assert (world.weights(), spares(world)) == ({"hello-v001": 7_500, "hello-v002": 2_500}, [None, None])


def test_a_first_release_has_no_spare() -> None:
    world = World()
    world.release("a")
    world.settle()
    assert world.application.running is not None
    assert spares(world) == [None, None]


def test_a_group_that_is_left_by_going_back_is_never_a_spare() -> None:
    """Neither that of a release that is undone, nor one from which a rollback leads."""
    world = released("a")
    world.release("b", steps=STEPS)
    world.settle()
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    world.settle()
    assert (world.weights(), spares(world)) == ({"hello-v001": 10_000}, [None, None])
    world = released("a", "b")
    world.application, _ = request_rollback(world.application, world.observed, "ann", "", False, world.now)
    while True:
        world.decide()
        assert "hello-v002" not in spares(world)
        if world.application.running is None:
            break
        for region in world.regions.values():
            region.work()
        world.now = Instant(world.now + 2)
    assert (world.weights(), spares(world)) == ({"hello-v001": 10_000}, [None, None])
