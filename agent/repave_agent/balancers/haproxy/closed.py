"""Remembers how many connections were closed to groups that left HAProxy, of the newest groups. Pure."""

from collections.abc import Iterable

from repave_agent.core.ports import Closed
from repave_protos.protocol.values import GroupName

GROUPS_MAX = 100


class ClosedConnections:
    """Since the agent began."""

    def __init__(self) -> None:
        self._by_group: dict[GroupName, int] = {}  # the one that had some last comes last

    def add(self, groups: Iterable[GroupName]) -> None:
        """The group of each connection that was closed."""
        for group in groups:
            self._by_group[group] = self._by_group.pop(group, 0) + 1
        for group in list(self._by_group)[:-GROUPS_MAX]:
            del self._by_group[group]

    @property
    def told(self) -> tuple[Closed, ...]:
        return tuple(Closed(group, count) for group, count in self._by_group.items())
