"""Begins rollouts: of a release, of a group that is built again, of regions that had been away. Pure."""

from dataclasses import replace

from repave_controller.core.domain.application import (
    Application,
    Event,
    GroupState,
    Instant,
    Outcome,
    Part,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Happening, Reason, Refusal, Refused, reason_of
from repave_controller.core.domain.rollout import (
    GroupNumber,
    Phase,
    Rollout,
    RolloutKind,
    Step,
    Track,
    Wave,
)
from repave_controller.core.strategies.presets import first_steps, rollback_steps
from repave_protos.protocol.values import RegionName


def start_release(application: Application, order: ReleaseOrder, now: Instant) -> Outcome:
    """A new server group and the rollout that brings it into traffic."""
    check_order(application, order)
    order = with_kept_sizes(application, order)
    number = application.next_number
    group = ServerGroup(
        name=format_group(application.cluster, number),
        number=number,
        version=order.version,
        digest=order.digest,
        parts=new_parts(order.sizes),
        template=order.template,
        upkeep=order.upkeep,
        created_at=now,
    )
    started = replace(
        application.with_group(group),
        next_number=GroupNumber(number + 1),
        frontend_port=order.frontend_port,
        split=order.split,
        policy=order.policy,
    )
    steps = order.steps if application.serving is not None else first_steps(order.steps)
    waves = order.waves or (Wave(tuple(region for region, _ in order.sizes)),)
    started = begin(started, RolloutKind.RELEASE, group, steps, waves, order.by, order.reason, now)
    what = reason_of(
        Happening.RELEASE_STARTED,
        group=group.name,
        version=order.version,
        regions=tuple(region for region, _ in order.sizes),
    )
    return started, (group_event(started, "release.started", what, now, order.by, group),)


def with_kept_sizes(application: Application, order: ReleaseOrder) -> ReleaseOrder:
    """The order with the sizes that it keeps: where the application serves, those that it has now."""
    if not order.keeps_sizes:
        return order
    serving = {region: application.serving_in(region) for region, _ in order.sizes}
    sizes = tuple(
        (region, group.size(region) if (group := serving[region]) is not None else size)
        for region, size in order.sizes
    )
    return replace(order, sizes=sizes)


def new_parts(sizes: tuple[tuple[RegionName, int], ...]) -> ByRegion[Part]:
    """The parts of a group of which no region has been asked for hosts yet."""
    return ByRegion(Part(region, size, GroupState.NEW) for region, size in sorted(sizes))


def check_order(application: Application, order: ReleaseOrder) -> None:
    """Whether the release may be, as the application is now. Raises Refused."""
    named = {region for region, _ in order.sizes}
    served = {region: group for region in application.regions if (group := application.serving_in(region))}
    dropped = sorted(served.keys() - named)
    if dropped:
        raise Refused(Refusal.REGION_DROPPED, group=served[dropped[0]].name, regions=tuple(dropped))
    if not served:
        return
    if application.frontend_port != order.frontend_port:
        raise Refused(
            Refusal.FRONTEND_PORT_CHANGED,
            application=application.name,
            port=application.frontend_port,
            wanted=order.frontend_port,
        )


def begin(
    application: Application,
    kind: RolloutKind,
    target: ServerGroup,
    steps: tuple[Step, ...],
    waves: tuple[Wave, ...],
    by: str,
    reason: str,
    now: Instant,
) -> Application:
    """The application with a rollout of its own whose regions have yet to begin."""
    number = application.rollouts_total + 1
    waves = waves or (Wave(tuple(region for region, _ in target.sizes)),)
    rollout = Rollout(
        number=number,
        kind=kind,
        target=target.number,
        steps=steps,
        waves=waves,
        tracks=ByRegion(
            _track(application, region, index, target)
            for index, wave in enumerate(waves)
            for region in wave.regions
        ),
        phase=Phase.RUNNING,
        started_at=now,
        started_by=by,
        version=target.version,
        reason=reason,
    )
    return replace(application, rollout=rollout, rollouts_total=number, missed=())


def _track(application: Application, region: RegionName, wave: int, target: ServerGroup) -> Track:
    serving = application.serving_in(region)
    origin = serving.number if serving is not None and serving.number != target.number else None
    return Track(region, wave, origin)


def catch_up(application: Application, sizes: tuple[tuple[RegionName, int], ...], now: Instant) -> Outcome:
    """Regions that a rollout had to leave out get what the others have: by the same steps, or straight where
    the others went back to it."""
    last = application.rollout
    target = application.group(last.target) if last is not None else None
    missed = tuple(pair for pair in application.missed if pair not in sizes)
    if last is None or target is None or target.state is not GroupState.SERVING:
        return replace(application, missed=()), ()
    regions = tuple(region for region, _ in sizes)
    for part in new_parts(sizes):
        known = target.part(part.region)
        if known is None or known.state is GroupState.RETIRING:
            target = target.with_part(part)
    application = application.with_group(target)
    waves = (Wave(regions, is_lockstep=False),)
    steps = last.steps if last.kind is RolloutKind.RELEASE else rollback_steps(target)
    begun = begin(application, last.kind, target, steps, waves, "repave", "catches up", now)
    what = reason_of(Happening.CAUGHT_UP, group=target.name, version=target.version, regions=regions)
    started = group_event(begun, f"{last.kind}.started", what, now, "repave", target)
    return replace(begun, missed=missed), (started,)


def group_event(
    application: Application, kind: str, what: Reason, now: Instant, by: str, group: ServerGroup | None = None
) -> Event:
    name = group.name if group is not None else ""
    return Event(kind, application=application.name, group=name, by=by, at=now, what=what)
