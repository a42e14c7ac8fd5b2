"""Carries a write out once for each Idempotency-Key, where its handler keeps no receipts itself.

The receipt is saved after the write, not with it: a controller that dies in between does it again when asked
again. Commands to applications don't come here; their receipts are saved with them (runtime/idempotency.py).
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

REPLAYED = "Idempotent-Replayed"

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
                receipt = await self._store.receipt(whole_key)
                if receipt is not None:
                    return _again(receipt, body_hash)
                response = await handler(request)
                if response.status < 300 and isinstance(response, web.Response):
                    content = "" if route.repeats is Repeats.SECRET else response.text
                    told = json.dumps({"status": response.status, "content": content})
                    await self._keep(Receipt(whole_key, body_hash, told, self._clock()))
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


def _again(receipt: Receipt, body_hash: str) -> web.Response:
    if receipt.body_hash != body_hash:
        raise Refused(Refusal.KEY_REUSED)
    told = json.loads(receipt.response)
    if not told["content"]:
        text = (
            "this request was carried out already; what it gave is secret and was shown once. Revoke that "
            "one if it did not arrive, and ask with a new Idempotency-Key"
        )
        raise Problem(409, "done-already", text)
    response = web.Response(text=told["content"], status=told["status"], content_type="application/json")
    response.headers[REPLAYED] = "true"
    return response
