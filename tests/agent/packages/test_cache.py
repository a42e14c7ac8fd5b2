"""The image cache against a real little HTTP server: only what has its digest is ever handed out."""

import asyncio
import ctypes
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from repave_agent.core.ports import PackageError
from repave_agent.packages.cache import PackageCache
from repave_protos.protocol.values import Digest

TMPFS_BYTES = 64 * 1024


@dataclass
class Store:
    """What the little controller answers with, and what it was asked."""

    url: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    shown: list[str | None] = field(default_factory=list)
    cut_after: int | None = None
    leads: str = ""  # those who can be led
    directly: list[str | None] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def put(self, content: bytes) -> Digest:
        digest = Digest(hashlib.sha256(content).hexdigest())
        self.bodies[digest] = content
        return digest


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    made.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            digest = self.path.removeprefix("/v1/images/")
            made.asked.append(digest)
            made.shown.append(self.headers["Authorization"])
            made.directly.append(self.headers["X-Repave-Directly"])
            if made.leads and self.headers["X-Repave-Directly"]:
                self.send_response(307)
                self.send_header("Location", made.leads)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            made.gate.wait(10)
            body = made.bodies.get(digest)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write((body or b"")[: made.cut_after])

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/v1/images"
    yield made
    made.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(store: Store, tmp_path: Path) -> PackageCache:
    made = PackageCache(tmp_path / "images")
    made.set_source(store.url)
    return made


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_package_is_fetched_once_and_then_cached(store: Store, cache: PackageCache) -> None:
    digest = store.put(b"package" * 100_000)
    path = await cache.fetch(digest)
    assert path.read_bytes() == b"package" * 100_000
    assert path.name == f"{digest}.tar.gz"
    assert await cache.fetch(digest) == path
    assert store.asked == [digest]


async def test_the_controller_s_ticket_is_shown_with_every_fetch(store: Store, cache: PackageCache) -> None:
    await cache.fetch(store.put(b"one"))
    cache.set_source(store.url, "rpa_ticket")
    await cache.fetch(store.put(b"two"))
    assert store.shown == [None, "Bearer rpa_ticket"]


@pytest.fixture
def elsewhere() -> Iterator[Store]:
    """A store that the controller leads to: signed addresses below /packages."""
    made = Store()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            made.shown.append(self.headers["Authorization"])
            body = made.bodies.get(self.path)
            self.send_response(403 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write((body or b"")[: made.cut_after])

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


WHERE = "/packages/a%2Bb.tar.gz?X-Amz-Signature=s3cret"


async def test_it_is_led_to_the_store_that_has_it_without_its_ticket(
    store: Store, elsewhere: Store, cache: PackageCache
) -> None:
    digest = store.put(b"package")
    store.leads, elsewhere.bodies[WHERE] = elsewhere.url + WHERE, b"package"
    cache.set_source(store.url, "rpa_ticket")
    assert (await cache.fetch(digest)).read_bytes() == b"package"
    assert (elsewhere.asked, elsewhere.shown) == ([WHERE], [None])
    assert store.shown == ["Bearer rpa_ticket"]


@pytest.mark.parametrize("trouble", ["tampered", "refused", "cut", "away", "plaintext", "nonsense"])
async def test_what_the_store_does_not_give_comes_from_the_controller(
    store: Store, elsewhere: Store, cache: PackageCache, trouble: str
) -> None:
    digest = store.put(b"package")
    store.leads, elsewhere.bodies[WHERE] = elsewhere.url + WHERE, b"package"
    match trouble:
        case "tampered":
            elsewhere.bodies[WHERE] = b"another"
        case "refused":
            elsewhere.bodies.clear()
        case "cut":
            elsewhere.cut_after = 3
        case "away":
            store.leads = "http://127.0.0.1:1/x?X-Amz-Signature=s3cret"
        case "plaintext":
            store.leads = "http://store.example/x"
        case "nonsense":
            store.leads = "https://[/x"
    assert (await cache.fetch(digest)).read_bytes() == b"package"
    assert store.directly == ["yes", None]


async def test_concurrent_fetches_share_one_download(store: Store, cache: PackageCache) -> None:
    digest = store.put(b"package")
    store.gate.clear()
    fetches = [asyncio.create_task(cache.fetch(digest)) for _ in range(20)]
    await asyncio.sleep(0)
    fetches[0].cancel()  # one that gives up does not take the others with it
    store.gate.set()
    answers = await asyncio.gather(*fetches, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert len(set(answers[1:])) == 1
    assert store.asked == [digest]


async def test_a_corrupt_package_is_refused_and_leaves_nothing(
    store: Store, cache: PackageCache, tmp_path: Path
) -> None:
    digest = store.put(b"right")
    store.bodies[digest] = b"wrong"
    with pytest.raises(PackageError) as caught:
        await cache.fetch(digest)
    got = hashlib.sha256(b"wrong").hexdigest()
    assert str(caught.value) == (
        f"corrupt package: the controller sent 5 bytes from {store.url}/{digest}, "
        f"expected sha256 {digest}, got {got}. Push the package again: repave image push"
    )
    assert names(tmp_path / "images") == []
    store.bodies[digest] = b"right"
    assert (await cache.fetch(digest)).read_bytes() == b"right"


async def test_a_download_that_breaks_off_says_so(store: Store, cache: PackageCache, tmp_path: Path) -> None:
    digest = store.put(b"x" * 1000)
    store.cut_after = 400
    with pytest.raises(PackageError, match="broke off"):
        await cache.fetch(digest)
    assert names(tmp_path / "images") == []


async def test_a_cached_file_that_was_changed_is_dropped_and_fetched_again(
    store: Store, cache: PackageCache
) -> None:
    digest = store.put(b"package")
    path = await cache.fetch(digest)
    path.write_bytes(b"tampered")
    assert (await cache.fetch(digest)).read_bytes() == b"package"
    assert store.asked == [digest, digest]


async def test_a_new_process_verifies_what_it_finds(store: Store, tmp_path: Path) -> None:
    good, bad = store.put(b"good"), store.put(b"bad")
    directory = tmp_path / "images"
    directory.mkdir()
    (directory / f"{good}.tar.gz").write_bytes(b"good")
    (directory / f"{bad}.tar.gz").write_bytes(b"bit rot")
    (directory / f"{bad}.tar.part").write_bytes(b"left by a killed agent")
    cache = PackageCache(directory)
    cache.set_source(store.url + "/")
    assert (await cache.fetch(good)).read_bytes() == b"good"
    assert (await cache.fetch(bad)).read_bytes() == b"bad"
    assert store.asked == [bad]
    assert names(directory) == sorted([f"{good}.tar.gz", f"{bad}.tar.gz"])


async def test_without_a_controller_cached_packages_are_still_there(tmp_path: Path) -> None:
    digest = Digest(hashlib.sha256(b"kept").hexdigest())
    cache = PackageCache(tmp_path)
    with pytest.raises(PackageError, match="the controller is not reachable"):
        await cache.fetch(digest)
    (tmp_path / f"{digest}.tar.gz").write_bytes(b"kept")
    assert (await cache.fetch(digest)).read_bytes() == b"kept"


async def test_an_unknown_package_and_a_dead_controller_are_told_apart(
    store: Store, cache: PackageCache
) -> None:
    with pytest.raises(PackageError, match=r"has no package 0000.*repave image push"):
        await cache.fetch(Digest("0" * 64))
    cache.set_source("http://127.0.0.1:1/v1/images")
    with pytest.raises(PackageError, match=r"cannot fetch package 0000.*Connection refused"):
        await cache.fetch(Digest("0" * 64))


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63])
async def test_what_is_no_digest_never_becomes_a_path(cache: PackageCache, digest: str) -> None:
    with pytest.raises(PackageError, match="is no package digest"):
        await cache.fetch(Digest(digest))


async def test_the_package_used_longest_ago_makes_room(store: Store, tmp_path: Path) -> None:
    cache = PackageCache(tmp_path, bytes_max=2_500)
    cache.set_source(store.url)
    first, second, third = (store.put(letter * 1000) for letter in (b"a", b"b", b"c"))
    await cache.fetch(first)
    await cache.fetch(second)
    await cache.fetch(first)
    await cache.fetch(third)
    assert names(tmp_path) == sorted([f"{first}.tar.gz", f"{third}.tar.gz"])


async def test_the_package_used_last_stays_even_when_the_cache_is_too_small(
    store: Store, tmp_path: Path
) -> None:
    cache = PackageCache(tmp_path, bytes_max=1_500)
    cache.set_source(store.url)
    first, second, third = (store.put(letter * 1000) for letter in (b"a", b"b", b"c"))
    for digest in (first, second, third):
        await cache.fetch(digest)
    assert names(tmp_path) == sorted([f"{second}.tar.gz", f"{third}.tar.gz"])


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    libc = ctypes.CDLL(None, use_errno=True)
    place = tmp_path / "tiny"
    place.mkdir()
    if libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, f"size={TMPFS_BYTES}".encode()) != 0:
        pytest.skip(f"cannot mount a tmpfs here: {os.strerror(ctypes.get_errno())}")
    yield place
    assert libc.umount2(str(place).encode(), 2) == 0  # MNT_DETACH


async def test_a_full_disk_is_told_with_place_need_and_remedy(store: Store, tiny_disk: Path) -> None:
    digest, small = store.put(os.urandom(200_000)), store.put(b"small")
    cache = PackageCache(tiny_disk / "images")
    cache.set_source(store.url)
    with pytest.raises(PackageError) as caught:
        await cache.fetch(digest)
    assert str(caught.value) == (
        f"the image cache at {tiny_disk}/images is full: package {digest[:12]} needs 200,000 bytes "
        "(No space left on device). Free space there, or let the agent keep its cache on a larger disk."
    )
    assert names(tiny_disk / "images") == []
    assert (await cache.fetch(small)).read_bytes() == b"small"


async def test_closing_ends_a_download_under_way(store: Store, cache: PackageCache) -> None:
    digest = store.put(b"package" * 100_000)
    store.gate.clear()
    fetch = asyncio.create_task(cache.fetch(digest))
    while not store.asked:  # noqa: ASYNC110  # set by another thread
        await asyncio.sleep(0.005)
    closing = asyncio.create_task(cache.close())
    await asyncio.sleep(0)
    store.gate.set()
    await closing
    with pytest.raises(PackageError, match="is stopping"):
        await fetch
