"""Unpacks a package for one host after the other. A small one is read once: its files are then written from
memory, and what contents.py notes of them is known.

Each host has files of its own, which it may spoil for itself alone.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from repave_protos.package.archive import DEFAULT_LIMITS, Destination, Folder, read, remove, unpack

KEPT_BYTES_MAX = 4 * 1024**2
KEPT_MEMBERS_MAX = 2_000
"""A larger package is read anew for each host."""
KEPT_PACKAGES_MAX = 4


class Packages:
    """Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[object, ...], _Kept | None] = {}  # by the look of the file

    def unpack(self, package: Path, directory: Path, released_at: float) -> Mapping[str, str]:
        """As archive.unpack does, read-only. SHA-256 of its files, as far as they are known."""
        kept = self._read(package)
        if kept is None:
            unpack(package, directory, read_only=True, released_at=released_at)
            return {}
        kept.unpack(directory, released_at)
        return kept.sums

    def _read(self, package: Path) -> "_Kept | None":
        """None when it is too large. Whoever comes meanwhile waits: reading it once is quicker than twice."""
        found = package.stat()
        key = (package, found.st_ino, found.st_size, found.st_mtime_ns)
        with self._lock:
            if key not in self._kept:
                kept = _read(package)
                while len(self._kept) >= KEPT_PACKAGES_MAX:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = kept
            return self._kept[key]


class _TooLargeError(Exception):
    pass


@dataclass(slots=True)
class _Kept(Destination):
    """What is in a package, as the steps that unpack it. Takes no more than is to be kept."""

    steps: list[Callable[[Destination], None]] = field(default_factory=list)
    sums: dict[str, str] = field(default_factory=dict)
    bytes_kept: int = 0

    def folder(self, name: str, modified_at: float = 0.0) -> None:
        self._keep(lambda into: into.folder(name, modified_at))

    def file(self, name: str, mode: int, modified_at: float, chunks: Iterator[bytes]) -> None:
        pieces = []
        for chunk in chunks:
            self.bytes_kept += len(chunk)
            if self.bytes_kept > KEPT_BYTES_MAX:
                raise _TooLargeError
            pieces.append(chunk)
        content = b"".join(pieces)
        self.sums[name] = hashlib.sha256(content).hexdigest()
        self._keep(lambda into: into.file(name, mode, modified_at, iter((content,))))

    def link(self, name: str, target: str, modified_at: float) -> None:
        self._keep(lambda into: into.link(name, target, modified_at))

    def hard_link(self, name: str, source: str) -> None:
        if source in self.sums:
            self.sums[name] = self.sums[source]
        self._keep(lambda into: into.hard_link(name, source))

    def _keep(self, step: Callable[[Destination], None]) -> None:
        if len(self.steps) >= KEPT_MEMBERS_MAX:
            raise _TooLargeError
        self.steps.append(step)

    def unpack(self, directory: Path, released_at: float) -> None:
        directory.mkdir()
        try:
            into = Folder(directory, is_read_only=True, released_at=released_at)
            for step in self.steps:
                step(into)
            into.finish()
        except BaseException:
            remove(directory)
            raise


def _read(package: Path) -> _Kept | None:
    kept = _Kept()
    try:
        read(package, DEFAULT_LIMITS, kept)
    except _TooLargeError:
        return None
    return kept
