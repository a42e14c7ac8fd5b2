"""The spec as a JSON Schema, for editors."""

from typing import Any

from repave_controller.spec.spec import Spec


def schema() -> dict[str, Any]:
    """JSON Schema of the spec, for editors."""
    made = _without_null(Spec.model_json_schema())
    assert isinstance(made, dict)
    own = {"patternProperties": {"^x-": {"description": "A place for anchors; left out."}}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, **own}


def _without_null(node: Any) -> Any:
    """Specs don't write null; with that branch editors say "not valid under any of the given schemas"."""
    if isinstance(node, list):
        return [_without_null(each) for each in node]
    if not isinstance(node, dict):
        return node
    kept = {name: _without_null(each) for name, each in node.items() if not _is_title(name, each)}
    branches = [each for each in kept.get("anyOf", ()) if each != {"type": "null"}]
    if len(branches) < len(kept.get("anyOf", ())):
        del kept["anyOf"]
        if kept.get("default", "") is None:
            del kept["default"]
        kept = {**(branches[0] if len(branches) == 1 else {"anyOf": branches}), **kept}
    return kept


def _is_title(name: str, value: object) -> bool:
    """pydantic's own: the names of Python classes and fields again."""
    return name == "title" and isinstance(value, str)
