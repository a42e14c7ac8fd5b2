"""What alerts and the dashboard name is given out by controller and agents, and is in the docs."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.registry import CollectorRegistry

from repave_agent.core.observation import EMPTY_VIEW
from repave_agent.metrics.calls import MeasuredBalancer, MeasuredDisk, MeasuredProvider, counted_probes
from repave_agent.metrics.metrics import Metrics, Now
from repave_agent.runtime.journal_file import FileDisk
from repave_controller.core.domain.application import Instant
from repave_controller.peers.ports import Seen
from repave_controller.runtime.clock import SteadyClock
from tests.fakes.agent.balancer import FakeBalancer
from tests.fakes.agent.provider import FakeProvider
from tests.fakes.controller.api_rig import real_controller
from tests.fakes.controller.company import A, company_of
from tests.monitoring.dashboard import panels, queries, variables
from tests.monitoring.test_rules import rules
from tests.support.paths import ROOT

SUFFIXES = ("_bucket", "_count", "_sum")
NOT_OURS = {"process_resident_memory_bytes", "up"}


def families(registry: CollectorRegistry) -> Iterator[str]:
    for family in registry.collect():
        yield f"{family.name}_total" if family.type == "counter" else family.name


@pytest.fixture
async def exported(tmp_path: Path) -> set[str]:
    """The families of a controller with agents, and of an agent."""
    async with real_controller(tmp_path / "c", SteadyClock(Instant(0.0))) as real:
        real.metrics.read_company(company_of(Seen(A, is_live=True, holds_lock=True, lease_left_seconds=1.0)))
        controller = set(families(real.metrics.registry))
    registry = CollectorRegistry()
    metrics = Metrics(registry, tmp_path, lambda: 0.0)
    metrics.read(lambda: Now("paris", True, False, 0, (), EMPTY_VIEW, 1.0))
    MeasuredProvider(FakeProvider(), registry, lambda: 0.0)
    MeasuredBalancer(FakeBalancer(), registry, lambda: 0.0)
    MeasuredDisk(FileDisk(tmp_path / "journal"), registry, lambda: 0.0)
    counted_probes(registry)
    return controller | set(families(registry))


def named(expression: str) -> set[str]:
    """The metrics of an expression, histograms by their family."""
    found = set(re.findall(r"\b(?:repave|process)_\w+\b|\bup\b", re.sub(r'"[^"]*"', '""', expression)))
    return {re.sub(rf"({'|'.join(SUFFIXES)})$", "", name) for name in found}


async def test_every_metric_of_an_alert_or_a_panel_is_given_out(exported: set[str]) -> None:
    asked = [rule["expr"] for rule in rules().values()] + [*queries(), *variables()]
    assert len(asked) > 50
    for expression in asked:
        assert named(expression) - NOT_OURS <= exported, expression
        assert named(expression), expression


async def test_every_metric_of_ours_is_in_the_document_and_no_other(exported: set[str]) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    shown = set(re.findall(r"`(repave_\w+)`", text))
    ours = {name for name in exported if name.startswith("repave_")}
    assert shown == ours


def test_the_dashboard_can_be_imported() -> None:
    """As far as its form tells: ids are unique, panels do not overlap, sources are the variable's."""
    every: list[dict[str, Any]] = panels()
    assert len({panel["id"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["title"]
