"""What controller and agents say to each other, as plain frozen values.

`fleet.proto` is the same vocabulary on the wire and `wire.py` converts; nothing else touches protobuf.
Times are seconds; durations end in `_seconds`, weights in `_bp` (basis points, 0..10000).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Literal, NewType

from repave_protos.protocol.encoded import Encoded
from repave_protos.protocol.fronts import TrafficFront, front_faults, needs

ApplicationName = NewType("ApplicationName", str)
RegionName = NewType("RegionName", str)
GroupName = NewType("GroupName", str)
HostName = NewType("HostName", str)
Digest = NewType("Digest", str)
"""Lower-case hexadecimal SHA-256 of a package, 64 characters."""
NO_PACKAGE = Digest("0" * 64)
"""Of an adopted group: what its hosts are made of is not known here."""

Drift = Literal["ignore", "report", "taint"]
"""What becomes of a host that is no longer as it was made."""
Wear = Literal["age", "drift", "renewal", "asked", "unknown"]
"""Why a host is to be replaced: too old, changed, its group is renewed, the controller has asked, or a reason
of a later version."""
Drain = Literal["none", "unless_last", "even_last"]
"""Whether a region's record of an application is taken out of DNS, and whether even as the last one."""
RecordState = Literal["unknown", "in", "out"]
HealthSource = Literal["agent", "balancer"]
"""Whose checks say whether a verified host is healthy."""
JobState = Literal["ready", "running", "succeeded", "failed", "stopped", "unknown"]
"""Of one attempt. ready: it has not begun, and waits to be given to a journal, or for what it needs. running:
it may have begun. stopped: it was ended, or withdrawn before it began. unknown: it may have run, and nobody
can say how."""

FULL_WEIGHT_BP = 10_000
SHORT_DIGEST_LENGTH = 12
MACHINE_IMAGE_LENGTH_MAX = 255
SIZES_MAX = 8  # of one application, to choose from
SIZE_LENGTH_MAX = 128
PROTOCOL_VERSION = 2

# What names a cookie or a header, and what testers put into it: nothing that means anything to a balancer.
MARK_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MARK_VALUE = re.compile(r"[A-Za-z0-9_.:/=+@~-]{1,200}")
_NAMES = "1 to 64 letters, digits, _ . or -"
_VALUES = "1 to 200 letters, digits or _ . : / = + @ ~ -"


# ---------------------------------------------------------------------------------------------- desired


@dataclass(frozen=True, slots=True, order=True)
class Epoch:
    """Which life of the store, which term of its controller, which revision; compared in that order."""

    incarnation: int
    term: int
    rev: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.term}.{self.rev}"


ZERO_EPOCH = Epoch(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Probe:
    """How a host is asked whether it is healthy. `port` is also the port that takes the traffic."""

    kind: Literal["http", "tcp", "command"]
    port: int  # 0: it listens on none, as a worker may that is asked by a command
    path: str = "/"
    expect_status: int = 200
    command: tuple[str, ...] = ()
    interval_seconds: float = 2.0
    timeout_seconds: float = 1.0
    healthy_after: int = 1
    unhealthy_after: int = 2
    host: str = ""  # what the request says in Host; "": localhost
    headers: tuple[tuple[str, str], ...] = ()  # that the request has besides


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the balancer lets a connection be silent: the client's, the host's, and one that was upgraded,
    as to a websocket."""

    client_seconds: float = 60.0
    server_seconds: float = 60.0
    tunnel_seconds: float = 3600.0


USUAL_TIMEOUTS = Timeouts()


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret of a host is kept: never the secret itself. The region's agent reads it at each launch.

    `where`: for `vault` mount/path#key, for `file` an absolute path, for `env` a name, of the agent's.
    """

    name: str  # of the variable that holds it; as a file, the variable NAME_FILE holds its path
    source: str  # vault, file, env
    where: str
    as_file: bool = False

    def __str__(self) -> str:
        return f"{self.source} {self.where}"

    @property
    def variable(self) -> str:
        """The variable that the host finds."""
        return f"{self.name}_FILE" if self.as_file else self.name


@dataclass(frozen=True, slots=True)
class HostTemplate:
    """What a host is made of beside its package, and when it counts as up: one value from order to launch.

    A field that is new in a later version needs a default here; then stored orders and journals are read.
    """

    run: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    probe: Probe
    min_healthy_seconds: float  # healthy for so long without a break, it is verified
    launch_deadline_seconds: float  # not verified by then, it has failed
    drain_seconds: float  # for the requests that it still has when it leaves the balancer; a worker's work
    machine_image: str = (
        ""  # its name or id; "": that of the region's settings, if machines are started there
    )
    launch_failures: int | None = None  # of a group that was never proven, before it is given up
    timeouts: Timeouts = USUAL_TIMEOUTS
    signature: str = ""  # of the package, as its file has it; "": there is none
    signers: tuple[str, ...] = ()  # keys, identities: one must have made it; none: it need not be signed
    trusted_roots: tuple[str, ...] = ()  # those that identities among the signers count from 0
    secrets: tuple[SecretReference, ...] = ()  # sorted by name
    machine_sizes: tuple[
        str, ...
    ] = ()  # of its machine, the best one first; (): that of the region's settings
    is_spot: bool = False  # cheaper, and its cloud may take it at any time
    health_by: HealthSource = "agent"
    fronts: tuple[TrafficFront, ...] = ()  # the main one first; (): plain HTTP at the application's port
    is_worker: bool = False  # takes no requests: no balancer has it, and its weight is its share of the work

    @property
    def growing_seconds(self) -> float:
        """After so long a fresh host is verified, or never will be."""
        return self.launch_deadline_seconds + self.min_healthy_seconds


@dataclass(frozen=True, slots=True)
class GivenHost:
    """A host that was there before repave, which neither makes nor ends it."""

    address: str
    port: int
    name: str = ""  # as it is called where it was found; "": nothing is known of that


@dataclass(frozen=True, slots=True)
class DesiredGroup:
    """One server group in one region. `count == 0`: it is drained, and destroyed if not `keeps_failed`."""

    name: GroupName
    digest: Digest
    count: int
    weight_bp: int
    template: HostTemplate
    is_proven: bool = False  # it has served: its hosts are replaced for ever, however often they fail
    ready_count: int = 0  # hosts that must be up before it gets more traffic than it has; 1 at least
    attempt: int = 0  # grows when a person tries again: the failures of the attempt before are forgotten
    takes_testers: bool = False  # requests with the testers' mark go to it, whatever its weight
    max_age_seconds: float = 0.0  # an older host is worn; 0: none is too old
    drift: Drift = "ignore"
    generation: int = 0  # hosts that were there when it grew are worn
    replace: tuple[HostName, ...] = ()  # those that may be replaced now; each after a fresh one is up
    released_at: float = 0.0  # Unix time; 0: of a controller that did not say
    keeps_failed: bool = False  # once it is given up none of its hosts is destroyed; `count` 0 only drains it
    is_baseline: bool = False  # what a new group is compared with: fresh hosts, and an equal share
    given: tuple[GivenHost, ...] = ()  # of an adopted group: all its hosts, the first `count` of which it has

    @property
    def is_adopted(self) -> bool:
        """Whether its hosts were there before: none is made, and none is ended."""
        return bool(self.given)


@dataclass(frozen=True, slots=True, order=True)
class JobId:
    """Which attempt of a job: in which life of the store it was decided on, and its number in that. Never
    given to another one; later ones are greater."""

    incarnation: int
    number: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.number}"


@dataclass(frozen=True, slots=True)
class DesiredJob:
    """An attempt of a job, to be made at most once. `template.run` is the job's command.

    Only the agent whose journal it was given to may begin it, and only when that journal says so already.
    """

    id: JobId
    name: str
    group: GroupName  # of whose package
    digest: Digest
    template: HostTemplate
    timeout_seconds: float  # from its start
    journal: str = ""  # whose it is; "": nobody's yet, and each agent says which journal is its own
    is_stopped: bool = False  # it shall not begin, or shall end
    released_at: float = 0.0  # Unix time

    @property
    def host(self) -> HostName:
        """The same whoever makes it: nobody makes it beside another one that is there."""
        return job_host(self.group, self.id)


def job_host(group: GroupName, job: JobId) -> HostName:
    """On which the attempt runs."""
    return HostName(f"{group}-job-{job.incarnation}-{job.number}")


_JOB_HOST = re.compile(r".+-v\d{3,}-job-\d+-\d+")


def is_job_host(name: HostName) -> bool:
    """Whether it is the host of a job, and not of a server group."""
    return "-job-" in name and _JOB_HOST.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Split:
    """How requests are given to the groups that share the traffic, and by what testers are known.

    By request: each by chance. By cookie or header: by a hash of its value, so that clients
    that send the same value stay on one side; as the newer group's share grows, clients only move to it.
    """

    by: Literal["request", "cookie", "header"] = "request"
    name: str = ""  # of the cookie or header
    tester_by: Literal["", "cookie", "header"] = ""
    tester_name: str = ""
    tester_value: str = ""  # a client that sends exactly this is a tester


BY_REQUEST = Split()
"""By chance, and there are no testers."""


def split_contradictions(split: Split) -> list[str]:
    """What is inconsistent in `split`; empty when it is valid."""
    wrong = []
    if split.by == "request" and split.name:
        wrong.append(f"a split by request needs no name, and has {split.name!r}")
    if split.by != "request" and MARK_NAME.fullmatch(split.name) is None:
        wrong.append(f"{split.name!r} can't name a {split.by}: {_NAMES}")
    if not split.tester_by and (split.tester_name or split.tester_value):
        wrong.append("testers are named without a cookie or a header")
    if split.tester_by and MARK_NAME.fullmatch(split.tester_name) is None:
        wrong.append(f"{split.tester_name!r} can't name the testers' {split.tester_by}: {_NAMES}")
    if split.tester_by and MARK_VALUE.fullmatch(split.tester_value) is None:
        wrong.append(f"{split.tester_value!r} can't be what testers send: {_VALUES}")
    return wrong


@dataclass(frozen=True, slots=True)
class DesiredState:
    """All that a region shall be for one application: whole, never a change to something."""

    application: ApplicationName
    epoch: Epoch
    frontend_port: int
    groups: tuple[DesiredGroup, ...]
    split: Split = BY_REQUEST
    spare: GroupName | None = None  # answers while no host of the group that a request is for is up
    drain: Drain = "none"
    jobs: tuple[DesiredJob, ...] = ()

    @property
    def _templates(self) -> tuple[HostTemplate, ...]:
        return (*(group.template for group in self.groups), *(job.template for job in self.jobs))

    @property
    def is_serving(self) -> bool:
        return any(group.weight_bp > 0 for group in self.groups)

    @property
    def has_secrets(self) -> bool:
        """Whether an agent that knows of none would make hosts without what they need."""
        return any(template.secrets for template in self._templates)

    @property
    def has_sizes(self) -> bool:
        """Whether an agent that knows of none would make hosts of another size."""
        return any(group.template.machine_sizes for group in self.groups)

    @property
    def has_adopted(self) -> bool:
        """Whether an agent that knows of none would make hosts of a package that is none."""
        return any(group.is_adopted for group in self.groups)

    @property
    def is_worker(self) -> bool:
        """Whether it takes no requests: an agent that knows of no such thing would wait for its balancer."""
        return any(group.template.is_worker for group in self.groups)

    @property
    def has_spot(self) -> bool:
        """Whether an agent that knows of none would make hosts at the full price."""
        return any(group.template.is_spot for group in self.groups)

    @property
    def has_health_by_balancer(self) -> bool:
        """Whether an agent that knows of no such thing would ask each host itself all the time."""
        return any(group.template.health_by == "balancer" for group in self.groups)

    @property
    def needs(self) -> tuple[str, ...]:
        """What fronts of its groups need of a balancer: an agent that has less would leave some out."""
        several = dict.fromkeys(group.template.fronts for group in self.groups)
        return tuple(dict.fromkeys(ability for fronts in several for ability in needs(fronts)))

    def group(self, name: GroupName) -> DesiredGroup | None:
        for group in self.groups:
            if group.name == name:
                return group
        return None


def contradictions(state: DesiredState) -> list[str]:
    """What is inconsistent in `state`; empty when it is valid. Both sides check it."""
    wrong = []
    names = [group.name for group in state.groups]
    if len(set(names)) != len(names):
        wrong.append("a server group appears twice")
    total_bp = sum(group.weight_bp for group in state.groups)
    if total_bp not in (0, FULL_WEIGHT_BP):
        wrong.append(f"weights add up to {total_bp} basis points, not to 0 or {FULL_WEIGHT_BP}")
    if any(group.weight_bp < 0 or group.count < 0 for group in state.groups):
        wrong.append("a weight or a count is negative")
    if len({job.id for job in state.jobs}) != len(state.jobs):
        wrong.append("an attempt of a job appears twice")
    if state.is_worker and state.frontend_port:
        wrong.append(f"a worker takes no requests, and shall have port {state.frontend_port}")
    wrong += _wrong_shares(state)
    wrong += [
        f"{group.name} shall take traffic with no hosts"
        for group in state.groups
        if group.weight_bp > 0 and group.count == 0
    ]
    wrong += [
        f"{group.name} was adopted with {len(group.given)} hosts and shall have {group.count}"
        for group in state.groups
        if group.is_adopted and group.count > len(group.given)
    ]
    wrong += [
        f"{group.name} was adopted: none of its hosts is replaced"
        for group in state.groups
        if group.is_adopted and (group.replace or group.is_baseline)
    ]
    takers = [group for group in state.groups if group.takes_testers]
    if len(takers) > 1:
        wrong.append("more than one server group takes the testers")
    if takers and not state.split.tester_by:
        wrong.append(f"{takers[0].name} shall take testers, and nothing says who is one")
    wrong += [f"{group.name} shall take testers with no hosts" for group in takers if group.count == 0]
    spare = state.group(state.spare) if state.spare is not None else None
    if state.spare is not None and (spare is None or not spare.is_proven or spare.count == 0):
        wrong.append(f"{state.spare} shall answer for others, and is no proven group with hosts")
    return wrong + _wrong_fronts(state) + split_contradictions(state.split)


def _wrong_fronts(state: DesiredState) -> list[str]:
    """The first front of each group is the application's."""
    wrong = []
    for fronts in dict.fromkeys(group.template.fronts for group in state.groups):
        wrong += front_faults(fronts)
        if fronts and state.frontend_port and fronts[0].port != state.frontend_port:
            wrong.append(f"the first front has port {fronts[0].port}, the application {state.frontend_port}")
    return wrong


def _wrong_shares(state: DesiredState) -> list[str]:
    """Two groups share the traffic. Beside them a baseline may have as much as one of them."""
    sharing = [group for group in state.groups if group.weight_bp > 0 and not group.is_baseline]
    baselines = [group for group in state.groups if group.weight_bp > 0 and group.is_baseline]
    wrong = ["more than two server groups share the traffic"] if len(sharing) > 2 else []
    if len(baselines) > 1:
        wrong.append("more than one baseline has a share of the traffic")
    for baseline in baselines:
        is_equal = any(group.weight_bp == baseline.weight_bp for group in sharing)
        if len(sharing) != 2 or not is_equal:
            wrong.append(
                f"{baseline.name}, a baseline, shall have another share than what it is compared with"
            )
    return wrong


# ---------------------------------------------------------------------------------------------- observed


class HostPhase(StrEnum):
    """Where a host is in its one life; it only ever goes on to another host, never back to a clean start."""

    LAUNCHING = "launching"  # being made: package fetched, unpacked, started
    STARTING = "starting"  # runs, not yet healthy
    HEALTHY = "healthy"  # passes its probe, not yet for min_healthy_seconds
    VERIFIED = "verified"  # has been healthy for min_healthy_seconds
    UNHEALTHY = "unhealthy"  # was verified, now fails its probe
    FAILED = "failed"  # could not be made, ended by itself, or missed its start deadline
    DESTROYING = "destroying"
    UNKNOWN = "unknown"  # of an agent of a later version


@dataclass(frozen=True, slots=True)
class Worn:
    """A host that is to be replaced by a fresh one of the same group."""

    host: HostName
    why: Wear
    text: str = ""  # for people


@dataclass(frozen=True, slots=True)
class GroupReport:
    """A server group as its region sees it: host counts by phase and what the balancer acknowledged."""

    group: GroupName
    launching: int = 0
    starting: int = 0
    healthy: int = 0
    verified: int = 0
    unhealthy: int = 0
    failed: int = 0
    destroying: int = 0
    balancer_up: int = 0  # servers that the balancer has and sees up
    weight_bp: int = 0  # read back from the balancer
    in_flight: int = 0  # requests the balancer has in flight to this group
    launched_total: int = 0
    destroyed_total: int = 0
    has_given_up: bool = False  # too many of its hosts failed: no more are launched
    trouble: str = ""  # newest reason why a host or the balancer is not as it should be
    worn: tuple[Worn, ...] = ()  # at most WORN_MAX, sorted; all of those in `replace` that are still there
    aged: int = 0  # hosts beyond max_age_seconds, a little less for each so that they don't go together
    drifted: int = 0
    outdated: int = 0  # of an older generation
    oldest_at: float = 0.0  # when the oldest host was launched, Unix time; 0: there is none
    due_at: float = 0.0  # when the next host will be beyond its age, Unix time; 0: none will

    @property
    def present(self) -> int:
        """Hosts that exist in any phase."""
        alive = self.launching + self.starting + self.healthy + self.verified
        return alive + self.unhealthy + self.failed + self.destroying


@dataclass(frozen=True, slots=True)
class JobReport:
    """How far an attempt of a job is, as its region knows it."""

    id: JobId
    state: JobState
    journal: str = ""  # of the agent that says so
    exit_code: int | None = None
    text: str = ""  # what it waits for, or how it ended
    log_tail: str = ""  # of one that has ended


@dataclass(frozen=True, slots=True)
class RecordReport:
    """The region's record of an application in DNS, as it was read back last."""

    name: str
    state: RecordState = "unknown"
    ttl_seconds: int = 0  # so long resolvers may answer with what they have
    left_at: float = 0.0  # Unix time; 0: it has not left
    trouble: str = ""  # why it is not as it should be


@dataclass(frozen=True, slots=True)
class ApplicationReport:
    """One application in one region. `epoch` is that of the desired state accepted, saved and acted on."""

    application: ApplicationName
    epoch: Epoch
    groups: tuple[GroupReport, ...] = ()
    refusal: str = ""  # why the newest desired state was not accepted, or ""
    record: RecordReport | None = None  # None: its agent keeps none
    jobs: tuple[JobReport, ...] = ()  # of those that are desired

    def job(self, job: JobId) -> JobReport | None:
        return next((each for each in self.jobs if each.id == job), None)

    def group(self, name: GroupName) -> GroupReport | None:
        for group in self.groups:
            if group.group == name:
                return group
        return None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened in a region, for people to read; best effort, never a base for a decision."""

    kind: str  # "host.launched", "host.failed", "balancer.restarted", ...
    text: str
    application: str = ""
    group: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class ProbeSample:
    """One probe of a host that was answered, or not in time. `said`: what the answer was, in words."""

    ago_seconds: float
    took_seconds: float
    passed: bool
    said: str


@dataclass(frozen=True, slots=True)
class HostDetail:
    """Everything about one host; sent only when asked for."""

    host: HostName
    group: GroupName
    application: ApplicationName
    phase: HostPhase
    address: str
    port: int
    digest: Digest
    age_seconds: float
    healthy_seconds: float
    trouble: str = ""
    log_tail: str = ""
    orphan: str = ""  # of a host in no desired state: what becomes of it, in words
    unclaimed_seconds: float = 0.0  # for how long it has been in no desired state
    worn: str = ""  # why it is to be replaced, in words
    gone_at: float = 0.0  # Unix time; 0: it is there
    public_address: str = ""  # where it is reached from outside too; "": not known
    probes: tuple[ProbeSample, ...] = ()  # the agent's own last ones, the newest first


# ---------------------------------------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class Applied:
    """What an agent last accepted of one application."""

    application: ApplicationName
    epoch: Epoch
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of every stream, from the agent."""

    region: RegionName
    protocol_version: int
    agent_version: str
    provider: str
    balancer: str
    capabilities: tuple[str, ...] = ()
    applied: tuple[Applied, ...] = ()
    traffic_address: str = ""  # where clients reach the region's balancer
    beats: bool = False  # says Beat as often as Welcome asks
    instance: str = ""  # names the agent's state directory; "" from an older one
    sent_at: float = 0.0  # by its clock, Unix time; 0: of an older agent
    leases: bool = False  # stops acting when a lease that it was given ends
    term: int = 0  # the newest in which it was its region's agent


@dataclass(frozen=True, slots=True)
class Report:
    """Observed state. `is_full` replaces all that was known; otherwise `applications` are the changed ones.

    `digest` is the fingerprint of everything the region observes after this report: a controller that
    computes another one asks for a full report.
    """

    sequence: int
    is_full: bool
    applications: tuple[ApplicationReport, ...]
    digest: str  # "": there is a sum
    notices: tuple[Notice, ...] = ()
    troubles: tuple[str, ...] = ()  # of the region as a whole: provider, pool, balancer
    is_starting: bool = False  # it can't act yet; the first trouble says why
    sum: str = ""  # says the same as the digest, and costs what has changed; for a controller that takes it


@dataclass(frozen=True, slots=True)
class Welcome:
    """The controller's answer to Hello. The agent fetches packages below `image_url`, and shows there
    `image_ticket`, if any.

    `applications` are all that the region has; None where the controller can't say.
    """

    controller_version: str
    installation: str  # names this controller's store; tags of hosts carry it
    image_url: str
    applications: tuple[ApplicationName, ...] | None = None
    beat_seconds: float = 0.0  # something is to be heard at least so often; 0: as often as there is news
    image_ticket: str = field(default="", repr=False)
    lease_seconds: float = 0.0  # the region has a stand-by: acting is by lease, of so long; 0: without
    term: int = 0  # grows whenever another agent becomes that of the region; 0: not said
    return_seconds: float = 0.0  # over so long an agent that loses this controller spreads its next attempt
    takes_sums: bool = False  # reports may have a sum in the place of their digest


@dataclass(frozen=True, slots=True)
class Beat:
    """The agent is there, and has had nothing else to say for a while."""

    sent_at: float = 0.0  # by its clock, Unix time; 0: of an older agent


@dataclass(frozen=True, slots=True)
class AskLease:
    """The agent asks to go on acting."""

    number: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The agent may act for so long from the moment at which it asked with this number."""

    number: int
    seconds: float
    term: int


@dataclass(frozen=True, slots=True)
class Rejection:
    """The controller will not work with this agent; the stream ends after it. `stands_by`: another agent has
    the region, and this one changes nothing there."""

    reason: str
    stands_by: bool = False


@dataclass(frozen=True, slots=True)
class Resync:
    """Asks for a full report: the digests did not agree."""


def fingerprint(value: object) -> str:
    """Short content hash of a value of this module (all are built of str, numbers and tuples)."""
    return _hash(repr(value))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


_FORM = fingerprint(
    [
        (each.__name__, *(field.name for field in fields(each)))
        for each in (
            DesiredState,
            DesiredGroup,
            DesiredJob,
            JobId,
            GivenHost,
            HostTemplate,
            SecretReference,
            Probe,
            Split,
            Epoch,
        )
    ]
)[:4]


def fingerprint_of_state(state: DesiredState) -> str:
    """Of the same length. It begins with that of the fields that this version knows, for a version that
    knows others writes the same state in another way."""
    return _FORM + fingerprint(state)[: -len(_FORM)]


def is_other_state(one: str, other: str) -> bool:
    """Whether these are fingerprints of different states, as far as they can be compared."""
    return one[: len(_FORM)] == other[: len(_FORM)] and one != other


@dataclass(slots=True)
class Observations:
    """The reports of one region merged: what the agent keeps to send, and the controller to read."""

    applications: dict[ApplicationName, ApplicationReport] = field(default_factory=dict)
    _texts: Encoded[ApplicationName, ApplicationReport, str] = field(
        default_factory=lambda: Encoded(repr), init=False, repr=False, compare=False
    )
    _counted: dict[ApplicationName, tuple[ApplicationReport, int]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _total: int = field(default=0, init=False, repr=False, compare=False)

    def digest(self) -> str:
        """The fingerprint of all reports as a tuple, in the order of their names."""
        self._texts.keep(self.applications)
        texts = [self._texts.of(name, self.applications[name]) for name in sorted(self.applications)]
        return _hash(f"({', '.join(texts)}{',' if len(texts) == 1 else ''})")

    def merge(self, report: Report) -> bool:
        """Takes `report` in; False when the result is not what the sender has, so that a resync is due."""
        if report.is_full:
            self.applications = {}
        for application in report.applications:
            self.applications[application.application] = application
        if report.sum:
            names = None if report.is_full else [each.application for each in report.applications]
            return self.sum(names) == report.sum
        return self.digest() == report.digest

    def sum(self, changed: Iterable[ApplicationName] | None = None) -> str:
        """The digests of all applications, added up: one that has changed costs its own. `changed`: only
        these may have, since the last call; None: any."""
        if changed is None or len(self._counted) > len(self.applications):
            changed = self.applications.keys() | self._counted.keys()
        for name in changed:
            self._count(name)
        return f"{self._total % 2**64:016x}"

    def _count(self, name: ApplicationName) -> None:
        known, report = self._counted.get(name), self.applications.get(name)
        if known is not None and known[0] is report:
            return
        if known is not None:
            self._total -= known[1]
            del self._counted[name]
        if report is not None:
            number = known[1] if known is not None and known[0] == report else int(fingerprint(report), 16)
            self._counted[name] = (report, number)
            self._total += number


def short_digest(digest: str) -> str:
    """As people read it: in versions, messages and names."""
    return digest[:SHORT_DIGEST_LENGTH]
