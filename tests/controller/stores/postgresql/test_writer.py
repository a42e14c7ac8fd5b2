"""What became of a batch whose connection was lost, over a database that a test plays."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from repave_controller.core.domain.application import Event
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.stores.postgresql.connection import Bounds, Database
from repave_controller.stores.postgresql.saving import SAVED
from repave_controller.stores.postgresql.store import PostgresStore
from repave_controller.stores.postgresql.writer import Writer
from repave_controller.stores.rows import rows_of
from tests.fakes.virtual_time import in_virtual_time


class PlayedDatabase:
    """Saves each batch, and loses the answer; `away`: so many connections fail after it."""

    place = "played"
    bounds = Bounds()

    def __init__(self, away: int) -> None:
        self.session = SimpleNamespace(greeters=[])
        self._away = away
        self._row: dict[str, Any] = {"number": 0, "first_event": 0, "outcomes": [], "details": []}

    async def fetch(self, query: str, *given: Any) -> Sequence[Mapping[str, Any]]:
        _, number, count = given[:3]
        self._row = {
            "number": number,
            "first_event": 7,
            "outcomes": [SAVED] * count,
            "details": [""] * count,
        }
        raise StoreError("the connection was lost") from ConnectionResetError()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["PlayedDatabase"]:
        if self._away:
            self._away -= 1
            raise StoreError("away")
        yield self

    async def execute(self, query: str, writer: str, number: int) -> None:
        if self._row["number"] == number - 1:
            self._row |= {"number": number, "outcomes": [], "details": []}

    async def fetchrow(self, query: str, writer: str) -> Mapping[str, Any]:
        return dict(self._row)


@in_virtual_time
async def test_a_batch_that_a_reader_settles_first_is_told_as_it_was_saved() -> None:
    writer = Writer(cast("Database", PlayedDatabase(away=1)), "w")
    writing = asyncio.create_task(writer.write([rows_of(Transaction(events=(Event("noted"),)))]))
    await asyncio.sleep(0.05)  # it has looked in vain, and waits to look again
    await writer.settle()
    assert await writing == [7]
    assert await writer.write([rows_of(Transaction(events=(Event("noted"),)))]) == [7]


class Faulty(PlayedDatabase):
    """Our own mistake, once."""

    async def fetch(self, query: str, *given: Any) -> Sequence[Mapping[str, Any]]:
        if not self._row["number"]:
            self._row["number"] = -1
            raise RuntimeError("a mistake")
        return [{"p_first_event": 3, "p_outcomes": [SAVED] * given[2], "p_details": [""] * given[2]}]


async def test_a_mistake_while_one_saves_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    database = Faulty(away=0)
    store = PostgresStore(cast("Database", database))
    monkeypatch.setattr(store, "_writer", Writer(cast("Database", database), "w"))
    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match="a mistake"):
            await store.commit(Transaction(events=(Event("noted"),)))
        (event,) = await store.commit(Transaction(events=(Event("noted"),)))
    assert event.sequence == 3
