"""Carries a write out once for each Idempotency-Key, where its handler keeps no receipts itself.

That it was done is saved with what it changes, its answer after that: where a controller dies in between, a
repeat is refused and does nothing. What changes nothing in the store, such as a bake, has its receipt
afterwards. Commands to applications don't come here; theirs are in runtime/idempotency.py.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from repave_controller.api.web.callers import principal_of
from repave_controller.api.web.openapi import Repeats, Route
from repave_controller.api.web.problems import Handler, Problem
from repave_controller.api.web.requests import key_of
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.ports import Receipt, Store, StoreError, Transaction
from repave_controller.stores.receipts import saved_with

REPLAYED = "Idempotent-Replayed"
ANSWER = "/answer"
"""After a key: the receipt with the answer, where that it was done was saved before."""
SHOWN_ONCE = (
    "this request was carried out already; what it gave is secret and was shown once. Revoke that one if it "
    "did not arrive, and ask with a new Idempotency-Key"
)
CUT_OFF = (
    "this request was carried out already, and its answer was lost when the controller ended: see what it "
    "has changed, and ask with a new Idempotency-Key for more"
)

log = structlog.get_logger()


class Once:
    """One for an API."""

    def __init__(self, store: Store, clock: Callable[[], Instant]) -> None:
        self._store, self._clock = store, clock
        self._under_way: dict[str, tuple[asyncio.Lock, int]] = {}

    def kept(self, route: Route, handler: Handler) -> Handler:
        """The same; a repeat is answered as the first was. Raises Refused, StoreError, Problem."""

        async def handle(request: web.Request) -> web.StreamResponse:
            key = key_of(request)
            if not key:
                return await handler(request)
            whole_key = _whole(request, key)
            body_hash = hashlib.sha256(await request.read()).hexdigest()
            async with self._alone(whole_key):
                answer_key = f"{whole_key}{ANSWER}"
                receipt = await self._store.receipt(answer_key) or await self._store.receipt(whole_key)
                if receipt is not None:
                    return _again(receipt, body_hash, is_secret=route.repeats is Repeats.SECRET)
                done = Receipt(whole_key, body_hash, _told(202, ""), self._clock())
                with saved_with(done) as pending:
                    response = await handler(request)
                if response.status < 300 and isinstance(response, web.Response):
                    content = "" if route.repeats is Repeats.SECRET else response.text or ""
                    key = answer_key if pending.is_saved else whole_key
                    if content or not pending.is_saved:
                        told = _told(response.status, content)
                        await self._keep(Receipt(key, body_hash, told, self._clock()))
                return response

        return handle

    async def _keep(self, receipt: Receipt) -> None:
        try:
            await self._store.commit(Transaction(receipt=receipt))
        except StoreError as error:  # it is done, and says so
            log.error("receipt.not_saved", error=str(error))

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        """No other request with this key is carried out meanwhile."""
        lock, waiting = self._under_way.get(key, (asyncio.Lock(), 0))
        self._under_way[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._under_way[key]
            if waiting == 1:
                del self._under_way[key]
            else:
                self._under_way[key] = lock, waiting - 1


def _whole(request: web.Request, key: str) -> str:
    """Keys of other callers and for other routes are other keys."""
    return f"http/{request.method} {request.path}/{principal_of(request).name}/{key}"


def _told(status: int, content: str) -> str:
    return json.dumps({"status": status, "content": content})


def _again(receipt: Receipt, body_hash: str, *, is_secret: bool) -> web.Response:
    if receipt.body_hash != body_hash:
        raise Refused(Refusal.KEY_REUSED)
    told = json.loads(receipt.response)
    if not told["content"]:
        raise Problem(409, "done-already", SHOWN_ONCE if is_secret else CUT_OFF)
    response = web.Response(text=told["content"], status=told["status"], content_type="application/json")
    response.headers[REPLAYED] = "true"
    return response
