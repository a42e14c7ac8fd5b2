"""Brings packages from the controller to this region, once each, and vouches for what they hold.

Only files whose content has the right digest ever get their final name. Knows nothing of what is inside
a package: repave_protos.package.archive does. Runs the blocking work in threads.
"""

import asyncio
import errno
import hashlib
import http.client
import os
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import structlog

from repave_agent.clients.controller import Connect, plainly
from repave_agent.core.ports import PackageAwaitedError, PackageError
from repave_protos.daemon.files import make_folder
from repave_protos.package.archive import sha256_of
from repave_protos.protocol.capabilities import DIRECTLY
from repave_protos.protocol.values import Digest, short_digest

log = structlog.get_logger()

CACHE_BYTES_MAX = 20 * 1024**3
DOWNLOADS_IN_FLIGHT_MAX = 4
READ_TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 256 * 1024
ERROR_BODY_BYTES_MAX = 300
LED = 307
LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")

Open = Callable[[Path], BinaryIO]


def _open_for_writing(path: Path) -> BinaryIO:
    return path.open("xb")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a file looked like when it was verified. Another look means: verify again."""

    inode: int
    size: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> "_Seen":
        found = path.stat()
        return cls(found.st_ino, found.st_size, found.st_mtime_ns)


class PackageCache:
    """The packages of a region, in one directory. Implements ports.Packages; only one may own a directory."""

    def __init__(
        self,
        directory: Path,
        bytes_max: int = CACHE_BYTES_MAX,
        open_for_writing: Open = _open_for_writing,
        connect: Connect = plainly,
        to_store: Connect = plainly,
    ) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._open = open_for_writing
        self._connect, self._to_store = connect, to_store
        self._source = self._ticket = ""
        self._verified: dict[Digest, _Seen] = {}  # the one used last comes last
        self._fetches: dict[Digest, asyncio.Task[Path]] = {}
        self._slots = asyncio.Semaphore(DOWNLOADS_IN_FLIGHT_MAX)
        self._is_closed = False
        make_folder(directory)
        for left in directory.glob("*.part"):  # of an agent that was killed while it fetched
            left.unlink(missing_ok=True)

    def set_source(self, url: str, ticket: str = "") -> None:
        """Where packages come from: `GET {url}/{digest}`, showing the ticket. Called at every Welcome."""
        self._source, self._ticket = url.rstrip("/"), ticket

    async def fetch(self, digest: Digest) -> Path:
        """A local file whose content has this digest; see ports.Packages."""
        if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
            raise PackageError(f"{digest!r} is no package digest (64 lower-case hexadecimal characters)")
        path = self._directory / f"{digest}.tar.gz"
        if self._is_unchanged(digest, path):
            self._verified[digest] = self._verified.pop(digest)
            return path
        task = self._fetches.get(digest)
        if task is None:
            task = asyncio.create_task(
                self._verify_or_download(digest, path), name=f"fetch {short_digest(digest)}"
            )
            self._fetches[digest] = task
            task.add_done_callback(lambda done: self._forget(digest, done))
        return await asyncio.shield(task)  # a waiter that is cancelled does not end it for the others

    async def close(self) -> None:
        """Ends downloads under way; their callers get PackageError."""
        self._is_closed = True
        await asyncio.gather(*self._fetches.values(), return_exceptions=True)

    def _forget(self, digest: Digest, done: asyncio.Task[Path]) -> None:
        del self._fetches[digest]
        if not done.cancelled():
            done.exception()  # seen, even when no caller waits any more

    def _is_unchanged(self, digest: Digest, path: Path) -> bool:
        known = self._verified.get(digest)
        try:
            return known is not None and known == _Seen.of(path)
        except OSError:
            return False

    async def _verify_or_download(self, digest: Digest, path: Path) -> Path:
        async with self._slots:
            self._verified.pop(digest, None)
            if not await asyncio.to_thread(self._is_good, digest, path):
                await asyncio.to_thread(self._download, digest, path)
        return path

    def _is_good(self, digest: Digest, path: Path) -> bool:
        """Verifies a cached file that this process has not verified; drops it if it is not what it says."""
        try:
            found = sha256_of(path)
            if found == digest:
                os.utime(path)  # used now: for the order of eviction after a restart
                self._verified[digest] = _Seen.of(path)
                return True
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise PackageError(f"cannot read the image cache at {path}: {error.strerror}") from error
        log.warning("image.cache_corrupt", digest=digest, found=found, path=str(path))
        return False

    def _download(self, digest: Digest, path: Path) -> None:
        if not self._source:
            raise PackageAwaitedError(
                f"package {short_digest(digest)} is not in the image cache and the controller is not "
                "reachable. It is fetched as soon as this agent reaches its controller."
            )
        part = path.with_suffix(".part")
        url = f"{self._source}/{digest}"
        try:
            with _answer(self._connect, url, digest, self._ticket, is_led=True) as answer:
                where = _led_to(answer)
                size = 0 if where else self._take(answer, url, digest, part)
            if where:
                size = self._led(where, url, digest, part)
            part.rename(path)
            self._verified[digest] = _Seen.of(path)
        except OSError as error:
            raise self._disk_error(error, digest, 0) from error
        finally:
            part.unlink(missing_ok=True)
        log.info("image.fetched", digest=digest, bytes=size, directly=bool(where))

    def _led(self, where: str, url: str, digest: Digest, part: Path) -> int:
        """From the store that the controller has named; from the controller itself where that fails."""
        shown = where.partition("?")[0]  # what follows is secret
        try:
            with _in_store(self._to_store, where, digest) as answer:
                return self._take(answer, shown, digest, part)
        except PackageError as error:
            log.warning("image.not_from_store", digest=digest, store=shown, because=str(error))
        with _answer(self._connect, url, digest, self._ticket) as answer:
            return self._take(answer, url, digest, part)

    def _take(self, answer: http.client.HTTPResponse, url: str, digest: Digest, part: Path) -> int:
        """Its size. Raises PackageError unless all of it came and has the digest."""
        needed = answer.length or 0
        try:
            self._make_room(needed, digest)
            found, size = self._receive(answer, part)
        except OSError as error:
            raise self._disk_error(error, digest, needed) from error
        _judge(url, digest, found, size, needed)
        return size

    def _receive(self, answer: http.client.HTTPResponse, part: Path) -> tuple[Digest, int]:
        """Streams the body to disk, hashed on the way and synced: the name must never outlive the content."""
        hashed, size = hashlib.sha256(), 0
        part.unlink(missing_ok=True)
        with self._open(part) as file:
            while chunk := _next_chunk(answer):
                if self._is_closed:
                    raise PackageAwaitedError("the agent is stopping: the download of a package was given up")
                hashed.update(chunk)
                file.write(chunk)
                size += len(chunk)
                if size > self._bytes_max:
                    raise PackageError(f"a package is larger than the image cache: {self._bytes_max:,} bytes")
            file.flush()
            os.fsync(file.fileno())
        return Digest(hashed.hexdigest()), size

    def _make_room(self, needed: int, digest: Digest) -> None:
        """Evicts the packages used longest ago until `needed` more bytes fit; never the newest used one."""
        order = {name: place for place, name in enumerate(tuple(self._verified), start=1)}
        files = {Digest(path.name.removesuffix(".tar.gz")): path for path in self._directory.glob("*.tar.gz")}
        sizes = {name: path.stat().st_size for name, path in files.items()}
        oldest = sorted(files, key=lambda name: (order.get(name, 0), files[name].stat().st_mtime))
        total = sum(sizes.values()) + needed
        for name in oldest[:-1]:
            if total <= self._bytes_max:
                break
            files[name].unlink(missing_ok=True)
            total -= sizes[name]
            log.info("image.evicted", digest=name, bytes=sizes[name], room_for=digest)

    def _disk_error(self, error: OSError, digest: Digest, needed: int) -> PackageError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return PackageError(
                f"the image cache at {self._directory} is full: package {short_digest(digest)} needs "
                f"{needed:,} bytes ({error.strerror}). Free space there, or "
                "let the agent keep its cache on a larger disk."
            )
        return PackageError(f"cannot write the image cache at {self._directory}: {error.strerror or error}")


class _Answer:
    """An open answer of the controller; closes its connection with it."""

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def __enter__(self) -> http.client.HTTPResponse:
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()


def _led_to(answer: http.client.HTTPResponse) -> str:
    """Where the controller says that the package is; "": here."""
    return answer.headers.get("Location", "") if answer.status == LED else ""


def _in_store(connect: Connect, where: str, digest: Digest) -> _Answer:
    """Asks the store, which is shown nothing but the address. Raises PackageError."""
    shown, connection = where.partition("?")[0], None
    try:
        parts = urllib.parse.urlsplit(where)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK_NAMES:
            raise PackageError(f"{shown} is not https://")
        connection = connect(where, READ_TIMEOUT_SECONDS)
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Accept-Encoding": "identity"})
        response = connection.getresponse()
        if response.status == 200:
            return _Answer(connection, response)
        why = f"the store answered {response.status}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = str(error)
    if connection is not None:
        connection.close()
    raise PackageAwaitedError(f"cannot fetch package {short_digest(digest)} from {shown}: {why}")


def _answer(connect: Connect, url: str, digest: Digest, ticket: str, *, is_led: bool = False) -> _Answer:
    """Asks the controller; the answer is 200 or it is a PackageError. `is_led`: or where else it is."""
    path, connection = urllib.parse.urlsplit(url).path, None
    try:
        connection = connect(url, READ_TIMEOUT_SECONDS)
        shown = {"Authorization": f"Bearer {ticket}"} if ticket else {}
        asked = {"Accept": "application/gzip", **shown, **({DIRECTLY: "yes"} if is_led else {})}
        connection.request("GET", path, headers=asked)
        response = connection.getresponse()
        if response.status == 200 or (is_led and response.status == LED):
            return _Answer(connection, response)
        text = response.read(ERROR_BODY_BYTES_MAX).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        if connection is not None:
            connection.close()
        raise PackageAwaitedError(
            f"cannot fetch package {short_digest(digest)} from {url}: {error}"
        ) from error
    connection.close()
    if response.status == 404:
        raise PackageError(f"the controller has no package {digest}. Push it again: repave image push")
    raise PackageAwaitedError(f"cannot fetch {url}: the controller answered {response.status} {text}")


def _next_chunk(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise PackageAwaitedError(
            f"the download of a package broke off: {error}. It is tried again."
        ) from error


def _judge(url: str, digest: Digest, found: Digest, size: int, announced: int) -> None:
    if size < announced:
        raise PackageAwaitedError(f"the download of {url} broke off after {size:,} of {announced:,} bytes")
    if found != digest:
        raise PackageError(
            f"corrupt package: the controller sent {size:,} bytes from {url}, expected sha256 {digest}, "
            f"got {found}. Push the package again: repave image push"
        )
