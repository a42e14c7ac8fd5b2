"""What is kept of traffic: by slots of time, bounded, and nothing while there is none."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from repave_agent.core.figures import FLIPS_KEPT_MAX, GROUPS_KEPT_MAX, STEPS, Figures
from repave_agent.core.ports import BackendView, BalancerView, Counted, Route, Structure
from repave_protos.protocol.queries import Flip, GroupTraffic
from repave_protos.protocol.values import ApplicationName, GroupName

SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
BEGUN = 1_700_000_000.0
FINE, COARSE = STEPS


def view(*routes: Route, **counted: Counted | None) -> BalancerView:
    """Groups are called by their numbers: v001 is shop-v001."""
    backends = tuple(
        BackendView(GroupName(f"shop-{name}"), 1, 0, counted=each) for name, each in counted.items()
    )
    return BalancerView(True, Structure(), routes, backends, 0)


def test_requests_fall_into_the_slots_in_which_they_were_seen() -> None:
    figures = Figures(BEGUN)
    seen = ((0, 100, 0, 0.01), (1, 110, 1, 0.01), (2, 130, 1, 0.03), (3, 130, 1, 0.09), (6, 131, 1, 0.02))
    for seconds, requests, errors, response in seen:
        figures.note(view(v001=Counted(requests, errors, response)), BEGUN + seconds)
    told = figures.of(SHOP, BEGUN - 60, BEGUN + 10)
    first = int(BEGUN // 5)
    assert told.groups == (GroupTraffic(BLUE, (first, first + 1), (30, 1), (1, 0), (30_000, 20_000), (0, 0)),)
    assert (told.step_seconds, told.kept_since) == (5, BEGUN)
    assert figures.of(ApplicationName("blog"), 0, BEGUN).groups == ()
    coarse = figures.of(SHOP, BEGUN - 7200, BEGUN + 10)
    assert (coarse.step_seconds, coarse.groups[0].requests) == (60, (31,))


def test_switches_are_told_and_what_was_so_at_first_is_none() -> None:
    figures = Figures(BEGUN)
    canary = Route(SHOP, BLUE, GREEN, 500)
    for seconds, route in ((0, Route(SHOP, BLUE)), (1, canary), (2, canary), (3, Route(SHOP, GREEN))):
        figures.note(view(route), BEGUN + seconds)
    flips = figures.of(SHOP, BEGUN, BEGUN + 9).flips
    assert flips == (Flip(BEGUN + 1, ((BLUE, 9500), (GREEN, 500))), Flip(BEGUN + 3, ((GREEN, 10_000),)))
    assert figures.of(SHOP, BEGUN + 2, BEGUN + 9).flips == flips[1:]


def test_a_balancer_that_counts_nothing_is_believed() -> None:
    figures = Figures(BEGUN)
    for seconds in range(3):
        figures.note(view(v001=None), BEGUN + seconds)
    assert figures.of(SHOP, 0, BEGUN + 9).groups == ()


@given(st.lists(st.tuples(st.integers(-20, 90), st.integers(-5, 50)), max_size=50))
def test_nothing_is_counted_twice_whatever_the_clock_and_the_balancer_do(
    steps: list[tuple[int, int]],
) -> None:
    """Numbers that fall are of a balancer that began anew: what is told is never more than what was counted,
    and its slots only rise."""
    figures, now, requests, grown = Figures(BEGUN), BEGUN, 0, 0
    figures.note(view(v001=Counted()), now)
    for seconds, more in steps:
        now, requests = now + seconds, max(0, requests + more)
        grown += max(0, more)
        figures.note(view(v001=Counted(requests)), now)
    for since in (now - 60, now - 7200):
        for group in figures.of(SHOP, since, now).groups:
            assert sum(group.requests) <= grown
            assert list(group.slots) == sorted(set(group.slots))


def test_what_is_kept_is_bounded() -> None:
    figures = Figures(BEGUN)
    counted = Counted()
    figures.note(view(v001=counted), BEGUN)
    for slot in range(COARSE[1] + 50):
        counted = replace(counted, requests=counted.requests + 1)
        figures.note(view(Route(SHOP, BLUE, GREEN, slot % 2), v001=counted), BEGUN + slot * 60)
    now = BEGUN + (COARSE[1] + 50) * 60
    assert len(figures.of(SHOP, now - 60, now).groups) <= 1
    coarse = figures.of(SHOP, 0, now)
    assert len(coarse.groups[0].slots) == COARSE[1]
    assert len(coarse.flips) == FLIPS_KEPT_MAX
    for number in range(2, GROUPS_KEPT_MAX + 2):
        figures.note(view(**{f"v{number:03}": Counted()}), now)
        figures.note(view(**{f"v{number:03}": Counted(1)}), now)
    groups = [each.group for each in figures.of(SHOP, 0, now).groups]
    assert len(groups) == GROUPS_KEPT_MAX
    assert BLUE not in groups


def test_of_a_group_that_the_balancer_has_nothing_is_forgotten_however_many_there_are() -> None:
    """Else it would seem to have no requests."""
    figures, names = Figures(BEGUN), [f"v{number:03}" for number in range(1, GROUPS_KEPT_MAX + 50)]
    for requests in range(3):
        figures.note(view(**dict.fromkeys(names, Counted(requests))), BEGUN + requests)
    told = figures.of(SHOP, BEGUN - 60, BEGUN + 3).groups
    assert [sum(each.requests) for each in told] == [2] * len(names)
