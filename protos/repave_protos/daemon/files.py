"""The files of a daemon's state: replaced whole, and never another user's.

Who may write to a directory can put a symbolic link where a daemon is about to write, and so have it write
elsewhere. No such directory is used, and no last link is followed.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

MODE = 0o600
DIRECTORY_MODE = 0o700
NO_FILE = "this is no plain file: move it away"
UNMAPPED_UID = 65_534
"""So root looks like from inside a user namespace."""


class UnsafeDirectoryError(OSError):
    """Others could change what is in the directory. The text names it and the fix."""


def make_directory(directory: Path) -> None:
    """Makes it where it is missing, for this user alone, and looks who may write there.

    Raises UnsafeDirectoryError, OSError.
    """
    make_folder(directory, DIRECTORY_MODE)
    check_directory(directory)


def make_folder(directory: Path, mode: int = 0o777) -> None:
    """Makes it where it is missing. Raises OSError."""
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "this is no folder: move it away", str(directory)) from error


def check_directory(directory: Path) -> None:
    """Raises UnsafeDirectoryError unless only this user, or root, may write there or replace it."""
    for each in (directory, *directory.absolute().parents):
        known = each.stat()
        if known.st_uid not in (0, os.geteuid(), UNMAPPED_UID):
            raise UnsafeDirectoryError(
                f"{each} belongs to another user ({known.st_uid}), who could change what is in {directory}; "
                "choose another directory, or change its owner"
            )
        if _others_may_write(known) and not (known.st_mode & stat.S_ISVTX and each != directory):
            raise UnsafeDirectoryError(
                f"others may write to {each}, and so change what is in {directory}; chmod go-w {each}, or "
                "choose another directory"
            )


def open_file(path: Path, flags: int) -> int:
    """As os.open, for this user alone, and never held up. Raises OSError: ELOOP when `path` is a symbolic
    link, EINVAL when it is something else than a file."""
    return _plain(path, flags | os.O_NOFOLLOW)


def read_file(path: Path) -> bytes:
    """All of it, never held up by what is no file. Raises OSError: EINVAL for such."""
    with open(_plain(path, os.O_RDONLY), "rb") as file:
        return file.read()


def _plain(path: Path, flags: int) -> int:
    try:
        target = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, MODE)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a named pipe that has no reader, or a socket
            raise
        raise OSError(errno.EINVAL, NO_FILE, str(path)) from error
    if not stat.S_ISREG(os.fstat(target).st_mode):
        os.close(target)
        raise OSError(errno.EINVAL, NO_FILE, str(path))
    return target


def replace(path: Path, content: bytes, *, durable: bool = True, like: os.stat_result | None = None) -> None:
    """Puts `content` in the place of what `path` held, at once; when it fails the former stays.

    With `durable` it survives the machine, not only the process. It gets mode and owner of the file that it
    is `like`. Raises OSError.
    """
    aside = path.with_name(f"{path.name}.new")
    try:
        with open(open_file(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(content)
            if like is not None:
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
            if durable:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """What was renamed, made and removed in it survives the machine: a file's own fsync says nothing of its
    name. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _others_may_write(known: os.stat_result) -> bool:
    """A group that is this user's own counts as the user: some systems make one for each."""
    by_group = known.st_mode & stat.S_IWGRP and known.st_gid not in (0, os.getegid())
    return bool(known.st_mode & stat.S_IWOTH or by_group)
