"""Who an issuer says a person is: whether its ID token counts here, what the person is called, in which teams
it makes them. Pure.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from repave_controller.core.domain.instants import Instant
from repave_controller.security.claims import Claims, audiences_of, fault_of_times
from repave_controller.security.principals import NAME, PERSON

TOKEN = "the issuer's token"  # noqa: S105  # words
SUBJECT_LENGTH_MAX = 255
GROUPS_MAX = 2000
EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Rules:
    """How people are called, and who of them may log in. `teams`: a team for each group that counts."""

    name_claim: str = EMAIL
    groups_claim: str = "groups"
    domains: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    teams: Mapping[str, str] = field(default_factory=dict)
    admins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """As at the last log-in. The issuer's name for an account (`subject`) is never given to another one."""

    name: str
    issuer: str
    subject: str
    teams: tuple[str, ...] = ()
    is_admin: bool = False
    at: Instant = Instant(0.0)


class NotAllowed(Exception):
    """The person may not log in here. The text is for the person."""


def fault_of(claims: Claims, client: str, nonce: str, access_token: str, now: Instant) -> str:
    """Why an ID token whose signature is good does not count (OpenID Connect Core, 3.1.3.7); "" if it does.
    `nonce`: "" where none was sent."""
    audiences, party = audiences_of(claims), claims.get("azp")
    subject, proof = claims.get("sub"), claims.get("at_hash")
    if client not in audiences:
        return f"{TOKEN} is for another audience"
    if party != client and (party is not None or len(audiences) > 1):
        return f"{TOKEN} was issued to another client"
    if "iat" not in claims:
        return f"{TOKEN} does not say when it was issued"
    if nonce and not _is_same(claims.get("nonce"), nonce):
        return f"{TOKEN} is of another log-in: its nonce differs"
    if proof is not None and not _is_same(proof, _half_hash(access_token)):
        return f"{TOKEN} does not belong to the access token: its at_hash differs"
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_LENGTH_MAX:
        return f"{TOKEN} names no subject"
    return fault_of_times(claims, now, TOKEN)


def person_of(claims: Claims, rules: Rules, now: Instant) -> Person:
    """Raises NotAllowed."""
    groups = _groups_of(claims, rules.groups_claim)
    _check_domain(claims, rules.domains)
    if rules.groups and not groups & set(rules.groups):
        raise NotAllowed(f"log-ins are for some groups, and you are in none of them; {_overage(claims)}")
    teams = {team for group, team in rules.teams.items() if group in groups}
    return Person(
        PERSON + _name_of(claims, rules.name_claim),
        str(claims["iss"]),
        str(claims["sub"]),
        tuple(sorted(teams)),
        bool(groups & set(rules.admins)),
        now,
    )


def _name_of(claims: Claims, claim: str) -> str:
    name = claims.get(claim)
    if not isinstance(name, str) or not name:
        raise NotAllowed(f"the issuer gives no {claim}: add its scope to oidc.scopes, or set oidc.name_claim")
    if NAME.fullmatch(name) is None:
        raise NotAllowed(f"{claim} is no name of letters, digits and . _ @ + -: set oidc.name_claim")
    if claim == EMAIL and not _is_verified(claims):
        raise NotAllowed("the issuer has not verified your email: verify it there, or set oidc.name_claim")
    return name


def _check_domain(claims: Claims, domains: tuple[str, ...]) -> None:
    email = claims.get(EMAIL)
    domain = email.rpartition("@")[2].lower() if isinstance(email, str) and _is_verified(claims) else ""
    if domains and domain not in domains:
        raise NotAllowed(f"log-ins are for verified emails of {', '.join(domains)}")


def _is_verified(claims: Claims) -> bool:
    return claims.get("email_verified") in (True, "true")


def _groups_of(claims: Claims, claim: str) -> set[str]:
    found = claims.get(claim)
    listed = found if isinstance(found, list) else [found]
    return {each for each in listed[:GROUPS_MAX] if isinstance(each, str)}


def _overage(claims: Claims) -> str:
    """Entra names no groups of one who is in more than 200."""
    if "_claim_names" in claims:
        return "the issuer left your groups out, since they are many: have it name assigned groups only"
    return "an admin of the issuer adds you"


def _half_hash(text: str) -> str:
    half = hashlib.sha256(text.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).rstrip(b"=").decode()


def _is_same(found: object, wanted: str) -> bool:
    return isinstance(found, str) and hmac.compare_digest(found.encode(), wanted.encode())
