"""Log-ins: of jobs by the token of their CI, of people with an issuer of OpenID Connect; who logged in so."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import structlog
from aiohttp import web
from pydantic import ConfigDict, Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import Body, Items
from repave_controller.api.answers.queries import PageQuery
from repave_controller.api.answers.views import time_of
from repave_controller.api.resources.accounts import AccountRoutes, NewTokenAnswer, ReasonRequest, TokenItem
from repave_controller.api.web import cookies
from repave_controller.api.web.access import Guarded
from repave_controller.api.web.callers import principal_of
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.paging import items, page
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.security.accounts import NotRecognised
from repave_controller.security.audit import Entry
from repave_controller.security.claims import fault_of_times
from repave_controller.security.differences import cleaned
from repave_controller.security.issuers import TOKEN_LENGTH_MAX, BadToken
from repave_controller.security.logins import BROWSER_SECONDS, LoggedIn, Logins, Waiting
from repave_controller.security.outbound import IssuerError
from repave_controller.security.people import Person
from repave_controller.security.provider import LoginRefused
from repave_controller.security.rates import Rates
from repave_controller.security.trusts import match
from repave_controller.security.under_way import TooManyLogins
from repave_controller.wording.render import text_of

TOLD = ("iss", "sub", "repository", "ref", "run_id", "project_path", "pipeline_id", "environment")
"""What the audit log has of a job."""
STATUS = {"login-denied": 403, "login-expired": 410}
"""All other refusals: 401."""
DENIALS = (0.2, 20.0)
"""Refused log-ins of an address that are written down: a second, and at once."""
PARAMETER_MAX = 4096
SESSION_SECONDS = 12 * 3600.0
"""So long a browser stays logged in that a token was pasted into."""

Given = TypeVar("Given")

log = structlog.get_logger()


class LoginRequest(Body):
    """Exchange the token that a CI signed for a job for one of this controller."""

    token: str = Field(min_length=1, max_length=TOKEN_LENGTH_MAX, repr=False)


class SessionRequest(Body):
    """Log a browser in with a token of this controller."""

    token: str = Field(min_length=1, max_length=300, repr=False)


class BeginRequest(Body):
    """Begin a log-in on another device."""


class HandleRequest(Body):
    """Ask what has come of a log-in."""

    handle: str = Field(min_length=1, max_length=200, repr=False)


class BrowserRequest(Body):
    """Begin a log-in in a browser of the same machine."""

    port: int = Field(ge=1, le=65_535, description="Where the command line listens, on loopback.")


class FinishRequest(HandleRequest):
    """End it, with what the issuer sent the browser back with."""

    code: str = Field("", max_length=PARAMETER_MAX, repr=False)
    state: str = Field(max_length=PARAMETER_MAX, repr=False)
    iss: str = Field("", max_length=PARAMETER_MAX)
    error: str = Field("", max_length=PARAMETER_MAX)
    error_description: str = Field("", max_length=PARAMETER_MAX)


class CallbackQuery(Answer):
    """What the issuer sends a browser back with; it may say more."""

    model_config = ConfigDict(extra="ignore")
    code: str = Field("", max_length=PARAMETER_MAX, description="Of the issuer, for one exchange.")
    state: str = Field("", max_length=PARAMETER_MAX, description="As the log-in was begun with.")
    iss: str = Field("", max_length=PARAMETER_MAX, description="The issuer (RFC 9207).")
    error: str = Field("", max_length=PARAMETER_MAX, description="Why there is no code.")
    error_description: str = Field("", max_length=PARAMETER_MAX, description="The same in words.")


class WaysAnswer(Answer):
    """How people log in. With a token of an admin they always can."""

    issuer: str = Field(description="Of OpenID Connect; empty: tokens only.")
    device: bool
    browser: bool


class DeviceAnswer(Answer):
    """What to show a person who logs in on another device."""

    handle: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_seconds: float
    interval_seconds: float


class PolledAnswer(Answer):
    """Either still pending, or a token."""

    pending: bool
    interval_seconds: float = Field(default=0.0, description="Ask again after so long.")
    token: str = ""
    name: str = ""
    expires_at: datetime | None = None


class BrowserAnswer(Answer):
    """Where the browser goes."""

    handle: str
    url: str


class PersonItem(Answer):
    """Who has logged in with the issuer, as of the last time."""

    name: str
    issuer: str
    subject: str = Field(description="The issuer's name of the account; the name is bound to it.")
    teams: list[str] = Field(description="By groups of the issuer.")
    admin: bool = Field(description="By a group of the issuer.")
    at: datetime


REFUSES = ("no-accounts", "no-issuer", "issuer", "too-many-log-ins")
JOB_REFUSES = ("no-accounts", "not-trusted", "issuer", "too-many")
END_REFUSES = (
    *REFUSES,
    "login-expired",
    "login-denied",
    "not-trusted",
    "403 no-role",
    "403 other-account",
    "403 too-many",
)


class LoginRoutes:
    """One for an API."""

    def __init__(
        self, guarded: Guarded | None, accounts: AccountRoutes, clock: Callable[[], Instant]
    ) -> None:
        self._found, self._accounts, self._clock = guarded, accounts, clock
        self._denials = Rates(*DENIALS)

    def routes(self) -> tuple[Route, ...]:
        begin = partial(Route, "POST", repeats=Repeats.ANEW, is_open=True)
        return (
            Route("GET", "login", self.ways, WaysAnswer, is_open=True),
            begin("login", self.job, NewTokenAnswer, LoginRequest, status=201, refuses=JOB_REFUSES),
            begin(
                "login/session",
                self.session,
                TokenItem,
                SessionRequest,
                status=201,
                refuses=("no-accounts", "not-signed-in", "too-many"),
            ),
            begin("login/device", self.device, DeviceAnswer, BeginRequest, refuses=("no-device", *REFUSES)),
            begin(
                "login/device/poll",
                self.poll,
                PolledAnswer,
                HandleRequest,
                status=201,
                also=(202,),
                refuses=END_REFUSES,
            ),
            begin("login/browser", self.browser, BrowserAnswer, BrowserRequest, refuses=REFUSES),
            begin(
                "login/browser/finish",
                self.finish,
                PolledAnswer,
                FinishRequest,
                status=201,
                refuses=END_REFUSES,
            ),
            Route("GET", "login/oidc", self.to_issuer, None, status=302, is_open=True, refuses=REFUSES),
            Route(
                "GET",
                "login/oidc/callback",
                self.callback,
                None,
                query=CallbackQuery,
                status=303,
                is_open=True,
                refuses=END_REFUSES,
            ),
            Route("GET", "people", self.people, Items[PersonItem], query=PageQuery, refuses=("no-accounts",)),
            Route(
                "POST",
                "people/{person}/end",
                self.end,
                PersonItem,
                ReasonRequest,
                refuses=("no-accounts", "unknown-person"),
            ),
        )

    async def ways(self, _: web.Request) -> web.Response:
        """How people log in here."""
        logins = self._found.logins if self._found is not None else None
        if logins is None:
            return answer(WaysAnswer(issuer="", device=False, browser=False))
        return answer(
            WaysAnswer(issuer=logins.provider.client.issuer, device=logins.has_device, browser=True)
        )

    # ---------------------------------------------------------------------------------------------- jobs

    async def job(self, request: web.Request) -> web.Response:
        """Exchange the token that a CI signed for a job for one of this controller; each is good once."""
        asked, guarded = await body_of(request, LoginRequest), self._guarded
        claims = await self._verified(asked.token)
        trust = match(guarded.accounts.trusts, claims)
        if trust is None:
            raise Problem(401, "not-trusted", "no trust fits what this job's token says; an admin adds one")
        told = tuple((name, str(claims[name])[:200]) for name in TOLD if name in claims)
        proof = hashlib.sha256(asked.token.encode()).hexdigest()
        try:
            token, text = await guarded.accounts.log_in_job(trust, proof, Instant(float(claims["exp"])))
        except Refused as error:
            if error.reason.kind is not Refusal.SPENT:
                raise
            raise Problem(401, "not-trusted", text_of(error.reason)) from error
        await self._note(request, trust.name, "job", "done", token.id, told)
        return _secret(answer(NewTokenAnswer(token=text, item=self._accounts.item(token)), status=201))

    async def _verified(self, token: str) -> Mapping[str, Any]:
        """Its claims, which count now. Raises Problem."""
        guarded = self._guarded
        try:
            claims = await guarded.issuers.verified(token, {each.issuer for each in guarded.accounts.trusts})
        except BadToken as error:
            raise Problem(401, "not-trusted", str(error)) from error
        except IssuerError as error:
            raise Problem(503, "issuer", f"the issuer's keys can't be had: {error}") from error
        fault = fault_of_times(claims, self._clock(), "the job's token")
        if fault:
            raise Problem(401, "not-trusted", fault)
        return claims

    # --------------------------------------------------------------------------------------------- people

    async def session(self, request: web.Request) -> web.Response:
        """For a browser whose person has pasted a token: a cookie, which no script can read."""
        asked, accounts = await body_of(request, SessionRequest), self._guarded.accounts
        try:
            principal = accounts.recognise(asked.token)
        except NotRecognised as error:
            await self._note_denial(request, "", "not-signed-in", str(error))
            raise Problem(401, "not-signed-in", str(error)) from None
        token, text = await accounts.open_session(principal, SESSION_SECONDS)
        await self._note(request, token.name, "token", "done", token.id, (("opened_with", token.by),))
        response = _secret(answer(self._accounts.item(token), status=201))
        cookies.give(response, cookies.SESSION, text, token.expires_at - self._clock())
        return response

    async def device(self, request: web.Request) -> web.Response:
        """Begin a log-in on another device: what to show the person."""
        await body_of(request, BeginRequest)
        logins = self._logins
        if not logins.has_device:
            raise Problem(409, "no-device", "log-ins by a code are switched off here: repave login --browser")
        handle, device = await self._refusing(request, logins.begin_device)
        return _secret(
            answer(
                DeviceAnswer(
                    handle=handle,
                    user_code=device.user_code,
                    verification_uri=device.where,
                    verification_uri_complete=device.where_complete,
                    expires_seconds=device.seconds,
                    interval_seconds=device.interval_seconds,
                )
            )
        )

    async def poll(self, request: web.Request) -> web.Response:
        """What has come of such a log-in: still pending (202), or a token (201)."""
        asked, logins = await body_of(request, HandleRequest), self._logins
        found = await self._refusing(request, lambda: logins.poll(asked.handle))
        if isinstance(found, Waiting):
            return answer(PolledAnswer(pending=True, interval_seconds=found.seconds), status=202)
        return await self._given(request, found)

    async def browser(self, request: web.Request) -> web.Response:
        """Begin a log-in in a browser of the same machine."""
        asked, logins = await body_of(request, BrowserRequest), self._logins
        handle, url = await self._refusing(request, lambda: logins.begin_here(asked.port))
        return _secret(answer(BrowserAnswer(handle=handle, url=url)))

    async def finish(self, request: web.Request) -> web.Response:
        """End it with what the issuer sent the browser back with."""
        asked = await body_of(request, FinishRequest)
        return await self._given(request, await self._finished(request, asked.handle, "browser", asked))

    async def to_issuer(self, request: web.Request) -> web.Response:
        """Send a browser on to the issuer."""
        handle, url = await self._refusing(request, self._logins.begin_web)
        response = _secret(web.Response(status=302, headers={"Location": url}))
        cookies.give(response, cookies.LOGIN, handle, BROWSER_SECONDS)
        return response

    async def callback(self, request: web.Request) -> web.Response:
        """The browser is back from the issuer, and gets a session: only the one that began has its cookie."""
        asked, handle = query_of(request, CallbackQuery), request.cookies.get(cookies.LOGIN, "")
        found = await self._refusing(request, lambda: self._finish(handle, "web", asked))
        await self._note_login(request, found)
        response = _secret(web.Response(status=303, headers={"Location": "/"}))
        cookies.give(response, cookies.SESSION, found.text, found.token.expires_at - self._clock())
        cookies.take(response, cookies.LOGIN)
        return response

    async def _finished(
        self, request: web.Request, handle: str, method: str, asked: FinishRequest | CallbackQuery
    ) -> LoggedIn:
        return await self._refusing(request, lambda: self._finish(handle, method, asked))

    async def _finish(self, handle: str, method: str, asked: FinishRequest | CallbackQuery) -> LoggedIn:
        return await self._logins.finish(
            handle,
            method,
            code=asked.code,
            state=asked.state,
            issuer=asked.iss,
            error=asked.error,
            text=asked.error_description,
        )

    async def _refusing(self, request: web.Request, act: Callable[[], Awaitable[Given]]) -> Given:
        """What comes of it. Raises Problem, with the refusal written down."""
        try:
            return await act()
        except IssuerError as error:
            log.warning("login.issuer", error=str(error))
            raise Problem(503, "issuer", f"the issuer can't be used: {error}") from error
        except TooManyLogins as error:
            raise Problem(503, "too-many-log-ins", str(error)) from error
        except LoginRefused as error:
            await self._note_denial(request, "", error.rule, str(error))
            raise Problem(STATUS.get(error.rule, 401), error.rule, str(error)) from error
        except Refused as error:
            text = text_of(error.reason)
            await self._note_denial(request, str(dict(error.reason.facts).get("name", "")), error.rule, text)
            raise Problem(403, error.rule, text, reason=error.reason) from error

    async def _given(self, request: web.Request, found: LoggedIn) -> web.Response:
        await self._note_login(request, found)
        name, expires = found.person.name, time_of(found.token.expires_at)
        given = PolledAnswer(pending=False, token=found.text, name=name, expires_at=expires)
        return _secret(answer(given, status=201))

    async def _note_login(self, request: web.Request, found: LoggedIn) -> None:
        person = found.person
        told = {"method": found.token.method, "issuer": person.issuer, "subject": person.subject}
        told |= {"teams": ", ".join(person.teams)} if person.teams else {}
        told |= {"admin": "by a group of the issuer"} if person.is_admin else {}
        await self._note(request, person.name, "oidc", "done", found.token.id, tuple(told.items()))

    async def _note_denial(self, request: web.Request, name: str, rule: str, text: str) -> None:
        """So often only that a stranger can't fill the disk; what merely ran out is not written down."""
        if rule == "login-expired" or self._denials.take(request.remote or "", self._clock()):
            return
        await self._note(request, name, "oidc", "denied", "", (("rule", rule), ("cause", cleaned(text))))

    async def _note(
        self,
        request: web.Request,
        who: str,
        kind: str,
        outcome: str,
        credential: str,
        told: tuple[tuple[str, str], ...],
    ) -> None:
        action, address = f"{request.method} {request.path.removeprefix('/v1/')}", request.remote or ""
        entry = Entry(self._clock(), who, kind, credential, address, action, outcome=outcome, facts=told)
        await self._guarded.audit.add(entry)

    async def people(self, request: web.Request) -> web.Response:
        """Who has logged in with the issuer."""
        people, following = page(
            self._guarded.accounts.people, query_of(request, PageQuery), lambda each: (each.name,)
        )
        return items(request, map(_person, people), following)

    async def end(self, request: web.Request) -> web.Response:
        """End every log-in of a person who has left."""
        await body_of(request, ReasonRequest)
        name, by = request.match_info["person"], principal_of(request).name
        return answer(_person(await self._guarded.accounts.end_person(name, by)))

    @property
    def _logins(self) -> Logins:
        """Raises Problem where people log in with tokens alone."""
        logins = self._guarded.logins
        if logins is None:
            text = "people log in here with a token: repave login --token; no issuer is set (oidc.issuer)"
            raise Problem(409, "no-issuer", text)
        return logins

    @property
    def _guarded(self) -> Guarded:
        return self._accounts.guarded


def _person(person: Person) -> PersonItem:
    return PersonItem(
        name=person.name,
        issuer=person.issuer,
        subject=person.subject,
        teams=list(person.teams),
        admin=person.is_admin,
        at=time_of(person.at),
    )


def _secret(response: web.Response) -> web.Response:
    response.headers["Cache-Control"] = "no-store"
    return response
