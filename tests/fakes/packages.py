"""Packages made member by member: those to be refused, and those that must come out alike everywhere."""

import io
import tarfile
from pathlib import Path

Members = list[tuple[tarfile.TarInfo, bytes]]


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, len(content)
    return made


def tarball(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for one, content in members:
            archive.addfile(one, io.BytesIO(content))
    return path


def plain(name: str, content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return member(name, content=content), content


EVIL: dict[str, tuple[list[tuple[tarfile.TarInfo, bytes]], str]] = {
    "absolute": ([plain("/etc/cron.d/x")], "absolute path"),
    "dot-dot": ([plain("a/../../x")], r"leaves the package by '\.\.'"),
    "control": ([plain("a\x1b[2Jb")], "control characters"),
    "broken-utf-8": ([plain("a\udcff")], "broken UTF-8"),
    "twice": ([plain("a"), plain("./a")], "'a' is in the package twice"),
    "file-as-folder": ([plain("a"), plain("a/b")], "'a/b' lies below 'a', which is a file"),
    "folder-as-file": ([plain("a/b"), plain("a")], "'a' is in the package twice"),
    "below-a-link": (
        [plain("real/x"), (member("a", tarfile.SYMTYPE, link="real"), b""), plain("a/b")],
        "'a/b' lies below 'a', which is a link",
    ),
    "link-absolute": (
        [(member("a", tarfile.SYMTYPE, link="/etc"), b"")],
        "'a' is a link out of the package, to the absolute path '/etc'",
    ),
    "link-up": ([(member("d/a", tarfile.SYMTYPE, link="../../x"), b"")], "link out of the package"),
    "link-through-link": (
        [
            (member("p/q/up", tarfile.SYMTYPE, link="../.."), b""),
            (member("p/q/out", tarfile.SYMTYPE, link="up/../x"), b""),
        ],
        "'p/q/out' is a link out of the package, to 'up/../x'",
    ),
    "link-through-a-later-link": (
        [
            (member("p/q/out", tarfile.SYMTYPE, link="up/../x"), b""),
            (member("p/q/up", tarfile.SYMTYPE, link="../.."), b""),
        ],
        "'p/q/out' is a link out of the package, to 'up/../x'",
    ),
    "link-through-two-links": (
        [
            (member("d/e/here", tarfile.SYMTYPE, link="."), b""),
            (member("d/e/out", tarfile.SYMTYPE, link="here/../../here/../x"), b""),
            (member("here", tarfile.SYMTYPE, link="d/.."), b""),
        ],
        "'d/e/out' is a link out of the package",
    ),
    "link-down-and-up": (
        [(member("d/a", tarfile.SYMTYPE, link="b/../../../x"), b"")],
        "link out of the package",
    ),
    "link-to-nothing": ([(member("a", tarfile.SYMTYPE), b"")], "'a' is a link that leads nowhere"),
    "link-control": (
        [(member("a", tarfile.SYMTYPE, link="b\x1b[2J"), b"")],
        "'a' is a link that has control characters",
    ),
    "link-as-top": ([(member(".", tarfile.SYMTYPE, link="d"), b"")], "in place of the package's own folder"),
    "hard-link-out": (
        [(member("a", tarfile.LNKTYPE, link="/etc/passwd"), b"")],
        "'a' is a hard link out of the package, to the absolute path '/etc/passwd'",
    ),
    "hard-link-up": (
        [(member("d/a", tarfile.LNKTYPE, link="../x"), b"")],
        "'d/a' is a hard link out of the package, to '../x'",
    ),
    "hard-link-to-link": (
        [(member("l", tarfile.SYMTYPE, link="x"), b""), (member("a", tarfile.LNKTYPE, link="l"), b"")],
        "hard link to 'l', which is no earlier file",
    ),
    "device": ([(member("null", tarfile.CHRTYPE), b"")], "'null' is a device"),
    "pipe": ([(member("pipe", tarfile.FIFOTYPE), b"")], "'pipe' is a named pipe"),
    "long-name": ([plain("n" * 300)], "too long a name"),
    "no-files": ([(member("d", tarfile.DIRTYPE), b"")], "holds no files"),
}


# ---------------------------------------------------------------------------------------- what is unpacked

RELEASED = 1_790_000_000
PACKED, FUTURE = 1_700_000_000, RELEASED + 1
Unpacked = dict[str, tuple[str, int, float, str]]
"""Name to kind, mode, time, and content or target."""


def made(
    name: str, mode: int = 0o644, mtime: float = PACKED, kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """A file that holds its own name, or something else."""
    content = name.encode() if kind == tarfile.REGTYPE else b""
    one = member(name, kind, content, link)
    one.mode, one.mtime = mode, mtime
    if mtime != int(mtime):
        one.pax_headers = {"mtime": str(mtime)}
    return one, content


def folder(name: str, mode: int = 0o755, mtime: float = PACKED) -> tuple[tarfile.TarInfo, bytes]:
    return made(name, mode, mtime, tarfile.DIRTYPE)


def link(name: str, target: str, mtime: float = PACKED) -> tuple[tarfile.TarInfo, bytes]:
    return made(name, 0o777, mtime, tarfile.SYMTYPE, target)


def _file(name: str, mode: int = 0o444, mtime: float = PACKED) -> tuple[str, int, float, str]:
    return ("file", mode, mtime, name)


def _mode_rows() -> dict[str, tuple[Members, Unpacked]]:
    executable = (0o755, 0o700, 0o4755, 0o2711, 0o1777, 0o100)
    plain_ones = (0o644, 0o600, 0o654, 0o6644, 0o000, 0o011)
    kept = dict.fromkeys(executable, 0o555) | dict.fromkeys(plain_ones, 0o444)
    rows: dict[str, tuple[Members, Unpacked]] = {
        f"mode {mode:o}": ([made("f", mode)], {"f": _file("f", found)}) for mode, found in kept.items()
    }
    for mode in (0o755, 0o2775, 0o1777, 0o700, 0o000):
        rows[f"folder {mode:o}"] = (
            [folder("d", mode), made("d/f")],
            {"d": ("folder", 0o555, PACKED, ""), "d/f": _file("d/f")},
        )
    return rows


def _time_rows() -> dict[str, tuple[Members, Unpacked]]:
    shown = {
        0: RELEASED,
        1: RELEASED,
        -5: RELEASED,
        315_619_200: RELEASED,  # the last moment that counts as none
        499_162_500: 499_162_500,  # what npm packs
        PACKED: PACKED,
        PACKED + 0.5: PACKED + 0.5,
        RELEASED: RELEASED,
        FUTURE: RELEASED,
        2**40: RELEASED,
    }
    return {
        f"time {packed}": (
            [folder("d", mtime=packed), made("d/f", mtime=packed), link("d/l", "f", packed)],
            {
                "d": ("folder", 0o555, time, ""),
                "d/f": _file("d/f", mtime=time),
                "d/l": ("link", 0o777, time, "f"),
            },
        )
        for packed, time in shown.items()
    }


def _of_links(*pairs: tuple[str, str]) -> tuple[Members, Unpacked]:
    tree: Unpacked = {name: ("link", 0o777, PACKED, target) for name, target in pairs}
    tree |= dict.fromkeys(("a", "a/b"), ("folder", 365, PACKED, ""))
    members = [folder("a"), folder("a/b"), made("a/c"), *(link(*pair) for pair in pairs)]
    return members, tree | {"a/c": _file("a/c")}


def _of_names(*names: str) -> tuple[Members, Unpacked]:
    return [made(name) for name in names], {name: _file(name) for name in names}


GOOD: dict[str, tuple[Members, Unpacked]] = {
    **_mode_rows(),
    **_time_rows(),
    "implied folder": ([made("d/f")], {"d": ("folder", 0o555, RELEASED, ""), "d/f": _file("d/f")}),
    "folder said late": (
        [made("d/f"), folder("d", 0o700)],
        {"d": ("folder", 0o555, PACKED, ""), "d/f": _file("d/f")},
    ),
    "link that winds": _of_links(("l", "a/b/../c")),
    "link up and down": _of_links(("a/b/l", "../../a/b/../c")),
    "link through a link": _of_links(("a/l", "b"), ("m", "a/l/../c")),
    "link through what is not there": _of_links(("l", "none/../a/c")),
    "links in a circle": _of_links(("l", "m/../a"), ("m", "l")),
    "link to itself": _of_links(("l", "l")),
    "link with slashes": _of_links(("l", ".//a/./c")),
    "hard link": (
        [made("f", 0o4755), made("h", mtime=0, kind=tarfile.LNKTYPE, link="./f")],
        {"f": _file("f", 0o555), "h": _file("f", 0o555)},
    ),
    "odd names": _of_names("-rf", "a b", "a=b", "*", "it's", "back\\slash", "\u00e4", "$(id)", " ", "--"),
}
