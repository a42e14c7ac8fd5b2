"""The metrics of one controller, put together: what is counted, what is read, and how it is given out."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog
from prometheus_client.registry import CollectorRegistry

from repave_controller.core.analysis.values import Outcome
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Store, Transaction
from repave_controller.core.rules.looks import DueLook
from repave_controller.fleet.sessions import Sessions
from repave_controller.metrics.company import OfCompany
from repave_controller.metrics.ledger import Ledger
from repave_controller.metrics.looks import LooksMade
from repave_controller.metrics.scaling import OfScaling
from repave_controller.metrics.state import PackageUsage, Refused, State
from repave_controller.metrics.store import MeasuredStore
from repave_controller.metrics.traces import RolloutTraces
from repave_controller.peers.company import Company
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.daemon.metrics import Disk, Exposition, LoopLag
from repave_protos.protocol.values import ApplicationName, RegionName

log = structlog.get_logger()

REFUSALS = ("not-signed-in", "too-many-requests", "denied")


@dataclass(slots=True)
class Metrics:
    """`refused` is counted by the API."""

    registry: CollectorRegistry
    clock: Callable[[], Instant]
    state: Path
    refused: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(REFUSALS, 0)))
    traces: RolloutTraces | None = None  # where they are told
    lag: LoopLag = field(init=False)
    ledger: Ledger = field(init=False)
    looks: LooksMade = field(init=False)
    _usage: PackageUsage = field(init=False)

    def __post_init__(self) -> None:
        self.lag = LoopLag(self.registry, self.clock)
        self.ledger = Ledger(self.registry, self.clock)
        self.looks = LooksMade(self.registry)
        self._usage = PackageUsage(self.state / "images")
        Disk(self.state, self.registry)
        self.registry.register(Refused(self.refused))

    def measured(self, store: Store) -> MeasuredStore:
        return MeasuredStore(store, self.registry, self._committed, self.ledger.received, self.clock)

    def _committed(self, transaction: Transaction) -> None:
        self.ledger.committed(transaction)
        if self.traces is not None:
            self.traces.committed(transaction)

    def looked(self, application: ApplicationName, look: DueLook, outcome: Outcome, seconds: float) -> None:
        """A look at a new group was saved."""
        self.looks.tell(outcome, seconds)
        if self.traces is not None:
            self.traces.looked(application, look, outcome, seconds)

    def read(
        self,
        scheduler: Scheduler,
        sessions: Sessions,
        expiries: Callable[[], Mapping[str, float]] = dict,
        agents: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """Once, when these are there."""
        self.registry.register(State(scheduler, sessions, self.clock, self._usage, expiries, agents))

    def read_company(self, company: Company) -> None:
        """Once, when it is there."""
        self.registry.register(OfCompany(company))

    def read_scaling(
        self, scheduler: Scheduler, needed: Mapping[tuple[ApplicationName, RegionName], float]
    ) -> None:
        """Once, when these are there."""
        self.registry.register(OfScaling(scheduler, needed))

    async def recall(self, store: Store, applications: Mapping[ApplicationName, Application]) -> None:
        """Counts the history, as far back as is read, once."""
        try:
            await self.ledger.recall(store, applications)
        except Exception:  # the root of its task: the figures begin anew, and nothing else depends on them
            log.exception("metrics.history_not_read")

    @property
    def exposition(self) -> Exposition:
        return Exposition(self.registry, self._usage.look)
