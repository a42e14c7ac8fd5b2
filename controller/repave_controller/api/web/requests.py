"""What a request says: its body, the numbers of its query, its idempotency key. What is not understood is a
Problem."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from repave_controller.api.web.problems import Problem

NUMBER_MAX = 1 << 53
Asked = TypeVar("Asked", bound=BaseModel)


async def body_of(request: web.Request, model: type[Asked]) -> Asked:
    """The request's body as `model`. Raises Problem naming each field that is wrong."""
    if request.content_type != "application/json":
        raise Problem(415, "not-json", "send JSON with Content-Type: application/json")
    try:
        text = (await request.read()).decode()
        plain = json.loads(text, object_pairs_hook=_once_each)
        return model.model_validate(plain)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Problem(400, "not-json", f"the body is no JSON: {error}") from error
    except ValidationError as error:
        problems = [
            {"field": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()
        ]
        first = problems[0]
        text = f"{first['field']}: {first['message']}" if first["field"] else first["message"]
        raise Problem(400, "bad-request", text, problems) from error
    except ValueError as error:
        raise Problem(400, "not-json", "the body has a number that is too long") from error


def _once_each(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise Problem(400, "not-json", "the body names a field twice")
    return content


def number_in(request: web.Request, name: str, default: int, most: int = NUMBER_MAX) -> int:
    return whole_number(name, request.query.get(name, str(default)), most)


def whole_number(name: str, text: str, most: int = NUMBER_MAX) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 16 or int(text) > most:
        raise Problem(400, "bad-request", f"{name}: expected a whole number from 0 to {most}")
    return int(text)


def key_of(request: web.Request) -> str:
    """The idempotency key; of any length and content, kept as a hash."""
    key = request.headers.get("Idempotency-Key", "")
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest() if key else ""
