"""What every play begins with, and what befalls its regions: a play makes a transcript named after it."""

import textwrap
from collections.abc import Callable

from repave_controller.core.commands.promotion import request_promote
from repave_controller.core.commands.rollback import request_rollback
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.steps import Approve
from repave_protos.protocol.values import GroupName, RegionName
from tests.scenarios.world import World

HOUR = 3600
PARIS, OSLO, ROME, LIMA = (RegionName(name) for name in ("paris", "oslo", "rome", "lima"))
OLD, NEW = GroupName("shop-v001"), GroupName("shop-v002")

Play = Callable[[str], World]
PLAYS: dict[str, Play] = {}

WAVES = """\
waves:
  - {regions: [lima], bake: 5m}
  - {regions: [paris, oslo], bake: 2m}
  - {regions: rest}
"""
FOUR = "lima:2, paris:4, oslo:4, rome:4"


def play(made: Play) -> Play:
    PLAYS[made.__name__] = made
    return made


def serving(title: str, text: str, now: int = 0) -> World:
    """A world in which the first release serves; the transcript begins after it."""
    world = World(text, title)
    world.now = now
    world.release("1.1")
    roles = {step.role for step in world.rollout.steps if isinstance(step, Approve)}
    roles |= {wave.approve for wave in world.rollout.waves if wave.approve}
    if roles:
        world.ask("", lambda app, now: request_promote(app, "ann", max(roles), "", now, is_full=True))
    assert world.until_over() is Phase.SUCCEEDED
    world.lines = [
        *textwrap.wrap(title, 100),
        "",
        *(f"    {line}" for line in world.spec_text.splitlines()[7:]),
        "",
    ]
    return world


def title_of(made: Play) -> str:
    return " ".join((made.__doc__ or "").split())


def rollback(world: World, **options):  # type: ignore[no-untyped-def]
    return lambda app, now: request_rollback(app, world.observed, "ann", "", False, now, **options)


def away(world: World, region: RegionName) -> None:
    world.happens(f"the agent of {region} is cut off")
    world.regions[region].is_connected, world.regions[region].since = False, world.now


def back(world: World, region: RegionName) -> None:
    world.happens(f"the agent of {region} is back")
    world.regions[region].is_connected, world.regions[region].since = True, world.now
    world.decide()
    for name, state in world.application.desired:
        if name == region:
            world.regions[region].desired = state


def done(world: World, verb: Verb) -> Refused | None:
    """What a person asks for is carried out, and looked at once; or why it was refused."""
    try:
        world.application, _ = verb.apply(world.application, world.observed, "ann", "so", Instant(world.now))
    except Refused as refused:
        return refused
    world.decide()
    return None
