"""Who is told of what happens, how far each is, and telling it again."""

from collections import defaultdict
from collections.abc import Sequence

from aiohttp import web

from repave_controller.api.answers.models import CheckItem
from repave_controller.api.answers.notices import (
    DeadItem,
    NoticeTargetItem,
    NoticeTargetsAnswer,
    NoticeTestRequest,
    ReplayAnswer,
    ReplayRequest,
)
from repave_controller.api.answers.views import time_of
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.requests import body_of
from repave_controller.api.web.responses import answer
from repave_controller.core.domain.application import Instant
from repave_controller.core.ports import StoreError
from repave_controller.notices.outbox import Outbox, Standing
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.wording.phrases import some

LATE_EVENTS = 1000


class Notices:
    """One for an API. `outbox`: None where the settings name no target."""

    def __init__(self, outbox: Outbox | None, clock: SteadyClock, scheduler: Scheduler) -> None:
        self._outbox, self._clock, self._scheduler = outbox, clock, scheduler

    def routes(self) -> tuple[Route, ...]:
        one = "notices/{target}"
        return (
            Route("GET", "notices", self.listed, NoticeTargetsAnswer),
            Route(
                "POST",
                f"{one}/replay",
                self.replay,
                ReplayAnswer,
                ReplayRequest,
                status=202,
                refuses=("unknown-target",),
            ),
            Route(
                "POST",
                f"{one}/test",
                self.test,
                ReplayAnswer,
                NoticeTestRequest,
                repeats=Repeats.ANEW,
                refuses=("unknown-target",),
            ),
        )

    async def listed(self, _: web.Request) -> web.Response:
        """Who is told of what happens, and how far each is."""
        standings = await self._outbox.standings() if self._outbox is not None else []
        return answer(NoticeTargetsAnswer(items=[_item(each) for each in standings]))

    async def replay(self, request: web.Request) -> web.Response:
        """Send all notices from an event on again, under the ids that they had."""
        asked = await body_of(request, ReplayRequest)
        name = request.match_info["target"]
        outbox = self._outbox_for(name)
        await outbox.replay(name, asked.from_sequence, asked.by)
        return answer(ReplayAnswer(target=name, from_sequence=asked.from_sequence, error=""), status=202)

    async def test(self, request: web.Request) -> web.Response:
        """Send one notice that tells of nothing; answers once the target has it, or says why it hasn't."""
        await body_of(request, NoticeTestRequest)
        name = request.match_info["target"]
        failure = await self._outbox_for(name).test(name)
        return answer(ReplayAnswer(target=name, from_sequence=0, error=failure))

    async def checks(self) -> list[CheckItem]:
        """For doctor."""
        found = self._unknown()
        if self._outbox is None:
            return found
        try:
            return [_check(each, self._clock()) for each in await self._outbox.standings()] + found
        except StoreError as error:
            return [
                CheckItem(name="notices", state="fail", text=str(error), remedy="see the controller's log")
            ]

    def _unknown(self) -> list[CheckItem]:
        """Targets that specs name and the settings don't have: nothing is told there."""
        named = defaultdict[str, set[str]](set)
        for name, application in self._scheduler.applications().items():
            for each in application.policy.notify:
                named[each.to].add(name)
        known = set(self._outbox.named) if self._outbox is not None else set[str]()
        return [_unheard(target, sorted(named[target])) for target in sorted(named.keys() - known)]

    def _outbox_for(self, name: str) -> Outbox:
        """Raises Refused."""
        if self._outbox is None:
            raise Outbox.unknown(name, ())
        return self._outbox


def _item(standing: Standing) -> NoticeTargetItem:
    progress = standing.progress
    return NoticeTargetItem(
        name=standing.target.name,
        kind=standing.target.kind,
        place=standing.target.place,
        state=_state(standing),
        cursor=progress.cursor,
        waiting=standing.waiting,
        delivered=progress.delivered,
        delivered_at=time_of(Instant(progress.delivered_at)) if progress.delivered_at else None,
        tries=progress.tries,
        retry_at=time_of(Instant(progress.retry_at)) if progress.tries else None,
        error=progress.error,
        dead_total=progress.dead_total,
        dead=[
            DeadItem(
                sequence=each.sequence,
                kind=each.kind,
                at=time_of(Instant(each.at)),
                tries=each.tries,
                error=each.error,
            )
            for each in progress.dead
        ],
    )


def _state(standing: Standing) -> str:
    if standing.progress.tries or standing.progress.error:
        return "failing"
    if not standing.has_begun:
        return "new"
    return "behind" if standing.waiting > LATE_EVENTS else "well"


def _unheard(target: str, applications: Sequence[str]) -> CheckItem:
    return CheckItem(
        name=f"notices to {target}",
        state="warn",
        text=f"the spec of {some(applications)} names it, and [notify] of the settings does not have it",
        remedy="correct notify in the spec, or add the target to the controller's settings",
    )


def _check(standing: Standing, now: float) -> CheckItem:
    progress, target = standing.progress, standing.target
    name = f"notices to {target.name}"
    if progress.dead:
        first = progress.dead[0]
        what = f"event {first.sequence} ({first.kind}): {first.error}"
        text = f"{len(progress.dead)} were never taken, the first is {what}"
        remedy = f"once it is well: repave notify replay {target.name} --from {first.sequence}"
        return CheckItem(name=name, state="fail", text=text, remedy=remedy)
    if progress.tries:
        text = f"tried {progress.tries} times since {now - progress.trying_since:.0f} s: {progress.error}"
        return CheckItem(name=name, state="warn", text=text, remedy=f"see {target.place}")
    if standing.waiting > LATE_EVENTS:
        text = f"{standing.waiting} events behind"
        return CheckItem(name=name, state="warn", text=text, remedy=f"see how long {target.place} takes")
    return CheckItem(name=name, state="ok", text=f"{progress.delivered} sent to {target.place}", remedy="")
