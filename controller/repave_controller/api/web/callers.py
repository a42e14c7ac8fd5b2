"""Who calls, as a request carries it through the handlers, and what is said in the caller's name."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel

from repave_controller.api.web.problems import Problem
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.security.principals import ANONYMOUS, Kind, Permission, Principal

PRINCIPAL = web.RequestKey("principal", Principal)
DIFFERENCES = web.RequestKey("differences", tuple)
"""What a release changes in the spec, for the audit log."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The body, for the audit log."""

    body: BaseModel


ASKED = web.RequestKey("asked", Asked)


@dataclass(frozen=True, slots=True)
class Told:
    """What the controller that carried a request out says of it, for the audit log."""

    reason: str = ""
    facts: tuple[tuple[str, str], ...] = ()


TOLD = web.RequestKey("told", Told)


@dataclass(frozen=True, slots=True)
class Ending:
    """`wait` returns once the caller may not any more; where there is none, that never comes."""

    wait: Callable[[], Awaitable[None]]


ENDING = web.RequestKey("ending", Ending)

Body = TypeVar("Body", bound=BaseModel)
Name = TypeVar("Name", bound=str)


def principal_of(request: web.Request) -> Principal:
    found = request.get(PRINCIPAL)
    return found if isinstance(found, Principal) else ANONYMOUS


def signed(request: web.Request, body: Body) -> Body:
    """The same, by who calls; without accounts it is by whom it says."""
    principal = principal_of(request)
    request[ASKED] = Asked(body)
    if principal.kind in (Kind.LOCAL, Kind.ANONYMOUS) or "by" not in type(body).model_fields:
        return body
    return body.model_copy(update={"by": principal.name})


def may_read(request: web.Request, names: Iterable[Name]) -> list[Name]:
    """Those of the applications that the caller may see."""
    principal = principal_of(request)
    return [name for name in names if principal.may(Permission.READ, name)]


def require(request: web.Request, permission: Permission, application: str) -> None:
    """For what only the body tells. Raises Problem."""
    principal = principal_of(request)
    if not principal.may(permission, application):
        raise denied(principal, permission, application)


def denied(principal: Principal, permission: Permission, application: str) -> Problem:
    """What is lacking, and who can give it."""
    what = f"for {application}" if application else "for the whole installation"
    text = (
        f"{principal.name} may not {permission} {what}; an admin gives roles: repave roles grant "
        f"{principal.name} ROLE --app {application or '*'!r}"
    )
    return Problem(403, "denied", text)


def with_real_roles(request: web.Request, body: Body, application: str) -> Body:
    """An approval in the roles that the caller has; one that it only says is refused."""
    principal = principal_of(request)
    if principal.kind is Kind.LOCAL or "role" not in type(body).model_fields:
        return body
    said = {each.strip() for each in str(getattr(body, "role", "")).split(",")} - {""}
    real = principal.roles_for(application)
    lacking = sorted(said - set(real))
    if lacking:
        raise _role_missing(principal, lacking, application)
    return body.model_copy(update={"role": ",".join(sorted(said) if said else real)})


def explained(request: web.Request, refused: Refused, application: str) -> Exception:
    """A role can't be made up where there are accounts: the remedy is another one."""
    principal = principal_of(request)
    if refused.reason.kind is not Refusal.ROLE_MISSING or principal.kind is Kind.LOCAL:
        return refused
    roles = dict(refused.reason.facts)["roles"]
    lacking = [str(each) for each in roles] if isinstance(roles, tuple) else [str(roles)]
    return _role_missing(principal, lacking, application)


def _role_missing(principal: Principal, roles: list[str], application: str) -> Problem:
    text = (
        f"this takes the role {', '.join(roles)} for {application}, which {principal.name} does not have; "
        f"an admin adds to a team: repave roles join {roles[0]} {principal.name}"
    )
    return Problem(403, "role-missing", text)
