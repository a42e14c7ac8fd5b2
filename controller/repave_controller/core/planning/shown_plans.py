"""Remembers the plans that were shown of late: to say, of one that does not hold any more, what has changed.

In memory and bounded: after a restart the refusal is the same and only less exact.
"""

from repave_controller.core.domain.application import Application, ReleaseOrder
from repave_controller.core.domain.reasons import Refusal, Refused, cli
from repave_controller.core.planning.plan import plan_id, plan_parts

PLANS_REMEMBERED_MAX = 100
READABLE = (
    "the version",
    "who serves",
    "the number of the next group",
    "what is being rolled out",
    "the queue",
)
"""Parts that are told with their values; the others are digests."""


class ShownPlans:
    """The parts of each plan by its id, oldest first."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[str, str]] = {}

    def remember(self, application: Application, order: ReleaseOrder) -> None:
        """A client is shown what releasing `order` would do now."""
        plan = plan_id(application, order)
        self._parts.pop(plan, None)
        self._parts[plan] = plan_parts(application, order)
        while len(self._parts) > PLANS_REMEMBERED_MAX:
            del self._parts[next(iter(self._parts))]

    def check(self, plan: str, application: Application, order: ReleaseOrder) -> None:
        """Releasing `order` now does what the plan said. Raises Refused, with what has changed since."""
        plan = plan.upper()
        if plan == plan_id(application, order):
            return
        was, now = self._parts.get(plan, {}), plan_parts(application, order)
        raise Refused(Refusal.PLAN_CHANGED, cli("plan"), plan=plan, changes=_changes(was, now))


def _changes(was: dict[str, str], now: dict[str, str]) -> tuple[str, ...]:
    return tuple(_change(label, was[label], now[label]) for label in was if was[label] != now[label])


def _change(label: str, was: str, now: str) -> str:
    return f"{label} ({was} -> {now})" if label in READABLE else label
