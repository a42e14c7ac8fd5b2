"""Which changes of a region's report the controller waits for: the end of a step, good or bad."""

from dataclasses import replace

import pytest

from repave_agent.core.reports import ends_a_step
from repave_protos.protocol.values import ApplicationReport, Epoch, GroupReport
from tests.fakes.agent.region_values import BLUE, GREEN, SHOP

SERVES = GroupReport(BLUE, verified=2, balancer_up=2, weight_bp=10_000)
COMES = GroupReport(GREEN, launching=1, starting=1)


def a_report(*groups: GroupReport, refusal: str = "") -> ApplicationReport:
    return ApplicationReport(SHOP, Epoch(1, 1, 1), groups, refusal)


@pytest.mark.parametrize(
    ("before", "after", "awaited"),
    [
        (COMES, GroupReport(GREEN, launching=1, healthy=1), False),
        (COMES, GroupReport(GREEN, starting=2), True),  # all are made
        (GroupReport(GREEN, starting=2), GroupReport(GREEN, healthy=1, verified=1), False),
        (GroupReport(GREEN, healthy=1, verified=1), GroupReport(GREEN, verified=2), False),
        (GroupReport(GREEN, verified=2, balancer_up=1), GroupReport(GREEN, verified=2, balancer_up=2), True),
        (
            GroupReport(GREEN, healthy=1, verified=1, balancer_up=2),
            GroupReport(GREEN, verified=2, balancer_up=2),
            True,
        ),
        (COMES, replace(COMES, has_given_up=True), True),
        (COMES, replace(COMES, trouble="no space"), False),
        (SERVES, replace(SERVES, weight_bp=0), True),
        (SERVES, replace(SERVES, weight_bp=5_000, in_flight=3), True),
        (SERVES, replace(SERVES, verified=1, unhealthy=1, balancer_up=1), False),
        (SERVES, replace(SERVES, in_flight=3), False),
    ],
)
def test_a_step_that_is_done_or_has_failed_is_waited_for(
    before: GroupReport, after: GroupReport, awaited: bool
) -> None:
    assert ends_a_step(a_report(before), a_report(after)) is awaited
    assert not ends_a_step(a_report(after), a_report(after))
    assert not ends_a_step(None, a_report(after))


def test_a_refusal_is_waited_for_once() -> None:
    refused = a_report(SERVES, refusal="the disk is full")
    assert ends_a_step(a_report(SERVES), refused)
    assert not ends_a_step(refused, a_report(replace(SERVES, in_flight=1), refusal="the disk is full"))
    assert not ends_a_step(refused, a_report(SERVES))
