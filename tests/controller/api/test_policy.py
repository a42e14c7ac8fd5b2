"""Every route of the API says who may call it."""

import pytest

from repave_controller.api.web.policy import LOG_INS, POLICY, UnguardedRoute, check_guarded
from repave_controller.security.principals import Permission
from tests.controller.api.conftest import Asked

UNTOLD = {"GET healthz", "GET authority", "POST hooks/{hook}"}
OPEN = UNTOLD | LOG_INS | {"GET login", "POST login/device/poll"}


def test_every_route_has_a_rule_and_every_rule_a_route(api: Asked) -> None:
    paths = api.get("openapi.json").json["paths"]
    described = {
        f"{method.upper()} {path.removeprefix('/v1/')}"
        for path, methods in paths.items()
        for method in methods
    }
    assert described | UNTOLD | {"GET openapi.json", "GET metrics"} == set(POLICY)


def test_only_health_log_ins_and_the_authority_s_certificate_are_open() -> None:
    assert {name for name, rule in POLICY.items() if rule.permission is Permission.OPEN} == OPEN


@pytest.mark.parametrize("route", [("GET", "secrets"), ("DELETE", "applications/{application}")])
def test_a_route_without_a_rule_fails_at_the_start(route: tuple[str, str]) -> None:
    with pytest.raises(UnguardedRoute, match=route[1].replace("{", ".").replace("}", ".")):
        check_guarded([route])
