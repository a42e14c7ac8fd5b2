"""The metrics of one agent, put together: what is counted, and what is read when Prometheus asks.

Labels are applications and words of ours; hosts and groups are in none: those come and go for ever.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import Histogram, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from repave_agent.core.ports import BalancerView
from repave_protos.daemon.metrics import CALL_BUCKETS, Disk, Exposition, LoopLag, folder_bytes, gauge, single


@dataclass(frozen=True, slots=True)
class Now:
    """What an agent says of itself when it is asked. `hosts`: (application, phase) and how many.
    `expires_at`: of its certificate; None: it has none. `certificates`: (application, front), and when what
    clients are shown there ends."""

    region: str
    is_connected: bool
    is_starting: bool
    troubles: int
    hosts: Iterable[tuple[tuple[str, ...], float]]
    balancer: BalancerView | None
    expires_at: float | None
    certificates: Iterable[tuple[tuple[str, ...], float]] = ()


@dataclass(slots=True)
class Metrics:
    """One for an agent."""

    registry: CollectorRegistry
    state: Path
    seconds: Callable[[], float]
    lag: LoopLag = field(init=False)
    decisions: Histogram = field(init=False)
    _cached: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        self.lag = LoopLag(self.registry, self.seconds)
        self.decisions = Histogram(
            "repave_agent_reconcile_duration_seconds",
            "How long it took to compare what is with what shall be, and to choose what to do.",
            registry=self.registry,
            buckets=CALL_BUCKETS,
        )
        Disk(self.state, self.registry)

    def read(self, now: Callable[[], Now]) -> None:
        """Once."""
        self.registry.register(_State(now, lambda: self._cached))

    def _look(self) -> None:
        self._cached = folder_bytes(self.state / "images", "*.tar.gz")

    @property
    def exposition(self) -> Exposition:
        return Exposition(self.registry, self._look)


@dataclass(frozen=True, slots=True, eq=False)
class _State(Collector):
    now: Callable[[], Now]
    cached: Callable[[], tuple[int, int]]

    def collect(self) -> Iterator[Metric]:
        now = self.now()
        yield gauge(
            "repave_agent_connected",
            "1: the stream to the controller is open.",
            ("region",),
            [((now.region,), now.is_connected)],
        )
        yield single("repave_agent_starting", "1: the agent can't act yet.", now.is_starting)
        yield single(
            "repave_agent_troubles",
            "What is wrong with the region as a whole; repave doctor tells it.",
            now.troubles,
        )
        yield gauge("repave_agent_hosts", "Hosts, by how far they are.", ("application", "phase"), now.hosts)
        if now.expires_at is not None:
            yield single(
                "repave_agent_own_certificate_expiry_timestamp_seconds",
                "When the agent's certificate ends.",
                now.expires_at,
            )
        yield gauge(
            "repave_agent_front_certificate_expiry_timestamp_seconds",
            "When the certificate ends that clients are shown.",
            ("application", "front"),
            now.certificates,
        )
        packages, size_bytes = self.cached()
        yield single("repave_agent_packages", "Packages in the agent's cache.", packages)
        yield single("repave_agent_packages_size_bytes", "Bytes of these packages.", size_bytes)
        if now.balancer is not None:
            yield from _balancer(now.balancer)


def _balancer(view: BalancerView) -> Iterator[Metric]:
    yield single("repave_agent_balancer_running", "1: the balancer runs.", view.is_running)
    yield single(
        "repave_agent_balancer_old_workers",
        "Workers that finish their last connections after a reload.",
        view.old_workers,
    )
    yield single(
        "repave_agent_balancer_restarts",
        "How often it was found dead and started again since the agent began.",
        view.restarts,
    )
