"""Refuses headers of a tar archive that programs read differently.

The agent reads a package through, and a machine's own tar unpacks it: what one of them takes for a file's
name or content must be the same to the other, or a package could write anywhere on a machine.
"""

import re
import tarfile

from repave_protos.package.tree import refusal

USTAR = b"ustar\0"
_NUMBER = re.compile(rb"[ \0]*[0-7]+[ \0]*")
_SUM, _SIZE, _MAGIC, _PREFIX = slice(148, 156), slice(124, 136), slice(257, 263), slice(345, 500)
_TYPE = 156
_BINARY = 0x80
"""How a size begins that has no digits: too large for these."""
_EXTENDED = b"xXLK"
"""Headers that say more of the next member: PAX's, also as Solaris has it; GNU's long names and targets."""


class PlainHeaders(tarfile.TarInfo):
    """Members whose headers mean the same to everyone. One subclass for an archive: `of_archive`."""

    before: list[int]
    """Types of the extended headers that came since the last member."""

    @classmethod
    def of_archive(cls) -> type["PlainHeaders"]:
        return type("PlainHeaders", (cls,), {"before": []})

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "PlainHeaders":
        """Raises PackageFormatError, or as tarfile does."""
        found = super().frombuf(buf, encoding, errors)
        header = bytes(buf)
        if fault := cls._fault(header):
            fix = "pack it with repave image push FOLDER, or with tar --format=pax"
            raise refusal(found.name, f"has {fault}, which programs read differently", fix)
        return found

    @classmethod
    def _fault(cls, header: bytes) -> str:
        if _NUMBER.fullmatch(header[_SUM]) is None:
            return "an odd checksum"
        if header[124] != _BINARY and _NUMBER.fullmatch(header[_SIZE]) is None:
            return "an odd size"
        if header[_MAGIC] != USTAR and any(header[_PREFIX]):
            return "a header of no known format"
        return cls._fault_of_order(header[_TYPE])

    @classmethod
    def _fault_of_order(cls, kind: int) -> str:
        if kind == ord("g"):
            return "a common header behind one of its own" if cls.before else ""
        if kind not in _EXTENDED:
            cls.before.clear()
            return ""
        is_pax = [each in b"xX" for each in (*cls.before, kind)]
        cls.before.append(kind)
        is_said_twice = len(set(cls.before)) < len(cls.before) or (any(is_pax) and len(is_pax) > 1)
        return "its name or size twice" if is_said_twice else ""


def expect_plain(member: tarfile.TarInfo) -> None:
    """Raises PackageFormatError."""
    fix = "pack the folder again with repave image push FOLDER"
    for name, value in member.pax_headers.items():
        if name.startswith("GNU.") and not member.issparse():  # one that is sparse is refused as such
            raise refusal(member.name, f"has a header that GNU tar alone knows ({name})", fix)
        if name == "size" and re.fullmatch("[0-9]+", value) is None:
            raise refusal(member.name, "has an odd size, which programs read differently", fix)
    if member.size and (member.isdir() or member.issym() or member.islnk()):
        raise refusal(member.name, "has content though it is no file", fix)
