"""The log of a local host: a pipe that its processes write to, and a writer that keeps the newest on disk.

    output.log     what came last, at most LOG_BYTES_MAX
    output.log.1   the part before

The writer is a shell of its own, so that the bound holds however fast a host writes, also while no agent is
there. It ends when every process has closed the pipe. It never stops reading, even where the disk is full
or the folder is gone: a host that prints must not wait for its log.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from repave_agent.core.ports import LogPiece
from repave_protos.daemon.files import open_file

BLOCK_BYTES, BLOCKS = 4096, 2048
LOG_BYTES_MAX = BLOCK_BYTES * BLOCKS
TAIL_BYTES_MAX = 16 * 1024
END_SECONDS_MAX = 10.0
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


@contextlib.contextmanager
def written(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A descriptor that what is printed goes to, for as long as the context and for all that inherit it; and
    its writer, whose end the caller has to take. After an error nothing has inherited it, and the writer has
    ended. Raises OSError."""
    reader, output = os.pipe()
    with open(output, "wb", buffering=0) as entrance:
        try:
            writer = _start_writer(folder, reader)
        finally:
            os.close(reader)
        try:
            yield output, writer
        except BaseException:
            entrance.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                writer.wait(END_SECONDS_MAX)
            raise


def _start_writer(folder: Path, reader: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", _WRITER],
        cwd=folder,
        env={"PATH": os.defpath},
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def tail(folder: Path, lines: int) -> str:
    """The last lines, of at most TAIL_BYTES_MAX in all."""
    if lines <= 0:
        return ""
    newest = _end_of(folder / NEWEST, TAIL_BYTES_MAX)
    raw = _end_of(folder / OLDER, TAIL_BYTES_MAX - len(newest)) + newest
    return "\n".join(raw.decode(errors="replace").splitlines()[-lines:])


def read(folder: Path, after: str, lines: int, bytes_max: int) -> LogPiece:
    """What follows `after`, a cursor (the newest file then, and how far it was read); with "", the last
    lines. A file keeps its number when it becomes the older one."""
    parts = [each for each in (_opened(folder / OLDER), _opened(folder / NEWEST)) if each is not None]
    try:
        return _read(parts, after, lines, bytes_max)
    finally:
        for each in parts:
            each.close()


def _read(parts: list[BinaryIO], after: str, lines: int, bytes_max: int) -> LogPiece:
    if not parts:
        return LogPiece("", after)
    if not after:
        *_, newest = parts
        size = newest.seek(0, os.SEEK_END)
        newest.seek(max(0, size - bytes_max))
        raw = newest.read(size)
        if len(parts) > 1 and len(raw) < bytes_max:
            raw = _last(parts[0], bytes_max - len(raw)) + raw
        shown = raw.splitlines(keepends=True)[-lines:] if lines else []
        whole = shown if not shown or shown[-1].endswith(b"\n") else shown[:-1]
        rest = len(shown[-1]) if len(whole) < len(shown) else 0
        return LogPiece(_text(b"".join(whole)), f"{_number(newest)}:{newest.tell() - rest}")
    number, _, offset = after.partition(":")
    at = next((index for index, part in enumerate(parts) if _number(part) == number), None)
    is_cut = at is None or int(offset or 0) > os.fstat(parts[at].fileno()).st_size
    start = 0 if at is None or is_cut else at
    raw = b""
    part = parts[start]
    for part in parts[start:]:
        part.seek(int(offset or 0) if not is_cut and part is parts[start] else 0)
        raw += part.read(bytes_max - len(raw))
        if len(raw) >= bytes_max:
            break
    end = raw.rfind(b"\n") + 1
    if end == 0 and len(raw) >= bytes_max:
        end = len(raw)  # a line that is longer than all that may be read at once
    taken, back = raw[:end], len(raw) - end
    if back > part.tell():  # a line that began in the older file: read again from there
        return LogPiece("", after) if not end else LogPiece(_text(taken), _before(parts, part, back), is_cut)
    return LogPiece(_text(taken), f"{_number(part)}:{part.tell() - back}", is_cut)


def _before(parts: list[BinaryIO], part: BinaryIO, back: int) -> str:
    """The place so many bytes before where `part` was read to, which is in the file before it."""
    former = parts[parts.index(part) - 1]
    return f"{_number(former)}:{former.tell() - (back - part.tell())}"


def _number(file: BinaryIO) -> str:
    return str(os.fstat(file.fileno()).st_ino)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _last(file: BinaryIO, size: int) -> bytes:
    file.seek(max(0, file.seek(0, os.SEEK_END) - size))
    return file.read(size)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return open(open_file(path, os.O_RDONLY), "rb")  # read() closes it
    except OSError:  # not there yet; or a host did something to its log where nothing keeps it apart
        return None


def _end_of(path: Path, size: int) -> bytes:
    try:
        with open(open_file(path, os.O_RDONLY), "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return file.read(size)
    except FileNotFoundError:
        return b""
    except OSError as error:  # a host may do anything to its log where nothing keeps it apart
        return f"(no log: {error})".encode()
