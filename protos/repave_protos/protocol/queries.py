"""What the controller asks an agent on behalf of a person, and what the agent answers; as values.

A question that an agent does not know, since it is older, it refuses by name.
"""

from dataclasses import dataclass
from typing import Literal

from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import (
    BY_REQUEST,
    ApplicationName,
    AskLease,
    Beat,
    DesiredState,
    Digest,
    GivenHost,
    GroupName,
    Hello,
    HostDetail,
    HostName,
    Lease,
    Probe,
    Rejection,
    Report,
    Resync,
    Split,
    Welcome,
)

PoolVerb = Literal["quarantine", "return", "release"]
MachineState = Literal["dirty", "fresh", "leased", "quarantined", "unknown"]


# -------------------------------------------------------------------------------------------- questions


@dataclass(frozen=True, slots=True)
class HostsOf:
    """The hosts of an application or of one of its groups, with the ends of their logs and their last probes.
    Hosts."""

    application: ApplicationName
    group: str = ""
    log_lines: int = 0
    with_gone: bool = False  # also what is kept of hosts that failed and are gone
    host: str = ""  # only this one; an older agent tells of all
    probes: int = 0  # of each host, so many samples


@dataclass(frozen=True, slots=True)
class ReadOutput:
    """What the hosts of an application have printed: after its cursor, of a host that has one, else the last
    `lines`. Output."""

    application: ApplicationName
    group: str = ""
    host: str = ""
    lines: int = 0
    cursors: tuple[tuple[HostName, str], ...] = ()
    with_gone: bool = False  # also what is kept of hosts that failed and are gone


@dataclass(frozen=True, slots=True)
class AcceptedOf:
    """The desired state that the agent has accepted, for a controller whose store has lost it. Accepted."""

    application: ApplicationName


@dataclass(frozen=True, slots=True)
class Orphans:
    """The hosts that no desired state is known to want, of all applications. Hosts."""


@dataclass(frozen=True, slots=True)
class ListMachines:
    """The machines of the region's pool. Machines."""


@dataclass(frozen=True, slots=True)
class ChangeMachine:
    """Take a machine out of use, give it back, or end a lease that nothing stands behind. Done."""

    verb: PoolVerb
    machine: str  # "": every one, of a return
    reason: str


@dataclass(frozen=True, slots=True)
class FindRoom:
    """Whether the provider has room for so many more hosts, and can make such. Room."""

    hosts: int
    machine_sizes: tuple[str, ...] = ()
    machine_image: str = ""
    is_spot: bool = False


@dataclass(frozen=True, slots=True)
class FindWayIn:
    """Whether the balancer can let in the application's clients at this port. WayIn."""

    application: ApplicationName
    port: int
    split: Split = BY_REQUEST
    fronts: tuple[TrafficFront, ...] = ()


@dataclass(frozen=True, slots=True)
class ListBakes:
    """Machine images that were baked here, and bakes that are under way or failed. Bakes."""


@dataclass(frozen=True, slots=True)
class BakeOrder:
    """Bake a machine image of a package. `check` is run on the machine, in the unpacked package, before its
    image is taken; () runs nothing. Bakes, with this one only.
    """

    digest: Digest
    name: str
    check: tuple[str, ...] = ()
    by: str = ""


@dataclass(frozen=True, slots=True)
class TrafficOf:
    """What the balancer has counted of an application's groups since then (Unix time). Traffic."""

    application: ApplicationName
    since: float


@dataclass(frozen=True, slots=True)
class FindHosts:
    """The hosts of a fleet that is there already, each probed once. `kind`: where they are found; "hosts" are
    those that are named. Of the others the region's balancer or provider knows which `name` has. FoundHosts.
    """

    kind: str
    name: str
    hosts: tuple[GivenHost, ...]
    probe: Probe


@dataclass(frozen=True, slots=True)
class UnknownQuestion:
    """One of a newer controller. `kind` is its field in fleet.proto."""

    kind: str


OfHosts = HostsOf | Orphans
OfProvider = ListMachines | ChangeMachine | FindRoom | ListBakes | BakeOrder
Question = (
    OfHosts | ReadOutput | AcceptedOf | OfProvider | FindWayIn | TrafficOf | FindHosts | UnknownQuestion
)


@dataclass(frozen=True, slots=True)
class Query:
    """From the controller. `cause`: the id of the request that it is asked for, for the log."""

    query_id: int
    question: Question
    cause: str = ""


# ---------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True, slots=True)
class Hosts:
    hosts: tuple[HostDetail, ...] = ()


@dataclass(frozen=True, slots=True)
class HostOutput:
    """Whole lines of one host. `is_cut`: something is missing before them. `trouble`: why there are none."""

    host: HostName
    group: GroupName
    text: str = ""
    cursor: str = ""
    gone_at: float = 0.0  # Unix time; 0: it is there
    is_cut: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """`left_out`: hosts that were too many for one answer."""

    hosts: tuple[HostOutput, ...] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    state: DesiredState | None = None  # None: it has accepted none


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of a pool."""

    name: str
    address: str  # "" when it is not in the inventory any more
    state: MachineState
    host: str  # that it is leased for
    since: float  # Unix time; 0 when nothing ever happened to it
    reason: str


@dataclass(frozen=True, slots=True)
class Machines:
    machines: tuple[Machine, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    text: str  # what was done


@dataclass(frozen=True, slots=True)
class Room:
    lack: str  # why the hosts do not fit; "" when they do
    misfit: str = ""  # why no such host can be made there at all, beginning with the field of the spec


@dataclass(frozen=True, slots=True)
class Front:
    """Where clients of an application come in."""

    application: ApplicationName
    port: int  # 0: not known


@dataclass(frozen=True, slots=True)
class WayIn:
    """`fronts`: all that there are, where only an operator can add some."""

    lack: str = ""  # why they can't come in; "" when they can
    fronts: tuple[Front, ...] = ()


@dataclass(frozen=True, slots=True)
class BakedImage:
    """As the cloud keeps it, with what it was made from."""

    image: str
    name: str
    digest: Digest
    base: str
    by: str
    made_at: float  # Unix time
    is_current: bool  # False: it was made from another base image than hosts have now, and is not used


@dataclass(frozen=True, slots=True)
class Bake:
    """One that is under way, or how it ended. `image` is "" until it is there."""

    digest: Digest
    name: str
    step: str
    since: float  # Unix time
    image: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Bakes:
    images: tuple[BakedImage, ...] = ()
    bakes: tuple[Bake, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupTraffic:
    """Columns of equal length, of the slots in which there were requests, new ones or in flight. A slot's
    number times the seconds of a slot is the Unix time at which it begins. `errors`: answers of 500 and
    above, among the requests."""

    group: GroupName
    slots: tuple[int, ...] = ()
    requests: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    response_us: tuple[int, ...] = ()  # microseconds, the mean of the last some hundred requests
    in_flight: tuple[int, ...] = ()  # the most at once; (): an older agent does not tell


@dataclass(frozen=True, slots=True)
class Flip:
    """From then on the balancer split requests so, in basis points; groups without any are left out."""

    at: float  # Unix time
    shares: tuple[tuple[GroupName, int], ...]


@dataclass(frozen=True, slots=True)
class Traffic:
    """`kept_since`: nothing is known of what was before (Unix time)."""

    step_seconds: int
    groups: tuple[GroupTraffic, ...] = ()
    flips: tuple[Flip, ...] = ()
    kept_since: float = 0.0


@dataclass(frozen=True, slots=True)
class FoundHost:
    """`trouble`: why its probe did not pass; "" when it did."""

    host: GivenHost
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class FoundHosts:
    hosts: tuple[FoundHost, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The agent or its provider will not do it; `why` is for people."""

    why: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The agent could not answer, or in a way that this version does not know; `why` is for people."""

    why: str


Content = (
    Hosts
    | Output
    | Accepted
    | Machines
    | Done
    | Room
    | WayIn
    | Bakes
    | Traffic
    | FoundHosts
    | Refusal
    | Failure
)


@dataclass(frozen=True, slots=True)
class Answer:
    """From the agent, to the query with the same id."""

    query_id: int
    content: Content


FromAgent = Hello | Report | Answer | Beat | AskLease
FromController = Welcome | Rejection | DesiredState | Resync | Query | Lease
