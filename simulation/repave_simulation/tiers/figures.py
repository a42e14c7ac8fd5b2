"""What both tiers assume alike: the bounds of agents, the network's times, what a failed launch says."""

from repave_agent.core.observation import Limits
from repave_agent.core.ports import OutOfCapacityError, ProviderError, TransientError

LIMITS = Limits(launches_in_flight=4, destroys_in_flight=4, unclaimed_grace_seconds=10.0)
RESTART_SECONDS = 2.0  # of an agent that can't begin
LATENCY_SECONDS = 0.005
LATE_SECONDS_MAX = 20.0  # of a message that is overtaken
SENT_KEPT = 200  # desired states of one region that may be delivered once more


def refused_launch(text: str) -> ProviderError:
    """By the fate that ends the text."""
    return OutOfCapacityError(text) if text.endswith("no-room") else TransientError(text)
