"""What every command to an application has in common that was released before: a value, beside its rule.

The verbs are in `release.py` and `steering.py`. A release is none: it comes with an order, and may be the
first.
"""

from typing import Protocol

from repave_controller.core.domain.application import Application, Instant, Observed, Outcome


class Verb(Protocol):
    """A frozen dataclass: what is asked, with its options."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        """What it makes of the application. Raises Refused, with a verb that would fit where there is one."""
