"""What an agent knows of its region at one moment, as frozen values: the input of `reconcile` and `traffic`.

Times are seconds of the agent's own monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from repave_agent.ports import BalancerView, Structure
from repave_protos.values import ApplicationName, DesiredState, GroupName, HostName, HostPhase

EMPTY_VIEW = BalancerView(is_running=False, structure=Structure(), routes=(), backends=(), old_workers=0)


@dataclass(frozen=True, slots=True)
class HostFact:
    """One host: its place in life, judged by `phase_of` from what provider and prober say."""

    name: HostName
    group: GroupName
    application: ApplicationName
    phase: HostPhase
    address: str
    port: int
    launched_at: float
    unclaimed_since: float | None = None  # no desired state names its group, since
    idle_since: float | None = None  # the balancer gives it no new requests, since
    due_at: float | None = None  # when its phase changes by the passing of time alone


@dataclass(frozen=True, slots=True)
class GroupFact:
    """What must be remembered about a group beyond its hosts; kept in the journal."""

    is_proven: bool = False  # all its hosts were verified at once, at least once
    was_routed: bool = False  # has had traffic, so that it must be drained
    failures: int = 0  # hosts that failed; back to 0 when all are verified
    setbacks: int = 0  # pauses before launches, in a row; several hosts that fail at once make one
    next_ordinal: int = 1  # of the next host's name; never used twice
    launched_total: int = 0
    destroyed_total: int = 0
    retry_at: float = 0.0  # no launch before
    refused: str = ""  # why no launch can work
    drain_since: float | None = None  # retiring, and out of traffic, since


@dataclass(frozen=True, slots=True)
class Observation:
    """The region at the moment `now`: what is wanted, what there is, what the balancer says of itself."""

    now: float
    desired: tuple[DesiredState, ...]
    hosts: tuple[HostFact, ...]
    groups: Mapping[GroupName, GroupFact]
    balancer: BalancerView = EMPTY_VIEW
    is_balancer_busy: bool = False  # it is being changed: what `balancer` says may be over already
    by_group: Mapping[GroupName, tuple[HostFact, ...]] = field(init=False)

    def __post_init__(self) -> None:
        grouped: dict[GroupName, list[HostFact]] = {}
        for host in self.hosts:
            grouped.setdefault(host.group, []).append(host)
        object.__setattr__(self, "by_group", {name: tuple(hosts) for name, hosts in grouped.items()})

    def hosts_of(self, group: GroupName, *phases: HostPhase) -> list[HostFact]:
        """The group's hosts, only those in `phases` if any are named."""
        return [host for host in self.by_group.get(group, ()) if not phases or host.phase in phases]

    def group(self, name: GroupName) -> GroupFact:
        return self.groups.get(name, GroupFact())


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what an agent does at once."""

    launches_in_flight: int = 20
    destroys_in_flight: int = 20
    unclaimed_grace_seconds: float = 10.0
