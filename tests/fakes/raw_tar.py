"""Tar archives byte by byte, as no packer writes them."""

import gzip
from pathlib import Path

BLOCK = 512
USTAR, GNU, NONE = b"ustar\x0000", b"ustar  \0", bytes(8)


def block(
    name: str,
    size: int = 0,
    kind: bytes = b"0",
    link: str = "",
    magic: bytes = USTAR,
    prefix: bytes = b"",
    size_field: bytes = b"",
) -> bytes:
    """One header."""
    header = bytearray(BLOCK)
    fields = {
        0: name.encode(),
        100: b"0000644\0" + b"0000000\0" * 2,
        124: size_field or b"%011o\0" % size,
        136: b"14524040400\0" + b" " * 8 + kind + link.encode(),
        257: magic,
        345: prefix,
    }
    for place, value in fields.items():
        header[place : place + len(value)] = value
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def file(name: str, magic: bytes = USTAR, prefix: bytes = b"", content: bytes = b"x") -> bytes:
    return block(name, len(content), magic=magic, prefix=prefix) + padded(content)


def pax(*pairs: tuple[str, str], kind: bytes = b"x") -> bytes:
    """A header of PAX for what follows."""
    records = b"".join(_record(name, value) for name, value in pairs)
    return block("pax", len(records), kind) + padded(records)


def _record(name: str, value: str) -> bytes:
    body = f" {name}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length += 1
    return str(length).encode() + body


def long(text: str, kind: bytes = b"L") -> bytes:
    """GNU's header with the name, or the target (K), of what follows."""
    return block("././@LongLink", len(text) + 1, kind, magic=GNU) + padded(text.encode() + b"\0")


def with_sum(header: bytes, field: bytes) -> bytes:
    """With such a checksum, of the same value."""
    return header[:148] + field + header[156:]


def gzipped(path: Path, *parts: bytes) -> Path:
    path.write_bytes(gzip.compress(b"".join(parts) + bytes(2 * BLOCK)))
    return path


OUT = "../../../escaped"
"""From where either side unpacks to, into the folder of the test."""
HIDDEN = block("inner", BLOCK) + block(OUT)
"""To who skips one block, another file than to who does not."""
_ODD_SUM = block("good", 1024)
TWO_FACED: dict[str, tuple[bytes, str]] = {
    "a name of sparse files before the name": (
        pax(("GNU.sparse.name", OUT), ("path", "good")) + file("x"),
        r"GNU tar alone knows \(GNU\.sparse\.name\)",
    ),
    "a long name before one of PAX": (long("good") + pax(("path", OUT)) + file("x"), "name or size twice"),
    "a long name behind one of PAX": (pax(("path", OUT)) + long("good") + file("x"), "name or size twice"),
    "two of PAX": (pax(("path", "good")) + pax(("path", OUT)) + file("x"), "name or size twice"),
    "two long names": (long("good") + long(OUT) + file("x"), "name or size twice"),
    "a long target before one of PAX": (
        long("good", b"K") + pax(("linkpath", "/etc")) + block("l", kind=b"2", link="x") + file("good"),
        "name or size twice",
    ),
    "a common one behind": (
        pax(("path", "good")) + pax(("path", OUT), kind=b"g") + file("x"),
        "a common header behind one of its own",
    ),
    "a prefix without a format": (file(OUT, NONE, b"a/b/c/d"), "a header of no known format"),
    "a prefix in GNU's format": (file(OUT, GNU, b"a/b/c/d"), "a header of no known format"),
    "a size with a sign": (block("good", size_field=b"+0000002000\0") + HIDDEN, "an odd size"),
    "a size with a line": (block("good", size_field=b"000000_2000\0") + file(OUT), "an odd size"),
    "no size": (block("good", size_field=b" " * 12), "an odd size"),
    "a size of PAX with a sign": (pax(("size", "+1024")) + block("good") + file(OUT), "an odd size"),
    "a checksum with a line": (
        with_sum(_ODD_SUM, b"0_%05o\0" % (sum(_ODD_SUM[:148]) + 256 + sum(_ODD_SUM[156:]))) + file(OUT),
        "an odd checksum",
    ),
    "a link with content": (block("l", BLOCK, b"2", "good") + HIDDEN + file("good"), "though it is no file"),
    "a folder with content": (block("d/", BLOCK, b"5") + HIDDEN + file("good"), "though it is no file"),
    "a hard link with content": (
        file("good") + block("h", BLOCK, b"1", "good") + HIDDEN,
        "though it is no file",
    ),
}
"""Archives that are one thing to one program and another to another; with what is said against them."""
