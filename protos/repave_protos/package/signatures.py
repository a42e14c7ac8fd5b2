"""Whether a package was signed with one of certain keys, in the format of minisign or of signify, its parent.

Both sign with Ed25519: the bytes themselves (`Ed`), or their BLAKE2b (`ED`, minisign only). What minisign
calls the trusted comment is signed too, and is checked where it is there. Says nothing of whose keys count.
"""

import base64
import binascii
import hashlib
import mmap
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TEXT_LENGTH_MAX = 4096
KEYS_MAX = 20

_COMMENT = "untrusted comment:"
_TRUSTED = "trusted comment: "
_PLAIN, _HASHED = b"Ed", b"ED"
_KEY_BYTES, _SIGNATURE_BYTES, _GLOBAL_BYTES = 42, 74, 64


class Fault(StrEnum):
    """What is wrong with a signature."""

    UNREADABLE = "unreadable"
    UNKNOWN_KEY = "unknown-key"
    WRONG = "wrong"


class SignatureError(Exception):
    """A key or a signature that can't count. The text is shown to people."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`line` is how minisign and signify print it; `name` is for people."""

    line: str
    name: str = field(default="", compare=False)

    @property
    def number(self) -> str:
        """As minisign shows it: of the pair, by which a signature names its key."""
        return _number(base64.b64decode(self.line)[2:10])

    def __str__(self) -> str:
        return f"{self.name} ({self.number})" if self.name else self.number


@dataclass(frozen=True, slots=True)
class Signature:
    """One that could be read; not yet whether it is right."""

    number: str
    is_hashed: bool
    signed: bytes
    trusted: str | None  # the comment; None: signify has none
    sealed: bytes  # signs `signed` and the comment


def public_key(text: str, name: str = "") -> PublicKey:
    """A key as a line, or as the content of a .pub file. Raises SignatureError."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith(_COMMENT)]
    try:
        raw = base64.b64decode(lines[0].strip(), validate=True) if len(lines) == 1 else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _KEY_BYTES or raw[:2] != _PLAIN:
        raise SignatureError(
            Fault.UNREADABLE,
            "is no public key of minisign or signify: a line of 56 characters that begins with RW",
        )
    return PublicKey(base64.b64encode(raw).decode(), name)


def read_signature(text: str) -> Signature:
    """Raises SignatureError."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(text) > TEXT_LENGTH_MAX or len(lines) not in (2, 4) or not lines[0].startswith(_COMMENT):
        raise _unreadable()
    raw = _decoded(lines[1], _SIGNATURE_BYTES)
    is_hashed = raw[:2] == _HASHED
    if raw[:2] not in (_PLAIN, _HASHED) or (is_hashed and len(lines) == 2):
        raise _unreadable()
    trusted, sealed = None, b""
    if len(lines) == 4:
        if not lines[2].startswith(_TRUSTED):
            raise _unreadable()
        trusted, sealed = lines[2].removeprefix(_TRUSTED), _decoded(lines[3], _GLOBAL_BYTES)
    return Signature(_number(raw[2:10]), is_hashed, raw[10:], trusted, sealed)


def key_of(signature: Signature, keys: Iterable[PublicKey]) -> PublicKey:
    """The one that it says it was made with. Raises SignatureError."""
    for key in keys:
        if key.number == signature.number:
            return key
    raise SignatureError(
        Fault.UNKNOWN_KEY, f"it was made with the key {signature.number}, which is not one that counts"
    )


def verify(package: Path, text: str, keys: Iterable[PublicKey]) -> PublicKey:
    """The key that the package was signed with. Reads all of it. Raises SignatureError, OSError."""
    signature = read_signature(text)
    key = key_of(signature, keys)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.line)[10:])
    try:
        _verify_content(public, signature, package)
    except InvalidSignature:
        raise SignatureError(
            Fault.WRONG, f"it was made with {key}, and of another package than this one"
        ) from None
    try:
        if signature.trusted is not None:
            public.verify(signature.sealed, signature.signed + signature.trusted.encode())
    except InvalidSignature:
        raise SignatureError(
            Fault.WRONG, f"it was made with {key}, and its trusted comment was changed since"
        ) from None
    return key


def _verify_content(public: Ed25519PublicKey, signature: Signature, package: Path) -> None:
    with package.open("rb") as file:
        if signature.is_hashed:
            hashed = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=64))
            public.verify(signature.signed, hashed.digest())
            return
        if not package.stat().st_size:  # can't be mapped
            public.verify(signature.signed, b"")
            return
        # Ed25519 reads what it signs twice: from the disk's cache, never as a copy.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as content:
            public.verify(signature.signed, content)


def _decoded(line: str, length: int) -> bytes:
    try:
        raw = base64.b64decode(line.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise _unreadable() from None
    if len(raw) != length:
        raise _unreadable()
    return raw


def _unreadable() -> SignatureError:
    return SignatureError(
        Fault.UNREADABLE,
        "it is no signature of minisign or signify, what minisign -S or signify -S writes, nor a bundle of "
        "sigstore",
    )


def _number(raw: bytes) -> str:
    """Little-endian, and without leading zeros, as minisign prints it."""
    return f"{int.from_bytes(raw, 'little'):X}"
