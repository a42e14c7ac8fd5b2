"""What people may ask of an application: release, rollback, abort. Each is checked and becomes decided state.

Nothing here waits or acts: the result is what `rollout.step` then carries out. A command that may not be is
`Refused` with the rule and the way on, and changes nothing.
"""

from dataclasses import dataclass, replace

from repave_controller.ahead import RECOVER
from repave_controller.model import (
    Application,
    Event,
    GroupNumber,
    GroupState,
    Instant,
    Observed,
    Phase,
    Refused,
    ReleaseOrder,
    Rollout,
    RolloutKind,
    ServerGroup,
    Step,
    Weight,
)
from repave_controller.naming import format_group
from repave_protos.values import FULL_WEIGHT_BP, ApplicationName, GroupName, RegionName

QUEUE_MAX = 10
ROLLBACK_DEADLINE_SECONDS = 60.0

Outcome = tuple[Application, tuple[Event, ...]]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a command is answered with, after it was saved durably."""

    application: ApplicationName
    group: GroupName
    rollout: int  # its number within the application; 0 while queued
    kind: str  # "release" or "rollback"
    is_queued: bool = False
    is_joined: bool = False  # an equal request had been accepted before


# ---------------------------------------------------------------------------------------------- release


def request_release(application: Application, order: ReleaseOrder, queue: bool, now: Instant) -> Outcome:
    """Starts the release, or queues it behind the running rollout if the user chose that."""
    if application.running is None:
        return start_release(application, order, now)
    running = _target(application, application.running)
    if not queue:
        raise Refused(
            "rollout-running",
            f"{running.name} is being rolled out; wait for it (repave watch {application.name}), end it "
            f"(repave abort {application.name}), or queue this release behind it (--queue)",
        )
    if len(application.queue) >= QUEUE_MAX:
        raise Refused(
            "queue-full", f"{QUEUE_MAX} releases of {application.name} are queued; that is the limit"
        )
    queued = replace(application, queue=(*application.queue, order))
    return queued, (
        _event(queued, "release.queued", f"{order.version} waits for {running.name}", now, order.by),
    )


def start_release(application: Application, order: ReleaseOrder, now: Instant) -> Outcome:
    """A new server group and the rollout that brings it into traffic."""
    _check_order(application, order)
    number = application.next_number
    group = ServerGroup(
        name=format_group(application.cluster, number),
        number=number,
        version=order.version,
        digest=order.digest,
        sizes=order.sizes,
        run=order.run,
        environment=order.environment,
        probe=order.probe,
        min_healthy_seconds=order.min_healthy_seconds,
        start_deadline_seconds=order.start_deadline_seconds,
        drain_seconds=order.drain_seconds,
        upkeep=order.upkeep,
        state=GroupState.NEW,
        created_at=now,
    )
    started = replace(
        application.with_group(group),
        next_number=GroupNumber(number + 1),
        frontend_port=order.frontend_port,
        policy=order.policy,
    )
    started = _begin(started, RolloutKind.RELEASE, group, order.steps, order.by, order.reason, now)
    where = ", ".join(region for region, _ in order.sizes)
    text = f"{group.name} ({order.version}) is released to {where}"
    return started, (_event(started, "release.started", text, now, order.by, group),)


def _check_order(application: Application, order: ReleaseOrder) -> None:
    serving = application.group(application.serving)
    if serving is None:
        return
    dropped = sorted({region for region, _ in serving.sizes} - {region for region, _ in order.sizes})
    if dropped:
        raise Refused(
            "region-dropped",
            f"{serving.name} serves in {', '.join(dropped)}, which this spec does not name: a release does "
            "not take an application out of a region; put the region back under regions",
        )
    if application.frontend_port != order.frontend_port:
        raise Refused(
            "frontend-port-changed",
            f"traffic.port: clients reach {application.name} on port {application.frontend_port}; a release "
            f"can't move them to {order.frontend_port}; keep the port, or release under another app name",
        )


def _begin(
    application: Application,
    kind: RolloutKind,
    target: ServerGroup,
    steps: tuple[Step, ...],
    by: str,
    reason: str,
    now: Instant,
) -> Application:
    number = application.rollouts_total + 1
    rollout = Rollout(
        number=number,
        kind=kind,
        target=target.number,
        origin=application.serving,
        steps=steps,
        phase=Phase.RUNNING,
        cursor=0,
        entered_at=now,
        progressed_at=now,
        progress=(),
        started_at=now,
        started_by=by,
        version=target.version,
        reason=reason,
    )
    return replace(application, rollout=rollout, rollouts_total=number)


# ---------------------------------------------------------------------------------------- abort, rollback


def request_abort(application: Application, by: str, reason: str, now: Instant) -> Outcome:
    """Ends the running rollout: all traffic with the origin, a new target cleaned up."""
    if application.running is None:
        raise Refused(
            "nothing-to-abort", f"no rollout of {application.name} is running; {_back(application)}"
        )
    return _turn_round(
        application, application.running, f"aborted by {_who(by, reason)}", Phase.ABORTED, by, now
    )


def request_rollback(
    application: Application, observed: Observed, by: str, reason: str, force: bool, now: Instant
) -> Outcome:
    """One switch back: the running rollout is turned round, or the newest warm group gets the traffic."""
    if application.running is not None:
        text = f"rolled back by {_who(by, reason)}"
        return _turn_round(application, application.running, text, Phase.ROLLED_BACK, by, now)
    warm = [group for group in application.groups if group.state is GroupState.WARM]
    if not warm:
        raise Refused(
            "nothing-to-roll-back-to",
            f"no older group of {application.name} is kept; release the older version again",
        )
    target = max(warm, key=lambda group: (group.left_traffic_at or 0.0, group.number))
    if not force:
        _check_health(application, target, observed)
    steps = (Weight(FULL_WEIGHT_BP, ROLLBACK_DEADLINE_SECONDS),)
    begun = _begin(application, RolloutKind.ROLLBACK, target, steps, by, reason, now)
    text = f"all traffic goes back to {target.name}, asked by {_who(by, reason)}"
    return begun, (_event(begun, "rollback.started", text, now, by, target),)


def _check_health(application: Application, target: ServerGroup, observed: Observed) -> None:
    for region, size in target.sizes:
        view = observed.get(region)
        if view is None or not view.is_connected or view.report is None:
            continue  # what can't be seen can't be judged; the region follows when it returns
        report = view.group(target.name)
        have, floor = min(report.verified, report.balancer_up), application.policy.floor(size)
        if have < floor:
            raise Refused(
                "unhealthy-target",
                f"{target.name} has {have} healthy hosts of {size} in {region}, the floor is {floor}; "
                f"--force goes back to it all the same",
            )


def _turn_round(
    application: Application, rollout: Rollout, text: str, end: Phase, by: str, now: Instant
) -> Outcome:
    target = _target(application, rollout)
    if rollout.phase is Phase.UNDOING:
        return application, ()
    if rollout.origin is None and rollout.has_reached(Weight):
        raise Refused(
            "nothing-to-roll-back-to",
            f"{target.name} is the first release of {application.name} and has the traffic already: there is "
            "no older group to go back to; release a better version",
        )
    undone = undo(application, rollout, text, end, now)
    return undone, (_event(undone, f"{rollout.kind}.undoing", f"{target.name}: {text}", now, by, target),)


def undo(application: Application, rollout: Rollout, reason: str, end: Phase, now: Instant) -> Application:
    """Turns a running rollout round: traffic to the origin at once, a new target is retired behind it."""
    target = _target(application, rollout)
    if target.state is GroupState.NEW:
        application = application.with_group(replace(target, state=GroupState.RETIRING))
    undoing = replace(
        rollout, phase=Phase.UNDOING, undo_reason=reason, undo_end=end, entered_at=now, progressed_at=now
    )
    return replace(application, rollout=undoing)


# ------------------------------------------------------------------------------------------------- words


def unknown_application(name: str, known: tuple[str, ...], ahead: tuple[RegionName, ...] = ()) -> Refused:
    """There is no such application; says which there are, and which regions know better."""
    there = f"there are: {', '.join(known)}" if known else "nothing has been released yet"
    if ahead:
        there = f"{', '.join(ahead)} runs it: this store was restored or lost; adopt it with: {RECOVER}"
    return Refused("unknown-application", f"no application is called {name}; {there}")


def changed_plan(plan: str) -> Refused:
    """What a release was to follow is not what it would do now."""
    return Refused(
        "plan-changed",
        f"plan {plan} does not hold any more: the spec, the package or the application has changed since; "
        "look at repave plan again",
    )


def check_regions(sizes: tuple[tuple[RegionName, int], ...], known: tuple[RegionName, ...]) -> None:
    """Every region of a release must have had an agent."""
    unknown = sorted(region for region, _ in sizes if region not in known)
    if unknown:
        there = f"known are: {', '.join(sorted(known))}" if known else "no agent has connected yet"
        raise Refused(
            "unknown-region", f"regions: no agent has ever spoken for {', '.join(unknown)}; {there}"
        )


def _back(application: Application) -> str:
    return f"to go back to the group before, repave rollback {application.name}"


def _who(by: str, reason: str) -> str:
    return f"{by or 'somebody'}: {reason}" if reason else by or "somebody"


def _target(application: Application, rollout: Rollout) -> ServerGroup:
    found = application.group(rollout.target)
    assert found is not None, f"{application.name}: the group of rollout {rollout.number} is unknown"
    return found


def _event(
    application: Application, kind: str, text: str, now: Instant, by: str, group: ServerGroup | None = None
) -> Event:
    name = group.name if group is not None else ""
    return Event(kind, text, application=application.name, group=name, by=by, at=now)


# ------------------------------------------------------------------------------------------------ answers


def answer(before: Application, after: Application) -> Accepted:
    """To an accepted command that makes `after` of `before`."""
    if len(after.queue) > len(before.queue):
        return Accepted(after.name, GroupName(""), 0, str(RolloutKind.RELEASE), is_queued=True)
    rollout = after.rollout
    assert rollout is not None, "an accepted command leaves a rollout or a queued one"
    return Accepted(after.name, _target(after, rollout).name, rollout.number, str(rollout.kind))


def to_text(accepted: Accepted) -> str:
    """For the receipt; no part can have a line break."""
    return "\n".join((accepted.application, accepted.group, str(accepted.rollout), accepted.kind))


def from_text(text: str) -> Accepted:
    application, group, rollout, kind = text.split("\n")
    number = int(rollout)
    return Accepted(ApplicationName(application), GroupName(group), number, kind, is_queued=number == 0)
