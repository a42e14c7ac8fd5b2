"""How a handler gives its answer: a model as JSON. Lists: paging.py."""

from aiohttp import web
from pydantic import BaseModel


def answer(model: BaseModel, status: int = 200) -> web.Response:
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")
