"""Verifies tokens that issuers of OpenID Connect have signed, of jobs and people, with the keys that they
publish."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import jwt

from repave_controller.security.outbound import HttpOutbound, IssuerError, Json, Outbound, is_safe

ALGORITHMS = ("RS256", "ES256")
"""No others, whatever a token says of itself."""
TOKEN_LENGTH_MAX = 16 * 1024
KEYS_SECONDS = 3600.0
REFRESH_SECONDS = 60.0
"""Keys are asked for again at most so often, though tokens name unknown ones."""
RETRY_SECONDS = 5.0
"""So often after a failure."""
KEYS_MAX = 50


class BadToken(Exception):
    """The token is none of that issuer. The text is for who showed it."""


@dataclass(slots=True)
class _Known:
    described: Json = field(default_factory=dict)
    keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    fetched_at: float = float("-inf")
    tried_at: float = float("-inf")
    failure: str = ""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Issuers:
    """One for a controller. Only issuers that an admin trusts are ever asked."""

    def __init__(self, clock: Callable[[], float], outbound: Outbound | None = None) -> None:
        self._clock = clock
        self._outbound = outbound if outbound is not None else HttpOutbound()
        self._known: dict[str, _Known] = {}

    async def described(self, issuer: str) -> Json:
        """How the issuer describes itself: its endpoints. Raises IssuerError."""
        return (await self._fresh(issuer)).described

    async def verified(self, token: str, trusted: Collection[str]) -> Json:
        """The claims, once the signature is good; their times are not looked at. Raises BadToken,
        IssuerError."""
        if len(token) > TOKEN_LENGTH_MAX:
            raise BadToken("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, RecursionError, ValueError) as error:
            raise BadToken("this is no token that an issuer has signed") from error
        if header.get("alg") not in ALGORITHMS or not isinstance(issuer, str) or issuer not in trusted:
            raise BadToken("no trust is for this token's issuer, or its algorithm is none that counts")
        key = await self._key(issuer, str(header.get("kid", "")))
        try:
            claims: Json = jwt.decode(
                token,
                key.key,
                algorithms=[str(header["alg"])] if key.algorithm_name == header["alg"] else [],
                options={
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "require": ["iss", "aud", "exp"],
                },
                issuer=issuer,
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise BadToken("the token is not signed by its issuer") from error
        return claims

    async def _key(self, issuer: str, name: str) -> jwt.PyJWK:
        known = await self._fresh(issuer, name)
        if name not in known.keys:
            raise BadToken("the token names a key that its issuer does not have")
        return known.keys[name]

    async def _fresh(self, issuer: str, key: str | None = None) -> _Known:
        """What is known of the issuer, asked for anew when it is old, or lacks the key."""
        known = self._known.setdefault(issuer, _Known())
        async with known.lock:
            now = self._clock()
            is_old = now - known.fetched_at >= KEYS_SECONDS
            is_lacking = key is not None and key not in known.keys
            pause = RETRY_SECONDS if known.failure else REFRESH_SECONDS
            if (is_old or is_lacking) and now - known.tried_at >= pause:
                known.tried_at = now
                try:
                    known.described, known.keys = await self._fetched(issuer)
                    known.fetched_at, known.failure, is_old = now, "", False
                except IssuerError as error:
                    known.failure = str(error)
            if is_old:
                raise IssuerError(known.failure)
        return known

    async def _fetched(self, issuer: str) -> tuple[Json, dict[str, jwt.PyJWK]]:
        described = await self._outbound.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        place = described.get("jwks_uri")
        if described.get("issuer") != issuer:
            raise IssuerError(f"{issuer} calls itself {str(described.get('issuer'))[:200]!r}, not {issuer!r}")
        if not isinstance(place, str) or not is_safe(place):
            raise IssuerError(f"{issuer} does not say where its keys are")
        return described, _keys(await self._outbound.get(place))


def _keys(listed: Json) -> dict[str, jwt.PyJWK]:
    """Those that sign, by name."""
    keys: Any = listed.get("keys")
    found: dict[str, jwt.PyJWK] = {}
    for each in keys[:KEYS_MAX] if isinstance(keys, list) else []:
        if isinstance(each, dict) and each.get("use", "sig") == "sig" and each.get("kty") in ("RSA", "EC"):
            try:
                key = jwt.PyJWK(each, str(each.get("alg") or {"RSA": "RS256"}.get(each["kty"], "ES256")))
            except (jwt.PyJWTError, ValueError):
                continue
            found[str(each.get("kid", ""))] = key
    return found
