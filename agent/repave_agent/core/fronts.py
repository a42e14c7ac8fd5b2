"""Chooses the fronts of an application while its groups differ in them, as one release adds or removes some.

Pure. Each group has its own, from the spec that it was released with. The main front is always there. Another
one opens once every group with traffic knows it, so that no client meets a group that does not; and it stays
open as long as any of them does, so that a release that removes one takes it from nobody before the switch. A
rollback brings back what was.
"""

from repave_agent.core.ports import Frontend
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.values import DesiredGroup, DesiredState


def fronts_of(state: DesiredState, present: Frontend | None) -> tuple[TrafficFront, ...]:
    """The main one first; () where that is plain and alone. `present`: what is open now.

    5 % of the traffic are the new group's, whose release adds `admin` and leaves out `chat`: `admin` stays
    closed, `chat` open. At 100 %: the other way around.
    """
    groups = _by_traffic(state)
    if not any(group.template.fronts for group in groups):
        return ()
    of_each = [group.template.fronts or (plain_front(state.frontend_port),) for group in groups]
    main, named = of_each[0][0], [{front.name: front for front in fronts[1:]} for fronts in of_each]
    names = dict.fromkeys(name for fronts in named for name in fronts)
    open_now = {front.name for front in present.fronts[1:]} if present is not None else set()
    chosen = [
        next(fronts[name] for fronts in named if name in fronts)
        for name in names
        if name in open_now or all(name in fronts for fronts in named)
    ]
    fronts = (main, *chosen)
    return () if fronts == (plain_front(state.frontend_port),) else fronts


def _by_traffic(state: DesiredState) -> list[DesiredGroup]:
    """Those with traffic, the one with most of it first; before there is any, the newest group."""
    sharing = [group for group in state.groups if group.weight_bp > 0]
    running = [group for group in state.groups if group.count > 0]
    return sorted(sharing, key=lambda group: -group.weight_bp) or running[-1:]
