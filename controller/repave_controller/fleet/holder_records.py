"""Who has which region, in the store: a controller that starts again must not let in the wrong agent, and of
two controllers that each let in another one, the second is refused."""

from collections.abc import Callable, Sequence

import structlog
from pydantic import TypeAdapter, ValidationError

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.domain.reasons import Happening, reason_of
from repave_controller.core.ports import Conflict, Record, Store, StoreError, Transaction
from repave_controller.fleet.holders import Holder
from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol.values import RegionName

log = structlog.get_logger()

KIND = "holder"
_HOLDER = TypeAdapter(Holder)


class HolderRecords:
    """What the store has. `tell` gets the events that were saved."""

    def __init__(
        self, store: Store, clock: Callable[[], float], tell: Callable[[Sequence[Event]], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._tell = tell
        self._texts: dict[RegionName, str] = {}  # as they stand there, perhaps by another version

    async def load(self, sessions: Sessions) -> None:
        """Before the first stream is served. Raises StoreError."""
        holders = [self._holder(record) for record in await self._store.records(KIND)]
        sessions.recall([each for each in holders if each is not None], self.save)

    def take(self, records: Sequence[Record], sessions: Sessions) -> None:
        """What other controllers have saved. What can't be read, as of a newer version, changes nothing."""
        for record in records:
            try:
                sessions.hear_holder(RegionName(record.name), self._holder(record))
            except StoreError as error:
                log.error("holder.unreadable", region=record.name, why=str(error))

    def _holder(self, record: Record) -> Holder | None:
        """Raises StoreError."""
        if record.state is None:
            self._texts.pop(RegionName(record.name), None)
            return None
        try:
            holder = _HOLDER.validate_json(record.state)
        except ValidationError as error:
            raise StoreError(f"what the store holds of regions' agents can't be read: {error}") from error
        self._texts[holder.region] = record.state
        return holder

    async def save(self, holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
        """Raises StoreError: another controller has let in another agent meanwhile, or the store is full."""
        text = _HOLDER.dump_json(holder).decode()
        records = (
            Record(KIND, holder.region, text),
            *(Record(KIND, region, None) for region in gone),
        )
        what = reason_of(Happening.AGENT_TOOK_OVER, region=holder.region, instance=holder.instance[:8])
        event = Event("agent.took_over", region=holder.region, at=Instant(self._clock()), what=what)
        before = self._texts.get(holder.region)
        expected = (Record(KIND, holder.region, before),)
        try:
            saved = await self._store.commit(
                Transaction(records=records, events=(event,) if is_other else (), expected=expected)
            )
        except Conflict as error:
            why = f"another controller lets in an agent of {holder.region} just now; ask again"
            raise Conflict(why) from error
        if self._texts.get(holder.region) == before:  # else what another controller has saved since is known
            self._texts[holder.region] = text
        for region in gone:
            self._texts.pop(region, None)
        self._tell(saved)
