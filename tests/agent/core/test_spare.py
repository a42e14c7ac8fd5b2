"""The group that answers while none of the hosts that a request is for is up: which routes name it, and what
is told of the requests that it got."""

from dataclasses import replace

import pytest

from repave_agent.core.ports import BalancerView, Closed, FallenBack, Route
from repave_agent.core.region import FALLEN_BACK_SECONDS
from repave_agent.core.traffic import is_routed, wanted_routes
from repave_protos.protocol.values import FULL_WEIGHT_BP, DesiredState, GroupName, contradictions
from tests.agent.core.test_region import Ground
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
    SHOP,
    a_backend,
    a_group,
    a_state,
    a_view,
    seen,
    some_hosts,
)

BLUES, GREENS = some_hosts(2), some_hosts(2, group=GREEN)
OLD, NEW = a_group(BLUE, is_proven=True), a_group(GREEN, weight_bp=FULL_WEIGHT_BP)
TO_BLUE, TO_GREEN = Route(SHOP, BLUE), Route(SHOP, GREEN)


def soaking(spare: GroupName | None = BLUE) -> DesiredState:
    return replace(a_state(OLD, NEW), spare=spare)


def view(to: Route, falls_back: bool = True) -> BalancerView:
    return replace(a_view(a_backend(BLUES), a_backend(GREENS), to=to), falls_back=falls_back)


def test_the_spare_comes_with_the_switch() -> None:
    spared = replace(TO_GREEN, spare=BLUE)
    assert wanted_routes(seen(soaking(), BLUES + GREENS, view(TO_BLUE))) == ((spared,), ())
    assert wanted_routes(seen(soaking(None), BLUES + GREENS, view(spared))) == ((TO_GREEN,), ())


def test_a_balancer_that_can_not_fall_back_is_given_none() -> None:
    assert wanted_routes(seen(soaking(), BLUES + GREENS, view(TO_BLUE, False))) == ((TO_GREEN,), ())


def test_a_spare_that_is_not_behind_the_balancer_is_not_named() -> None:
    alone = replace(a_view(a_backend(GREENS), to=TO_GREEN), falls_back=True)
    assert wanted_routes(seen(soaking(), BLUES + GREENS, alone)) == ((TO_GREEN,), ())


def test_a_spare_stays_behind_the_balancer_until_no_route_names_it() -> None:
    gone = replace(OLD, count=0)
    state = a_state(gone, NEW)
    assert is_routed(gone, state, seen(state, BLUES + GREENS, view(replace(TO_GREEN, spare=BLUE))))
    assert not is_routed(gone, state, seen(state, BLUES + GREENS, view(TO_GREEN)))


@pytest.mark.parametrize(
    "state",
    [
        soaking(GroupName("shop-v007")),
        replace(a_state(replace(OLD, is_proven=False), NEW), spare=BLUE),
        replace(a_state(replace(OLD, count=0), NEW), spare=BLUE),
    ],
    ids=["unknown", "never served", "no hosts"],
)
def test_what_can_not_answer_is_no_spare(state: DesiredState) -> None:
    (wrong,) = contradictions(state)
    assert wrong.endswith("shall answer for others, and is no proven group with hosts")


def test_what_it_answered_is_told_at_once_and_then_now_and_again() -> None:
    ground = Ground()
    ground.accept(soaking())
    told = []
    for seconds, count in ((0, 0), (0, 18), (1, 30), (1, 31), (FALLEN_BACK_SECONDS, 32), (70, 32), (70, 3)):
        ground.now += seconds
        counted = (FallenBack(SHOP, GREEN, BLUE, count),)
        seen = replace(view(TO_BLUE), fallen_back=counted)  # whatever is wanted by then
        ground.region.viewed(seen, ground.now)
        told.append([each.text for each in ground.region.take_notices() if each.kind == "traffic.fell_back"])
    answered, because = f"{BLUE} answered", f"for {GREEN}, which had no host up"
    assert told == [
        [],
        [f"{answered} 18 requests {because}"],
        [],
        [],
        [f"{answered} 14 requests {because}"],
        [],
        [],
    ]


def test_connections_that_a_balancer_had_to_close_are_told_once() -> None:
    ground = Ground()
    ground.accept(soaking())
    told = []
    for connections in (0, 3, 3, 4, 1, 4):  # at last one of two processes is away, and back again
        seen = replace(view(TO_BLUE), closed=(Closed(BLUE, connections),))
        ground.region.viewed(seen, ground.now)
        told.append([each.text for each in ground.region.take_notices() if each.kind == "traffic.closed"])
    why = f"to {BLUE} closed: still open when its time to drain was over"
    assert told == [[], [f"3 connections {why}"], [], [f"1 connection {why}"], [], []]


def test_a_spare_whose_answers_are_not_counted_is_told_as_often_as_it_had_to_begin() -> None:
    ground = Ground()
    ground.accept(soaking())
    told = []
    for seconds, times in ((0, 1), (1, 1), (FALLEN_BACK_SECONDS, 2)):
        ground.now += seconds
        began = (FallenBack(SHOP, GREEN, BLUE, times, is_counted=False),)
        ground.region.viewed(replace(view(TO_BLUE), fallen_back=began), ground.now)
        told.append([each.text for each in ground.region.take_notices() if each.kind == "traffic.fell_back"])
    answers = f"{BLUE} answers for {GREEN}, which had no host up"
    assert told == [[answers], [], [answers]]
