"""Freezes: listed, added, lifted."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.calendar import CalendarAnswer, times_of
from repave_controller.api.answers.models import REASON_LENGTH_MAX, Body
from repave_controller.api.answers.queries import CalendarQuery
from repave_controller.api.answers.views import time_of
from repave_controller.api.web.callers import may_read
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain import freezes
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.freezes import Freezes, NamedFreeze
from repave_controller.core.domain.instants import DAY_SECONDS
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.spec.calendar import FreezeSection

GLOBS_MAX = 50
ALL = "all"
Glob = Annotated[str, Field(pattern=r"^[a-z0-9*?\[\]!-]{1,100}$")]


class FreezeChange(Body):
    """Freeze everything, or lift a freeze."""

    reason: str = Field("", max_length=REASON_LENGTH_MAX)
    by: str = Field("", max_length=100, description="Who asks, for the log of events.")


class FreezeRequest(FreezeSection):
    """Add a freeze: in these times nothing is released."""

    applications: Annotated[tuple[Glob, ...], Field(strict=False, max_length=GLOBS_MAX)] = Field(
        (), description="Only those whose names match, such as web-*; every application if empty."
    )
    by: str = Field("", max_length=100, description="Who asks, for the log of events.")


class FullFreezeItem(Answer):
    """Who froze everything, when, why."""

    by: str
    reason: str
    at: datetime


class FreezeItem(Answer):
    """A freeze that a person added."""

    id: str
    begins_at: datetime
    ends_at: datetime = Field(description="The first instant that is free again.")
    zone: str
    is_on: bool = Field(description="Now.")
    applications: list[str] = Field(description="Globs; empty: every application.")
    reason: str
    by: str
    added_at: datetime


class FreezesAnswer(Answer):
    """The freezes of the whole installation."""

    everything: FullFreezeItem | None = Field(description="Null unless everything is frozen.")
    items: list[FreezeItem] = Field(description="Those for a time, on or to come.")


class FreezeRoutes:
    """One for an API."""

    def __init__(self, scheduler: Scheduler, clock: SteadyClock) -> None:
        self._scheduler, self._clock = scheduler, clock

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("GET", "freezes", self.listed, FreezesAnswer),
            Route(
                "POST",
                "freezes/all",
                self.freeze_all,
                FreezesAnswer,
                FreezeChange,
                refuses=("reason-missing",),
            ),
            Route(
                "POST",
                "freezes",
                self.add_freeze,
                FreezeItem,
                FreezeRequest,
                status=201,
                repeats=Repeats.ONCE,
                refuses=("freeze-over", "too-many-freezes"),
            ),
            Route(
                "POST",
                "freezes/{freeze}/lift",
                self.lift_freeze,
                FreezesAnswer,
                FreezeChange,
                refuses=("unknown-freeze",),
            ),
            Route("GET", "calendar", self.calendar, CalendarAnswer, query=CalendarQuery),
        )

    async def listed(self, _: web.Request) -> web.Response:
        """What is frozen now, and the freezes to come."""
        return answer(freezes_answer(self._scheduler.freezes, self._clock()))

    async def calendar(self, request: web.Request) -> web.Response:
        """When releases may move: windows and freezes as times, from today on, by UTC."""
        days, scheduler, now = query_of(request, CalendarQuery).days, self._scheduler, self._clock()
        known = scheduler.applications()
        found = (
            times_of(
                known[name],
                scheduler.freezes,
                scheduler.because(name),
                scheduler.observed(name),
                now,
                days,
            )
            for name in may_read(request, sorted(known))
        )
        today = now - now % DAY_SECONDS
        return answer(
            CalendarAnswer(
                begins_at=time_of(today),
                ends_at=time_of(today + days * DAY_SECONDS),
                items=[each for each in found if each is not None],
            )
        )

    async def freeze_all(self, request: web.Request) -> web.Response:
        """Freeze everything at once: no rollout moves until it is lifted."""
        return await self._change_freezes(freezing_all(await body_of(request, FreezeChange)))

    async def add_freeze(self, request: web.Request) -> web.Response:
        """Add a freeze for a time, of all applications or of some."""
        asked = await body_of(request, FreezeRequest)
        freezes = await self._scheduler.change_freezes(adding(asked))
        return answer(added_answer(freezes, asked, self._clock()), status=201)

    async def lift_freeze(self, request: web.Request) -> web.Response:
        """Lift a freeze by its id; `all` lifts the one of everything."""
        asked = await body_of(request, FreezeChange)
        return await self._change_freezes(lifting(request.match_info["freeze"], asked))

    async def _change_freezes(self, command: freezes.Command) -> web.Response:
        return answer(freezes_answer(await self._scheduler.change_freezes(command), self._clock()))


def freezes_answer(decided: Freezes, now: Instant) -> FreezesAnswer:
    """Freezes that are over are left out."""
    full = decided.full
    return FreezesAnswer(
        everything=None
        if full is None
        else FullFreezeItem(by=full.by, reason=full.reason, at=time_of(full.at)),
        items=[_freeze_item(each, now) for each in decided.named if each.ends_at > now],
    )


def added_answer(decided: Freezes, asked: FreezeRequest, now: Instant) -> FreezeItem:
    """The freeze that was just asked for."""
    found = (each for each in decided.named if each.applications == asked.applications)
    wanted = asked.freeze
    return _freeze_item(next(each for each in found if replace(each.freeze, name="") == wanted), now)


def _freeze_item(freeze: NamedFreeze, now: Instant) -> FreezeItem:
    return FreezeItem(
        id=freeze.id,
        begins_at=time_of(freeze.begins_at),
        ends_at=time_of(freeze.ends_at),
        zone=freeze.zone,
        is_on=freeze.begins_at <= now < freeze.ends_at,
        applications=list(freeze.applications),
        reason=freeze.reason,
        by=freeze.by,
        added_at=time_of(freeze.added_at),
    )


def freezing_all(asked: FreezeChange) -> freezes.Command:
    return lambda known, now: freezes.freeze_all(known, asked.by, asked.reason, now)


def adding(asked: FreezeRequest) -> freezes.Command:
    return lambda known, now: freezes.add_freeze(known, asked.freeze, asked.applications, asked.by, now)


def lifting(identity: str, asked: FreezeChange) -> freezes.Command:
    """`identity`: a freeze's, or `all`."""
    if identity == ALL:
        return lambda known, now: freezes.unfreeze_all(known, asked.by, asked.reason, now)
    return lambda known, now: freezes.lift_freeze(known, identity, asked.by, asked.reason, now)
