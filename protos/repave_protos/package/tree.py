"""What may be in a package: rules on names, links, times and numbers, the same for packing and unpacking.

Pure: knows neither tar nor the disk. archive.py asks it about one member after the other.
"""

from typing import Literal, NamedTuple

MEMBERS_MAX = 200_000
UNPACKED_BYTES_MAX = 8 * 1024**3
NAME_BYTES_MAX = 1024
NAME_PART_BYTES_MAX = 255
LINKS_FOLLOWED_MAX = 40
"""After so many the kernel gives up as well."""
NO_TIME_BEFORE = 315_619_200
"""The second day of 1980: packers that want no times write earlier ones, and zip files can't hold those."""
NO_TIME_AFTER = 4_102_444_800
"""The year 2100, where the time of the release is not known."""

Kind = Literal["file", "folder", "link"]


class PackageFormatError(Exception):
    """The package, or the folder to pack, is not acceptable. The text is shown to people."""


class Limits(NamedTuple):
    """How large a package may be once unpacked. Bytes count tar's own headers too (512 for each member)."""

    members: int = MEMBERS_MAX
    unpacked_bytes: int = UNPACKED_BYTES_MAX


DEFAULT_LIMITS = Limits()


class Tree:
    """The names of a package so far. Nothing may leave the tree, and nothing may lie below a link."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.kinds: dict[str, Kind] = {}
        self.members = 0
        self.links: dict[str, str] = {}
        self.winding: list[str] = []

    def add(self, raw_name: str, kind: Kind) -> str:
        """Takes a member in; returns its clean relative name, "" for the top folder itself."""
        self.members += 1
        if self.members > self.limits.members:
            raise PackageFormatError(
                f"the package has more than {self.limits.members:,} members. "
                "Leave out what the application does not need, or put it into one archive inside the package."
            )
        name = _clean(raw_name)
        if name:
            self._claim_parents(name)
            self._claim(name, kind)
        return name

    def add_link(self, raw_name: str, target: str) -> str:
        """A symbolic link. Its target may wind, as `a/b/../c` does; `finish` sees where that leads.

        One with `..` only at its start is judged here: the link's own parents are real folders, so these
        are counted exactly, and what follows only goes down, through folders or links that stay inside.
        """
        name = self.add(raw_name, "link")
        if not name:
            raise refusal(raw_name, "is a link in place of the package's own folder", "pack the folder again")
        if not target or _has_control(target):
            problem = "has control characters or broken UTF-8 in its target" if target else "leads nowhere"
            raise refusal(name, f"is a link that {problem}", "make the link again")
        if target.startswith("/"):
            raise _link_out(name, f"the absolute path {target!r}")
        parts = _parts(target)
        ups = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
        if ups > name.count("/"):
            raise _link_out(name, repr(target))
        if ".." in parts[ups:]:
            self.winding.append(name)
        self.links[name] = target
        return name

    def finish(self) -> None:
        """All members are there: follows the links whose targets wind, as the kernel will."""
        for name in self.winding:
            if not self._stays_inside(name):
                raise _link_out(name, repr(self.links[name]))

    def _stays_inside(self, name: str) -> bool:
        """What is not there counts as a folder. A circle leads nowhere, and so not out."""
        above, _, _ = name.rpartition("/")
        here, ahead, followed = _parts(above), _parts(self.links[name])[::-1], 0
        while ahead and followed < LINKS_FOLLOWED_MAX:
            part = ahead.pop()
            if part != "..":
                here.append(part)
                target = self.links.get("/".join(here))
                if target is not None:
                    here.pop()
                    ahead += _parts(target)[::-1]
                    followed += 1
            elif here:
                here.pop()
            else:
                return False
        return True

    def add_hard_link(self, raw_name: str, target: str) -> tuple[str, str]:
        name = self.add(raw_name, "file")
        if target.startswith("/") or ".." in _parts(target):
            where = f"the absolute path {target!r}" if target.startswith("/") else repr(target)
            raise refusal(name, f"is a hard link out of the package, to {where}", "pack the file itself")
        source = _clean(target)
        if source == name or self.kinds.get(source) != "file":
            problem = f"is a hard link to {target!r}, which is no earlier file of the package"
            raise refusal(name, problem, "pack the file itself")
        return name, source

    def _claim_parents(self, name: str) -> None:
        parent = name.rpartition("/")[0]
        while parent and self.kinds.get(parent) != "folder":
            if parent in self.kinds:
                problem = f"lies below {parent!r}, which is a {self.kinds[parent]}"
                raise refusal(name, problem, "pack the folder again")
            self.kinds[parent] = "folder"
            parent = parent.rpartition("/")[0]

    def _claim(self, name: str, kind: Kind) -> None:
        if name in self.kinds and not kind == self.kinds[name] == "folder":  # a folder twice does no harm
            raise refusal(name, "is in the package twice", "pack the folder again")
        self.kinds[name] = kind


def _clean(raw_name: str) -> str:
    """`./a//b/` becomes `a/b`. Refuses what would leave the folder or cannot be a file's name."""
    if _has_control(raw_name):
        raise refusal(raw_name, "has control characters or broken UTF-8 in its name", "rename the file")
    parts = _parts(raw_name)
    if raw_name.startswith("/"):
        raise refusal(raw_name, "has an absolute path", "pack from inside the folder: tar -C FOLDER -czf X .")
    if ".." in parts:
        raise refusal(raw_name, "leaves the package by '..'", "pack from inside the folder")
    name = "/".join(parts)
    if len(name.encode()) > NAME_BYTES_MAX or any(len(part.encode()) > NAME_PART_BYTES_MAX for part in parts):
        limits = f"({NAME_PART_BYTES_MAX} bytes a part, {NAME_BYTES_MAX} in all)"
        raise refusal(raw_name[:80] + "...", f"has too long a name {limits}", "shorten it")
    return name


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _has_control(name: str) -> bool:
    return any(char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff" for char in name)


def time_of(modified_at: float, released_at: float) -> float | None:
    """When a file of the package was changed last, as every host of a release shows it: the packer's time, or
    that of the release where there is none, or one that can't be. None where neither is known."""
    released = int(released_at)
    if NO_TIME_BEFORE < modified_at <= (released or NO_TIME_AFTER):  # false for what is not a number
        return modified_at
    return released or None


def _link_out(name: str, where: str) -> PackageFormatError:
    return refusal(name, f"is a link out of the package, to {where}", "link to a file inside it")


def refusal(name: str, problem: str, fix: str) -> PackageFormatError:
    return PackageFormatError(f"package member {name!r} {problem}. To fix it: {fix}.")
