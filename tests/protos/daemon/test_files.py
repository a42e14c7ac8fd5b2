"""State is never written through another user's link, nor where another user may write."""

import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from repave_protos.daemon.files import (
    UnsafeDirectoryError,
    check_directory,
    make_directory,
    make_folder,
    open_file,
    read_file,
    replace,
)
from repave_protos.daemon.lock import own


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    file = tmp_path / "victim"
    file.write_text("precious")
    return file


def test_a_lock_that_is_a_link_is_refused_and_its_target_untouched(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "lock").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        own(tmp_path, "agent of paris")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["journal.json", "journal.json.new"])
def test_replacing_writes_through_no_link(tmp_path: Path, victim: Path, name: str) -> None:
    (tmp_path / name).symlink_to(victim)
    try:
        replace(tmp_path / "journal.json", b"{}")
    except OSError:
        assert name.endswith(".new")
    else:
        assert (tmp_path / "journal.json").read_bytes() == b"{}"
    assert victim.read_text() == "precious"


def test_a_file_that_is_a_link_is_not_opened(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(OSError):
        open_file(tmp_path / "link", os.O_WRONLY | os.O_TRUNC)
    assert victim.read_text() == "precious"


def test_a_directory_is_made_for_this_user_alone(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "state")
    assert (tmp_path / "a" / "state").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(mode)
    with pytest.raises(UnsafeDirectoryError, match=f"others may write to {state}.*chmod go-w {state}"):
        check_directory(state)


def test_so_is_one_below_such_a_directory_unless_it_is_sticky(tmp_path: Path) -> None:
    state = tmp_path / "shared" / "state"
    make_directory(state)
    state.parent.chmod(0o777)
    with pytest.raises(UnsafeDirectoryError, match=f"others may write to {state.parent}"):
        check_directory(state)
    state.parent.chmod(0o1777)
    check_directory(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 12_345, -1)
    with pytest.raises(UnsafeDirectoryError, match="belongs to another user"):
        own(state, "agent of paris")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize("make", [_pipe, _socket, Path.mkdir])
def test_what_is_no_file_holds_up_nobody_and_is_named(make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="fs") as folder:  # short: a socket lives in it
        path = Path(folder) / "state"
        make(path)
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            with pytest.raises(OSError, match=r"no plain file: move it away|Is a directory"):
                open_file(path, flags | os.O_CREAT)
        with pytest.raises(OSError, match="no plain file: move it away"):
            read_file(path)


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").touch()
    with pytest.raises(NotADirectoryError, match="no folder: move it away"):
        make_folder(tmp_path / "images")
    make_folder(tmp_path / "new" / "deep")
    make_folder(tmp_path / "new" / "deep")


@pytest.mark.parametrize("durable", [True, False])
def test_what_is_durable_is_on_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    """Without its folder's fsync a machine that loses power comes back with the former file."""
    synced: list[str] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    replace(tmp_path / "state", b"new", durable=durable)
    assert synced == ([str(tmp_path / "state.new"), str(tmp_path)] if durable else [])
