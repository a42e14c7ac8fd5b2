"""The HTTPS API for agents, on an address of its own: joining, renewals, packages. People have another one.

Each route says what it asks for: `OPEN` is for machines that have no certificate yet, `AGENT` for a
certificate that counts now. How often is counted by address for those who have shown none that counts, and
by agent for the others: agents behind one NAT don't share a rate.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from repave_controller.api.resources.packages import led_to, not_of_region
from repave_controller.api.web.problems import Handler, Problem, as_problems
from repave_controller.api.web.requests import body_of, without_query
from repave_controller.core.domain.reasons import Refused
from repave_controller.fleet.packages import ImageDirectory
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.principals import Permission, agent
from repave_controller.security.rates import Rates
from repave_controller.wording.render import text_of
from repave_protos.daemon.peers import peer_of
from repave_protos.protocol.capabilities import DIRECTLY
from repave_protos.protocol.certificates import PEM_BYTES_MAX, AgentIdentity, CertificateError
from repave_protos.protocol.values import Digest, RegionName

BODY_BYTES_MAX = 2 * PEM_BYTES_MAX
Belongs = Callable[[RegionName, Digest], bool]
Direct = Callable[[Digest], Awaitable[str]]
IDENTITY = web.RequestKey("identity", AgentIdentity)
"""Whose certificate a request showed."""


@dataclass(frozen=True, slots=True)
class DoorBounds:
    """A second, and at once: what one address asks without a certificate that counts (two for a join), what
    one agent asks for, and how often one agent renews."""

    stranger: tuple[float, float] = (2.0, 120.0)
    agent: tuple[float, float] = (20.0, 200.0)
    renewal: tuple[float, float] = (1 / 60, 20.0)


DOOR_BOUNDS: Final = DoorBounds()


async def from_here(_: Digest) -> str:
    """No package is fetched from elsewhere."""
    return ""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class JoinRequest(_Body):
    """A machine would become an agent."""

    secret: str = Field(max_length=200)
    request: str = Field(max_length=PEM_BYTES_MAX, description="A PKCS #10 signing request, as PEM.")


class RenewalRequest(_Body):
    """An agent would have its next certificate."""

    request: str = Field(max_length=PEM_BYTES_MAX, description="For a fresh key.")


class CertificateAnswer(BaseModel):
    """An agent's certificate with its chain, and the authorities that controllers are of; PEM."""

    certificate: str
    authorities: str
    grpc_port: int


class AuthoritiesAnswer(BaseModel):
    """Not to be believed before one of them has the pin of a join token."""

    authorities: str


@dataclass(frozen=True, slots=True)
class Entrance:
    """One route of this API."""

    method: str
    path: str
    permission: Permission
    handler: Handler


class Door:
    """One method a route."""

    def __init__(
        self,
        enrolment: Enrolment,
        images: ImageDirectory,
        grpc_port: Callable[[], int],
        clock: Callable[[], float],
        bounds: DoorBounds,
        is_of_region: Belongs,
        direct: Direct,
    ) -> None:
        self._is_of_region, self._direct = is_of_region, direct
        self._enrolment, self._images, self._grpc_port = enrolment, images, grpc_port
        self._clock = clock
        self._strangers, self._agents = Rates(*bounds.stranger), Rates(*bounds.agent)
        self._renewals = Rates(*bounds.renewal)

    def entrances(self) -> tuple[Entrance, ...]:
        return (
            Entrance("GET", "/v1/authorities", Permission.OPEN, self.authorities),
            Entrance("POST", "/v1/join", Permission.OPEN, self.join),
            Entrance("POST", "/v1/renew", Permission.AGENT, self.renew),
            Entrance("GET", "/v1/images/{digest}", Permission.AGENT, self.image),
        )

    async def authorities(self, _: web.Request) -> web.Response:
        return _answer(AuthoritiesAnswer(authorities=self._enrolment.authority.authorities))

    async def join(self, request: web.Request) -> web.Response:
        asked = await body_of(request, JoinRequest)
        try:
            chain, _ = await self._enrolment.join(asked.secret, asked.request, request.remote or "")
        except Refused as error:
            raise Problem(403, error.rule, text_of(error.reason), reason=error.reason) from error
        return self._certificate(chain)

    async def renew(self, request: web.Request) -> web.Response:
        self._slow_down(self._renewals, _name(request[IDENTITY]))
        asked = await body_of(request, RenewalRequest)
        return self._certificate(await self._enrolment.renew(request[IDENTITY], asked.request))

    async def image(self, request: web.Request) -> web.StreamResponse:
        digest, region = Digest(request.match_info["digest"]), RegionName(request[IDENTITY].region)
        if not self._is_of_region(region, digest):
            raise not_of_region(region, digest)
        where = await self._direct(digest) if DIRECTLY in request.headers else ""
        if where:
            return led_to(where)
        path = await self._images.bring(digest)
        if path is None:
            raise Problem(404, "unknown-image", f"no package {digest} is stored here")
        return web.FileResponse(path, headers={"Content-Type": "application/gzip"})

    def _certificate(self, chain: str) -> web.Response:
        authorities = self._enrolment.authority.authorities
        return _answer(
            CertificateAnswer(certificate=chain, authorities=authorities, grpc_port=self._grpc_port())
        )

    def admit(self, permission: Permission, handler: Handler) -> Handler:
        """The handler behind its permission."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if permission is Permission.OPEN:
                self._slow_down(self._strangers, _peer(request))
            else:
                identity = self._identity(request)
                self._slow_down(self._agents, _name(identity))
                if not agent(identity.region).may(permission):
                    raise Problem(403, "not-for-agents", "agents may not do this")
                request[IDENTITY] = identity
            try:
                return await handler(request)
            except CertificateError as error:
                raise Problem(403, "certificate", str(error)) from error

        return handle

    def _identity(self, request: web.Request) -> AgentIdentity:
        shown = request.get_extra_info("ssl_object")
        certificate = shown.getpeercert(binary_form=True) if shown is not None else None
        if certificate is None:
            self._slow_down(self._strangers, _peer(request))
            raise Problem(401, "no-certificate", "show the certificate of an agent that has joined")
        try:
            return self._enrolment.recognise(certificate)
        except CertificateError as error:
            self._slow_down(self._strangers, _peer(request))
            raise Problem(403, "certificate", f"the agent's certificate is refused: {error}") from error

    def _slow_down(self, rates: Rates, name: str) -> None:
        seconds = rates.take(name, self._clock())
        if seconds:
            text = f"too many requests; try again in {math.ceil(seconds)} s"
            raise Problem(429, "too-many-requests", text, retry_seconds=seconds)


def make_door(
    enrolment: Enrolment,
    images: ImageDirectory,
    grpc_port: Callable[[], int],
    clock: Callable[[], float],
    is_of_region: Belongs,
    bounds: DoorBounds = DOOR_BOUNDS,
    direct: Direct = from_here,
) -> web.Application:
    """The agents' API as an aiohttp application. `is_of_region`: whether its agent may have a package;
    `direct`: where the store is that has it."""
    door = Door(enrolment, images, grpc_port, clock, bounds, is_of_region, direct)
    app = web.Application(middlewares=[as_problems], client_max_size=BODY_BYTES_MAX)
    for each in door.entrances():
        app.router.add_route(each.method, each.path, door.admit(each.permission, without_query(each.handler)))
    return app


def _peer(request: web.Request) -> str:
    return peer_of(request.remote or "") or request.remote or ""


def _name(identity: AgentIdentity) -> str:
    return f"{identity.region}/{identity.agent}"


def _answer(model: BaseModel) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json")
