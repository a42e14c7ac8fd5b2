"""One process per directory: a lock that ends with its process, whatever becomes of it."""

import fcntl
import os
from pathlib import Path
from typing import IO

from repave_protos.daemon.files import check_directory, open_file


class AlreadyRunningError(OSError):
    """Another process owns the directory. The text names it."""


def own(directory: Path, who: str, name: str = "lock") -> IO[str]:
    """Locks `directory` for `who` ("agent of paris"); keep the result for as long as it is to hold.

    Raises AlreadyRunningError, UnsafeDirectoryError, OSError.
    """
    check_directory(directory)
    path = directory / name
    file = os.fdopen(open_file(path, os.O_RDWR | os.O_CREAT), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = file.read().strip() or "unknown"
        file.close()
        raise AlreadyRunningError(
            f"another {who} (process {owner}) already uses {directory}; end it, or choose another directory"
        ) from error
    try:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    return file
