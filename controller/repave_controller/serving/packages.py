"""Where this controller's packages are: on its disk alone, or where other controllers find them too."""

from collections.abc import Callable

from yarl import URL

from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import SharedPackages, Store
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.fleet.presigning import Bucket
from repave_controller.fleet.s3_packages import S3Packages
from repave_controller.settings import ControllerSettings, PackagesSettings


def images_of(settings: ControllerSettings, store: Store, clock: Callable[[], Instant]) -> ImageDirectory:
    """`store` is what was opened. Raises ValueError, OSError."""
    return ImageDirectory(
        settings.state / "images",
        clock,
        shared=shared_of(settings, store, clock),
        cache_bytes=int(settings.packages.cache_gb * 1e9),
    )


def shared_of(
    settings: ControllerSettings, store: Store, clock: Callable[[], Instant]
) -> SharedPackages | None:
    """None: this controller's disk is the only place. Raises ValueError, OSError."""
    match settings.packages.store:
        case "directory":
            return None
        case "s3":
            return in_bucket(settings.packages, settings, clock)
    found = _in_database(store)
    if found is None and settings.packages.store == "database":
        raise ValueError(
            'packages.store: "database" is for a store in PostgreSQL. Set store.url, or packages.store to '
            '"directory" or "s3"'
        )
    return found


def _in_database(store: Store) -> SharedPackages | None:
    if not hasattr(store, "database"):
        return None
    from repave_controller.stores.postgresql.packages import PostgresPackages  # of an extra

    return PostgresPackages(store.database)


def in_bucket(
    packages: PackagesSettings, settings: ControllerSettings, clock: Callable[[], Instant]
) -> S3Packages:
    assert packages.credentials is not None, "the settings were checked"
    endpoint = packages.endpoint or f"https://s3.{packages.region}.amazonaws.com"
    authority = settings.artifacts.authority
    return S3Packages(
        Bucket(packages.bucket, URL(endpoint), packages.region, is_in_host=not packages.endpoint),
        packages.credentials,
        clock,
        prefix=packages.prefix,
        is_direct=packages.direct,
        authorities=authority.read_text() if authority is not None else "",
    )
