"""Packages: what is packed unpacks again, the same content has the same digest, nothing evil gets in."""

import gzip
import os
import socket
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_protos.package.archive import Limits, PackageFormatError, inspect, pack, sha256_of, unpack
from tests.fakes.packages import EVIL, member, plain, tarball


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "shop"
    (top / "static" / "empty").mkdir(parents=True)
    (top / "serve.py").write_text("print('hello')\n")
    (top / "serve.py").chmod(0o775)
    (top / "static" / "page.html").write_text("<p>shop</p>")
    (top / ".hidden").write_text("kept")
    (top / "static" / "link.py").symlink_to("../serve.py")
    (top / ".git").mkdir()
    (top / ".git" / "HEAD").write_text("ref")
    return top


def test_what_is_packed_is_unpacked_again(folder: Path, tmp_path: Path) -> None:
    digest = pack(folder, tmp_path / "shop.tar.gz")
    assert digest == sha256_of(tmp_path / "shop.tar.gz")
    contents = unpack(tmp_path / "shop.tar.gz", tmp_path / "out")
    assert contents == inspect(tmp_path / "shop.tar.gz")
    assert (contents.files, contents.unpacked_bytes) == (4, 30)
    assert (tmp_path / "out" / "static" / "link.py").read_text() == "print('hello')\n"
    assert (tmp_path / "out" / "static" / "empty").is_dir()
    assert stat.S_IMODE((tmp_path / "out" / "serve.py").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "out" / ".hidden").stat().st_mode) == 0o644
    assert not (tmp_path / "out" / ".git").exists()


def test_the_same_content_has_the_same_digest_whatever_its_times_owners_and_order(tmp_path: Path) -> None:
    digests: set[str] = set()
    for copy, names in (("one", ["b", "a", "a-b", "c"]), ("two", ["c", "a-b", "a", "b"])):
        (tmp_path / copy / "d").mkdir(parents=True)
        for name in names:
            file = tmp_path / copy / "d" / name
            file.write_text(name)
            file.chmod(0o600 if copy == "one" else 0o664)
            os.utime(file, (len(digests), len(digests)))
        digests.add(pack(tmp_path / copy, tmp_path / f"{copy}.tar.gz"))
    assert len(digests) == 1


def test_other_content_has_another_digest(folder: Path, tmp_path: Path) -> None:
    before = pack(folder, tmp_path / "shop.tar.gz")
    (folder / ".hidden").write_text("kepT")
    assert pack(folder, tmp_path / "shop.tar.gz") != before


NAMES = st.text("abcä .-", min_size=1, max_size=12).filter(lambda name: name not in (".", ".."))


@settings(max_examples=25, deadline=None)
@given(files=st.dictionaries(NAMES, st.binary(max_size=2000), min_size=1, max_size=8))
def test_any_folder_survives_packing(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    top = tmp_path_factory.mktemp("any")
    (top / "in").mkdir()
    for name, content in files.items():
        (top / "in" / name).write_bytes(content)
    pack(top / "in", top / "package.tar.gz")
    unpack(top / "package.tar.gz", top / "out")
    assert {path.name: path.read_bytes() for path in (top / "out").iterdir()} == files


def test_a_read_only_package_has_no_write_permission(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "shop.tar.gz")
    unpack(tmp_path / "shop.tar.gz", tmp_path / "out", read_only=True)
    paths = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert not [path for path in paths if not path.is_symlink() and path.stat().st_mode & 0o222]


def a_socket(top: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(top)  # names of sockets must be short
        try:
            listener.bind("odd")
        finally:
            os.chdir(here)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (a_socket, "'odd' is a socket"),
        (lambda top: os.mkfifo(top / "odd"), "'odd' is a named pipe"),
        (
            lambda top: (top / "odd").symlink_to("/etc/passwd"),
            "'odd' is a link out of the package, to the abs",
        ),
        (lambda top: (top / "odd").symlink_to("static/../../x"), "'odd' is a link out of the package"),
        (lambda top: (top / "odd").symlink_to("../other"), "'odd' is a link out of the package"),
        (lambda top: (top / "static" / "odd").symlink_to("../../x"), "'static/odd' is a link out of"),
        (lambda top: (top / "odd\n").write_text("x"), "control characters"),
    ],
)
def test_a_folder_that_cannot_be_a_package_is_refused_naming_the_member(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(folder)
    with pytest.raises(PackageFormatError, match=words):
        pack(folder, tmp_path / "shop.tar.gz")
    assert not list(tmp_path.glob("*shop.tar.gz*"))


def test_an_empty_a_missing_and_a_recursive_folder_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    with pytest.raises(PackageFormatError, match="holds no files"):
        pack(tmp_path / "empty", tmp_path / "x.tar.gz")
    with pytest.raises(PackageFormatError, match="is no folder"):
        pack(tmp_path / "missing", tmp_path / "x.tar.gz")
    with pytest.raises(PackageFormatError, match="inside the folder"):
        pack(folder, folder / "x.tar.gz")


@pytest.mark.parametrize("name", EVIL)
def test_an_evil_package_is_refused_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    members, words = EVIL[name]
    path = tarball(tmp_path / "evil.tar.gz", plain("first"), *members)
    if name == "no-files":
        path = tarball(tmp_path / "evil.tar.gz", *members)
    with pytest.raises(PackageFormatError, match=words):
        inspect(path)
    with pytest.raises(PackageFormatError, match=words):
        unpack(path, tmp_path / "out")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["evil.tar.gz"]


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    path = tarball(
        tmp_path / "good.tar.gz",
        (member(".", tarfile.DIRTYPE), b""),
        plain("lib/a.so.1", b"lib"),
        (member("lib/a.so", tarfile.SYMTYPE, link="a.so.1"), b""),
        (member("bin/tool", tarfile.SYMTYPE, link="../lib/a.so"), b""),
        (member("hard", tarfile.LNKTYPE, link="./lib/a.so.1"), b""),
    )
    assert unpack(path, tmp_path / "out").files == 4
    assert (tmp_path / "out" / "bin" / "tool").read_bytes() == b"lib"
    assert (tmp_path / "out" / "hard").stat().st_nlink == 2


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    path = tarball(tmp_path / "many.tar.gz", *(plain(f"f{index}") for index in range(11)))
    assert inspect(path, Limits(members=11)).files == 11
    with pytest.raises(PackageFormatError, match="more than 10 members"):
        inspect(path, Limits(members=10))


def test_a_bomb_is_stopped_at_the_limit_not_at_its_end(tmp_path: Path) -> None:
    path = tarball(tmp_path / "bomb.tar.gz", plain("zeros", bytes(20_000_000)))
    assert path.stat().st_size < 30_000
    with pytest.raises(PackageFormatError, match="unpacks to more than 1,000,000 bytes"):
        unpack(path, tmp_path / "out", Limits(unpacked_bytes=1_000_000))
    assert not (tmp_path / "out").exists()


def test_zeros_behind_the_end_count_against_the_limit(tmp_path: Path) -> None:
    path = tarball(tmp_path / "tail.tar.gz", plain("a"))
    path.write_bytes(path.read_bytes() + gzip.compress(bytes(5_000_000)))
    with pytest.raises(PackageFormatError, match="more than 1,000,000 bytes"):
        inspect(path, Limits(unpacked_bytes=1_000_000))


def test_a_huge_extended_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = member("x", tarfile.XHDTYPE)
    header.size = 900_000_000
    path = tmp_path / "header.tar.gz"
    path.write_bytes(gzip.compress(header.tobuf() + bytes(4096)))
    with pytest.raises(PackageFormatError, match="a header in the package has 900,000,"):
        inspect(path)


def test_a_sparse_file_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tar.gz"
    sparse = member("x")
    sparse.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "x",
        "GNU.sparse.size": str(2**40),
        "GNU.sparse.map": "0,0",
    }
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(sparse)
    with pytest.raises(PackageFormatError, match="'x' is neither file"):
        inspect(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_package_cut_short_is_refused(folder: Path, tmp_path: Path, kept: float) -> None:
    (folder / "random").write_bytes(os.urandom(300_000))
    pack(folder, tmp_path / "cut.tar.gz")
    whole = (tmp_path / "cut.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(PackageFormatError, match="cut short or damaged"):
        inspect(tmp_path / "cut.tar.gz")


def test_every_flipped_byte_is_noticed_or_harmless(folder: Path, tmp_path: Path) -> None:
    """A flip in gzip's own header (its time, its flags for people) may pass; nothing else may."""
    pack(folder, tmp_path / "flip.tar.gz")
    whole = (tmp_path / "flip.tar.gz").read_bytes()
    for position in range(10, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        (tmp_path / "flip.tar.gz").write_bytes(damaged)
        with pytest.raises(PackageFormatError):
            inspect(tmp_path / "flip.tar.gz")


def test_a_broken_header_in_the_middle_does_not_end_the_package_silently(tmp_path: Path) -> None:
    path = tarball(tmp_path / "a.tar.gz", plain("one"), plain("two"))
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[1024 + 10] ^= 0xFF  # within the second header: its checksum is wrong now
    path.write_bytes(gzip.compress(bytes(raw)))
    with pytest.raises(PackageFormatError, match="a member's header is broken"):
        inspect(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no readable tar archive .empty file"),
        (b"PK\x03\x04 zip", "is no gzip file"),
        (gzip.compress(b"not a tar at all" * 100), "no readable tar"),
        (gzip.compress(b""), "no readable tar|ends without|holds no files"),
        (gzip.compress(bytes(10240)), "holds no files"),
    ],
    ids=["nothing", "zip", "text", "nothing packed", "an empty archive"],
)
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "odd.tar.gz").write_bytes(content)
    with pytest.raises(PackageFormatError, match=words):
        inspect(tmp_path / "odd.tar.gz")


def test_unpacking_never_writes_into_a_folder_that_is_there(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "shop.tar.gz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(FileExistsError):
        unpack(tmp_path / "shop.tar.gz", tmp_path / "out")
    assert (tmp_path / "out" / "mine").read_text() == "kept"
