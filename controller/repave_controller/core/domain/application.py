"""What the controller knows and decides about an application, as plain frozen values.

An `Application` has server groups and at most one `Rollout` at a time: the way from the group that serves to
another one. Instants are seconds of the controller's clock (Unix time that never runs backwards).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from repave_controller.core.domain.audience import Hearer
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.hosts import hosts_of as hosts_of
from repave_controller.core.domain.instants import Instant as Instant
from repave_controller.core.domain.jobs import NO_JOBS, Jobs
from repave_controller.core.domain.overlays import NO_OVERLAYS, Overlays, template_in
from repave_controller.core.domain.reasons import Reason
from repave_controller.core.domain.rollout import GroupNumber, Rollout, Wave
from repave_controller.core.domain.scaling import NO_SCALING, Scalings, Sized
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.domain.steps import FULL_PERCENT as FULL_PERCENT
from repave_controller.core.domain.steps import Step
from repave_controller.core.domain.windows import Freeze, Window
from repave_protos.protocol.bounds import WORN_MAX
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import (
    BY_REQUEST,
    ApplicationName,
    ApplicationReport,
    DesiredState,
    Digest,
    Drift,
    Epoch,
    GivenHost,
    GroupName,
    GroupReport,
    HostName,
    HostTemplate,
    RegionName,
    Split,
)

HEALED_AT_ONCE = 10
"""One host of so many may be missing while it is replaced."""
HEALED_FROM = 3
"""Hosts of a region: one of fewer is half of what it has."""
ADOPTED_VERSION = "adopted"
"""Of a group whose hosts were there before: which version they are is not known."""
PAST_MAX = 10
"""Groups that are gone and can be built again."""


# ------------------------------------------------------------------------------------------ server groups


class GroupState(StrEnum):
    """What a server group is for in one region now."""

    NEW = "new"  # being brought up by the running rollout, has not proved itself
    SERVING = "serving"  # proven, takes the traffic (or is about to get it back)
    WARM = "warm"  # proven, kept for a rollback
    FAILED = "failed"  # a release of it has failed: out of traffic, its hosts are kept to be looked at
    RETIRING = "retiring"  # being drained and destroyed


UNWANTED = (GroupState.FAILED, GroupState.RETIRING)
"""No host is made for a group in such a state, and no traffic goes to it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A server group in one region: how many of its `size` hosts are wanted, and its share of the traffic.

    The one place where these numbers are; what is published follows from them alone.
    """

    region: RegionName
    size: int
    state: GroupState
    percent: float = 0.0  # of `size`, wanted now
    weight_bp: int = 0
    left_traffic_at: Instant | None = None
    proven: int = 0  # hosts that a rollout has waited for; a size that grew since asks for more
    is_back: bool = False  # it serves because a rollout has gone back to it
    failed_at: Instant | None = None  # since when it is kept to be looked at
    given: tuple[GivenHost, ...] = ()  # of an adopted group: its hosts there

    @property
    def count(self) -> int:
        """Hosts wanted now; rounded up."""
        return hosts_of(self.size, self.percent) if self.state not in UNWANTED else 0

    @property
    def has(self) -> int:
        """Hosts that it is to have, or to keep."""
        return self.size if self.state is GroupState.FAILED else self.count

    @property
    def judged(self) -> int:
        """Hosts by which its health is judged: those that have had their time to come up."""
        count = self.count
        return min(count, self.proven) if self.proven else count


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
    parts: ByRegion[Part]  # sorted
    template: HostTemplate
    created_at: Instant
    attempt: int = 0  # grows when a person tries a group again that had given up
    upkeep: Upkeep = Upkeep()  # frozen
    generation: int = 0  # grows when all its hosts are to be renewed
    overlays: Overlays = NO_OVERLAYS  # sorted; what its hosts are made of where that is not `template`
    baseline_of: GroupNumber | None = None  # it is fresh hosts of that group, to compare a new one with
    jobs: Jobs = NO_JOBS  # of its release
    is_adopted: bool = False  # its hosts were there before repave: none is made, and none is ended

    @property
    def is_baseline(self) -> bool:
        return self.baseline_of is not None

    def part(self, region: RegionName) -> Part | None:
        return self.parts.find(region)

    def with_part(self, part: Part) -> "ServerGroup":
        """Replaces the part of that region, or adds it."""
        known, parts = self.parts, self.parts.put(part)
        is_within = len(parts) > len(known) > 0 and part.region < known[-1].region
        return replace(self, parts=parts.sorted() if is_within else parts)

    def with_parts(self, parts: Iterable[Part]) -> "ServerGroup":
        """The same for many regions, at the price of one."""
        changed = self.parts.put_all(parts)
        return replace(self, parts=changed.sorted() if len(changed) > len(self.parts) else changed)

    def without(self, *regions: RegionName) -> "ServerGroup":
        return replace(self, parts=self.parts.without(frozenset(regions)))

    def template_in(self, region: RegionName) -> HostTemplate:
        """What hosts are made of there."""
        return template_in(self.template, self.overlays, region)

    def size(self, region: RegionName) -> int:
        part = self.part(region)
        return part.size if part is not None else 0

    @property
    def sizes(self) -> tuple[tuple[RegionName, int], ...]:
        return tuple((part.region, part.size) for part in self.parts)

    @property
    def failed_at(self) -> Instant | None:
        """Since when it is kept to be looked at in the region where it failed last."""
        return max((part.failed_at for part in self.parts if part.failed_at is not None), default=None)

    @property
    def state(self) -> GroupState:
        """What it is for at most, over all regions."""
        return self.parts.once(_state_of_all)

    @property
    def left_traffic_at(self) -> Instant | None:
        """When the last region took the traffic from it."""
        return max((part.left_traffic_at for part in self.parts if part.left_traffic_at), default=None)


STATES_BY_RANK = (
    GroupState.SERVING,
    GroupState.NEW,
    GroupState.WARM,
    GroupState.FAILED,
    GroupState.RETIRING,
)


def _state_of_all(parts: ByRegion[Part]) -> GroupState:
    states = {part.state for part in parts}
    return next((state for state in STATES_BY_RANK if state in states), GroupState.RETIRING)


# ---------------------------------------------------------------------------------------- applications


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """A release that was asked for and checked; what the spec and the command line said, compiled."""

    version: str
    digest: Digest
    frontend_port: int
    sizes: tuple[tuple[RegionName, int], ...]
    template: HostTemplate
    steps: tuple[Step, ...]
    policy: "Policy"
    waves: tuple[Wave, ...] = ()  # empty: all regions in one
    strategy: str = "blue-green"
    prices: ByRegion[tuple[RegionName, float]] = ByRegion()  # of a host for an hour, where known
    currency: str = ""
    upkeep: Upkeep = Upkeep()
    by: str = ""
    reason: str = ""
    key: str = ""  # idempotency key: the same key joins the release that it started
    spec_text: str = ""  # as the user wrote it; kept with the release
    split: Split = BY_REQUEST
    gives_way: tuple[RegionName, ...] = ()  # regions where kept groups make room for it
    keeps_sizes: bool = False  # regions that are served keep the sizes they have; `sizes` are the spec's
    is_forced: bool = False  # tried also where regions say that they have no room
    replaces: bool = False  # begins once the rollout that it takes the place of has gone back
    number: int = 0  # in the queue, from 1; 0: never waited
    queued_at: Instant = Instant(0)  # frozen
    overlays: Overlays = NO_OVERLAYS  # sorted; what hosts are made of where that is not `template`
    jobs: Jobs = NO_JOBS

    def template_in(self, region: RegionName) -> HostTemplate:
        """What hosts are made of there."""
        return template_in(self.template, self.overlays, region)


@dataclass(frozen=True, slots=True)
class Standstill:
    """Why the releases that wait do not begin until a person lets them."""

    at: Instant
    reason: Reason


@dataclass(frozen=True, slots=True)
class Policy:
    """Standing rules of an application, from its newest accepted spec.

    An old group, newest first, stays while it is among the first `keep_groups` and lost its traffic less than
    `keep_seconds` ago; the first `retain` stay after that too.
    """

    keep_seconds: float = 86_400.0
    keep_groups: int = 1
    retain: int = 0
    keep_percent: float = 100.0  # of their hosts that kept groups have
    gives_way: bool = False  # kept groups end as a release begins that has no room beside them
    keep_failed_seconds: float = 0.0  # that the hosts of a release that failed are kept; 0: not at all
    ready_percent: float = 100.0
    min_capacity_percent: float = 100.0
    min_hosts: int = 0  # that can serve in a region, whatever the percentage says
    heal_seconds: float = 300.0  # that a region has to replace hosts which are lost; 0: none may be
    heal_capacity_percent: float = 0.0  # of hosts that may not be missing meanwhile, where the spec says so
    goes_back_on: tuple[str, ...] = ("analysis", "deadline", "health")  # other failures hold in place
    scope: Literal["region", "wave", "release"] = "release"
    failures_max: int = 0  # regions that may fail by themselves before `scope` counts
    unreachable: Literal["wait", "skip", "fail"] = "fail"
    protects: bool = True  # traffic leaves a side that can't serve it for one that can
    windows: tuple[Window, ...] = ()
    freezes: tuple[Freeze, ...] = ()
    notify: tuple[Hearer, ...] = ()  # who is told of it, beside what the controller's settings say
    scaling: Scalings = NO_SCALING  # of the regions whose number of hosts is chosen within bounds

    def needed(self, size: int) -> int:
        """How many of `size` hosts make a group ready: at least 1 of a non-empty group, and its floor, so
        that a group that is ready may take all traffic."""
        return max(min(size, 1), hosts_of(size, self.ready_percent), self.floor(size))

    def floor(self, size: int) -> int:
        """How many of `size` hosts must be able to serve."""
        return max(hosts_of(size, self.min_capacity_percent), min(size, self.min_hosts))

    def healing(self, size: int) -> int:
        """How many of `size` hosts have to be verified while fresh ones take the place of the others: all but
        a tenth, and but one of three or more; never fewer than the spec asks for in so many words."""
        spare = max(1, size // HEALED_AT_ONCE) if size >= HEALED_FROM else 0
        written = max(hosts_of(size, self.heal_capacity_percent), min(size, self.min_hosts))
        return min(self.needed(size), max(size - spare, written))

    def carrying(self, size: int, weight_bp: int) -> int:
        """How many hosts of a group of `size` must be able to serve its share of the traffic. `min_hosts` is
        not in it: these are counted over both groups."""
        return hosts_of(size, self.min_capacity_percent, weight_bp)


@dataclass(frozen=True, slots=True)
class Deletion:
    """A person has ended the application; what is left of it is being destroyed."""

    at: Instant
    by: str = ""


@dataclass(frozen=True, slots=True)
class Application:
    """Everything decided about one application; saved whole. The one argument and result of `rollout`."""

    name: ApplicationName
    cluster: str  # app[-stack]: server groups are named after it
    next_number: GroupNumber
    frontend_port: int = 0
    split: Split = BY_REQUEST
    policy: Policy = Policy()
    groups: tuple[ServerGroup, ...] = ()  # not yet gone, oldest first
    rollout: Rollout | None = None  # the running one, or the last one that ended
    rollouts_total: int = 0
    queue: tuple[ReleaseOrder, ...] = ()
    queued_total: int = 0
    queue_stands: Standstill | None = None
    desired: ByRegion[tuple[RegionName, DesiredState]] = ByRegion()  # as decided last, with epochs
    offered: ByRegion[tuple[RegionName, "Offer"]] = ByRegion()  # what each region may have heard
    missed: tuple["Missed", ...] = ()  # regions that the last rollout has yet to reach
    launch_seconds: float = 0.0  # from a launch to verified hosts, of late; 0: not known
    past: tuple[ServerGroup, ...] = ()  # proven groups that are gone, newest first, to be built again
    tainted: Listed[Tainted] = Listed()  # oldest first
    replacing: Listed[Replacement] = Listed()
    deletion: Deletion | None = None  # until it is released again
    drained: ByRegion["Drained"] = ByRegion()  # sorted
    job_runs_total: int = 0  # attempts of jobs that were decided on
    sized: ByRegion[Sized] = ByRegion()  # of the regions whose number of hosts is chosen within bounds

    def group(self, number: GroupNumber | None) -> ServerGroup | None:
        for group in self.groups:
            if group.number == number:
                return group
        return None

    def with_group(self, group: ServerGroup) -> "Application":
        """Replaces the group of that number, or adds it."""
        others = tuple(other for other in self.groups if other.number != group.number)
        return replace(self, groups=tuple(sorted((*others, group), key=lambda each: each.number)))

    def serving_in(self, region: RegionName) -> ServerGroup | None:
        """The proven group that has, or goes back to having, the traffic of this region."""
        return next(
            (
                group
                for group in self.groups
                if (part := group.part(region)) is not None and part.state is GroupState.SERVING
            ),
            None,
        )

    @property
    def serving(self) -> GroupNumber | None:
        """The newest group that serves in any region."""
        serving = [group.number for group in self.groups if group.state is GroupState.SERVING]
        return max(serving, default=None)

    @property
    def regions(self) -> tuple[RegionName, ...]:
        """Every region that has, or shall have, a group of this application; sorted."""
        return tuple(sorted({part.region for group in self.groups for part in group.parts}))

    def has(self, region: RegionName) -> bool:
        """Whether it has, or is about to have, hosts in this region."""
        is_decided = self.desired.find(region) is not None
        return is_decided or any(group.part(region) is not None for group in self.groups)

    def drained_in(self, region: RegionName) -> "Drained | None":
        return self.drained.find(region)

    @property
    def is_watched(self) -> bool:
        """Whether its fleet was adopted and is only probed as yet: its clients come in as they did before,
        until it is to be served or the first release begins."""
        return not self.frontend_port and any(group.is_adopted for group in self.groups)

    @property
    def is_worker(self) -> bool:
        """Whether it takes no requests: its hosts find their work by themselves."""
        return any(group.template.is_worker for group in self.groups)

    @property
    def shared(self) -> dict[str, str]:
        """What its groups share, for reasons that say so: requests if nothing does."""
        return {"of": "work"} if self.is_worker else {}

    @property
    def is_gone(self) -> bool:
        """Deleted, and nothing is left of it but its history."""
        return self.deletion is not None and not self.groups

    @property
    def running(self) -> Rollout | None:
        """The rollout that has not ended, if any."""
        return self.rollout if self.rollout is not None and not self.rollout.phase.is_over else None

    def desired_in(self, region: RegionName) -> DesiredState | None:
        found = self.desired.find(region)
        return found[1] if found is not None else None

    def offered_to(self, region: RegionName) -> "Offer | None":
        found = self.offered.find(region)
        return found[1] if found is not None else None


@dataclass(frozen=True, slots=True)
class Missed:
    """A region that was away when the others got `target`, and gets it when it returns."""

    region: RegionName
    size: int
    target: GroupNumber


@dataclass(frozen=True, slots=True)
class Drained:
    """A region whose record is out of DNS because a person asked, until a person asks for it again."""

    region: RegionName
    at: Instant
    by: str = ""
    reason: str = ""
    is_even_last: bool = False  # also where no other region is in DNS


@dataclass(frozen=True, slots=True)
class Offer:
    """The newest desired state that a region may have been sent; saved before it is sent."""

    epoch: Epoch
    fingerprint: str  # "" of one that an older version noted, which wrote its content in another way


# ----------------------------------------------------------------------------------- what comes in and out


@dataclass(frozen=True, slots=True)
class RegionView:
    """One application as one region reported it last."""

    is_connected: bool
    report: ApplicationReport | None  # None: has not spoken of it yet
    since: Instant = Instant(0)  # connected, or unreachable, since
    ahead: tuple[Reason, ...] = ()  # in what it is ahead of the store; then it has no report that counts

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
    text: str = ""  # one line for people, where it was not decided here
    application: str = ""
    region: str = ""
    group: str = ""
    host: str = ""
    by: str = ""
    at: Instant = Instant(0)
    sequence: int = 0  # given by the store
    what: Reason | None = None  # of one that was decided here


Outcome = tuple["Application", tuple[Event, ...]]
"""What a command, or the beginning of a rollout, makes of an application; both are saved together."""


class Expiry(StrEnum):
    """What comes of a wait of a rollout at its `until`."""

    PROGRESS = "progress"  # it goes on, or waits for something else
    DEADLINE = "deadline"  # the region fails, for it took too long
    ILLNESS = "illness"  # the region fails, for too few of its hosts can serve
    SKIP = "skip"  # the region is left out
    LEAVE = "leave"  # the rollout ends without it
    JUDGEMENT = "judgement"  # the new group is judged, and may fail


@dataclass(frozen=True, slots=True)
class Because:
    """What a rollout, or an application, waits for."""

    reason: Reason
    region: str = ""
    since: Instant | None = None
    until: Instant | None = None
    expiry: Expiry | None = None  # None: no rollout waits for it


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of one step: `application` and `events` are saved together, then `desired` goes out."""

    application: Application
    desired: tuple[tuple[RegionName, DesiredState], ...]  # those that changed, to be published
    events: tuple[Event, ...]
    wake_at: Instant | None
    because: tuple[Because, ...]
