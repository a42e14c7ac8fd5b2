"""Gives each request an id: in the log, in the answer's header, and with the questions to agents."""

import secrets

import structlog
from aiohttp import web

from repave_controller.api.web.problems import Handler
from repave_protos.daemon.causes import ID, caused_by

HEADER = "X-Request-Id"
ID_BYTES = 8

log = structlog.get_logger()


@web.middleware
async def traced(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The client's own id is taken where it is a plain word. What changes something is logged."""
    given = request.headers.get(HEADER, "")
    known = given if ID.fullmatch(given) else secrets.token_hex(ID_BYTES)
    with caused_by(known):
        response = await handler(request)
        if not response.prepared:
            response.headers[HEADER] = known
        if request.method not in ("GET", "HEAD"):
            log.info("request.answered", method=request.method, path=request.path, status=response.status)
        return response
