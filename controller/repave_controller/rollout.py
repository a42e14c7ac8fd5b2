"""Decides the next move of an application: the one step function of the controller.

`step` takes what was decided so far, what the regions observe and the time, and returns what shall be saved
and published. It is level-triggered: called at any moment, as often as one likes, it moves only when what it
sees allows. Commands of people enter through `commands.py`; how a step is judged is in `verdicts.py`.
"""

from dataclasses import dataclass, field, replace

from repave_controller.commands import start_release, undo
from repave_controller.model import (
    Application,
    Because,
    Decision,
    Event,
    GroupState,
    Instant,
    Observed,
    Phase,
    Refused,
    Rollout,
    RolloutKind,
    Scale,
    ServerGroup,
    Tenure,
    Weight,
)
from repave_controller.renewal import renew, replaced_in
from repave_controller.shares import weights_in
from repave_controller.verdicts import Done, Failed, Waiting, judge, told_later, undone
from repave_protos.values import (
    DesiredGroup,
    DesiredState,
    Epoch,
    RegionName,
)

MOVES_MAX = 32
"""Steps that one call may complete; more than the longest list of steps there is."""


def step(application: Application, observed: Observed, now: Instant, tenure: Tenure) -> Decision:
    """Moves `application` on as far as `observed` allows."""
    turn = _Turn(application, observed, now)
    for _ in range(MOVES_MAX):
        before = turn.application
        turn.because.clear()
        _advance(turn)
        if turn.application == before:
            break
    _retire_old_groups(turn)
    _forget_gone_groups(turn)
    if turn.application.rollout == application.rollout:  # an end is saved before the next one begins
        _start_queued(turn)
    _renew(turn)
    published = _publish(turn.application, tenure)
    changed = tuple(pair for pair in published if pair not in application.desired)
    return Decision(
        application=replace(turn.application, desired=published),
        desired=changed,
        events=tuple(turn.events),
        wake_at=min(turn.wakes, default=None),
        because=tuple(turn.because),
    )


def overslept(application: Application, now: Instant) -> Application:
    """The application after a time in which no controller looked at it: its deadlines begin again, since what
    the regions have done meanwhile has yet to be heard."""
    rollout = application.running
    if rollout is None:
        return application
    entered_at = now if rollout.phase is Phase.UNDOING else rollout.entered_at
    return replace(application, rollout=replace(rollout, entered_at=entered_at, progressed_at=now))


@dataclass(slots=True)
class _Turn:
    """The work of one call: the application as it becomes, and what is said about it."""

    application: Application
    observed: Observed
    now: Instant
    events: list[Event] = field(default_factory=list)
    because: list[Because] = field(default_factory=list)
    wakes: list[Instant] = field(default_factory=list)

    def tell(self, kind: str, text: str, group: ServerGroup | None = None, by: str = "") -> None:
        name = group.name if group else ""
        self.events.append(
            Event(kind, text, application=self.application.name, group=name, by=by, at=self.now)
        )

    def put(self, rollout: Rollout) -> None:
        self.application = replace(self.application, rollout=rollout)


# ----------------------------------------------------------------------------------------- the rollout


def _advance(turn: _Turn) -> None:
    rollout = turn.application.running
    if rollout is None:
        return
    if rollout.phase is Phase.UNDOING:
        _undo(turn, rollout)
        return
    verdict = judge(turn.application, rollout, turn.observed, turn.now)
    match verdict:
        case Done():
            _complete_step(turn, rollout)
        case Failed(reason):
            _fail(turn, rollout, reason)
        case Waiting():
            _wait(turn, rollout, verdict)


def _wait(turn: _Turn, rollout: Rollout, waiting: Waiting) -> None:
    """Progress resets the step's deadline; without any the step fails when it is over."""
    known = rollout.progress
    if len(known) != len(waiting.progress) or any(
        new > old for new, old in zip(waiting.progress, known, strict=True)
    ):
        best = tuple(map(max, waiting.progress, known)) if known else waiting.progress
        rollout = replace(rollout, progress=best, progressed_at=turn.now)
        turn.put(rollout)
    if not waiting.has_deadline:  # what ends the wait is progress, and resets the deadline
        turn.wakes += [waiting.wake_at] if waiting.wake_at is not None else []
        turn.because.extend(waiting.because)
        return
    deadline = Instant(rollout.progressed_at + rollout.step.deadline_seconds)
    if turn.now >= deadline:
        seconds = rollout.step.deadline_seconds
        _fail(turn, rollout, f"{rollout.step.kind}: no progress for {seconds:g} s; {waiting}")
        return
    turn.wakes.append(min(deadline, waiting.wake_at or deadline))
    turn.because.extend(waiting.because)


def _complete_step(turn: _Turn, rollout: Rollout) -> None:
    target = _required(turn.application, rollout.target)
    if isinstance(rollout.step, Weight):
        share = f"{rollout.step.weight_bp / 100:g} %"
        turn.tell("traffic.moved", f"{target.name} takes {share} of the traffic in every region", target)
    if rollout.cursor + 1 == len(rollout.steps):
        _succeed(turn, rollout)
        return
    following = rollout.steps[rollout.cursor + 1]
    turn.put(
        replace(rollout, cursor=rollout.cursor + 1, entered_at=turn.now, progressed_at=turn.now, progress=())
    )
    turn.tell("step.entered", f"{target.name}: {following.kind}", target)


def _succeed(turn: _Turn, rollout: Rollout) -> None:
    turn.application = _with_serving(turn.application, rollout, turn.now)
    target = _required(turn.application, rollout.target)
    _end(turn, rollout, Phase.SUCCEEDED, f"{rollout.kind} of {target.name} succeeded", "succeeded")


def _with_serving(application: Application, rollout: Rollout, now: Instant) -> Application:
    """The target serves from now on; the origin is kept warm."""
    target = _required(application, rollout.target)
    origin = application.group(rollout.origin)
    if origin is not None:
        application = application.with_group(replace(origin, state=GroupState.WARM, left_traffic_at=now))
    serving = replace(target, state=GroupState.SERVING, left_traffic_at=None)
    return replace(application.with_group(serving), serving=target.number)


def _fail(turn: _Turn, rollout: Rollout, reason: str) -> None:
    """A release goes back to its origin. Where there is none, and in a rollback, which a person asked for to
    get away from the origin, traffic stays where it was sent: held for a person."""
    target = _required(turn.application, rollout.target)
    has_left = rollout.origin is None and rollout.has_reached(Weight)
    if has_left or rollout.kind is RolloutKind.ROLLBACK:
        turn.application = _with_serving(turn.application, rollout, turn.now)
        held = replace(rollout, undo_reason=reason)
        _end(turn, held, Phase.HELD, f"{target.name} holds: {reason}", "held")
        return
    turn.application = undo(turn.application, rollout, reason, Phase.ROLLED_BACK, turn.now)
    where = "goes back to the old group" if rollout.has_reached(Weight) else "was not touched"
    turn.tell(f"{rollout.kind}.failed", f"{target.name} failed: {reason}; traffic {where}", target)


def _undo(turn: _Turn, rollout: Rollout) -> None:
    target = _required(turn.application, rollout.target)
    match undone(turn.application, rollout, turn.observed, turn.now):
        case Done():
            end = rollout.undo_end
            _end(turn, rollout, end, f"{target.name} {end}: {rollout.undo_reason}", str(end))
        case Failed(reason):
            held = replace(rollout, undo_reason=f"{rollout.undo_reason}; {reason}")
            _end(turn, held, Phase.HELD, f"{target.name} holds: {held.undo_reason}", "held")
        case Waiting() as waiting:
            turn.because.extend(waiting.because)
            if waiting.wake_at is not None:
                turn.wakes.append(waiting.wake_at)


def _end(turn: _Turn, rollout: Rollout, phase: Phase, text: str, kind: str) -> None:
    target = _required(turn.application, rollout.target)
    turn.put(replace(rollout, phase=phase, ended_at=turn.now))
    turn.tell(f"{rollout.kind}.{kind}", text, target)


# ------------------------------------------------------------------------------------ groups and queue


def _retire_old_groups(turn: _Turn) -> None:
    """Old groups go when the policy lets them; never while a rollout may still want them back."""
    if turn.application.running is not None:
        return
    policy = turn.application.policy
    warm = [group for group in turn.application.groups if group.state is GroupState.WARM]
    warm.sort(key=lambda group: (group.left_traffic_at or 0.0, group.number), reverse=True)
    for index, group in enumerate(warm):
        until = Instant((group.left_traffic_at or 0.0) + policy.keep_seconds)
        if index < policy.keep_groups and (index < policy.retain or turn.now < until):
            if index >= policy.retain:
                turn.wakes.append(until)
            continue
        turn.application = turn.application.with_group(replace(group, state=GroupState.RETIRING))
        turn.tell("group.retiring", f"{group.name} has been kept long enough: drained and destroyed", group)


def _forget_gone_groups(turn: _Turn) -> None:
    """A retiring group is forgotten when every region it had has nothing left of it."""
    running = turn.application.running
    for group in turn.application.groups:
        if group.state is not GroupState.RETIRING or (running and group.number == running.target):
            continue
        left = [region for region, _ in group.sizes if not _is_gone(turn, group, region)]
        if left:
            _say_who_is_away(turn, group, left)
        else:
            rest = tuple(other for other in turn.application.groups if other.number != group.number)
            turn.application = replace(turn.application, groups=rest)
            turn.tell("group.destroyed", f"{group.name} is destroyed in every region", group)


def _say_who_is_away(turn: _Turn, group: ServerGroup, regions: list[RegionName]) -> None:
    """Nobody waits for these regions any longer, but something may be left of the group there."""
    for region in regions if turn.application.running is None else ():
        view = turn.observed.get(region)
        if view is None or not view.is_connected:
            what = f"its agent is not connected; hosts of {group.name} may be left there"
            since = view.since if view is not None else None
            turn.because.append(Because(what, region, since, remedy=told_later(region)))


def _is_gone(turn: _Turn, group: ServerGroup, region: RegionName) -> bool:
    """Only a report made under a desired state that asked for the end of the group counts."""
    desired = turn.application.desired_in(region)
    asked = desired.group(group.name) if desired else None
    if desired is None or asked is None or asked.count > 0:
        return False
    view = turn.observed.get(region)
    if view is None or view.report is None or view.report.epoch < desired.epoch:
        return False
    report = view.group(group.name)
    # Requests may outlive the hosts for a moment: who is forgotten is drained no longer.
    return report.present == 0 and report.weight_bp == 0 and report.balancer_up == 0 and report.in_flight == 0


def _start_queued(turn: _Turn) -> None:
    if turn.application.running is not None or not turn.application.queue:
        return
    if any(view.ahead for view in turn.observed.values()):  # its group's number may be taken there
        return
    order, *rest = turn.application.queue
    turn.application = replace(turn.application, queue=tuple(rest))
    try:
        turn.application, events = start_release(turn.application, order, turn.now)
    except Refused as refused:
        text = f"the queued release of {order.version} is refused: {refused.text}"
        turn.tell("release.refused", text, by=order.by)
    else:
        turn.events.extend(events)


def _renew(turn: _Turn) -> None:
    """Worn hosts are replaced while no rollout runs."""
    busy = turn.application.regions if turn.application.running is not None else ()
    renewed = renew(turn.application, turn.observed, turn.now, busy)
    turn.application = renewed.application
    turn.events += renewed.events
    turn.because += renewed.because


# ------------------------------------------------------------------------------------- what is published


def _publish(application: Application, tenure: Tenure) -> tuple[tuple[RegionName, DesiredState], ...]:
    """The desired state of every region; a new epoch only where the content or the tenure changed."""
    known = dict(application.desired)
    published = []
    for region in sorted({*application.regions, *known}):
        before = known.get(region)
        rev = before.epoch.rev if before else 0
        state = desired_state(application, region, Epoch(tenure.incarnation, tenure.term, rev))
        if state != before:
            state = replace(state, epoch=replace(state.epoch, rev=rev + 1))
        published.append((region, state))
    return tuple(published)


def desired_state(application: Application, region: RegionName, epoch: Epoch) -> DesiredState:
    """What `region` shall be. A region where nobody serves any more has no frontend: port 0 closes it."""
    weights = weights_in(application, region)
    groups = tuple(
        _desired_group(application, group, region, weights.get(group.number, 0))
        for group in application.groups
        if group.size(region) > 0
    )
    serving = application.group(application.serving)
    is_closed = serving is not None and serving.size(region) == 0 and not weights
    port = 0 if is_closed or not groups else application.frontend_port
    return DesiredState(application.name, epoch, port, groups)


def _desired_group(
    application: Application, group: ServerGroup, region: RegionName, weight_bp: int
) -> DesiredGroup:
    is_proven = group.state is not GroupState.NEW
    return DesiredGroup(
        name=group.name,
        digest=group.digest,
        count=_count(application, group, region),
        weight_bp=weight_bp,
        run=group.run,
        environment=group.environment,
        probe=group.probe,
        min_healthy_seconds=group.min_healthy_seconds,
        start_deadline_seconds=group.start_deadline_seconds,
        drain_seconds=group.drain_seconds,
        is_proven=is_proven,
        # A way back is taken at once, with whoever is there; a way forward only with enough hosts.
        ready_count=0 if is_proven else application.policy.needed(group.size(region)),
        max_age_seconds=group.upkeep.max_age_seconds,
        drift=group.upkeep.drift,
        generation=group.generation,
        replace=replaced_in(application, group.name, region),
    )


def _count(application: Application, group: ServerGroup, region: RegionName) -> int:
    if group.state is GroupState.RETIRING:
        return 0
    rollout = application.running
    if rollout is None or group.state is not GroupState.NEW:
        return group.size(region)
    reached = [each for each in rollout.steps[: rollout.cursor + 1] if isinstance(each, Scale)]
    percent = reached[-1].percent if reached else 0
    return -(-group.size(region) * percent // 100)


def _required(application: Application, number: int) -> ServerGroup:
    found = next((group for group in application.groups if group.number == number), None)
    assert found is not None, f"{application.name}: the running rollout's group {number} is unknown"
    return found
