"""Describes the API as an OpenAPI 3.1 document, from the table of its routes and the models of what they take
and give. Its examples are in `examples.py`, the kinds of its problems in `kinds.py`."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from repave_controller.api.answers.models import AcceptedAnswer, Problem, TaintAnswer
from repave_controller.api.web.examples import example_of, value_of
from repave_controller.api.web.kinds import KINDS, meaning_of, statuses_of

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
EVENTS: Final = "text/event-stream"
GZIP: Final = "application/gzip"
SHARED_KINDS_MAX = 5
"""Kinds of problems that a response may have to be told once for all routes."""
PARAMETERS: Final[Mapping[str, str]] = {
    "application": "Its name: app, or app-stack.",
    "artifact": "The id that asking for the fetch gave.",
    "digest": "SHA-256 of the package, in hexadecimal.",
    "freeze": "Its id; all: that of everything.",
    "host": "Its name, such as hello-v001-1a2b3c4d.",
    "machine": "Its name in the pool.",
    "person": "Their name, as people lists it.",
    "plan": "Its id, as the plan shows it.",
    "region": "Its name.",
    "hook": "A hook of the settings.",
    "delivery": "A webhook that came, by its id.",
    "target": "Its name in the settings.",
    "team": "Its name.",
    "token": "Its id.",
    "trust": "Its id.",
}
ABOUT: Final = """\
What `repave` on the command line and the dashboard use. docs/api.md shows it by examples.

- Lists take `limit` and `cursor`, and answer with `next` and a `Link` header of rel `next`; without `limit`
  they are whole. Names that are not described here are refused in queries and bodies.
- Answers have an `ETag`; with it as `If-None-Match` the answer is 304 while nothing has changed. Every GET is
  also a HEAD.
- Commands to an application take `If-Match` with its `generation`: 412 if it has changed since. They take an
  `Idempotency-Key`: the same key again gets the same answer, and the same key for something else is refused.
- Errors are problems of RFC 9457; programs go by `rule`.
- Streams are server-sent events; `Last-Event-ID` goes on where a connection broke. An event called `reset`
  says that what was missed is no longer kept.

Compatible changes are made without notice: new routes, new optional fields of queries and bodies, new fields
of answers, new kinds of problems, new values where a text says what there is. All else gets a new version in
the path.
"""


class Repeats(StrEnum):
    """What a POST does that is sent again."""

    SAFE = "safe"  # it changes nothing at all
    NATURAL = "natural"  # the second one finds done what it asks for
    KEYED = "keyed"  # its handler keeps receipts by Idempotency-Key
    ONCE = "once"  # web/once.py keeps them
    SECRET = "secret"  # the same, but for what is answered  # noqa: S105  # a name
    ANEW = "anew"  # each one is another


BEARER: Final = (
    "Of `repave tokens create`, of a log-in or of a CI's job. A controller without accounts needs none."
)
_ONCE = "With an Idempotency-Key it is done once"
TOLD: Final[Mapping[Repeats, str]] = {
    Repeats.SAFE: "It changes nothing.",
    Repeats.NATURAL: "Sent again it finds done what it asks for, and changes nothing more.",
    Repeats.KEYED: f"{_ONCE}: sent again it gets the first answer, with `is_joined`.",
    Repeats.ONCE: f"{_ONCE}: sent again it gets the first answer, with the header Idempotent-Replayed.",
    Repeats.SECRET: f"{_ONCE}: sent again it is refused as `done-already`, for what it gave is secret and is "
    "not kept.",
    Repeats.ANEW: "",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One route below /v1; `answer` is None where something else than JSON comes.

    `summary` and `description` come from the docstring of the handler, or of the body, unless given.
    `refuses` are kinds of problems beside those that every route of its sort may give.
    """

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    answer: type[BaseModel] | None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 0  # 0: 202 of a command to an application, else 200
    also: tuple[int, ...] = ()  # further statuses that are no problems
    repeats: Repeats = Repeats.NATURAL
    refuses: tuple[str, ...] = ()
    summary: str = ""
    is_open: bool = False  # to those who have not signed in
    media: str = ""  # what it gives, if neither JSON nor a stream

    @property
    def gives(self) -> str:
        """The media type of what it answers; "": none."""
        if self.media:
            return self.media
        if self.path.endswith(("stream", "live")):
            return EVENTS
        return JSON if self.answer is not None else ""

    @property
    def done(self) -> int:
        return self.status or (202 if self.is_command else 200)

    @property
    def is_command(self) -> bool:
        """To an application, carried out by its owner."""
        return self.method == "POST" and self.answer in (AcceptedAnswer, TaintAnswer)

    @property
    def has_generation(self) -> bool:
        """If-Match counts."""
        return self.is_command

    @property
    def sent_again(self) -> Repeats:
        return Repeats.KEYED if self.is_command else self.repeats

    @property
    def problems(self) -> tuple[str, ...]:
        """All kinds that it may give."""
        return tuple(dict.fromkeys(_kinds_of(self)))


def _kinds_of(route: Route) -> Iterable[str]:
    yield from (
        "bad-request",
        "bad-host",
        "foreign-host",
        "foreign-origin",
        "uri-too-long",
        "headers-too-long",
        "too-many-requests",
        "bug",
        "store",
    )
    if not route.is_open:
        yield from ("not-signed-in", "denied")
    if route.gives:
        yield "not-acceptable"
    if "{application}" in route.path:
        yield "unknown-application"
    if route.method == "POST":
        yield from ("csrf", "slow-body")
        if route.body is not None:
            yield from ("not-json", "request-entity-too-large")
    if route.is_command:
        yield from ("moved", "key-reused", "no-owner", "too-long", "region-ahead", "promise", "being-deleted")
    if route.sent_again in (Repeats.ONCE, Repeats.SECRET):
        yield from ("key-reused", "done-already")
    if route.gives == EVENTS:
        yield "too-many-streams"
    yield from route.refuses


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The whole document."""
    asked = {model for route in routes for model in (route.body,) if model is not None}
    given = {model for route in routes for model in (route.answer,) if model is not None} | {Problem}
    modes: list[tuple[type[BaseModel], Any]] = [
        *((model, "validation") for model in sorted(asked, key=lambda model: model.__name__)),
        *((model, "serialization") for model in sorted(given, key=lambda model: model.__name__)),
    ]
    references, definitions = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    schemas = {name: _plain(schema) for name, schema in definitions.get("$defs", {}).items()}
    for name, schema in schemas.items():
        example = example_of(name)
        if example is not None:
            schema["examples"] = [example]
    paths: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {"304": {"description": "It is still as If-None-Match says."}}
    for route in routes:
        operation = _operation(route, references, shared)
        paths.setdefault(f"/v1/{route.path}", {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "repave",
            "version": version,
            "summary": "Every release gets a brand-new fleet of hosts in every region.",
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The controller that gives this document."}],
        "security": [{"token": []}, {"session": []}, {}],
        "tags": [{"name": name} for name in dict.fromkeys(map(_tag, routes))],
        "paths": paths,
        "x-problems": {
            kind: {"statuses": list(statuses_of(kind)), "meaning": meaning_of(kind)}
            for kind in sorted(
                {*KINDS, *(name.rpartition(" ")[2] for each in routes for name in each.problems)}
            )
        },
        "components": {
            "schemas": schemas,
            "responses": dict(sorted(shared.items())),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": BEARER,
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-repave-session",
                    "description": "Of a browser that has logged in. Writes show X-Repave-CSRF as well, as "
                    "whoami gives it.",
                },
            },
        },
    }


def _plain(schema: Any) -> Any:
    """Without the titles that pydantic makes up of names."""
    if isinstance(schema, dict):
        return {
            name: _plain(each)
            for name, each in schema.items()
            if not (name == "title" and isinstance(each, str))
        }
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


def _tag(route: Route) -> str:
    return route.path.partition("/")[0]


def _operation(route: Route, references: Mapping[Any, Any], shared: dict[str, Any]) -> dict[str, Any]:
    summary, _, more = _said(route).partition("\n\n")
    told = TOLD[route.sent_again] if route.method == "POST" else ""
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{re.sub('[^a-z]+', '_', route.path).strip('_')}",
        "summary": " ".join(summary.split()).removesuffix("."),
        "description": " ".join(filter(None, (" ".join(more.split()), told))),
        "tags": [_tag(route)],
        "parameters": [*_named(route), *_query(route), *_headers(route)],
        "responses": {
            **{str(status): _done(route, status, references) for status in (route.done, *route.also)},
            **_refusals(route, shared),
        },
    }
    if route.is_open:
        operation["security"] = [{}]
    if route.body is not None:
        content: dict[str, Any] = {"schema": references[route.body, "validation"]}
        example = example_of(route.body.__name__)
        operation["requestBody"] = {
            "required": True,
            "content": {JSON: content | ({"example": example} if example is not None else {})},
        }
    elif route.method == "POST":
        schema = {"type": "string", "contentMediaType": GZIP}
        operation["requestBody"] = {"required": True, "content": {GZIP: {"schema": schema}}}
    return operation


def _said(route: Route) -> str:
    """The summary, and after an empty line what more there is to say."""
    return (
        route.summary or route.handler.__doc__ or (route.body.__doc__ if route.body is not None else "") or ""
    )


def _done(route: Route, status: int, references: Mapping[Any, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if route.method == "GET" and route.gives == JSON:
        headers["ETag"] = {"schema": {"type": "string"}, "description": "Of this answer, for If-None-Match."}
        if route.answer is not None and "next" in route.answer.model_fields:
            headers["Link"] = {"schema": {"type": "string"}, "description": "Of the next page, rel next."}
    if status in (302, 303, 307):
        headers["Location"] = {"schema": {"type": "string"}, "description": "Where it is."}
        return {"description": "It is elsewhere.", "headers": headers}
    answer: dict[str, Any] = {"description": _titles(route.answer) or "What was asked for."}
    if route.method == "HEAD":
        return answer
    if headers:
        answer["headers"] = headers
    if route.answer is not None:
        content: dict[str, Any] = {"schema": references[route.answer, "serialization"]}
        if route.gives == EVENTS:
            content = {
                "schema": {"type": "string", "description": "Lines of `id:`, `event:` and `data:`."},
                "x-event": references[route.answer, "serialization"],
            }
        example = example_of(route.answer.__name__) if route.gives == JSON else None
        answer["content"] = {route.gives: content | ({"example": example} if example is not None else {})}
    elif route.gives:
        binary = {} if route.gives.startswith("text/") else {"contentMediaType": route.gives}
        answer["content"] = {route.gives: {"schema": {"type": "string", **binary}}}
    return answer


def _titles(model: type[BaseModel] | None) -> str:
    if model is None:
        return ""
    text = (model.__doc__ or "").strip()
    return " ".join(text.split()) if "Generic" not in text else ""


def _refusals(route: Route, shared: dict[str, Any]) -> dict[str, Any]:
    """The kinds of problems by their statuses; what several routes may have is put into `shared`."""
    by_status: dict[int, list[str]] = {}
    for kind in route.problems:
        exact, _, name = kind.rpartition(" ")
        statuses = (int(exact),) if exact else statuses_of(name)
        for status in statuses:
            if name not in by_status.setdefault(status, []):
                by_status[status].append(name)
    found: dict[str, Any] = {}
    if route.method == "GET" and route.gives == JSON:
        found["304"] = {"$ref": "#/components/responses/304"}
    for status, kinds in sorted(by_status.items()):
        told = _refusal(kinds, with_body=route.method != "HEAD")
        if len(kinds) <= SHARED_KINDS_MAX and route.method != "HEAD":
            name = ".".join((str(status), *kinds))
            shared[name] = told
            told = {"$ref": f"#/components/responses/{name}"}
        found[str(status)] = told
    return found


def _refusal(kinds: Sequence[str], *, with_body: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"description": ", ".join(kinds), "x-problems": list(kinds)}
    if with_body:
        told["content"] = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return told


def _named(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PARAMETERS[name],
            "schema": {"type": "string"},
            "example": value_of(name),
        }
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]


def _query(route: Route) -> list[dict[str, Any]]:
    """The parameters after ?."""
    fields = route.query.model_json_schema()["properties"] if route.query is not None else {}
    return [
        {
            "name": name,
            "in": "query",
            "description": schema.get("description", ""),
            "schema": {key: value for key, value in schema.items() if key not in ("title", "description")},
        }
        for name, schema in fields.items()
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    found = []
    if route.sent_again in (Repeats.KEYED, Repeats.ONCE, Repeats.SECRET):
        found.append(("Idempotency-Key", "Drawn by the client; a repeat with it is not done twice."))
    if route.has_generation:
        found.append(
            ("If-Match", "The application's `generation` in quotes: refused if it has changed since.")
        )
    if route.method == "GET" and route.gives == JSON:
        found.append(("If-None-Match", "The ETag of the answer that is known."))
    if route.gives == EVENTS:
        found.append(("Last-Event-ID", "The `id` of the last event that was seen; goes on after it."))
    return [
        {"name": name, "in": "header", "description": text, "schema": _header_schema(name)}
        for name, text in found
    ]


def _header_schema(name: str) -> dict[str, Any]:
    if name == "Last-Event-ID":
        return {"type": "string", "pattern": "^([0-9a-f]+-)?[0-9]{1,15}$"}
    if name == "If-Match":
        return {"type": "string", "examples": ['"7.3f9ab0c1d2e4"']}
    return {"type": "string"}
