"""Which fronts are open while groups that differ in them share the traffic."""

from dataclasses import replace

from repave_agent.core.fronts import fronts_of
from repave_agent.core.ports import Frontend, Route, Structure
from repave_agent.core.traffic import wanted_routes, wanted_structure
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.values import FULL_WEIGHT_BP, DesiredGroup, GroupName
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
    PORT,
    SHOP,
    a_backend,
    a_group,
    a_state,
    a_view,
    seen,
    some_hosts,
)

MAIN = replace(plain_front(PORT), name="web", balance="leastconn")
ADMIN, CHAT = TrafficFront("admin", 8001, to=9001), TrafficFront("chat", 8002, "tcp")


def group(name: GroupName, weight_bp: int, *fronts: TrafficFront) -> DesiredGroup:
    return a_group(name, weight_bp=weight_bp, template=replace(a_group().template, fronts=fronts))


def route(green_bp: int) -> Route:
    is_shared = 0 < green_bp < FULL_WEIGHT_BP
    return Route(SHOP, BLUE, GREEN, green_bp) if is_shared else Route(SHOP, GREEN if green_bp else BLUE)


def fronts(present_bp: int | None, given_bp: int | None, *open_now: TrafficFront) -> tuple[TrafficFront, ...]:
    """Where green has so much of the traffic now, and soon; None where no group has any."""
    state = a_state(group(BLUE, 0, MAIN, CHAT), group(GREEN, 0, MAIN, ADMIN))
    present, given = (None if each is None else route(each) for each in (present_bp, given_bp))
    frontend = Frontend(SHOP, PORT, fronts=open_now) if open_now else None
    return fronts_of(state, frontend, present, given)


def test_an_application_without_fronts_has_none() -> None:
    assert fronts_of(a_state(a_group(), a_group(GREEN)), None, None, None) == ()


def test_a_first_release_opens_all_its_fronts() -> None:
    assert fronts_of(a_state(group(BLUE, 0, MAIN, CHAT)), None, None, None) == (MAIN, CHAT)


def test_a_new_front_opens_when_every_group_with_traffic_has_it_and_an_old_one_closes_after_that() -> None:
    assert fronts(0, 0, MAIN, CHAT) == (MAIN, CHAT)
    assert fronts(1_000, 1_000, MAIN, CHAT) == (MAIN, CHAT)
    assert fronts(9_000, 9_000, MAIN, CHAT) == (MAIN, CHAT)
    assert fronts(FULL_WEIGHT_BP, FULL_WEIGHT_BP, MAIN, CHAT) == (MAIN, ADMIN)


def test_fronts_wait_for_a_switch_that_the_balancer_does_not_have_yet() -> None:
    """It is about to be made, and may fail."""
    assert fronts(0, FULL_WEIGHT_BP, MAIN, CHAT) == (MAIN, CHAT)
    assert fronts(0, 1_000, MAIN, CHAT) == (MAIN, CHAT)


def test_fronts_stay_while_it_is_not_known_who_has_the_traffic() -> None:
    """As when two workers of the balancer do not agree."""
    assert fronts(None, None, MAIN, CHAT) == (MAIN, CHAT)
    assert fronts(None, FULL_WEIGHT_BP, MAIN, CHAT) == (MAIN, CHAT)
    assert fronts(None, FULL_WEIGHT_BP) == (MAIN, ADMIN)  # a balancer that has forgotten all


def test_a_rollback_brings_back_the_fronts_of_the_group_that_served() -> None:
    assert fronts(FULL_WEIGHT_BP, 0, MAIN, ADMIN) == (MAIN, ADMIN)
    assert fronts(0, 0, MAIN, ADMIN) == (MAIN, CHAT)


def test_what_clients_see_is_that_of_the_group_with_most_of_the_traffic() -> None:
    kept = replace(MAIN, balance="random")
    state = a_state(group(BLUE, 0, MAIN), group(GREEN, 0, kept))
    assert fronts_of(state, None, route(6_000), route(6_000)) == (kept,)
    state = a_state(group(BLUE, 0), group(GREEN, 0, kept))
    assert fronts_of(state, None, route(4_000), route(4_000)) == ()


def test_a_held_switch_takes_no_front_from_the_group_that_serves() -> None:
    """Green is to have all, and none of its hosts is up."""
    state = a_state(group(BLUE, 0, MAIN, CHAT), group(GREEN, FULL_WEIGHT_BP, MAIN, ADMIN))
    blue = replace(a_backend(some_hosts(2)), fronts=(MAIN, CHAT))
    structure = Structure((Frontend(SHOP, PORT, fronts=(MAIN, CHAT)),), (blue,))
    before = replace(a_view(blue, to=BLUE), structure=structure)
    observation = seen(state, some_hosts(2), balancer=before)
    routes, held = wanted_routes(observation)
    assert routes == before.routes
    assert [each.groups for each in held] == [(GREEN,)]
    assert wanted_structure(observation).frontends == before.structure.frontends


def test_the_balancer_is_to_have_them_and_each_group_its_own() -> None:
    state = a_state(group(BLUE, FULL_WEIGHT_BP, MAIN, CHAT))
    structure = wanted_structure(seen(state, some_hosts(2)))
    assert structure.frontends == (Frontend(SHOP, PORT, fronts=(MAIN, CHAT)),)
    assert [each.fronts for each in structure.backends] == [(MAIN, CHAT)]
