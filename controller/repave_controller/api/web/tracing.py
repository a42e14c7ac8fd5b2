"""Gives each request an id: in the log, in the answer's header, and with the questions to agents; and a span,
where traces are told."""

import json
import secrets
from collections.abc import Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from repave_controller.api.web.policy import route_of
from repave_controller.api.web.problems import Handler
from repave_controller.core.domain.instants import Instant
from repave_controller.metrics.traces import RolloutTraces
from repave_protos.daemon.causes import ID, cause, caused_by

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


def spanned(traces: RolloutTraces, clock: Callable[[], Instant]) -> Middleware:
    """Requests that change something become spans, below the caller's `traceparent`."""

    @web.middleware
    async def span(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return await handler(request)
        began = clock()
        response = await handler(request)
        name = route_of(request) or request.method
        begun = _rollout_in(response)
        traces.requested(request.headers.get("traceparent", ""), cause(), name, began, response.status, begun)
        return response

    return span


def _rollout_in(response: web.StreamResponse) -> tuple[str, int] | None:
    """What an accepted command has begun or goes on with."""
    if response.status != 202 or not isinstance(response, web.Response):
        return None
    told = json.loads(response.text or "{}")
    number = told.get("rollout", 0)
    return (str(told["application"]), int(number)) if number and "application" in told else None
