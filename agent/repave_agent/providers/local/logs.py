"""The log of a local host: a pipe that its processes write to, and a writer that keeps the newest on disk.

    output.log     what came last, at most LOG_BYTES_MAX
    output.log.1   the part before

The writer is a shell of its own, so that the bound holds however fast a host writes, also while the agent is
away. It ends when every process has closed the pipe. It never stops reading, even where the disk is full
or the folder is gone: a host that prints must not wait for its log.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from repave_agent.providers.local.processes import Identity, identify
from repave_protos.daemon.files import open_file

BLOCK_BYTES, BLOCKS = 4096, 2048
LOG_BYTES_MAX = BLOCK_BYTES * BLOCKS
TAIL_BYTES_MAX = 16 * 1024
START_SECONDS_MAX = 10.0
NEWEST, OLDER = "output.log", "output.log.1"

_WRITER = f"""
umask 077
while :; do
    if dd bs={BLOCK_BYTES} count=1 of={NEWEST}.new status=none; then
        [ -s {NEWEST}.new ] || break
        [ -e {NEWEST} ] && mv -f {NEWEST} {OLDER}
        mv -f {NEWEST}.new {NEWEST}
        dd bs={BLOCK_BYTES} count={BLOCKS - 1} oflag=append conv=notrunc of={NEWEST} status=none
    else
        [ "$(dd bs={BLOCK_BYTES} count={BLOCKS} status=none | wc -c)" -gt 0 ] || break
    fi
done
rm -f {NEWEST}.new
"""
_DETACHED = f"exec 3<&0; ({_WRITER}) <&3 3<&- >/dev/null 2>&1 & echo $!"
"""What runs in the background has /dev/null as its input unless that is said otherwise."""


@contextlib.contextmanager
def written(folder: Path) -> Iterator[tuple[int, Identity | None]]:
    """A descriptor that what is printed goes to, for as long as the context and for all that inherit it; and
    its writer, which is nobody's child. Raises OSError."""
    reader, output = os.pipe()
    try:
        try:
            writer = _start_writer(folder, reader)
        finally:
            os.close(reader)
        yield output, writer
    finally:
        os.close(output)


def _start_writer(folder: Path, reader: int) -> Identity | None:
    done = subprocess.run(
        ["/bin/sh", "-c", _DETACHED],
        cwd=folder,
        env={"PATH": os.defpath},
        stdin=reader,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=START_SECONDS_MAX,
        check=True,
        start_new_session=True,
    )
    return identify(int(done.stdout))


def tail(folder: Path, lines: int) -> str:
    """The last lines, of at most TAIL_BYTES_MAX in all."""
    if lines <= 0:
        return ""
    newest = _end_of(folder / NEWEST, TAIL_BYTES_MAX)
    raw = _end_of(folder / OLDER, TAIL_BYTES_MAX - len(newest)) + newest
    return "\n".join(raw.decode(errors="replace").splitlines()[-lines:])


def _end_of(path: Path, size: int) -> bytes:
    try:
        with open(open_file(path, os.O_RDONLY), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size)
    except FileNotFoundError:
        return b""
    except OSError as error:  # a host may do anything to its log where nothing keeps it apart
        return f"(no log: {error})".encode()
