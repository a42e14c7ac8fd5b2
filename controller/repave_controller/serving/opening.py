"""The store that the settings name, opened; and when a lost one is not begun anew."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from repave_controller.backups.putting_back import finish
from repave_controller.core.ports import Loaded, Store, StoreError
from repave_controller.fleet.packages import SUFFIX
from repave_controller.settings import ControllerSettings, StoreSettings
from repave_controller.stores.sqlite.store import SqliteStore, new_name

if TYPE_CHECKING:  # asyncpg is there only where it is used
    from repave_controller.stores.postgresql.shared import Shared

MOVED = "controller.db.moved"
"""A store that is in a database by now."""


@dataclass(frozen=True, slots=True)
class Opened:
    """`shared`: what other controllers may have open too."""

    store: Store
    loaded: Loaded
    shared: "Shared | None" = None


async def open_store(settings: ControllerSettings, is_new: bool = False) -> Opened:
    """`is_new`: it may be empty though there are packages, or a store, of a former one. Raises StoreError."""
    named = (lambda: settings.installation) if settings.installation else new_name
    finish(settings.state)
    opened = await (_open_shared if settings.store.url else _open_alone)(settings, named, is_new)
    called = opened.loaded.installation
    if settings.installation not in ("", called):
        await opened.store.close()
        place = "the database of store.url" if settings.store.url else settings.state
        raise StoreError(
            f"installation: the store in {place} is called {called}, not {settings.installation}; leave the "
            "setting out, or name another store"
        )
    return opened


async def _open_alone(settings: ControllerSettings, named: Callable[[], str], is_new: bool) -> Opened:
    store = SqliteStore(settings.state / "controller.db", new_name=named)
    if not is_new:
        _refuse_moved(settings.state)
        refuse_loss(settings.state)
    return Opened(store, await store.open())


async def _open_shared(settings: ControllerSettings, named: Callable[[], str], is_new: bool) -> Opened:
    def begun() -> str:
        if not is_new:
            _refuse_to_leave(settings.state)
        return named()

    shared = shared_of(settings.store, begun)
    return Opened(shared.store, await shared.store.open(), shared)


def shared_of(settings: StoreSettings, named: Callable[[], str]) -> "Shared":
    """Not yet opened. Raises StoreError."""
    try:
        from repave_controller.stores.postgresql.place import Place
        from repave_controller.stores.postgresql.shared import shared_in
    except ModuleNotFoundError as error:
        raise StoreError(
            f"store.url: {error.name} is not installed, which a store in PostgreSQL needs: "
            "pip install 'repave[postgres]'"
        ) from error
    return shared_in(Place(settings.url, settings.direct_url, settings.password_file), named)


def refuse_loss(state: Path) -> None:
    """A store that is gone or empty beside packages was lost: to begin anew is a person's decision.

    Raises StoreError.
    """
    store, packages = state / "controller.db", _packages(state)
    if packages and not (store.exists() and store.stat().st_size):
        is_there = "is empty" if store.exists() else "is gone"
        raise StoreError(
            f"{store} {is_there}, and {state / 'images'} holds {packages} packages of the releases it knew. "
            "Restore it from a backup; or start with --new, and then adopt what regions run "
            "(repave controller recover)"
        )


def _refuse_moved(state: Path) -> None:
    if (state / MOVED).exists() and not (state / "controller.db").exists():
        raise StoreError(
            f"the store was moved to PostgreSQL, and {state / MOVED} is what it was before. Name the "
            "database in store.url; or move it back (repave-controller migrate --to sqlite)"
        )


def _refuse_to_leave(state: Path) -> None:
    """The same for an empty database, in whose place a store in a file may be meant as well."""
    store, packages = state / "controller.db", _packages(state)
    if store.exists() and store.stat().st_size:
        raise StoreError(
            f"the database of store.url is empty, and there is a store in {store}. Move it there "
            "(repave-controller migrate --to postgresql), or start with --new"
        )
    if packages:
        raise StoreError(
            f"the database of store.url is empty, and {state / 'images'} holds {packages} packages of the "
            "releases it knew. Restore it from a backup; or start with --new, and then adopt what regions "
            "run (repave controller recover)"
        )


def _packages(state: Path) -> int:
    return sum(1 for _ in (state / "images").glob(f"*{SUFFIX}"))
