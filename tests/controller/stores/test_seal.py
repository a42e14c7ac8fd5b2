"""A write-ahead log is laid over its own database only: whatever was copied, restored, cut off by a crash."""

import itertools
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from repave_controller.core.domain.application import Application, Event
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.ports import StoreError, Transaction
from repave_controller.stores.sqlite import seal
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.protocol.values import ApplicationName


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "controller.db"


async def write(store: SqliteStore, *texts: str) -> None:
    name = ApplicationName("hello")
    for text in texts:
        events = (Event("step.entered", text, name),)
        await store.commit(Transaction(Application(name, name, GroupNumber(1)), events))


async def texts_in(path: Path) -> list[str]:
    store = SqliteStore(path)
    await store.open()
    found = [event.text for event in await store.events()]
    await store.close()
    return found


def freeze(path: Path, target: Path) -> None:
    """The files as a crash leaves them: to be put back once the store is closed."""
    target.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, target)


def thaw(frozen: Path, path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    for file in frozen.iterdir():
        shutil.copy(file, path.parent)


def backup(path: Path, target: Path) -> Path:
    """As docs/backup.md says."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy, copy:
        source.backup(copy)
    return target


async def crashed(path: Path, tmp_path: Path, *, lives: int = 1) -> dict[str, Path]:
    """A store that ends by a crash, with its log; and copies that were made of it before."""
    copies: dict[str, Path] = {}
    for life in range(lives):
        store = SqliteStore(path)
        await store.open()
        await write(store, f"first of {life}")
        copies[f"backup {life}"] = backup(path, tmp_path / f"backup-{life}.db")
        await write(store, f"second of {life}")
        if life == lives - 1:
            freeze(path, tmp_path / "crashed")
        await store.close()
        copies[f"stopped {life}"] = Path(shutil.copy(path, tmp_path / f"stopped-{life}.db"))
    thaw(tmp_path / "crashed", path)
    assert seal.log_of(path).stat().st_size > 0
    return copies


async def test_after_a_crash_the_log_is_taken_as_often_as_it_takes(path: Path, tmp_path: Path) -> None:
    await crashed(path, tmp_path, lives=2)
    everything = ["first of 0", "second of 0", "first of 1", "second of 1"]
    assert await texts_in(path) == everything
    thaw(tmp_path / "crashed", path)
    Path(f"{path}-shm").unlink()
    assert await texts_in(path) == everything
    assert await texts_in(path) == everything


@pytest.mark.parametrize("copy", ["backup 0", "backup 1", "stopped 0"])
async def test_a_store_restored_beside_an_old_log_is_refused_and_both_stay_as_they_are(
    path: Path, tmp_path: Path, copy: str
) -> None:
    copies = await crashed(path, tmp_path, lives=2)
    shutil.copy(copies[copy], path)
    before = (path.read_bytes(), seal.log_of(path).read_bytes())
    with pytest.raises(
        StoreError, match=r"controller.db-wal beside it belongs to another database"
    ) as caught:
        await SqliteStore(path).open()
    assert "move controller.db-wal and controller.db-shm away" in str(caught.value)
    assert (path.read_bytes(), seal.log_of(path).read_bytes()) == before
    seal.log_of(path).unlink()
    Path(f"{path}-shm").unlink()
    found = await texts_in(path)
    assert found == ["first of 0", "second of 0", "first of 1"][: 3 if copy == "backup 1" else len(found)]
    assert "second of 1" not in found


async def test_a_log_beside_an_emptied_database_is_refused(path: Path, tmp_path: Path) -> None:
    await crashed(path, tmp_path)
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="the database is empty, and"):
        await SqliteStore(path).open()


async def test_what_is_refused_can_be_folded_in_where_nothing_was_replaced(
    path: Path, tmp_path: Path
) -> None:
    copies = await crashed(path, tmp_path)
    shutil.copy(copies["backup 0"], path)
    with pytest.raises(StoreError, match=r"PRAGMA wal_checkpoint\(TRUNCATE\)"):
        await SqliteStore(path).open()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert "first of 0" in await texts_in(path)


async def test_a_log_that_grows_is_folded_in_and_a_crash_after_it_is_no_restore(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("repave_controller.stores.sqlite.writer.LOG_BYTES_MAX", 100_000)
    store = SqliteStore(path)
    await store.open()
    sizes = []
    for number in range(60):
        await write(store, f"{number}")
        sizes.append(seal.log_of(path).stat().st_size)
        if number % 7 == 0:
            freeze(path, tmp_path / f"crash-{number}")
    await store.close()
    assert max(sizes) < 160_000
    assert any(later < earlier for earlier, later in itertools.pairwise(sizes))
    for number in range(0, 60, 7):
        thaw(tmp_path / f"crash-{number}", path)
        assert len(await texts_in(path)) == number + 1


async def test_a_crash_at_each_step_of_folding_is_no_restore(path: Path, tmp_path: Path) -> None:
    await crashed(path, tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(seal.BASE)
        freeze(path, tmp_path / "sealed")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        freeze(path, tmp_path / "moved")
        connection.execute(seal.TOP)
        freeze(path, tmp_path / "topped")
        connection.execute(seal.BASE)
        freeze(path, tmp_path / "ending")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        freeze(path, tmp_path / "ended")
    for step in ("sealed", "moved", "topped", "ending", "ended"):
        thaw(tmp_path / step, path)
        assert await texts_in(path) == ["first of 0", "second of 0"], step


async def test_a_reader_that_takes_long_holds_up_nothing(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await write(store, "one")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        assert store._writer is not None
        store._writer._fold_from = 0
        await write(store, "two", "three")
        reader.execute("COMMIT")
    await store.close()
    assert await texts_in(path) == ["one", "two", "three"]
