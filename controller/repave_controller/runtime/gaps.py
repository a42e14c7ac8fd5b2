"""Up to which event the log is no longer kept, and how readers that come from before are told."""

import json

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import Record, Store

KIND = "retention"
EVENTS = "events"
DROPPED = "events.dropped"


def record_of_dropped(through: int, at: Instant) -> Record:
    """Saved with the drop: events up to this sequence number are no longer kept, the newest of `at`."""
    return Record(KIND, EVENTS, json.dumps({"through": through, "at": at}))


async def gap_after(store: Store, after: int) -> Event | None:
    """What stands for the events after this number that are no longer kept; None where there are none. Its
    sequence number is that of the last of them."""
    for record in await store.records(KIND):
        told = json.loads(record.state or "{}")
        through = int(told.get("through", 0))
        if record.name == EVENTS and after < through:
            text = f"events {after + 1} to {through} are no longer kept (retention.events_days, events_count)"
            return Event(DROPPED, text, at=Instant(float(told.get("at", 0.0))), sequence=through)
    return None
