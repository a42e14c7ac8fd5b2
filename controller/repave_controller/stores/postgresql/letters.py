"""Letters between controllers, in a table that is not logged: one that a crash of PostgreSQL takes is as one
that was not answered in time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from repave_controller.core.ports import StoreError
from repave_controller.peers.hinted import Hinted
from repave_controller.peers.ports import ControllerId, Letter
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.saving import CHANNEL

POLL_SECONDS = 0.25
TAKEN_MAX = 64
"""At once; the others are there still."""
SEND = f"""
WITH quick AS (SELECT set_config('synchronous_commit', 'off', true)),
sent AS (
    INSERT INTO repave.letters (id, recipient, kind, body, expires_at)
    SELECT $1::uuid, $2, $3, $4, clock_timestamp() + make_interval(secs => $5::float8) FROM quick
    RETURNING id
)
SELECT pg_notify('{CHANNEL}', '') FROM sent
"""  # noqa: S608  # words of our own
TAKE = f"""
WITH quick AS (SELECT set_config('synchronous_commit', 'off', true)),
due AS (
    SELECT id FROM repave.letters WHERE recipient = $1 AND NOT is_taken ORDER BY sent_at
    LIMIT {TAKEN_MAX} FOR UPDATE SKIP LOCKED
)
UPDATE repave.letters l SET is_taken = true FROM due, quick WHERE l.id = due.id
RETURNING l.id::text AS id, l.recipient, l.kind, l.body, l.expires_at > clock_timestamp() AS is_awaited
"""  # noqa: S608  # words of our own
ANSWER = f"""
WITH quick AS (SELECT set_config('synchronous_commit', 'off', true)),
answered AS (
    UPDATE repave.letters SET answer = $2 FROM quick
    WHERE id = $1::uuid AND expires_at > clock_timestamp() RETURNING id
)
SELECT pg_notify('{CHANNEL}', '') FROM answered
"""  # noqa: S608  # words of our own
WITHDRAW = (
    "DELETE FROM repave.letters WHERE id = $1::uuid OR expires_at < clock_timestamp() - interval '1 min'"
)


class LetterTable:
    """Implements peers.ports.Post. `hints` as of peers.ports.ChangeLog."""

    def __init__(self, database: Database, hints: Callable[[], AsyncIterator[None]]) -> None:
        self._database = database
        self._hints = hints

    async def send(self, letter: Letter, timeout_seconds: float) -> bytes:
        hinted = Hinted(self._hints())
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._database.fetch(
                    SEND, letter.id, letter.recipient, letter.kind, letter.body, timeout_seconds
                )
                while True:
                    answer = await self._answer_to(letter)
                    if answer is not None:
                        return answer
                    await hinted.wait(POLL_SECONDS)
        finally:
            hinted.close()
            await self._withdraw(letter)

    async def _answer_to(self, letter: Letter) -> bytes | None:
        found = await self._database.fetch("SELECT answer FROM repave.letters WHERE id = $1::uuid", letter.id)
        if not found:
            raise StoreError(f"{self._database.place}: it has lost a letter to {letter.recipient}; ask again")
        answer: bytes | None = found[0]["answer"]
        return answer

    async def _withdraw(self, letter: Letter) -> None:
        """Those that no sender has withdrawn go as well."""
        try:
            await asyncio.shield(self._database.fetch(WITHDRAW, letter.id))
        except StoreError:
            pass  # it ends by itself

    async def letters(self, recipient: ControllerId) -> Sequence[Letter]:
        found = await self._database.fetch(TAKE, recipient)
        return [
            Letter(row["id"], ControllerId(row["recipient"]), row["kind"], row["body"])
            for row in found
            if row["is_awaited"]
        ]

    async def answer(self, letter: Letter, body: bytes) -> bool:
        return bool(await self._database.fetch(ANSWER, letter.id, body))
