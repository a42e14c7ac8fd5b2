"""The one way of pages: `limit` and `cursor` in the query, `next` and a Link header in the answer.

A cursor stands between two items by what they are sorted by, so that items which come or go move no page.
"""

import base64
import heapq
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel

from repave_controller.api.answers.queries import PageQuery
from repave_controller.api.web.problems import Problem
from repave_controller.api.web.responses import answer

Each = TypeVar("Each")
Key = tuple[str | int | float, ...]


def page(found: Iterable[Each], asked: PageQuery, key: Callable[[Each], Key]) -> tuple[list[Each], str]:
    """What the page has, and the cursor of the next one; "": there is none. Raises Problem."""
    if asked.cursor:
        after = _read(asked.cursor)
        try:
            found = [each for each in found if key(each) > after]
        except TypeError as error:  # a cursor of another list
            raise _foreign() from error
    if not asked.limit:
        return sorted(found, key=key), ""
    ordered = heapq.nsmallest(asked.limit + 1, found, key=key)
    if len(ordered) <= asked.limit:
        return ordered, ""
    return ordered[: asked.limit], _written(key(ordered[asked.limit - 1]))


def _written(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def _read(cursor: str) -> Key:
    try:
        found = json.loads(base64.urlsafe_b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}"))
    except (ValueError, RecursionError) as error:
        raise _foreign() from error
    if not isinstance(found, list) or not all(isinstance(each, str | int | float) for each in found):
        raise _foreign()
    return tuple(found)


def _foreign() -> Problem:
    return Problem(400, "bad-request", "cursor: expected what `next` of the page before said")


def items(request: web.Request, models: Iterable[BaseModel], next_cursor: str = "") -> web.Response:
    """As `Items` says, one model after the other."""
    return items_as_text(request, (each.model_dump_json() for each in models), next_cursor)


def items_as_text(request: web.Request, texts: Iterable[str], next_cursor: str = "") -> web.Response:
    """The same of items that are JSON already."""
    body = ",".join(texts)
    more = f',"next":{json.dumps(next_cursor)}' if next_cursor else ""
    text = f'{{"items":[{body}]{more}}}'
    return _linked(request, web.Response(text=text, content_type="application/json"), next_cursor)


def paged(request: web.Request, model: BaseModel) -> web.Response:
    """A model that has `next`, with the address of that page."""
    following: Any = getattr(model, "next", "")
    return _linked(request, answer(model), str(following or ""))


def _linked(request: web.Request, response: web.Response, cursor: str) -> web.Response:
    if cursor:
        kept = {name: value for name, value in request.query.items() if name not in ("after", "before")}
        where = request.rel_url.with_query({**kept, "cursor": cursor})
        response.headers["Link"] = f'<{where}>; rel="next"'
    return response
