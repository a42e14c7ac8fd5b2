"""Whether the files of a host are still those that were unpacked for it.

What was unpacked is noted beside the package, in the host's own folder, before its command is started. A file
whose inode was not changed since (ctime, which can't be set) is taken as the same; any other one is read
again and compared by its SHA-256. Everything here blocks: provider.py calls it in threads.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

CHUNK_BYTES = 1 << 20
NAMED_MAX = 3
"""So many differences are named, the rest is counted."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file, folder or link of the package. `content`: SHA-256 of a file, target of a link."""

    mode: int  # with its kind
    size: int  # 0 for folders
    ctime_ns: int
    content: str = ""


def note(top: Path, target: Path, known: Mapping[str, str] = MappingProxyType({})) -> None:
    """Writes down what is below `top`, just unpacked. `known`: SHA-256 of the files that need not be read for
    it. Raises OSError."""
    members = {
        name: {
            "mode": member.mode,
            "size": member.size,
            "ctime_ns": member.ctime_ns,
            "content": known.get(name) or _content(top / name, member),
        }
        for name, member in _members(str(top))
    }
    target.write_text(json.dumps(members))


def difference(top: Path, noted: Path) -> str:
    """What is not as it was noted, in words; "" when all is, or when nothing was ever noted."""
    try:
        raw = json.loads(noted.read_text())
    except FileNotFoundError:
        return ""  # made by an agent that did not do it
    except ValueError:
        return f"{noted.name} was changed"
    known = {name: Member(**member) for name, member in raw.items()}
    found = list(_differences(top, known))
    rest = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    return ", ".join(found[:NAMED_MAX]) + rest


def _differences(top: Path, known: dict[str, Member]) -> Iterator[str]:
    present = dict(_members(str(top)))
    for name in sorted(known.keys() | present.keys()):
        before, now = known.get(name), present.get(name)
        if now is None:
            yield f"{name} was removed"
        elif before is None:
            yield f"{name} was added"
        elif before.ctime_ns != now.ctime_ns:
            how = _how_changed(top / name, before, now)
            if how:
                yield f"{name} {how}"


def _how_changed(path: Path, before: Member, now: Member) -> str:
    """ "" when only its times, or the number of its names, did."""
    if stat.S_IFMT(before.mode) != stat.S_IFMT(now.mode):
        return "is something else now"
    if before.size != now.size or before.content != _content(path, now):
        return "has other content"
    if before.mode != now.mode:
        return f"has mode {stat.S_IMODE(now.mode):o}, not {stat.S_IMODE(before.mode):o}"
    return ""


def _members(top: str, prefix: str = "") -> Iterator[tuple[str, Member]]:
    with os.scandir(f"{top}/{prefix}") as entries:
        for entry in entries:
            name, found = prefix + entry.name, entry.stat(follow_symlinks=False)
            is_folder = stat.S_ISDIR(found.st_mode)
            yield name, Member(found.st_mode, 0 if is_folder else found.st_size, found.st_ctime_ns)
            if is_folder:
                yield from _members(top, f"{name}/")


def _content(path: Path, member: Member) -> str:
    if stat.S_ISLNK(member.mode):
        return os.readlink(path)  # noqa: PTH115  # as it is, also where it is no path
    if not stat.S_ISREG(member.mode):
        return ""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
