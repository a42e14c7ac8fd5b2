"""What a release asks for is checked here and becomes decided state; what every accepted command is answered.

Nothing here waits or acts: the result is what `rollout.step` then carries out. A command that may not be is
`Refused` with the rule and the way on, and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from repave_controller.core.domain.application import (
    Application,
    Event,
    Instant,
    Outcome,
    ReleaseOrder,
    ServerGroup,
)
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import (
    Happening,
    Reason,
    Refusal,
    Refused,
    cli,
    reason_of,
)
from repave_controller.core.domain.rollout import (
    Rollout,
    RolloutKind,
)
from repave_controller.core.rollout.start import group_event, start_release
from repave_controller.core.rules.divergence import RECOVER
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


def request_release(application: Application, order: ReleaseOrder, queue: bool, now: Instant) -> Outcome:
    """Starts the release, or queues it behind the running rollout if the user chose that."""
    if application.running is None:
        return start_release(application, order, now)
    running = target_of(application, application.running)
    if not queue:
        remedies = (cli("watch", application.name), cli("abort", application.name))
        raise Refused(Refusal.ROLLOUT_RUNNING, *remedies, running=running.name)
    if len(application.queue) >= QUEUE_MAX:
        raise Refused(Refusal.QUEUE_FULL, application=application.name, limit=QUEUE_MAX)
    queued = replace(application, queue=(*application.queue, order))
    what = reason_of(Happening.RELEASE_QUEUED, version=order.version, running=running.name)
    return queued, (group_event(queued, "release.queued", what, now, order.by),)


# ------------------------------------------------------------------------------------------------- words


def unknown_application(name: str, known: tuple[str, ...], ahead: tuple[RegionName, ...] = ()) -> Refused:
    """There is no such application; says which there are, and which regions know better."""
    if ahead:
        return Refused(Refusal.UNKNOWN_APPLICATION_AHEAD, RECOVER, name=name, regions=ahead)
    return Refused(Refusal.UNKNOWN_APPLICATION, name=name, known=known)


def check_regions(sizes: tuple[tuple[RegionName, int], ...], known: tuple[RegionName, ...]) -> None:
    """Every region of a release must have had an agent."""
    unknown = sorted(region for region, _ in sizes if region not in known)
    if unknown:
        raise Refused(Refusal.UNKNOWN_REGION, regions=tuple(unknown), known=tuple(sorted(known)))


def check_port(
    name: ApplicationName, order: ReleaseOrder, applications: Mapping[ApplicationName, Application]
) -> None:
    """No other application has the port of a release in any of its regions."""
    wanted = {region for region, _ in order.sizes}
    for other in applications.values():
        shared = sorted(wanted & set(other.regions))
        if other.name != name and other.frontend_port == order.frontend_port and shared:
            raise Refused(
                Refusal.PORT_TAKEN, port=order.frontend_port, other=other.name, regions=tuple(shared)
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
    if len(after.queue) > len(before.queue):
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
