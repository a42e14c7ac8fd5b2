"""The kinds of problems: what each means, and with which status it comes. Programs go by the kind, people by
the detail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from repave_controller.core.domain.reasons import Refusal

UNKNOWN: Final = (
    "unknown-application",
    "unknown-freeze",
    "unknown-host",
    "unknown-token",
    "unknown-trust",
    "unknown-person",
    "unknown-target",
    "unknown-hook",
    "unknown-delivery",
)
"""What the path names, and is not there. What a body names so is 422."""


def status_of(rule: str) -> int:
    """Of a command that was refused by this rule."""
    if rule in UNKNOWN:
        return 404
    if rule.startswith("unknown-"):
        return 422
    return 412 if rule == Refusal.MOVED.root else 409


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that the API itself gives."""

    statuses: tuple[int, ...]
    meaning: str


KINDS: Final[Mapping[str, Kind]] = {
    "bad-host": Kind((400,), "The Host header is no address of this controller."),
    "bad-request": Kind((400,), "A part of the query, a header or a field of the body is not as expected."),
    "not-json": Kind((400, 415), "The body is no JSON, or its Content-Type says something else."),
    "not-http": Kind((400,), "The request is no HTTP/1.1."),
    "not-signed-in": Kind((401,), "This controller has accounts, and no token that counts was shown."),
    "not-trusted": Kind((401,), "The token of a CI's job is no good here."),
    "denied": Kind((403,), "The caller's roles do not allow it; the detail says who can give them."),
    "csrf": Kind((403,), "A browser's session changes something without X-Repave-CSRF."),
    "foreign-host": Kind(
        (403,), "Without accounts the controller is reached as 127.0.0.1 or localhost only."
    ),
    "foreign-origin": Kind((403,), "A web page of another origin asks."),
    "role-missing": Kind((403, 409), "The approval takes a role that the caller does not have."),
    "not-for-agents": Kind((403,), "What was shown is an agent's."),
    "package-of-another-region": Kind((403,), "An agent asks for a package that its region does not need."),
    "not-found": Kind((404,), "There is no such route."),
    "no-authority": Kind((404,), "This controller's certificate has no authority of its own."),
    "unknown-artifact": Kind((404,), "Nothing of that id is being fetched."),
    "no-analysis": Kind((404,), "No analysis of that rollout is kept."),
    "unknown-spec": Kind((404,), "No spec of that group is kept."),
    "unknown-plan": Kind((404,), "No controller that runs has shown such a plan of late."),
    "unknown-image": Kind((404, 422), "No package of that digest is stored here."),
    "unknown-region": Kind((404, 422), "No region is called so."),
    "method-not-allowed": Kind((405,), "The route knows other methods: see Allow."),
    "not-acceptable": Kind((406,), "The route gives nothing that Accept allows."),
    "slow-body": Kind((408,), "The body took too long."),
    "no-accounts": Kind((409,), "This controller has no accounts."),
    "no-device": Kind((409,), "Log-ins by a code are switched off."),
    "no-issuer": Kind((409,), "People log in with tokens alone."),
    "no-token": Kind((409,), "The caller has shown no token that could be ended."),
    "done-already": Kind(
        (409,),
        "A request with this Idempotency-Key was carried out; its answer is secret, or was lost with its "
        "controller.",
    ),
    "fleet": Kind(
        (409, 422), "The fleet that is to be adopted can't be meant so, was not found, or does not answer."
    ),
    "provider": Kind((409,), "The region's provider has refused."),
    "login-expired": Kind((410,), "The log-in took too long, or is over."),
    "login-denied": Kind((403,), "The issuer, or its user, has said no."),
    "simulation-runs": Kind((409,), "Another simulation runs on this controller."),
    "simulation-failed": Kind((422,), "The simulation gave no answer."),
    "moved": Kind((412,), "If-Match: the application has changed since; the detail says what moved."),
    "request-entity-too-large": Kind((413,), "The body has more than 4 MiB."),
    "too-long": Kind((413,), "The command is too long to be passed on to the controller that decides."),
    "uri-too-long": Kind((414,), "The address has more than 8,000 bytes."),
    "expectation-failed": Kind((417,), "Expect: only 100-continue is understood."),
    "headers-too-long": Kind((431,), "A header has more than 8 KiB, or all of them more than 32 KiB."),
    "spec": Kind((422,), "The spec is wrong; `problems` has each place with its fix."),
    "image": Kind((422,), "The package is broken, or would do harm."),
    "team": Kind((422,), "The team's name is none."),
    "disagreement": Kind(
        (422,), "A region's agent, or the settings, can't do what the spec asks; `problems` names the field."
    ),
    "regions": Kind((422,), "The regions to bake in are not named."),
    "too-many-requests": Kind((429,), "This token or address asks too often; see Retry-After."),
    "bug": Kind((500,), "The controller failed at this; its log says why."),
    "store": Kind((503,), "The store can't be used now; nothing was done."),
    "no-owner": Kind((503,), "The controller that decides did not answer; ask again with the same key."),
    "image-storage": Kind((503, 507), "The package can't be stored now; 507: the disk is full."),
    "region": Kind((404, 503), "404: no region is called so. 503: its agent can't be asked now."),
    "issuer": Kind((503,), "The issuer of OpenID Connect can't be used now."),
    "too-many-log-ins": Kind((503,), "Too many log-ins are under way."),
    "too-many-streams": Kind((503,), "200 streams are open."),
}
"""By their names, the last part of `type`."""


def meaning_of(rule: str) -> str:
    """For the description of the API."""
    known = KINDS.get(rule)
    return known.meaning if known is not None else f"{rule.replace('-', ' ').capitalize()}."


def statuses_of(rule: str) -> tuple[int, ...]:
    """Those that it may come with; of a refusal that is none of the API's own, its one."""
    known = KINDS.get(rule)
    return known.statuses if known is not None else (status_of(rule),)
