"""Passes a command on to the controller that decides for its application, and carries out those that others
pass on.

The controller that a caller speaks to lets it in and writes down what it asks, once. The owner carries it out
by the same routes in the caller's name, as if it had come there. While the owner changes it is passed on
again, for a bounded time; it carries a key, so that what was done already is not done twice.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol
from urllib.parse import quote

import structlog
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from repave_controller.api.web.callers import PRINCIPAL, TOLD, Told, denied, principal_of
from repave_controller.api.web.inside import Inside, Reply
from repave_controller.api.web.policy import route_of, rule_for
from repave_controller.api.web.problems import Handler, Problem, as_problems
from repave_controller.api.web.telling import facts_in, reason_in
from repave_controller.core.domain.application import Tenure
from repave_controller.core.ports import StoreError
from repave_controller.peers.letters import TooLong
from repave_controller.peers.ports import ControllerId, NotOwner
from repave_controller.security.principals import Principal
from repave_protos.protocol.values import ApplicationName

COMMAND = "command"
SECONDS = 10.0
"""So long a command is passed on, while its application has no owner or another one each time."""
LETTER_SECONDS = 5.0
LOOK_SECONDS = 0.05
KEY = "Idempotency-Key"
PASSED_ON = ("Content-Type", KEY, "X-Request-Id", "If-Match")
ANSWERED = ("Content-Type", "Location", "Retry-After")
STAYS = {
    "POST applications/{application}/analyses/replay",
    "POST applications/{application}/artifacts",
    "POST applications/{application}/logs/stream",
    "POST applications/{application}/rollback/plan",
    "POST applications/{application}/sizes/plan",
}
"""What every controller does by itself."""
TAINT = "POST hosts/{host}/taint"
TICKET = "Repave-Ticket"
"""Names the command to the routes inside; no request from outside comes there."""
_PRINCIPAL = TypeAdapter(Principal)

log = structlog.get_logger()


class Ask(Protocol):
    async def __call__(
        self, recipient: ControllerId, kind: str, body: bytes, timeout_seconds: float
    ) -> bytes:
        """As peers.letters.Letters.ask."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Who decides for an application. `tenure_of` raises NotOwner."""

    me: ControllerId
    tenure_of: Callable[[ApplicationName], Tenure]
    owner_of: Callable[[ApplicationName], ControllerId | None]


@dataclass(frozen=True, slots=True)
class Command:
    """A request as its caller sent it to another controller, which has let it in."""

    method: str
    path: str  # with its query
    headers: dict[str, str]
    principal: Principal
    address: str
    body: bytes

    def encoded(self) -> bytes:
        head = {
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "principal": _PRINCIPAL.dump_python(self.principal, mode="json"),
            "address": self.address,
        }
        return json.dumps(head).encode() + b"\n" + self.body

    @staticmethod
    def decoded(letter: bytes) -> "Command":
        """Raises ValueError, KeyError."""
        text, _, body = letter.partition(b"\n")
        head: dict[str, Any] = json.loads(text)
        try:
            principal = _PRINCIPAL.validate_python(head["principal"])
        except ValidationError as error:
            raise ValueError(f"who asks: {error}") from error
        headers = {str(name): str(value) for name, value in head["headers"].items()}
        return Command(head["method"], head["path"], headers, principal, head["address"], body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command. `owner`: it was not carried out, for that controller decides; "" where it is
    not known which."""

    reply: Reply
    told: Told
    owner: ControllerId | None = None

    def encoded(self) -> bytes:
        head = {
            "status": self.reply.status,
            "headers": self.reply.headers,
            "told": asdict(self.told),
            "owner": self.owner,
        }
        return json.dumps(head).encode() + b"\n" + self.reply.body

    @staticmethod
    def decoded(letter: bytes) -> "Outcome":
        """Raises ValueError, KeyError."""
        text, _, body = letter.partition(b"\n")
        head: dict[str, Any] = json.loads(text)
        facts = tuple((str(name), str(value)) for name, value in head["told"]["facts"])
        told = Told(str(head["told"]["reason"]), facts)
        headers = {str(name): str(value) for name, value in head["headers"].items()}
        return Outcome(Reply(int(head["status"]), headers, body), told, head["owner"])


class Relay:
    """One for an API. `ask` sends a letter; `new_key` draws an idempotency key."""

    def __init__(self, ask: Ask, owners: Owners, new_key: Callable[[], str]) -> None:
        self.seconds = SECONDS
        self._ask = ask
        self._owners = owners
        self._new_key = new_key
        self._outcomes: dict[str, tuple[Told, ControllerId | None]] = {}
        self._commands: dict[str, Command] = {}  # under way inside, by their tickets
        self.inside = Inside(self._carried_out)

    async def act(self, command: Command, application: ApplicationName | None) -> Outcome:
        """What the controller itself asks. None: of no application, or every controller does it by itself.
        Raises TimeoutError, TooLong, ConnectionError."""
        if application is None:
            return await self._carry_out(command)
        owner: ControllerId | None = self._owners.me
        try:
            self._owners.tenure_of(application)
        except NotOwner as error:
            owner = error.owner
        async with asyncio.timeout(self.seconds):
            return await self._ask_owners(command, application, owner)

    # ------------------------------------------------------------------------------------ passed on

    @web.middleware
    async def pass_on(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Once the caller is let in. Raises Problem, StoreError."""
        if request.method != "POST" or not _is_command(request):
            return await handler(request)
        application = ApplicationName(request.match_info.get("application", ""))
        try:
            if application:
                self._owners.tenure_of(application)
            return await handler(request)
        except NotOwner as error:
            owner = error
        return await self._passed_on(request, owner)

    async def _passed_on(self, request: web.Request, error: NotOwner) -> web.Response:
        outcome = await self._asked(await self._command(request), error)
        request[TOLD] = outcome.told
        return _response(outcome.reply)

    async def pass_part(self, request: web.Request, error: NotOwner) -> web.Response | None:
        """Lets the owner carry out, for its application alone, what is asked of several. Returns what it
        refuses. Raises Problem."""
        command = await self._command(request)
        part = replace(command, path=f"{request.path}?application={quote(error.application)}")
        reply = (await self._asked(part, error)).reply
        return _response(reply) if reply.status >= 400 else None

    async def _command(self, request: web.Request) -> Command:
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        headers.setdefault(KEY, self._new_key())
        return Command(
            request.method,
            request.path_qs,
            headers,
            principal_of(request),
            request.remote or "",
            await request.read(),
        )

    async def _asked(self, command: Command, error: NotOwner) -> Outcome:
        """Raises Problem."""
        try:
            async with asyncio.timeout(self.seconds):
                return await self._ask_owners(command, error.application, error.owner)
        except TimeoutError:
            raise _no_owner(error.application, self._owners.owner_of(error.application)) from None
        except TooLong as long:
            raise Problem(413, "too-long", str(long)) from long

    async def _ask_owners(
        self, command: Command, application: ApplicationName, owner: ControllerId | None
    ) -> Outcome:
        """One after the other, until one has carried it out."""
        while True:
            outcome = None
            if owner == self._owners.me:
                outcome = await self._carry_out(command)
            elif owner:
                outcome = await self._ask_one(command, application, owner)
            if outcome is not None and outcome.owner is None:
                return outcome
            await asyncio.sleep(LOOK_SECONDS)
            owner = self._owners.owner_of(application)

    async def _ask_one(
        self, command: Command, application: ApplicationName, owner: ControllerId
    ) -> Outcome | None:
        """None: it has not answered, or does not decide any more. Raises TooLong."""
        asked = asyncio.ensure_future(self._ask(owner, COMMAND, command.encoded(), LETTER_SECONDS))
        try:
            while not asked.done() and self._owners.owner_of(application) == owner:
                await asyncio.wait({asked}, timeout=LOOK_SECONDS)
            if not asked.done():
                return None
            return Outcome.decoded(asked.result())
        except (TimeoutError, StoreError, ValueError, KeyError) as error:
            if isinstance(error, TooLong):
                raise
            log.warning("command.not_passed_on", application=application, owner=owner, why=str(error))
            return None
        finally:
            asked.cancel()

    # ------------------------------------------------------------------------------------ carried out

    async def answer(self, letter: bytes) -> bytes:
        """What another controller passes on."""
        return (await self._carry_out(Command.decoded(letter))).encoded()

    async def _carry_out(self, command: Command) -> Outcome:
        ticket = self._new_key()
        self._commands[ticket] = command
        try:
            headers = {**command.headers, TICKET: ticket}
            reply = await self.inside.ask(command.method, command.path, headers, command.body)
            told, owner = self._outcomes.get(ticket, (Told(), None))
            return Outcome(reply, told, owner)
        finally:
            del self._commands[ticket]
            self._outcomes.pop(ticket, None)

    @web.middleware
    async def _carried_out(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """In the name of the caller whom another controller has let in."""
        ticket = request.headers.get(TICKET, "")
        command = self._commands[ticket]
        asked = request.clone(remote=command.address)
        asked[PRINCIPAL] = command.principal
        owner: ControllerId | None = None

        async def handle(request: web.Request) -> web.StreamResponse:
            nonlocal owner
            rule, application = rule_for(request), request.match_info.get("application", "")
            if rule is not None and not rule.allows(command.principal, application):
                raise denied(command.principal, rule.permission, application)
            try:
                return await handler(request)
            except NotOwner as error:
                owner = error.owner or ""
                return web.Response(status=503)

        response = await as_problems(asked, handle)
        self._outcomes[ticket] = (Told(reason_in(asked), facts_in(asked, response)), owner)
        return response


def _response(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status,
        body=reply.body,
        headers={name: reply.headers[name] for name in ANSWERED if name in reply.headers},
    )


def _is_command(request: web.Request) -> bool:
    """Of one application."""
    route = route_of(request)
    return route not in STAYS and ("application" in request.match_info or route == TAINT)


def _no_owner(application: ApplicationName, owner: ControllerId | None) -> Problem:
    who = f"controller {owner} decides for it, and did not answer" if owner else "no controller does"
    text = (
        f"the controller that decides for {application} could not be asked in {SECONDS:g} s ({who}). Ask "
        f"again; with the same {KEY} it is done once. See repave controllers"
    )
    return Problem(503, "no-owner", text, retry_seconds=1.0)
