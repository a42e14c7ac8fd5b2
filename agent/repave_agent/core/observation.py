"""What an agent knows of its region at one moment, as frozen values: the input of `reconcile` and `traffic`.

Times are seconds of the agent's own monotonic clock.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import TypeVar

from repave_agent.core.ports import BalancerView, Frontend, Structure
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredGroup,
    DesiredState,
    GroupName,
    HostName,
    HostPhase,
    Probe,
)

EMPTY_VIEW = BalancerView(is_running=False, structure=Structure(), routes=(), backends=(), old_workers=0)


LEFT_OUT_SECONDS = 3.0
"""What the balancer can't take is tried again after so long: a port may be free by then."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An unclaimed host, as the provider's fresh listings showed it. A listing counts from when it was
    begun, and only if the host was unclaimed by then."""

    since: float  # known to be unclaimed, since
    why: str  # how that is known
    first_at: float | None = None
    last_at: float | None = None


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
    sighting: Sighting | None = None  # only while it is unclaimed
    idle_since: float | None = None  # the balancer gives it no new requests, since
    made_at: float = 0.0  # also of one that an earlier life of the agent made
    launch_time: float = 0.0  # the same in Unix time, for people; 0: not known
    drift: str = ""  # how it differs from what it was made of, once that was seen
    due_at: float | None = None  # when its phase changes by the passing of time alone


@dataclass(frozen=True, slots=True)
class GroupFact:
    """What must be remembered about a group beyond its hosts; kept in the journal."""

    is_proven: bool = False  # all its hosts were verified at once, at least once
    proven_count: int = 0  # how many these were: one good canary says nothing of a hundred hosts
    was_routed: bool = False  # has had traffic, so that it must be drained
    failures: int = 0  # hosts that failed; back to 0 when all are verified, and with a new attempt
    attempt: int = 0  # the one that the failures are of
    setbacks: int = 0  # pauses before launches; several hosts that fail at once make one; forgiven in time
    setback_at: float = 0.0  # the last one
    next_ordinal: int = 1  # of the next host's name; never used twice
    launched_total: int = 0
    destroyed_total: int = 0
    retry_at: float = 0.0  # no launch before
    refused: str = ""  # why no launch can work
    generation: int = 0  # of the newest desired state
    fresh_from: int = 1  # hosts with a lower ordinal were there when the generation grew
    drain_since: float | None = None  # retiring, and out of traffic, since


NO_FACT = GroupFact()
"""Of a group of which nothing is remembered."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Who is known to want hosts here. What an agent has forgotten, or has not heard yet, counts for nothing
    against a host: only what it knows does."""

    groups: frozenset[GroupName] = frozenset()  # that accepted desired states name
    accepted: frozenset[ApplicationName] = frozenset()  # the applications of those states
    named: frozenset[ApplicationName] | None = None  # all of the region; None: the controller has not said

    def is_forgotten(self, application: ApplicationName) -> bool:
        """Whether the controller is known to have no such application in this region."""
        return application not in self.accepted and self.named is not None and application not in self.named

    def why_unclaimed(self, application: ApplicationName, group: GroupName) -> str:
        """How the group's hosts are known to be unclaimed; "" when they are claimed, or may be."""
        if application in self.accepted and group not in self.groups:
            return f"the desired state of {application} does not name {group}"
        if self.is_forgotten(application) and group not in self.groups:
            return f"the controller has no application {application} in this region"
        return ""


def claims_of(desired: Iterable[DesiredState], named: frozenset[ApplicationName] | None) -> Claims:
    """Of the accepted desired states, and the applications that the controller has named."""
    states = tuple(desired)
    groups = frozenset(group.name for state in states for group in state.groups)
    return Claims(groups, frozenset(state.application for state in states), named)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the balancer can't take: the others go on without it. `thing`: a frontend, or the probe of a
    backend; another one may be taken."""

    thing: Frontend | Probe
    why: str
    since: float
    tried_at: float

    def is_still(self, thing: Frontend | Probe, now: float) -> bool:
        """Whether it need not be tried now: it is the same, and was tried a moment ago."""
        return thing == self.thing and now < self.tried_at + LEFT_OUT_SECONDS


@dataclass(frozen=True, slots=True)
class Observation:
    """The region at the moment `now`: what is wanted, what there is, what the balancer says of itself.

    It may be of some applications only (`desired`, `hosts`, `groups`): then `whole` says who is known to want
    hosts over all of them. What the balancer says is always of all.
    """

    now: float
    desired: tuple[DesiredState, ...]
    hosts: tuple[HostFact, ...]
    groups: Mapping[GroupName, GroupFact]
    balancer: BalancerView = EMPTY_VIEW
    is_balancer_busy: bool = False  # it is being changed: what `balancer` says may be over already
    named: frozenset[ApplicationName] | None = None  # see Claims
    orphans_ended: tuple[float, ...] = ()  # when, within the last minute
    launches_begun: tuple[float, ...] = ()  # when, within the last minute
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)  # by application, or by group
    whole: Claims | None = None
    claims: Claims = field(init=False)
    by_group: Mapping[GroupName, tuple[HostFact, ...]] = field(init=False)
    judged: dict[tuple[str, int], tuple[DesiredGroup, object]] = field(
        init=False, compare=False, repr=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        grouped: dict[GroupName, list[HostFact]] = {}
        for host in self.hosts:
            grouped.setdefault(host.group, []).append(host)
        object.__setattr__(self, "by_group", {name: tuple(hosts) for name, hosts in grouped.items()})
        object.__setattr__(self, "claims", self.whole or claims_of(self.desired, self.named))

    def hosts_of(self, group: GroupName, *phases: HostPhase) -> list[HostFact]:
        """The group's hosts, only those in `phases` if any are named."""
        hosts = self.by_group.get(group, ())
        return [host for host in hosts if host.phase in phases] if phases else list(hosts)

    def group(self, name: GroupName) -> GroupFact:
        return self.groups.get(name, NO_FACT)


Judged = TypeVar("Judged")


def judged_once(
    judge: Callable[[DesiredGroup, Observation], Judged],
) -> Callable[[DesiredGroup, Observation], Judged]:
    """What several decisions ask of a group is found out once for each observation. Nothing that asks may
    change the answer."""

    @wraps(judge)
    def known(group: DesiredGroup, observation: Observation) -> Judged:
        key = (judge.__name__, id(group))
        if key not in observation.judged:
            observation.judged[key] = (
                group,
                judge(group, observation),
            )  # with it, so that its id stays its own
        return observation.judged[key][1]  # type: ignore[return-value]  # by this judge

    return known


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what an agent does at once."""

    launches_in_flight: int = 20
    launches_per_minute: int = 1000  # whatever asks for them: releases, healing, renewal
    destroys_in_flight: int = 20
    unclaimed_grace_seconds: float = 10.0  # between the two listings that must show an orphan
    orphans_per_minute: int = 30  # a mistake about who is wanted must not cost a fleet at once
    inspect_seconds: float = 300.0  # from one look at a host, for drift, to the next
