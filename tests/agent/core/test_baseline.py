"""The promises about a baseline in a region: an equal share beside two groups, or none, and never in the
way."""

from dataclasses import replace

import pytest

from repave_agent.core.fence import Accept, Refuse, admit
from repave_agent.core.ports import BalancerView, Route
from repave_agent.core.traffic import wanted_routes
from repave_protos.protocol.values import DesiredGroup, DesiredState, GroupName
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

FRESH = GroupName("shop-v003")
HOSTS = some_hosts(2) + some_hosts(2, group=GREEN) + some_hosts(2, group=FRESH)
OLD = a_group(BLUE, weight_bp=9_000, is_proven=True)
NEW = a_group(GREEN, weight_bp=500)
BESIDE = replace(a_group(FRESH, weight_bp=500), is_baseline=True)
SPLIT = Route(SHOP, BLUE, GREEN, 500)
IN_THREE = replace(SPLIT, baseline=FRESH, baseline_bp=500)


def view(to: Route, up: int = 2, takes_baselines: bool = True) -> BalancerView:
    """`up`: hosts of the baseline that the balancer has."""
    groups = {group: [host for host in HOSTS if host.group == group] for group in (BLUE, GREEN, FRESH)}
    shown = a_view(*(a_backend(hosts) for hosts in groups.values()), to=to)
    backends = tuple(replace(each, servers_up=up) if each.group == FRESH else each for each in shown.backends)
    return replace(shown, backends=backends, takes_baselines=takes_baselines)


def test_a_baseline_takes_its_share_from_the_first_group() -> None:
    route, held = wanted_routes(seen(a_state(OLD, NEW, BESIDE), HOSTS, view(SPLIT)))
    assert (route, held) == ((IN_THREE,), ())
    assert [IN_THREE.weight_bp(group) for group in (BLUE, GREEN, FRESH)] == [9_000, 500, 500]


@pytest.mark.parametrize("order", [(OLD, NEW, BESIDE), (BESIDE, OLD, NEW), (OLD, BESIDE, NEW)])
def test_it_is_the_baseline_whatever_the_order_of_the_groups(order: tuple[DesiredGroup, ...]) -> None:
    route, _ = wanted_routes(seen(a_state(*order), HOSTS, view(SPLIT)))
    assert route == (IN_THREE,)


def test_a_baseline_without_hosts_that_are_up_gets_no_share_yet() -> None:
    ((route,), (held,)) = wanted_routes(seen(a_state(OLD, NEW, BESIDE), HOSTS, view(SPLIT, up=0)))
    assert route == SPLIT
    assert held.why == f"no host of {FRESH} is verified and up behind the balancer"


def test_a_balancer_that_splits_in_two_says_so_and_goes_on_as_it_is() -> None:
    seen_so = seen(a_state(OLD, NEW, BESIDE), HOSTS, view(SPLIT, takes_baselines=False))
    ((route,), (held,)) = wanted_routes(seen_so)
    assert route == SPLIT
    assert "splits in two" in held.why


@pytest.mark.parametrize("up", [0, 2])
def test_going_back_waits_for_nothing_of_a_baseline(up: int) -> None:
    whole = replace(OLD, weight_bp=10_000)
    back = a_state(whole, replace(NEW, weight_bp=0, count=0), replace(BESIDE, weight_bp=0, count=0))
    assert wanted_routes(seen(back, HOSTS, view(IN_THREE, up=up))) == ((Route(SHOP, BLUE),), ())


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (a_state(OLD, replace(NEW, weight_bp=400), replace(BESIDE, weight_bp=600)), "another share"),
        (a_state(replace(OLD, weight_bp=9_500), BESIDE), "another share"),
        (
            a_state(replace(OLD, weight_bp=8_500), NEW, BESIDE, replace(BESIDE, name=GroupName("shop-v004"))),
            "more than one baseline",
        ),
        (a_state(OLD, NEW, replace(BESIDE, is_baseline=False)), "more than two server groups"),
        (a_state(OLD, NEW, replace(BESIDE, count=0)), "no hosts"),
    ],
    ids=["unequal", "without a new group", "two", "no baseline", "no hosts"],
)
def test_a_share_that_is_no_comparison_is_refused(state: DesiredState, why: str) -> None:
    answer = admit(None, state)
    assert isinstance(answer, Refuse)
    assert why in answer.why


def test_an_equal_share_is_accepted() -> None:
    assert admit(None, a_state(OLD, NEW, BESIDE)) == Accept()
    half = replace(OLD, weight_bp=9_500)
    assert admit(None, a_state(half, NEW, replace(BESIDE, weight_bp=0))) == Accept()
