"""Begins the releases that wait, one after another, or lets them stand still once one has not succeeded.
Pure; part of `rollout.step`."""

from dataclasses import replace

from repave_controller.core.domain.application import Application, Because, Standstill
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Happening, Reason, Refused, Why, cli, reason_of
from repave_controller.core.domain.rollout import Phase, Rollout, TrackPhase
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rollout.start import start_release


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
    turn.application = replace(turn.application, queue=tuple(rest))
    try:
        turn.application, events = start_release(turn.application, order, turn.now)
    except Refused as refused:
        what = reason_of(Happening.RELEASE_REFUSED, version=order.version, refusal=refused.reason)
        turn.tell("release.refused", what, by=order.by)
        if rest:
            _stand_still(turn, reason_of(Why.QUEUED_REFUSED, version=order.version, refusal=refused.reason))
    else:
        turn.events.extend(events)


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
