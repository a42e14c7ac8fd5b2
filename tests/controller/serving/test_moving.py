"""A store that is moved from a file into PostgreSQL and back: all of it or nothing, and only one counts."""

import asyncio
import hashlib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from repave_controller.__main__ import main
from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import Image, StoreError
from repave_controller.serving.moving import Move, move
from repave_controller.serving.opening import MOVED, open_store
from repave_controller.settings import ControllerSettings, StoreSettings
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.protocol.values import Digest
from tests.contracts.test_copied_stores import content, fill
from tests.support.postgresql import Server


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> ControllerSettings:
    return ControllerSettings(
        state=tmp_path / "state", store=StoreSettings(url=database_url), installation=""
    )


@pytest.fixture
def stored(settings: ControllerSettings, package: Path) -> Path:
    """The package as the controller has it."""
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    (settings.state / "images").mkdir(parents=True)
    return package.rename(settings.state / "images" / f"{digest}.tar.gz")


@pytest.fixture
async def filled(settings: ControllerSettings, stored: Path) -> dict[str, object]:
    """A store in a file, with a package; returns what it holds."""
    store = SqliteStore(settings.state / "controller.db")
    loaded = await store.open()
    await fill(store, loaded.installation)
    digest = Digest(stored.name.removesuffix(".tar.gz"))
    await store.add_image(Image(digest, stored.stat().st_size, 1, "shop", Instant(1.0)))
    held = await content(store)
    await store.close()
    return held


def moved(settings: ControllerSettings, to: str, *, is_trial: bool = False) -> list[str]:
    told: list[str] = []
    move(settings, to, lambda: Instant(50.0), told.append, is_trial=is_trial)  # type: ignore[arg-type]
    return told


def alone(settings: ControllerSettings) -> ControllerSettings:
    return settings.model_copy(update={"store": StoreSettings()})


async def held_by(settings: ControllerSettings) -> tuple[dict[str, object], int]:
    """What the store of these settings holds, and its incarnation."""
    opened = await open_store(settings)
    try:
        return await content(opened.store), opened.loaded.tenure.incarnation
    finally:
        await opened.store.close()


def rows_in(logs: list[MutableMapping[str, Any]]) -> list[str]:
    """Hashes of the rows of the audit log that are told."""
    return [each["hash"] for each in logs if each["event"] == "audit"]


def audit_end(held: dict[str, object]) -> str:
    rows = held["audit"]
    assert isinstance(rows, list)
    return str(rows[-1].hash)


def without_news(held: dict[str, object]) -> dict[str, object]:
    """But for what the moves themselves have told: an event and a row of the audit log each."""
    kept = {name: value for name, value in held.items() if name != "aged"}
    for name in ("events", "audit"):
        rows = held[name]
        assert isinstance(rows, list)
        told = ("move store", "store.moved")
        kept[name] = [each for each in rows if not any(words in str(each) for words in told)]
    return kept


async def test_a_store_goes_to_postgresql_and_back_whole_and_only_one_of_the_two_counts(
    settings: ControllerSettings, filled: dict[str, object], stored: Path
) -> None:
    with capture_logs() as logs:
        told = await asyncio.to_thread(moved, settings, "postgresql")
    assert "3 rollouts" in told[0]
    held, incarnation = await held_by(settings)
    assert rows_in(logs) == [audit_end(held)]
    assert without_news(held) == without_news(filled)
    assert incarnation == 2
    with pytest.raises(StoreError, match="was moved to PostgreSQL"):
        await open_store(alone(settings))
    assert (settings.state / MOVED).exists()

    package = stored.read_bytes()
    stored.unlink()
    with capture_logs() as logs:
        await asyncio.to_thread(moved, settings, "sqlite")
    held, incarnation = await held_by(alone(settings))
    assert rows_in(logs) == [audit_end(held)]
    assert without_news(held) == without_news(filled)
    assert incarnation == 3
    with pytest.raises(StoreError, match="migrate --to postgresql"):
        await open_store(settings)
    assert stored.read_bytes() == package


def test_a_trial_tells_what_would_be_moved_and_changes_nothing(
    settings: ControllerSettings, filled: dict[str, object], postgresql_server: Server
) -> None:
    before = (settings.state / "controller.db").read_bytes()
    with capture_logs() as logs:
        told = moved(settings, "postgresql", is_trial=True)
    assert not rows_in(logs), "no chain has this row"
    assert "1 freezes" in told[0]
    assert "nothing was changed" in told[-1]
    assert (settings.state / "controller.db").read_bytes() == before
    assert not any(each.suffix in (".moving", ".part") for each in settings.state.iterdir())
    name = settings.store.url.rpartition("/")[2]
    assert postgresql_server.psql("SELECT count(*) FROM repave.store", name) == "0"


async def test_what_is_in_use_or_not_empty_is_refused(
    settings: ControllerSettings, filled: dict[str, object]
) -> None:
    running = await open_store(alone(settings))
    with pytest.raises(StoreError, match="stop the controller first"):
        await asyncio.to_thread(moved, settings, "postgresql")
    await running.store.close()
    other = await open_store(settings, is_new=True)
    await other.store.close()
    for to in ("postgresql", "sqlite"):
        with pytest.raises(StoreError, match="there is a store already"):
            await asyncio.to_thread(moved, settings, to)
    assert (settings.state / "controller.db").exists()


class CutOff(Move):
    """Ends before the former store is put aside."""

    def _put_file_aside(self) -> None:
        raise OSError("the machine has lost its power")


async def test_a_move_that_was_cut_off_is_ended_by_the_next_and_copies_nothing_twice(
    settings: ControllerSettings, filled: dict[str, object]
) -> None:
    with pytest.raises(OSError, match="power"):
        await CutOff(settings, lambda: Instant(50.0), lambda _: None).run("postgresql", is_trial=False)
    told = await asyncio.to_thread(moved, settings, "postgresql")
    assert told[-1].startswith("moved")
    held, incarnation = await held_by(settings)
    assert without_news(held) == without_news(filled)
    assert incarnation == 2


async def test_a_store_that_went_on_after_a_move_was_cut_off_is_not_put_aside(
    settings: ControllerSettings, filled: dict[str, object]
) -> None:
    with pytest.raises(OSError, match="power"):
        await CutOff(settings, lambda: Instant(50.0), lambda _: None).run("postgresql", is_trial=False)
    await held_by(alone(settings))
    with pytest.raises(StoreError, match="there is a store already"):
        await asyncio.to_thread(moved, settings, "postgresql")
    assert (settings.state / "controller.db").exists()


def test_a_move_needs_a_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPAVE_CONTROLLER_STATE", str(tmp_path))
    assert main(["migrate", "--to", "postgresql"]) == 1
    assert "store.url: name the database" in capsys.readouterr().err
