"""Lets a request in: recognises who calls, asks the policy, writes down what is asked and what came of it.

Without accounts every caller is `local`: the controller then listens on loopback only.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web

from repave_controller.api.web.callers import (
    ENDING,
    PRINCIPAL,
    TOLD,
    Ending,
    Told,
    denied,
    principal_of,
)
from repave_controller.api.web.cookies import check_write, session_of
from repave_controller.api.web.policy import LOG_INS, route_of, rule_for
from repave_controller.api.web.problems import Handler, Problem, as_problems
from repave_controller.api.web.telling import facts_in, reason_in
from repave_controller.core.domain.instants import Instant
from repave_controller.core.ports import StoreError
from repave_controller.security.accounts import Accounts, NotRecognised
from repave_controller.security.audit import Audit, Entry
from repave_controller.security.issuers import Issuers
from repave_controller.security.logins import Logins
from repave_controller.security.principals import LOCAL, Permission, Principal
from repave_controller.security.rates import Rates
from repave_controller.security.tickets import Tickets
from repave_protos.daemon.peers import peer_of

SIGN_IN = "sign in: repave login, or set REPAVE_TOKEN"
HEADER_LENGTH_MAX = 300
QUIET = (Permission.OPEN, Permission.READ)
"""What is only looked at is not written down."""

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Bounds:
    """A second, and at once: requests of an address and of a token, wrong tokens and log-ins of an address,
    and denials that are written down."""

    address: tuple[float, float] = (200.0, 1000.0)
    token: tuple[float, float] = (50.0, 500.0)
    wrong: tuple[float, float] = (1.0, 30.0)
    logins: tuple[float, float] = (1.0, 30.0)
    denials: tuple[float, float] = (0.2, 20.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Guarded:
    """What a controller with accounts knows callers by."""

    accounts: Accounts
    audit: Audit
    tickets: Tickets
    issuers: Issuers
    bounds: Bounds = Bounds()
    logins: Logins | None = None  # with an issuer of OpenID Connect


class Access:
    """One for an API."""

    def __init__(
        self, guarded: Guarded | None, clock: Callable[[], Instant], refused: Counter[str] | None = None
    ) -> None:
        """`refused` counts the requests that were not let in, by rule."""
        self.guarded = guarded
        self._refused = refused if refused is not None else Counter[str]()
        self._clock = clock
        bounds = guarded.bounds if guarded is not None else Bounds()
        self._of_address, self._of_token = Rates(*bounds.address), Rates(*bounds.token)
        self._logins = Rates(*bounds.logins)
        self._wrong, self._denials = Rates(*bounds.wrong), Rates(*bounds.denials)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Raises Problem unless the caller may; nothing of the body is read before."""
        guarded, rule = self.guarded, rule_for(request)
        if guarded is None:
            request[PRINCIPAL] = LOCAL
            return await handler(request)
        if rule is not None and rule.permission is Permission.OPEN:
            self._slow_down_open(request)
            return await handler(request)
        self._slow_down(self._of_address, _peer(request))
        principal = self._recognise(guarded, request)
        self._slow_down(self._of_token, principal.credential or principal.name)
        request[PRINCIPAL] = principal
        if rule is None:
            return await handler(request)
        application = request.match_info.get("application", "")
        if not rule.allows(principal, application):
            self._refused["denied"] += 1
            await self._note_denial(guarded, request, principal)
            raise denied(principal, rule.permission, application)
        await guarded.accounts.note_use(principal, _address(request))
        accounts = guarded.accounts
        request[ENDING] = Ending(
            lambda: accounts.until(
                principal, lambda each: rule.allows(each, application) and each.has_all_of(principal)
            )
        )
        if request.method != "POST" or rule.permission in QUIET:
            return await handler(request)
        return await self._written_down(guarded.audit, request, handler)

    def _recognise(self, guarded: Guarded, request: web.Request) -> Principal:
        header = request.headers.get("Authorization", "")
        kind, _, shown = header.partition(" ")
        shown = shown.strip()
        try:
            session = session_of(request)
            if not header and session:
                return self._in_browser(guarded, request, session)
            if not header:
                raise NotRecognised(f"this controller has accounts; {SIGN_IN}")
            if kind.lower() != "bearer" or len(shown) > HEADER_LENGTH_MAX:
                raise NotRecognised(f"expected Authorization: Bearer TOKEN; {SIGN_IN}")
            return guarded.tickets.recognise(shown) or guarded.accounts.recognise(shown)
        except NotRecognised as error:
            self._refused["not-signed-in"] += 1
            self._slow_down(self._wrong, _peer(request))
            raise Problem(401, "not-signed-in", str(error)) from None

    def _in_browser(self, guarded: Guarded, request: web.Request, session: str) -> Principal:
        """Raises NotRecognised, Problem."""
        principal = guarded.accounts.recognise(session, is_cookie=True)
        check_write(request, session)
        return principal

    def _slow_down_open(self, request: web.Request) -> None:
        """Health and the like are answered always."""
        if route_of(request) in LOG_INS:
            self._slow_down(self._logins, _peer(request))
        elif request.method == "POST":
            self._slow_down(self._of_address, _peer(request))

    def _slow_down(self, rates: Rates, name: str) -> None:
        seconds = rates.take(name, self._clock())
        if seconds:
            self._refused["too-many-requests"] += 1
            text = f"too many requests; try again in {math.ceil(seconds)} s"
            raise Problem(429, "too-many-requests", text, retry_seconds=seconds)

    async def _note_denial(self, guarded: Guarded, request: web.Request, principal: Principal) -> None:
        """So often only that a caller can't fill the disk."""
        if self._denials.take(principal.credential or principal.name, self._clock()) == 0:
            await guarded.audit.add(_entry(request, principal, outcome="denied", status=403))

    async def _written_down(self, audit: Audit, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Before and after. Raises StoreError when the first row can't be saved: then nothing is done."""
        principal = principal_of(request)
        asked = await audit.add(_entry(request, principal))
        response = await as_problems(request, handler)
        told = request.get(TOLD) or Told(reason_in(request), facts_in(request, response))
        done = _entry(
            request,
            principal,
            outcome=_outcome(response.status),
            status=response.status,
            of=asked,
            reason=told.reason,
            facts=told.facts,
        )
        try:
            await audit.add(done)
        except StoreError as error:  # what was asked stands there, without its end
            log.error("audit.end_not_saved", of=asked, status=response.status, error=str(error))
        return response


def _address(request: web.Request) -> str:
    return request.remote or ""


def _peer(request: web.Request) -> str:
    """Whose rates count: one machine can take every address of its network of IPv6."""
    return peer_of(_address(request)) or _address(request)


def _entry(request: web.Request, principal: Principal, **end: Any) -> Entry:
    return Entry(
        at=Instant(0.0),
        who=principal.name,
        kind=str(principal.kind),
        credential=principal.credential,
        address=_address(request),
        action=f"{request.method} {request.path.removeprefix('/v1/')}"[:300],
        application=request.match_info.get("application", ""),
        **end,
    )


def _outcome(status: int) -> str:
    return "done" if status < 400 else "refused" if status < 500 else "failed"
