"""Rollbacks in the small world of `stepping`, for the tests of more than one file."""

from dataclasses import replace

from repave_controller.core.commands.rollback import request_rollback
from repave_controller.core.domain.application import Policy
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.steps import Retire, Scale, Soak, Verify, Weight
from repave_controller.wording.render import event_text
from repave_protos.protocol.values import GroupName, RegionName
from tests.fakes.controller.stepping import KEEP_SECONDS, World

ROME = RegionName("rome")
V1, V2, V3, V4 = (GroupName(f"hello-v00{number}") for number in (1, 2, 3, 4))
WHOLE = Policy(keep_seconds=KEEP_SECONDS)
REGIONAL = replace(WHOLE, scope="region")
HIGHLANDER = (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(20.0, 60.0), Retire(0.0, 60.0))


def rollback(world: World, *, reason: str = "", force: bool = False, **options: object) -> str:
    """What the event says."""
    application, events = request_rollback(
        world.application,
        world.observed,
        "ann",
        reason,
        force,
        world.now,
        **options,  # type: ignore[arg-type]
    )
    world.application = application
    world.decide()
    return "; ".join(event_text(event) for event in events)


def serves(world: World, region: RegionName) -> str:
    """The version that has all the traffic as the region's balancer has it."""
    (name,) = world.weights(region)
    return next(group.version for group in world.application.groups if group.name == name)


def failed_in(world: World, digest: str, *regions: RegionName) -> None:
    """A release that fails in these regions, and goes back there alone."""
    name = GroupName(f"hello-v{world.application.next_number:03}")
    for region in regions:
        world.regions[region].broken.add(name)
    world.release(digest, policy=REGIONAL)
    world.finish()
    assert world.is_in(Phase.HELD)
