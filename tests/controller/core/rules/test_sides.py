"""Which side of a region can serve, by a table of what both have: the numbers are hosts of ten."""

import pytest

from repave_controller.core.domain.application import RegionView
from repave_controller.core.domain.place import place_of
from repave_controller.core.domain.steps import Step
from repave_controller.core.rules.sides import Sides, sides_of
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_protos.protocol.values import ApplicationReport, GroupReport
from tests.fakes.controller.stepping import HELLO, PARIS, World

SIZE = 10
CANARY = (Scale(30, 60.0), Verify(60.0), Weight(2500, 60.0), Soak(600.0, 60.0))
FLIP = (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(600.0, 60.0))


def in_soak(steps: tuple[Step, ...]) -> World:
    """A second release in its soak, in two regions of ten hosts."""
    world = World()
    world.release("a", size=SIZE)
    world.finish()
    world.release("b", size=SIZE, steps=steps)
    world.settle()
    assert world.application.running is not None
    return world


def judged(world: World, old: int, new: int, new_verified: int | None = None) -> Sides | None:
    rollout = world.application.running
    assert rollout is not None
    track = rollout.track(PARIS)
    state = world.application.desired_in(PARIS)
    assert track is not None
    assert state is not None
    place = place_of(world.application, rollout, track)
    assert place is not None
    assert place.origin is not None
    groups = (
        GroupReport(place.origin.group.name, verified=old, balancer_up=old),
        GroupReport(
            place.target.group.name, verified=new if new_verified is None else new_verified, balancer_up=new
        ),
    )
    report = ApplicationReport(HELLO, state.epoch, groups)
    return sides_of(place, {PARIS: RegionView(True, report)})


@pytest.mark.parametrize(
    ("old", "new", "goes_to"),
    [
        (10, 3, None),
        (9, 3, None),  # one is being replaced
        (4, 3, None),  # half of the 8 that its share needs
        (3, 3, None),  # too few for its share, but the other could not carry all of it
        (0, 3, "new"),  # its requests fail
        (0, 2, None),  # 3 would be needed to be proven
        (10, 0, "old"),
        (1, 0, "old"),
        (0, 0, None),
    ],
)
def test_a_side_that_cannot_serve_loses_its_share_to_one_that_can(
    old: int, new: int, goes_to: str | None
) -> None:
    sides = judged(in_soak(CANARY), old, new)
    assert sides is not None
    expected = {"new": sides.target, "old": sides.origin, None: None}[goes_to]
    assert sides.refuge is expected


def test_a_side_that_has_grown_to_full_size_takes_what_a_crippled_one_cannot_carry() -> None:
    sides = judged(in_soak(CANARY), 3, 10)
    assert sides is not None
    assert sides.refuge is sides.target


def test_what_only_the_balancer_says_moves_no_traffic() -> None:
    """A balancer that was just started has checked the servers of one group before those of the other."""
    sides = judged(in_soak(CANARY), 10, 0, new_verified=3)
    assert sides is not None
    assert sides.refuge is None


@pytest.mark.parametrize(
    ("old", "new", "is_unsafe", "larger"),
    [
        (10, 9, False, "old"),  # whole: it goes back
        (2, 9, True, "new"),
        (9, 2, True, "old"),
        (5, 5, True, "old"),
        (9, 0, False, "old"),  # nothing to lose
        (0, 0, False, "old"),
    ],
)
def test_going_back_is_safe_where_the_old_group_is_whole(
    old: int, new: int, is_unsafe: bool, larger: str
) -> None:
    sides = judged(in_soak(FLIP), old, new)
    assert sides is not None
    assert sides.neither_is_whole is is_unsafe
    assert sides.larger is (sides.target if larger == "new" else sides.origin)
