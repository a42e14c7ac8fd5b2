"""The production worker and the first tier drive one core: what the simulation proves is what runs."""

import ast
import inspect
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pytest

from repave_agent.core.observation import Limits
from repave_agent.core.reconcile import Steer
from repave_agent.core.region import Change, Region, Step
from repave_agent.runtime import worker
from repave_controller.core.domain.scaling import NO_SCALING
from repave_simulation.campaigns.exhaustive import plain_scenario
from repave_simulation.scenarios.scenario import Scenario, draw
from repave_simulation.tiers import core_agent
from repave_simulation.tiers.run import run

EVENTS = (
    "decide", "begin", "hear", "welcome", "recall",
    "adopt", "accept", "not_accepted", "wants_listing", "begin_listing", "listed",
    "not_listed", "hosts_changed", "is_wanted", "launched", "launch_failed", "destroyed", "not_destroyed",
    "probed", "wants_view", "viewed", "balancer_changed", "still_wants", "changed", "not_changed",
    "take_notices",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One event that a region met, and what came of it."""

    name: str
    arguments: tuple[object, ...]
    result: object


@dataclass(slots=True)
class Life:
    """All that one region met in one life of its agent."""

    limits: Limits
    new_journal: str
    calls: list[Call] = field(default_factory=list)

    def steps(self) -> list[Step]:
        return [call.result for call in self.calls if isinstance(call.result, Step)]


def record(monkeypatch: pytest.MonkeyPatch, tier: int, scenario: Scenario) -> list[Life]:
    """Runs the scenario; what the regions of its agents met, in the order of their beginnings."""
    lives: dict[int, Life] = {}
    regions: list[Region] = []  # alive, so that none takes the place of another
    depth = [0]
    begin = Region.__init__

    def beginning(region: Region, limits: Limits, *, new_journal: str) -> None:
        begin(region, limits, new_journal=new_journal)
        regions.append(region)
        lives[id(region)] = Life(limits, new_journal)

    def recorded(name: str, method: Callable[..., object]) -> Callable[..., object]:
        @wraps(method)
        def call(region: Region, *arguments: Any, **named: Any) -> object:
            depth[0] += 1
            try:
                result = method(region, *arguments, **named)
            finally:
                depth[0] -= 1
            if not depth[0]:
                lives[id(region)].calls.append(Call(name, deepcopy(arguments), deepcopy(result)))
            return result

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Region, "__init__", beginning)
        for name in EVENTS:
            patch.setattr(Region, name, recorded(name, getattr(Region, name)))
        assert run(tier, scenario).broken is None
    return list(lives.values())


@pytest.mark.parametrize("tier", [1, 2])
def test_what_an_agent_decided_follows_from_what_it_met_and_from_nothing_else(
    tier: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded inputs of either tier, given to a fresh region, lead to the recorded decisions."""
    lives = record(monkeypatch, tier, draw(7))
    assert sum(len(life.steps()) for life in lives) > 100
    for life in lives:
        region, change = Region(life.limits, new_journal=life.new_journal), None
        for call in life.calls:
            # A change is known by its identity: the replayed one stands for the recorded one.
            arguments = [change if isinstance(each, Change) else each for each in call.arguments]
            result = getattr(region, call.name)(*arguments)
            assert result == call.result, call.name
            change = result.change or change if isinstance(result, Step) else change


def test_the_worker_and_the_first_tier_decide_the_same_for_the_same_releases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing goes wrong, both tiers launch, steer and destroy the same in the same order. Which server
    comes up first is a matter of milliseconds. Loads that are followed are the first tier's."""
    plain = plain_scenario(NO_SCALING)
    first, second = ([begun(life) for life in record(monkeypatch, tier, plain)] for tier in (1, 2))
    assert len(first) == len(second) == len(plain.regions)
    for pure, real in zip(first, second, strict=True):
        assert pure == real


def begun(life: Life) -> list[object]:
    """What the agent began, in order."""
    result: list[object] = []
    for step in life.steps():
        result += [f"launch {spec.name}" for spec in step.launches]
        result += [f"destroy {each.host}: {each.why}" for each in step.destroys]
        match step.change:
            case Change(Steer(routes)):
                result.append(routes)
    return result


@pytest.mark.parametrize("module", [worker, core_agent])
def test_neither_decides_by_itself(module: object) -> None:
    """Of the core they use the region and values; no function that judges, compares or chooses."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]  # a module
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("repave_agent.core")
        for alias in node.names
    }
    assert "Region" in imported
    assert {name for name in imported if name.islower()} <= {"foreign"}, "a text"
    assert not imported & {"Fleet", "Record", "Observation", "Plan"}
