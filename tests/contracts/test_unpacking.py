"""One rule for what a package becomes on a host, whichever provider makes it: `local` unpacks by
repave_protos.package, machines by machine.sh with their own tar, once the agent has read the package through.
"""

import asyncio
import importlib.util
import os
import py_compile
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from repave_agent.core.ports import RefusedError
from repave_agent.packages.inspection import Inspector
from repave_agent.providers.ssh_pool.bootstrap import SCRIPT
from repave_protos.package.archive import PackageFormatError, pack, sha256_of, unpack
from repave_protos.protocol.values import Digest
from tests.fakes.packages import EVIL, GOOD, RELEASED, Unpacked, plain, tarball
from tests.fakes.raw_tar import NONE, TWO_FACED, block, file, gzipped, long, pax

Unpack = Callable[[Path, Path], Path]
"""Unpacks a package below a folder, and returns where its files are."""


def by_local(package: Path, place: Path) -> Path:
    unpack(package, place / "app", read_only=True, released_at=RELEASED + 0.25)
    return place / "app"


def by_machine(package: Path, place: Path) -> Path:
    digest = sha256_of(package)
    asyncio.run(Inspector().check(digest, package))
    arrived = place / "arrived.tar.gz"
    arrived.write_bytes(package.read_bytes())
    for words in (["unpack", str(place), digest, str(arrived)], ["date", str(place), digest, str(RELEASED)]):
        subprocess.run(["sh", str(SCRIPT), *words], check=True, capture_output=True, timeout=60)
    return place / "packages" / digest / "app"


@pytest.fixture(params=[by_local, by_machine])
def unpacked(request: pytest.FixtureRequest) -> Unpack:
    chosen: Unpack = request.param
    return chosen


def seen(top: Path) -> Unpacked:
    tree: Unpacked = {}
    for path in sorted(top.rglob("*")):
        found, name = path.lstat(), str(path.relative_to(top))
        mode, time = found.st_mode & 0o7777, found.st_mtime
        if path.is_symlink():
            tree[name] = ("link", mode, time, os.readlink(path))  # noqa: PTH115  # as it is
        else:
            tree[name] = (
                ("folder", mode, time, "") if path.is_dir() else ("file", mode, time, path.read_text())
            )
    return tree


@pytest.mark.parametrize("name", GOOD)
def test_a_package_becomes_the_same_files_everywhere(unpacked: Unpack, name: str, tmp_path: Path) -> None:
    members, expected = GOOD[name]
    package = tarball(tmp_path / "package.tar.gz", *members)
    before = os.umask(0o077)  # of an agent, or a machine, that is careful
    try:
        top = unpacked(package, tmp_path)
    finally:
        os.umask(before)
    if os.geteuid() != 0:
        expected = {each: found for each, found in expected.items() if found[1] & 0o400}
    assert seen(top) == expected
    assert top.stat().st_mode & 0o7777 == 0o555


@pytest.mark.parametrize("name", EVIL)
def test_what_is_refused_is_refused_in_the_same_words_everywhere(
    unpacked: Unpack, name: str, tmp_path: Path
) -> None:
    members, words = EVIL[name]
    first = [] if name == "no-files" else [plain("first")]
    package = tarball(tmp_path / "evil.tar.gz", *first, *members)
    (tmp_path / "place").mkdir()
    with pytest.raises((PackageFormatError, RefusedError), match=words):
        unpacked(package, tmp_path / "place")
    assert not list((tmp_path / "place").iterdir())


@pytest.mark.parametrize("name", TWO_FACED)
def test_what_programs_read_differently_is_refused_everywhere(
    unpacked: Unpack, name: str, tmp_path: Path
) -> None:
    content, words = TWO_FACED[name]
    package = gzipped(tmp_path / "evil.tar.gz", content)
    place = tmp_path / "below" / "place"
    place.mkdir(parents=True)
    with pytest.raises((PackageFormatError, RefusedError), match=words):
        unpacked(package, place)
    assert not list(place.iterdir())
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize(
    "content",
    [
        pax(("comment", "a commit"), kind=b"g") + file("good"),
        pax(("path", "good"), ("mtime", "1700000000.5")) + file("x"),
        long("good") + file("x"),
        long("good") + long("y", b"K") + block("x", kind=b"2", link="z") + file("y"),
        file("good", NONE),
        block("good", 1, b"7") + file("")[512:],
    ],
)
def test_what_packers_write_is_taken(unpacked: Unpack, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    top = unpacked(gzipped(tmp_path / "package.tar.gz", content), tmp_path / "place")
    assert "good" in seen(top)


def test_a_module_that_changed_is_never_run_from_what_was_compiled_of_the_former_one(
    unpacked: Unpack, tmp_path: Path
) -> None:
    source = tmp_path / "shop" / "tells.py"
    source.parent.mkdir()
    source.write_text("print('old')\n")
    os.utime(source, (0, 0))
    py_compile.compile(str(source), importlib.util.cache_from_source(str(source)))
    source.write_text("print('new')\n")  # as long as before, and packed without a time as well
    pack(source.parent, tmp_path / "shop.tar.gz")
    (tmp_path / "place").mkdir()
    top = unpacked(tmp_path / "shop.tar.gz", tmp_path / "place")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(top)!r}); import tells"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told == "new\n"


async def test_a_package_is_looked_through_once(tmp_path: Path) -> None:
    package = tarball(tmp_path / "package.tar.gz", plain("f"))
    inspector, digest = Inspector(), Digest("d" * 64)
    await asyncio.gather(*(inspector.check(digest, package) for _ in range(3)))
    package.write_bytes(b"no package any more")
    await inspector.check(digest, package)
    with pytest.raises(RefusedError, match="is no gzip file"):
        await inspector.check(Digest("e" * 64), package)
    with pytest.raises(RefusedError, match="there is no such package"):
        await inspector.check(digest, tmp_path / "missing")
