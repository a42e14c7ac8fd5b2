"""Packages in a folder, each named by the SHA-256 of its bytes. Implements ports.ImageStore.

What arrives is written beside, hashed, inspected and only then given its name: files with a name are whole.

Where several controllers share their packages, the folder is a cache: what arrives is stored with the shared
ones before it gets its name here, and what is not here is fetched from there.
"""

import asyncio
import contextlib
import errno
import hashlib
import math
import os
import re
import secrets
from collections.abc import AsyncIterable, Callable, Collection, Iterable
from pathlib import Path
from typing import BinaryIO

import structlog

from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import Image, SharedPackages, StoreError
from repave_protos.daemon.files import make_folder, sync_folder
from repave_protos.package.archive import PackageFormatError, inspect
from repave_protos.protocol.values import Digest

log = structlog.get_logger()

IMAGE_BYTES_MAX = 2 * 1024**3
NAME_LENGTH_MAX = 200
SUFFIX = ".tar.gz"
PART = ".part"
RECEIVED_AT_ONCE_MAX = 16
BUFFER_BYTES = 1024 * 1024
"""Written in pieces of this size, each in a thread: the loop never waits for the disk."""

CACHE_BYTES = 20 * 1000**3
TRUSTED_SECONDS = 600.0
"""So long a package that was with the shared ones is taken to be there still."""
NEVER = Instant(-math.inf)
DIGEST = re.compile(r"[0-9a-f]{64}")

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
        shared: SharedPackages | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Makes the folder; forgets what a controller that was killed left half received. Of what `shared`
        has, about `cache_bytes` are kept here. Raises OSError."""
        self._root = root
        self._clock = clock
        self._bytes_max = bytes_max
        self._open = open_for_writing
        self._shared, self._cache_bytes = shared, cache_bytes
        self._looked_at: dict[Digest, Instant] = {}  # when `shared` had it last
        self._fetching: dict[Digest, asyncio.Task[None]] = {}
        self._yet_to_share: set[Digest] = set()
        self._slots = asyncio.Semaphore(RECEIVED_AT_ONCE_MAX)
        self._asked: dict[Digest, Instant] = {}  # when each package was asked for last
        make_folder(root, 0o750)
        for left in root.glob(f"*{PART}"):
            left.unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path | None:
        """Where the package is; None if it is not here, or if this is no digest."""
        if DIGEST.fullmatch(digest) is None:
            return None
        path = self._path(digest)
        if not path.is_file():
            return None
        self._asked[digest] = self._clock()
        return path

    def was_asked_for(self, digest: Digest, since: Instant) -> bool:
        """Whether anything needed the package since then; what did before this process began is not known."""
        return self._asked.get(digest, NEVER) >= since

    def strays(self, known: Collection[Digest], before: Instant) -> dict[Digest, int]:
        """Packages of before that moment which the store does not know, and their bytes: it is an older one
        that was restored, or a controller was killed before it had noted them. Of a cache there are none."""
        if self._shared is not None:
            return {}
        found = {Digest(path.name.removesuffix(SUFFIX)): path for path in self._root.glob(f"*{SUFFIX}")}
        stats = {digest: path.stat() for digest, path in found.items() if digest not in known}
        return {digest: stat.st_size for digest, stat in stats.items() if stat.st_mtime < before}

    async def bring(self, digest: Digest, *, is_certain: bool = False) -> Path | None:
        """Where the package is on this disk, fetched first if it is with the shared ones. None: it is not
        stored. `is_certain`: others are to have it from now on, so they must be able to. Raises StoreError,
        ImageError."""
        path = self.path(digest)
        if self._shared is None or DIGEST.fullmatch(digest) is None:
            return path
        if path is not None and digest in self._yet_to_share:
            return path
        try:
            is_stored = await self._is_in(self._shared, digest, is_certain=is_certain)
        except StoreError:
            if path is None or is_certain:
                raise
            return path  # whole, as its name says
        if not is_stored:
            self._path(digest).unlink(missing_ok=True)
            return None
        if path is None:
            await self._fetched(self._shared, digest)
        return self.path(digest)

    def know(self, digests: Iterable[Digest]) -> None:
        """Of these, which the store names, those on this disk are served from here until `share` has put them
        where others find them: this controller may have been alone before."""
        if self._shared is not None:
            self._yet_to_share = {digest for digest in digests if self._path(digest).is_file()}

    async def share(self) -> None:
        """Puts what others lack where they find it. Errors are logged; the next start tries again."""
        if self._shared is None:
            return
        for digest in sorted(self._yet_to_share):
            try:
                if not await self._shared.has(digest):
                    await self._shared.put(digest, self._path(digest))
                    log.info("package.shared", digest=digest)
                self._yet_to_share.discard(digest)
            except (OSError, StoreError) as error:
                log.warning("package.not_shared", digest=digest, why=str(error), text="see the next start")

    async def direct(self, digest: Digest) -> str:
        """Where agents can fetch it without a controller; "": nowhere. Raises StoreError."""
        shared = self._shared
        if shared is None or DIGEST.fullmatch(digest) is None or not await self._is_in(shared, digest):
            return ""
        self._asked[digest] = self._clock()
        return await shared.direct(digest)

    async def remove(self, digest: Digest) -> None:
        """One that is gone already is no mistake. Raises OSError, StoreError."""
        if self._shared is not None:
            await self._shared.remove(digest)
        self._path(digest).unlink(missing_ok=True)
        self._asked.pop(digest, None)
        self._looked_at.pop(digest, None)
        self._yet_to_share.discard(digest)

    async def close(self) -> None:
        """What is being fetched ends."""
        for task in self._fetching.values():
            task.cancel()
        await asyncio.gather(*self._fetching.values(), return_exceptions=True)
        if self._shared is not None:
            await self._shared.close()

    async def receive(self, chunks: AsyncIterable[bytes], name: str, expected: Digest | None = None) -> Image:
        """Stores what arrives; once this returns it is on disk. The same package again is fine.

        Raises ImageError when it is not the `expected` one, too large, no package, or the disk refuses;
        StoreError when the shared ones don't take it.
        """
        if len(name) > NAME_LENGTH_MAX or not name.isprintable():
            raise ImageError(f"the package's name must be one line of at most {NAME_LENGTH_MAX} characters")
        async with self._slots:
            digest, size, files = await self._receive(chunks, expected, self._shared)
        return Image(digest, size, files, name, self._clock())

    async def _receive(
        self, chunks: AsyncIterable[bytes], expected: Digest | None, shared: SharedPackages | None
    ) -> tuple[Digest, int, int]:
        """`shared` gets it too, first."""
        part = self._root / f"{secrets.token_hex(8)}{PART}"
        try:
            digest, size = await self._write(chunks, part)
            if expected is not None and digest != expected:
                raise OtherImageError(expected, digest)
            files = await asyncio.to_thread(_inspected, part)
            if shared is not None:
                await shared.put(digest, part)
            await asyncio.to_thread(_take_in, part, self._path(digest))
            if self._shared is not None:
                await asyncio.to_thread(self._make_room, digest)
            return digest, size, files
        except OSError as error:
            raise self._disk_error(error) from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    async def _is_in(self, shared: SharedPackages, digest: Digest, *, is_certain: bool = False) -> bool:
        """As far as is known for a while, unless one must be certain. Raises StoreError."""
        now = self._clock()
        if not is_certain and self._looked_at.get(digest, NEVER) > now - TRUSTED_SECONDS:
            return True
        if not await shared.has(digest):
            self._looked_at.pop(digest, None)
            return False
        self._looked_at[digest] = now
        return True

    async def _fetched(self, shared: SharedPackages, digest: Digest) -> None:
        """However many want it, it is fetched once. Raises StoreError, ImageError."""

        async def fetch() -> None:
            try:
                async with self._slots:
                    await self._receive(shared.chunks(digest), digest, None)
            except OtherImageError as error:
                raise StoreError(
                    f"where packages are shared, {digest} has another content (sha256 {error.found}): remove "
                    "it there and push the package again"
                ) from None
            finally:
                del self._fetching[digest]

        if digest not in self._fetching:
            self._fetching[digest] = asyncio.create_task(fetch(), name=f"package {digest[:12]}")
        await asyncio.shield(self._fetching[digest])

    def _make_room(self, newest: Digest) -> None:
        """What was asked for least lately leaves the cache; it is with the shared ones."""
        files = {each: each.stat() for each in self._root.glob(f"*{SUFFIX}")}
        left = sum(each.st_size for each in files.values()) - self._cache_bytes
        asked = {self._path(digest): at for digest, at in self._asked.items()}
        for path in sorted(files, key=lambda each: (asked.get(each, NEVER), files[each].st_mtime)):
            if left <= 0:
                return
            digest = Digest(path.name.removesuffix(SUFFIX))
            if digest != newest and digest not in self._yet_to_share:
                path.unlink(missing_ok=True)
                left -= files[path].st_size

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


def _inspected(part: Path) -> int:
    """How many files it has. Raises ImageError."""
    try:
        return inspect(part).files
    except PackageFormatError as error:
        raise ImageError(str(error)) from error


def _take_in(part: Path, target: Path) -> None:
    """Gives it its name, durably."""
    part.replace(target)
    sync_folder(target.parent)
