"""Where requests go while groups have no server up: to the spare, as a route asks for. Pure.

Clouds answer such requests with an error, or send them to hosts that are down. So the agent itself moves the
weight, as soon as it sees that a group has lost its health, and back when the group has it again.
"""

from collections.abc import Collection
from dataclasses import replace

from repave_agent.core.ports import FallenBack, Route
from repave_protos.protocol.values import GroupName


def in_effect(route: Route, down: Collection[GroupName]) -> Route:
    """The route to give, without a spare.

    9,500 to blue and 500 to green, green is down and blue is the spare: all to blue.
    """
    lost = {each.group for each in fallen(route, down)}
    plain = replace(route, spare=None)
    if route.spare is None or not lost:
        return plain
    shares: dict[GroupName, int] = {}
    for group in (route.first, route.second):
        if group is not None:
            taker = route.spare if group in lost else group
            shares[taker] = shares.get(taker, 0) + route.weight_bp(group)
    testers = route.spare if route.testers in lost else route.testers
    (first, _), *more = shares.items()
    second, second_bp = more[0] if more else (None, 0)
    return Route(route.application, first, second, second_bp, testers)


def fallen(route: Route, down: Collection[GroupName]) -> tuple[FallenBack, ...]:
    """The groups for which the spare answers."""
    spare = route.spare
    if spare is None or spare in down:
        return ()
    asked = [group for group in (route.first, route.second) if group and route.weight_bp(group)]
    asked += [route.testers] if route.testers is not None else []
    groups = dict.fromkeys(group for group in asked if group in down)
    return tuple(FallenBack(route.application, group, spare, 0, is_counted=False) for group in groups)
