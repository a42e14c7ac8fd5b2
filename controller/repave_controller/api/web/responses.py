"""How a handler gives its answer: models as JSON."""

from collections.abc import Iterable

from aiohttp import web
from pydantic import BaseModel


def answer(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")


def items(models: Iterable[BaseModel]) -> web.Response:
    """As `Items` says, one model after the other."""
    body = ",".join(each.model_dump_json() for each in models)
    return web.Response(text=f'{{"items":[{body}]}}', content_type="application/json")
