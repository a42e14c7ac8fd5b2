"""Keys that sign as minisign and signify do."""

import base64
import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True)
class Signer:
    """`number` names the pair."""

    number: bytes = b"\x01\x02\x03\x04\x05\x06\x07\x08"
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def line(self) -> str:
        return _text(b"Ed" + self.number + self.key.public_key().public_bytes_raw())

    def minisign(self, content: bytes, comment: str = "made in a test", *, is_hashed: bool = True) -> str:
        hashed = hashlib.blake2b(content, digest_size=64).digest()
        signed = self.key.sign(hashed if is_hashed else content)
        sealed = self.key.sign(signed + comment.encode())
        first = _text((b"ED" if is_hashed else b"Ed") + self.number + signed)
        return f"untrusted comment: a test\n{first}\ntrusted comment: {comment}\n{_text(sealed)}\n"

    def signify(self, content: bytes) -> str:
        return f"untrusted comment: a test\n{_text(b'Ed' + self.number + self.key.sign(content))}\n"


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
