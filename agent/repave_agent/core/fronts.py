"""Chooses the fronts of an application while its groups differ in them, as one release adds or removes some.

Pure. Each group has its own, from the spec that it was released with. The main front is always there. Another
one opens once every group with traffic knows it, so that no client meets a group that does not; and it stays
open as long as any of them does, so that a release that removes one takes it from nobody before the switch. A
rollback brings back what was.

What has traffic is what the balancer says, not only what is desired: a switch may be held back, or fail.
"""

from collections.abc import Sequence

from repave_agent.core.ports import Frontend, Route
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.values import DesiredGroup, DesiredState


def fronts_of(
    state: DesiredState, open_now: Frontend | None, present: Route | None, given: Route | None
) -> tuple[TrafficFront, ...]:
    """The main one first; () where that is plain and alone. `present`: the split as the balancer has it.
    `given`: as it is about to be.

    5 % of the traffic are the new group's, whose release adds `admin` and leaves out `chat`: `admin` stays
    closed, `chat` open. Once the balancer has 100 %: the other way around.
    """
    if open_now is not None and present is None and open_now.port == state.frontend_port:
        return open_now.fronts  # which group has the traffic is not known, or none has
    groups = _by_traffic(state, [route for route in (present, given) if route is not None])
    if not any(group.template.fronts for group in groups):
        return ()
    of_each = [group.template.fronts or (plain_front(state.frontend_port),) for group in groups]
    main, named = of_each[0][0], [{front.name: front for front in fronts[1:]} for fronts in of_each]
    names = dict.fromkeys(name for fronts in named for name in fronts)
    known = {front.name for front in open_now.fronts[1:]} if open_now is not None else set()
    chosen = [
        next(fronts[name] for fronts in named if name in fronts)
        for name in names
        if name in known or all(name in fronts for fronts in named)
    ]
    fronts = (main, *chosen)
    return () if fronts == (plain_front(state.frontend_port),) else fronts


def _by_traffic(state: DesiredState, routes: Sequence[Route]) -> list[DesiredGroup]:
    """Those with traffic now or soon, the one with most of it first; before there is any, the newest one."""
    sharing = [group for group in state.groups if any(route.weight_bp(group.name) for route in routes)]
    running = [group for group in state.groups if group.count > 0]
    by_share = sorted(sharing, key=lambda group: [-route.weight_bp(group.name) for route in routes])
    return by_share or running[-1:]
