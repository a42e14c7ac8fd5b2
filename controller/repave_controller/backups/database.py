"""A store in PostgreSQL, as backups take it and restores fill it."""

from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

from repave_controller.backups.copying import copy_in, copy_out, incarnation_of
from repave_controller.backups.elsewhere import OpenPackages, missing_from
from repave_controller.stores.postgresql.connection import Database


@asynccontextmanager
async def opened(make: Callable[[], Database]) -> AsyncIterator[Database]:
    """Raises StoreError."""
    database = make()
    await database.open()
    try:
        yield database
    finally:
        await database.close()


class FilledDatabase:
    """Implements putting_back.Target."""

    def __init__(self, make: Callable[[], Database], packages: OpenPackages | None) -> None:
        """`packages`: where they are shared, if not in the state directory."""
        self._make, self._packages = make, packages
        self.place = str(make().place)

    async def incarnation(self) -> int:
        async with opened(self._make) as database:
            return await incarnation_of(database)

    async def fill(self, file: Path, *, force: bool) -> str:
        async with opened(self._make) as database:
            return await copy_in(file, database, force=force)

    async def missing(self, digests: Collection[str]) -> Collection[str]:
        if self._packages is None:
            return digests
        return await missing_from(self._packages, digests)


def copier(make: Callable[[], Database]) -> Callable[[Path], Coroutine[None, None, None]]:
    """Makes a file of the store."""

    async def copy(file: Path) -> None:
        async with opened(make) as database:
            await copy_out(database, file)

    return copy
