"""Packages in the store's database, in pieces. Implements ports.SharedPackages.

Pieces come first, each in a transaction of its own, so that no transaction lasts long; the row of the package
comes last, once all of them are there. What a controller that was killed has left is removed after a day.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from repave_controller.core.ports import PackageGone
from repave_controller.stores.postgresql.connection import Database
from repave_protos.protocol.values import Digest

PIECE_BYTES = 1024 * 1024
LEFT_OVER = "1 day"

ALONE = "SELECT pg_advisory_xact_lock(hashtext('repave package'), hashtext($1))"
HAS = "SELECT 1 FROM repave.packages WHERE digest = $1"
PIECES = "SELECT pieces FROM repave.packages WHERE digest = $1"
PIECE = "SELECT content FROM repave.package_pieces WHERE digest = $1 AND number = $2"
ADD_PIECE = (
    "INSERT INTO repave.package_pieces (digest, number, content) VALUES ($1, $2, $3) "
    "ON CONFLICT (digest, number) DO UPDATE SET content = excluded.content, at = clock_timestamp()"
)
THERE = (
    "SELECT count(*) AS pieces, coalesce(sum(length(content)), 0) AS bytes "
    "FROM repave.package_pieces WHERE digest = $1 AND number < $2"
)
ADD = "INSERT INTO repave.packages VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING"
REMOVE = "DELETE FROM repave.packages WHERE digest = $1"
REMOVE_PIECES = "DELETE FROM repave.package_pieces WHERE digest = $1"
REMOVE_LEFT = f"""
    DELETE FROM repave.package_pieces AS piece WHERE at < clock_timestamp() - '{LEFT_OVER}'::interval
    AND NOT EXISTS (SELECT 1 FROM repave.packages WHERE packages.digest = piece.digest)
"""  # noqa: S608  # our own text


class PostgresPackages:
    """Of the store that `database` is open for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def has(self, digest: Digest) -> bool:
        return bool(await self._database.fetch(HAS, digest))

    async def put(self, digest: Digest, file: Path) -> None:
        await self._database.fetch(REMOVE_LEFT)
        is_done = await self.has(digest)
        while not is_done:  # again only if it was removed meanwhile
            is_done = await self._put(digest, file)

    async def chunks(self, digest: Digest) -> AsyncIterator[bytes]:
        found = await self._database.fetch(PIECES, digest)
        if not found:
            raise PackageGone(f"{self._database.place}: the package {digest} is not stored, or no longer")
        for number in range(found[0]["pieces"]):
            piece = await self._database.fetch(PIECE, digest, number)
            if not piece:
                raise PackageGone(f"{self._database.place}: the package {digest} is being removed")
            yield piece[0]["content"]

    async def remove(self, digest: Digest) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(ALONE, digest)
            await connection.execute(REMOVE, digest)
            await connection.execute(REMOVE_PIECES, digest)

    async def direct(self, digest: Digest) -> str:
        return ""

    async def close(self) -> None:
        """The database is closed with the store."""

    async def _put(self, digest: Digest, file: Path) -> bool:
        """Whether it is there; no: it was removed at the same time."""
        pieces, size = 0, 0
        with file.open("rb") as opened:
            while piece := await asyncio.to_thread(opened.read, PIECE_BYTES):
                await self._database.fetch(ADD_PIECE, digest, pieces, piece)
                pieces, size = pieces + 1, size + len(piece)
        async with self._database.transaction() as connection:
            await connection.execute(ALONE, digest)
            there = await connection.fetchrow(THERE, digest, pieces)
            if there is None or (there["pieces"], there["bytes"]) != (pieces, size):
                return False
            await connection.execute(ADD, digest, size, pieces)
        return True
