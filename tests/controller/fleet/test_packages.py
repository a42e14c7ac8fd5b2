"""Packages are stored whole or not at all, under the digest of what really arrived."""

import asyncio
import errno
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repave_controller.core.domain.application import Instant
from repave_controller.fleet.packages import ImageDirectory, ImageError
from repave_protos.package.archive import pack
from repave_protos.protocol.values import Digest


def clock() -> Instant:
    return Instant(5.0)


@pytest.fixture
def package(tmp_path: Path) -> bytes:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "serve").write_bytes(os.urandom(100_000))
    (folder / "version.txt").write_text("1.0\n")
    pack(folder, tmp_path / "app.tar.gz")
    return (tmp_path / "app.tar.gz").read_bytes()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state" / "images"


async def chunks(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def left_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


async def test_a_package_is_found_by_its_digest_with_the_bytes_that_were_pushed(
    root: Path, package: bytes
) -> None:
    images = ImageDirectory(root, clock)
    image = await images.receive(chunks(package), "app.tar.gz")
    path = images.path(image.digest)
    assert path is not None
    assert path.read_bytes() == package
    assert (image.size_bytes, image.files, image.name, image.pushed_at) == (
        len(package),
        2,
        "app.tar.gz",
        5.0,
    )
    assert left_in(root) == [f"{image.digest}.tar.gz"]


async def test_the_same_package_twice_is_one(root: Path, package: bytes) -> None:
    images = ImageDirectory(root, clock)
    both = await asyncio.gather(images.receive(chunks(package), "a"), images.receive(chunks(package), "b"))
    assert both[0].digest == both[1].digest
    assert len(left_in(root)) == 1


async def test_a_package_that_is_not_the_announced_one_is_refused(root: Path, package: bytes) -> None:
    images = ImageDirectory(root, clock)
    with pytest.raises(ImageError, match=f"expected sha256 {'a' * 64}"):
        await images.receive(chunks(package), "app", Digest("a" * 64))
    assert left_in(root) == []


async def test_what_is_no_package_is_refused_and_leaves_nothing(root: Path) -> None:
    images = ImageDirectory(root, clock)
    for content in (b"", b"nonsense" * 100):
        with pytest.raises(ImageError):
            await images.receive(chunks(content), "app")
    assert left_in(root) == []


async def test_a_truncated_package_is_refused(root: Path, package: bytes) -> None:
    images = ImageDirectory(root, clock)
    with pytest.raises(ImageError):
        await images.receive(chunks(package[:-100]), "app")
    assert left_in(root) == []


async def test_a_package_beyond_the_limit_is_refused_before_it_has_all_arrived(
    root: Path, package: bytes
) -> None:
    images = ImageDirectory(root, clock, bytes_max=30_000)
    sent = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal sent
        async for chunk in chunks(package):
            sent += len(chunk)
            yield chunk

    with pytest.raises(ImageError, match="larger than 30,000 bytes"):
        await images.receive(counted(), "app")
    assert sent == 40_000
    assert left_in(root) == []


async def test_a_sender_that_breaks_off_leaves_nothing(root: Path, package: bytes) -> None:
    images = ImageDirectory(root, clock)

    async def broken() -> AsyncIterator[bytes]:
        yield package[:1000]
        raise ConnectionResetError("gone")

    with pytest.raises(ImageError):
        await images.receive(broken(), "app")
    assert left_in(root) == []


class FullDisk(io.BytesIO):
    """Takes nothing; has no descriptor either."""

    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_disk_is_an_error_that_says_where_to_free_space(root: Path, package: bytes) -> None:
    images = ImageDirectory(root, clock, open_for_writing=lambda _: FullDisk())
    with pytest.raises(ImageError, match=r"disk is full at .*images: free some space"):
        await images.receive(chunks(package), "app")
    assert left_in(root) == []


async def test_what_a_killed_controller_left_half_received_is_forgotten(root: Path, package: bytes) -> None:
    image = await ImageDirectory(root, clock).receive(chunks(package), "app")
    (root / "0123456789abcdef.part").write_bytes(b"half")
    assert ImageDirectory(root, clock).path(image.digest) is not None
    assert left_in(root) == [f"{image.digest}.tar.gz"]


@pytest.mark.parametrize("digest", ["", "a" * 64, "../../etc/passwd", "A" * 64, "a" * 63 + "\n"])
def test_what_is_no_digest_of_a_stored_package_has_no_path(root: Path, digest: str) -> None:
    assert ImageDirectory(root, clock).path(Digest(digest)) is None


async def test_a_name_that_would_break_a_line_of_output_is_refused(root: Path, package: bytes) -> None:
    with pytest.raises(ImageError, match="one line"):
        await ImageDirectory(root, clock).receive(chunks(package), "a\nb")


async def test_what_the_store_does_not_know_is_a_stray_once_it_is_old(root: Path, package: bytes) -> None:
    images = ImageDirectory(root, clock)
    image = await images.receive(chunks(package), "app")
    path = images.path(image.digest)
    assert path is not None
    os.utime(path, (100.0, 100.0))
    assert images.strays([], Instant(101.0)) == {image.digest: len(package)}
    assert images.strays([image.digest], Instant(101.0)) == {}
    assert images.strays([], Instant(99.0)) == {}
