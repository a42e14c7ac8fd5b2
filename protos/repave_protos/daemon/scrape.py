"""Answers GET /metrics over aiohttp."""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.hdrs import ACCEPT, CONTENT_TYPE

from repave_protos.daemon.metrics import Exposition


def shows(exposition: Exposition) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler."""

    async def metrics(request: web.Request) -> web.Response:
        body, content_type = await exposition.text(request.headers.get(ACCEPT, ""))
        return web.Response(body=body, headers={CONTENT_TYPE: content_type})

    return metrics
