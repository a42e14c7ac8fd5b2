"""What people may ask of the releases that wait: let them go on after one that did not succeed, drop some,
or change their order. Pure; how a release gets into the queue is in `release.py`."""

from dataclasses import dataclass

from repave_controller.core.commands.release import event_of
from repave_controller.core.domain.application import Application, Instant, Observed, Outcome, ReleaseOrder
from repave_controller.core.domain.reasons import Happening, Refusal, Refused, cli, reason_of
from repave_protos.protocol.copies import replace


@dataclass(frozen=True, slots=True)
class QueueResume:
    """The queue, which stands still, goes on."""

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        _check_there(application)
        if application.queue_stands is None:
            raise Refused(Refusal.QUEUE_GOES_ON, cli("watch", application.name), application=application.name)
        resumed = replace(application, queue_stands=None)
        what = reason_of(Happening.QUEUE_RESUMED, queued=len(application.queue), by=by, reason=reason)
        return resumed, (event_of(resumed, "queue.resumed", what, now, by),)


@dataclass(frozen=True, slots=True)
class QueueDrop:
    """A release that waits is dropped, by its number or its version; or all of them are."""

    name: str = ""
    is_all: bool = False

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        _check_there(application)
        dropped = application.queue if self.is_all else (_named(application, self.name),)
        left = tuple(order for order in application.queue if order not in dropped)
        stands = application.queue_stands if left else None
        kept = replace(application, queue=left, queue_stands=stands)
        versions = tuple(order.version for order in dropped)
        what = reason_of(Happening.QUEUE_DROPPED, versions=versions, by=by, reason=reason)
        return kept, (event_of(kept, "queue.dropped", what, now, by),)


@dataclass(frozen=True, slots=True)
class QueueMove:
    """A release that waits gets another place, from 1; a place behind the last one is the last."""

    name: str
    place: int

    def apply(
        self, application: Application, observed: Observed, by: str, reason: str, now: Instant
    ) -> Outcome:
        _check_there(application)
        order = _named(application, self.name)
        first = application.queue[0]
        if first.replaces and (order is first or self.place <= 1):
            raise Refused(Refusal.QUEUE_FIRST_REPLACES, version=first.version, number=first.number)
        left = [each for each in application.queue if each is not order]
        left.insert(min(self.place - 1, len(left)), order)
        if tuple(left) == application.queue:
            return application, ()
        moved = replace(application, queue=tuple(left))
        place = left.index(order) + 1
        what = reason_of(Happening.QUEUE_MOVED, version=order.version, place=place, by=by, reason=reason)
        return moved, (event_of(moved, "queue.moved", what, now, by),)


def _check_there(application: Application) -> None:
    if not application.queue:
        raise Refused(Refusal.QUEUE_EMPTY, application=application.name)


def _named(application: Application, name: str) -> ReleaseOrder:
    """The one of this number, or the only one of this version."""
    numbered = [order for order in application.queue if str(order.number) == name]
    found = numbered or [order for order in application.queue if order.version == name]
    if len(found) == 1:
        return found[0]
    shown = tuple(f"{order.number} ({order.version})" for order in found or application.queue)
    kind = Refusal.AMBIGUOUS_QUEUED if found else Refusal.UNKNOWN_QUEUED
    raise Refused(kind, application=application.name, name=name, queued=shown)
