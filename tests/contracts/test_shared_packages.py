"""What controllers promise of packages that they share, wherever these are: one suite over every place."""

import asyncio
import hashlib
import io
import os
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import PackageGone, SharedPackages, StoreError
from repave_controller.fleet.packages import TRUSTED_SECONDS, ImageDirectory
from repave_controller.fleet.presigning import Bucket
from repave_controller.fleet.s3_packages import S3Packages
from repave_controller.stores.postgresql.connection import Database
from repave_controller.stores.postgresql.packages import PIECE_BYTES, PostgresPackages
from repave_controller.stores.postgresql.place import Place
from repave_protos.protocol.values import Digest
from tests.fakes.s3 import KEYS, REGION, S3, s3_store

NOW = 1_795_780_800.0
SIZE = 2 * PIECE_BYTES + 12_345


class Shared:
    """Where packages are shared: opened anew by each controller, and broken on demand."""

    def __init__(self, open_: Callable[[], SharedPackages], break_: Callable[[], None]) -> None:
        self.open, self.break_ = open_, break_


@asynccontextmanager
async def in_s3(tmp_path: Path) -> AsyncIterator[tuple[S3, Callable[[], S3Packages]]]:
    keys = tmp_path / "keys"
    keys.write_text(KEYS)

    async def pause(_: float) -> None:
        await asyncio.sleep(0)

    async with s3_store(NOW) as store:
        bucket = Bucket("packages", URL(store.url), REGION)
        yield (
            store,
            lambda: S3Packages(bucket, keys, lambda: NOW, prefix="repave/", is_direct=True, pause=pause),
        )


@pytest.fixture(params=["database", "s3"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shared]:
    if request.param == "s3":
        async with in_s3(tmp_path) as (store, make):

            def down() -> None:
                store.busy = 1000

            yield Shared(make, down)
        return
    database = Database(Place(request.getfixturevalue("database_url")))
    await database.open()
    broken = Database(Place("postgresql://repave@127.0.0.1:9/none"))
    packages = PostgresPackages(database)

    def unreachable() -> None:
        packages._database = broken  # as after its server was lost

    yield Shared(lambda: packages, unreachable)
    await database.close()


@pytest.fixture
async def shared(place: Shared) -> AsyncIterator[SharedPackages]:
    opened = place.open()
    yield opened
    await opened.close()


def a_package(content: bytes) -> tuple[Digest, bytes]:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=0) as archive:
        member = tarfile.TarInfo("serve")
        member.size, member.mode = len(content), 0o755
        archive.addfile(member, io.BytesIO(content))
    packed = sink.getvalue()
    return Digest(hashlib.sha256(packed).hexdigest()), packed


@pytest.fixture
def package(tmp_path: Path) -> tuple[Digest, Path]:
    digest, packed = a_package(os.urandom(SIZE))
    file = tmp_path / "package"
    file.write_bytes(packed)
    return digest, file


async def pieces(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def read(shared: SharedPackages, digest: Digest) -> bytes:
    return b"".join([each async for each in shared.chunks(digest)])


# ------------------------------------------------------------------------------------------- the places


async def test_what_was_put_is_there_for_all_to_the_byte(
    place: Shared, shared: SharedPackages, package: tuple[Digest, Path]
) -> None:
    digest, file = package
    assert not await shared.has(digest)
    await shared.put(digest, file)
    other = place.open()
    assert await other.has(digest)
    assert await read(other, digest) == file.read_bytes()
    await other.close()


async def test_a_package_may_be_put_and_removed_again_and_again(
    shared: SharedPackages, package: tuple[Digest, Path]
) -> None:
    digest, file = package
    await asyncio.gather(*(shared.put(digest, file) for _ in range(3)))
    await shared.put(digest, file)
    assert await read(shared, digest) == file.read_bytes()
    await shared.remove(digest)
    await shared.remove(digest)
    assert not await shared.has(digest)
    with pytest.raises(PackageGone):
        await read(shared, digest)
    await shared.put(digest, file)
    assert await read(shared, digest) == file.read_bytes()


async def test_what_is_put_while_it_is_removed_is_whole_or_not_there(
    shared: SharedPackages, package: tuple[Digest, Path]
) -> None:
    digest, file = package
    await shared.put(digest, file)
    await asyncio.gather(shared.remove(digest), shared.put(digest, file), shared.remove(digest))
    if await shared.has(digest):
        assert await read(shared, digest) == file.read_bytes()


async def test_a_place_that_is_away_is_an_error_that_says_where(
    place: Shared, package: tuple[Digest, Path]
) -> None:
    digest, file = package
    opened = place.open()
    place.break_()
    with pytest.raises(StoreError, match=r"PostgreSQL at 127\.0\.0\.1|s3://packages/repave/"):
        await opened.put(digest, file)
    with pytest.raises(StoreError):
        await opened.has(digest)
    await opened.close()


# ----------------------------------------------------------------------------------------- controllers


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> Instant:
        return Instant(self.now)


def controller(
    root: Path, shared: SharedPackages, clock: Clock | None = None, **bounds: int
) -> ImageDirectory:
    return ImageDirectory(root, clock or Clock(), shared=shared, **bounds)  # type: ignore[arg-type]  # of bytes


async def test_a_package_that_one_controller_took_is_served_by_another(
    shared: SharedPackages, tmp_path: Path
) -> None:
    digest, packed = a_package(os.urandom(SIZE))
    first, second = controller(tmp_path / "a", shared), controller(tmp_path / "b", shared)
    assert await second.bring(digest) is None
    await first.receive(pieces(packed), "app", digest)
    assert second.path(digest) is None
    brought = await asyncio.gather(*(second.bring(digest) for _ in range(5)))
    assert {path.read_bytes() for path in brought if path is not None} == {packed}
    assert second.path(digest) is not None


async def test_a_push_that_the_shared_place_does_not_take_is_not_stored_at_all(
    place: Shared, tmp_path: Path
) -> None:
    digest, packed = a_package(b"hello")
    shared = place.open()
    images = controller(tmp_path / "a", shared)
    place.break_()
    with pytest.raises(StoreError):
        await images.receive(pieces(packed), "app")
    assert images.path(digest) is None
    assert list((tmp_path / "a").iterdir()) == []
    await shared.close()


async def test_what_was_removed_is_not_served_from_a_cache_for_long(
    shared: SharedPackages, tmp_path: Path
) -> None:
    digest, packed = a_package(b"hello")
    clock = Clock()
    first, second = controller(tmp_path / "a", shared), controller(tmp_path / "b", shared, clock)
    await first.receive(pieces(packed), "app")
    await second.bring(digest)
    await first.remove(digest)
    clock.now += TRUSTED_SECONDS
    assert await second.bring(digest) is None
    assert second.path(digest) is None


async def test_a_release_needs_a_package_that_others_can_have_now(
    shared: SharedPackages, tmp_path: Path
) -> None:
    digest, packed = a_package(b"hello")
    first, second = controller(tmp_path / "a", shared), controller(tmp_path / "b", shared)
    await first.receive(pieces(packed), "app")
    await second.bring(digest)
    await first.remove(digest)
    assert await second.bring(digest) is not None, "which is good enough to serve it"
    assert await second.bring(digest, is_certain=True) is None


async def test_what_is_in_the_cache_is_served_while_the_shared_place_is_away(
    place: Shared, tmp_path: Path
) -> None:
    digest, packed = a_package(b"hello")
    shared, clock = place.open(), Clock()
    images = controller(tmp_path / "a", shared, clock)
    await images.receive(pieces(packed), "app")
    place.break_()
    clock.now += TRUSTED_SECONDS
    path = await images.bring(digest)
    assert path is not None
    assert path.read_bytes() == packed
    with pytest.raises(StoreError):
        await images.bring(Digest("0" * 64))
    await shared.close()


async def test_what_a_controller_had_alone_is_served_meanwhile_and_then_shared(
    shared: SharedPackages, tmp_path: Path
) -> None:
    digest, packed = a_package(b"hello")
    unknown, other = a_package(b"of a store that is gone")
    alone = ImageDirectory(tmp_path / "a", Clock())
    await alone.receive(pieces(packed), "app")
    await alone.receive(pieces(other), "app")
    images = controller(tmp_path / "a", shared, cache_bytes=1)
    images.know([digest, Digest("0" * 64)])
    assert await images.bring(digest) is not None
    await images.share()
    assert await read(shared, digest) == packed
    assert await images.bring(unknown) is None
    assert await controller(tmp_path / "b", shared).bring(digest) is not None


async def test_the_cache_lets_go_of_what_was_asked_for_least_lately(
    shared: SharedPackages, tmp_path: Path
) -> None:
    clock = Clock()
    images = controller(tmp_path / "a", shared, clock, cache_bytes=250_000)
    made = [a_package(os.urandom(100_000)) for _ in range(3)]
    for digest, packed in made[:2]:
        await images.receive(pieces(packed), "app")
        clock.now += 1
        assert images.path(digest) is not None
    clock.now += 1
    assert images.path(made[0][0]) is not None
    await images.receive(pieces(made[2][1]), "app")
    assert [images.path(digest) is not None for digest, _ in made] == [True, False, True]
    assert await images.bring(made[1][0]) is not None


# --------------------------------------------------------------------------------------------------- S3


async def test_s3_that_is_busy_for_a_moment_is_asked_again(
    tmp_path: Path, package: tuple[Digest, Path]
) -> None:
    digest, file = package
    async with in_s3(tmp_path) as (store, make):
        packages = make()
        store.busy = 2
        await packages.put(digest, file)
        assert store.objects == {("packages", f"repave/{digest}.tar.gz"): file.read_bytes()}
        assert store.asked == ["PUT"] * 3
        await packages.close()


async def test_s3_must_store_what_was_sent_and_what_comes_back_must_be_it(tmp_path: Path) -> None:
    digest, packed = a_package(b"hello")
    file = tmp_path / "file"
    file.write_bytes(packed)
    async with in_s3(tmp_path) as (store, make):
        packages = make()
        store.loses = True
        with pytest.raises(StoreError, match="BadDigest"):
            await packages.put(digest, file)
        store.loses = False
        await packages.put(digest, file)
        images = controller(tmp_path / "a", packages)
        store.cuts = True
        with pytest.raises(StoreError, match="can't be reached"):
            await images.bring(digest)
        store.cuts = False
        ((key, _),) = store.objects.items()
        store.objects[key] = a_package(b"other")[1]
        with pytest.raises(StoreError, match="another content"):
            await images.bring(digest)
        assert images.path(digest) is None
        await packages.close()


async def test_agents_may_be_sent_to_s3_itself_by_an_address_that_is_good_for_one_package(
    tmp_path: Path,
) -> None:
    digest, packed = a_package(b"hello")
    async with in_s3(tmp_path) as (_, make):
        packages = make()
        images = controller(tmp_path / "a", packages)
        assert await images.direct(digest) == "", "nothing is there"
        await images.receive(pieces(packed), "app")
        address = URL(await images.direct(digest), encoded=True)
        async with aiohttp.ClientSession() as session:
            assert await (await session.get(address)).read() == packed
            assert (await session.put(address, data=b"mine")).status == 403
            other = URL(str(address).replace(digest, "0" * 64), encoded=True)
            assert (await session.get(other)).status == 403
        await packages.close()


async def test_keys_that_do_not_open_the_bucket_are_told_by_their_setting(tmp_path: Path) -> None:
    async with in_s3(tmp_path) as (_, make):
        packages = make()
        (tmp_path / "keys").write_text(KEYS.replace("s3cret", "wrong"))
        with pytest.raises(StoreError, match=r"403.*packages\.credentials"):
            await packages.has(Digest("a" * 64))
        (tmp_path / "keys").write_text("nothing")
        with pytest.raises(StoreError, match=r"packages\.credentials: .*aws_access_key_id"):
            await packages.has(Digest("a" * 64))
        await packages.close()


# --------------------------------------------------------------------------------------------- database


async def test_half_of_a_package_that_a_killed_controller_left_is_not_there_and_goes(
    database_url: str, package: tuple[Digest, Path]
) -> None:
    digest, file = package
    database = Database(Place(database_url))
    await database.open()
    packages = PostgresPackages(database)
    left = Digest("f" * 64)
    add = "INSERT INTO repave.package_pieces VALUES ($1, 0, 'half', now() - interval '2 days')"
    await database.fetch(add, left)
    assert not await packages.has(left)
    await packages.put(digest, file)
    (row,) = await database.fetch("SELECT count(DISTINCT digest) AS count FROM repave.package_pieces")
    assert row["count"] == 1
    await database.close()
