"""Writes anew what follows from the API's routes: `python -m tests.support.openapi`.

docs/openapi.json, and the types of the client's answers. What differs is a change of the API.
"""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from repave_controller.api.app import Api
from repave_controller.api.web.openapi import document
from repave_protos import __version__

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / "openapi.json"
ANSWERS = ROOT / "controller" / "repave_client" / "answers.py"
HEAD = '''"""The types of what the API gives, as docs/openapi.json describes it.

Written by `python -m tests.support.openapi`, and held to that document by a test. Later controllers may give
more than is here.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict
'''
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}


def described() -> dict[str, Any]:
    """The document of the routes as they are."""
    table = Api(None, None, None, None, None).routes()  # type: ignore[arg-type]  # the table alone
    return document(table, __version__)


def answers_of(whole: Mapping[str, Any]) -> str:
    """A module with a TypedDict for each schema that an answer has."""
    schemas = whole["components"]["schemas"]
    wanted = set(_given(whole))
    for name in [*wanted]:
        _add_needed(name, schemas, wanted)
    parts = [_class(name, schemas[name]) for name in sorted(wanted, key=named)]
    text = HEAD + "".join(f"\n\n{each}" for each in parts)
    for word in ("Literal", "NotRequired", "Any"):
        if not re.search(rf"\b{word}\b", text.partition("TypedDict\n")[2]):
            text = text.replace(f"{word}, ", "", 1)
    return text


def _given(whole: Mapping[str, Any]) -> Iterator[str]:
    for methods in whole["paths"].values():
        for operation in methods.values():
            for told in operation["responses"].values():
                for media in told.get("content", {}).values():
                    for schema in (media.get("schema", {}), media.get("x-event", {})):
                        if "$ref" in schema:
                            yield schema["$ref"].rpartition("/")[2]
    yield "Problem"


def _add_needed(name: str, schemas: Mapping[str, Any], wanted: set[str]) -> None:
    for found in re.findall(r"#/components/schemas/(\w+)", json.dumps(schemas[name])):
        if found not in wanted:
            wanted.add(found)
            _add_needed(found, schemas, wanted)


def named(schema: str) -> str:
    """`Items_GroupItem_`, as pydantic calls it, is `GroupItems` here."""
    found = re.fullmatch(r"Items_(\w+)_", schema)
    return f"{found[1]}s" if found else schema


def _class(name: str, schema: Mapping[str, Any]) -> str:
    about = " ".join(str(schema.get("description", "")).split()) or "One of the API's answers."
    lines = [f"class {named(name)}(TypedDict):", *_docstring(about)]
    needed = schema.get("required", ())
    fields = schema.get("properties", {})
    for field, told in fields.items():
        kind = _type(told)
        lines.append(f"    {field}: {kind if field in needed else f'NotRequired[{kind}]'}")
    return "\n".join([lines[0], *lines[1:2], *([""] if fields else []), *lines[2:]]) + "\n"


def _docstring(text: str) -> list[str]:
    whole = "\n".join(textwrap.wrap(text, 100))
    return [textwrap.indent(f'"""{whole}"""', "    ").replace("\\", "\\\\")]


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return named(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(each) for each in schema['enum'])}]"
    if "const" in schema:
        return f"Literal[{json.dumps(schema['const'])}]"
    match schema.get("type"):
        case "array":
            return f"list[{_type(schema.get('items', {}))}]"
        case "object":
            inner = schema.get("additionalProperties")
            return f"dict[str, {_type(inner)}]" if isinstance(inner, Mapping) else "dict[str, Any]"
        case str(plain):
            return PLAIN[plain]
        case _:
            return "Any"


def main() -> None:
    whole = described()
    PUBLISHED.write_text(json.dumps(whole, indent=1) + "\n")
    ANSWERS.write_text(answers_of(whole))


if __name__ == "__main__":
    main()
