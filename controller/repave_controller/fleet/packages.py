"""Packages in a folder, each named by the SHA-256 of its bytes. Implements ports.ImageStore.

What arrives is written beside, hashed, inspected and only then given its name: files with a name are whole.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import AsyncIterable, Callable
from pathlib import Path
from typing import BinaryIO

from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import Image
from repave_protos.daemon.files import make_folder, sync_folder
from repave_protos.package.archive import PackageFormatError, inspect
from repave_protos.protocol.values import Digest

IMAGE_BYTES_MAX = 2 * 1024**3
NAME_LENGTH_MAX = 200
SUFFIX = ".tar.gz"
PART = ".part"
RECEIVED_AT_ONCE_MAX = 16
BUFFER_BYTES = 1024 * 1024
"""Written in pieces of this size, each in a thread: the loop never waits for the disk."""

Open = Callable[[Path], BinaryIO]


class ImageError(Exception):
    """A package was not taken; nothing of it is left. The text is shown to people."""


class OtherImageError(ImageError):
    """It is another one than was announced."""

    def __init__(self, expected: Digest, found: Digest) -> None:
        super().__init__(
            f"what arrived is not what was announced: expected sha256 {expected}, got {found}. Push it again."
        )
        self.found = found


class ImageStorageError(ImageError):
    """The disk did not take it: the package may be all right. `is_full`: it needs space."""

    def __init__(self, text: str, *, is_full: bool) -> None:
        super().__init__(text)
        self.is_full = is_full


def _open_for_writing(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640), "wb")


class ImageDirectory:
    """The packages of a controller."""

    def __init__(
        self,
        root: Path,
        clock: Callable[[], Instant],
        *,
        bytes_max: int = IMAGE_BYTES_MAX,
        open_for_writing: Open = _open_for_writing,
    ) -> None:
        """Makes the folder; forgets what a controller that was killed left half received. Raises OSError."""
        self._root = root
        self._clock = clock
        self._bytes_max = bytes_max
        self._open = open_for_writing
        self._slots = asyncio.Semaphore(RECEIVED_AT_ONCE_MAX)
        self._asked: dict[Digest, Instant] = {}  # when each package was asked for last
        make_folder(root, 0o750)
        for left in root.glob(f"*{PART}"):
            left.unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path | None:
        """Where the package is; None if it is not here, or if this is no digest."""
        if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
            return None
        path = self._path(digest)
        if not path.is_file():
            return None
        self._asked[digest] = self._clock()
        return path

    def was_asked_for(self, digest: Digest, since: Instant) -> bool:
        """Whether anything needed the package since then; what did before this process began is not known."""
        return self._asked.get(digest, Instant(-1.0)) >= since

    async def remove(self, digest: Digest) -> None:
        """One that is gone already is no mistake. Raises OSError."""
        self._path(digest).unlink(missing_ok=True)
        self._asked.pop(digest, None)

    async def receive(self, chunks: AsyncIterable[bytes], name: str, expected: Digest | None = None) -> Image:
        """Stores what arrives; once this returns it is on disk. The same package again is fine.

        Raises ImageError when it is not the `expected` one, too large, no package, or the disk refuses.
        """
        if len(name) > NAME_LENGTH_MAX or not name.isprintable():
            raise ImageError(f"the package's name must be one line of at most {NAME_LENGTH_MAX} characters")
        async with self._slots:
            digest, size, files = await self._receive(chunks, expected)
        return Image(digest, size, files, name, self._clock())

    async def _receive(
        self, chunks: AsyncIterable[bytes], expected: Digest | None
    ) -> tuple[Digest, int, int]:
        part = self._root / f"{secrets.token_hex(8)}{PART}"
        try:
            digest, size = await self._write(chunks, part)
            if expected is not None and digest != expected:
                raise OtherImageError(expected, digest)
            return digest, size, await asyncio.to_thread(_take_in, part, self._path(digest))
        except OSError as error:
            raise self._disk_error(error) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _path(self, digest: Digest) -> Path:
        return self._root / f"{digest}{SUFFIX}"

    async def _write(self, chunks: AsyncIterable[bytes], part: Path) -> tuple[Digest, int]:
        sha256, size, buffer = hashlib.sha256(), 0, bytearray()

        def flush(file: BinaryIO) -> None:
            sha256.update(buffer)
            file.write(buffer)
            buffer.clear()

        with self._open(part) as file:
            async for chunk in chunks:
                size += len(chunk)
                if size > self._bytes_max:
                    raise ImageError(
                        f"the package is larger than {self._bytes_max:,} bytes, which is the limit"
                    )
                buffer += chunk
                if len(buffer) >= BUFFER_BYTES:
                    await asyncio.to_thread(flush, file)
            await asyncio.to_thread(flush, file)
            await asyncio.to_thread(_sync, file)
        return Digest(sha256.hexdigest()), size

    def _disk_error(self, error: OSError) -> ImageStorageError:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        text = (
            f"the controller's disk is full at {self._root}: free some space there and push again"
            if is_full
            else f"the controller cannot store packages at {self._root}: {error.strerror or error}"
        )
        return ImageStorageError(text, is_full=is_full)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _take_in(part: Path, target: Path) -> int:
    """Inspects the package and gives it its name, durably. Returns how many files it has."""
    try:
        contents = inspect(part)
    except PackageFormatError as error:
        raise ImageError(str(error)) from error
    part.replace(target)
    sync_folder(target.parent)
    return contents.files
