"""The receipt of a request, saved in one transaction with the first thing that the request changes; the
code that changes it does not have to know."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from repave_controller.core.ports import Receipt, Transaction


@dataclass(slots=True)
class Pending:
    """Of a request that is being carried out. `is_saved`: it was, with what the request has changed."""

    receipt: Receipt
    is_saved: bool = False
    is_open: bool = True


_PENDING: ContextVar[Pending | None] = ContextVar("pending_receipt", default=None)


@contextmanager
def saved_with(receipt: Receipt) -> Iterator[Pending]:
    """While the block lasts; what it has started and goes on after it saves nothing of it."""
    pending = Pending(receipt)
    token = _PENDING.set(pending)
    try:
        yield pending
    finally:
        pending.is_open = False
        _PENDING.reset(token)


@asynccontextmanager
async def with_receipt(transaction: Transaction) -> AsyncIterator[Transaction]:
    """What is to be saved in its place. Of one that fails another one has to be the first."""
    pending = _PENDING.get()
    if pending is None or not pending.is_open or pending.is_saved or not _changes(transaction):
        yield transaction
        return
    yield dataclasses.replace(transaction, receipt=pending.receipt)
    pending.is_saved = True


def _changes(transaction: Transaction) -> bool:
    """Whether it is more than a line of a log, and has no receipt of its own."""
    return transaction.receipt is None and bool(
        transaction.records or transaction.application or transaction.freezes
    )
