"""A backup of a store in PostgreSQL, with the packages there, is like one of a store in a file: each can be
restored into the other."""

import asyncio
import hashlib
import io
import tarfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from repave_controller.backups.commands import put_back, take
from repave_controller.backups.manifest import BackupError
from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import Image, Store, StoreError, Transaction
from repave_controller.security.authority import OwnAuthority
from repave_controller.serving.backing_up import sources_of, target_of
from repave_controller.serving.opening import open_store
from repave_controller.settings import ControllerSettings, PackagesSettings, StoreSettings
from repave_controller.stores.postgresql.packages import PostgresPackages
from repave_controller.stores.postgresql.store import PostgresStore
from repave_protos.protocol.values import Digest

NOW = 1_800_000_000.0


def a_package() -> tuple[str, bytes]:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("serve"))
    return hashlib.sha256(sink.getvalue()).hexdigest(), sink.getvalue()


DIGEST, PACKAGE = a_package()


def clock() -> Instant:
    return Instant(NOW)


def backed_up(settings: ControllerSettings, file: Path, *, with_packages: bool = True) -> str:
    sources = sources_of(settings, clock)
    return take(settings.state, str(file), NOW, with_packages=with_packages, sources=sources)


def restored(settings: ControllerSettings, file: Path, *, force: bool = False) -> str:
    target = target_of(settings, clock)
    return put_back(settings.state, str(file), NOW, force=force, is_trial=False, target=target)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """The commands have loops of their own."""
    return asyncio.run(work)


async def told(settings: ControllerSettings) -> tuple[str, int, list[str]]:
    """Name, incarnation and events of the store, once a controller has opened it."""
    opened = await open_store(settings)
    try:
        texts = [each.text for each in await opened.store.events() if each.kind == "told"]
        return opened.loaded.installation, opened.loaded.tenure.incarnation, texts
    finally:
        await opened.store.close()


async def fill(settings: ControllerSettings, text: str) -> None:
    """A controller ran here, and took a package."""
    opened = await open_store(settings, is_new=True)
    store: Store = opened.store
    try:
        await store.commit(Transaction(events=(Event("told", text, at=Instant(NOW)),)))
        await store.add_image(Image(Digest(DIGEST), len(PACKAGE), 1, "hello", Instant(NOW)))
        OwnAuthority(settings.state / "security", "acme", NOW)
        file = settings.state / "images" / f"{DIGEST}.tar.gz"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(PACKAGE)
        if isinstance(store, PostgresStore):
            await PostgresPackages(store.database).put(Digest(DIGEST), file)
            file.unlink()
    finally:
        await store.close()


def in_file(state: Path) -> ControllerSettings:
    return ControllerSettings(state=state, installation="")


def in_database(state: Path, url: str) -> ControllerSettings:
    return ControllerSettings(state=state, installation="", store=StoreSettings(url=url))


def test_a_backup_of_either_store_is_restored_into_the_other(tmp_path: Path, database_url: str) -> None:
    first, second = in_file(tmp_path / "first"), in_database(tmp_path / "second", database_url)
    third = in_file(tmp_path / "third")
    run(fill(first, "one"))
    name, incarnation, _ = run(told(first))
    backed_up(first, tmp_path / "first.tar")

    text = restored(second, tmp_path / "first.tar")
    assert "restored into PostgreSQL at" in text
    assert "packages are missing" not in text
    assert (second.state / "images" / f"{DIGEST}.tar.gz").read_bytes() == PACKAGE
    assert not (second.state / "controller.db").exists()
    assert run(told(second)) == (name, incarnation + 1, ["one"])

    run(fill(second, "two"))
    assert "with packages" in backed_up(second, tmp_path / "second.tar")
    assert "restored into" in restored(third, tmp_path / "second.tar")
    assert run(told(third)) == (name, incarnation + 2, ["one", "two"])
    assert (third.state / "images" / f"{DIGEST}.tar.gz").read_bytes() == PACKAGE
    assert list((third.state / "security").glob("authority-*.pem"))


def test_a_restored_database_outranks_the_one_it_takes_the_place_of(
    tmp_path: Path, database_url: str
) -> None:
    settings = in_database(tmp_path / "state", database_url)
    run(fill(settings, "one"))
    backed_up(settings, tmp_path / "backup.tar", with_packages=False)

    async def begin() -> None:
        opened = await open_store(settings)
        await opened.store.begin_incarnation(40)
        await opened.store.close()

    run(begin())
    with capture_logs() as logs, pytest.raises(StoreError, match="there is a store already"):
        restored(in_database(tmp_path / "other", database_url), tmp_path / "backup.tar")
    assert "audit" not in [each["event"] for each in logs], "no chain has this row"
    with capture_logs() as logs:
        text = restored(settings, tmp_path / "backup.tar", force=True)
    assert [each["action"] for each in logs if each["event"] == "audit"] == ["restore backup"]
    assert "kept in the schema repave_before_restore_1" in text
    assert "packages are missing" not in text, "they stayed in the database"
    assert run(told(settings))[1:] == (42, ["one"])


def test_packages_that_are_nowhere_are_counted(tmp_path: Path, database_url: str) -> None:
    first = in_file(tmp_path / "first")
    run(fill(first, "one"))
    backed_up(first, tmp_path / "backup.tar", with_packages=False)
    assert "1 packages are missing" in restored(
        in_database(tmp_path / "second", database_url), tmp_path / "backup.tar"
    )


def test_a_database_that_is_away_leaves_the_former_backup_and_the_state(tmp_path: Path) -> None:
    away = in_database(tmp_path / "state", "postgresql://repave@127.0.0.1:9/none")
    first = in_file(tmp_path / "first")
    run(fill(first, "one"))
    file = tmp_path / "backup.tar"
    backed_up(first, file)
    content = file.read_bytes()
    with pytest.raises(StoreError, match="connection was refused"):
        backed_up(away, file)
    assert file.read_bytes() == content
    with pytest.raises(StoreError, match="connection was refused"):
        restored(away, file)
    assert not (away.state / "security").exists()


def test_packages_in_a_bucket_need_no_file_of_the_extra(tmp_path: Path) -> None:
    """A store in a file with packages elsewhere: both sides go by the settings."""
    packages = PackagesSettings(store="s3", bucket="ours", credentials=tmp_path / "keys")
    settings = ControllerSettings(state=tmp_path, installation="", packages=packages)
    target = target_of(settings, clock)
    assert target is not None
    assert target.place == ""
    assert target_of(in_file(tmp_path), clock) is None


def test_a_store_that_has_not_been_moved_into_the_database_yet_is_pointed_out(
    tmp_path: Path, database_url: str
) -> None:
    run(fill(in_file(tmp_path), "here"))
    settings = in_database(tmp_path, database_url)
    with pytest.raises(BackupError, match=r"store.url is empty.*controller.db.*migrate --to postgresql"):
        backed_up(settings, tmp_path / "backup.tar")
    assert not (tmp_path / "backup.tar").exists()
