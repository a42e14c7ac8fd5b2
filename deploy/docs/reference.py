"""Writes the reference of the API as Markdown, from its OpenAPI document."""

import json
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
METHODS = ("get", "head", "post", "put", "patch", "delete")


def reference(document: Schema) -> str:
    """Routes by subject, then every schema."""
    lines = [
        f"# API reference\n\nOf version {document['info']['version']}, made from its OpenAPI document.\n"
    ]
    for subject, routes in by_subject(document).items():
        lines.append(f"## {subject}\n")
        for method, path, operation in routes:
            lines.extend(_operation(method, path, operation))
    lines.append("## Schemas\n")
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        lines.extend(_schema(name, schema))
    return "\n".join(lines)


def by_subject(document: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    """Operations by their first tag; without one by the first word of their path."""
    found: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                words = path.removeprefix("/v1").strip("/").split("/")
                subject = (operation.get("tags") or [words[0].capitalize() or "API"])[0]
                found.setdefault(subject, []).append((method.upper(), path, operation))
    return found


def type_of(schema: Schema) -> str:
    """A schema in a few words, such as `list of Region` or `text or nothing`."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(type_of(each) for each in schema[word])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {type_of(schema['additionalProperties'])}"
    words = {"string": "text", "integer": "whole number", "boolean": "yes or no", "null": "nothing"}
    return words.get(kind, str(kind))


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"### {method} {path}\n"
    for text in (operation.get("summary", ""), operation.get("description", "")):
        if text:
            yield f"{text}\n"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        for each in parameters:
            meaning = _cell(each.get("description", ""))
            yield f"| `{each['name']}` | {each['in']} | {_cell(type_of(each['schema']))} | {meaning} |"
        yield ""
    yield from _content("Body", operation.get("requestBody", {}))
    for status, answer in operation.get("responses", {}).items():
        yield from _content(f"Answer {status}", answer)


def _content(what: str, holder: Schema) -> Iterator[str]:
    for media, content in holder.get("content", {}).items():
        kind = f", {type_of(content['schema'])}" if content.get("schema") else ""
        text = holder.get("description", "")
        yield f"{what}: `{media}`{kind}" + (f" ({text})" if text and text != "done" else "") + "\n"
        for example in _examples(content):
            yield f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```\n"


def _examples(content: Schema) -> Iterator[Any]:
    if "example" in content:
        yield content["example"]
    for each in content.get("examples", {}).values():
        if "value" in each:
            yield each["value"]


def _schema(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}\n"
    if schema.get("description"):
        yield f"{schema['description']}\n"
    if "enum" in schema:
        yield f"{type_of(schema)}\n"
    properties = schema.get("properties", {})
    if properties:
        yield "| field | type | meaning |\n|---|---|---|"
        for field, each in properties.items():
            yield f"| `{field}` | {_cell(type_of(each))} | {_cell(each.get('description', ''))} |"
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
