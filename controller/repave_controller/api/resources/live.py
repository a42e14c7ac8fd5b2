"""One stream a browser's tab: snapshots of the topics that it shows, each sent when it has changed.

A topic is made once for all tabs that follow it, at most twice a second, and only after something has
changed. Between two changes nothing runs here.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field

from aiohttp import web

from repave_controller.api.answers.answer import Answer
from repave_controller.api.answers.live import FleetRows, Parts, World
from repave_controller.api.answers.live_regions import TOPICS
from repave_controller.api.answers.queries import LIVE_TOPICS_MAX, LiveQuery
from repave_controller.api.web.callers import denied, principal_of
from repave_controller.api.web.openapi import Route
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.requests import query_of
from repave_controller.api.web.streams import Streams
from repave_controller.fleet.sessions import Sessions
from repave_controller.runtime.broadcast import Broadcast
from repave_controller.runtime.clock import SteadyClock
from repave_controller.runtime.scheduler import Scheduler
from repave_controller.security.principals import Principal
from repave_protos.protocol.values import ApplicationName

WINDOW_SECONDS = 0.5
"""A topic is made at most once in so long."""


class LiveMessage(Answer):
    """What the stream has: an event named as the topic, with its snapshot as data. `reset`: what the tab has
    kept is of another controller, or of one that has begun anew."""

    topic: str


@dataclass(slots=True)
class _Made:
    """A topic as it was made last, and what each circle of people sees of it."""

    version: int
    parts: Parts
    texts: dict[tuple[ApplicationName, ...], str] = field(default_factory=dict)
    jsons: dict[ApplicationName, str] = field(default_factory=dict)


class Live:
    """One for an API. `boot` names this life of the controller."""

    def __init__(
        self, scheduler: Scheduler, sessions: Sessions, clock: SteadyClock, streams: Streams, boot: str
    ) -> None:
        self._scheduler, self._sessions, self._clock = scheduler, sessions, clock
        self._streams, self._boot = streams, boot
        self._made: dict[str, _Made] = {}
        self._rows = FleetRows()
        self._followed: Counter[str] = Counter()
        self._beat = Broadcast()
        self._task: asyncio.Task[None] | None = None
        self.makes: Counter[str] = Counter()
        """How often each topic was made."""
        self.told = 0
        """The scheduler's version that all tabs have been told of."""

    def routes(self) -> tuple[Route, ...]:
        return (Route("GET", "live", self.stream, LiveMessage, query=LiveQuery),)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """What a browser's tab shows: snapshots of its topics, each sent when it has changed."""
        topics = _topics_of(query_of(request, LiveQuery).topics)
        last = request.headers.get("Last-Event-ID", "")
        is_ours = not last or last.startswith(f"{self._boot}-")
        async with aclosing(self.frames(topics, principal_of(request), is_ours)) as frames:
            return await self._streams.frames(request, frames)

    async def frames(
        self, topics: Sequence[str], principal: Principal, is_ours: bool = True
    ) -> AsyncGenerator[bytes, None]:
        """What a tab is sent. `is_ours`: what it has kept, if anything, is of this life of the controller."""
        sent: dict[str, str] = {}
        with self._following(topics):
            if not is_ours:
                yield b"event: reset\ndata: {}\n\n"
            while True:
                beat = self._beat.version
                for topic in topics:
                    text = self._text(topic, principal)
                    if sent.get(topic) != text:
                        sent[topic] = text
                        yield f"event: {topic}\nid: {self._boot}-{beat}\ndata: {text}\n\n".encode()
                await self._beat.wait(beat)

    @property
    def followed(self) -> int:
        """How many topics tabs follow, each tab's counted."""
        return self._followed.total()

    @property
    def beats(self) -> int:
        """How often tabs were woken."""
        return self._beat.version

    @property
    def rows_made(self) -> int:
        return self._rows.made

    # ------------------------------------------------------------------------------------------ made once

    @contextmanager
    def _following(self, topics: Sequence[str]) -> Iterator[None]:
        self._followed.update(topics)
        if self._task is None:
            self.told = self._scheduler.version
            self._task = asyncio.create_task(self._beat_with_changes(self.told))
        try:
            yield
        finally:
            self._followed.subtract(topics)
            self._followed = +self._followed
            for topic in self._made.keys() - self._followed.keys():
                del self._made[topic]
            if not self._followed and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _beat_with_changes(self, version: int) -> None:
        while True:
            version = self.told = await self._scheduler.changed(version)
            self._beat.bump()
            await asyncio.sleep(WINDOW_SECONDS)

    def _text(self, topic: str, principal: Principal) -> str:
        name, _, argument = topic.partition(":")
        kind = TOPICS[name]
        try:
            made = self._newest(topic, argument)
        except KeyError:
            return _problem(Problem(404, f"unknown-{kind.takes}", f"{argument} is not known here"))
        shown = tuple(each for each in made.parts.items if principal.may(kind.permission, each))
        if made.parts.is_one and not shown:
            return _problem(denied(principal, kind.permission, argument))
        if shown not in made.texts:
            made.texts[shown] = _composed(made, shown)
        return made.texts[shown]

    def _newest(self, topic: str, argument: str) -> _Made:
        """Raises KeyError."""
        made, beat = self._made.get(topic), self._beat.version
        if made is None or made.version != beat:
            self.makes[topic] += 1
            newest = _Made(beat, TOPICS[topic.partition(":")[0]].make(self._world(), argument))
            made = self._made[topic] = _with_texts_of(made, newest) if made is not None else newest
        return made

    def _world(self) -> World:
        scheduler = self._scheduler
        return World(
            applications=scheduler.applications(),
            seen=scheduler.fence.seen,
            because=scheduler.because,
            regions=self._sessions.views(),
            ahead=scheduler.fence.ahead,
            freezes=scheduler.freezes,
            now=self._clock(),
            rows=self._rows,
        )


def _with_texts_of(before: _Made, newest: _Made) -> _Made:
    """What is the same part has the same text."""
    for name, text in before.jsons.items():
        if newest.parts.items.get(name) is before.parts.items[name]:
            newest.jsons[name] = text
    return newest


def _composed(made: _Made, shown: Sequence[ApplicationName]) -> str:
    for name in shown:
        if name not in made.jsons:
            made.jsons[name] = made.parts.items[name].model_dump_json()
    if made.parts.is_one:
        return made.jsons[shown[0]]
    head = made.parts.head.model_dump_json() if made.parts.head is not None else "{}"
    items = ",".join(made.jsons[name] for name in shown)
    return f'{head[:-1]}{"," if len(head) > 2 else ""}"items":[{items}]}}'


def _problem(problem: Problem) -> str:
    return f'{{"problem":{problem.response().text}}}'


def _topics_of(asked: str) -> list[str]:
    """Raises Problem."""
    topics = list(dict.fromkeys(each for each in asked.split(",") if each))
    if not 1 <= len(topics) <= LIVE_TOPICS_MAX:
        raise Problem(400, "bad-request", f"topics: expected 1 to {LIVE_TOPICS_MAX}, such as fleet,app:web")
    for topic in topics:
        name, _, argument = topic.partition(":")
        if name not in TOPICS or bool(argument) != bool(TOPICS[name].takes):
            raise Problem(400, "bad-request", f"topics: {topic!a} is none; expected of {_known()}")
    return topics


def _known() -> str:
    return ", ".join(f"{name}:{kind.takes.upper()}" if kind.takes else name for name, kind in TOPICS.items())
