"""Describes the API as an OpenAPI 3.1 document, from the table of its routes."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema


@dataclass(frozen=True, slots=True)
class Route:
    """One route below /v1; `answer` is None where something else than JSON comes."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The whole document."""
    used = {model for route in routes for model in (route.answer, route.body) if model is not None}
    ordered = sorted(used, key=lambda model: model.__name__)
    references, definitions = models_json_schema(
        [(model, "serialization") for model in ordered], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operation = _operation(route, {model: references[model, "serialization"] for model in ordered})
        paths.setdefault(f"/v1/{route.path}", {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "repave", "version": version},
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _operation(route: Route, references: dict[type[BaseModel], Any]) -> dict[str, Any]:
    content = "text/event-stream" if route.path.endswith(("stream", "live")) else "application/json"
    answer: dict[str, Any] = {"description": "done"}
    if route.answer is not None:
        answer["content"] = {content: {"schema": references[route.answer]}}
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{re.sub('[^a-z]+', '_', route.path).strip('_')}",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", route.path)
        ]
        + _query(route),
        "responses": {
            "2XX": answer,
            "default": {"description": "an RFC 9457 problem", "content": {"application/problem+json": {}}},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": references[route.body]}},
        }
    return operation


def _query(route: Route) -> list[dict[str, Any]]:
    """The parameters after ?; a schema without the title that pydantic makes up."""
    fields = route.query.model_json_schema()["properties"] if route.query is not None else {}
    return [
        {
            "name": name,
            "in": "query",
            "description": schema.pop("description", ""),
            "schema": {key: value for key, value in schema.items() if key != "title"},
        }
        for name, schema in fields.items()
    ]
