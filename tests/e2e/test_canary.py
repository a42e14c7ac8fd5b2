"""Canaries on a real HAProxy under load, judged by what it counts: a bad version goes back by itself, a good
one goes on."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.canaries import canary
from tests.support.ports import free_ports
from tests.support.prometheus import prometheus
from tests.support.stage import Stage, staged

ONE_REGION: dict[str, Any] = {"regions": ("paris",)}
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
in_one_region = pytest.mark.parametrize("stage", [ONE_REGION], indirect=True)
RATE = 300.0


@in_one_region
async def test_a_version_with_errors_goes_back_by_itself(stage: Stage) -> None:
    """One of ten requests to it fails: found after a look or two, of a minute's twelve."""
    errors = "interval: 5s, metrics: [{name: errors, critical: true}]"
    found = await canary(stage, {"ERROR_SHARE": "0.1"}, hold_seconds=60, rate=RATE, analyse=errors)
    assert found.is_back, f"{found}\n{stage.logs()}"
    assert "v2" in str(found.rollout["version"])
    assert "errors" in str(found.rollout["outcome"])
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
@in_one_region
async def test_each_bad_version_goes_back_by_itself(
    stage: Stage, fault: Mapping[str, str], paths: Mapping[str, float]
) -> None:
    found = await canary(stage, fault, hold_seconds=150, rate=RATE, paths=paths)
    print(fault, found)
    assert found.is_back, f"{found}\n{stage.logs()}"


LEAKING = (
    "interval: 5s, look_back: 30s, metrics: [{name: memory, source: prom, query: "
    "'avg(process_resident_memory_bytes{group=\"{group}\"})'}]"
)


@pytest.mark.rig
async def test_a_version_that_leaks_memory_after_a_while_goes_back_by_itself(directory: Path) -> None:
    """By a real Prometheus, which scrapes the hosts of both groups."""
    (port,) = free_ports(1)
    source = {"prom": {"kind": "prometheus", "url": f"http://127.0.0.1:{port}", "step_seconds": 5}}
    settings = {"REPAVE_CONTROLLER_ANALYSIS__SOURCES": json.dumps(source)}
    targets = directory / "hosts.json"
    targets.write_text("[]")
    with (
        staged(directory / "stage", controller_environment=settings, **ONE_REGION) as stage,
        prometheus(directory / "p", port, {}, targets),
        _known_to(stage, targets),
    ):
        found = await canary(
            stage, {"LEAK_AFTER_SECONDS": "20"}, hold_seconds=150, rate=RATE, analyse=LEAKING
        )
        print("leak", found)
        assert found.is_back, f"{found}\n{stage.logs()}"
        assert "memory" in str(found.rollout["outcome"])
        assert found.exposed_seconds > 15


@contextmanager
def _known_to(stage: Stage, targets: Path) -> Iterator[None]:
    """Tells Prometheus of the hosts that there are, each with its group, until the block ends."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(0.5):
            hosts = stage.get("hosts")["items"]
            found = [
                {"targets": [f"{each['address']}:{each['port']}"], "labels": {"group": each["group"]}}
                for each in hosts
                if each["address"]
            ]
            beside = targets.with_suffix(".new")
            beside.write_text(json.dumps(found))
            beside.rename(targets)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(30)


@pytest.mark.rig
@pytest.mark.parametrize("run", range(3))
@in_one_region
async def test_a_good_version_goes_on(stage: Stage, run: int) -> None:
    usual = "{name: errors, critical: true}, {name: latency, least_effect: 25%}"
    strict = f"interval: 5s, judge: {{false_alarms: 1%}}, metrics: [{usual}]"
    found = await canary(stage, {}, hold_seconds=30, rate=RATE, analyse=strict)
    print(run, found)
    assert found.rollout["phase"] == "succeeded", f"{found}\n{stage.logs()}"
    assert found.hurt == 0
