"""In which order flavors are tried for a host: those of its spec, else that of the settings; the best first,
but not one that had no room a moment ago. Nova tells that late: it takes an order, and can't build it.
"""

from collections.abc import Callable, Sequence

from repave_agent.core.ports import Clock
from repave_agent.providers.cloud.sizes import SizeChart
from repave_agent.providers.openstack.options import OpenstackOptions

FULL_SECONDS = 300.0
"""So long a flavor is tried last after a server of it could not be built for lack of room."""


class Flavors:
    """`name_of`: what the cloud calls the flavor that is named by name or id."""

    def __init__(self, options: OpenstackOptions, name_of: Callable[[str], str], clock: Clock) -> None:
        self.chart = SizeChart("openstack.sizes", options.sizes, options.usual_flavors)
        self._name_of, self._clock = name_of, clock
        self._full: dict[str, float] = {}  # when that was seen, by name

    def in_turn(self, asked: Sequence[str]) -> list[str]:
        """As specs and settings name them."""
        return sorted(self.chart.sizes(asked), key=self._is_full)

    def fill(self, name: str) -> None:
        """A server of it could not be built for lack of room."""
        self._full[name] = self._clock.monotonic()

    def _is_full(self, named: str) -> bool:
        seen_at = self._full.get(self._name_of(named), float("-inf"))
        return self._clock.monotonic() < seen_at + FULL_SECONDS
