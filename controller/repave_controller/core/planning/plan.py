"""Foretells what a release would do: the rollout that would be started, led through its steps. Pure."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Literal

from repave_controller.core.commands.release import request_release
from repave_controller.core.domain.application import (
    Application,
    GroupState,
    Instant,
    Observed,
    Part,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.jobs import NO_JOBS, Jobs
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.place import place_of, put_sides
from repave_controller.core.domain.reasons import Reason, Refused
from repave_controller.core.domain.rollout import GroupNumber, Rollout, Step, Track, TrackPhase, Wave
from repave_controller.core.domain.scaling import Scaling
from repave_controller.core.domain.steps import baseline_range
from repave_controller.core.planning.prices import NO_PRICES, Price, Prices, Rates, summed
from repave_controller.core.planning.sight import unseen
from repave_controller.core.rollout.conclusion import too_old
from repave_controller.core.rollout.start import begin_release, hint_of_kept, start_release, with_kept_sizes
from repave_controller.core.rollout.transitions import taken_over
from repave_controller.core.rules.guards import NO_CONSTRAINTS, Constraints, Guard, foreseen
from repave_controller.core.steps.step import entered, estimate_seconds
from repave_protos.protocol.copies import replace
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import (
    ApplicationName,
    GroupName,
    HostTemplate,
    RegionName,
    SecretReference,
    fingerprint,
    short_digest,
)

HOUR_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A region once a step is entered: hosts of both groups, the new one's share, and the step's length.
    `baseline_hosts`: fresh ones of the old version, beside them."""

    new_hosts: int
    old_hosts: int
    weight_bp: int
    seconds: float
    baseline_hosts: int = 0

    @property
    def hosts(self) -> int:
        return self.new_hosts + self.old_hosts + self.baseline_hosts


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """Hosts of one region. `peak` counts all groups at the moment when most hosts run; `extra` are those that
    are not there now. `rates`: None where the price of some host is not known."""

    name: RegionName
    wave: int
    creates: int
    keeps_warm: int
    destroys: int
    peak: int
    extra: int
    floor: int
    extra_host_hours: float
    rates: Rates | None
    moments: tuple[Moment, ...]  # one a step
    scaling: Scaling | None = None  # None: the number of its hosts is that of the spec

    @property
    def cost(self) -> float | None:
        """What the release costs here beside what would run anyway."""
        return self.rates.extra if self.rates is not None else None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is known beforehand. `id` changes with the order and with the application."""

    id: str
    application: ApplicationName
    group: GroupName
    origin: GroupName | None
    strategy: str
    steps: tuple[Step, ...]
    waves: tuple[Wave, ...]
    regions: tuple[RegionPlan, ...]
    keeps: tuple[GroupName, ...]
    destroys: tuple[GroupName, ...]
    at_least_seconds: float
    extra_host_hours: float
    rates: tuple[Rates, ...]  # one for each currency, of the regions with a price
    unpriced: tuple[str, ...]  # of what a price is not known, by region; none where no price was asked for
    prices_as_of: str  # the date of the operator's table, where it counts
    changes: tuple[str, ...]  # what differs from the group that serves
    guards: tuple[Guard, ...]
    problems: tuple[Reason, ...]
    back: Literal["", "switch", "grow", "build"]  # what going back would take after it; "": nothing served
    hint: Reason | None = None  # a shorter way
    failed: tuple[GroupName, ...] = ()  # kept to be looked at; the next one that fails takes its place
    keep_failed_seconds: float = 0.0  # that the hosts of this one are kept, should it fail
    secrets: tuple[SecretReference, ...] = ()  # of its hosts: where they are kept
    jobs: Jobs = NO_JOBS
    port: int = 0
    fronts: tuple[TrafficFront, ...] = ()  # of the new group; (): plain HTTP at `port`
    drained: tuple[RegionName, ...] = ()  # of its regions: they stay out of DNS
    is_worker: bool = False  # weights are shares of its work
    warnings: tuple[Reason, ...] = ()  # what its analyses will not see in their time


def plan_release(
    application: Application,
    order: ReleaseOrder,
    observed: Observed | None = None,
    now: Instant = Instant(0),  # noqa: B008  # frozen
    constraints: Constraints = NO_CONSTRAINTS,
    prices: Prices = NO_PRICES,
) -> Plan:
    """What releasing `order` now would do, when nothing fails."""
    order = with_kept_sizes(application, order)
    started = planned(application, order, now)
    rollout = started.rollout
    assert rollout is not None, "a started release has a rollout"
    origin = application.group(application.serving)
    name = format_group(application.cluster, application.next_number)
    courses = _courses(application, order, rollout, now)
    keeps, destroys = _old_groups(application, name, courses)
    regions = _regions(application, order, rollout, courses, prices)
    return Plan(
        id=plan_id(application, order),
        application=application.name,
        group=name,
        origin=origin.name if origin else None,
        strategy=order.strategy,
        steps=rollout.steps,
        waves=rollout.waves,
        regions=regions,
        keeps=keeps,
        destroys=destroys,
        at_least_seconds=_length(rollout, regions),
        extra_host_hours=sum(region.extra_host_hours for region in regions),
        rates=summed(each.rates for each in regions if each.rates is not None),
        unpriced=_unpriced(application, order, regions, prices),
        prices_as_of=prices.as_of if len(order.prices) < len(order.sizes) else "",
        changes=_changes(application, order, origin),
        guards=foreseen(application, _all_begun(started), order, observed or {}, now, constraints),
        problems=_problems(application, order),
        back=_back(application, rollout, dict(order.sizes), courses),
        hint=hint_of_kept(application, order),
        failed=tuple(each.name for each in application.groups if each.state is GroupState.FAILED),
        keep_failed_seconds=order.policy.keep_failed_seconds,
        secrets=order.template.secrets,
        jobs=order.jobs,
        is_worker=order.template.is_worker,
        port=order.frontend_port,
        fronts=order.template.fronts,
        drained=tuple(region for region, _ in order.sizes if application.drained_in(region) is not None),
        warnings=unseen(
            rollout,
            dict(order.sizes),
            {each.name: tuple(moment.weight_bp for moment in each.moments) for each in regions},
        ),
    )


def extra_hosts(application: Application, order: ReleaseOrder, now: Instant) -> Mapping[RegionName, int]:
    """What a plan says of the hosts that are not there now, and nothing else of it: as a release begins."""
    order = with_kept_sizes(application, order)
    rollout = planned(application, order, now).rollout
    assert rollout is not None, "a started release has a rollout"
    courses, sizes = _courses(application, order, rollout, now), dict(order.sizes)
    return {
        track.region: max(0, courses[track.region].peak(sizes[track.region]) - _had(application, track))
        for track in rollout.tracks
    }


def planned(application: Application, order: ReleaseOrder, now: Instant) -> Application:
    """The application with the rollout that would be started, were nothing else running: this then runs."""
    alone = replace(application, rollout=None)
    try:
        started, _ = start_release(alone, order, now)
    except Refused:  # told as a problem; the steps are shown all the same
        fresh = replace(alone, groups=(), frontend_port=0)
        started, _ = begin_release(fresh, order, now)
    return started


def _all_begun(started: Application) -> Application:
    """At the moment when most is under way at once."""
    rollout = started.rollout
    assert rollout is not None, "a started release has a rollout"
    tracks = ByRegion(replace(track, phase=TrackPhase.RUNNING) for track in rollout.tracks)
    return replace(started, rollout=replace(rollout, tracks=tracks))


# -------------------------------------------------------------------------------------------- the digest


def plan_id(application: Application, order: ReleaseOrder) -> str:
    """Short id of what is asked and what it would act on; who asks, and why, does not matter."""
    return fingerprint(tuple(plan_parts(application, order).items()))[:8].upper()


def plan_parts(application: Application, order: ReleaseOrder) -> dict[str, str]:
    """What the id is made of, by what people call it: to say which of it has changed."""
    running = application.running
    serving = application.group(application.serving)
    order = with_kept_sizes(application, order)
    return {
        "the package": order.digest,
        "the version": order.version,
        "the sizes of the regions": fingerprint(order.sizes),
        "what a host runs and how it is asked": fingerprint(
            (order.template, tuple(order.overlays), order.frontend_port)
        ),
        "the steps": fingerprint((order.strategy, order.steps)),
        "the waves": fingerprint(order.waves),
        "the rules (rollback, guards, windows, host.max_age)": fingerprint((order.policy, order.upkeep)),
        "who gets which side (traffic.split)": fingerprint(order.split),
        "the jobs": fingerprint(order.jobs),
        "the prices": fingerprint((tuple(order.prices), order.currency)),
        "who serves": f"{serving.name} serves" if serving else "no group serves",
        "the groups there are": fingerprint(
            tuple((each.name, each.state, each.sizes) for each in application.groups)
        ),
        "the number of the next group": str(application.next_number),
        "what is being rolled out": f"{running.number} {running.phase}" if running else "nothing",
        "the queue": str(len(application.queue)),
    }


def never_released(name: ApplicationName, cluster: str) -> Application:
    """An application that was never released."""
    return Application(name, cluster, GroupNumber(1))


# ------------------------------------------------------------------------------------------------- words


def _changes(application: Application, order: ReleaseOrder, origin: ServerGroup | None) -> tuple[str, ...]:
    """In what the release differs from the group that serves now."""
    if origin is None:
        return ("the first release",)
    if origin.is_adopted:
        return (
            f"the first release: {origin.name} was adopted, and stays as it is",
            *_resized(application, order),
        )
    found = []
    if order.digest != origin.digest:
        found.append(f"package {short_digest(origin.digest)} -> {short_digest(order.digest)}")
    if order.version != origin.version:
        found.append(f"version {origin.version} -> {order.version}")
    if order.template.run != origin.template.run:
        found.append(f"run {' '.join(origin.template.run)} -> {' '.join(order.template.run)}")
    everywhere = _changed_hosts(origin.template, order.template)
    found += everywhere
    found += _changed_secrets(origin.template.secrets, order.template.secrets)
    for region, _ in order.sizes:
        there = _changed_hosts(origin.template_in(region), order.template_in(region))
        found += [f"{region}: {each}" for each in there if each not in everywhere]
        found += [f"not in {region}: {each}" for each in everywhere if each not in there]
    found += _resized(application, order)
    found += _rescaled(application, order)
    if order.template.probe != origin.template.probe:
        found.append("how hosts are asked for their health")
    if order.template.health_by != origin.template.health_by:
        found.append(f"health by the {origin.template.health_by} -> by the {order.template.health_by}")
    return tuple(found) or ("nothing but fresh hosts",)


def _resized(application: Application, order: ReleaseOrder) -> list[str]:
    found = []
    for region, size in order.sizes:
        before = application.serving_in(region)
        had = before.size(region) if before is not None else 0
        if had != size:
            found.append(f"{region}: {had} -> {size} hosts")
    return found


def _rescaled(application: Application, order: ReleaseOrder) -> list[str]:
    """Regions whose number of hosts is chosen in another way, or no longer."""
    found = []
    for region, _ in order.sizes:
        before, after = (policy.scaling.find(region) for policy in (application.policy, order.policy))
        if before == after:
            continue
        was, shall = ("as the spec says" if each is None else bounds_of(each) for each in (before, after))
        found.append(f"{region}: hosts {was} -> {shall}")
    return found


def bounds_of(scaling: Scaling) -> str:
    """`2 to 20 by requests`"""
    return f"{scaling.least} to {scaling.most} by {scaling.by}"


def _changed_hosts(before: HostTemplate, after: HostTemplate) -> list[str]:
    """In what may differ from region to region."""
    found = []
    images = [each.machine_image or "of the settings" for each in (before, after)]
    if images[0] != images[1]:
        found.append(f"machine image {images[0]} -> {images[1]}")
    sizes = [" or ".join(each.machine_sizes) or "of the settings" for each in (before, after)]
    if sizes[0] != sizes[1]:
        found.append(f"machine size {sizes[0]} -> {sizes[1]}")
    if before.is_spot != after.is_spot:
        kinds = {False: "machines", True: "spot machines"}
        found.append(f"{kinds[before.is_spot]} -> {kinds[after.is_spot]}")
    return found + _changed_environment(dict(before.environment), dict(after.environment))


def _changed_environment(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names only: values may be secret."""
    found = [f"env {name} added" for name in sorted(after.keys() - before.keys())]
    found += [f"env {name} removed" for name in sorted(before.keys() - after.keys())]
    return found + [
        f"env {name} changed" for name in sorted(before.keys() & after.keys()) if before[name] != after[name]
    ]


def _changed_secrets(before: Iterable[SecretReference], after: Iterable[SecretReference]) -> list[str]:
    """Where they are kept; what they are is not known here."""
    was, shall = ({each.name: each for each in references} for references in (before, after))
    found = [f"secret {name} added: {shall[name]}" for name in sorted(shall.keys() - was.keys())]
    found += [f"secret {name} removed" for name in sorted(was.keys() - shall.keys())]
    for name in sorted(was.keys() & shall.keys()):
        if str(was[name]) != str(shall[name]):
            found.append(f"secret {name} {was[name]} -> {shall[name]}")
        elif was[name] != shall[name]:
            found.append(f"secret {name} as {'a file' if shall[name].as_file else 'a variable'}")
    return found


# --------------------------------------------------------------------------------------- hosts and hours


def _old_groups(
    application: Application, group: GroupName, courses: Mapping[RegionName, "_Course"]
) -> tuple[tuple[GroupName, ...], tuple[GroupName, ...]]:
    """Those that stay in some region once the release has succeeded, and those that it lets go in all; those
    that served last first."""
    old = [each for each in application.groups if each.state in (GroupState.SERVING, GroupState.WARM)]
    old.sort(
        key=lambda each: (each.state is GroupState.SERVING, each.left_traffic_at or 0.0, each.number),
        reverse=True,
    )
    kept = {name for course in courses.values() for name in course.kept if name != group}
    left = {
        each.name
        for each in old
        if any(part.region not in courses and part.state is not GroupState.RETIRING for part in each.parts)
    }
    stays = [each.name for each in old if each.name in kept | left]
    return tuple(stays), tuple(each.name for each in old if each.name not in stays)


def _back(
    application: Application,
    rollout: Rollout,
    sizes: Mapping[RegionName, int],
    courses: Mapping[RegionName, "_Course"],
) -> Literal["", "switch", "grow", "build"]:
    """The most that it takes in any region: none of the hosts that serve now is kept, or too few. Where the
    release is new, the group that the others go back to is launched."""
    served = [(application.group(track.origin), track.region) for track in rollout.tracks]
    kept = [
        (courses[region].kept.get(group.name, 0) if group is not None else 0, sizes[region])
        for group, region in served
    ]
    if not any(group is not None for group, _ in served):
        return ""
    if any(hosts == 0 for hosts, _ in kept):
        return "build"
    return "grow" if any(hosts < size for hosts, size in kept) else "switch"


def _courses(
    application: Application, order: ReleaseOrder, rollout: Rollout, now: Instant
) -> dict[RegionName, "_Course"]:
    """Regions that are alike but for their names, as most are, go the same way: once for all of them."""
    sizes = dict(order.sizes)
    kinds = {track.region: _kind(application, track, sizes[track.region]) for track in rollout.tracks}
    first = {kinds[track.region]: track for track in reversed(tuple(rollout.tracks))}
    led = {
        kind: _led(application, order, rollout, track, sizes[track.region]) for kind, track in first.items()
    }
    seconds = {region: sum(each.seconds for each in led[kind][1]) for region, kind in kinds.items()}
    length = _wave_ends(rollout, seconds)[-1]
    courses = {
        kind: _Course(moments, _kept(alone, first[kind], now, length))
        for kind, (alone, moments) in led.items()
    }
    return {region: courses[kind] for region, kind in kinds.items()}


def _kind(application: Application, track: Track, size: int) -> Hashable:
    """All that its way through the steps depends on, but for the name of the region."""
    parts = ((group.number, group.part(track.region)) for group in application.groups)
    there = tuple((number, _OF_PART(part)) for number, part in parts if part is not None)
    return size, _OF_TRACK(track), there


def _all_but_region(kind: type[Part | Track]) -> Callable[[Part | Track], Hashable]:
    return attrgetter(*(field.name for field in fields(kind) if field.name != "region"))


_OF_PART, _OF_TRACK = _all_but_region(Part), _all_but_region(Track)


def _regions(
    application: Application,
    order: ReleaseOrder,
    rollout: Rollout,
    courses: Mapping[RegionName, "_Course"],
    prices: Prices,
) -> tuple[RegionPlan, ...]:
    sizes = dict(order.sizes)
    seconds = {region: course.seconds for region, course in courses.items()}
    ends = _wave_ends(rollout, seconds)
    return tuple(
        _region(
            track,
            sizes[track.region],
            application,
            order,
            courses[track.region],
            ends[-1] - ends[track.wave] + rollout.waves[track.wave].bake_seconds,
            prices,
        )
        for track in rollout.tracks
    )


def _region(
    track: Track,
    size: int,
    application: Application,
    order: ReleaseOrder,
    course: "_Course",
    waits_seconds: float,
    prices: Prices,
) -> RegionPlan:
    region, moments = track.region, course.moments
    serving = application.group(track.origin)
    had = _had(application, track)
    parts = [(group, part) for group in application.groups if (part := group.part(region)) is not None]
    others = sum(part.has for group, part in parts if group.number != track.origin)
    now = serving.part(region) if serving is not None else None
    peak = course.peak(size)
    hours = sum(max(0, each.hosts - had) * each.seconds for each in moments)
    left = moments[-1].old_hosts if moments else 0
    kept = course.kept.get(serving.name, 0) if serving is not None else 0
    waits = left * waits_seconds + kept * order.policy.keep_seconds
    hours += waits
    keeps = sum(course.kept.values())
    return RegionPlan(
        name=region,
        wave=track.wave,
        creates=size,
        keeps_warm=keeps,
        destroys=sum(part.count for _, part in parts) - keeps,
        peak=others + max(peak, now.count if now is not None else 0),
        extra=max(0, peak - had),
        floor=order.policy.floor(size),
        extra_host_hours=hours / HOUR_SECONDS,
        rates=_rates(application, order, track, size, course, waits, prices),
        moments=moments,
        scaling=order.policy.scaling.find(region),
    )


def _had(application: Application, track: Track) -> int:
    """Hosts of the group that serves."""
    serving = application.group(track.origin)
    return serving.size(track.region) if serving is not None else 0


def _rates(
    application: Application,
    order: ReleaseOrder,
    track: Track,
    size: int,
    course: "_Course",
    waits: float,
    prices: Prices,
) -> Rates | None:
    """`waits`: seconds of hosts of the old group once the new one has the traffic."""
    region = track.region
    templates = _templates(application, order, region)
    found = {name: _price(order, region, template, prices) for name, template in templates.items()}
    fresh = found[None]
    known = [each for each in found.values() if each is not None]
    if fresh is None or len(known) < len(found) or len({each.currency for each in known}) > 1:
        return None
    parts = {group.name: (group, part) for group in application.groups if (part := group.part(region))}
    hourly = {name: price.hourly for name, price in found.items() if price is not None}
    serving = application.group(track.origin)
    old = hourly.get(serving.name, 0.0) if serving is not None else 0.0
    had = serving.size(region) * old if serving is not None else 0.0
    others = sum(part.has * hourly[name] for name, (group, part) in parts.items() if group is not serving)
    running = [
        each.new_hosts * fresh.hourly + (each.old_hosts + each.baseline_hosts) * old
        for each in course.moments
    ]
    over = sum(
        max(0.0, rate - had) * each.seconds for rate, each in zip(running, course.moments, strict=True)
    )
    now = sum(part.has * hourly[name] for name, (_, part) in parts.items())
    after = size * fresh.hourly
    return Rates(
        currency=fresh.currency,
        now=now,
        peak=max([now, after, *(others + rate for rate in running)]),
        kept=after + sum(hosts * hourly[name] for name, hosts in course.kept.items() if name in hourly),
        after=after,
        extra=(over + waits * old) / HOUR_SECONDS,
    )


def _templates(
    application: Application, order: ReleaseOrder, region: RegionName
) -> dict[GroupName | None, HostTemplate]:
    """Of the groups that have hosts there, by name; None: the new one."""
    found: dict[GroupName | None, HostTemplate] = {None: order.template_in(region)}
    groups = (group for group in application.groups if group.part(region) is not None)
    found |= {group.name: group.template_in(region) for group in groups}
    return found


def _price(order: ReleaseOrder, region: RegionName, template: HostTemplate, prices: Prices) -> Price | None:
    written = order.prices.find(region)
    return Price(written[1], order.currency) if written is not None else prices.of(region, template)


def _unpriced(
    application: Application, order: ReleaseOrder, regions: tuple[RegionPlan, ...], prices: Prices
) -> tuple[str, ...]:
    """None where neither the spec nor a table has any price."""
    if not (order.prices or prices.rows or prices.fault):
        return ()
    lacking = [prices.fault] if prices.fault else []
    for region in (each.name for each in regions if each.rates is None):
        templates = _templates(application, order, region).values()
        unknown = [each for each in templates if _price(order, region, each, prices) is None]
        lacking += [prices.unknown(region, each) for each in unknown] or [f"{region}: in several currencies"]
    return tuple(dict.fromkeys(lacking))


@dataclass(frozen=True, slots=True)
class _Course:
    """A region on its way through the steps, and the hosts of old groups that it has when all is over."""

    moments: tuple[Moment, ...]
    kept: Mapping[GroupName, int]

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.moments)

    def peak(self, size: int) -> int:
        """The most hosts that run at once of the groups that the release is about."""
        return max((each.hosts for each in self.moments), default=size)


def _led(
    application: Application, order: ReleaseOrder, rollout: Rollout, track: Track, size: int
) -> tuple[Application, tuple[Moment, ...]]:
    """The region after each step is entered, by the functions that decide so then; as it is at last."""
    alone = _only(application, track.region)
    alone, _ = begin_release(alone, replace(order, sizes=((track.region, size),), waves=()), Instant(0))
    assert alone.rollout is not None, "a started release has a rollout"
    rollout = replace(rollout, target=alone.rollout.target)
    # Launches as they took of late.
    proof_seconds = max(order.template.min_healthy_seconds, application.launch_seconds)
    moments, within = [], baseline_range(rollout.steps)
    for index, step in enumerate(rollout.steps):
        alone = entered(alone, rollout, track, step)
        place = place_of(alone, rollout, track)
        assert place is not None, "a release has a part in each of its regions"
        old_hosts = place.origin.part.count if place.origin is not None else 0
        seconds = estimate_seconds(step, proof_seconds)
        part, is_compared = place.target.part, index in within and place.origin is not None
        moments.append(
            Moment(part.count, old_hosts, part.weight_bp, seconds, part.count if is_compared else 0)
        )
    return alone, tuple(moments)


def _kept(alone: Application, track: Track, now: Instant, length: float) -> Mapping[GroupName, int]:
    """The hosts of old groups that the region has once the whole release has ended, `length` after now."""
    assert alone.rollout is not None, "a started release has a rollout"
    parts = [part for group in alone.groups for part in group.parts]
    begin = max([now, *(part.left_traffic_at for part in parts if part.left_traffic_at)])
    end = Instant(begin + length)
    alone = put_sides(alone, taken_over(alone, alone.rollout, track, end))
    gone = {group.number for group, _ in too_old(alone, track.region, end)[0]}
    return {
        group.name: part.count
        for group in alone.groups
        if (part := group.part(track.region)) is not None
        and part.state is GroupState.WARM
        and group.number not in gone
    }


def _only(application: Application, region: RegionName) -> Application:
    """The application as if it had this region alone: small, however many there are."""
    groups = tuple(
        replace(group, parts=ByRegion((part,)))
        for group in application.groups
        if (part := group.part(region)) is not None
    )
    return replace(application, groups=groups, rollout=None, desired=ByRegion(), offered=ByRegion())


def _wave_ends(rollout: Rollout, seconds: Mapping[RegionName, float]) -> list[float]:
    """When each wave has ended, from the beginning."""
    ends, now = [], 0.0
    for wave in rollout.waves:
        longest = max((seconds[region] for region in wave.regions), default=0.0)
        rounds = -(-len(wave.regions) // (wave.parallel or len(wave.regions)))
        now += longest * rounds + wave.bake_seconds
        ends.append(now)
    return ends


def _length(rollout: Rollout, regions: tuple[RegionPlan, ...]) -> float:
    seconds = {region.name: sum(each.seconds for each in region.moments) for region in regions}
    return _wave_ends(rollout, seconds)[-1]


def _problems(application: Application, order: ReleaseOrder) -> tuple[Reason, ...]:
    try:
        request_release(application, order, queue=False, now=Instant(0))
    except Refused as refused:
        return (refused.reason,)
    return ()
