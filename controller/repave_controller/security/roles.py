"""Who has which roles, and who is in which team; every change is a new value."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.security.principals import EVERY_APPLICATION, Grant, Role

TEAM = "team:"
GRANTS_MAX = 5000
TEAMS_MAX = 500
MEMBERS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Team:
    """People and machines that are given roles together."""

    name: str
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """A grant and whose it is: a name, or `team:NAME`."""

    to: str
    grant: Grant


@dataclass(frozen=True, slots=True)
class Roles:
    """Of the whole installation."""

    given: tuple[Given, ...] = ()
    teams: tuple[Team, ...] = ()

    def teams_of(self, name: str) -> tuple[str, ...]:
        return tuple(sorted(team.name for team in self.teams if name in team.members))

    def grants_of(self, name: str, teams: Iterable[str] = ()) -> tuple[Grant, ...]:
        """Its own, and those of its teams; `teams` are more of them."""
        holders = {name, *(f"{TEAM}{team}" for team in (*self.teams_of(name), *teams))}
        return tuple(each.grant for each in self.given if each.to in holders)

    def admins(self) -> set[str]:
        """The names that may do everything everywhere."""
        holders = {each.to for each in self.given if each.grant == Grant(Role.ADMIN, EVERY_APPLICATION)}
        members = {name for team in self.teams if f"{TEAM}{team.name}" in holders for name in team.members}
        return {each for each in holders if not each.startswith(TEAM)} | members


def grant(roles: Roles, to: str, given: Grant) -> Roles:
    """Raises Refused when there are too many."""
    new = Given(to, given)
    if new in roles.given:
        return roles
    if len(roles.given) >= GRANTS_MAX:
        raise Refused(Refusal.TOO_MANY, what="roles", most=GRANTS_MAX)
    return replace(roles, given=tuple(sorted((*roles.given, new), key=_order)))


def withdraw(roles: Roles, to: str, taken: Grant) -> Roles:
    """Raises Refused when it was not given."""
    gone = Given(to, taken)
    if gone not in roles.given:
        has = tuple(
            f"{each.grant.role} for {each.grant.applications}" for each in roles.given if each.to == to
        )
        raise Refused(
            Refusal.UNKNOWN_ROLE, name=to, role=str(taken.role), applications=taken.applications, has=has
        )
    return replace(roles, given=tuple(each for each in roles.given if each != gone))


def join_team(roles: Roles, team: str, name: str) -> Roles:
    """A team begins with its first member. Raises Refused when there are too many."""
    known = next((each for each in roles.teams if each.name == team), Team(team))
    if name in known.members:
        return roles
    if len(known.members) >= MEMBERS_MAX or len(roles.teams) >= TEAMS_MAX:
        raise Refused(Refusal.TOO_MANY, what="teams or members", most=MEMBERS_MAX)
    return _with(roles, Team(team, tuple(sorted((*known.members, name)))))


def leave_team(roles: Roles, team: str, name: str) -> Roles:
    """A team ends with its last member; what it was given stays. Raises Refused."""
    known = next((each for each in roles.teams if each.name == team), Team(team))
    if name not in known.members:
        raise Refused(Refusal.UNKNOWN_MEMBER, team=team, name=name, members=known.members)
    return _with(roles, Team(team, tuple(each for each in known.members if each != name)))


def _with(roles: Roles, team: Team) -> Roles:
    others: Iterable[Team] = (each for each in roles.teams if each.name != team.name)
    teams = (*others, *((team,) if team.members else ()))
    return replace(roles, teams=tuple(sorted(teams, key=lambda each: each.name)))


def _order(given: Given) -> tuple[str, str, str]:
    return given.to, str(given.grant.role), given.grant.applications
