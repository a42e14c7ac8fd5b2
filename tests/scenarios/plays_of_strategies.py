"""Plays: each strategy from its first step to its end."""

from repave_controller.core.commands.promotion import request_promote
from repave_controller.core.domain.rollout import Phase
from tests.scenarios.specs import spec
from tests.scenarios.stage import play, rollback, serving
from tests.scenarios.world import World


@play
def blue_green(title: str) -> World:
    """Blue/green: the whole new group beside the old one, one flip in all regions together, a soak."""
    world = serving(title, spec("{blue_green: {warm: 2m}}", extra="rollback: {keep: {for: 10m}}\n"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_told("group.destroyed")
    return world


@play
def canary(title: str) -> World:
    """Canary: at each share of the traffic the new group has the hosts for it and 20 % more; all regions have
    a share before any takes the next (ask 1)."""
    steps = "[{traffic: 1%, hold: 5m}, {traffic: 25%, hold: 5m, approve: sre}]"
    world = serving(title, spec(f"{{canary: {{steps: {steps}}}}}"))
    world.release("1.2")
    world.until(lambda each: "approve" in str(each.rollout.steps[each.rollout.cursor].kind))
    world.why()
    world.ask("bob: repave promote", lambda app, now: request_promote(app, "bob", "", "", now))
    world.ask(
        "bob: repave promote --role sre",
        lambda app, now: request_promote(app, "bob", "sre", "looks good", now),
    )
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def rolling(title: str) -> World:
    """Rolling: old hosts go as new ones come; the floor is kept."""
    steps = "[{traffic: 25%}, {traffic: 50%, hold: 1m}, {traffic: 100%}]"
    world = serving(title, spec(f"{{rolling: {{steps: {steps}}}}}", extra="guards: {max_surge: 50%}\n"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world


@play
def rolling_on_two_hosts(title: str) -> World:
    """Rolling on two hosts that are all there is: old ones go first, one always serves; it stops after the
    first host for a person (ask 6)."""
    strategy = "{rolling: {first: old, steps: [{traffic: 50%, approve: ''}, {traffic: 100%}]}}"
    strategy = strategy.replace("''", "anybody")
    extra = "guards: {min_capacity: 50%, max_surge: 0%}\n"
    world = serving(title, spec(strategy, "paris:2", extra))
    world.release("1.2")
    world.until(lambda each: "approve" in str(each.rollout.steps[each.rollout.cursor].kind))
    world.run(30)
    world.ask(
        "bob: repave promote --role anybody",
        lambda app, now: request_promote(app, "bob", "anybody", "", now),
    )
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world


@play
def phased(title: str) -> World:
    """Phased: all new hosts first, then growing shares of the traffic."""
    world = serving(title, spec("{phased: {steps: [{traffic: 10%, hold: 1m}, {traffic: 50%, hold: 1m}]}}"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def highlander(title: str) -> World:
    """Highlander: as blue/green, and nothing of the old group is kept; a rollback builds it again from its
    image (ask 9)."""
    world = serving(title, spec("{highlander: {warm: 1m}}"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    world.ask("ann: repave rollback", rollback(world))
    assert world.until_over() is Phase.SUCCEEDED
    return world


@play
def own_steps(title: str) -> World:
    """A list of one's own: one host first, half of the traffic, the old group kept for a while, then gone."""
    steps = (
        "\n  steps:\n    - scale: 1\n    - verify: {}\n    - soak: 30s\n    - scale: 100%\n    - verify: {}\n"
        "    - weight: 50%\n    - soak: 1m\n    - weight: 100%\n    - keep: 2m\n    - retire: 0%"
    )
    world = serving(title, spec(steps, "paris:4"))
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED
    world.until_cleaned()
    return world
