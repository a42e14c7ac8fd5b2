"""What a release asks for is checked here and becomes decided state; what every accepted command is answered.

Nothing here waits or acts: the result is what `rollout.step` then carries out. A command that may not be is
`Refused` with the rule and the way on, and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from repave_controller.core.domain.application import (
    Application,
    Event,
    Instant,
    Observed,
    Outcome,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.instants import show
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import (
    Happening,
    Reason,
    Refusal,
    Refused,
    Why,
    cli,
    reason_of,
)
from repave_controller.core.domain.rollout import (
    Phase,
    Rollout,
    RolloutKind,
)
from repave_controller.core.rollout.holds import has_way_back_from
from repave_controller.core.rollout.protection import losing_regions
from repave_controller.core.rollout.rollback import undo
from repave_controller.core.rollout.room import giving_way
from repave_controller.core.rollout.start import (
    check_order,
    check_steps,
    group_event,
    start_release,
    with_kept_sizes,
)
from repave_controller.core.rules.divergence import RECOVER
from repave_protos.protocol.copies import replace
from repave_protos.protocol.fronts import TrafficFront, conflict, plain_front
from repave_protos.protocol.values import ApplicationName, GroupName, RegionName

QUEUE_MAX = 10


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a command is answered with, after it was saved durably."""

    application: ApplicationName
    group: GroupName
    rollout: int  # its number within the application; 0 while queued
    kind: str  # "release" or "rollback"
    is_queued: bool = False
    is_joined: bool = False  # an equal request had been accepted before, or all is as it asks


# ---------------------------------------------------------------------------------------------- release


@dataclass(frozen=True, slots=True)
class WhileBusy:
    """What becomes of a release that is asked for while a rollout runs; by default it is refused."""

    queues: bool = False  # it waits for the end
    is_latest: bool = False  # it waits, and those that waited before are dropped
    replaces: bool = False  # what runs goes back at once, and it begins then


def request_release(
    application: Application,
    order: ReleaseOrder,
    queue: bool | WhileBusy,
    now: Instant,
    observed: Observed | None = None,
) -> Outcome:
    """Starts the release; where a rollout runs, or others wait already, what the user chose for that."""
    busy = queue if isinstance(queue, WhileBusy) else WhileBusy(queues=queue)
    waits = busy.queues or busy.is_latest
    rollout = application.running
    if rollout is None and not (waits and application.queue):
        started, events = start_release(application, order, now)
        given, told = giving_way(started, order.gives_way, now)
        return given, (*events, *told)
    if rollout is not None and busy.replaces:
        return _replace(application, rollout, order, now, observed or {})
    if rollout is not None and not waits:
        remedies = (cli("watch", application.name), cli("abort", application.name))
        raise Refused(Refusal.ROLLOUT_RUNNING, *remedies, running=target_of(application, rollout).name)
    application, events = _superseded(application, order, now) if busy.is_latest else (application, ())
    queued = _queued(application, order, now)
    running = target_of(application, rollout).name if rollout is not None else ""
    what = reason_of(Happening.RELEASE_QUEUED, version=order.version, running=running)
    return queued, (*events, group_event(queued, "release.queued", what, now, order.by))


def _queued(
    application: Application, order: ReleaseOrder, now: Instant, is_first: bool = False
) -> Application:
    if len(application.queue) >= QUEUE_MAX:
        raise Refused(Refusal.QUEUE_FULL, application=application.name, limit=QUEUE_MAX)
    number = application.queued_total + 1
    order = replace(order, number=number, queued_at=now)
    queue = (order, *application.queue) if is_first else (*application.queue, order)
    return replace(application, queue=queue, queued_total=number)


def _superseded(
    application: Application, order: ReleaseOrder, now: Instant, *, every: bool = True
) -> Outcome:
    """Without the releases that wait; one that replaces a rollout which goes back is among them, and without
    `every` the only one."""
    gone = [each for each in application.queue if every or each.replaces]
    if not gone:
        return application, ()
    versions = tuple(each.version for each in gone)
    what = reason_of(Happening.RELEASES_SUPERSEDED, versions=versions, version=order.version)
    left = replace(application, queue=tuple(each for each in application.queue if each not in gone))
    return left, (group_event(left, "release.superseded", what, now, order.by),)


def _replace(
    application: Application, rollout: Rollout, order: ReleaseOrder, now: Instant, observed: Observed
) -> Outcome:
    """What runs goes back to its origin, and the order begins when it is there. The releases that wait stay
    behind it, and stand still: the one before them did not succeed."""
    target = target_of(application, rollout)
    if rollout.kind is RolloutKind.ROLLBACK:
        raise Refused(Refusal.ROLLBACK_RUNNING, cli("watch", application.name), group=target.name)
    if not has_way_back_from(rollout):
        raise Refused(Refusal.NOTHING_TO_REPLACE, group=target.name, application=application.name)
    check_order(application, order)
    check_steps(application, with_kept_sizes(application, order))
    application, events = _superseded(application, order, now, every=False)
    why = reason_of(Why.REPLACED, version=order.version, by=order.by, reason=order.reason)
    if rollout.phase is not Phase.UNDOING:
        losing = losing_regions(application, rollout, observed)
        application = undo(application, rollout, why, Phase.ABORTED, now, losing=losing)
    elif rollout.undo_reason is not None and rollout.undo_reason.kind is Why.REPLACED:
        application = replace(application, rollout=replace(rollout, undo_reason=why))
    application = _queued(application, replace(order, replaces=True), now, is_first=True)
    what = reason_of(Happening.RELEASE_REPLACES, group=target.name, version=order.version, by=order.by)
    return application, (*events, group_event(application, "release.replaces", what, now, order.by, target))


# ------------------------------------------------------------------------------------------------- words


def unknown_application(name: str, known: tuple[str, ...], ahead: tuple[RegionName, ...] = ()) -> Refused:
    """There is no such application; says which there are, and which regions know better."""
    if ahead:
        return Refused(Refusal.UNKNOWN_APPLICATION_AHEAD, RECOVER, name=name, regions=ahead)
    return Refused(Refusal.UNKNOWN_APPLICATION, name=name, known=known)


def deleted_application(application: Application) -> Refused:
    """It was there once; says where its history is."""
    deletion = application.deletion
    at = show(deletion.at, "UTC") if deletion is not None else ""
    by = (deletion.by if deletion is not None else "") or "an operator"
    history = cli("history", application.name)
    return Refused(Refusal.UNKNOWN_APPLICATION_DELETED, history, name=application.name, at=at, by=by)


def check_regions(sizes: tuple[tuple[RegionName, int], ...], known: tuple[RegionName, ...]) -> None:
    """Every region of a release must have had an agent."""
    unknown = sorted({region for region, _ in sizes} - set(known))
    if unknown:
        raise Refused(Refusal.UNKNOWN_REGION, regions=tuple(unknown), known=tuple(sorted(known)))


def check_port(
    name: ApplicationName, order: ReleaseOrder, applications: Mapping[ApplicationName, Application]
) -> None:
    """No other application has a port of a release in any of its regions, unless they can share it."""
    wanted = {region for region, _ in order.sizes}
    if order.template.is_worker:
        return
    own = order.template.fronts or (plain_front(order.frontend_port),)
    for other in applications.values():
        shared = tuple(sorted(wanted & set(other.regions)))
        if other.name == name or other.is_worker or not shared:
            continue
        for found in (conflict(one, each) for one in own for each in _fronts(other)):
            if found is not None and found.is_plain:
                raise Refused(Refusal.PORT_TAKEN, port=found.port, other=other.name, regions=shared)
            if found is not None:
                raise Refused(
                    Refusal.PORT_NOT_SHARED,
                    port=found.port,
                    other=other.name,
                    regions=shared,
                    why=found.why,
                )


def _fronts(application: Application) -> tuple[TrafficFront, ...]:
    """Those of all its groups."""
    plain = (plain_front(application.frontend_port),)
    return tuple(
        dict.fromkeys(each for group in application.groups for each in group.template.fronts or plain)
    )


def target_of(application: Application, rollout: Rollout) -> ServerGroup:
    found = application.group(rollout.target)
    assert found is not None, f"{application.name}: the group of rollout {rollout.number} is unknown"
    return found


def event_of(
    application: Application, kind: str, what: Reason, now: Instant, by: str, region: str = ""
) -> Event:
    """What a person did to the running rollout."""
    rollout = application.running
    name = format_group(application.cluster, rollout.target) if rollout is not None else ""
    return Event(kind, application=application.name, group=name, region=region, by=by, at=now, what=what)


# ------------------------------------------------------------------------------------------------ answers


def answer(before: Application, after: Application) -> Accepted:
    """To an accepted command that makes `after` of `before`."""
    if after.queued_total > before.queued_total:
        return Accepted(after.name, GroupName(""), 0, str(RolloutKind.RELEASE), is_queued=True)
    rollout = after.rollout
    assert rollout is not None, "an accepted command leaves a rollout or a queued one"
    name = format_group(after.cluster, rollout.target)
    is_so = after is before
    return Accepted(after.name, name, rollout.number, str(rollout.kind), is_joined=is_so)


def to_text(accepted: Accepted) -> str:
    """For the receipt; no part can have a line break."""
    return "\n".join((accepted.application, accepted.group, str(accepted.rollout), accepted.kind))


def from_text(text: str) -> Accepted:
    application, group, rollout, kind = text.split("\n")
    number = int(rollout)
    return Accepted(ApplicationName(application), GroupName(group), number, kind, is_queued=number == 0)
