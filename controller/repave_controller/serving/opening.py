"""The store that the settings name, opened; and when a lost one is not begun anew."""

from pathlib import Path

from repave_controller.backups.putting_back import finish
from repave_controller.core.ports import Loaded, Store, StoreError
from repave_controller.fleet.packages import SUFFIX
from repave_controller.settings import ControllerSettings
from repave_controller.stores.sqlite.store import SqliteStore, new_name


async def open_store(settings: ControllerSettings, is_new: bool = False) -> tuple[Store, Loaded]:
    """`is_new`: it may be empty though packages of a former one are there. Raises StoreError."""
    named = (lambda: settings.installation) if settings.installation else new_name
    store = SqliteStore(settings.state / "controller.db", new_name=named)
    finish(settings.state)
    if not is_new:
        refuse_loss(settings.state)
    loaded = await store.open()
    if settings.installation not in ("", loaded.installation):
        await store.close()
        raise StoreError(
            f"installation: the store in {settings.state} is called {loaded.installation}, not "
            f"{settings.installation}; leave the setting out, or name a new state directory"
        )
    return store, loaded


def refuse_loss(state: Path) -> None:
    """A store that is gone or empty beside packages was lost: to begin anew is a person's decision.

    Raises StoreError.
    """
    store = state / "controller.db"
    packages = sum(1 for _ in (state / "images").glob(f"*{SUFFIX}"))
    if packages and not (store.exists() and store.stat().st_size):
        is_there = "is empty" if store.exists() else "is gone"
        raise StoreError(
            f"{store} {is_there}, and {state / 'images'} holds {packages} packages of the releases it knew. "
            "Restore it from a backup; or start with --new, and then adopt what regions run "
            "(repave controller recover)"
        )
