"""What is noted is saved once the store is there, in its order, and none twice."""

import asyncio

import pytest

from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import StoreError, Transaction, Unsavable, Unsure
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.runtime.event_log import EventLog
from repave_simulation.tiers.store import MemoryStore
from tests.fakes.virtual_time import in_virtual_time


class Failing(MemoryStore):
    """Fails as it is told, commit after commit, and can't save what is poisoned."""

    def __init__(self, *failures: StoreError) -> None:
        super().__init__()
        self._failures = list(failures)

    async def commit(self, transaction: Transaction) -> tuple[Event, ...]:
        if self._failures:
            raise self._failures.pop(0)
        if any(each.text == "poison" for each in transaction.events):
            raise Unsavable("a zero byte")
        return await super().commit(transaction)


@pytest.mark.parametrize(
    ("failures", "noted", "kept"),
    [
        pytest.param([StoreError("away")] * 30, ("a", "b"), ["a", "b"], id="the store is away for long"),
        pytest.param([Unsure("lost")], ("a", "b"), [], id="not known whether it was saved"),
        pytest.param([], ("a", "poison", "b"), ["a", "b"], id="one that can't be saved"),
        pytest.param([StoreError("away")], ("poison", "a"), ["a"], id="both"),
    ],
)
@in_virtual_time
async def test_what_is_noted_while_the_store_fails(
    failures: list[StoreError], noted: tuple[str, ...], kept: list[str]
) -> None:
    store = Failing(*failures)
    await store.open()
    log = EventLog(store, lambda: Instant(1.0), Broadcast())
    running = asyncio.create_task(log.run())
    for text in noted:
        log.note(Event("noted", text))
    await asyncio.sleep(60)
    log.note(Event("noted", "later"))
    await asyncio.sleep(1)
    running.cancel()
    assert [each.text for each in await store.events()] == [*kept, "later"]
