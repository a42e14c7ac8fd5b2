"""Letters of this controller to others, and of others to it, which the handlers of their kinds answer.

A letter has a bound and an end: one that is not answered in time is withdrawn. Whether what it asked was done
is then not known, so a command carries a key by which its repeat is recognised.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol

import structlog

from repave_controller.core.ports import StoreError
from repave_controller.peers.hinted import Hinted
from repave_controller.peers.ports import ControllerId, Letter, Post

BYTES_MAX = 8 << 20
"""Of a letter, and of an answer."""
IN_FLIGHT_MAX = 64
"""Letters that are answered here at the same time; the others wait, or are withdrawn."""
POLL_SECONDS = 0.5
RETRY_SECONDS = 1.0

Handler = Callable[[bytes], Awaitable[bytes]]

log = structlog.get_logger()


class Hints(Protocol):
    def __call__(self) -> AsyncIterator[None]:
        """As peers.ports.ChangeLog.hints."""


class TooLong(ValueError):
    """A letter, or an answer, is beyond the bound. The text says which."""


class Letters:
    """One for a controller. `run` must be running for letters to be answered."""

    def __init__(self, post: Post, me: ControllerId, hints: Hints, new_id: Callable[[], str]) -> None:
        """`new_id` draws a UUID."""
        self._post = post
        self._me = me
        self._hints = hints
        self._new_id = new_id
        self._handlers: dict[str, Handler] = {}
        self._in_flight: set[asyncio.Task[None]] = set()

    def answer_with(self, kind: str, handler: Handler) -> None:
        """Before `run`."""
        self._handlers[kind] = handler

    async def ask(self, recipient: ControllerId, kind: str, body: bytes, timeout_seconds: float) -> bytes:
        """Raises TimeoutError, StoreError, TooLong."""
        if len(body) > BYTES_MAX:
            raise TooLong(f"a letter has at most {BYTES_MAX >> 20} MiB; this one has {len(body)} bytes")
        return await self._post.send(Letter(self._new_id(), recipient, kind, body), timeout_seconds)

    async def ask_all(
        self, recipients: Iterable[ControllerId], kind: str, body: bytes, timeout_seconds: float
    ) -> list[bytes]:
        """What those say that answer in time, but for this controller itself."""

        async def ask(recipient: ControllerId) -> bytes | None:
            try:
                return await self.ask(recipient, kind, body, timeout_seconds)
            except (TimeoutError, StoreError, TooLong) as error:
                log.info("letter.without_answer", kind=kind, recipient=recipient, why=str(error))
                return None

        told = await asyncio.gather(*(ask(each) for each in recipients if each != self._me))
        return [each for each in told if each is not None]

    async def run(self) -> None:
        """Until cancelled."""
        hinted = Hinted(self._hints())
        await asyncio.sleep(0)  # it listens before the first look
        try:
            while True:
                try:
                    await self.look()
                except StoreError as error:
                    log.warning("letters.not_read", why=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                await hinted.wait(POLL_SECONDS)
        finally:
            hinted.close()
            for task in self._in_flight:
                task.cancel()

    async def look(self) -> None:
        """Begins to answer the letters that wait. Raises StoreError."""
        if len(self._in_flight) >= IN_FLIGHT_MAX:
            return
        for letter in await self._post.letters(self._me):
            task = asyncio.create_task(self._handle(letter), name=f"letter {letter.kind}")
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _handle(self, letter: Letter) -> None:
        handler = self._handlers.get(letter.kind)
        if handler is None:  # of a newer version: the sender's time runs out
            log.error("letter.unknown", kind=letter.kind)
            return
        try:
            body = await handler(letter.body)
            if len(body) > BYTES_MAX:
                log.error("letter.answer_too_long", kind=letter.kind, size_bytes=len(body))
                return
            if not await self._post.answer(letter, body):
                log.warning("letter.answered_late", kind=letter.kind)
        except StoreError as error:
            log.warning("letter.not_answered", kind=letter.kind, why=str(error))
        except Exception:  # the root of a letter: a mistake with one must not end the others
            log.exception("letter.failed", kind=letter.kind)
