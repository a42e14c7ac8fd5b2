"""API tokens: what one looks like, what is kept of it, whether what was shown is it.

`rpv_<id>_<secret>`: the secret has 256 random bits, so that a plain SHA-256 of it is safe to keep.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass

from repave_controller.core.domain.instants import Instant
from repave_controller.security.principals import Grant

SHAPE = re.compile(r"rpv_([0-9a-f]{12})_([0-9a-f]{64})")
ID_BYTES = 6
PEOPLES = ("device", "browser", "web")
"""How people log in with the issuer."""
SESSION = "web"
"""Such a token is a browser's session: it counts as a cookie alone."""
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token. `name`: whose it is, a person's or a machine's."""

    id: str
    name: str
    secret_hash: str
    created_at: Instant
    expires_at: Instant
    by: str
    note: str = ""
    scopes: tuple[Grant, ...] = ()
    revoked_at: Instant | None = None
    revoked_by: str = ""
    used_at: Instant | None = None
    used_from: str = ""
    method: str = ""  # of the log-in that it came of: job, device, browser or web

    def state(self, now: Instant) -> str:
        """active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if now < self.expires_at else "expired"

    @property
    def ended_at(self) -> Instant:
        return self.expires_at if self.revoked_at is None else min(self.revoked_at, self.expires_at)

    def is_opened_by(self, secret: str) -> bool:
        return hmac.compare_digest(self.secret_hash, hash_of(secret))


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def text_of_token(identity: str, secret: str) -> str:
    """What its owner is given, once."""
    return f"rpv_{identity}_{secret}"


def parts_of_token(text: str) -> tuple[str, str] | None:
    """Id and secret; None where it is no token at all."""
    found = SHAPE.fullmatch(text)
    return (found[1], found[2]) if found is not None else None
