"""Signs what is sent to others, and checks what they send, as Standard Webhooks has it.

`webhook-signature: v1,BASE64` is the HMAC-SHA256 of `ID.SECONDS.BODY`; there may be several, of an old and a
new secret. The id and the time are signed, so that neither an old message nor a new id for it counts.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
PREFIX = "whsec_"
TOLERANCE_SECONDS = 300.0
SIGNATURES_MAX = 20
ID_LENGTH_MAX = 200


class NotSigned(Exception):
    """What came does not count. The text says why and holds no secret."""


def key_of(secret: str) -> bytes:
    """`whsec_` and base64; what has no such prefix is the key as it stands. Raises ValueError."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {PREFIX} is no base64") from None


def headers_for(secrets: Sequence[str], id: str, at: float, body: bytes) -> dict[str, str]:
    """What goes with a body: signed with each of the secrets. Raises ValueError."""
    seconds = str(int(at))
    signatures = [f"v1,{_signature(key_of(secret), id, seconds, body)}" for secret in secrets]
    return {ID: id, TIMESTAMP: seconds, SIGNATURE: " ".join(signatures)}


def check(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Its id. Raises NotSigned; ValueError for a secret that can't be one."""
    id, seconds = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not id or not seconds or SIGNATURE not in headers:
        raise NotSigned(f"{ID}, {TIMESTAMP} and {SIGNATURE} are needed")
    if len(id) > ID_LENGTH_MAX:
        raise NotSigned(f"{ID} is longer than {ID_LENGTH_MAX} characters")
    shown = headers[SIGNATURE].split()[:SIGNATURES_MAX]
    given = [each.partition(",")[2] for each in shown if each.startswith("v1,")]
    expected = [_signature(key_of(secret), id, seconds, body) for secret in secrets]
    matches = [is_same(one, other) for one in given for other in expected]
    if not any(matches):
        raise NotSigned(f"{SIGNATURE} has no signature of this body with this secret")
    if not (seconds.isascii() and seconds.isdecimal() and len(seconds) < 16):
        raise NotSigned(f"{TIMESTAMP} is no time")
    if abs(now - int(seconds)) > TOLERANCE_SECONDS:
        raise NotSigned(f"{TIMESTAMP} is more than {TOLERANCE_SECONDS:.0f} s away from now")
    return id


def is_same(one: str, other: str) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(one.encode(errors="replace"), other.encode(errors="replace"))


def _signature(key: bytes, id: str, seconds: str, body: bytes) -> str:
    signed = f"{id}.{seconds}.".encode(errors="surrogateescape") + body
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
