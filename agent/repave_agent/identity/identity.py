"""Who this agent is since it joined: its key, its certificate, where its controller is. In one file.

Key and certificate are replaced together, so that they belong together whenever the machine stops.
"""

import json
import urllib.parse
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from repave_protos.daemon.files import make_directory, replace
from repave_protos.protocol.certificates import (
    AgentIdentity,
    CertificateError,
    certificates_in,
    identity_of,
)
from repave_protos.protocol.channel import Shown, join, split_address

FILE = "identity.json"
RENEW_FROM, RENEW_UNTIL = 0.45, 0.55
"""Of a certificate's life: agents that joined together do not renew together."""
URGENT = 0.25
"""With less than that left people are told that it was not renewed."""


class IdentityError(OSError):
    """This agent can't join, or can't show who it is. The text is for people."""


@dataclass(frozen=True, slots=True)
class Identity:
    """As it is kept. All but the addresses is PEM. `others`: the URLs of controllers beside the one that it
    joined at, which share a store and an authority with that."""

    url: str
    grpc: str
    key: str
    certificate: str
    authorities: str
    others: tuple[str, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        """Where to renew and fetch."""
        return (self.url, *self.others)

    @property
    def grpcs(self) -> tuple[str, ...]:
        """Where to dial in: at every controller on the same port."""
        _, port = split_address(self.grpc, "grpc")
        return (self.grpc, *(join(_host(url), port) for url in self.others))

    def url_beside(self, grpc: str) -> str:
        """Of the controller that is dialled there."""
        host = split_address(grpc, "grpc")[0]
        return next((url for url in self.urls if _host(url) == host), self.url)

    @property
    def shown(self) -> Shown:
        return Shown(self.key, self.certificate, self.authorities)

    @property
    def says(self) -> AgentIdentity:
        """Raises IdentityError."""
        try:
            return identity_of(certificates_in(self.certificate)[0])
        except CertificateError as error:
            raise IdentityError(f"this agent's certificate can't be used: {error}") from error


def read(state: Path) -> Identity | None:
    """None: it has not joined. Raises IdentityError."""
    file = state / FILE
    try:
        kept = json.loads(file.read_text())
        identity = Identity(**{**kept, "others": tuple(kept.get("others", ()))})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise IdentityError(f"{file} can't be read: {error}; let this agent join again") from error
    check(identity)
    return identity


def write(state: Path, identity: Identity) -> None:
    """Durably. Raises OSError."""
    make_directory(state)
    kept = {name: value for name, value in asdict(identity).items() if value}  # older agents know no others
    replace(state / FILE, json.dumps(kept).encode())


def check(identity: Identity) -> None:
    """Raises IdentityError unless its parts belong together."""
    says = identity.says
    try:
        key = serialization.load_pem_private_key(identity.key.encode(), None)
        certificate = certificates_in(identity.certificate)[0]
        certificates_in(identity.authorities)
    except (ValueError, TypeError) as error:
        raise IdentityError(f"the key or the authorities of {says.region}'s agent can't be read") from error
    if key.public_key() != certificate.public_key():
        raise IdentityError(f"the key of {says.region}'s agent is not that of its certificate")


def renew_at(says: AgentIdentity, chance: float) -> float:
    """When to ask for the next certificate: about the middle of this one's life."""
    life = says.expires_at - says.issued_at
    return says.issued_at + life * (RENEW_FROM + (RENEW_UNTIL - RENEW_FROM) * chance)


def objection(says: AgentIdentity, now: float) -> str:
    """Why it can't be shown any more, or ""."""
    if now < says.expires_at:
        return ""
    return (
        f"this agent's certificate expired {_span(now - says.expires_at)} ago; the region serves on, and "
        f"nothing new can be released to it: let it join again (repave agents join {says.region})"
    )


def warning(says: AgentIdentity, now: float, why: str) -> str:
    """What people are told of a renewal that failed, or ""."""
    left = says.expires_at - now
    if left > URGENT * (says.expires_at - says.issued_at) or left <= 0:
        return ""
    return f"this agent's certificate ends in {_span(left)} and could not be renewed: {why}"


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or ""


def _span(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.0f} h" if hours >= 2 else f"{max(1, round(seconds / 60))} min"
