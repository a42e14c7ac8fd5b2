"""What may be in a package: rules on names, links and numbers, the same for packing and unpacking.

Pure: knows neither tar nor the disk. archive.py asks it about one member after the other.
"""

from dataclasses import dataclass, field
from typing import Literal

MEMBERS_MAX = 100_000
UNPACKED_BYTES_MAX = 8 * 1024**3
NAME_BYTES_MAX = 1024
NAME_PART_BYTES_MAX = 255

Kind = Literal["file", "folder", "link"]


class PackageFormatError(Exception):
    """The package, or the folder to pack, is not acceptable. The text is shown to people."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a package may be once unpacked. Bytes count tar's own headers too (512 for each member)."""

    members: int = MEMBERS_MAX
    unpacked_bytes: int = UNPACKED_BYTES_MAX


DEFAULT_LIMITS = Limits()


@dataclass(slots=True)
class Tree:
    """The names of a package so far. Nothing may leave the tree, and nothing may lie below a link."""

    limits: Limits
    kinds: dict[str, Kind] = field(default_factory=dict)
    members: int = 0

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
        """A symbolic link. `..` may only stand at the start of its target.

        Then it cannot leave the tree: the link's own parents are real folders, so the leading `..` are
        counted exactly, and what follows only goes down, through folders or links judged by this same rule.
        """
        name = self.add(raw_name, "link")
        parts = [part for part in target.split("/") if part not in ("", ".")]
        ups = sum(part == ".." for part in parts)
        if target.startswith("/") or ups > name.count("/"):
            raise refusal(name, f"is a link out of the package, to {target!r}", "link to a file inside it")
        if ".." in parts[ups:] or _has_control(target) or not name:
            raise refusal(name, f"is a link to {target!r}", "put any '..' only at the start of a link")
        return name

    def add_hard_link(self, raw_name: str, target: str) -> tuple[str, str]:
        name, source = self.add(raw_name, "file"), _clean(target)
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
    parts = [part for part in raw_name.split("/") if part not in ("", ".")]
    if raw_name.startswith("/"):
        raise refusal(raw_name, "has an absolute path", "pack from inside the folder: tar -C FOLDER -czf X .")
    if ".." in parts:
        raise refusal(raw_name, "leaves the package by '..'", "pack from inside the folder")
    name = "/".join(parts)
    if len(name.encode()) > NAME_BYTES_MAX or any(len(part.encode()) > NAME_PART_BYTES_MAX for part in parts):
        limits = f"({NAME_PART_BYTES_MAX} bytes a part, {NAME_BYTES_MAX} in all)"
        raise refusal(raw_name[:80] + "...", f"has too long a name {limits}", "shorten it")
    return name


def _has_control(name: str) -> bool:
    return any(char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff" for char in name)


def refusal(name: str, problem: str, fix: str) -> PackageFormatError:
    return PackageFormatError(f"package member {name!r} {problem}. To fix it: {fix}.")
