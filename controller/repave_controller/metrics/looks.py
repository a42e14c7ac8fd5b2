"""What looks of analyses came to, and how long they took: counted as they are saved."""

from prometheus_client import Counter, Histogram
from prometheus_client.registry import CollectorRegistry

from repave_controller.core.analysis.values import Outcome
from repave_protos.daemon.metrics import CALL_BUCKETS


class LooksMade:
    """One for a controller."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._looks = Counter(
            "repave_analysis_looks", "Looks at new groups, by what they found", ["outcome"], registry=registry
        )
        self._seconds = Histogram(
            "repave_analysis_look_duration_seconds",
            "From when a look is due until what it found is saved",
            buckets=CALL_BUCKETS,
            registry=registry,
        )
        for outcome in Outcome:
            self._looks.labels(str(outcome))

    def tell(self, outcome: Outcome, seconds: float) -> None:
        self._looks.labels(str(outcome)).inc()
        self._seconds.observe(seconds)
