"""The controllers that share the store: which are there, what each decides for, and what is wrong."""

from collections import Counter
from collections.abc import Iterable

from aiohttp import web

from repave_controller.api.answers.models import CheckItem, ControllerItem, ControllersAnswer
from repave_controller.api.answers.views import time_of
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.reasons import Reason
from repave_controller.fleet.sessions import Sessions
from repave_controller.peers.company import Company
from repave_controller.peers.condition import Condition, State
from repave_controller.peers.ports import shard_of
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.wording.render import remedy_of, text_of


class Controllers:
    """One for an API."""

    def __init__(
        self, company: Company, scheduler: Scheduler, sessions: Sessions, clock: SteadyClock
    ) -> None:
        self._company, self._scheduler = company, scheduler
        self._sessions, self._clock = sessions, clock

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "controllers", self.listed, ControllersAnswer),)

    async def listed(self, _: web.Request) -> web.Response:
        """The controllers that share the store, and what each decides for."""
        return answer(
            ControllersAnswer(items=list(self._items()), problems=_told(await self._company.concerns()))
        )

    async def checks(self) -> list[CheckItem]:
        """For doctor: only what is wrong."""
        found = [
            _check(f"controller {each.member.id}", each.state is not State.AWAY, reason)
            for each in self._company.conditions()
            for reason in each.concerns
        ]
        return found + [_check("database", True, each) for each in await self._company.concerns()]

    def _items(self) -> Iterable[ControllerItem]:
        by_shard = Counter(shard_of(name) for name in self._scheduler.applications())
        regions = self._regions()
        for each in self._company.conditions():
            name = each.member.id
            yield ControllerItem(
                name=name,
                state=each.state,
                since=time_of(self._since(each)),
                version=each.member.version,
                url=each.member.url,
                agents=each.member.agents,
                asked=each.member == self._company.me,
                lease_seconds=round(each.lease_left_seconds, 3) if self._company.membership else None,
                shards=list(each.shards),
                applications=sum(by_shard[shard] for shard in each.shards),
                regions=sorted(regions.get(name, ())),
                problems=_told(each.concerns),
            )

    def _since(self, condition: Condition) -> Instant:
        if condition.state is State.LIVE:
            return Instant(condition.member.started_at)
        return Instant(self._clock() + min(0.0, condition.lease_left_seconds))

    def _regions(self) -> dict[str, list[str]]:
        """Those whose agents are connected, by the controller that has the stream."""
        found: dict[str, list[str]] = {}
        for name, view in self._sessions.views().items():
            if view.is_connected:
                holder = view.home.controller if view.home is not None else self._company.me.id
                found.setdefault(holder, []).append(name)
        return found


def _told(concerns: Iterable[Reason]) -> list[str]:
    return [f"{text_of(each)}: {remedy_of(each)}" for each in concerns]


def _check(name: str, is_warning: bool, concern: Reason) -> CheckItem:
    state = "warn" if is_warning else "fail"
    return CheckItem(name=name, state=state, text=text_of(concern), remedy=remedy_of(concern))
