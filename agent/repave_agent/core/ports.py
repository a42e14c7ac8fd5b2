"""What the agent needs of the world: a provider of hosts, a balancer, packages. Every implementation of a
port passes the same suite in tests/contracts/.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.records import Change, Seen
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.queries import FindRoom
from repave_protos.protocol.values import (
    BY_REQUEST,
    USUAL_TIMEOUTS,
    ApplicationName,
    ApplicationReport,
    Digest,
    GroupName,
    HostName,
    HostTemplate,
    Notice,
    Probe,
    Split,
    Timeouts,
)


class Clock(Protocol):
    """The time, as arguments are: only __main__ gives out the machine's."""

    def wall(self) -> float:
        """Seconds of Unix time, for what people read and other machines wrote."""

    def monotonic(self) -> float:
        """Seconds for deadlines and durations."""

    async def sleep(self, seconds: float) -> None: ...


class ProviderError(Exception):
    """The provider could not do it. The text is shown to people: what happened and what to do."""


class TransientError(ProviderError):
    """May work when tried again a little later."""


class OutOfCapacityError(ProviderError):
    """There is no room now: disk, addresses, quota."""


class RefusedError(ProviderError):
    """Trying again cannot help: the request or the machine must change."""


class MisfitError(RefusedError):
    """No machine can be had here as the spec wants it. The text begins with the spec's field, and says what
    there is."""


class BalancerError(Exception):
    """The balancer did not do it. The text is shown to people."""


class UnfitError(BalancerError):
    """Parts of a structure can't be taken, and nothing was changed: the rest can be had without them.
    `frontends` and `backends`: which, and why."""

    def __init__(
        self,
        frontends: Mapping[ApplicationName, str] | None = None,
        backends: Mapping[GroupName, str] | None = None,
    ) -> None:
        self.frontends, self.backends = dict(frontends or {}), dict(backends or {})
        super().__init__("; ".join([*self.frontends.values(), *self.backends.values()]))


class BalancerAwaitedError(BalancerError):
    """It can't be reached now; it may be a little later."""


class NotActingError(ProviderError, BalancerError):
    """This agent has no lease, and its region may be another agent's: nothing was done."""


class PackageError(Exception):
    """The package could not be had, or is not what its digest says. The text is shown to people."""


class PackageAwaitedError(PackageError):
    """Nothing is known against the package: the controller is away, or the download broke off."""


HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What can be the name of a host, whichever provider makes it."""


TAKEN_BACK = "a spot machine, which its cloud may take back at any time"
"""Of a host that has ended or is lost."""


@dataclass(frozen=True, slots=True)
class HostSpec:
    """A fresh host. `name` is never used twice: it is the idempotency key of a launch."""

    name: HostName
    group: GroupName
    application: ApplicationName
    digest: Digest
    template: HostTemplate
    released_at: float = 0.0  # Unix time; 0: not known

    @property
    def port(self) -> int:
        """Where it takes the traffic; 0: it listens on none."""
        return self.template.probe.port

    def stop_grace_seconds(self, usual: float) -> float:
        """From SIGTERM to SIGKILL. A worker may finish what it does; what others had to do they have done."""
        return max(usual, self.template.drain_seconds) if self.template.is_worker else usual


@dataclass(frozen=True, slots=True)
class Host:
    """A host as its provider lists it. `is_running` is False once its process (machine) has ended."""

    name: HostName
    group: GroupName
    application: ApplicationName
    digest: Digest
    address: str
    port: int
    launched_at: float  # seconds of the wall clock, for people; decisions use the worker's own clock
    is_running: bool
    ended: str = ""  # how it ended, with the end of its log, when it is not running
    age_seconds: float = field(default=0.0, compare=False)  # by the provider's own clock, when it was listed
    unseen: str = field(default="", compare=False)
    """Why nothing is seen of it, for too long: it has ended, unless it answers its probe."""
    left: str = ""
    """Why it may still run though it counts as gone. The provider ends it by itself as soon as it can."""
    is_spot: bool = False
    public_address: str = field(default="", compare=False)
    """Where it is reached from outside too, as far as its provider knows; a launch need not tell yet."""
    exit_code: int | None = None
    """What its command ended with; None while it runs, and where its provider can't tell."""


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Whole lines that a host has printed, and where they end. `is_cut`: something is missing before them."""

    text: str
    cursor: str
    is_cut: bool = False


ReadLog = Callable[[HostName, str, int, int], Awaitable[LogPiece]]
"""Reads on after a cursor of a LogPiece; with "", the last so many lines. At most so many bytes. Of providers
that can; the others have `log_tail`."""


class Provider(Protocol):
    """Makes and ends fresh hosts and tags them as belonging to (installation, region)."""

    name: str

    async def launch(self, spec: HostSpec, package: Path, secrets: HostSecrets = ()) -> Host:
        """Makes the host and starts its command; returns when it runs. Repeating a launch returns the host
        that is there. `package` is a verified tarball. `secrets` get into the host's memory only: onto
        no disk, into no argument of a process. Raises ProviderError; then nothing is left behind.
        After RefusedError and OutOfCapacityError its command has never begun."""

    async def list_hosts(self) -> list[Host]:
        """Every host with our tags, running or ended. Strangers are never listed."""

    async def destroy(self, host: HostName) -> None:
        """Ends the host and leaves nothing of it. Repeatable; an unknown host is fine."""

    async def execute(self, host: HostName, command: tuple[str, ...], timeout_seconds: float) -> int:
        """Runs a probe command inside the host; returns its exit code. Raises TimeoutError, ProviderError."""

    async def log_tail(self, host: HostName, lines: int) -> str:
        """The end of what the host's command printed, at most 16 KiB."""

    async def inspect(self, host: HostName) -> str:
        """How the host differs from what it was made of, in words; "" when it does not, or when that can't be
        seen. Looks at one host only, and may take its time. Raises ProviderError."""

    async def room(self, asked: FindRoom) -> str:
        """Why so many more hosts can't be had now, in words with numbers; "" when they can, as far as can be
        known. Raises ProviderError; MisfitError where such hosts can't be made at all."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls `callback` soon after a host ended by itself. A hint: list_hosts is the truth."""

    async def close(self) -> None:
        """Lets go of watchers. Hosts live on."""


# ------------------------------------------------------------------------------------------------ balancer


@runtime_checkable
class ShowsCertificates(Protocol):
    """A balancer that shows its clients certificates."""

    async def show_certificates(self) -> None:
        """What the files of its fronts hold by now is what new connections are shown; none is lost. Raises
        BalancerError."""


@dataclass(frozen=True, slots=True)
class Server:
    """One host behind the balancer. One that is not enabled stays configured and gets no new requests."""

    host: HostName
    address: str
    port: int
    is_enabled: bool = True


@dataclass(frozen=True, slots=True)
class Backend:
    """One server group behind the balancer. `probe` is used for the balancer's own checks. `timeouts`: where
    the balancer takes some; the client's is the frontend's."""

    group: GroupName
    servers: tuple[Server, ...]
    probe: Probe
    timeouts: Timeouts = USUAL_TIMEOUTS
    fronts: tuple[TrafficFront, ...] = ()  # how each front reaches its hosts; (): all as the probe


@dataclass(frozen=True, slots=True)
class Frontend:
    """Where clients of one application come in, and how their requests are told apart."""

    application: ApplicationName
    port: int
    split: Split = BY_REQUEST
    client_seconds: float = USUAL_TIMEOUTS.client_seconds
    fronts: tuple[TrafficFront, ...] = ()  # the main one, of `port`, first; (): plain HTTP there

    @property
    def all_fronts(self) -> tuple[TrafficFront, ...]:
        return self.fronts or (plain_front(self.port),)


@dataclass(frozen=True, slots=True)
class Structure:
    """Everything of the balancer but the traffic split. Changing it may cost a reload."""

    frontends: tuple[Frontend, ...] = ()
    backends: tuple[Backend, ...] = ()
    _by_group: dict[GroupName, Backend] = field(init=False, repr=False, compare=False)
    _by_application: dict[ApplicationName, Frontend] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_group", {each.group: each for each in reversed(self.backends)})
        by_application = {each.application: each for each in reversed(self.frontends)}
        object.__setattr__(self, "_by_application", by_application)

    def backend(self, group: GroupName) -> Backend | None:
        return self._by_group.get(group)

    def frontend(self, application: ApplicationName) -> Frontend | None:
        return self._by_application.get(application)


@dataclass(frozen=True, slots=True)
class Route:
    """The split of one application: `second` gets `second_bp` of 10,000 requests, `first` the rest; but for
    what `baseline` gets, where there is one.

    Requests with the testers' mark go to `testers`, whatever the weights; without it they are as others.
    While no server of the group that a request is for is up, `spare` answers it: of balancers that fall back.
    """

    application: ApplicationName
    first: GroupName
    second: GroupName | None = None
    second_bp: int = 0
    testers: GroupName | None = None
    spare: GroupName | None = None
    baseline: GroupName | None = None
    baseline_bp: int = 0

    @property
    def groups(self) -> tuple[GroupName, ...]:
        """Every group that it names, once."""
        named = (self.first, self.second, self.testers, self.spare, self.baseline)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def reaches(self, group: GroupName) -> bool:
        """Whether any request is sent to the group, or may be."""
        return self.weight_bp(group) > 0 or group in (self.testers, self.spare)

    def weight_bp(self, group: GroupName) -> int:
        if group == self.second:
            return self.second_bp
        if group == self.baseline:
            return self.baseline_bp
        return 10_000 - self.second_bp - self.baseline_bp if group == self.first else 0


@dataclass(frozen=True, slots=True)
class Counted:
    """What a balancer has counted of one group since the agent began. `errors`: answers of 500 and above, its
    own among them. `response_seconds`: until a host begins to answer, the mean of its last some hundred."""

    requests: int = 0
    errors: int = 0
    response_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BackendView:
    """What the balancer says of one backend, over all of its workers, old ones included."""

    group: GroupName
    servers_up: int  # enabled and seen up by the newest worker
    in_flight: int  # sessions on all workers
    is_exact: bool = True  # False: all of the application's, where groups can't be told apart
    passing: frozenset[HostName] = field(default=frozenset(), compare=False)
    """Of balancers whose check is the probe's: enabled hosts that pass it in each of its processes."""
    failing: tuple[tuple[HostName, str], ...] = field(default=(), compare=False)
    """Those that it calls down in each of them, and why."""
    counted: Counted | None = field(default=None, compare=False)
    """None where it counts no requests of a group."""


@dataclass(frozen=True, slots=True)
class FallenBack:
    """Requests of one application that were for a group without a server up, and that its spare answered.
    `is_counted`: False where the balancer counts none; then it is how often the spare had to begin."""

    application: ApplicationName
    group: GroupName
    spare: GroupName
    requests: int  # since the agent began
    is_counted: bool = True


@dataclass(frozen=True, slots=True)
class Closed:
    """Connections of clients to a group that has left, which were open when its time to drain was over: the
    balancer closed them."""

    group: GroupName
    connections: int  # since the agent began


@dataclass(frozen=True, slots=True)
class BalancerView:
    """What the balancer says of itself. `routes` are read back from it, not what was asked for."""

    is_running: bool
    structure: Structure  # what the newest worker runs with
    routes: tuple[Route, ...]  # only those on which all workers agree
    backends: tuple[BackendView, ...]
    old_workers: int  # workers that finish their last connections after a reload
    restarts: int = 0  # how often it was found dead and started again since this agent began
    falls_back: bool = False  # takes routes with a spare
    takes_baselines: bool = False  # takes routes with a baseline
    takes_hosts: bool = False  # a backend may begin without any: they join it at next to no cost
    fallen_back: tuple[FallenBack, ...] = ()
    closed: tuple[Closed, ...] = ()
    is_consistent: bool = field(init=False, compare=False)
    """Whether it can be relied on: the balancer runs, and knows every group that it sends to."""
    _by_application: dict[ApplicationName, Route] = field(init=False, repr=False, compare=False)
    _by_group: dict[GroupName, BackendView] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_application = {each.application: each for each in reversed(self.routes)}
        object.__setattr__(self, "_by_application", by_application)
        object.__setattr__(self, "_by_group", {each.group: each for each in reversed(self.backends)})
        knows_all = all(
            self.structure.backend(name) is not None for route in self.routes for name in route.groups
        )
        object.__setattr__(self, "is_consistent", self.is_running and knows_all)

    def route(self, application: ApplicationName) -> Route | None:
        return self._by_application.get(application)

    def backend(self, group: GroupName) -> BackendView | None:
        return self._by_group.get(group)


@dataclass(frozen=True, slots=True)
class WayIn:
    """Whether clients can come in somewhere. `lack`: why they can't, in words. `fronts`: those that there
    are, where only an operator can make more; a port of 0 is not known."""

    lack: str = ""
    fronts: tuple[Frontend, ...] = ()


class Balancer(Protocol):
    """Splits requests between server groups. Level-triggered: both setters take the whole wanted state."""

    name: str

    @property
    def traffic_address(self) -> str:
        """Where clients reach the frontends. Known once it has started, where settings don't say it."""

    async def start(self) -> None:
        """Adopts a running balancer of this region or starts one. Raises BalancerError (not installed)."""

    async def arrange(self, structure: Structure) -> None:
        """Makes frontends, backends and servers be exactly `structure`; no request is lost. Returns when the
        newest worker runs with it. Raises BalancerError; then the former structure goes on. UnfitError where
        parts of it are the reason: what is wrong with one application must not hold up the others."""

    async def way_in(self, frontend: Frontend) -> WayIn:
        """Whether `arrange` could have this frontend now. Changes nothing. Raises BalancerError."""

    async def route(self, routes: tuple[Route, ...]) -> None:
        """Makes the traffic split be exactly `routes`, on disk first, then in every worker; returns when all
        have acknowledged. Raises BalancerError when a route names a backend that is not arranged, or testers
        where the frontend does not say who is one."""

    async def observe(self) -> BalancerView:
        """Asks the balancer. Starts it again, with what was arranged and routed last, when it is dead."""

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls `callback` soon after the balancer died. A hint: observe is the truth."""

    async def close(self) -> None:
        """Lets go of watchers. The balancer lives on."""


# ---------------------------------------------------------------------------------------------- DNS


class ChangedMeanwhileError(TransientError):
    """What a change was decided by is so no longer: it is to be looked at again. Nothing was changed."""


class Records(Protocol):
    """What the region has in one zone of DNS. Nothing that its mark does not name is touched."""

    kind: str

    async def look(self, name: str) -> Seen:
        """What the service itself says of `name`, not what resolvers remember. Raises ProviderError."""

    async def change(self, seen: Seen, change: Change) -> None:
        """Makes the change that was decided by `seen`. Repeatable: what is left of one that was cut off is
        decided anew. Raises ChangedMeanwhileError, where the service can tell; ProviderError."""

    async def set_text(self, name: str, text: str, *, is_there: bool) -> None:
        """A TXT record beside others, or without it: by such an ACME server sees whose a name is. Repeatable.
        Raises ChangedMeanwhileError, ProviderError."""

    async def close(self) -> None: ...


# ------------------------------------------------------------------------------------------- packages, link


class Packages(Protocol):
    """The region's cache of packages."""

    async def fetch(self, digest: Digest) -> Path:
        """A local file whose content has this digest, fetched from the controller when it is not cached.
        Concurrent calls for one digest share one download. Raises PackageError."""


class Proof(Protocol):
    """Whether packages are signed as they must be."""

    async def check(self, spec: HostSpec, package: Path) -> None:
        """Raises PackageError."""


class Upwards(Protocol):
    """Where reports go."""

    def observed(self, applications: Mapping[ApplicationName, ApplicationReport]) -> None: ...

    def notice(self, notice: Notice) -> None: ...


class Link(Protocol):
    """A connection to the controller, bytes in and out: sessions run over gRPC or in a simulation."""

    async def send(self, message: bytes) -> None:
        """Raises ConnectionError when the stream is gone. Only one caller at a time."""

    def receive(self) -> AsyncIterator[bytes]:
        """Messages until the stream ends. Raises ConnectionError."""

    async def close(self) -> None: ...


Dial = Callable[[float], Awaitable[Link]]
"""With so many seconds of patience for a controller that does not answer."""
