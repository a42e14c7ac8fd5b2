"""A package that is read once gives each host what it would get from one that is read for it alone."""

import hashlib
import os
from pathlib import Path

import pytest

from repave_agent.providers.local import contents, unpacked
from repave_agent.providers.local.unpacked import Packages
from repave_protos.package.archive import PackageFormatError, pack, unpack

RELEASED_AT = 1_790_000_000.0


@pytest.fixture
def package(tmp_path: Path) -> Path:
    top = tmp_path / "shop"
    (top / "lib" / "empty").mkdir(parents=True)
    (top / "serve").write_text("#!/bin/sh\n")
    (top / "serve").chmod(0o755)
    (top / "lib" / "page.html").write_text("shop")
    (top / "current").symlink_to("lib/page.html")
    pack(top, tmp_path / "shop.tar.gz")
    return tmp_path / "shop.tar.gz"


def look(top: Path) -> dict[str, tuple[int, float, str]]:
    """Name to mode, time and content of all that is below, links by their target."""
    found = {}
    for path in (top, *top.rglob("*")):
        known = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else ""
        found[str(path.relative_to(top))] = (known.st_mode, known.st_mtime, content)
    return found


@pytest.mark.parametrize("bytes_max", [1_000_000, 3], ids=["kept", "too large to keep"])
def test_each_host_gets_the_same_files_as_from_the_package_itself(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_max: int
) -> None:
    monkeypatch.setattr(unpacked, "KEPT_BYTES_MAX", bytes_max)
    unpack(package, tmp_path / "alone", read_only=True, released_at=RELEASED_AT)
    packages = Packages()
    for host in ("first", "second"):
        packages.unpack(package, tmp_path / host, RELEASED_AT)
        assert look(tmp_path / host) == look(tmp_path / "alone")


def test_a_host_that_spoils_its_files_spoils_no_other_ones(package: Path, tmp_path: Path) -> None:
    packages = Packages()
    packages.unpack(package, tmp_path / "first", RELEASED_AT)
    packages.unpack(package, tmp_path / "second", RELEASED_AT)
    page = tmp_path / "first" / "lib" / "page.html"
    page.chmod(0o644)
    page.write_text("spoilt")
    packages.unpack(package, tmp_path / "third", RELEASED_AT)
    for host in ("second", "third"):
        assert (tmp_path / host / "lib" / "page.html").read_text() == "shop"


def test_what_is_known_of_the_files_is_what_they_hold(package: Path, tmp_path: Path) -> None:
    top = tmp_path / "first"
    known = Packages().unpack(package, top, RELEASED_AT)
    contents.note(top, tmp_path / "known.json", known)
    contents.note(top, tmp_path / "read.json")
    assert (tmp_path / "known.json").read_text() == (tmp_path / "read.json").read_text()
    assert known["lib/page.html"] == hashlib.sha256(b"shop").hexdigest()


def test_another_file_in_the_place_of_the_package_is_read_anew(package: Path, tmp_path: Path) -> None:
    packages = Packages()
    packages.unpack(package, tmp_path / "first", RELEASED_AT)
    (tmp_path / "shop" / "lib" / "page.html").write_text("new")
    pack(tmp_path / "shop", tmp_path / "shop.tar.gz")
    packages.unpack(package, tmp_path / "second", RELEASED_AT)
    assert (tmp_path / "second" / "lib" / "page.html").read_text() == "new"


def test_only_the_last_few_packages_are_kept(package: Path, tmp_path: Path) -> None:
    packages = Packages()
    for number in range(unpacked.KEPT_PACKAGES_MAX + 2):
        copy = tmp_path / f"{number}.tar.gz"
        os.link(package, copy)
        packages.unpack(copy, tmp_path / f"host-{number}", RELEASED_AT)
    assert len(packages._kept) == unpacked.KEPT_PACKAGES_MAX


def test_a_damaged_package_leaves_nothing_and_is_read_again_once_it_is_good(
    package: Path, tmp_path: Path
) -> None:
    packages, whole = Packages(), package.read_bytes()
    package.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PackageFormatError):
        packages.unpack(package, tmp_path / "first", RELEASED_AT)
    assert not (tmp_path / "first").exists()
    package.write_bytes(whole)
    packages.unpack(package, tmp_path / "first", RELEASED_AT)
    assert (tmp_path / "first" / "lib" / "page.html").read_text() == "shop"
