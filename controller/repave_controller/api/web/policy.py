"""What each HTTP route asks for. A route that is not named here keeps the controller from starting.

`APPLICATION`: a role for the application of the path. `INSTALLATION`: a role for every application.
`SOME`: a role for any application; the handler leaves out, or refuses, what the principal may not see.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiohttp import web

from repave_controller.security.principals import Permission, Principal


class Scope(StrEnum):
    """For what a permission is asked."""

    APPLICATION = "application"
    INSTALLATION = "installation"
    SOME = "some"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a route asks of who calls it."""

    permission: Permission
    scope: Scope = Scope.APPLICATION

    def allows(self, principal: Principal, application: str) -> bool:
        match self.scope:
            case Scope.APPLICATION:
                return principal.may(self.permission, application)
            case Scope.INSTALLATION:
                return principal.may(self.permission)
            case Scope.SOME:
                return principal.may_somewhere(self.permission)


class UnguardedRoute(Exception):
    """A mistake of ours: no rule says who may call a route."""


_ONE = "applications/{application}"
_READ, _STEER, _APPROVE = Rule(Permission.READ), Rule(Permission.STEER), Rule(Permission.APPROVE)
_READ_SOME = Rule(Permission.READ, Scope.SOME)
_OPERATE = Rule(Permission.OPERATE, Scope.INSTALLATION)
_FREEZE = Rule(Permission.FREEZE, Scope.INSTALLATION)
_OPEN = Rule(Permission.OPEN, Scope.INSTALLATION)
_ACCOUNTS = Rule(Permission.ACCOUNTS, Scope.INSTALLATION)
_REMOVE = Rule(Permission.REMOVE)

POLICY: Final[Mapping[str, Rule]] = {
    "GET healthz": _OPEN,
    "GET authority": _OPEN,
    "GET metrics": Rule(Permission.METRICS, Scope.INSTALLATION),
    "GET openapi.json": Rule(Permission.KNOWN, Scope.INSTALLATION),
    "GET applications": _READ_SOME,
    f"GET {_ONE}": _READ,
    f"GET {_ONE}/summary": _READ,
    f"GET {_ONE}/regions": _READ,
    f"GET {_ONE}/why": _READ,
    f"GET {_ONE}/why/summary": _READ,
    f"GET {_ONE}/history": _READ,
    f"GET {_ONE}/groups": _READ,
    f"GET {_ONE}/hosts": _READ,
    f"GET {_ONE}/ages": _READ,
    f"GET {_ONE}/queue": _READ,
    f"GET {_ONE}/spec": _READ,
    f"GET {_ONE}/stream": _READ,
    f"GET {_ONE}/traffic": _READ,
    f"GET {_ONE}/analyses": _READ,
    f"POST {_ONE}/analyses/replay": _READ,
    f"GET {_ONE}/suspects": _READ,
    f"GET {_ONE}/logs/stream": _READ,
    f"POST {_ONE}/logs/stream": _READ,
    f"POST {_ONE}/releases": Rule(Permission.RELEASE),
    f"POST {_ONE}/adopt": Rule(Permission.RELEASE),
    f"POST {_ONE}/artifacts": Rule(Permission.RELEASE),
    f"GET {_ONE}/artifacts/{{artifact}}": Rule(Permission.RELEASE),
    f"POST {_ONE}/rollback": _STEER,
    f"POST {_ONE}/abort": _STEER,
    f"POST {_ONE}/pause": _STEER,
    f"POST {_ONE}/resume": _STEER,
    f"POST {_ONE}/retry": _STEER,
    f"POST {_ONE}/step-back": _STEER,
    f"POST {_ONE}/promote": _APPROVE,
    f"POST {_ONE}/override": Rule(Permission.OVERRIDE),
    f"POST {_ONE}/object": _APPROVE,
    f"POST {_ONE}/sizes": Rule(Permission.SCALE),
    f"POST {_ONE}/sizes/plan": Rule(Permission.SCALE),
    f"POST {_ONE}/jobs/settle": _STEER,
    f"POST {_ONE}/queue/resume": _STEER,
    f"POST {_ONE}/queue/drop": _STEER,
    f"POST {_ONE}/queue/move": _STEER,
    f"POST {_ONE}/retire-group": _STEER,
    f"POST {_ONE}/leave-region": _REMOVE,
    f"POST {_ONE}/drain-region": _STEER,
    f"POST {_ONE}/drain-last-region": Rule(Permission.OVERRIDE),
    f"POST {_ONE}/undrain-region": _STEER,
    f"POST {_ONE}/delete": _REMOVE,
    "POST outline": _READ_SOME,
    "POST plan": _READ_SOME,
    "GET plans": _READ_SOME,
    "GET plans/{plan}": _READ_SOME,
    "POST simulations": Rule(Permission.RELEASE, Scope.SOME),
    f"POST {_ONE}/rollback/plan": _READ,
    f"POST {_ONE}/renew": _STEER,
    "POST hosts/{host}/taint": Rule(Permission.STEER, Scope.SOME),
    "GET groups": _READ_SOME,
    "GET hosts": _READ_SOME,
    "GET freezes": _READ_SOME,
    "GET calendar": _READ_SOME,
    "POST freezes/all": _FREEZE,
    "POST freezes": _FREEZE,
    "POST freezes/{freeze}/lift": _FREEZE,
    "GET ages": _READ_SOME,
    "GET orphans": _OPERATE,
    "GET regions": _READ_SOME,
    "GET regions/{region}/suspects": _READ_SOME,
    "GET events": _READ_SOME,
    "GET events/stream": _READ_SOME,
    "GET live": _READ_SOME,
    "POST images": Rule(Permission.PUSH, Scope.SOME),
    "GET images": _READ_SOME,
    "GET images/{digest}": Rule(Permission.FETCH, Scope.SOME),
    "HEAD images/{digest}": Rule(Permission.FETCH, Scope.SOME),
    "POST regions/{region}/remove": _OPERATE,
    "POST regions/{region}/take-over": _OPERATE,
    "POST regions/{region}/drain": _OPERATE,
    "POST regions/{region}/undrain": _OPERATE,
    "GET pool": _OPERATE,
    "GET regions/{region}/room": _OPERATE,
    "POST regions/{region}/pool/{machine}/quarantine": _OPERATE,
    "POST regions/{region}/pool/{machine}/return": _OPERATE,
    "POST regions/{region}/pool/{machine}/release": _OPERATE,
    "POST regions/{region}/pool/return": _OPERATE,
    "GET baked-images": _OPERATE,
    "POST baked-images": _OPERATE,
    "GET agents": _OPERATE,
    "POST agents/rotate": _OPERATE,
    "POST agents/{region}/join-token": _OPERATE,
    "POST agents/{region}/revoke": _OPERATE,
    "GET doctor": _OPERATE,
    "GET controllers": _OPERATE,
    "POST hooks/{hook}": _OPEN,
    "GET hooks": _READ_SOME,
    "GET deliveries": _READ_SOME,
    "GET hooks/{hook}/deliveries/{delivery}": _READ_SOME,
    "POST hooks/{hook}/deliveries/{delivery}/redeliver": Rule(Permission.RELEASE, Scope.SOME),
    "GET gitops": _READ_SOME,
    "GET promotions": _READ_SOME,
    f"POST {_ONE}/promotion/approve": Rule(Permission.RELEASE),
    f"POST {_ONE}/promotion/dismiss": _STEER,
    "GET notices": _OPERATE,
    "POST notices/{target}/replay": _OPERATE,
    "POST notices/{target}/test": _OPERATE,
    "POST recovery": _OPERATE,
    "GET whoami": Rule(Permission.KNOWN, Scope.INSTALLATION),
    "GET login": _OPEN,
    "POST login": _OPEN,
    "POST login/session": _OPEN,
    "POST login/device": _OPEN,
    "POST login/device/poll": _OPEN,
    "POST login/browser": _OPEN,
    "POST login/browser/finish": _OPEN,
    "GET login/oidc": _OPEN,
    "GET login/oidc/callback": _OPEN,
    "GET people": _ACCOUNTS,
    "POST people/{person}/end": _ACCOUNTS,
    "GET trusts": _ACCOUNTS,
    "POST trusts": _ACCOUNTS,
    "POST trusts/{trust}/remove": _ACCOUNTS,
    "POST logout": Rule(Permission.KNOWN, Scope.INSTALLATION),
    "GET tokens": _ACCOUNTS,
    "POST tokens": _ACCOUNTS,
    "POST tokens/{token}/revoke": _ACCOUNTS,
    "GET roles": _ACCOUNTS,
    "POST roles/grant": _ACCOUNTS,
    "POST roles/withdraw": _ACCOUNTS,
    "POST teams/{team}/join": _ACCOUNTS,
    "POST teams/{team}/leave": _ACCOUNTS,
    "GET audit": Rule(Permission.AUDIT, Scope.INSTALLATION),
}
"""By method and path, below /v1."""

LOG_INS: Final = frozenset(
    {
        "POST login",
        "POST login/session",
        "POST login/device",
        "POST login/browser",
        "POST login/browser/finish",
        "GET login/oidc",
        "GET login/oidc/callback",
    }
)
"""What anyone may ask for and costs something: an address may, now and then."""


def rule_of(method: str, path: str) -> Rule:
    """Raises UnguardedRoute. `path` is a route's pattern, below /v1."""
    try:
        return POLICY[f"{method} {path}"]
    except KeyError:
        raise UnguardedRoute(f"no rule in policy.py says who may call {method} {path}") from None


def check_guarded(routes: Iterable[tuple[str, str]]) -> None:
    """Every route (method, path) has a rule. Raises UnguardedRoute."""
    for method, path in routes:
        rule = rule_of(method, path)
        if rule.scope is Scope.APPLICATION and "{application}" not in path:
            raise UnguardedRoute(f"{method} {path} names no application that a role could be for")


def rule_for(request: web.Request) -> Rule | None:
    """None where there is no such route."""
    return POLICY.get(route_of(request))


def route_of(request: web.Request) -> str:
    """As the policy has the route; "" where there is none."""
    resource = request.match_info.route.resource
    if resource is None:
        return ""
    path = resource.canonical.removeprefix("/v1").removeprefix("/")
    if request.method == "HEAD" and f"HEAD {path}" not in POLICY:
        return f"GET {path}"
    return f"{request.method} {path}"
