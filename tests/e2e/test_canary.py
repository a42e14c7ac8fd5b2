"""Canaries on a real HAProxy under load, judged by what it counts: a bad version goes back by itself, a good
one goes on."""

from collections.abc import Mapping

import pytest

from tests.support.canaries import canary
from tests.support.stage import Stage

ONE_REGION = {"regions": ("paris",)}
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.parametrize("stage", [ONE_REGION], indirect=True),
]
RATE = 300.0


async def test_a_version_with_errors_goes_back_by_itself(stage: Stage) -> None:
    """One of ten requests to it fails: found after a look or two, of a minute's twelve."""
    found = await canary(stage, {"ERROR_SHARE": "0.1"}, hold_seconds=60, rate=RATE)
    assert found.is_back, f"{found}\n{stage.logs()}"
    assert "v2" in str(found.rollout["version"])
    assert "errors" in str(found.rollout["outcome"])
    assert found.exposed_seconds < 40
    shown = stage.repave("analysis", "show", "hello").stdout
    assert "clearly worse" in shown
    assert "new " in shown


@pytest.mark.rig
@pytest.mark.parametrize(
    ("fault", "paths"),
    [
        ({"ERROR_SHARE": "0.01"}, {"/": 1.0}),
        ({"ANSWER_SECONDS": "0.024"}, {"/": 1.0}),
        ({"ERROR_SHARE": "0.5", "ERROR_PATH": "/cart"}, {"/": 0.9, "/cart": 0.1}),
    ],
    ids=["1 % errors", "20 % slower", "one URL"],
)
async def test_each_bad_version_goes_back_by_itself(
    stage: Stage, fault: Mapping[str, str], paths: Mapping[str, float]
) -> None:
    found = await canary(stage, fault, hold_seconds=150, rate=RATE, paths=paths)
    print(fault, found)
    assert found.is_back, f"{found}\n{stage.logs()}"


@pytest.mark.rig
@pytest.mark.parametrize("run", range(3))
async def test_a_good_version_goes_on(stage: Stage, run: int) -> None:
    found = await canary(stage, {}, hold_seconds=30, rate=RATE)
    print(run, found)
    assert found.rollout["phase"] == "succeeded", f"{found}\n{stage.logs()}"
    assert found.hurt == 0
