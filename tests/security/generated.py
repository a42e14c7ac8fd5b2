"""Requests made by schemathesis from the API's description, and what of their answers is not as described."""

import http.client
import json
import urllib.parse
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
AWAY = ("/v1/login/oidc", "/v1/simulations")
"""What leads elsewhere, and what takes seconds each time: their own tests ask for them."""
TIMEOUT_SECONDS = 30.0


def faults_of(url: str, token: str, examples: int, seed: int, every: int = 1) -> list[str]:
    """Each operation, or every so many of them, `examples` times as described and as often not; what was
    answered wrongly, as text."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    schema = schemathesis.openapi.from_dict(_described(url, headers))
    schema.config.base_url = url
    faults: list[str] = []
    for number, result in enumerate(schema.get_all_operations()):
        assert isinstance(result, Ok), result
        operation = result.ok()
        if operation.path.startswith(AWAY) or operation.path.endswith(("stream", "live")):
            continue
        # Packages have tests of their own; after a log-out all others would be refused.
        if number % every or operation.label in ("POST /v1/images", "POST /v1/logout"):
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            faults += _faults_of(operation, mode, headers, examples, seed)
    return faults


def _faults_of(
    operation: Any, mode: GenerationMode, headers: dict[str, str], examples: int, seed: int
) -> list[str]:
    found: list[str] = []

    @seeded(seed)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(headers={**headers, "Connection": "close"}, timeout=TIMEOUT_SECONDS)
        try:
            case.validate_response(response, checks=CHECKS)
        except (Failure, FailureGroup) as failure:
            reasons = failure.exceptions if isinstance(failure, FailureGroup) else [failure]
            told = "; ".join(f"{type(each).__name__}: {str(each)[:400]}" for each in reasons)
            found.append(f"{operation.label} ({mode.value}): {told}")

    try:
        ask()
    except Exception as error:  # nothing wrong can be made of some operations
        if "NegativeData" not in repr(error) and "Unsatisfiable" not in repr(error):
            found.append(f"{operation.label} ({mode.value}): {error!r}")
    return found


def _described(url: str, headers: dict[str, str]) -> dict[str, Any]:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/v1/openapi.json", headers=headers)
        described: dict[str, Any] = json.loads(connection.getresponse().read())
        return described
    finally:
        connection.close()
