"""The OpenAPI document says what the router does, no more and no less."""

import re
from pathlib import Path
from typing import Any

import pytest

from repave_controller.api.app import Api, make_app
from repave_controller.api.web.openapi import document

NOT_DESCRIBED = {("GET", "/v1/authority"), ("GET", "/v1/openapi.json"), ("GET", "/healthz")}


@pytest.fixture
def described() -> dict[str, Any]:
    return document(Api(None, None, None, None, None).routes(), "1.2.3")  # type: ignore[arg-type]  # the table alone


def operations(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if "$ref" in node else []
        return found + [each for value in node.values() for each in references(value)]
    return [each for value in node for each in references(value)] if isinstance(node, list) else []


def test_it_has_the_structure_of_openapi_3_1(described: dict[str, Any]) -> None:
    assert described["openapi"].startswith("3.1.")
    assert described["info"] == {"title": "repave", "version": "1.2.3"}
    for (method, path), operation in operations(described).items():
        assert method in ("GET", "HEAD", "POST")
        assert path.startswith("/")
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == set(re.findall(r"\{(\w+)\}", path))
        assert all(each["required"] for each in operation["parameters"] if each["in"] == "path")
        assert all("schema" in each for each in operation["parameters"])
        assert all(each["description"] for each in operation["responses"].values())
        assert all(re.fullmatch(r"default|[1-5](XX|\d\d)", each) for each in operation["responses"])


def test_every_operation_has_a_name_of_its_own(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(described).values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    found = references(described)
    assert found
    for reference in found:
        name = reference.removeprefix("#/components/schemas/")
        assert name in described["components"]["schemas"]


def test_it_names_exactly_the_routes_of_the_router(described: dict[str, Any], tmp_path: Path) -> None:
    app = make_app(scheduler=None, store=None, images=None, sessions=None, clock=None)  # type: ignore[arg-type]  # never asked
    routed = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }
    heads = {("HEAD", path) for _, path in NOT_DESCRIBED}
    assert routed - heads - NOT_DESCRIBED == set(operations(described))


def test_every_answer_has_a_model_but_the_package_itself_and_what_browsers_are_led_by(
    described: dict[str, Any],
) -> None:
    without = {
        path for (_, path), each in operations(described).items() if "content" not in each["responses"]["2XX"]
    }
    assert without == {"/v1/images/{digest}", "/v1/login/oidc", "/v1/login/oidc/callback"}


def test_every_command_but_the_upload_describes_its_body(described: dict[str, Any]) -> None:
    without = {
        path
        for (method, path), each in operations(described).items()
        if method == "POST" and "requestBody" not in each
    }
    assert without <= {"/v1/images"}


def test_only_what_must_be_given_is_required(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    assert set(schemas["ReleaseRequest"]["required"]) == {"spec", "digest"}
    assert schemas["ReleaseRequest"]["additionalProperties"] is False
    assert "required" not in schemas["AbortRequest"]


def test_queries_are_described(described: dict[str, Any]) -> None:
    parameters = operations(described)["GET", "/v1/events"]["parameters"]
    assert {each["name"] for each in parameters} == {"after", "application", "limit", "newest"}
    assert all(each["in"] == "query" and each["schema"]["type"] for each in parameters)
