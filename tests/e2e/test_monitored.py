"""A real Prometheus scrapes a real controller and real agents over TLS through a release and a rollback: each
panel of the dashboard has something to show, no alert is wrong, and no target is down."""

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_joined import SecuredStage
from tests.monitoring.dashboard import queries
from tests.support.ports import free_ports
from tests.support.prometheus import prometheus
from tests.support.stage import kept

pytestmark = [pytest.mark.e2e, pytest.mark.rig, pytest.mark.timeout(300)]


def test_every_panel_has_series_of_a_real_run(directory: Path, tmp_path: Path) -> None:
    *ports, port = free_ports(3)
    stage = SecuredStage(directory)
    for region, each in zip(stage.regions, ports, strict=True):
        stage.region_environment[region] = {"REPAVE_AGENT_METRICS__LISTEN": f"127.0.0.1:{each}"}
    jobs = {
        "repave-controller": [f"127.0.0.1:{stage.http_port}"],
        "repave-agent": [f"127.0.0.1:{each}" for each in ports],
    }
    with kept(stage), prometheus(tmp_path / "p", port, jobs) as running:
        stage.wait(lambda: len(running.query("up == 1")) == 3, "the targets", 30)
        stage.release("v1")
        assert stage.ended()["phase"] == "succeeded"
        stage.wait(lambda: running.query("repave_rollouts_total > 0"), "a scrape of the release", 30)
        stage.release("v2")
        assert stage.ended()["phase"] == "succeeded"
        stage.rollback()
        assert stage.ended()["phase"] == "succeeded"
        for query, title in queries().items():
            stage.wait(lambda query=query: _shown(running.query(query)), f"series of {title}: {query}", 20)  # type: ignore[misc]
        wrong = running.query('ALERTS{alertstate="firing"}')
        assert [each["metric"]["alertname"] for each in wrong] == []
        evaluated = running.query("prometheus_rule_evaluation_failures_total > 0")
        assert evaluated == []


def _shown(found: list[dict[str, Any]]) -> bool:
    """Some series that is a number: a share of nothing is none."""
    return any(each["value"][1] != "NaN" for each in found)
