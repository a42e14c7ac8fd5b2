"""Saves transactions many at a time: while a batch is being saved, the next one gathers here."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from repave_controller.core.ports import StoreError, Unsure
from repave_controller.stores.rows import Outcome, Rows

BATCH_MAX = 256
TRANSACTIONS_WAITING_MAX = 10_000

Save = Callable[[Sequence[Rows]], Awaitable[Sequence[Outcome]]]
Together = Callable[[Iterable[Rows]], int]

log = structlog.get_logger()


class GroupCommit:
    """`save` gives the outcome of each of a batch; one batch is saved at a time. `together` says how many of
    those that wait, one at least, may be in one batch."""

    def __init__(self, save: Save, together: Together = lambda waiting: BATCH_MAX) -> None:
        self._save, self._together = save, together
        self._waiting: deque[tuple[Rows, asyncio.Future[int]]] = deque()
        self._saving: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        return len(self._waiting) >= TRANSACTIONS_WAITING_MAX

    async def add(self, rows: Rows) -> int:
        """Returns the first event's sequence number. Once this is called the rows are saved if they can be,
        whether or not the caller still waits. Raises what became of it otherwise."""
        saved: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, saved))
        if self._saving is None:
            self._saving = asyncio.create_task(self._save_all(), name="store-write")
        return await saved

    async def idle(self) -> None:
        """Returns once nothing waits and nothing is being saved."""
        while self._saving is not None:
            await asyncio.wait({self._saving})

    async def _save_all(self) -> None:
        """Batch after batch until nothing waits; the first with all that this turn of the loop adds."""
        try:
            while self._waiting:
                batch = self._next()
                outcomes = await self._saved([rows for rows, _ in batch])
                for (_, saved), outcome in zip(batch, outcomes, strict=True):
                    _resolve(saved, outcome)
        finally:
            self._saving = None

    def _next(self) -> list[tuple[Rows, asyncio.Future[int]]]:
        count = min(self._together(rows for rows, _ in self._waiting), len(self._waiting), BATCH_MAX)
        return [self._waiting.popleft() for _ in range(count)]

    async def _saved(self, batch: Sequence[Rows]) -> Sequence[Outcome]:
        try:
            return await self._save(batch)
        except Exception as error:  # the root of what is saved: nothing above could answer those who wait
            log.exception("store.writer_failed")
            return [error if isinstance(error, StoreError) else Unsure(repr(error))] * len(batch)


def _resolve(saved: asyncio.Future[int], outcome: Outcome) -> None:
    if saved.done():  # its caller was cancelled
        return
    if isinstance(outcome, int):
        saved.set_result(outcome)
    else:
        saved.set_exception(outcome)
