"""Which jobs of a CI may log in, by the token that their CI signs for them: as whom, and by which claims."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from repave_controller.core.domain.instants import Instant
from repave_controller.security.claims import audiences_of

AUDIENCE = "repave"
TRUSTS_MAX = 500
IDENTIFYING = (
    "sub",
    "repository",
    "repository_id",
    "project_path",
    "project_id",
    "oidc.circleci.com/project-id",
)
"""One of these must be asked for: the issuers of clouds sign for everyone's jobs."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Jobs whose token is of this issuer, for this audience, and has all these claims are called `name`."""

    id: str
    name: str
    issuer: str
    claims: tuple[tuple[str, str], ...]
    audience: str
    seconds: float  # how long the token that they get is valid
    by: str
    created_at: Instant


def match(trusts: Sequence[Trust], claims: Mapping[str, Any]) -> Trust | None:
    """The first trust that the token fits: by equal values, no patterns."""
    return next((each for each in trusts if _fits(each, claims)), None)


def _fits(trust: Trust, claims: Mapping[str, Any]) -> bool:
    return (
        claims.get("iss") == trust.issuer
        and trust.audience in audiences_of(claims)
        and all(_text(claims.get(name)) == value for name, value in trust.claims)
    )


def _text(value: object) -> str | None:
    """Numbers and flags as a person writes them; what has parts fits nothing."""
    match value:
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case _:
            return None
