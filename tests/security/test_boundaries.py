"""A moment of `make fuzz`, with the same draws each time."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.controller.asking import Asking
from tests.fakes.controller.scheduler import served
from tests.security.boundaries import BOUNDARIES, Boundary, is_answered, requests_of

EXAMPLES = {"packages": 60, "specs": 40, "settings": 40}
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@pytest.mark.parametrize("name", BOUNDARIES)
def test_what_crosses_a_boundary_is_a_value_or_refused(name: str) -> None:
    crossed: Boundary = BOUNDARIES[name]

    @settings(
        max_examples=EXAMPLES.get(name, 100),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=CHECKS,
    )
    @given(crossed.given)
    def holds(drawn: object) -> None:
        crossed.check(drawn)

    holds()


def test_every_request_is_answered_and_none_makes_the_controller_fail(tmp_path: Path) -> None:
    with served(tmp_path) as controller:
        api = Asking(controller.url)
        requests = requests_of(api.get("openapi.json").json)

        @settings(
            max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS
        )
        @given(st.data())
        def holds(data: st.DataObject) -> None:
            is_answered(api, data.draw(requests))

        holds()
        assert api.get("/healthz").status == 200
