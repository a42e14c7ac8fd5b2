"""Holds what a controller answers in a test to its own description: the status, and the kind of a problem."""

import json
from functools import cache
from typing import Any

from aiohttp import web

from repave_controller.api.app import Api
from repave_controller.api.web.openapi import document

OWN = ("/v1/authority", "/v1/openapi.json", "/healthz", "/metrics", "/hooks/{hook}")


@cache
def _description() -> dict[str, Any]:
    table = Api(None, None, None, None, None).routes()  # type: ignore[arg-type]  # the table alone
    return document(table, "0")


class Described:
    """One for an application; `faults` is what was answered and is not described."""

    def __init__(self, app: web.Application) -> None:
        whole = _description()
        self._paths, self._shared = whole["paths"], whole["components"]["responses"]
        self.faults: list[str] = []
        app.on_response_prepare.append(self._look)

    async def _look(self, request: web.Request, response: web.StreamResponse) -> None:
        resource = request.match_info.route.resource
        if resource is None or resource.canonical in OWN or response.status in (101, 405):
            return
        known = self._paths.get(resource.canonical, {})
        operation = known.get(request.method.lower()) or known.get("get")
        if operation is None:
            self.faults.append(f"{request.method} {resource.canonical} is not described")
            return
        told = operation["responses"].get(str(response.status))
        if told is not None and "$ref" in told:
            told = self._shared[told["$ref"].rpartition("/")[2]]
        where = f"{request.method} {resource.canonical} gave {response.status}"
        if told is None:
            self.faults.append(f"{where} {_rule_of(response)}")
        elif response.status >= 400 and (rule := _rule_of(response)) not in told["x-problems"]:
            self.faults.append(f"{where} {rule}")


def _rule_of(response: web.StreamResponse) -> str:
    content = response.body if isinstance(response, web.Response) else None
    return (
        str(json.loads(content).get("rule", "")) if isinstance(content, bytes) and content[:1] == b"{" else ""
    )
