"""A new kind of step is one class: the rollout, the plan and the stores take it as it is."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest
from pydantic import TypeAdapter

from repave_controller.core.domain import steps
from repave_controller.core.domain.application import Because, Instant, Observed
from repave_controller.core.domain.place import Place, Side
from repave_controller.core.domain.reasons import Why, reason_of
from repave_controller.core.domain.rollout import Phase, Rollout
from repave_controller.core.planning.forecast import Outlook
from repave_controller.core.planning.plan import plan_release
from repave_controller.core.rules.verdicts import Done, Verdict, Waiting
from repave_controller.core.steps.step import StepRules, describe
from repave_controller.wording.render import text_of
from tests.fakes.controller.stepping import World, an_order, released


@dataclass(frozen=True, slots=True)
class Settle(StepRules):
    """Wait for caches to fill; a single proven host counts meanwhile."""

    seconds: float
    deadline_seconds: float = 0.0
    kind: Literal["settle"] = "settle"

    def enter(self, place: Place) -> tuple[Side, ...]:
        return (Side(place.target.group, replace(place.target.part, proven=1)),)

    def judge(self, place: Place, observed: Observed, now: Instant) -> Verdict:
        until = Instant(place.track.entered_at + self.seconds)
        if now >= until:
            return Done()
        what = reason_of(Why.TEXT, text=f"settle: caches of {place.target.group.name} fill")
        return Waiting(Because(what, place.region, until=until), wake_at=until)

    def describe(self) -> str:
        return f"settle: caches fill for {self.seconds:g} s"

    def estimate_seconds(self, proof_seconds: float) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "KINDS", dict(steps.KINDS))
    steps.register(Settle)


def a_release(world: World) -> None:
    *first, soak = an_order().steps
    world.release("b", steps=(*first, Settle(30.0), soak))


def test_it_is_entered_waited_for_and_done() -> None:
    world = released("a")
    a_release(world)
    world.settle()
    (oslo, paris) = sorted(each.region for each in world.because)
    assert [text_of(each.reason) for each in world.because] == ["settle: caches of hello-v002 fill"] * 2
    assert text_of(Outlook(world.application, {}).of(replace(world.because[0], region=oslo))).startswith(
        "then soak"
    )
    assert {part.proven for part in world.application.groups[-1].parts} == {1}, paris
    world.now = Instant(world.now + 30)
    world.finish()
    assert world.is_in(Phase.SUCCEEDED)


def test_it_is_described_and_has_its_time_in_the_plan() -> None:
    order = an_order()
    longer = replace(order, steps=(*order.steps, Settle(30.0)))
    application = released("a").application
    plan, plain = plan_release(application, longer), plan_release(application, order)
    assert describe(plan.steps[-1]) == "settle: caches fill for 30 s"
    assert plan.at_least_seconds == plain.at_least_seconds + 30


def test_it_is_stored() -> None:
    world = released("a")
    a_release(world)
    stored = TypeAdapter(Rollout)
    assert stored.validate_json(stored.dump_json(world.application.rollout)) == world.application.rollout  # type: ignore[arg-type]  # one runs
