"""Agents and their certificates as people look after them: invited, listed, revoked; and the authority."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from aiohttp import web
from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.models import CheckItem, Items, SignedRequest
from repave_controller.api.answers.queries import PageQuery
from repave_controller.api.answers.regional_models import DoneAnswer
from repave_controller.api.answers.views import time_of
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.paging import items, page
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused, cli
from repave_controller.fleet.certificates import Denial
from repave_controller.fleet.regions import KnownRegion, Rival
from repave_controller.fleet.sessions import Sessions
from repave_controller.fleet.turned_away import TurnedAwayAgents
from repave_controller.runtime.clock import SteadyClock
from repave_controller.security.enrolment import Enrolment
from repave_controller.security.roster import Member
from repave_controller.wording.render import command_of
from repave_protos.protocol.values import RegionName

SOON = 0.25
"""Of a certificate's life: with less than that left the agent should have renewed long ago."""


class TokenAnswer(Answer):
    """What makes a machine the agent of a region, once. It is shown once."""

    region: str
    url: str = Field(description="Where the agent joins.")
    token: str
    expires_at: datetime
    command: str = Field(description="To be run on that machine.")


class RevokeRequest(SignedRequest):
    """End what an agent's certificates are good for, and its stream."""

    agent: str = Field("", max_length=64, description="One of the region's agents; empty: all of them.")


class RotateRequest(SignedRequest):
    """Make a new authority."""

    now: bool = Field(False, description="Trust the former one no longer: every agent must join again.")


class AgentItem(Answer):
    """An agent that joined, with its newest certificate."""

    name: str = Field(description="Region and agent.")
    region: str
    agent: str
    state: str = Field(description="valid, expired or revoked.")
    connected: bool
    role: str = Field(description="acts or stands by, in its region; empty while it is away.")
    serial: str
    joined_at: datetime
    joined_from: str
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str


REFUSES = (
    "agents-not-enrolled",
    "authority-is-operators",
    "authority-of-several",
    "region-name",
    "rotating",
    "too-many-tokens",
    "unknown-agent",
)


class Agents:
    """One for an API. `enrolment` is None over plaintext; `url` is where agents reach the controller.
    `turned_away`: by any of the controllers."""

    def __init__(
        self,
        enrolment: Enrolment | None,
        sessions: Sessions,
        clock: SteadyClock,
        url: str = "",
        turned_away: TurnedAwayAgents | None = None,
    ) -> None:
        self._given, self._sessions, self._clock, self._url = enrolment, sessions, clock, url
        self.turned_away = turned_away if turned_away is not None else TurnedAwayAgents(sessions)

    def routes(self) -> tuple[Route, ...]:
        one = "agents/{region}"
        return (
            Route("GET", "agents", self.listed, Items[AgentItem], query=PageQuery),
            Route(
                "POST",
                "agents/rotate",
                self.rotate,
                DoneAnswer,
                RotateRequest,
                repeats=Repeats.ONCE,
                refuses=REFUSES,
            ),
            Route(
                "POST",
                f"{one}/join-token",
                self.invite,
                TokenAnswer,
                SignedRequest,
                repeats=Repeats.SECRET,
                refuses=REFUSES,
            ),
            Route("POST", f"{one}/revoke", self.revoke, DoneAnswer, RevokeRequest, refuses=REFUSES),
        )

    @property
    def _enrolment(self) -> Enrolment:
        """Raises Refused."""
        if self._given is None:
            raise Refused(Refusal.AGENTS_NOT_ENROLLED)
        return self._given

    async def listed(self, request: web.Request) -> web.Response:
        """The agents that joined, with their certificates."""
        members = self._given.members() if self._given is not None else []
        shown, following = page(members, query_of(request, PageQuery), lambda each: (each.region, each.agent))
        views, rivals = self._sessions.views(), (await self.turned_away.everywhere()).rivals
        roles = {each.name: _role(each, views, rivals) for each in shown}
        return items(request, (_item(each, roles[each.name], self._clock()) for each in shown), following)

    async def invite(self, request: web.Request) -> web.Response:
        """Make what lets a machine become the agent of a region, once. It is shown once."""
        asked = await body_of(request, SignedRequest)
        word, token = await self._enrolment.invite(request.match_info["region"], asked.by)
        answer = TokenAnswer(
            region=token.region,
            url=self._url,
            token=str(word),
            expires_at=time_of(Instant(token.expires_at)),
            command=f"repave-agent join {self._url} {word}",
        )
        return web.json_response(text=answer.model_dump_json())

    async def revoke(self, request: web.Request) -> web.Response:
        """End what an agent's certificates are good for, and its stream; repeating it changes nothing."""
        asked, region = await body_of(request, RevokeRequest), request.match_info["region"]
        ended = await self._enrolment.revoke(region, asked.agent, asked.by, asked.reason)
        names = ", ".join(each.name for each in ended)
        what = (
            f"{names} revoked; its stream ends at once"
            if names
            else f"the join tokens of {region} are revoked"
        )
        return web.json_response(text=DoneAnswer(text=what).model_dump_json())

    async def rotate(self, request: web.Request) -> web.Response:
        """Make a new authority for agents' certificates."""
        asked = await body_of(request, RotateRequest)
        ends_at = await self._enrolment.rotate(asked.by, at_once=asked.now)
        text = (
            "the former authority is trusted no longer: let every agent join again (repave agents join)"
            if ends_at is None
            else "a new authority issues from now on; agents take it up as they renew, and the former one "
            f"ends at {_shown(ends_at)}"
        )
        return web.json_response(text=DoneAnswer(text=text).model_dump_json())

    def checks(self, denials: Iterable[Denial]) -> list[CheckItem]:
        """For doctor: agents that were refused, and certificates that have ended or soon will."""
        now = self._clock()
        checks = [_denied(each, now) for each in denials]
        members = self._given.members() if self._given is not None else []
        return checks + [
            check
            for each in members
            if (check := _ending(each, members, self._sessions.views(), now)) is not None
        ]


def _role(member: Member, views: Mapping[RegionName, KnownRegion], rivals: Mapping[RegionName, Rival]) -> str:
    region = RegionName(member.region)
    view, rival = views.get(region), rivals.get(region)
    identity = view.identity if view is not None and view.is_connected else None
    if identity is not None and identity.agent == member.agent:
        return "acts"
    is_rival = rival is not None and rival.identity is not None and rival.identity.agent == member.agent
    return "stands by" if is_rival else ""


def _item(member: Member, role: str, now: float) -> AgentItem:
    return AgentItem(
        name=member.name,
        region=member.region,
        agent=member.agent,
        state=member.state(now),
        connected=role == "acts",
        role=role,
        serial=member.serial,
        joined_at=time_of(Instant(member.joined_at)),
        joined_from=member.joined_from,
        issued_at=time_of(Instant(member.issued_at)),
        expires_at=time_of(Instant(member.expires_at)),
        revoked_at=time_of(Instant(member.revoked_at)) if member.revoked_at is not None else None,
        revoked_by=member.revoked_by,
    )


def _shown(at: float) -> str:
    return f"{time_of(Instant(at)):%Y-%m-%d %H:%M} UTC"


def _denied(denial: Denial, now: float) -> CheckItem:
    text = f"refused {now - denial.at:.0f} s ago: {denial.why}"
    remedy = command_of(cli("agents join", denial.region))
    return CheckItem(name=f"agent of {denial.region}", state="fail", text=text, remedy=remedy)


def _ending(
    member: Member, members: list[Member], views: Mapping[RegionName, KnownRegion], now: float
) -> CheckItem | None:
    """None where another agent has the region, or all is well."""
    others = (
        each for each in members if each.region == member.region and each.expires_at > member.expires_at
    )
    view = views.get(RegionName(member.region))
    if member.state(now) == "revoked" or any(each.revoked_at is None for each in others):
        return None
    name, again = f"agent of {member.region}", command_of(cli("agents join", member.region))
    left = member.expires_at - now
    if left <= 0:
        text = f"the certificate of {member.name} expired at {_shown(member.expires_at)}"
        return CheckItem(name=name, state="fail", text=text, remedy=again)
    if left < SOON * (member.expires_at - member.issued_at):
        is_there = view is not None and view.is_connected
        why = "and does not renew: see its log" if is_there else "and its agent is away"
        text = f"the certificate of {member.name} ends in {left / 3600:.0f} h, {why}"
        return CheckItem(name=name, state="warn", text=text, remedy=again)
    return None
