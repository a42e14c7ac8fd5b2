"""The package format: a `.tar.gz` with the files of one application, named by the SHA-256 of its bytes.

Packs a folder, inspects what a client sent, unpacks it safely. One set of rules, tree.py, holds for
all three: what `pack` makes, `unpack` takes. Standard library only: controller, agent and CLI share it.
"""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast

from repave_protos.package.headers import PlainHeaders, expect_plain
from repave_protos.package.tree import DEFAULT_LIMITS, Limits, PackageFormatError, Tree, refusal, time_of

if TYPE_CHECKING:  # slow to import, and the command line needs no more of it
    from repave_protos.protocol.values import Digest

__all__ = [
    "DEFAULT_LIMITS",
    "Contents",
    "Destination",
    "Folder",
    "Limits",
    "PackageFormatError",
    "inspect",
    "pack",
    "read",
    "remove",
    "sha256_of",
    "unpack",
]

CHUNK_BYTES = 256 * 1024
READ_BYTES_MAX = 1024 * 1024
"""One read of the unpacked stream. tarfile reads a member's extended header in one piece: this bounds it."""
COMPRESSION_LEVEL = 6
SKIPPED_NAMES = frozenset({".git"})
"""What `pack` leaves out, at every depth. Nothing else is: hidden files are packed."""


class Contents(NamedTuple):
    """What a package holds: number of files (links count, folders do not) and the bytes in them."""

    files: int
    unpacked_bytes: int


def pack(directory: Path, target: Path) -> "Digest":
    """Packs the files of `directory` into `target` (replaced in one step) and returns its digest.

    The same content gives the same bytes: names sorted, times and owners 0, modes 0644 or 0755. (The
    compressed bytes depend on zlib as well: another zlib, such as zlib-ng, may give another digest.)
    `.git` is left out. Raises PackageFormatError for what a package can't hold, OSError for the disk.
    """
    members = _scan(directory, target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            sink = _HashingSink(file)
            with gzip.GzipFile("", "wb", COMPRESSION_LEVEL, sink, mtime=0) as packed:
                _write_tar(directory, members, packed)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return sink.digest()


def inspect(path: Path, limits: Limits = DEFAULT_LIMITS) -> Contents:
    """Reads the package through and says what it holds; raises PackageFormatError if `unpack` would."""
    return read(path, limits, Destination())


def unpack(
    path: Path,
    directory: Path,
    limits: Limits = DEFAULT_LIMITS,
    *,
    read_only: bool = False,
    released_at: float = 0.0,
) -> Contents:
    """Unpacks into `directory`, which must not exist yet; all or nothing. `read_only` drops write permission.

    Files get mode 0755 or 0644 whatever else the package says, and its times; `released_at` where it has
    none. machine.sh unpacks by the same rule.
    Raises PackageFormatError, or OSError when the disk does not take it; then `directory` is gone again.
    """
    directory.mkdir()
    try:
        return read(path, limits, Folder(directory, read_only, released_at))
    except BaseException:
        remove(directory)
        raise


def remove(directory: Path) -> None:
    """Removes a folder and all below it, read-only folders too. Fine if it is not there."""
    if os.geteuid() != 0:  # root needs no permission to remove
        for folder, _, _ in os.walk(directory):
            Path(folder).chmod(0o700)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(directory)


def sha256_of(path: Path) -> "Digest":
    """The digest of a file, read in chunks."""
    with path.open("rb") as file:
        return cast("Digest", hashlib.file_digest(file, "sha256").hexdigest())


# ---------------------------------------------------------------------------------------------- reading


class Destination:
    """What a package is unpacked to: nothing at all, as for `inspect`. Names are clean and judged."""

    def folder(self, name: str, modified_at: float = 0.0) -> None: ...

    def file(self, name: str, mode: int, modified_at: float, chunks: Iterator[bytes]) -> None:
        for _ in chunks:
            pass

    def link(self, name: str, target: str, modified_at: float) -> None: ...

    def hard_link(self, name: str, source: str) -> None: ...

    def finish(self) -> None:
        """All of it was there, and may be in a package."""


class Folder(Destination):
    """Where `unpack` unpacks to: parents are real folders below `top`, which is there and empty."""

    def __init__(self, top: Path, is_read_only: bool, released_at: float) -> None:
        self.top, self.is_read_only, self.released_at = top, is_read_only, released_at
        self.folders = {"": 0.0}
        """With their times in the package, which they get when nothing comes into them any more."""

    def folder(self, name: str, modified_at: float = 0.0) -> None:
        if name not in self.folders:
            self.folder(name.rpartition("/")[0])
            (self.top / name).mkdir()
            self.folders[name] = modified_at
        self.folders[name] = modified_at or self.folders[name]

    def file(self, name: str, mode: int, modified_at: float, chunks: Iterator[bytes]) -> None:
        self.folder(name.rpartition("/")[0])
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(f"{self.top}/{name}", flags, 0o600)
        try:
            for chunk in chunks:
                _write_all(target, chunk)
            os.fchmod(target, self._mode(0o755 if mode & stat.S_IXUSR else 0o644))
            self._date(target, modified_at)
        finally:
            os.close(target)

    def link(self, name: str, target: str, modified_at: float) -> None:
        self.folder(name.rpartition("/")[0])
        (self.top / name).symlink_to(target)
        self._date(f"{self.top}/{name}", modified_at)

    def hard_link(self, name: str, source: str) -> None:
        self.folder(name.rpartition("/")[0])
        os.link(self.top / source, self.top / name, follow_symlinks=False)

    def finish(self) -> None:
        for name, modified_at in self.folders.items():
            (self.top / name).chmod(self._mode(0o755))
            self._date(f"{self.top}/{name}", modified_at)

    def _mode(self, mode: int) -> int:
        return mode & ~0o222 if self.is_read_only else mode

    def _date(self, target: int | str, modified_at: float) -> None:
        found = time_of(modified_at, self.released_at)
        if found is not None and isinstance(target, int):
            os.utime(target, (found, found))
        elif found is not None:
            os.utime(target, (found, found), follow_symlinks=False)


def _write_all(target: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(target, view) :]


def read(path: Path, limits: Limits, into: Destination) -> Contents:
    """Hands on all that is in it, as it comes. Raises PackageFormatError, and what `into` raises."""
    try:
        with gzip.open(path, "rb") as unpacked:
            return _read_tar(_Bounded(unpacked, limits.unpacked_bytes), Tree(limits), into)
    except gzip.BadGzipFile as error:
        raise PackageFormatError(f"{path.name} is no gzip file ({error}). Make it with tar -czf.") from error
    except (EOFError, zlib.error) as error:
        raise PackageFormatError(
            f"{path.name} is cut short or damaged ({error}). Pack or send it again."
        ) from error
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise PackageFormatError(
            f"{path.name} holds no readable tar archive ({error}). Make it with tar -czf."
        ) from error


def _read_tar(stream: "_Bounded", tree: Tree, into: Destination) -> Contents:
    files = size = 0
    with tarfile.TarFile(
        fileobj=cast("IO[bytes]", stream),
        mode="r",
        tarinfo=PlainHeaders.of_archive(),
        encoding="utf-8",
        errors="surrogateescape",
    ) as archive:
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every member it has read
            files += not member.isdir()
            size += member.size if member.isreg() else 0
            expect_plain(member)
            _take(member, stream, tree, into)
    stream.expect_end()
    tree.finish()
    if not files:
        raise PackageFormatError("the package holds no files. Pack the folder that holds the application.")
    into.finish()
    return Contents(files, size)


def _take(member: tarfile.TarInfo, stream: "_Bounded", tree: Tree, into: Destination) -> None:
    if member.isdir():
        into.folder(tree.add(member.name, "folder"), member.mtime)
    elif member.issym():
        into.link(tree.add_link(member.name, member.linkname), member.linkname, member.mtime)
    elif member.islnk():
        into.hard_link(*tree.add_hard_link(member.name, member.linkname))
    elif member.isreg() and not member.issparse():
        name = tree.add(member.name, "file")
        if not name or member.name.endswith("/"):
            raise refusal(member.name, "is a file with the name of a folder", "pack the folder again")
        into.file(name, member.mode, member.mtime, stream.chunks(name, member.offset_data, member.size))
    else:
        kinds = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a named pipe"}
        kind = kinds.get(member.type, "neither file, folder nor link (a sparse file, for one)")
        raise refusal(member.name, f"is {kind}", "leave it out of the package")


class _Bounded:
    """The unpacked stream, forward only, which ends with an error as soon as it is longer than allowed."""

    def __init__(self, stream: gzip.GzipFile, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self._position = 0
        self._latest = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= READ_BYTES_MAX:
            raise PackageFormatError(
                f"a header in the package has {size:,} bytes; at most {READ_BYTES_MAX:,} are taken."
            )
        self._latest = self._stream.read(size)
        self._position += len(self._latest)
        if self._position > self._bytes_max:
            raise PackageFormatError(
                f"the package unpacks to more than {self._bytes_max:,} bytes. Leave out what is not needed."
            )
        return self._latest

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or position < self._position:
            raise PackageFormatError("a header in the package has an impossible size. Pack the folder again.")
        while self._position < position:
            if not self.read(min(CHUNK_BYTES, position - self._position)):
                raise EOFError("it ends within a member")
        return self._position

    def chunks(self, name: str, offset: int, size: int) -> Iterator[bytes]:
        """The bytes of one member."""
        self.seek(offset)
        while size > 0:
            chunk = self.read(min(CHUNK_BYTES, size))
            if not chunk:
                raise EOFError(f"it ends within {name!r}")
            size -= len(chunk)
            yield chunk

    def expect_end(self) -> None:
        """tarfile stops without a word at a damaged header and at a missing end: only zeros may follow.

        Reads to the end of the stream, so that gzip checks its own sum too.
        """
        if not self._latest:
            raise EOFError("it ends without tar's end mark")
        while self._latest:
            if self._latest.strip(b"\0"):
                raise PackageFormatError(
                    "the package is damaged: a member's header is broken. Pack it again."
                )
            self.read(CHUNK_BYTES)

    def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- packing


class _HashingSink:
    """Writes on, and hashes what it wrote."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.hash = file, hashlib.sha256()

    def write(self, chunk: bytes) -> int:
        self.hash.update(chunk)
        return self.file.write(chunk)

    def flush(self) -> None:
        self.file.flush()

    def digest(self) -> "Digest":
        return cast("Digest", self.hash.hexdigest())


def _scan(directory: Path, target: Path) -> list[str]:
    """Relative names of all members, parents first, refused as `unpack` would refuse them."""
    if not directory.is_dir():
        raise PackageFormatError(f"{directory} is no folder. Name the folder that holds the application.")
    if target.resolve().is_relative_to(directory.resolve()):
        raise PackageFormatError(f"{target} lies inside the folder that is packed. Write it somewhere else.")
    tree = Tree(DEFAULT_LIMITS)
    names = sorted(_walk(directory), key=lambda name: name.split("/"))
    for name in names:
        _judge(directory / name, name, tree)
    tree.finish()
    if all(tree.kinds[name] == "folder" for name in names):
        raise PackageFormatError(f"{directory} holds no files. Name the folder that holds the application.")
    return names


def _walk(top: Path, prefix: str = "") -> Iterator[str]:
    with os.scandir(top / prefix) as entries:
        for entry in entries:
            if entry.name in SKIPPED_NAMES:
                continue
            yield prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(top, f"{prefix}{entry.name}/")


def _judge(path: Path, name: str, tree: Tree) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        tree.add_link(name, str(path.readlink()))
    elif stat.S_ISDIR(mode):
        tree.add(name, "folder")
    elif stat.S_ISREG(mode):
        tree.add(name, "file")
    else:
        kinds = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a named pipe"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise refusal(name, f"is {kind}", "remove it from the folder")


def _write_tar(directory: Path, names: list[str], packed: gzip.GzipFile) -> None:
    with tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for name in names:
            _write_member(archive, directory / name, name)


def _write_member(archive: tarfile.TarFile, path: Path, name: str) -> None:
    found = path.lstat()
    member = tarfile.TarInfo(name)  # owner 0, time 0
    member.mode = 0o755 if stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_IXUSR else 0o644
    if stat.S_ISREG(found.st_mode):
        member.size = found.st_size
        with path.open("rb") as file:
            _add_file(archive, member, file)
    else:
        member.type = tarfile.SYMTYPE if stat.S_ISLNK(found.st_mode) else tarfile.DIRTYPE
        member.linkname = str(path.readlink()) if member.issym() else ""
        archive.addfile(member)


def _add_file(archive: tarfile.TarFile, member: tarfile.TarInfo, file: BinaryIO) -> None:
    try:
        archive.addfile(member, file)
    except OSError as error:
        if error.errno is not None:  # the disk's own
            raise
        fix = "pack when nothing writes to the folder"  # tarfile says so by an OSError without a number
        raise refusal(member.name, "became shorter while it was packed", fix) from error
