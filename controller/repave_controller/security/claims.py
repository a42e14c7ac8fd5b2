"""What signed tokens say, read with care: times, and who they are for. Pure."""

from collections.abc import Mapping
from typing import Any

from repave_controller.core.domain.instants import Instant

LEEWAY_SECONDS = 60.0
"""So much may the issuer's clock differ."""

Claims = Mapping[str, Any]


def fault_of_times(claims: Claims, now: Instant, what: str) -> str:
    """Why a token whose signature is good does not count now; "" if it does. `what` names the token."""
    expires, begins = _seconds(claims.get("exp")), _seconds(claims.get("nbf", claims.get("iat", 0)))
    if expires is None or begins is None:
        return f"{what} does not say from when until when it is valid"
    if now >= expires + LEEWAY_SECONDS:
        return f"{what} has expired"
    if now < begins - LEEWAY_SECONDS:
        return f"{what} is not valid yet; is a clock wrong?"
    return ""


def audiences_of(claims: Claims) -> list[object]:
    audience = claims.get("aud")
    return audience if isinstance(audience, list) else [audience]


def _seconds(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and isinstance(value, int | float) and abs(value) < 1e12 else None
