"""What a backup takes where the store, or the packages, are not in the state directory."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from pathlib import Path
from typing import IO

from repave_controller.backups.manifest import PACKAGES, Member
from repave_controller.core.ports import SharedPackages
from repave_controller.fleet.packages import SUFFIX
from repave_protos.protocol.values import Digest

OpenPackages = Callable[[], AbstractAsyncContextManager[SharedPackages]]


class CopiedStore:
    """Implements taking.StoreSource over what makes a file of a store."""

    def __init__(self, copy: Callable[[Path], Awaitable[None]]) -> None:
        self._copy = copy

    def copy(self, file: Path) -> None:
        async def copy() -> None:
            await self._copy(file)

        asyncio.run(copy())


class FoundPackages:
    """Implements putting_back.Target for a store in the state directory, with packages that are not."""

    place = ""

    def __init__(self, packages: OpenPackages) -> None:
        self._packages = packages

    async def incarnation(self) -> int:
        return 0

    async def fill(self, file: Path, *, force: bool) -> str:
        return ""

    async def missing(self, digests: Collection[str]) -> Collection[str]:
        return await missing_from(self._packages, digests)


async def missing_from(packages: OpenPackages, digests: Collection[str]) -> set[str]:
    """Raises StoreError."""
    async with packages() as opened:
        return {digest for digest in digests if not await opened.has(Digest(digest))}


class SharedSource:
    """Implements taking.PackageSource over packages that controllers share."""

    def __init__(self, packages: OpenPackages) -> None:
        self._packages = packages

    def members(self, copy: Path) -> list[Member]:
        """Those that the store knows and that are there."""
        with closing(sqlite3.connect(copy)) as connection:
            known = connection.execute("SELECT digest, size_bytes FROM images ORDER BY digest").fetchall()
        missing = asyncio.run(missing_from(self._packages, [digest for digest, _ in known]))
        return [
            Member(path=f"{PACKAGES}/{digest}{SUFFIX}", bytes=size, sha256=digest)
            for digest, size in known
            if digest not in missing
        ]

    @contextmanager
    def opened(self, member: Member) -> Iterator[IO[bytes]]:
        with tempfile.TemporaryFile(prefix="repave-backup-") as file:
            asyncio.run(self._fetch(member, file))
            file.seek(0)
            yield file

    async def _fetch(self, member: Member, file: IO[bytes]) -> None:
        async with self._packages() as packages:
            async for piece in packages.chunks(Digest(member.sha256)):
                await asyncio.to_thread(file.write, piece)
