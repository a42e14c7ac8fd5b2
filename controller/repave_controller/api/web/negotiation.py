"""What HTTP itself asks of every route: Accept, HEAD, OPTIONS, ETag and If-None-Match, If-Match."""

import hashlib
import re

from aiohttp import web

from repave_controller.api.web.openapi import JSON, Route
from repave_controller.api.web.problems import Handler, Problem

TAG_BYTES = 16
TAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*')
RANGE = re.compile(r"\s*([\w!#$&^.+*-]+/[\w!#$&^.+*-]+)\s*((?:;[^,]*)?)")
NEVER = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*(;|$)")
PROBLEM = "application/problem+json"


@web.middleware
async def conditional(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers that are whole have a tag of their content; who has it already gets 304."""
    response = await handler(request)
    if request.method == "OPTIONS" and response.status == 405:
        return web.Response(status=204, headers={"Allow": f"{response.headers['Allow']},OPTIONS"})
    if request.method not in ("GET", "HEAD") or response.status != 200 or not request.path.startswith("/v1/"):
        return response
    if not isinstance(response, web.Response):
        return response
    if response.content_type != JSON or "no-store" in response.headers.get("Cache-Control", ""):
        return response
    content = response.body
    if not isinstance(content, bytes):
        return response
    tag = f'"{hashlib.blake2b(content, digest_size=TAG_BYTES).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_among(tag, request.headers.getall("If-None-Match", [])):
        kept = {name: response.headers[name] for name in ("Link",) if name in response.headers}
        return web.Response(status=304, headers={**headers, **kept})
    response.headers.update(headers)
    return response


def is_among(tag: str, told: list[str]) -> bool:
    """As If-None-Match compares: weak tags count too."""
    text = ",".join(told)
    return text.strip() == "*" or any(f'"{each}"' == tag for each in tags_in(text))


def tags_in(text: str) -> list[str]:
    """What stands in the quotes."""
    return [found[1] for each in text.split(",") if (found := TAG.fullmatch(each)) is not None]


def negotiated(route: Route, handler: Handler) -> Handler:
    """Raises Problem where the route can't give what Accept allows, or knows no generation for If-Match."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if route.gives and not accepts(request.headers.getall("Accept", []), route.gives):
            text = f"Accept: {request.path} gives {route.gives}"
            raise Problem(406, "not-acceptable", text)
        if not route.has_generation and "If-Match" in request.headers:
            text = f"If-Match: {request.path} is of no application, so that there is no generation to compare"
            raise Problem(400, "bad-request", text)
        return await handler(request)

    return handle


def accepts(told: list[str], gives: str) -> bool:
    """What can't be read allows everything. The more exact range counts: `text/html, */*;q=0` is no."""
    ranges = [found for each in ",".join(told).split(",") if (found := RANGE.fullmatch(each)) is not None]
    kind = gives.partition("/")[0]
    for wanted in (gives, f"{kind}/*", "*/*"):
        for found in ranges:
            if found[1].lower() == wanted:
                return NEVER.search(found[2]) is None
    return not ranges


def generations_in(request: web.Request) -> tuple[str, ...]:
    """What If-Match asks an application to be at; empty: anything. Raises Problem."""
    told = ",".join(request.headers.getall("If-Match", []))
    if not told:
        return ()
    if told.strip() == "*":
        return ("*",)
    found = tags_in(told)
    if not found:
        raise Problem(
            400, "bad-request", 'If-Match: expected a generation in quotes, such as "7.3f9ab0c1d2e4"'
        )
    return tuple(found)
