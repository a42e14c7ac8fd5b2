"""What the controller knows and decides about an application, as plain frozen values.

An `Application` has server groups and at most one `Rollout` at a time: the way from the group that serves to
another one. Instants are seconds of the controller's clock (Unix time that never runs backwards).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NewType

from repave_protos.bounds import WORN_MAX
from repave_protos.values import (
    ApplicationName,
    ApplicationReport,
    DesiredState,
    Digest,
    Drift,
    Epoch,
    GroupName,
    GroupReport,
    HostName,
    Probe,
    RegionName,
)

Instant = NewType("Instant", float)
GroupNumber = NewType("GroupNumber", int)


# ------------------------------------------------------------------------------------------ server groups


class GroupState(StrEnum):
    """What a server group is for now; the same in all regions."""

    NEW = "new"  # being brought up by the running rollout, has not proved itself
    SERVING = "serving"  # proven, takes the traffic (or is about to get it back)
    WARM = "warm"  # proven, kept for a rollback
    RETIRING = "retiring"  # being drained and destroyed


@dataclass(frozen=True, slots=True)
class Upkeep:
    """When hosts are worn, and how many of a region are replaced at once: a share, at least one."""

    max_age_seconds: float = 0.0  # 0: none is too old
    drift: Drift = "ignore"
    renew_percent: float = 10.0

    def at_once(self, size: int) -> int:
        return max(1, min(WORN_MAX, int(size * self.renew_percent / 100)))


@dataclass(frozen=True, slots=True)
class Tainted:
    """A host that is to be replaced, until it is gone."""

    host: HostName
    region: RegionName
    group: GroupName
    by: str
    reason: str
    at: Instant


@dataclass(frozen=True, slots=True)
class Replacement:
    """A host that its region may replace now: a fresh one is made, then this one ends."""

    host: HostName
    region: RegionName
    group: GroupName
    why: str
    since: Instant


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """The hosts of one release, over all its regions; `name` is the same in each of them."""

    name: GroupName
    number: GroupNumber
    version: str
    digest: Digest
    sizes: tuple[tuple[RegionName, int], ...]
    run: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    probe: Probe
    min_healthy_seconds: float
    start_deadline_seconds: float
    drain_seconds: float
    state: GroupState
    created_at: Instant
    left_traffic_at: Instant | None = None
    upkeep: Upkeep = Upkeep()
    generation: int = 0  # grows when all its hosts are to be renewed

    def size(self, region: RegionName) -> int:
        return next((size for name, size in self.sizes if name == region), 0)


# ------------------------------------------------------------------------------------------------- steps


@dataclass(frozen=True, slots=True)
class Scale:
    """Have `percent` of the target group's hosts running in each region."""

    percent: int
    deadline_seconds: float
    kind: Literal["scale"] = "scale"


@dataclass(frozen=True, slots=True)
class Verify:
    """Wait until enough hosts of the target group are verified and up behind the balancer."""

    deadline_seconds: float
    kind: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True)
class Weight:
    """Give the target group `weight_bp` of the traffic, the origin the rest; done when balancers say so."""

    weight_bp: int
    deadline_seconds: float
    kind: Literal["weight"] = "weight"


@dataclass(frozen=True, slots=True)
class Soak:
    """Watch the target group's health for `seconds`, counted from the completion of the step before."""

    seconds: float
    deadline_seconds: float
    kind: Literal["soak"] = "soak"


Step = Scale | Verify | Weight | Soak


# ---------------------------------------------------------------------------------------------- rollouts


class Phase(StrEnum):
    """How far a rollout is. Those after UNDOING are ends."""

    RUNNING = "running"
    UNDOING = "undoing"  # traffic goes back to the origin, a new target is cleaned up
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled-back"
    ABORTED = "aborted"
    HELD = "held"  # failed where going back was not possible: both stay, a person must act

    @property
    def is_over(self) -> bool:
        return self not in (Phase.RUNNING, Phase.UNDOING)


class RolloutKind(StrEnum):
    RELEASE = "release"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One release or rollback over all regions of its target. The regions move in lock-step: `cursor` is the
    step that all are in, and the next one starts when all have completed it."""

    number: int  # counts the application's rollouts, from 1
    kind: RolloutKind
    target: GroupNumber
    origin: GroupNumber | None
    steps: tuple[Step, ...]
    phase: Phase
    cursor: int
    entered_at: Instant  # of the present step, or of UNDOING
    progressed_at: Instant  # a step's deadline counts from here
    progress: tuple[int, ...]  # what `progressed_at` watches; growth of any entry is progress
    started_at: Instant
    started_by: str
    version: str = ""  # of the target, still known when the group is gone
    reason: str = ""  # why a person started it
    undo_reason: str = ""  # why it goes back or was held
    undo_end: Phase = Phase.ROLLED_BACK  # what UNDOING ends in
    ended_at: Instant | None = None

    @property
    def step(self) -> Step:
        return self.steps[self.cursor]

    def has_reached(self, kind: type[Step]) -> bool:
        """Whether the rollout is in or past its first step of this kind."""
        return any(isinstance(step, kind) for step in self.steps[: self.cursor + 1])


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """A release that was asked for and checked; what the spec and the command line said, compiled."""

    version: str
    digest: Digest
    frontend_port: int
    sizes: tuple[tuple[RegionName, int], ...]
    run: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    probe: Probe
    min_healthy_seconds: float
    start_deadline_seconds: float
    drain_seconds: float
    steps: tuple[Step, ...]
    policy: "Policy"
    upkeep: Upkeep = Upkeep()
    by: str = ""
    reason: str = ""
    key: str = ""  # idempotency key: the same key joins the release that it started
    spec_text: str = ""  # as the user wrote it; kept with the release


@dataclass(frozen=True, slots=True)
class Policy:
    """Standing rules of an application, from its newest accepted spec.

    An old group, newest first, stays while it is among the first `keep_groups` and lost its traffic less than
    `keep_seconds` ago; the first `retain` stay after that too.
    """

    keep_seconds: float = 86_400.0
    keep_groups: int = 1
    retain: int = 0
    ready_percent: float = 100.0
    min_capacity_percent: float = 100.0

    def needed(self, size: int) -> int:
        """How many of `size` hosts make a group ready: rounded half up, at least 1 of a non-empty group."""
        return 0 if size == 0 else max(1, int(size * self.ready_percent / 100 + 0.5))

    def floor(self, size: int) -> int:
        """How many of `size` hosts must be able to serve, rounded up."""
        return -int(-size * self.min_capacity_percent // 100)


@dataclass(frozen=True, slots=True)
class Application:
    """Everything decided about one application; saved whole. The one argument and result of `rollout`."""

    name: ApplicationName
    cluster: str  # app[-stack]: server groups are named after it
    next_number: GroupNumber
    frontend_port: int = 0
    policy: Policy = Policy()
    groups: tuple[ServerGroup, ...] = ()  # not yet gone, oldest first
    serving: GroupNumber | None = None  # the proven group that has, or goes back to having, the traffic
    rollout: Rollout | None = None  # the running one, or the last one that ended
    rollouts_total: int = 0
    queue: tuple[ReleaseOrder, ...] = ()
    desired: tuple[tuple[RegionName, DesiredState], ...] = ()  # as decided last, with epochs
    offered: tuple[tuple[RegionName, "Offer"], ...] = ()  # what each region may have heard of it
    tainted: tuple[Tainted, ...] = ()  # oldest first
    replacing: tuple[Replacement, ...] = ()

    def group(self, number: GroupNumber | None) -> ServerGroup | None:
        return next((group for group in self.groups if group.number == number), None)

    def with_group(self, group: ServerGroup) -> "Application":
        """Replaces the group of that number, or adds it."""
        others = tuple(other for other in self.groups if other.number != group.number)
        return replace(self, groups=tuple(sorted((*others, group), key=lambda each: each.number)))

    @property
    def regions(self) -> tuple[RegionName, ...]:
        """Every region that has, or shall have, a group of this application; sorted."""
        return tuple(sorted({region for group in self.groups for region, _ in group.sizes}))

    @property
    def running(self) -> Rollout | None:
        """The rollout that has not ended, if any."""
        return self.rollout if self.rollout is not None and not self.rollout.phase.is_over else None

    def desired_in(self, region: RegionName) -> DesiredState | None:
        return next((state for name, state in self.desired if name == region), None)

    def offered_to(self, region: RegionName) -> "Offer | None":
        return next((offer for name, offer in self.offered if name == region), None)


@dataclass(frozen=True, slots=True)
class Offer:
    """The newest desired state that a region may have been sent; saved before it is sent."""

    epoch: Epoch
    fingerprint: str


# ----------------------------------------------------------------------------------- what comes in and out


@dataclass(frozen=True, slots=True)
class RegionView:
    """One application as one region reported it last."""

    is_connected: bool
    report: ApplicationReport | None  # None: has not spoken of it yet
    since: Instant = Instant(0)  # connected, or unreachable, since
    ahead: str = ""  # why it waits for repave controller recover; then it has no report that counts

    def group(self, name: GroupName) -> GroupReport:
        found = self.report.group(name) if self.report is not None else None
        return found if found is not None else GroupReport(group=name)


Observed = Mapping[RegionName, RegionView]


@dataclass(frozen=True, slots=True)
class Tenure:
    """Which life of the store and which term of the controller speaks; leads every epoch it gives out."""

    incarnation: int
    term: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was decided or that happened, for people and their tools; saved with its cause."""

    kind: str  # "release.started", "step.entered", "traffic.moved", "host.failed", ...
    text: str  # one line for people
    application: str = ""
    region: str = ""
    group: str = ""
    host: str = ""
    by: str = ""
    at: Instant = Instant(0)
    sequence: int = 0  # given by the store


@dataclass(frozen=True, slots=True)
class Because:
    """What a rollout, or an application, waits for: the text of `repave why`."""

    what: str
    region: str = ""
    since: Instant | None = None
    until: Instant | None = None
    remedy: str = ""  # what a person could do about it


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of one step: `application` and `events` are saved together, then `desired` goes out."""

    application: Application
    desired: tuple[tuple[RegionName, DesiredState], ...]  # those that changed, to be published
    events: tuple[Event, ...]
    wake_at: Instant | None
    because: tuple[Because, ...]


class Refused(Exception):
    """A command was refused and changed nothing. `rule` names the guard; the text says how to go on."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(text)
        self.rule = rule
        self.text = text
