"""Begins the releases that wait, one after another, or lets them stand still once one has not succeeded.
Pure; part of `rollout.step`."""

from repave_controller.core.domain.application import Application, Because, ReleaseOrder, Standstill
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Happening, Reason, Refused, Why, cli, reason_of
from repave_controller.core.domain.rollout import Phase, Rollout, TrackPhase
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rollout.room import giving_way, with_room
from repave_controller.core.rollout.start import start_release
from repave_protos.protocol.copies import replace


def stand_still_after(turn: Turn, rollout: Rollout) -> None:
    """After anything but success in every region that it began in, the releases that wait stay where they
    are: what went wrong may go wrong again, over regions that differ. One that was to replace what has gone
    back begins all the same."""
    application = turn.application
    undone = any(track.phase is TrackPhase.UNDONE for track in rollout.tracks)
    if not application.queue or (rollout.phase is Phase.SUCCEEDED and not undone):
        return
    if rollout.phase is Phase.HELD:  # it has not gone back: nothing takes its place
        queue = tuple(replace(order, replaces=False) for order in application.queue)
        application = turn.application = replace(application, queue=queue)
    if any(not order.replaces for order in application.queue):
        group = format_group(application.cluster, rollout.target)
        _stand_still(
            turn,
            reason_of(Why.ROLLOUT_ENDED, kind=str(rollout.kind), group=group, phase=str(rollout.phase)),
        )


def may_go_on(application: Application) -> bool:
    """Whether the first release that waits begins once nothing is rolled out."""
    if not application.queue:
        return False
    return application.queue_stands is None or application.queue[0].replaces


def start_first(turn: Turn) -> None:
    """One that may not be any more is told, and those behind it stand still."""
    order, *rest = turn.application.queue
    try:
        sized = _with_room(turn, order)
    except Refused as refused:
        _stays_for_room(turn, order, refused.reason)
        return
    if sized is None:
        turn.because.append(Because(reason_of(Why.QUEUE_ASKS_ROOM, version=order.version)))
        return
    turn.application = replace(turn.application, queue=tuple(rest))
    try:
        started, events = start_release(turn.application, sized, turn.now)
        turn.application, told = giving_way(started, sized.gives_way, turn.now)
        events = (*events, *told)
    except Refused as refused:
        what = reason_of(Happening.RELEASE_REFUSED, version=order.version, refusal=refused.reason)
        turn.tell("release.refused", what, by=order.by)
        if rest:
            _stand_still(turn, reason_of(Why.QUEUED_REFUSED, version=order.version, refusal=refused.reason))
    else:
        turn.events.extend(events)


def _with_room(turn: Turn, order: ReleaseOrder) -> ReleaseOrder | None:
    """The order with the groups that give way to it; None while it is not known whether it fits. Raises
    Refused."""
    constraints = turn.constraints
    if not constraints.asks_room or order.is_forced:
        return order
    if constraints.room is None or constraints.room.number != order.number:
        return None
    return with_room(turn.application, order, dict(constraints.room.lacks))


def _stays_for_room(turn: Turn, order: ReleaseOrder, refusal: Reason) -> None:
    """It keeps its place, and is asked for again when a person lets the queue go on."""
    first = replace(order, replaces=False)
    turn.application = replace(turn.application, queue=(first, *turn.application.queue[1:]))
    _stand_still(turn, reason_of(Why.QUEUED_NO_ROOM, version=order.version, refusal=refusal))


def because(application: Application) -> Because | None:
    """That releases wait for a person, whatever else is so; None where they do not."""
    stands, name = application.queue_stands, application.name
    if not application.queue or stands is None:
        return None
    ways = (cli("queue resume", name), cli("queue list", name), cli("queue drop", name, all=True))
    reason = reason_of(Why.QUEUE_STANDS, *ways, queued=len(application.queue), after=stands.reason)
    return Because(reason, since=stands.at)


def _stand_still(turn: Turn, reason: Reason) -> None:
    if turn.application.queue_stands is not None:
        return
    turn.application = replace(turn.application, queue_stands=Standstill(turn.now, reason))
    resume = cli("queue resume", turn.application.name)
    what = reason_of(Happening.QUEUE_STANDS, resume, queued=len(turn.application.queue), after=reason)
    turn.tell("queue.standing", what)
