"""The OpenAPI document is one, says what the router does, no more and no less, and is the published one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from repave_controller.api.app import make_app
from repave_controller.api.web import examples
from repave_controller.api.web.kinds import KINDS
from repave_controller.api.web.openapi import document
from repave_controller.core.domain.reasons import Refusal
from repave_protos import __version__
from tests.controller.api.conftest import Asked, routes

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "docs" / "openapi.json"
NOT_DESCRIBED = {
    ("GET", "/v1/authority"),
    ("GET", "/v1/openapi.json"),
    ("GET", "/healthz"),
    ("POST", "/hooks/{hook}"),
}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document(routes(), __version__)


def operations(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def responses(described: dict[str, Any], operation: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """By status; those that are shared are looked up."""
    shared = described["components"]["responses"]
    return {
        int(status): shared[told["$ref"].rpartition("/")[2]] if "$ref" in told else told
        for status, told in operation["responses"].items()
    }


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if "$ref" in node else []
        return found + [each for value in node.values() for each in references(value)]
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


def test_it_is_an_openapi_3_1_document_by_the_official_schema(described: dict[str, Any]) -> None:
    assert list(OpenAPIV31SpecValidator(described).iter_errors()) == []


def test_the_published_one_is_the_one_that_is_served(described: dict[str, Any]) -> None:
    """Mend it by: python -m tests.support.openapi"""
    assert json.loads(PUBLISHED.read_text()) == described


def test_every_operation_says_what_it_is_for(described: dict[str, Any]) -> None:
    names = [each["operationId"] for each in operations(described).values()]
    assert len(set(names)) == len(names)
    for (method, path), each in operations(described).items():
        assert each["summary"], (method, path)
        assert len(each["summary"]) <= 110, each["summary"]
        assert each["tags"] == [path.split("/")[2]]
        named = {field["name"] for field in each["parameters"] if field["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))
        assert all(field["description"] and field["schema"] for field in each["parameters"]), (method, path)


def test_every_operation_says_how_it_may_be_refused(described: dict[str, Any]) -> None:
    known = {*KINDS, *(each.root for each in Refusal)}
    for where, each in operations(described).items():
        refusals = {status: told for status, told in responses(described, each).items() if status >= 400}
        assert {400, 403, 429, 500, 503} <= set(refusals), where
        for told in refusals.values():
            assert set(told["x-problems"]) <= known
            assert all(described["x-problems"][kind]["meaning"] for kind in told["x-problems"])


def test_every_write_says_what_a_repeat_does(described: dict[str, Any]) -> None:
    silent = {
        path
        for (method, path), each in operations(described).items()
        if method == "POST" and not each["description"]
    }
    assert silent == {
        "/v1/login",
        "/v1/login/session",
        "/v1/login/device",
        "/v1/login/device/poll",
        "/v1/login/browser",
        "/v1/login/browser/finish",
        "/v1/notices/{target}/test",
    }


def test_every_kind_of_problem_of_the_api_is_described_by_a_route(described: dict[str, Any]) -> None:
    before_routes = {"not-http", "not-found", "method-not-allowed"}
    elsewhere = {"no-authority", "not-for-agents", "expectation-failed"}
    found = {
        kind
        for each in operations(described).values()
        for told in responses(described, each).values()
        for kind in told.get("x-problems", ())
    }
    assert set(KINDS) - found == before_routes | elsewhere


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    found = references(described)
    assert found
    for reference in found:
        sort, _, name = reference.removeprefix("#/components/").partition("/")
        assert name in described["components"][sort]


def test_examples_are_what_they_are_examples_of() -> None:
    models = {
        model.__name__: model
        for route in routes()
        for model in (route.answer, route.body)
        if model is not None
    }
    for name, example in examples.EXAMPLES.items():
        model = models.get(name) or _within(models, name)
        TypeAdapter(model).validate_json(json.dumps(example))


def _within(models: dict[str, Any], name: str) -> Any:
    from repave_controller.api.answers import models as answers

    return getattr(answers, name)


def test_every_body_that_needs_something_has_an_example(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for where, each in operations(described).items():
        content = each.get("requestBody", {}).get("content", {}).get("application/json")
        if content is not None and "example" not in content:
            assert "required" not in schemas[content["schema"]["$ref"].rpartition("/")[2]], where


def test_it_names_exactly_the_routes_of_the_router(described: dict[str, Any], tmp_path: Path) -> None:
    app = make_app(scheduler=None, store=None, images=None, sessions=None, clock=None)  # type: ignore[arg-type]  # never asked
    routed = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }
    told = set(operations(described))
    heads = {("HEAD", path) for method, path in NOT_DESCRIBED | told if method == "GET"}
    assert heads <= routed
    assert routed - (heads - told) - NOT_DESCRIBED == told


def test_every_answer_has_a_model_but_the_package_itself_and_what_browsers_are_led_by(
    described: dict[str, Any],
) -> None:
    without = {
        path
        for (_, path), each in operations(described).items()
        if "application/json" not in next(iter(each["responses"].values())).get("content", {})
        and not path.endswith(("stream", "live"))
    }
    assert without == {"/v1/images/{digest}", "/v1/login/oidc", "/v1/login/oidc/callback"}


def test_only_what_must_be_given_is_required(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert set(schemas["ReleaseRequest"]["required"]) == {"spec", "digest"}
    assert schemas["ReleaseRequest"]["additionalProperties"] is False
    assert "required" not in schemas["AbortRequest"]


def test_queries_are_described(described: dict[str, Any]) -> None:
    parameters = operations(described)["GET", "/v1/events"]["parameters"]
    asked = {each["name"] for each in parameters if each["in"] == "query"}
    assert asked == {"after", "application", "limit", "cursor", "kind", "region", "newest"}


def test_lists_have_one_way_of_pages(described: dict[str, Any]) -> None:
    """Those that are asked of agents, and those that are short by their bounds, are whole."""
    whole = {
        "pool",
        "baked-images",
        "orphans",
        "controllers",
        "doctor",
        "queue",
        "freezes",
        "calendar",
        "suspects",
        "traffic",
        "analyses",
        "roles",
        "notices",
        "hooks",
        "gitops",
        "promotions",
    }
    schemas = described["components"]["schemas"]
    for (method, path), each in operations(described).items():
        content = next(iter(each["responses"].values())).get("content", {}).get("application/json", {})
        name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        is_list = "items" in schemas.get(name, {}).get("properties", {}) and method == "GET"
        if is_list and path.rpartition("/")[2] not in whole:
            asked = {field["name"] for field in each["parameters"]}
            assert {"limit", "cursor"} <= asked, path
            assert "next" in schemas[name]["properties"], path


def test_it_is_served_with_a_tag(api: Asked) -> None:
    whole = api.get("openapi.json")
    assert whole.status == 200
    again = api.get("openapi.json", **{"If-None-Match": whole.headers["ETag"]})
    assert (again.status, again.content) == (304, b"")
