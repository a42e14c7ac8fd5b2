"""Begins rollouts: of a release, of a group that is built again, of regions that had been away. Pure."""

from repave_controller.core.domain.application import (
    UNWANTED,
    Application,
    Event,
    GroupState,
    Instant,
    Missed,
    Outcome,
    Part,
    Policy,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.jobs import Jobs
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Happening, Reason, Refusal, Refused, cli, reason_of
from repave_controller.core.domain.rollout import (
    GroupNumber,
    Phase,
    Rollout,
    RolloutKind,
    Step,
    Track,
    Wave,
)
from repave_controller.core.domain.steps import baseline_range
from repave_controller.core.strategies.checks import objection
from repave_controller.core.strategies.presets import first_steps, way_back_steps
from repave_protos.protocol.copies import replace
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.values import RegionName


def start_release(application: Application, order: ReleaseOrder, now: Instant) -> Outcome:
    """A new server group and the rollout that brings it into traffic. Raises Refused."""
    check_order(application, order)
    order = with_kept_sizes(application, order)
    check_steps(application, order)
    return begin_release(application, order, now)


def begin_release(application: Application, order: ReleaseOrder, now: Instant) -> Outcome:
    """The same, whether or not it may be: a plan shows also what is refused."""
    number = application.next_number
    group = ServerGroup(
        name=format_group(application.cluster, number),
        number=number,
        version=order.version,
        digest=order.digest,
        parts=new_parts(order.sizes),
        template=order.template,
        overlays=order.overlays,
        upkeep=order.upkeep,
        created_at=now,
        jobs=order.jobs,
    )
    started = replace(
        application.with_group(group),
        next_number=GroupNumber(number + 1),
        frontend_port=order.frontend_port,
        split=order.split,
        policy=order.policy,
        deletion=None,
    )
    steps = order.steps if application.serving is not None else first_steps(order.steps)
    waves = order.waves or (Wave(tuple(region for region, _ in order.sizes)),)
    started = begin(started, RolloutKind.RELEASE, group, steps, waves, order.by, order.reason, now)
    started = with_jobs(started, order.jobs)
    what = reason_of(
        Happening.RELEASE_STARTED,
        group=group.name,
        version=order.version,
        regions=tuple(region for region, _ in order.sizes),
    )
    told = [group_event(started, "release.started", what, now, order.by, group)]
    hint = hint_of_kept(application, order)
    if hint is not None:
        told.append(group_event(started, "release.hint", hint, now, "repave", group))
    return started, tuple(told)


def with_jobs(application: Application, jobs: Jobs) -> Application:
    """The application whose rollout, which has just begun, runs these."""
    rollout = application.running
    assert rollout is not None, "it has just begun"
    return replace(application, rollout=replace(rollout, jobs=jobs))


def hint_of_kept(application: Application, order: ReleaseOrder) -> Reason | None:
    """That an old group which is kept in all regions of the order has its package already: going back to it
    is one switch."""
    regions = [region for region, _ in order.sizes]
    for group in reversed(application.groups):
        states = [part.state for region in regions if (part := group.part(region)) is not None]
        if group.digest == order.digest and states == [GroupState.WARM] * len(regions):
            back = cli("rollback", application.name, to=group.name)
            return reason_of(Happening.KEPT_ALREADY, back, group=group.name)
    return None


def with_kept_sizes(application: Application, order: ReleaseOrder) -> ReleaseOrder:
    """The order with the sizes that it keeps: where the application serves, those that it has now; of regions
    whose number is chosen, as near to these as the bounds let it."""
    if not order.keeps_sizes and not order.policy.scaling:
        return order
    sizes = tuple(
        (region, _kept_size(application, order.policy, region, size, keeps=order.keeps_sizes))
        for region, size in order.sizes
    )
    return replace(order, sizes=sizes)


def _kept_size(
    application: Application, policy: Policy, region: RegionName, size: int, *, keeps: bool = False
) -> int:
    """The number of hosts that is in force there, where the release does not bring one of its own."""
    scaling, serving = policy.scaling.find(region), application.serving_in(region)
    if serving is None or (scaling is None and not keeps):
        return size
    had = serving.size(region)
    return had if scaling is None else scaling.within(had)


def new_parts(sizes: tuple[tuple[RegionName, int], ...]) -> ByRegion[Part]:
    """The parts of a group of which no region has been asked for hosts yet."""
    return ByRegion(Part(region, size, GroupState.NEW) for region, size in sorted(sizes))


def check_order(application: Application, order: ReleaseOrder) -> None:
    """Whether the release may be, as the application is now. Raises Refused. A region that has not heard of a
    deletion would be told to serve on with a group that is not there yet."""
    if application.deletion is not None and application.groups:
        why = cli("why", application.name)
        raise Refused(Refusal.BEING_DELETED, why, application=application.name, regions=application.regions)
    named = {region for region, _ in order.sizes}
    served = {region: group for region in application.regions if (group := application.serving_in(region))}
    dropped = sorted(served.keys() - named)
    if dropped:
        leave = cli("regions leave", dropped[0], application.name)
        raise Refused(Refusal.REGION_DROPPED, leave, group=served[dropped[0]].name, regions=tuple(dropped))
    if not served:
        if left := next((group for group in application.groups if _comes_in_otherwise(group, order)), None):
            why, regions = cli("why", application.name), tuple(part.region for part in left.parts)
            raise Refused(Refusal.LEFT_OTHERWISE, why, group=left.name, regions=regions)
        return
    adopted = next((group for group in served.values() if group.is_adopted), None)
    if adopted is not None and baseline_range(order.steps):
        raise Refused(Refusal.NO_BASELINE_OF_ADOPTED, group=adopted.name)
    if any(group.template.is_worker != order.template.is_worker for group in served.values()):
        kind = Refusal.WORKER_TO_SERVE if application.is_worker else Refusal.SERVED_TO_WORK
        raise Refused(kind, application=application.name)
    if not application.is_watched and application.frontend_port != order.frontend_port:
        raise Refused(
            Refusal.FRONTEND_PORT_CHANGED,
            application=application.name,
            port=application.frontend_port,
            wanted=order.frontend_port,
        )
    for group in served.values():
        if name := _turned(group.template.fronts, order.template.fronts):
            raise Refused(Refusal.FRONT_TURNED, application=application.name, front=name)


def _comes_in_otherwise(group: ServerGroup, order: ReleaseOrder) -> bool:
    """Whether no region can have both: one is a worker's, or their main fronts have different ports."""
    ports = {fronts[0].port for fronts in (group.template.fronts, order.template.fronts) if fronts}
    return group.template.is_worker != order.template.is_worker or not ports <= {order.frontend_port}


def _turned(former: tuple[TrafficFront, ...], wanted: tuple[TrafficFront, ...]) -> str:
    """The front that would change between connections and requests: both groups share it for a while."""
    first = [fronts[0] if fronts else plain_front(0) for fronts in (former, wanted)]
    if first[0].is_tcp != first[1].is_tcp:
        return first[1].name
    known = {front.name: front.is_tcp for front in former[1:]}
    turned = (front.name for front in wanted[1:] if known.get(front.name, front.is_tcp) != front.is_tcp)
    return next(turned, "")


def check_steps(application: Application, order: ReleaseOrder) -> None:
    """Whether the steps also suit the groups that serve now: the spec was checked with its own sizes alone.
    Raises Refused."""
    served = {
        region: group.size(region)
        for region, _ in order.sizes
        if (group := application.serving_in(region)) is not None
    }
    sizes = tuple(
        (region, size)
        for region, size in order.sizes
        if served.get(region, size) != size or order.policy.scaling.find(region) is not None
    )
    found = objection(order.steps, order.policy, sizes, served=served)
    if found is not None:
        raise Refused(Refusal.STEPS_DONT_FIT, text=found.text)


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
    waves = waves or (Wave(tuple(region for region, _ in target.sizes)),)
    tracks = ByRegion(
        Track(region, index, origin_of(application, region, target.number))
        for index, wave in enumerate(waves)
        for region in wave.regions
    )
    return begin_tracks(application, kind, target, steps, waves, tracks, by, reason, now)


def begin_tracks(
    application: Application,
    kind: RolloutKind,
    target: ServerGroup,
    steps: tuple[Step, ...],
    waves: tuple[Wave, ...],
    tracks: ByRegion[Track],
    by: str,
    reason: str,
    now: Instant,
) -> Application:
    """The same with tracks that differ in what they begin with, or lead to."""
    number = application.rollouts_total + 1
    rollout = Rollout(
        number=number,
        kind=kind,
        target=target.number,
        steps=steps,
        waves=waves,
        tracks=tracks,
        phase=Phase.RUNNING,
        started_at=now,
        started_by=by,
        version=target.version,
        reason=reason,
    )
    return replace(application, rollout=rollout, rollouts_total=number)


def origin_of(application: Application, region: RegionName, target: GroupNumber) -> GroupNumber | None:
    """Who serves in the region before `target` does."""
    serving = application.serving_in(region)
    return serving.number if serving is not None and serving.number != target else None


def catch_up(application: Application, missed: tuple[Missed, ...], now: Instant) -> Outcome:
    """Regions that a rollout had to leave out get what was meant for them: by the same steps, or straight
    where the others went back."""
    caught = frozenset(missed)
    last, later = application.rollout, tuple(each for each in application.missed if each not in caught)
    due = [each for each in missed if _is_owed(application, each)]
    if last is None or not due:
        return replace(application, missed=later), ()
    fresh: dict[GroupNumber, list[tuple[RegionName, int]]] = {}
    for each in due:
        group = application.group(each.target)
        known = group.part(each.region) if group is not None else None
        if known is None or known.state in UNWANTED:
            size = _kept_size(application, application.policy, each.region, each.size)
            fresh.setdefault(each.target, []).append((each.region, size))
    for number, sizes in fresh.items():
        group = application.group(number)
        assert group is not None, "it was just found"
        application = application.with_group(group.with_parts(new_parts(tuple(sizes))))
    number = max(each.target for each in due)
    target = application.group(number)
    assert target is not None, "it was just found"
    steps = last.steps if last.kind is RolloutKind.RELEASE else way_back_steps([target.template])
    tracks = ByRegion(
        Track(each.region, 0, origin_of(application, each.region, each.target), target=each.target)
        for each in due
    )
    regions = tuple(each.region for each in due)
    waves = (Wave(regions, is_lockstep=False),)
    begun = begin_tracks(application, last.kind, target, steps, waves, tracks, "repave", "catches up", now)
    what = reason_of(Happening.CAUGHT_UP, group=target.name, version=target.version, regions=regions)
    started = group_event(begun, f"{last.kind}.started", what, now, "repave", target)
    return replace(begun, missed=later), (started,)


def _is_owed(application: Application, missed: Missed) -> bool:
    """Whether the region still lacks it: the others are served by it, or have just gone back to it."""
    group, last = application.group(missed.target), application.rollout
    if group is None or last is None:
        return False
    part = group.part(missed.region)
    if group.is_adopted and (part is None or part.state in UNWANTED):
        return False  # its hosts there were let go
    is_way_back = last.kind is RolloutKind.ROLLBACK and missed.target in last.targets
    return is_way_back or group.state is GroupState.SERVING


def group_event(
    application: Application, kind: str, what: Reason, now: Instant, by: str, group: ServerGroup | None = None
) -> Event:
    name = group.name if group is not None else ""
    return Event(kind, application=application.name, group=name, by=by, at=now, what=what)
