"""Who has which region, in the store: a controller that starts again must not let in the wrong agent."""

from collections.abc import Callable, Sequence

from pydantic import TypeAdapter, ValidationError

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.domain.reasons import Happening, reason_of
from repave_controller.core.ports import Record, Store, StoreError, Transaction
from repave_controller.fleet.holders import Holder
from repave_controller.fleet.sessions import Save
from repave_protos.protocol.values import RegionName

KIND = "holder"
_HOLDER = TypeAdapter(Holder)


async def load_holders(store: Store) -> list[Holder]:
    """Raises StoreError."""
    try:
        return [_HOLDER.validate_json(record.state or "") for record in await store.records(KIND)]
    except ValidationError as error:
        raise StoreError(f"what the store holds of regions' agents can't be read: {error}") from error


def saving_to(store: Store, clock: Callable[[], float], tell: Callable[[Sequence[Event]], None]) -> Save:
    """`tell` gets the events that were saved."""

    async def save(holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
        records = (
            Record(KIND, holder.region, _HOLDER.dump_json(holder).decode()),
            *(Record(KIND, region, None) for region in gone),
        )
        what = reason_of(Happening.AGENT_TOOK_OVER, region=holder.region, instance=holder.instance[:8])
        event = Event("agent.took_over", region=holder.region, at=Instant(clock()), what=what)
        events = (event,) if is_other else ()
        tell(await store.commit(Transaction(records=records, events=events)))

    return save
