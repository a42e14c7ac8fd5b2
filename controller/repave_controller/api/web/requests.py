"""What a request says: its body, its query, its idempotency key. What is not understood is a
Problem."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter, ValidationError

from repave_controller.api.answers.queries import Number
from repave_controller.api.web.callers import signed
from repave_controller.api.web.problems import Handler, Problem

BODY_SECONDS = 30.0
"""So long the body of a command may take, and each part of a package."""
Asked = TypeVar("Asked", bound=BaseModel)
_EVENT: TypeAdapter[int] = TypeAdapter(Number)


async def body_of(request: web.Request, model: type[Asked]) -> Asked:
    """The request's body as `model`, by who calls. Raises Problem naming each field that is wrong."""
    if request.content_type != "application/json":
        raise Problem(415, "not-json", "send JSON with Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            text = (await request.read()).decode()
        plain = json.loads(text, object_pairs_hook=_once_each)
        return signed(request, model.model_validate(plain))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Problem(400, "not-json", f"the body is no JSON: {error}") from error
    except ValidationError as error:
        raise _wrong_fields(error) from error
    except TimeoutError as error:
        raise Problem(408, "slow-body", f"the body took longer than {BODY_SECONDS:.0f} s") from error
    except ValueError as error:
        raise Problem(400, "not-json", "the body has a number that is too long") from error


async def parts_of(request: web.Request) -> AsyncIterator[bytes]:
    """A body of any size as it arrives. Raises Problem when the client has stopped sending."""
    parts = aiter(request.content.iter_any())
    try:
        while True:
            async with asyncio.timeout(BODY_SECONDS):
                part = await anext(parts, b"")
            if not part:
                return
            yield part
    except TimeoutError as error:
        raise Problem(408, "slow-body", f"nothing was sent for {BODY_SECONDS:.0f} s") from error


def _once_each(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise Problem(400, "not-json", "the body names a field twice")
    return content


def query_of(request: web.Request, model: type[Asked]) -> Asked:
    """The request's query as `model`. Raises Problem naming each part that is wrong."""
    twice = [name for name, times in Counter(name for name, _ in request.query.items()).items() if times > 1]
    if twice:
        raise Problem(
            400, "bad-request", f"{twice[0]}: expected once, not {len(request.query.getall(twice[0]))} times"
        )
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise _wrong_fields(error) from error


def last_event_of(request: web.Request, default: int) -> int:
    """Where a client that lost its stream goes on."""
    last = request.headers.get("Last-Event-ID", "")
    try:
        return _EVENT.validate_python(last) if last else default
    except ValidationError as error:
        raise Problem(400, "bad-request", f"Last-Event-ID: {error.errors()[0]['msg']}") from error


def without_query(handler: Handler) -> Handler:
    """The same, refusing every query: what is not understood is not ignored."""

    async def handle(request: web.Request) -> web.StreamResponse:
        for name in request.query:
            raise Problem(400, "bad-request", f"{name}: {request.path} takes no query")
        return await handler(request)

    return handle


def _wrong_fields(error: ValidationError) -> Problem:
    problems = [{"field": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()]
    first = problems[0]
    text = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
    return Problem(400, "bad-request", text, problems)


def key_of(request: web.Request) -> str:
    """The idempotency key; of any length and content, kept as a hash."""
    key = request.headers.get("Idempotency-Key", "")
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest() if key else ""
