"""What the hosts of an application print, as a stream: the last lines, and what follows if that is wanted.

Regions are asked again only once the client has taken what they gave: a slow client slows down the questions.
How far each host was read the client knows, and the agent understands: a stream goes on at any controller.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing

from aiohttp import web

from repave_controller.api.answers.logs import LogItem, LogPosition, LogsRequest
from repave_controller.api.answers.queries import LogsQuery
from repave_controller.api.answers.views import time_of
from repave_controller.api.resources.names import Names
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.requests import body_of, query_of
from repave_controller.api.web.streams import Streams
from repave_controller.core.domain.application import Instant
from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.scheduler import Scheduler
from repave_protos.protocol.bounds import OUTPUTS_MAX
from repave_protos.protocol.capabilities import keeps_output
from repave_protos.protocol.queries import HostOutput, Output, ReadOutput
from repave_protos.protocol.values import ApplicationName, HostName, RegionName

PAUSE_SECONDS = 1.0
"""Between two questions to a region that had nothing new, or could not answer."""
ANSWER_SECONDS = 15.0
LINES_OF_NEW_HOSTS = 1000
"""Of a host that came while others were followed, all that it printed so far, within bounds."""

Positions = dict[HostName, str]


class Logs:
    """One for an API."""

    def __init__(
        self,
        scheduler: Scheduler,
        sessions: Sessions,
        clock: Callable[[], Instant],
        names: Names,
        streams: Streams,
    ) -> None:
        self._scheduler, self._sessions, self._clock = scheduler, sessions, clock
        self._names, self._streams = names, streams

    def routes(self) -> tuple[Route, ...]:
        path, refuses = "applications/{application}/logs/stream", ("unknown-region",)
        return (
            Route("GET", path, self.logs, LogItem, query=LogsQuery, refuses=refuses),
            Route(
                "POST",
                path,
                self.logs_after,
                LogItem,
                LogsRequest,
                LogsQuery,
                repeats=Repeats.SAFE,
                refuses=refuses,
            ),
        )

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """What hosts print: the last lines, and with `follow` what comes."""
        return await self._sent(request, {})

    async def logs_after(self, request: web.Request) -> web.StreamResponse:
        """What hosts have printed since, and with `follow` what comes."""
        asked = await body_of(request, LogsRequest)
        return await self._sent(request, _by_region(asked.after))

    async def _sent(self, request: web.Request, after: Mapping[str, Positions]) -> web.StreamResponse:
        query, name = query_of(request, LogsQuery), self._names.one(request)
        self._names.check_region(query.region, [name])
        regions = {
            each: (after.get(each, {}) if after else None)
            for each in self._regions_of(name)
            if query.region in ("", each)
        }
        async with aclosing(self._merged(name, regions, query)) as messages:
            return await self._streams.items(request, messages)

    def _regions_of(self, name: ApplicationName) -> list[RegionName]:
        """Also those of the newest rollout, which may have left no host."""
        application = self._scheduler.applications()[name]
        tracks = application.rollout.tracks if application.rollout is not None else ()
        return sorted({*application.regions, *(track.region for track in tracks)})

    async def _merged(
        self, name: ApplicationName, regions: Mapping[RegionName, Positions | None], query: LogsQuery
    ) -> AsyncGenerator[tuple[int, LogItem], None]:
        """What the regions give, as it comes, after positions or anew; ends when all of them do."""
        waiting: asyncio.Queue[LogItem | None] = asyncio.Queue(1)
        reading = asyncio.create_task(self._read_all(name, regions, query, waiting))
        number = 0
        try:
            while (item := await waiting.get()) is not None:
                number += 1
                yield number, item
            await reading
        finally:
            reading.cancel()

    async def _read_all(
        self,
        name: ApplicationName,
        regions: Mapping[RegionName, Positions | None],
        query: LogsQuery,
        waiting: asyncio.Queue[LogItem | None],
    ) -> None:
        """Puts None at the end. A reader that fails ends the others too: a stream that had silently lost a
        region would look whole."""
        try:
            async with asyncio.TaskGroup() as readers:
                for region, after in regions.items():
                    readers.create_task(self._read(region, name, query, waiting, after))
        except ExceptionGroup:
            await waiting.put(None)
            raise
        await waiting.put(None)

    async def _read(
        self,
        region: RegionName,
        name: ApplicationName,
        query: LogsQuery,
        waiting: asyncio.Queue[LogItem | None],
        after: Positions | None,
    ) -> None:
        """One region's output, one question at a time; a trouble once."""
        cursors: Positions = dict(after or {})
        told: set[tuple[str, str]] = set()
        since = self._clock() - query.since if query.since else 0.0
        lines, with_gone = (query.lines, query.gone) if after is None else (LINES_OF_NEW_HOSTS, False)
        while True:
            known = tuple(cursors.items())
            question = ReadOutput(name, query.group, query.host, lines, known, with_gone)
            has_news = False
            for item in await self._asked(region, question, cursors, since, tells_all=query.follow):
                has_news = has_news or bool(item.lines)
                if item.trouble and (item.host, item.trouble) in told:
                    continue
                if item.trouble:
                    told.add((item.host, item.trouble))
                await waiting.put(item)
            if not query.follow:
                return
            lines, with_gone = LINES_OF_NEW_HOSTS, False
            if not has_news:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _asked(
        self,
        region: RegionName,
        question: ReadOutput,
        cursors: Positions,
        since: float,
        *,
        tells_all: bool,
    ) -> list[LogItem]:
        """`since`: what is gone for longer is left out. `tells_all`: also of hosts that are there for the
        first time and have no lines."""
        view = self._sessions.views().get(region)
        if view is not None and not keeps_output(view.hello.capabilities):
            text = f"the provider {view.hello.provider} keeps nothing of what hosts print"
            return [LogItem(region=region, trouble=text)]
        try:
            answer = await self._sessions.ask(region, question, Output, ANSWER_SECONDS)
        except RegionUnreachable as error:
            return [LogItem(region=region, trouble=str(error))]
        there = {each.host for each in answer.hosts}
        new = {each.host for each in answer.hosts if tells_all and each.cursor} - cursors.keys()
        for gone in cursors.keys() - there:
            del cursors[gone]
        cursors.update({each.host: each.cursor for each in answer.hosts if each.cursor})
        shown = [
            each for each in answer.hosts if each.text or each.trouble or each.is_cut or each.host in new
        ]
        items = [_item(region, each) for each in shown if not 0 < each.gone_at < since]
        if answer.left_out:
            text = f"{answer.left_out} more hosts are not shown: name a group or a host"
            items.append(LogItem(region=region, trouble=text))
        return items


def _item(region: RegionName, output: HostOutput) -> LogItem:
    return LogItem(
        region=region,
        host=output.host,
        group=output.group,
        lines=output.text.splitlines(),
        gone_at=time_of(Instant(output.gone_at)) if output.gone_at else None,
        cut=output.is_cut,
        trouble=output.trouble,
        position=output.cursor,
    )


def _by_region(after: Sequence[LogPosition]) -> Mapping[str, Positions]:
    found: dict[str, Positions] = {}
    for each in after:
        positions = found.setdefault(each.region, {})
        positions.pop(HostName(each.host), None)
        positions[HostName(each.host)] = each.position
    return {region: dict(list(each.items())[-OUTPUTS_MAX:]) for region, each in found.items()}
