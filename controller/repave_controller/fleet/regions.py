"""What each region's agent has told, and which other agents have asked for the region.

Knows nothing of streams: `sessions.py` says when one opened, spoke and ended. Which agent may have a region
is decided in `holders.py`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from repave_protos.protocol.capabilities import (
    adopts,
    front_abilities,
    knows_workers,
    runs_jobs,
    secret_sources,
    takes_sizes,
    takes_spot,
    tells_health,
)
from repave_protos.protocol.certificates import AgentIdentity
from repave_protos.protocol.fronts import ability_in_words
from repave_protos.protocol.values import (
    ApplicationName,
    DesiredState,
    Hello,
    Observations,
    RegionName,
    Report,
)

REGIONS_MAX = 20_000
UNUSED_REGIONS_MAX = 100
"""Regions that no application is in, and whose agents have gone: any name can be said in a Hello."""
UNUSED_SECONDS = 600.0
"""After so long such a region is forgotten."""
RIVAL_SECONDS = 60.0
"""So long another agent of a region is told of after it asked."""
APPLICATIONS_PER_REGION_MAX = 10_000
TOLD_OFFSET_SECONDS = 1.0
"""By so much an agent's clock has moved when other controllers are told of it."""


@dataclass(frozen=True, slots=True)
class Home:
    """Another controller, which has the stream of a region's agent, and what it tells of that."""

    controller: str
    process: str  # another one each time it starts
    is_connected: bool
    since: float


@dataclass(slots=True)
class KnownRegion:
    """One region as its agent reports it, here or as the controller tells that is its home. `since`:
    connected, or unreachable, since (seconds of the clock).

    A new stream starts with no observations: what was true before the gap need not be true now.
    """

    region: RegionName
    is_connected: bool
    since: float
    hello: Hello
    observations: Observations = field(default_factory=Observations)
    troubles: tuple[str, ...] = ()  # of the region as a whole: those reported, and what is withheld
    reported: tuple[str, ...] = ()
    is_starting: bool = False  # its agent is there, and can't act yet: the first trouble says why
    identity: AgentIdentity | None = None  # of its agent's certificate
    clock_offset_seconds: float | None = None  # by which its clock is ahead of ours, as it said last
    told_offset_seconds: float | None = None  # as other controllers are told, not anew with each beat
    withheld: dict[ApplicationName, str] = field(default_factory=dict)  # what it isn't sent, and why
    session: int = 0  # of its stream, where several controllers share the regions
    home: Home | None = None  # None: its agent is, or was, connected here
    reported_at: float | None = None  # when its last report came, here or as its home told; None: none has

    @property
    def named(self) -> set[ApplicationName]:
        """The applications of which it has said something."""
        return self.observations.applications.keys() | {each.application for each in self.hello.applied}

    def admits(self, desired: DesiredState) -> bool:
        """Whether its agent may be sent this: one that knows of no secrets or sizes, as an older one, would
        start hosts without them. What it may not is told as a trouble of the region."""
        ignored = _ignored(desired, self.hello.capabilities)
        if not ignored:
            self.withheld.pop(desired.application, None)
        else:
            what, ignores = ignored
            self.withheld[desired.application] = (
                f"{desired.application} has {what}, which the agent ({self.hello.agent_version}, provider "
                f"{self.hello.provider}) {ignores}: it is sent nothing of it. Upgrade the agent"
            )
        self.troubles = (*self.reported, *self.withheld.values())
        return desired.application not in self.withheld

    def hear_clock(self, sent_at: float, now: float) -> None:
        """0: an older agent, which does not say."""
        if sent_at > 0:
            offset = self.clock_offset_seconds = sent_at - now
            told = self.told_offset_seconds
            if told is None or abs(offset - told) >= TOLD_OFFSET_SECONDS:
                self.told_offset_seconds = offset

    def merge(self, report: Report) -> tuple[set[ApplicationName], bool]:
        """The applications of which it changes what is known; and whether the agent counts what we do."""
        told = (self.troubles, self.is_starting)
        self.reported, self.is_starting = report.troubles, report.is_starting
        self.troubles = (*self.reported, *self.withheld.values())
        known = self.observations.applications
        spoken_of = {each.application for each in report.applications}
        before = known if report.is_full else {name: known[name] for name in spoken_of & known.keys()}
        is_same = self.observations.merge(report)
        after = self.observations.applications
        names = spoken_of | before.keys() if report.is_full else spoken_of
        changed = {name for name in names if before.get(name) != after.get(name)}
        if (self.troubles, self.is_starting) != told:
            changed |= self.named
        return changed, is_same


def _ignored(desired: DesiredState, capabilities: tuple[str, ...]) -> tuple[str, str] | None:
    """What the agent would leave out of hosts, and what it does instead."""
    if desired.has_secrets and secret_sources(capabilities) is None:
        return "secrets", "hands to no host"
    if desired.has_adopted and not adopts(capabilities):
        return "an adopted group", "does not know"
    if desired.is_worker and not knows_workers(capabilities):
        return "a worker", "does not know"
    if desired.has_sizes and not takes_sizes(capabilities):
        return "sizes of machines", "does not choose by"
    if desired.has_spot and not takes_spot(capabilities):
        return "spot machines", "can't ask for"
    if desired.jobs and not runs_jobs(capabilities):
        return "jobs", "does not run"
    if desired.has_health_by_balancer and not tells_health(capabilities):
        return "health by its balancer", "or its balancer does not know"
    if lacking := [each for each in desired.needs if each not in front_abilities(capabilities)]:
        return ability_in_words(lacking[0]), "or its balancer does not have"
    return None


@dataclass(frozen=True, slots=True)
class Rival:
    """Another agent of a region, with a state directory of its own, that was refused. `can_follow`: it stands
    by, and takes over without an operator."""

    hello: Hello
    at: float  # when it asked last
    why: str = ""
    can_follow: bool = False
    identity: AgentIdentity | None = None


class Regions:
    """Those that ever connected to this controller process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.views: dict[RegionName, KnownRegion] = {}
        self._clock = clock
        self._rivals: dict[RegionName, Rival] = {}

    def rivals(self) -> dict[RegionName, Rival]:
        """The agents that were refused of late because another one is that of their region."""
        now = self._clock()
        self._rivals = {name: each for name, each in self._rivals.items() if now < each.at + RIVAL_SECONDS}
        return self._rivals

    def refuse(self, rival: Rival) -> None:
        self._rivals[rival.hello.region] = rival

    def connect(self, hello: Hello, identity: AgentIdentity | None, session: int = 0) -> set[ApplicationName]:
        """Its agent is there; the applications of which the region has said something, now or before."""
        self._rivals.pop(hello.region, None)
        before = self.views.get(hello.region)
        view = KnownRegion(hello.region, True, self._clock(), hello, identity=identity, session=session)
        view.hear_clock(hello.sent_at, self._clock())
        self.views[hello.region] = view
        known = set(before.observations.applications) if before is not None else set()
        return known | {each.application for each in hello.applied}

    def disconnect(self, region: RegionName) -> set[ApplicationName]:
        """Its agent is away; the applications that it had reported."""
        view = self.views[region]
        view.is_connected, view.since = False, self._clock()
        view.troubles, view.is_starting = (), False
        return set(view.observations.applications)

    def forget(self, region: RegionName) -> bool:
        """Whether the region is known no longer; one whose agent is connected stays."""
        view = self.views.get(region)
        if view is None or view.is_connected:
            return view is None
        del self.views[region]
        self._rivals.pop(region, None)
        return True

    def forget_elsewhere(self, region: RegionName) -> None:
        """Its home has forgotten it."""
        del self.views[region]
        self._rivals.pop(region, None)

    def forget_unused(self, unused: Collection[RegionName]) -> list[KnownRegion]:
        """Regions that were only ever a name: after a while, and the oldest when there are many. Those that
        were forgotten."""
        away = [self.views[region] for region in unused if not self.views[region].is_connected]
        away.sort(key=lambda view: view.since, reverse=True)
        over = [
            view
            for index, view in enumerate(away)
            if index >= UNUSED_REGIONS_MAX or self._clock() >= view.since + UNUSED_SECONDS
        ]
        for view in over:
            del self.views[view.region]
        return over

    def is_one_too_many(self, region: RegionName) -> bool:
        return region not in self.views and len(self.views) >= REGIONS_MAX
