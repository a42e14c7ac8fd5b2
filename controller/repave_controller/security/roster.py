"""Which agents may speak, and which machines may become one: join tokens and members, as values.

A token is bound to a region, is used once, and is kept as a hash. A member is one agent that joined, through
all of its renewals. One that is not known is not refused: a store that was restored has not seen it join.
"""

from dataclasses import dataclass, replace
from typing import Final

from repave_controller.core.domain.reasons import Refusal, Refused, cli
from repave_protos.protocol.certificates import AgentIdentity
from repave_protos.protocol.values import RegionName

TOKEN_SECONDS: Final = 3600.0
SPENT_SECONDS: Final = 86_400.0
"""So long a token that was used or expired is kept, to tell why it is refused."""
ENDED_SECONDS: Final = 30 * 86_400.0
"""So long an agent whose certificate has ended is listed."""
TOKENS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What is kept of a join token. `id` is the hash of its secret."""

    id: str
    region: str
    by: str
    made_at: float
    expires_at: float
    used_at: float | None = None
    used_from: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    """One agent, with the newest certificate that it was given."""

    region: str
    agent: str
    serial: str
    issued_at: float
    expires_at: float
    joined_at: float
    joined_from: str = ""
    revoked_at: float | None = None
    revoked_by: str = ""

    @property
    def name(self) -> str:
        return f"{self.region}/{self.agent}"

    def state(self, now: float) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if now >= self.expires_at else "valid"


def use(token: JoinToken | None, now: float, address: str) -> JoinToken:
    """The token, used up. Raises Refused: there is none, or it was used or has expired."""
    if token is None:
        raise Refused(Refusal.JOIN_TOKEN_UNKNOWN, cli("agents join", "REGION"))
    again = cli("agents join", token.region)
    if token.used_at is not None:
        raise Refused(
            Refusal.JOIN_TOKEN_USED,
            again,
            cli("agents revoke", token.region),
            region=token.region,
            address=token.used_from,
            ago=round(now - token.used_at),
        )
    if now >= token.expires_at:
        raise Refused(
            Refusal.JOIN_TOKEN_EXPIRED, again, region=token.region, ago=round(now - token.expires_at)
        )
    return replace(token, used_at=now, used_from=address)


def is_over(token: JoinToken, now: float) -> bool:
    """Whether it need not be kept any more."""
    return now >= (token.used_at if token.used_at is not None else token.expires_at) + SPENT_SECONDS


def has_ended(member: Member, now: float) -> bool:
    """A revoked one is kept until no certificate of it could be valid."""
    return now >= member.expires_at + ENDED_SECONDS


def joined(identity: AgentIdentity, now: float, address: str) -> Member:
    return Member(
        identity.region,
        identity.agent,
        identity.serial,
        identity.issued_at,
        identity.expires_at,
        now,
        address,
    )


def renewed(member: Member | None, identity: AgentIdentity, now: float) -> Member:
    """The same agent with its new certificate; one that is not known is taken up."""
    before = member if member is not None else joined(identity, now, "")
    return replace(
        before, serial=identity.serial, issued_at=identity.issued_at, expires_at=identity.expires_at
    )


def revoked(member: Member, now: float, by: str) -> Member:
    return member if member.revoked_at is not None else replace(member, revoked_at=now, revoked_by=by)


def check_region(region: str) -> RegionName:
    """Raises Refused."""
    if not is_region(region):
        raise Refused(Refusal.REGION_NAME, region=region)
    return RegionName(region)


def is_region(name: str) -> bool:
    """As agents may be called: eu-1."""
    words = name.split("-")
    return len(name) <= 48 and all(
        word.isascii() and word.isalnum() and word == word.lower() for word in words
    )
