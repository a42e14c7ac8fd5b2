"""Secrets in files of the agent's machine, below one folder. No symbolic link is followed, neither to a file
nor on the way to it, so that nothing outside of the folder is ever read.
"""

import asyncio
import contextlib
import errno
import os
import stat
from pathlib import PurePosixPath

from repave_agent.core.host_secrets import VALUE_BYTES_MAX, Lack, SecretError
from repave_agent.secrets.options import FileOptions
from repave_agent.secrets.source import Found


class FileSource:
    """Implements Source."""

    name = "file"

    def __init__(self, options: FileOptions) -> None:
        self.rules = options.allow
        self._folder = options.folder

    def ruled(self, where: str) -> str:
        path = PurePosixPath(where)
        if not path.is_relative_to(self._folder) or ".." in path.parts or path == PurePosixPath(self._folder):
            why = f"it is not below {self._folder}, the folder of secrets.file.folder"
            raise SecretError(Lack.NOT_ALLOWED, why)
        return str(path.relative_to(self._folder))

    async def find(self, where: str) -> Found:
        return Found(await asyncio.to_thread(self._read, self.ruled(where)))

    def _read(self, relative: str) -> bytes:
        *folders, name = relative.split("/")
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        with contextlib.ExitStack() as opened:
            try:
                place = os.open(self._folder, flags | os.O_DIRECTORY)
                opened.callback(os.close, place)
                for folder in folders:
                    place = os.open(folder, flags | os.O_DIRECTORY, dir_fd=place)
                    opened.callback(os.close, place)
                file = os.open(name, flags | os.O_NONBLOCK, dir_fd=place)
                opened.callback(os.close, file)
                return content_of(file)
            except OSError as error:
                raise fault_of(error) from None

    def trouble(self) -> str:
        return "" if self._folder.is_dir() else f"secrets.file.folder: there is no folder {self._folder}"

    async def run(self) -> None:
        return

    async def close(self) -> None:
        return


def content_of(file: int) -> bytes:
    """Of an open file; a little more than a secret may have where it is too large. Raises SecretError,
    OSError."""
    known = os.fstat(file)
    if not stat.S_ISREG(known.st_mode):
        raise SecretError(Lack.UNFIT, "it is no plain file")
    if known.st_mode & stat.S_IWOTH:
        raise SecretError(Lack.UNFIT, "every user of the agent's machine may write to it: chmod o-w")
    parts = []
    while part := os.read(file, VALUE_BYTES_MAX + 1):
        parts.append(part)
        if sum(map(len, parts)) > VALUE_BYTES_MAX:
            break
    return b"".join(parts)


def fault_of(error: OSError) -> SecretError:
    """In words."""
    match error.errno:
        case errno.ENOENT:
            return SecretError(Lack.MISSING, "there is no such file on the agent's machine")
        case errno.ELOOP | errno.ENOTDIR:
            why = "it is, or lies behind, a symbolic link or something else than a folder: none is followed"
            return SecretError(Lack.NOT_ALLOWED, why)
        case errno.EACCES | errno.EPERM:
            return SecretError(Lack.DENIED, "the agent's user may not read it: chown or chmod it")
    return SecretError(Lack.AWAY, f"it can't be read now: {error.strerror}")
