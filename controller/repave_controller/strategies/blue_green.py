"""Blue/green (also called red/black) as steps: the whole new group beside the old one, one flip, a soak."""

from repave_controller.model import Scale, Soak, Step, Verify, Weight
from repave_protos.values import FULL_WEIGHT_BP

MARGIN_SECONDS = 30.0
"""For reports to arrive, and for an agent that connects again, on top of what a step takes by itself."""
WEIGHT_DEADLINE_SECONDS = 60.0


def steps(
    launch_deadline_seconds: float, min_healthy_seconds: float, warm_seconds: float
) -> tuple[Step, ...]:
    """The steps of a blue/green release; the soak lasts `warm_seconds`.

    A deadline counts from the last progress. A host is healthy within `launch_deadline_seconds` and proven
    `min_healthy_seconds` later, or it never will be, so that is how long nothing may happen in the first two
    steps. The soak ends by itself: its deadline only bounds how long a region may stay unheard at its end.
    """
    proven_seconds = launch_deadline_seconds + min_healthy_seconds + MARGIN_SECONDS
    return (
        Scale(100, proven_seconds),
        Verify(proven_seconds),
        Weight(FULL_WEIGHT_BP, WEIGHT_DEADLINE_SECONDS),
        Soak(warm_seconds, warm_seconds + MARGIN_SECONDS),
    )
