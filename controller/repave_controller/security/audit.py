"""The audit log: who did what to what, from where, why, with what outcome. Rows are only ever added.

A row stands on disk before a command is carried out, and another one tells of its end: what has no end was
cut off. Nothing that is secret is put into a row: bodies are written by their fields, and see differences.py.
"""

import asyncio
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import Conflict, Store, Transaction
from repave_protos.daemon.chain import Link, first_hash, link

ROW_BYTES_MAX = 32 * 1024
CUT = "cut: too long for a row"
TRIES_MAX = 50
"""So often a row is linked anew while other controllers add theirs."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Entry:
    """One row. `of`: the number of the row in which this was asked."""

    at: Instant
    who: str
    kind: str
    credential: str
    address: str
    action: str
    application: str = ""
    outcome: str = "asked"  # done, refused, denied, failed
    status: int = 0
    reason: str = ""
    of: int = 0
    facts: tuple[tuple[str, str], ...] = ()


def text_of(entry: Entry) -> str:
    """As it is kept; of bounded length."""
    text = _text(entry)
    if len(text.encode()) > ROW_BYTES_MAX:
        text = _text(dataclasses.replace(entry, facts=(("facts", CUT),)))
    return text


def _text(entry: Entry) -> str:
    fields = {each.name: getattr(entry, each.name) for each in dataclasses.fields(entry)}
    return json.dumps({**fields, "facts": dict(entry.facts)}, sort_keys=True)


async def audit_of(store: Store, installation: str, clock: Callable[[], Instant]) -> "Audit":
    """Goes on where the log in the store ends. Raises StoreError."""
    end = await store.audit(limit=1, newest=True)
    return Audit(store, installation, end[0] if end else None, clock)


def log_row(added: Link, entry: Entry) -> None:
    """The log, which is kept elsewhere, holds the chain to its end."""
    log.info("audit", number=added.number, hash=added.hash, who=entry.who, action=entry.action)


class Audit:
    """One for a controller, which adds rows one after the other."""

    def __init__(
        self, store: Store, installation: str, end: Link | None, clock: Callable[[], Instant]
    ) -> None:
        self.installation = installation
        self._store = store
        self._number = end.number if end is not None else 0
        self._hash = end.hash if end is not None else first_hash(installation)
        self._clock = clock
        self._lock = asyncio.Lock()

    async def add(self, entry: Entry) -> int:
        """Returns its number once it is on disk. Raises StoreError."""
        return await asyncio.shield(asyncio.ensure_future(self._add(entry)))  # whether or not one waits

    async def _add(self, entry: Entry) -> int:
        added = await self.write(entry)
        log_row(added, entry)
        return added.number

    async def write(self, entry: Entry) -> Link:
        """Without `log_row`: for a copy, whose rows may never count. Raises StoreError."""
        async with self._lock:
            timed = dataclasses.replace(entry, at=self._clock())
            return await self._linked(text_of(timed))

    async def _linked(self, text: str) -> Link:
        """Behind the last row, also where other controllers add theirs."""
        for left in range(TRIES_MAX - 1, -1, -1):
            added = link(self._number + 1, text, self._hash)
            try:
                await self._store.commit(Transaction(audit=(added,)))
            except Conflict:
                if not left:
                    raise
                (end,) = await self._store.audit(limit=1, newest=True)
                self._number, self._hash = end.number, end.hash
            else:
                self._number, self._hash = added.number, added.hash
                return added
        raise AssertionError("the last try returns or raises")

    async def rows(self, after: int = 0, limit: int = 1000, newest: bool = False) -> Sequence[Link]:
        return await self._store.audit(after, limit, newest)
