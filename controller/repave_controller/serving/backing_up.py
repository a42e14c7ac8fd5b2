"""Where `repave-controller backup` and `restore` find the store and the packages, as settings have it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from repave_controller.backups.elsewhere import CopiedStore, FoundPackages, OpenPackages, SharedSource
from repave_controller.backups.putting_back import Target
from repave_controller.backups.taking import PackagesHere, Sources, StoreHere
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import SharedPackages
from repave_controller.fleet.s3_packages import S3Packages
from repave_controller.serving.opening import shared_of as store_of
from repave_controller.serving.packages import in_bucket
from repave_controller.settings import ControllerSettings

if TYPE_CHECKING:  # asyncpg is there only where it is used
    from repave_controller.stores.postgresql.connection import Database

Clock = Callable[[], Instant]


def sources_of(settings: ControllerSettings, clock: Clock) -> Sources:
    """Raises StoreError, ValueError, OSError."""
    packages = _packages_of(settings, clock)
    return Sources(
        StoreHere(settings.state) if not settings.store.url else _copied(settings),
        PackagesHere(settings.state) if packages is None else SharedSource(packages),
    )


def target_of(settings: ControllerSettings, clock: Clock) -> Target | None:
    """None: all is in the state directory. Raises StoreError, ValueError, OSError."""
    packages = _packages_of(settings, clock)
    if not settings.store.url:
        return FoundPackages(packages) if packages is not None else None
    from repave_controller.backups.database import FilledDatabase  # of an extra

    return FilledDatabase(lambda: _database(settings), packages)


def _copied(settings: ControllerSettings) -> CopiedStore:
    from repave_controller.backups.database import copier  # of an extra

    return CopiedStore(copier(lambda: _database(settings)))


def _database(settings: ControllerSettings) -> "Database":
    """Not yet opened. Raises StoreError."""
    return store_of(settings.store, str).store.database


def _packages_of(settings: ControllerSettings, clock: Clock) -> OpenPackages | None:
    """None: in the state directory."""
    match settings.packages.store:
        case "s3":
            return lambda: _closing(in_bucket(settings.packages, settings, clock))
        case "auto" | "database" if settings.store.url:
            return lambda: _in_database(settings)
    return None


@asynccontextmanager
async def _closing(packages: S3Packages) -> AsyncIterator[SharedPackages]:
    try:
        yield packages
    finally:
        await packages.close()


def _in_database(settings: ControllerSettings) -> AbstractAsyncContextManager[SharedPackages]:
    from repave_controller.backups.database import opened  # of an extra
    from repave_controller.stores.postgresql.packages import PostgresPackages

    @asynccontextmanager
    async def packages() -> AsyncIterator[SharedPackages]:
        async with opened(lambda: _database(settings)) as database:
            yield PostgresPackages(database)

    return packages()
