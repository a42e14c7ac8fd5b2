"""What the audit log tells of a request: the reason that was given, what was asked for, what came of it."""

import json

from aiohttp import web

from repave_controller.api.web.callers import ASKED, DIFFERENCES
from repave_controller.security.differences import cleaned, facts_of

NOT_FACTS = {"by", "reason", "spec"}


def reason_in(request: web.Request) -> str:
    found = request.get(ASKED)
    return cleaned(str(getattr(found.body, "reason", ""))) if found is not None else ""


def facts_in(request: web.Request, response: web.StreamResponse) -> tuple[tuple[str, str], ...]:
    """What was asked for, what it changes in the spec, and by which rule it was refused."""
    found = request.get(ASKED)
    asked = (
        found.body.model_dump(mode="json", exclude=NOT_FACTS, exclude_defaults=True)
        if found is not None
        else {}
    )
    changes = tuple((f"spec.{name}", text) for name, text in request.get(DIFFERENCES, ()))
    return (*facts_of(asked), *changes, *_rule_in(response))


def _rule_in(response: web.StreamResponse) -> tuple[tuple[str, str], ...]:
    if response.content_type != "application/problem+json" or not isinstance(response, web.Response):
        return ()
    return (("rule", str(json.loads(response.text or "{}").get("rule", ""))),)
