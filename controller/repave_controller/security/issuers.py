"""Verifies tokens that issuers of OpenID Connect have signed, with the keys that they publish."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import ClientError, ClientSession, ClientTimeout

ALGORITHMS = ("RS256", "ES256")
"""No others, whatever a token says of itself."""
TOKEN_LENGTH_MAX = 16 * 1024
KEYS_SECONDS = 3600.0
REFRESH_SECONDS = 60.0
"""Keys are asked for again at most so often, though tokens name unknown ones."""
FETCH_SECONDS = 5.0
ANSWER_BYTES_MAX = 256 * 1024
KEYS_MAX = 50

Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]


class BadToken(Exception):
    """The token is none of that issuer. The text is for who showed it."""


class IssuerError(Exception):
    """The issuer's keys could not be had."""


@dataclass(slots=True)
class _Known:
    keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    asked_at: float = float("-inf")


async def fetch(url: str) -> Mapping[str, Any]:
    """A small JSON object. Raises IssuerError. Follows no redirect."""
    try:
        async with (
            ClientSession(timeout=ClientTimeout(FETCH_SECONDS)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            content = await answer.content.read(ANSWER_BYTES_MAX + 1)
            while content and len(content) <= ANSWER_BYTES_MAX and not answer.content.at_eof():
                content += await answer.content.read(ANSWER_BYTES_MAX + 1)
            if answer.status != 200 or len(content) > ANSWER_BYTES_MAX:
                raise IssuerError(f"{url} answered {answer.status}")
            found = json.loads(content)
    except (ClientError, TimeoutError, ValueError, RecursionError) as error:
        raise IssuerError(f"{url} can't be asked: {type(error).__name__}") from error
    if not isinstance(found, dict):
        raise IssuerError(f"{url} gave no object")
    return found


class Issuers:
    """One for a controller. Only issuers that an admin trusts are ever asked."""

    def __init__(self, clock: Callable[[], float], fetch: Fetch = fetch) -> None:
        self._clock = clock
        self._fetch = fetch
        self._known: dict[str, _Known] = {}
        self._lock = asyncio.Lock()

    async def verified(self, token: str, trusted: set[str]) -> Mapping[str, Any]:
        """The claims, once the signature is good; their times are not looked at. Raises BadToken,
        IssuerError."""
        if len(token) > TOKEN_LENGTH_MAX:
            raise BadToken("the job's token is too long")
        try:
            header = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, RecursionError, ValueError) as error:
            raise BadToken("this is no token of a CI job") from error
        if header.get("alg") not in ALGORITHMS or not isinstance(issuer, str) or issuer not in trusted:
            raise BadToken("no trust is for this token's issuer, or its algorithm is none that counts")
        key = await self._key(issuer, str(header.get("kid", "")))
        try:
            claims: Mapping[str, Any] = jwt.decode(
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
        async with self._lock:
            known, now = self._known.setdefault(issuer, _Known()), self._clock()
            age = now - known.asked_at
            if age >= KEYS_SECONDS or (name not in known.keys and age >= REFRESH_SECONDS):
                known.asked_at = now
                known.keys = await self._keys(issuer)
        if name not in known.keys:
            raise BadToken("the token names a key that its issuer does not have")
        return known.keys[name]

    async def _keys(self, issuer: str) -> dict[str, jwt.PyJWK]:
        described = await self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        place = described.get("jwks_uri")
        if described.get("issuer") != issuer or not isinstance(place, str) or not is_safe(place):
            raise IssuerError(f"{issuer} does not describe itself")
        listed = (await self._fetch(place)).get("keys")
        found: dict[str, jwt.PyJWK] = {}
        for each in listed[:KEYS_MAX] if isinstance(listed, list) else []:
            if (
                isinstance(each, dict)
                and each.get("use", "sig") == "sig"
                and each.get("kty") in ("RSA", "EC")
            ):
                try:
                    key = jwt.PyJWK(each, str(each.get("alg") or {"RSA": "RS256"}.get(each["kty"], "ES256")))
                except (jwt.PyJWTError, ValueError):
                    continue
                found[str(each.get("kid", ""))] = key
        return found


def is_safe(url: str) -> bool:
    """HTTPS; without it only on this machine."""
    loopback = ("http://127.0.0.1:", "http://localhost:")
    return url.startswith("https://") or url.startswith(loopback)
