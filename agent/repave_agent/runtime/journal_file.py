"""Where the journal lies: one file with three places that take turns, each for a whole content.

A place is written over where it lies, so that a save is one write and one fdatasync, which waits for these
bytes alone. A file that is replaced waits for the file system's own journal, twice. The newest place that is
whole counts: one whose writing was cut off is not, and the former content was left alone.

The file is a JSON list for people who read it, each place filled up with spaces:

    [{"saved":7,"sum":"9f86...","entries":{...}}      ,{"saved":8,"sum":...}      ,null      ]
"""

import errno
import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from repave_protos.daemon import files

PLACES = 3
"""The newest content, the newest that is surely on the disk, and where the next one is written."""
BLOCK_BYTES = 4096
SPARE = 1.5
"""A place has so many times the room that its first content takes."""
HEAD = re.compile(rb'\{"saved":(\d+),"sum":"([0-9a-f]{64})","entries":')


@dataclass(frozen=True, slots=True)
class _Layout:
    """The file as this process knows it. `safe`: the place of the newest content that is surely on the
    disk."""

    identity: tuple[int, int, int]
    place_bytes: int
    saved: int  # grows with each content
    newest: int
    safe: int

    @property
    def free(self) -> int:
        return next(place for place in range(PLACES) if place not in (self.newest, self.safe))


class FileDisk:
    """Implements journal.Disk on a file."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._layout: _Layout | None = None

    def read(self) -> bytes | None:
        """Also of a file of former versions, which has nothing but its content. What is read is on the disk
        first, since it will be acted upon. Raises ValueError when no content in it is whole."""
        self._layout = None
        try:
            target = files.open_file(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        with open(target, "rb") as file:
            written, identity = file.read(), _identity(os.fstat(target))
            os.fdatasync(target)
        files.sync_folder(self._path.parent)
        if not written.startswith(b"["):
            return written
        place_bytes, rest = divmod(len(written), PLACES)
        if rest or place_bytes % BLOCK_BYTES:
            raise ValueError(f"of its places there are only {len(written)} bytes")
        found = []
        for place in range(PLACES):
            known = _read(written[place * place_bytes : (place + 1) * place_bytes])
            found += [(*known, place)] if known is not None else []
        if not found:
            raise ValueError("none of its contents is whole")
        saved, content, newest = max(found)
        self._layout = _Layout(identity, place_bytes, saved, newest, newest)
        return content

    def replace(self, content: bytes, *, durable: bool) -> None:
        layout = self._layout
        record = _record(layout.saved + 1 if layout is not None else 1, content)
        if layout is None or len(record) + 2 > layout.place_bytes:
            self._write_anew(record)
            return
        try:
            target = files.open_file(self._path, os.O_WRONLY)
        except OSError:  # it is not there any more, or no file
            self._write_anew(record)
            return
        try:
            if _identity(os.fstat(target)) != layout.identity:  # another one has been put there
                self._write_anew(record)
            else:
                self._write_over(target, layout, record, durable=durable)
        finally:
            os.close(target)

    def _write_over(self, target: int, layout: _Layout, record: bytes, *, durable: bool) -> None:
        """Not over the newest content, nor the newest safe one: process or machine may end now."""
        place = layout.free
        piece = _piece(place, record, layout.place_bytes)
        if os.pwrite(target, piece, place * layout.place_bytes) < len(piece):
            raise OSError(errno.EIO, "only a part of it was written")
        if durable:
            self._sync(target)
        safe = place if durable else layout.safe
        self._layout = replace(layout, saved=layout.saved + 1, newest=place, safe=safe)

    def _sync(self, target: int) -> None:
        """What could not be brought to the disk once counts as written afterwards, for Linux: then the whole
        file is written anew."""
        try:
            os.fdatasync(target)
        except OSError:
            self._layout = None
            raise

    def _write_anew(self, record: bytes) -> None:
        """Rarely, and so always durable: what follows relies on the file."""
        self._layout = None
        blocks = -(-int((len(record) + 2) * SPARE) // BLOCK_BYTES)
        place_bytes = blocks * BLOCK_BYTES
        pieces = (_piece(place, b"null" if place else record, place_bytes) for place in range(PLACES))
        files.replace(self._path, b"".join(pieces), durable=True)
        saved = int(HEAD.match(record)[1])  # type: ignore[index]  # it was made by _record
        self._layout = _Layout(_identity(os.lstat(self._path)), place_bytes, saved, 0, 0)


def _identity(known: os.stat_result) -> tuple[int, int, int]:
    return known.st_dev, known.st_ino, known.st_size


def _record(saved: int, content: bytes) -> bytes:
    return b'{"saved":%d,"sum":"%s","entries":%s}' % (saved, _sum(saved, content), content)


def _sum(saved: int, content: bytes) -> bytes:
    return hashlib.sha256(b"%d " % saved + content).hexdigest().encode()


def _piece(place: int, record: bytes, place_bytes: int) -> bytes:
    """What fills the place: together they are a JSON list."""
    first, last = b"," if place else b"[", b"\n" if place < PLACES - 1 else b"]"
    return first + record.ljust(place_bytes - 2) + last


def _read(piece: bytes) -> tuple[int, bytes] | None:
    """The number and the content of a place; None when there is none, or not the whole of it."""
    record = piece[1:-1].rstrip(b" ")
    head = HEAD.match(record)
    if head is None:
        return None
    saved, content = int(head[1]), record[head.end() : -1]
    return (saved, content) if _sum(saved, content) == head[2] else None
