"""A report that is left out changes no decision: whatever the application does, and whatever is reported."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from repave_controller.core.domain.application import Application, Decision, Instant, RegionView
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.attention import is_news, rests
from repave_controller.core.rules.divergence import offer
from repave_protos.protocol.values import (
    ApplicationReport,
    Epoch,
    GroupName,
    GroupReport,
    HostName,
    RecordReport,
    RegionName,
    Worn,
)
from tests.fakes.controller.random_rollouts import TENURE, TROUBLES, World, begun, policies, wave_lists, ways
from tests.fakes.controller.stepping import HELLO

PARIS = RegionName("paris")
COUNTED = ("launching", "starting", "verified", "unhealthy", "failed", "balancer_up", "in_flight")
READ = (*COUNTED, "healthy", "destroying", "weight_bp", "has_given_up", "trouble", "worn")
FOR_PEOPLE = ("launched_total", "destroyed_total", "aged", "drifted", "outdated", "oldest_at", "due_at")
ROUNDS_MAX = 30
CHANGES_EACH = 12
LONG_AFTER = 200_000.0  # no old group is kept for so long
RECORDS = (None, None, None, RecordReport("a.example.com", "in"), RecordReport("a.example.com", "out"))


@st.composite
def reports(draw: Any, known: ApplicationReport) -> ApplicationReport:
    """Something else of the same groups."""
    groups = tuple(draw(_groups(group)) for group in known.groups)
    record = draw(st.sampled_from(RECORDS))
    return replace(known, groups=groups, record=record)


@st.composite
def _groups(draw: Any, known: GroupReport) -> GroupReport:
    names = draw(st.sampled_from((COUNTED, FOR_PEOPLE, ())))
    fields = draw(st.sets(st.sampled_from(names), max_size=2)) if names else ()
    changes: dict[str, Any] = {name: draw(st.integers(0, 9)) for name in fields}
    if draw(st.integers(0, 4)) == 0:
        changes["worn"] = (Worn(HostName("h"), "age", "too old"),)
    return replace(known, **changes)


@st.composite
def changed(draw: Any, view: RegionView) -> RegionView:
    report = draw(reports(view.report)) if view.report is not None else None
    is_connected = view.is_connected ^ (draw(st.integers(0, 5)) == 0)
    since = view.since if is_connected == view.is_connected else Instant(view.since + 1)
    return replace(view, is_connected=is_connected, since=since, report=report)


def finish(world: World) -> None:
    """Where no person is waited for."""
    for _ in range(ROUNDS_MAX):
        world.settle()
        world.now = Instant(world.now + 30)
        if world.application.running is None:
            return


def decided(world: World) -> Decision:
    return step(world.application, world.views, world.now, TENURE)


@given(wave_lists(), ways(), policies, st.sampled_from(("first", "later", "rollback")), st.data())
def test_what_is_left_out_changes_no_decision(
    waves: Any, way: Any, policy: Any, kind: str, data: Any
) -> None:
    world = begun(waves, way, policy, kind, old=data.draw(st.integers(1, 4)))
    for _ in range(data.draw(st.integers(0, 6))):
        region = data.draw(st.sampled_from(sorted(world.views)))
        world.strike(region, data.draw(st.sampled_from(TROUBLES)))
        world.settle()
        world.now = Instant(world.now + data.draw(st.sampled_from((1, 20, 60))))
    if data.draw(st.booleans()):
        world.trouble.clear()
        world.views = {region: replace(view, is_connected=True) for region, view in world.views.items()}
        finish(world)
    world.now = Instant(world.now + data.draw(st.sampled_from((0.0, 0.0, LONG_AFTER))))
    for region in sorted(world.views):
        world.strike(region, data.draw(st.sampled_from(("", "", "deaf", "away"))))
    world.settle()
    world.application = offer(world.application, lambda _: True)
    before = decided(world)
    is_at_rest = rests(world.application, before.because)
    event("at rest" if is_at_rest else "waits")
    base = dict(world.views)
    for _ in range(CHANGES_EACH):
        region = data.draw(st.sampled_from(sorted(base)))
        now = data.draw(changed(base[region]))
        if now != base[region] and not is_news(
            world.application, region, base[region], now, is_at_rest=is_at_rest
        ):
            event("left out")
            world.views = {**base, region: now}
            assert decided(world) == before


@pytest.mark.parametrize("field", [*READ, *FOR_PEOPLE])
def test_an_application_that_waits_is_decided_again_for_what_a_decision_reads(field: str) -> None:
    before = ApplicationReport(HELLO, Epoch(1, 1, 1), (GroupReport(GroupName("hello-v001")),))
    change: Any = {"has_given_up": True, "trouble": "exited", "worn": (Worn(HostName("h"), "age", ""),)}
    other = replace(before, groups=(replace(before.groups[0], **{field: change.get(field, 7)}),))
    application = Application(HELLO, "hello", GroupNumber(1))
    views = (RegionView(True, before), RegionView(True, other))
    assert is_news(application, PARIS, *views, is_at_rest=False) is (field in READ)
    assert is_news(application, PARIS, *views, is_at_rest=True) is (field == "worn")
