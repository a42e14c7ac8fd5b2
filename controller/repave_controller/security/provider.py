"""The controller as a client of OpenID Connect: what it asks the issuer for, what it makes of the answers.

Authorization code flow with PKCE (RFC 7636, S256), and device flow (RFC 8628).
"""

import base64
import hashlib
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field

from repave_controller.core.domain.instants import Instant
from repave_controller.security.issuers import BadToken, Issuers
from repave_controller.security.outbound import ANSWER_BYTES_MAX, Form, IssuerError, Json, Outbound, is_safe
from repave_controller.security.people import NotAllowed, Person, Rules, fault_of, person_of

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
TEXT_LENGTH_MAX = 2000
INTERVAL_SECONDS = 5.0
INTERVAL_SECONDS_MAX = 60.0
EXPIRES_SECONDS_MAX = 1800.0


@dataclass(frozen=True, slots=True)
class Client:
    """What the issuer knows this controller as. Without a secret it is a public client."""

    issuer: str
    id: str
    scopes: str
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Device:
    """A log-in that a person confirms on any machine."""

    code: str = field(repr=False)
    user_code: str
    where: str
    where_complete: str
    seconds: float
    interval_seconds: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the issuer gives at the end of a log-in."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """The person has not yet answered. `is_slower`: ask less often."""

    is_slower: bool = False


class LoginRefused(Exception):
    """There will be no log-in. `rule` is for programs: login-denied, login-expired, not-trusted."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(text)
        self.rule = rule


class Provider:
    """One for a controller."""

    def __init__(
        self,
        client: Client,
        rules: Rules,
        issuers: Issuers,
        outbound: Outbound,
        clock: Callable[[], Instant],
    ) -> None:
        self.client = client
        self._rules, self._issuers, self._outbound, self._clock = rules, issuers, outbound, clock

    async def check(self) -> bool:
        """Whether the issuer knows the device flow. Raises IssuerError."""
        described = await self._issuers.described(self.client.issuer)
        return "device_authorization_endpoint" in described

    async def address(self, redirect: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser logs in. Raises IssuerError."""
        place = await self._endpoint("authorization_endpoint")
        query = urllib.parse.urlencode(
            {
                "response_type": "code",
                "client_id": self.client.id,
                "redirect_uri": redirect,
                "scope": self.client.scopes,
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge_of(verifier),
                "code_challenge_method": "S256",
            }
        )
        return f"{place}{'&' if '?' in place else '?'}{query}"

    async def device(self) -> Device:
        """Begins a log-in on another machine. Raises IssuerError, LoginRefused."""
        place = await self._endpoint("device_authorization_endpoint")
        status, told = await self._ask(place, {"scope": self.client.scopes})
        if status != 200:
            raise _refused(status, told)
        where = _text(told, "verification_uri")
        complete = str(told.get("verification_uri_complete") or where)[:TEXT_LENGTH_MAX]
        if not is_safe(where) or not is_safe(complete):
            raise IssuerError(f"{self.client.issuer} gave no address over https for the code")
        return Device(
            _text(told, "device_code"),
            _text(told, "user_code"),
            where,
            complete,
            min(_number(told, "expires_in", 600.0), EXPIRES_SECONDS_MAX),
            min(_number(told, "interval", INTERVAL_SECONDS), INTERVAL_SECONDS_MAX),
        )

    async def poll(self, device: Device) -> Tokens | Pending:
        """Raises IssuerError, LoginRefused."""
        asked = {"grant_type": DEVICE_GRANT, "device_code": device.code}
        status, told = await self._ask(await self._endpoint("token_endpoint"), asked)
        error = told.get("error")
        if status != 200 and error in ("authorization_pending", "slow_down"):
            return Pending(is_slower=error == "slow_down")
        return self._tokens(status, told)

    async def exchange(self, code: str, redirect: str, verifier: str) -> Tokens:
        """Raises IssuerError, LoginRefused."""
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect,
            "code_verifier": verifier,
        }
        return self._tokens(*await self._ask(await self._endpoint("token_endpoint"), asked))

    async def person(self, tokens: Tokens, nonce: str = "") -> Person:
        """Raises IssuerError, LoginRefused."""
        try:
            claims = await self._issuers.verified(tokens.id_token, {self.client.issuer})
        except BadToken as error:
            raise LoginRefused("not-trusted", str(error)) from error
        fault = fault_of(claims, self.client.id, nonce, tokens.access_token, self._clock())
        if fault:
            raise LoginRefused("not-trusted", fault)
        try:
            return person_of(await self._completed(claims, tokens), self._rules, self._clock())
        except NotAllowed as error:
            raise LoginRefused("login-denied", str(error)) from error

    async def _completed(self, claims: Json, tokens: Tokens) -> Json:
        """With what only the issuer's userinfo says: many keep email and groups out of the ID token."""
        wanted = {self._rules.name_claim}
        wanted |= {self._rules.groups_claim} if self._uses_groups else set()
        wanted |= {"email"} if self._rules.domains else set()
        described = await self._issuers.described(self.client.issuer)
        place = described.get("userinfo_endpoint")
        if wanted <= set(claims) or not isinstance(place, str):
            return claims
        told = await self._outbound.get(place, tokens.access_token)
        if told.get("sub") != claims["sub"]:
            raise LoginRefused("not-trusted", "the issuer's userinfo is of another person")
        return {**told, **claims}

    @property
    def _uses_groups(self) -> bool:
        return bool(self._rules.groups or self._rules.teams or self._rules.admins)

    async def _endpoint(self, name: str) -> str:
        place = (await self._issuers.described(self.client.issuer)).get(name)
        if not isinstance(place, str) or not is_safe(place):
            raise IssuerError(f"{self.client.issuer} has no {name.replace('_', ' ')}")
        return place

    async def _ask(self, place: str, fields: dict[str, str]) -> tuple[int, Json]:
        """As the issuer wants its clients to show who they are: Basic, unless it takes only the body."""
        client = self.client
        described = await self._issuers.described(client.issuer)
        known = described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        sent = {**fields, "client_id": client.id}
        if client.secret and "client_secret_basic" in known:
            return await self._outbound.post(place, Form(sent, client.id, client.secret))
        if client.secret:
            sent["client_secret"] = client.secret
        return await self._outbound.post(place, Form(sent))

    def _tokens(self, status: int, told: Json) -> Tokens:
        if status != 200:
            raise _refused(status, told)
        if not isinstance(told.get("id_token"), str):
            raise IssuerError(f"{self.client.issuer} gave no ID token: oidc.scopes must have openid")
        return Tokens(_text(told, "id_token"), _text(told, "access_token"))


def challenge_of(verifier: str) -> str:
    """S256."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def denial_of(error: str, text: str) -> LoginRefused | IssuerError:
    """What an error of the issuer (RFC 6749, 5.2; RFC 8628, 3.5) means for the person."""
    said = f": {text[:300]}" if text else ""
    match error:
        case "access_denied":
            return LoginRefused("login-denied", f"the log-in was denied at the issuer{said}")
        case "expired_token":
            return LoginRefused("login-expired", "the code has expired; begin anew: repave login")
        case "invalid_grant":
            return LoginRefused("login-expired", "the issuer no longer knows this log-in; begin anew")
        case "login_required" | "interaction_required" | "consent_required" | "account_selection_required":
            return LoginRefused("login-denied", f"the issuer would not log you in ({error}){said}")
        case _:
            return IssuerError(f"the issuer refuses this controller: {error[:100]}{said}")


def _refused(status: int, told: Json) -> LoginRefused | IssuerError:
    error, text = told.get("error"), told.get("error_description", "")
    if not isinstance(error, str):
        return IssuerError(f"the issuer answered {status}")
    return denial_of(error, text if isinstance(text, str) else "")


def _text(told: Json, name: str) -> str:
    found = told.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= ANSWER_BYTES_MAX:
        raise IssuerError(f"the issuer's answer has no {name}")
    return found


def _number(told: Json, name: str, default: float) -> float:
    found = told.get(name, default)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if not is_number or not 0 < found < 1e9:
        raise IssuerError(f"the issuer's answer has no {name} that can be used")
    return float(found)
