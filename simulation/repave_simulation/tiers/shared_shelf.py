"""What outlives all controllers that share one store in memory, with the clock of its database."""

from collections.abc import Callable
from dataclasses import dataclass, field

from repave_controller.peers.ports import (
    ControllerId,
    Held,
    Letter,
    RegionRow,
    ReportRow,
    Shard,
)
from repave_protos.protocol.values import ApplicationName, RegionName
from repave_simulation.tiers.shared_members import Roster
from repave_simulation.tiers.store import Shelf


@dataclass(frozen=True, slots=True)
class Changed:
    """When a row was changed last, and by the store of which controller."""

    change: int
    by: ControllerId


@dataclass
class SharedShelf(Shelf):
    """`clock` is that of the database. Rows have the counter's value at which they were changed last."""

    clock: Callable[[], float] = lambda: 0.0
    change: int = 0
    applications_changed: dict[ApplicationName, Changed] = field(default_factory=dict)
    records_changed: dict[tuple[str, str], Changed] = field(default_factory=dict)
    freezes_changed: Changed = Changed(0, "")
    events_changed: int = 0
    listeners: list[Callable[[], None]] = field(default_factory=list)
    """They are called after each commit, letter and report."""

    roster: Roster = field(init=False)

    report_change: int = 0
    reports_begun_at: int = 0  # everything before was lost
    sessions_given: int = 0
    regions: dict[RegionName, tuple[int, RegionRow]] = field(default_factory=dict)
    reports: dict[tuple[RegionName, ApplicationName], tuple[int, ReportRow]] = field(default_factory=dict)

    letters: dict[str, Letter] = field(default_factory=dict)  # that wait for their recipient
    answers: dict[str, bytes] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)  # the letters whose senders wait

    def __post_init__(self) -> None:
        self.roster = Roster(lambda: self.clock())

    @property
    def shards(self) -> dict[Shard, Held]:
        return self.roster.shards

    def hint(self) -> None:
        for listener in list(self.listeners):
            listener()
