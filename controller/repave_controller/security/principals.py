"""Who asks, and what each may do: principals, roles, the permissions of roles, grants of roles.

A principal that was not recognised is a value without any right, never the absence of one: code that forgets
to ask denies.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

EVERY_APPLICATION = "*"
ADMIN_NAME = "admin"
LOCAL_NAME = "local"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
"""Of those whom an admin gives tokens, and of teams."""
PERSON = "oidc:"
"""Before the name of a person who logs in with the issuer: no token can be made for such a name."""


class Permission(StrEnum):
    """What a route or a method asks for."""

    OPEN = "open"  # asked of no one: health and login
    KNOWN = "known"  # to be recognised is enough
    READ = "read"
    RELEASE = "release"
    STEER = "steer"  # a rollout, the queue, old groups
    SCALE = "scale"  # the sizes of regions
    APPROVE = "approve"  # gates, waits and objections
    OVERRIDE = "override"  # guards
    FREEZE = "freeze"
    PUSH = "push"  # packages
    FETCH = "fetch"  # packages
    REMOVE = "remove"  # applications, or one of its regions
    OPERATE = "operate"  # regions, pools, hosts, images of machines, recovery
    ACCOUNTS = "accounts"
    AUDIT = "audit"
    METRICS = "metrics"  # of the whole installation, for Prometheus
    AGENT = "agent"  # to speak for a region


class Role(StrEnum):
    """What people and machines are given, for applications."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    APPROVER = "approver"
    ADMIN = "admin"
    SCALER = "scaler"  # an autoscaler
    METRICS = "metrics"


PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.READ, Permission.METRICS}),
    Role.DEPLOYER: frozenset(
        {
            Permission.READ,
            Permission.RELEASE,
            Permission.STEER,
            Permission.SCALE,
            Permission.PUSH,
            Permission.FETCH,
        }
    ),
    Role.APPROVER: frozenset({Permission.READ, Permission.APPROVE, Permission.OVERRIDE, Permission.FREEZE}),
    Role.ADMIN: frozenset(Permission) - {Permission.AGENT},
    Role.SCALER: frozenset({Permission.SCALE}),
    Role.METRICS: frozenset({Permission.METRICS}),
}
"""An approver is no deployer: who releases need not be who approves."""


class Kind(StrEnum):
    """How a principal was recognised."""

    ANONYMOUS = "anonymous"
    LOCAL = "local"  # whoever reaches a controller without accounts, on its loopback address
    TOKEN = "token"  # noqa: S105  # a kind
    AGENT = "agent"
    AUTOMATIC = "automatic"  # the controller itself, for a webhook, a commit or a promotion


@dataclass(frozen=True, slots=True)
class Grant:
    """A role, for the applications whose names match a glob such as `web-*`."""

    role: Role
    applications: str = EVERY_APPLICATION

    def gives(self, permission: Permission, application: str | None) -> bool:
        """None: for the installation as a whole, which takes a grant for every application."""
        if permission not in PERMISSIONS[self.role]:
            return False
        if application is None:
            return self.applications == EVERY_APPLICATION
        return fnmatchcase(application, self.applications)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `scopes` narrow what the grants give; none: they don't."""

    kind: Kind
    name: str
    region: str = ""  # of an agent
    grants: tuple[Grant, ...] = ()
    teams: tuple[str, ...] = ()
    scopes: tuple[Grant, ...] = ()
    credential: str = ""  # the id of the token that was shown

    @property
    def is_known(self) -> bool:
        return self.kind is not Kind.ANONYMOUS

    def may(self, permission: Permission, application: str | None = None) -> bool:
        """Whether it may, for one application; None: for the installation as a whole."""
        match permission:
            case Permission.OPEN:
                return True
            case Permission.KNOWN:
                return self.is_known
            case Permission.AGENT:
                return self.kind is Kind.AGENT and bool(self.region)
            case Permission.FETCH if self.kind is Kind.AGENT:
                return True
        if self.kind is Kind.LOCAL:
            return True
        return self._has(permission, application)

    def may_somewhere(self, permission: Permission) -> bool:
        """Whether it may, for any application at all: what it is shown is then chosen one by one."""
        if self.may(permission):
            return True
        given = [each for each in self.grants if permission in PERMISSIONS[each.role]]
        return bool(given) and (
            not self.scopes or any(permission in PERMISSIONS[each.role] for each in self.scopes)
        )

    def roles_for(self, application: str) -> tuple[str, ...]:
        """The names that an approval may ask for: its roles for the application, and its teams."""
        roles = {
            str(each.role)
            for each in self.grants
            if fnmatchcase(application, each.applications) and self._is_in_scope(each.role, application)
        }
        return tuple(sorted({*roles, *self.teams}))

    def has_all_of(self, former: "Principal") -> bool:
        """Nothing was taken away since: what a stream shows was chosen by the rights that it began with."""
        return set(former.grants) <= set(self.grants)

    def _has(self, permission: Permission, application: str | None) -> bool:
        given = any(each.gives(permission, application) for each in self.grants)
        return given and (not self.scopes or any(each.gives(permission, application) for each in self.scopes))

    def _is_in_scope(self, role: Role, application: str) -> bool:
        return not self.scopes or any(
            each.role is role and fnmatchcase(application, each.applications) for each in self.scopes
        )


ANONYMOUS = Principal(Kind.ANONYMOUS, "")
LOCAL = Principal(Kind.LOCAL, LOCAL_NAME)


def agent(region: str) -> Principal:
    """The agent of a region, as its certificate says."""
    return Principal(Kind.AGENT, f"agent/{region}", region)
