"""Server-sent events: the event log as it grows, and an application's status whenever it changes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog
from aiohttp import web
from pydantic import BaseModel

from repave_controller.api.answers import views
from repave_controller.api.web.callers import ENDING
from repave_controller.api.web.problems import Problem
from repave_controller.core.domain.application import Event
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.ports import StoreError
from repave_controller.runtime.gaps import DROPPED
from repave_controller.runtime.scheduler import Scheduler

CLIENTS_MAX = 200
HEARTBEAT_SECONDS = 15.0
STATUS_WINDOW_SECONDS = 0.1

log = structlog.get_logger()


class Streams:
    """Open streams, bounded. A slow client holds up no other: each has its own task and reads at its pace."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._open = 0
        self._closing = asyncio.Event()

    async def close(self, _: web.Application) -> None:
        """Ends every stream: the controller stops."""
        self._closing.set()

    async def events(
        self, request: web.Request, after: int, application: str, is_shown: Callable[[Event], bool]
    ) -> web.StreamResponse:
        """The log from `after` on, each event once, `id` its sequence number; of those that are shown. One
        called `reset` stands for those that are no longer kept, and for a log that is not the client's: a
        backup of it was restored."""

        async def messages() -> AsyncIterator[tuple[int, BaseModel]]:
            begin = after
            newest = await self._scheduler.store.events(limit=1, newest=True) if after else ()
            end = newest[-1].sequence if newest else 0
            if after > end:
                text = f"the log ends at event {end}: what is known after it is of another log"
                yield end, views.event_item(Event(DROPPED, text, at=self._scheduler.clock(), sequence=end))
                begin = end
            async for event in self._scheduler.follow(begin, application):
                if is_shown(event):
                    yield event.sequence, views.event_item(event)

        return await self._send(request, messages())

    async def items(
        self, request: web.Request, messages: AsyncIterator[tuple[int, BaseModel]]
    ) -> web.StreamResponse:
        """What `messages` give, until they end."""
        return await self._send(request, messages)

    async def frames(self, request: web.Request, frames: AsyncIterator[bytes]) -> web.StreamResponse:
        """Messages as they go over the wire, until they end."""
        return await self._send_frames(request, frames)

    async def status(
        self, request: web.Request, snapshot: Callable[[], BaseModel], turn: Callable[[], object]
    ) -> web.StreamResponse:
        """Whole snapshots: one at once, then the newest after each change, at most ten a second and at once
        when `turn` is another one. Ends when `snapshot` raises Refused: the application is gone."""

        async def messages() -> AsyncIterator[tuple[int, BaseModel]]:
            sent = ""
            while True:
                version = self._scheduler.version
                try:
                    newest = snapshot()
                except Refused:
                    return
                text = newest.model_dump_json()
                if text != sent:
                    sent = text
                    yield version, newest
                    await self._rest(version, turn)
                await self._scheduler.changed(version)

        return await self._send(request, messages())

    async def _rest(self, version: int, turn: Callable[[], object]) -> None:
        """For the window, or until the next turn: who waits for the end of a rollout hears of it at once."""
        before = turn()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STATUS_WINDOW_SECONDS):
                while turn() == before:
                    version = await self._scheduler.changed(version)

    async def _send(
        self, request: web.Request, messages: AsyncIterator[tuple[int, BaseModel]]
    ) -> web.StreamResponse:
        return await self._send_frames(request, _framed(messages))

    async def _send_frames(self, request: web.Request, frames: AsyncIterator[bytes]) -> web.StreamResponse:
        if self._open >= CLIENTS_MAX:
            raise Problem(503, "too-many-streams", f"{CLIENTS_MAX} streams are open; close some")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        self._open += 1
        try:
            await response.prepare(request)
            await self._pump(response, frames, asyncio.ensure_future(_ended(request)))
        except ConnectionResetError:
            pass  # the client has left
        except StoreError as error:
            log.error("stream.ended", path=request.path, error=str(error))  # the client comes back for more
        except Exception:  # the root of a stream: it can't become a problem any more, and must not look whole
            log.exception("stream.failed", path=request.path)
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._open -= 1
        return response

    async def _pump(
        self,
        response: web.StreamResponse,
        frames: AsyncIterator[bytes],
        ending: asyncio.Future[None],
    ) -> None:
        """Until the controller stops, or `ending` is done: the client may not see more."""
        closing = asyncio.ensure_future(self._closing.wait())
        following: asyncio.Future[bytes] | None = None
        try:
            while not self._closing.is_set() and not ending.done():
                following = following or asyncio.ensure_future(anext(frames))
                done, _ = await asyncio.wait(
                    (following, closing, ending),
                    timeout=HEARTBEAT_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if ending in done:
                    return
                if following in done:
                    try:
                        frame = following.result()
                    except StopAsyncIteration:
                        return
                    following = None
                    await response.write(frame)
                elif not done:
                    await response.write(b": still here\n\n")
        finally:
            tasks = [task for task in (closing, following, ending) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)  # `frames` can't be closed while it runs


async def _framed(messages: AsyncIterator[tuple[int, BaseModel]]) -> AsyncIterator[bytes]:
    async for number, message in messages:
        kind = "event: reset\n" if getattr(message, "kind", "") == DROPPED else ""
        yield f"id: {number}\n{kind}data: {message.model_dump_json()}\n\n".encode()


async def _ended(request: web.Request) -> None:
    """Returns once the caller may not any more."""
    ending = request.get(ENDING)
    if ending is None:
        await asyncio.Event().wait()
    else:
        await ending.wait()
