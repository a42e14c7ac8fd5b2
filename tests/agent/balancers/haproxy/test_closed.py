"""Connections that were closed are remembered of the newest groups, however many groups there ever were."""

from repave_agent.balancers.haproxy.closed import GROUPS_MAX, ClosedConnections
from repave_agent.core.ports import Closed
from repave_protos.protocol.values import GroupName


def test_what_was_closed_is_added_up_by_group_and_forgotten_of_old_ones() -> None:
    closed = ClosedConnections()
    names = [GroupName(f"shop-v{number:03}") for number in range(GROUPS_MAX + 5)]
    for name in names:
        closed.add([name, name])
        closed.add([names[0]])
    assert len(closed.told) == GROUPS_MAX
    assert closed.told[-1] == Closed(names[0], len(names) + 2), "it had some last"
    assert names[1] not in [each.group for each in closed.told]
