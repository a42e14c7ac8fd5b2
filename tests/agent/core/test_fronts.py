"""Which fronts are open while groups that differ in them share the traffic."""

from dataclasses import replace

from repave_agent.core.fronts import fronts_of
from repave_agent.core.ports import Frontend
from repave_agent.core.traffic import wanted_structure
from repave_protos.protocol.fronts import TrafficFront, plain_front
from repave_protos.protocol.values import FULL_WEIGHT_BP, DesiredGroup, GroupName
from tests.fakes.agent.region_values import BLUE, GREEN, PORT, SHOP, a_group, a_state, seen, some_hosts

MAIN = replace(plain_front(PORT), name="web", balance="leastconn")
ADMIN, CHAT = TrafficFront("admin", 8001, to=9001), TrafficFront("chat", 8002, "tcp")


def group(name: GroupName, weight_bp: int, *fronts: TrafficFront) -> DesiredGroup:
    return a_group(name, weight_bp=weight_bp, template=replace(a_group().template, fronts=fronts))


def fronts(blue_bp: int, green_bp: int, present: tuple[TrafficFront, ...] = ()) -> tuple[TrafficFront, ...]:
    state = a_state(group(BLUE, blue_bp, MAIN, CHAT), group(GREEN, green_bp, MAIN, ADMIN))
    return fronts_of(state, Frontend(SHOP, PORT, fronts=present))


def test_an_application_without_fronts_has_none() -> None:
    assert fronts_of(a_state(a_group(), a_group(GREEN)), None) == ()


def test_a_first_release_opens_all_its_fronts() -> None:
    assert fronts_of(a_state(group(BLUE, 0, MAIN, CHAT)), None) == (MAIN, CHAT)


def test_a_new_front_opens_when_every_group_with_traffic_has_it_and_an_old_one_closes_after_that() -> None:
    assert fronts(FULL_WEIGHT_BP, 0, (MAIN, CHAT)) == (MAIN, CHAT)
    assert fronts(9_000, 1_000, (MAIN, CHAT)) == (MAIN, CHAT)
    assert fronts(1_000, 9_000, (MAIN, CHAT)) == (MAIN, CHAT)
    assert fronts(0, FULL_WEIGHT_BP, (MAIN, CHAT)) == (MAIN, ADMIN)


def test_a_rollback_brings_back_the_fronts_of_the_group_that_served() -> None:
    assert fronts(5_000, 5_000, (MAIN, ADMIN)) == (MAIN, ADMIN)
    assert fronts(FULL_WEIGHT_BP, 0, (MAIN, ADMIN)) == (MAIN, CHAT)


def test_what_clients_see_is_that_of_the_group_with_most_of_the_traffic() -> None:
    kept = replace(MAIN, balance="random")
    state = a_state(group(BLUE, 4_000, MAIN), group(GREEN, 6_000, kept))
    assert fronts_of(state, None) == (kept,)
    state = a_state(group(BLUE, 6_000), group(GREEN, 4_000, kept))
    assert fronts_of(state, None) == ()


def test_the_balancer_is_to_have_them_and_each_group_its_own() -> None:
    state = a_state(group(BLUE, FULL_WEIGHT_BP, MAIN, CHAT))
    structure = wanted_structure(seen(state, some_hosts(2)))
    assert structure.frontends == (Frontend(SHOP, PORT, fronts=(MAIN, CHAT)),)
    assert [each.fronts for each in structure.backends] == [(MAIN, CHAT)]
