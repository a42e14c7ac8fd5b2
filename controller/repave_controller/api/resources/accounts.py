"""Accounts in the API: who calls, tokens, roles, teams, and the audit log."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, Field, model_validator

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import Body, Items
from repave_controller.api.answers.queries import EVENTS_MAX, OFTEN, Flag, Number, PageQuery, Query
from repave_controller.api.answers.queries import Name as QueryName
from repave_controller.api.answers.views import time_of
from repave_controller.api.resources.freezes import Glob
from repave_controller.api.web import cookies
from repave_controller.api.web.access import Guarded
from repave_controller.api.web.callers import principal_of
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.paging import page, paged
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.instants import Instant
from repave_controller.security import roles as changes
from repave_controller.security.outbound import is_safe
from repave_controller.security.principals import NAME, PERSON, Grant, Role
from repave_controller.security.roles import TEAM, Roles
from repave_controller.security.tokens import PEOPLES, SESSION, Token
from repave_controller.security.trusts import AUDIENCE, IDENTIFYING, Trust

DAY_SECONDS = 86_400.0
EXPIRY_SECONDS_MAX = 366 * DAY_SECONDS
SCOPES_MAX = 20
RESERVED = ("local", "agent")
"""Names of principals that have no tokens."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _is_name(text: str) -> str:
    if NAME.fullmatch(text) is None or text in RESERVED:
        raise ValueError("expected a name of letters, digits and . _ @ + -, such as anna or ci@shop")
    return text


def _is_member(text: str) -> str:
    """A name, also of a person who logs in with the issuer."""
    _is_name(text.removeprefix(PERSON))
    return text


def _is_holder(text: str) -> str:
    if text.startswith(TEAM):
        _is_name(text.removeprefix(TEAM))
    else:
        _is_member(text)
    return text


Name = Annotated[str, AfterValidator(_is_name)]
Member = Annotated[str, AfterValidator(_is_member)]
Holder = Annotated[str, AfterValidator(_is_holder)]


class GrantItem(Body):
    """A role for applications."""

    role: Annotated[Role, Field(strict=False)] = Field(
        description="viewer, deployer, approver, admin, scaler or metrics."
    )
    applications: Glob = Field("*", description="Those whose names match, such as web-*.")

    @property
    def grant(self) -> Grant:
        return Grant(self.role, self.applications)


class TokenRequest(Body):
    """Make a token."""

    name: Name = Field(description="Whose it is: a person or a machine, as roles name it.")
    expires_seconds: float = Field(90 * DAY_SECONDS, gt=0, le=EXPIRY_SECONDS_MAX)
    scopes: Annotated[list[GrantItem], Field(max_length=SCOPES_MAX)] = Field(
        default_factory=list, description="It may at most this, whatever its owner may; empty: all of that."
    )
    note: str = Field("", max_length=200, description="What it is for.")
    reason: str = Field("", max_length=1000)


class ReasonRequest(Body):
    """A change that says why."""

    reason: str = Field("", max_length=1000)


class TrustRequest(Body):
    """Let jobs of a CI log in."""

    name: Name = Field(description="What such jobs are called; roles are given to this name.")
    issuer: str = Field(max_length=300, description="As the token's iss, such as https://gitlab.com.")
    claims: Annotated[
        dict[str, Annotated[str, Field(min_length=1, max_length=500)]], Field(max_length=20)
    ] = Field(description="What the token must say, word for word; one of these names the project.")
    audience: str = Field(AUDIENCE, min_length=1, max_length=300, description="Among the token's aud.")
    expires_seconds: float = Field(3600.0, gt=0, le=DAY_SECONDS, description="Of what the jobs are given.")
    reason: str = Field("", max_length=1000)

    @model_validator(mode="after")
    def _names_a_project(self) -> "TrustRequest":
        if not is_safe(self.issuer):
            raise ValueError("issuer: expected https://")
        if not set(self.claims) & set(IDENTIFYING):
            raise ValueError(f"claims: one of these is needed: {', '.join(IDENTIFYING)}")
        return self


class GrantRequest(GrantItem):
    """Give or take a role."""

    to: Holder = Field(description="A name, oidc:NAME of a person who logs in with the issuer, or team:NAME.")
    reason: str = Field("", max_length=1000)


class MemberRequest(Body):
    """Put a name into a team, or take it out."""

    name: Member
    reason: str = Field("", max_length=1000)


class TokensQuery(PageQuery):
    """Which tokens."""

    name: QueryName = Field("", description="Those alone of this person or machine; empty: all.")
    state: QueryName = Field("", description="Those alone that are active, expired or revoked; empty: all.")


class AuditQuery(Query):
    """Which rows of the audit log."""

    after: Number = Field(0, description="Only rows with a number above.")
    limit: Annotated[Number, Field(ge=1, le=EVENTS_MAX)] = Field(100, description="At most so many rows.")
    cursor: Number = Field(0, description=OFTEN.format("after"))
    newest: Flag = Field(False, description="The last ones instead of the first.")


class ScopeItem(Answer):
    """A role for applications."""

    role: str
    applications: str


class WhoAnswer(Answer):
    """Who calls."""

    name: str
    kind: str = Field(description="local: this controller has no accounts. token, agent.")
    roles: list[ScopeItem]
    teams: list[str]
    scopes: list[ScopeItem] = Field(description="What narrows this token; empty: nothing.")
    token: str = Field(description="The id of the token.")
    expires_at: datetime | None
    method: str = Field("", description="token, job; device, browser or web: logged in with the issuer.")
    issuer: str = Field("", description="Of OpenID Connect, where that says who one is.")
    subject: str = Field("", description="The issuer's name of the account.")
    csrf: str = Field("", description="Of a browser's session: what its writes show as X-Repave-CSRF.")


class TokenItem(Answer):
    """A token, without its secret."""

    id: str
    name: str
    state: str = Field(description="active, expired or revoked.")
    scopes: list[ScopeItem]
    note: str
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None
    used_from: str
    method: str = Field(description="Of the log-in that it came of: job, device, browser, web; empty: none.")
    revoked_at: datetime | None
    revoked_by: str


class NewTokenAnswer(Answer):
    """A new token. It is not shown again."""

    token: str
    item: TokenItem


class TokensAnswer(Items[TokenItem]):
    """Tokens, newest first."""


class TrustItem(Answer):
    """Jobs that may log in."""

    id: str
    name: str
    issuer: str
    claims: dict[str, str]
    audience: str
    expires_seconds: float
    created_by: str
    created_at: datetime


class TrustsAnswer(Items[TrustItem]):
    """The first one that a job's token fits counts."""


class RoleItem(Answer):
    """Who has a role for applications."""

    to: str
    role: str
    applications: str


class TeamItem(Answer):
    """Who is in a team."""

    name: str
    members: list[str]


class RolesAnswer(Answer):
    """The roles of the installation."""

    items: list[RoleItem]
    teams: list[TeamItem]


class AuditItem(Answer):
    """A row: `text` is JSON, and exactly what `hash` is of."""

    number: int
    text: str
    hash: str


class AuditAnswer(Items[AuditItem]):
    """Rows of the audit log. `installation` begins its chain."""

    installation: str


CHANGE_REFUSES = (
    "no-accounts",
    "no-token",
    "last-admin",
    "no-role",
    "team",
    "too-many",
    "unknown-member",
    "unknown-role",
    "unknown-token",
    "unknown-trust",
)


class AccountRoutes:
    """One for an API."""

    def __init__(self, guarded: Guarded | None, clock: Callable[[], Instant]) -> None:
        self._found, self._clock = guarded, clock

    def routes(self) -> tuple[Route, ...]:
        listed = partial(Route, "GET", refuses=("no-accounts",))
        change = partial(Route, "POST", refuses=CHANGE_REFUSES)
        return (
            Route("GET", "whoami", self.whoami, WhoAnswer),
            listed("trusts", self.trusts, TrustsAnswer, query=PageQuery),
            change("trusts", self.trust, TrustItem, TrustRequest, status=201, repeats=Repeats.ONCE),
            change("trusts/{trust}/remove", self.distrust, TrustItem, ReasonRequest),
            change("logout", self.logout, TokenItem, ReasonRequest),
            listed("tokens", self.tokens, TokensAnswer, query=TokensQuery),
            change("tokens", self.create, NewTokenAnswer, TokenRequest, status=201, repeats=Repeats.SECRET),
            change("tokens/{token}/revoke", self.revoke, TokenItem, ReasonRequest),
            listed("roles", self.roles, RolesAnswer),
            change(
                "roles/grant",
                self._changing(changes.grant),
                RolesAnswer,
                GrantRequest,
                summary="Give a role for applications to a name or a team.",
            ),
            change(
                "roles/withdraw",
                self._changing(changes.withdraw),
                RolesAnswer,
                GrantRequest,
                summary="Take a role back.",
            ),
            change(
                "teams/{team}/join",
                self._moving(changes.join_team),
                RolesAnswer,
                MemberRequest,
                summary="Put a name into a team.",
            ),
            change(
                "teams/{team}/leave",
                self._moving(changes.leave_team),
                RolesAnswer,
                MemberRequest,
                summary="Take a name out of a team.",
            ),
            listed("audit", self.audit, AuditAnswer, query=AuditQuery),
        )

    # ---------------------------------------------------------------------------------- who calls, tokens

    async def whoami(self, request: web.Request) -> web.Response:
        """Who calls, in which roles."""
        principal = principal_of(request)
        token = self.guarded.accounts.token(principal.credential) if principal.credential else None
        method = (token.method or "token") if token is not None else ""
        person = self.guarded.accounts.person(principal.name) if method in PEOPLES else None
        session = cookies.session_of(request) if method == SESSION else ""
        return answer(
            WhoAnswer(
                name=principal.name,
                kind=str(principal.kind),
                roles=_scopes(principal.grants),
                teams=list(principal.teams),
                scopes=_scopes(principal.scopes),
                token=principal.credential,
                expires_at=time_of(token.expires_at) if token is not None else None,
                method=method,
                issuer=person.issuer if person is not None else "",
                subject=person.subject if person is not None else "",
                csrf=cookies.csrf_of(session) if session else "",
            )
        )

    async def trusts(self, request: web.Request) -> web.Response:
        """Which jobs of CIs may log in."""
        places = {each.id: place for place, each in enumerate(self.guarded.accounts.trusts)}
        shown, following = page(
            self.guarded.accounts.trusts, query_of(request, PageQuery), lambda each: (places[each.id],)
        )
        return paged(request, TrustsAnswer(items=[_trust(each) for each in shown], next=following))

    async def trust(self, request: web.Request) -> web.Response:
        """Let jobs of a CI log in by the tokens that it signs for them."""
        asked = await body_of(request, TrustRequest)
        made = await self.guarded.accounts.trust(
            asked.name,
            asked.issuer,
            tuple(sorted(asked.claims.items())),
            asked.audience,
            asked.expires_seconds,
            principal_of(request).name,
        )
        return answer(_trust(made), status=201)

    async def distrust(self, request: web.Request) -> web.Response:
        """Let such jobs log in no more."""
        await body_of(request, ReasonRequest)
        return answer(_trust(await self.guarded.accounts.distrust(request.match_info["trust"])))

    async def logout(self, request: web.Request) -> web.Response:
        """End the token or the session that this request shows."""
        await body_of(request, ReasonRequest)
        principal = principal_of(request)
        if not principal.credential:
            raise Problem(409, "no-token", f"{principal.name} has shown no token that could be ended")
        response = await self._revoked(principal.credential, principal.name)
        if cookies.session_of(request):
            cookies.take(response, cookies.SESSION)
        return response

    async def tokens(self, request: web.Request) -> web.Response:
        """The tokens, without their secrets; newest first."""
        asked, now = query_of(request, TokensQuery), self._clock()
        found = (
            each
            for each in self.guarded.accounts.tokens
            if asked.name in ("", each.name) and asked.state in ("", each.state(now))
        )
        shown, following = page(found, asked, lambda each: (-each.created_at, each.id))
        return paged(request, TokensAnswer(items=[self.item(each) for each in shown], next=following))

    async def create(self, request: web.Request) -> web.Response:
        """Make a token. It is shown once."""
        asked = await body_of(request, TokenRequest)
        scopes = tuple(each.grant for each in asked.scopes)
        by = principal_of(request).name
        token, text = await self.guarded.accounts.create(
            asked.name, asked.expires_seconds, by, asked.note, scopes
        )
        response = answer(NewTokenAnswer(token=text, item=self.item(token)), status=201)
        response.headers["Cache-Control"] = "no-store"
        return response

    async def revoke(self, request: web.Request) -> web.Response:
        """End a token at once; repeating it changes nothing."""
        await body_of(request, ReasonRequest)
        return await self._revoked(request.match_info["token"], principal_of(request).name)

    async def _revoked(self, identity: str, by: str) -> web.Response:
        return answer(self.item(await self.guarded.accounts.revoke(identity, by)))

    def item(self, token: Token) -> TokenItem:
        return TokenItem(
            id=token.id,
            name=token.name,
            state=token.state(self._clock()),
            scopes=_scopes(token.scopes),
            note=token.note,
            created_at=time_of(token.created_at),
            created_by=token.by,
            expires_at=time_of(token.expires_at),
            used_at=time_of(token.used_at) if token.used_at is not None else None,
            used_from=token.used_from,
            method=token.method,
            revoked_at=time_of(token.revoked_at) if token.revoked_at is not None else None,
            revoked_by=token.revoked_by,
        )

    # ------------------------------------------------------------------------------------- roles and teams

    async def roles(self, _: web.Request) -> web.Response:
        """Who has which role for which applications, and who is in which team."""
        return answer(_roles(self.guarded.accounts.roles))

    def _changing(self, change: Callable[[Roles, str, Grant], Roles]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            asked = await body_of(request, GrantRequest)
            accounts = self.guarded.accounts
            return answer(
                _roles(await accounts.change_roles(lambda roles: change(roles, asked.to, asked.grant)))
            )

        return handle

    def _moving(self, change: Callable[[Roles, str, str], Roles]) -> Handler:
        async def handle(request: web.Request) -> web.Response:
            asked, team = await body_of(request, MemberRequest), request.match_info["team"]
            if NAME.fullmatch(team) is None:
                raise Problem(422, "team", "team: expected a name of letters, digits and . _ @ + -")
            accounts = self.guarded.accounts
            return answer(_roles(await accounts.change_roles(lambda roles: change(roles, team, asked.name))))

        return handle

    # ---------------------------------------------------------------------------------------------- audit

    async def audit(self, request: web.Request) -> web.Response:
        """The audit log: who asked for what, and what came of it; each row with the hash of its chain."""
        query, audit = query_of(request, AuditQuery), self.guarded.audit
        rows = await audit.rows(query.after or query.cursor, query.limit, query.newest)
        items = [AuditItem(number=each.number, text=each.text, hash=each.hash) for each in rows]
        is_more = not query.newest and len(items) == query.limit
        following = str(items[-1].number) if is_more else ""
        return paged(request, AuditAnswer(installation=audit.installation, items=items, next=following))

    @property
    def guarded(self) -> Guarded:
        """Raises Problem where there are no accounts."""
        if self._found is None:
            text = (
                "this controller has no accounts: who reaches it may do everything; start it with --accounts"
            )
            raise Problem(409, "no-accounts", text)
        return self._found


def _scopes(grants: tuple[Grant, ...]) -> list[ScopeItem]:
    return [ScopeItem(role=str(each.role), applications=each.applications) for each in grants]


def _trust(trust: Trust) -> TrustItem:
    return TrustItem(
        id=trust.id,
        name=trust.name,
        issuer=trust.issuer,
        claims=dict(trust.claims),
        audience=trust.audience,
        expires_seconds=trust.seconds,
        created_by=trust.by,
        created_at=time_of(trust.created_at),
    )


def _roles(roles: Roles) -> RolesAnswer:
    return RolesAnswer(
        items=[
            RoleItem(to=each.to, role=str(each.grant.role), applications=each.grant.applications)
            for each in roles.given
        ],
        teams=[TeamItem(name=team.name, members=list(team.members)) for team in roles.teams],
    )
