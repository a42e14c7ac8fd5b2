"""Does a rollout stay within what all applications together may have under way; if not, what is in the way?

The limits are the controller's settings. `load_of` counts what the others do now, `refusals` adds what one
application wants. Nothing is reserved: each caller asks anew each time, and is saved before the next asks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from repave_controller.core.domain.application import Application, GroupState, Part
from repave_controller.core.domain.reasons import Reason, Rule, reason_of
from repave_controller.core.domain.rollout import Phase, Track, TrackPhase
from repave_controller.core.domain.steps import baseline_hosts
from repave_protos.protocol.copies import replace
from repave_protos.protocol.values import ApplicationName, RegionName


@dataclass(frozen=True, slots=True)
class Limits:
    """Over all applications; 0: no limit."""

    releases: int = 0  # rollouts that run
    regions_in_flight: int = 0  # regions in which a rollout runs
    hosts_in_flight_percent: float = 0.0  # of all hosts: those that are not proven yet, or are leaving
    extra_hosts: int = 0  # hosts beside those that serve or are warm

    @property
    def is_any_set(self) -> bool:
        return self != NO_LIMITS


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Load:
    """What applications have under way now, by what is decided."""

    releasing: tuple[ApplicationName, ...] = ()  # those with a running rollout
    regions: frozenset[RegionName] = field(default_factory=frozenset)  # of these rollouts
    hosts_in_flight: int = 0  # not proven yet, or leaving
    hosts: int = 0  # that shall be there, those that leave not counted
    extra_hosts: int = 0  # brought up by these rollouts, and those of failed groups that are kept


@dataclass(frozen=True, slots=True)
class Wants:
    """What one application has and wants to have under way at once after its next move."""

    regions: int = 0  # in which its rollout runs
    regions_alone: int = 0  # of these: where no other application releases
    hosts_in_flight: int = 0
    hosts: int = 0
    extra_hosts: int = 0
    begins: bool = True  # nothing of its rollout has changed yet: it is one more


# ------------------------------------------------------------------------------------------ what is done now


def load_of(applications: Iterable[Application]) -> Load:
    """What these applications have under way together. A region that has begun counts with all the hosts that
    it will come to: a rollout that may begin can also finish, and no two wait for each other."""
    known = tuple(applications)
    begun = {each.name: tuple(_begun(each)) for each in known}
    fresh = sum(part.size for each in known for part in _fresh(each, begun[each.name]))
    fresh += sum(_beside(each, track) for each in known for track in begun[each.name])
    leaving = sum(part.size for each in known for part in _parts(each, GroupState.RETIRING))
    others = sum(part.count for each in known for part in _parts(each, GroupState.SERVING, GroupState.WARM))
    failed = sum(part.has for each in known for part in _parts(each, GroupState.FAILED))
    return Load(
        releasing=tuple(sorted(name for name, tracks in begun.items() if tracks)),
        regions=frozenset(
            track.region for tracks in begun.values() for track in tracks if not track.is_settled
        ),
        hosts_in_flight=fresh + leaving,
        hosts=fresh + others + failed,
        extra_hosts=fresh + failed,
    )


def wants_of(application: Application, others: Load) -> Wants:
    """What one application would have under way beside the others, were it decided so."""
    load = load_of([application])
    alone = len(load.regions - others.regions)
    begins = not load.releasing
    return Wants(len(load.regions), alone, load.hosts_in_flight, load.hosts, load.extra_hosts, begins)


def with_region(wants: Wants, application: Application, region: RegionName, others: Load) -> Wants:
    """What it would have under way once its rollout has begun in this region too, where it has yet to."""
    parts = (group.part(region) for group in application.groups if not group.is_baseline)
    fresh = sum(part.size for part in parts if part is not None and part.state is GroupState.NEW)
    running = application.running
    track = running.track(region) if running is not None else None
    fresh += _beside(application, track) if track is not None else 0
    return replace(
        wants,
        regions=wants.regions + 1,
        regions_alone=wants.regions_alone + (region not in others.regions),
        hosts_in_flight=wants.hosts_in_flight + fresh,
        hosts=wants.hosts + fresh,
        extra_hosts=wants.extra_hosts + fresh,
    )


def _begun(application: Application) -> Iterable[Track]:
    """The regions in which its rollout has changed something."""
    running = application.running
    return (track for track in running.tracks if track.has_begun) if running is not None else ()


def _fresh(application: Application, begun: Iterable[Track]) -> Iterable[Part]:
    """Of baselines `_beside` speaks."""
    regions = {track.region for track in begun}
    parts = (part for group in application.groups if not group.is_baseline for part in group.parts)
    return (part for part in parts if part.state is GroupState.NEW and part.region in regions)


def _beside(application: Application, track: Track) -> int:
    """Hosts of the baseline that the region has, or will come to."""
    rollout = application.running
    group = application.group(rollout.target_of(track)) if rollout is not None else None
    is_due = track.phase in (TrackPhase.WAITING, TrackPhase.RUNNING) and track.origin is not None
    if rollout is None or group is None or not is_due or rollout.phase is not Phase.RUNNING:
        return 0
    return baseline_hosts(rollout.steps, group.size(track.region), track.cursor)


def _parts(application: Application, *states: GroupState) -> Iterable[Part]:
    return (part for group in application.groups for part in group.parts if part.state in states)


# ------------------------------------------------------------------------------------------- what is too much


def refusals(limits: Limits, others: Load, wants: Wants) -> list[Reason]:
    """Every limit that the others and these wants together would break. What the others have alone may be
    above a limit that was lowered; then nothing more begins."""
    checks = (
        _releases(limits, others, wants),
        _regions_in_flight(limits, others, wants),
        _hosts_in_flight(limits, others, wants),
        _extra_hosts(limits, others, wants),
    )
    return [each for each in checks if each is not None]


def _releases(limits: Limits, others: Load, wants: Wants) -> Reason | None:
    if not limits.releases or not wants.begins or len(others.releasing) < limits.releases:
        return None
    return reason_of(
        Rule.LIMIT_OF_RELEASES, limit=limits.releases, others=others.releasing, is_too_much_alone=False
    )


def _regions_in_flight(limits: Limits, others: Load, wants: Wants) -> Reason | None:
    """A region in which others release already counts once."""
    together, limit = len(others.regions) + wants.regions_alone, limits.regions_in_flight
    if not limit or together <= limit or not wants.regions_alone:
        return None
    return reason_of(
        Rule.LIMIT_OF_REGIONS,
        limit=limit,
        others=others.releasing,
        regions=len(others.regions),
        together=together,
        is_too_much_alone=wants.regions > limit,
    )


def _hosts_in_flight(limits: Limits, others: Load, wants: Wants) -> Reason | None:
    """90 of others in flight, 30 wanted, of 1000 hosts in all: 12 %."""
    limit, hosts = limits.hosts_in_flight_percent, others.hosts + wants.hosts
    if not limit or not wants.hosts_in_flight or not hosts:
        return None
    share = 100 * (others.hosts_in_flight + wants.hosts_in_flight) / hosts
    if share <= limit:
        return None
    return reason_of(
        Rule.LIMIT_OF_HOSTS,
        limit=limit,
        others=others.releasing,
        theirs=others.hosts_in_flight,
        wanted=wants.hosts_in_flight,
        share=share,
        hosts=hosts,
        is_too_much_alone=100 * wants.hosts_in_flight / hosts > limit,
    )


def _extra_hosts(limits: Limits, others: Load, wants: Wants) -> Reason | None:
    together, limit = others.extra_hosts + wants.extra_hosts, limits.extra_hosts
    if not limit or not wants.extra_hosts or together <= limit:
        return None
    return reason_of(
        Rule.LIMIT_OF_EXTRA_HOSTS,
        limit=limit,
        others=others.releasing,
        theirs=others.extra_hosts,
        wanted=wants.extra_hosts,
        together=together,
        is_too_much_alone=wants.extra_hosts > limit,
    )
