"""Saves batches of transactions in PostgreSQL, one after the other, and finds out what became of each.

A connection that is lost while a batch is saved leaves that open. Then the number of the batch is taken,
which its row in `writers` settles: either it was saved, or from now on it can't be, however late it arrives.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import asyncpg
import structlog

from repave_controller.core.ports import (
    Conflict,
    DuplicateKey,
    Fenced,
    LeftBehind,
    StoreError,
    Unsavable,
    Unsure,
)
from repave_controller.stores.postgresql.connection import Database, Unreached
from repave_controller.stores.postgresql.faults import LOST, OWN_FAULTS
from repave_controller.stores.postgresql.saving import (
    CONFLICT,
    DUPLICATE,
    FENCED,
    GIVEN_UP,
    SAVE,
    SAVED,
    arguments,
)
from repave_controller.stores.rows import Outcome, Rows

log = structlog.get_logger()

PAUSE_SECONDS = 0.1
TRIES = 10
LOCKED = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
"""Errors after which nothing was saved, and the same may be tried again at once."""

TAKE_NUMBER = (
    "UPDATE repave.writers SET number = $2, outcomes = '{}', details = '{}' "
    "WHERE writer = $1 AND number = $2 - 1"
)
LOOK_UP = "SELECT number, first_event, outcomes, details FROM repave.writers WHERE writer = $1"
REFUSALS = {FENCED: Fenced, CONFLICT: Conflict, DUPLICATE: DuplicateKey}


class Writer:
    """One for a store that is open; `name` is its own alone, and has its row in `writers`."""

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = name
        self._number = 0  # of the last batch
        self._is_open_question = False  # what became of the next one
        self._found: Any = None  # the row of the last one that was looked up
        self._settling = asyncio.Lock()
        self._broken = ""  # why nothing is taken any more

    async def write(self, batch: Sequence[Rows]) -> list[Outcome]:
        """Saves each of the batch or tells why not; returns when what was saved is on disk."""
        try:
            return await self._write(batch)
        except StoreError as error:
            if not isinstance(error.__cause__, OWN_FAULTS):
                return [error] * len(batch)
            if len(batch) == 1:
                return [Unsavable(f"this cannot be saved: {error.__cause__}")]
        return [outcome for each in batch for outcome in await self.write([each])]

    async def settle(self) -> None:
        """What was saved until now is known after it. Raises StoreError, LeftBehind."""
        if self._broken:
            raise LeftBehind(self._broken)
        if self._is_open_question:
            async with self._settling:
                if self._is_open_question:
                    await self._look_up()

    # ------------------------------------------------------------------------------------------- inside

    async def _write(self, batch: Sequence[Rows]) -> list[Outcome]:
        """Raises StoreError: nothing of it was saved, or it says that this isn't known."""
        given = arguments(batch)
        await self.settle()
        try:
            row = await self._save(self._name, self._number + 1, len(batch), *given)
        except Unreached:
            raise
        except StoreError as error:
            if isinstance(error.__cause__, asyncpg.PostgresError) and error.__cause__.sqlstate == GIVEN_UP:
                raise LeftBehind(self._break()) from error
            if not isinstance(error.__cause__, LOST):
                raise
            return _outcomes_of(await self._find_out(error), batch)
        self._number += 1
        return _outcomes_of((row["p_first_event"], row["p_outcomes"], row["p_details"]), batch)

    async def _save(self, *given: object) -> Any:
        """Waits its turn: a lock that another controller holds is no reason to fail. Raises StoreError."""
        for left in range(TRIES - 1, -1, -1):
            try:
                (row,) = await self._database.fetch(SAVE, *given)
            except StoreError as error:
                if not left or not isinstance(error.__cause__, LOCKED):
                    raise
            else:
                return row
        raise AssertionError("the last try returns or raises")

    async def _find_out(self, error: StoreError) -> tuple[int, Sequence[int], Sequence[str]]:
        """Of the batch that `error` interrupted. Raises `error` when it was not saved."""
        number = self._number + 1
        self._is_open_question = True
        try:
            async with asyncio.timeout(self._database.bounds.settle_seconds):
                while True:
                    try:
                        async with self._settling:
                            if self._number < number:  # else one that reads has settled it meanwhile
                                await self._look_up()
                        break
                    except StoreError as failed:
                        if self._broken:
                            raise
                        log.warning("store.settling", why=str(failed))
                        await asyncio.sleep(PAUSE_SECONDS)
        except TimeoutError:
            raise Unsure(f"{error} It is not known whether this was saved.") from None
        row = self._found
        if not row["outcomes"]:
            raise error
        return row["first_event"], row["outcomes"], row["details"]

    async def _look_up(self) -> None:
        number = self._number + 1
        async with self._database.transaction() as connection:
            await connection.execute(TAKE_NUMBER, self._name, number)
            row = await connection.fetchrow(LOOK_UP, self._name)
        if row is None or row["number"] != number:
            raise LeftBehind(self._break())
        self._number, self._is_open_question, self._found = number, False, row

    def _break(self) -> str:
        self._broken = (
            f"{self._database.place}: it lacks what this controller has saved there: it was restored from a "
            "backup, or is a standby that was behind. This controller saves nothing more; restart it, and "
            "see repave controller recover."
        )
        log.error("store.went_back", text=self._broken)
        return self._broken


def _outcomes_of(saved: tuple[int, Sequence[int], Sequence[str]], batch: Sequence[Rows]) -> list[Outcome]:
    first, codes, details = saved
    counts = [len(rows.events) if code == SAVED else 0 for rows, code in zip(batch, codes, strict=True)]
    firsts = itertools.accumulate(counts, initial=first)
    return [
        sequence if code == SAVED else REFUSALS[code](detail)
        for sequence, code, detail in zip(firsts, codes, details, strict=False)
    ]
