"""A backup holds all of one moment; a restore happens whole or not at all, and outranks what came after."""

import asyncio
import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from repave_controller.backups.commands import put_back, take
from repave_controller.backups.manifest import BackupError, Manifest
from repave_controller.backups.putting_back import finish
from repave_controller.backups.taking import back_up
from repave_controller.core.domain.application import Event, Instant
from repave_controller.core.ports import Image, StoreError, Transaction
from repave_controller.security.authority import OwnAuthority
from repave_controller.stores.migrations import MIGRATIONS
from repave_controller.stores.sqlite.store import SqliteStore
from repave_protos.protocol.values import Digest

NOW = 1_800_000_000.0
PACKAGE = b"a package"
DIGEST = hashlib.sha256(PACKAGE).hexdigest()
USER = 4321
Content = dict[str, bytes]


async def filled(state: Path, text: str = "one") -> SqliteStore:
    """A state directory as a running controller has it. The store is left open, its log not folded in."""
    state.mkdir(mode=0o700, exist_ok=True)
    store = SqliteStore(state / "controller.db", new_name=lambda: "acme")
    await store.open()
    await store.commit(Transaction(events=(Event("told", text, at=Instant(NOW)),)))
    await store.add_image(Image(Digest(DIGEST), len(PACKAGE), 1, "hello", Instant(NOW)))
    OwnAuthority(state / "security", "acme", NOW)
    (state / "security" / "server-1.pem").write_text("made anew at each start")
    (state / "images").mkdir()
    (state / "images" / f"{DIGEST}.tar.gz").write_bytes(PACKAGE)
    return store


async def texts(state: Path) -> list[str]:
    store = SqliteStore(state / "controller.db")
    await store.open()
    try:
        return [event.text for event in await store.events() if event.kind == "told"]
    finally:
        await store.close()


def tree(folder: Path) -> Content:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def lasting(folder: Path) -> Content:
    """Without the lock, which is made in any directory that is looked at, and what readers share."""
    return {name: each for name, each in tree(folder).items() if not name.endswith((".lock", "-shm"))}


def archived(file: Path) -> Content:
    with tarfile.open(file) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]


def write_archive(file: Path, content: Content) -> Path:
    with tarfile.open(file, "w") as archive:
        for name, each in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(each)
            archive.addfile(info, io.BytesIO(each))
    return file


@pytest.fixture
async def backup(tmp_path: Path) -> Path:
    """Of a controller that runs."""
    store = await filled(tmp_path / "state")
    take(tmp_path / "state", str(tmp_path / "a.tar"), NOW, with_packages=True)
    await store.close()
    return tmp_path / "a.tar"


async def restored(backup: Path, state: Path, *, force: bool = False, is_trial: bool = False) -> str:
    return await asyncio.to_thread(put_back, state, str(backup), NOW, force=force, is_trial=is_trial)


# ------------------------------------------------------------------------------------------------- taking


async def test_a_backup_of_a_running_store_holds_all_and_changes_nothing(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "a.tar"
    store = await filled(state)
    before = lasting(state)
    told = take(state, str(file), NOW, with_packages=False)
    assert lasting(state) == before
    await store.commit(Transaction(events=(Event("told", "later", at=Instant(NOW)),)))
    await store.close()
    content = archived(file)
    assert list(content) == ["manifest.json", "controller.db", "security/authority-0001.pem"]
    manifest = json.loads(content["manifest.json"])
    assert (manifest["installation"], manifest["taken_at"]) == ("acme", "2027-01-15T08:00:00Z")
    assert {each["path"]: each["sha256"] for each in manifest["files"]} == {
        name: hashlib.sha256(each).hexdigest() for name, each in content.items() if name != "manifest.json"
    }
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "encrypt it" in told
    await restored(file, tmp_path / "other")
    assert await texts(tmp_path / "other") == ["one"]


async def test_a_store_whose_controller_was_killed_is_backed_up_with_its_log(tmp_path: Path) -> None:
    store = await filled(tmp_path / "state")
    shutil.copytree(tmp_path / "state", tmp_path / "killed")  # as it was when it was killed
    await store.close()
    assert (tmp_path / "killed" / "controller.db-wal").stat().st_size
    before = lasting(tmp_path / "killed")
    take(tmp_path / "killed", str(tmp_path / "a.tar"), NOW, with_packages=True)
    assert lasting(tmp_path / "killed") == before
    await restored(tmp_path / "a.tar", tmp_path / "other")
    assert await texts(tmp_path / "other") == ["one"]
    assert await texts(tmp_path / "killed") == ["one"], "it starts as before"


async def test_a_backup_that_fails_leaves_the_former_one(tmp_path: Path) -> None:
    state, file = tmp_path / "state", tmp_path / "a.tar"
    store = await filled(state)
    await store.close()
    file.write_text("the former")
    (state / "images" / f"{DIGEST}.tar.gz").write_bytes(b"b package")
    with pytest.raises(BackupError, match=f"images/{DIGEST}.tar.gz is damaged"):
        take(state, str(file), NOW, with_packages=True)
    with pytest.raises(BackupError, match="there is no store here"):
        take(tmp_path / "none", str(file), NOW, with_packages=True)
    (state / "controller.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="no SQLite database"):
        take(state, str(file), NOW, with_packages=False)
    assert file.read_text() == "the former"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.tar", "state"]


async def test_a_log_of_another_store_is_not_mixed_in(tmp_path: Path) -> None:
    store = await filled(tmp_path / "a")
    shutil.copy(tmp_path / "a" / "controller.db-wal", tmp_path / "log")
    await store.close()
    other = await filled(tmp_path / "b", "two")
    await other.close()
    shutil.copy(tmp_path / "log", tmp_path / "b" / "controller.db-wal")
    with pytest.raises(StoreError, match="belongs to another database"):
        take(tmp_path / "b", str(tmp_path / "a.tar"), NOW, with_packages=False)


# --------------------------------------------------------------------------------------------- putting back


async def test_a_restored_store_outranks_the_one_it_was_taken_from(backup: Path, tmp_path: Path) -> None:
    told = await restored(backup, tmp_path / "new")
    for word in ("installation acme", "repave controller recover", "repave agents list", "revoked"):
        assert word in told
    assert "packages are missing" not in told
    store = SqliteStore(tmp_path / "new" / "controller.db")
    loaded = await store.open()
    assert (loaded.tenure.incarnation, loaded.installation) == (2, "acme")
    assert [event.kind for event in await store.events()] == ["told", "store.restored"]
    assert "restore backup" in (await store.audit())[-1].text
    await store.close()
    assert stat.S_IMODE((tmp_path / "new" / "controller.db").stat().st_mode) == 0o600
    assert OwnAuthority(tmp_path / "new" / "security", "acme", NOW).issuers(NOW).issuing.key is not None
    assert (tmp_path / "new" / "images" / f"{DIGEST}.tar.gz").read_bytes() == PACKAGE
    assert not (tmp_path / "new" / "restoring").exists()


async def test_missing_packages_are_counted(tmp_path: Path) -> None:
    store = await filled(tmp_path / "state")
    await store.close()
    take(tmp_path / "state", str(tmp_path / "a.tar"), NOW, with_packages=False)
    assert "1 packages are missing" in await restored(tmp_path / "a.tar", tmp_path / "new")


async def test_what_is_there_is_replaced_by_force_only_and_kept(backup: Path, tmp_path: Path) -> None:
    store = await filled(tmp_path / "new", "newer")
    await store.close()
    before = lasting(tmp_path / "new")
    with pytest.raises(
        BackupError, match=r"not empty: it holds controller.db, security, images\. With --force"
    ):
        await restored(backup, tmp_path / "new")
    assert lasting(tmp_path / "new") == before
    await restored(backup, tmp_path / "new", force=True)
    assert await texts(tmp_path / "new") == ["one"]
    assert await texts(tmp_path / "new" / "before-restore-1") == ["newer"]
    await restored(backup, tmp_path / "new", force=True)
    assert (tmp_path / "new" / "before-restore-2" / "security").is_dir()


async def test_nothing_is_restored_under_a_running_controller(backup: Path, tmp_path: Path) -> None:
    store = await filled(tmp_path / "new", "newer")
    with pytest.raises(OSError, match="another controller"):
        await restored(backup, tmp_path / "new", force=True)
    await store.close()
    assert await texts(tmp_path / "new") == ["newer"]


async def test_a_trial_reads_all_of_it_and_changes_nothing(backup: Path, tmp_path: Path) -> None:
    told = await restored(backup, tmp_path / "new", is_trial=True)
    assert "it is whole; nothing was changed" in told
    assert not (tmp_path / "new").exists()


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Content], Content]:
    return lambda content: {path: change(each) if path == name else each for path, each in content.items()}


def said(**changes: object) -> Callable[[Content], Content]:
    return changed("manifest.json", lambda text: json.dumps({**json.loads(text), **changes}).encode())


BAD: dict[str, tuple[Callable[[Content], Content], str]] = {
    "newer format": (said(format=2, repave="9.0"), r"has format 2 .* by repave 9.0; .* restore it with"),
    "newer schema": (
        said(schema_version=len(MIGRATIONS) + 1, repave="9.0"),
        f"schema {len(MIGRATIONS) + 1} and was written by repave 9.0",
    ),
    "other name": (said(installation="other"), "is of another store: other"),
    "store": (changed("controller.db", lambda each: each[:-1] + b"x"), "controller.db in the backup is d"),
    "key": (changed("security/authority-0001.pem", lambda each: each[1:]), "0001.pem in the backup is"),
    "package": (changed(f"images/{DIGEST}.tar.gz", lambda each: b""), "tar.gz in the backup is damaged"),
    "left out": (lambda content: dict(list(content.items())[:-1]), "it lacks images/"),
    "added": (lambda content: {**content, "../evil": b"x"}, r"'../evil', which its manifest.json does"),
    "named, but elsewhere": (
        said(files=[{"path": "../evil", "bytes": 1, "sha256": "0" * 64}]), r"files.0.path: String should"
    ),
    "twice": (said(files=[]), "names controller.db not at all"),
    "manifest": (changed("manifest.json", lambda each: b"{"), "its manifest.json can't be read"),
    "no manifest": (lambda content: dict(list(content.items())[1:]), "does not begin with manifest.json"),
    "deep": (changed("manifest.json", lambda each: b"[" * 100_000), "its manifest.json can't be read"),
    "empty": (lambda content: {}, "does not begin with manifest.json"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", BAD)
async def test_a_backup_with_something_wrong_changes_nothing(
    backup: Path, tmp_path: Path, wrong: str
) -> None:
    change, why = BAD[wrong]
    bad = write_archive(tmp_path / "bad.tar", change(archived(backup)))
    store = await filled(tmp_path / "new", "newer")
    await store.close()
    before = lasting(tmp_path / "new")
    with pytest.raises(BackupError, match=why):
        await restored(bad, tmp_path / "new", force=True)
    assert lasting(tmp_path / "new") == before
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("part", range(12))
async def test_a_backup_that_is_cut_off_changes_nothing(backup: Path, tmp_path: Path, part: int) -> None:
    content = backup.read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content.rstrip(b"\0")) * part // 12])
    with pytest.raises(BackupError):
        await restored(tmp_path / "cut.tar", tmp_path / "new")
    assert lasting(tmp_path / "new") == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
async def test_only_files_are_taken(backup: Path, tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        for name, each in archived(backup).items():
            info = tarfile.TarInfo(name)
            if name == "controller.db":
                info.type, info.linkname = kind, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(each)
                archive.addfile(info, io.BytesIO(each))
    with pytest.raises(BackupError, match=r"'controller.db'|can't be read"):
        await restored(tmp_path / "bad.tar", tmp_path / "new")
    assert lasting(tmp_path / "new") == {}


class Crash(BaseException):
    pass


async def test_a_restore_that_is_cut_off_anywhere_has_happened_or_has_not(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at each of its renames in turn; then the controller starts."""
    ends = []
    for number in range(20):
        state, calls = tmp_path / f"state-{number}", iter(range(number))
        store = await filled(state, "newer")
        await store.close()
        (state / "controller.db-wal").touch()
        with monkeypatch.context() as patched:
            for name in ("rename", "replace"):
                patched.setattr(Path, name, crashing(getattr(Path, name), calls))
            try:
                await restored(backup, state, force=True)
                is_done = True
            except Crash:
                is_done = False
        finish(state)
        ends.append(await texts(state))
        assert not (state / "restoring").exists()
        assert len(list((state / "security").glob("authority-*.pem"))) == 1
        if is_done:
            break
    assert is_done
    assert ends == [["newer"], *[["one"]] * (len(ends) - 1)], "from the first rename on it has happened"
    assert len(ends) > 6


def crashing(act: Callable[[Path, Path], Path], calls: "object") -> Callable[[Path, Path], Path]:
    def crash(path: Path, target: Path) -> Path:
        if next(calls, None) is None:  # type: ignore[call-overload]
            raise Crash
        return act(path, target)

    return crash


# --------------------------------------------------------------------------------------------------- people


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
async def test_root_acts_for_the_user_whose_directory_it_is(
    backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, file, scratch = tmp_path / "state", tmp_path / "b.tar", tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for path in (state, *state.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(0o711)
    (state / "security" / "authority-0002.pem").symlink_to("/etc/shadow")
    with pytest.raises(OSError, match=r"denied|symbolic"):
        take(state, str(file), NOW, with_packages=False)
    (state / "security" / "authority-0002.pem").unlink()
    take(state, str(file), NOW, with_packages=True)
    assert file.stat().st_uid == 0
    await restored(file, state, force=True)
    assert {path.stat().st_uid for path in state.rglob("*")} == {USER}


def test_the_format_that_is_read_is_the_one_that_is_written(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "controller.db")) as connection:
        connection.execute("CREATE TABLE store (installation, incarnation)")
        connection.execute("CREATE TABLE applications (name)")
        connection.execute("INSERT INTO store VALUES ('acme', 3)")
        connection.execute("INSERT INTO applications VALUES ('hello')")
        connection.commit()
    manifest = back_up(tmp_path, io.BytesIO(), NOW, with_packages=False)
    assert Manifest.model_validate_json(manifest.text) == manifest
    assert (manifest.applications, manifest.incarnation) == (("hello",), 3)
