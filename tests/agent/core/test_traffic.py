"""The promises about what the balancer shall look like: who is behind it, who takes requests, when a split
may be given and when a group may be taken away."""

from dataclasses import replace

from repave_agent.core.observation import GroupFact
from repave_agent.core.ports import Backend, BalancerView, Frontend, Route, Structure
from repave_agent.core.traffic import is_awaited, may_detach, wanted_routes, wanted_structure
from repave_protos.protocol.values import FULL_WEIGHT_BP, GroupName, HostName, HostPhase
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
    PORT,
    PROBE,
    PROVEN,
    SERVED,
    SHOP,
    TILL,
    a_backend,
    a_group,
    a_host,
    a_state,
    a_view,
    all_disabled,
    seen,
    some_hosts,
)

SERVING = a_group(BLUE, weight_bp=FULL_WEIGHT_BP)
NEW = a_group(GREEN)
GONE = replace(SERVING, count=0, weight_bp=0)
BLUES = some_hosts(2)
GREENS = some_hosts(2, group=GREEN)


def members(structure: Structure, group: GroupName = BLUE) -> dict[HostName, bool]:
    """Who is behind the balancer, and whether it takes requests."""
    backend = structure.backend(group)
    return {server.host: server.is_enabled for server in backend.servers} if backend else {}


# ------------------------------------------------------------------------------------------- membership


def test_a_new_group_joins_in_one_change_once_all_its_hosts_run() -> None:
    one_launching = (*some_hosts(1, HostPhase.STARTING), a_host(2, HostPhase.LAUNCHING))
    assert wanted_structure(seen(a_state(a_group()), one_launching)) == Structure()
    one_missing = some_hosts(1, HostPhase.STARTING)
    assert wanted_structure(seen(a_state(a_group()), one_missing)) == Structure()
    all_run = some_hosts(2, HostPhase.STARTING)
    assert members(wanted_structure(seen(a_state(a_group()), all_run))) == {
        "shop-v001-1": False,
        "shop-v001-2": False,
    }


def test_where_hosts_join_at_no_cost_room_is_made_for_a_group_while_they_are_launched() -> None:
    launching = some_hosts(2, HostPhase.LAUNCHING, group=GREEN)
    present = replace(a_view(a_backend(BLUES), to=BLUE), takes_hosts=True)
    state = a_state(SERVING, NEW)
    wanted = wanted_structure(seen(state, (*BLUES, *launching), present))
    assert wanted.backend(GREEN) == Backend(GREEN, (), PROBE)
    assert wanted_routes(seen(state, (*BLUES, *launching), present))[0] == present.routes
    roomy = replace(a_view(a_backend(BLUES), Backend(GREEN, (), PROBE), to=BLUE), takes_hosts=True)
    half = (a_host(1, HostPhase.STARTING, group=GREEN), a_host(2, HostPhase.LAUNCHING, group=GREEN))
    assert members(wanted_structure(seen(state, (*BLUES, *half), roomy)), GREEN) == {}
    all_run = some_hosts(2, HostPhase.STARTING, group=GREEN)
    assert len(members(wanted_structure(seen(state, (*BLUES, *all_run), roomy)), GREEN)) == 2


def test_no_port_is_opened_before_the_first_hosts_run() -> None:
    empty = replace(a_view(), takes_hosts=True)
    assert (
        wanted_structure(seen(a_state(a_group()), some_hosts(2, HostPhase.LAUNCHING), empty)) == Structure()
    )


def test_a_proven_group_joins_with_the_hosts_that_are_left() -> None:
    """The balancer forgot everything, and a host is gone: the others must serve."""
    structure = wanted_structure(seen(a_state(SERVING), some_hosts(1), blue=PROVEN))
    assert members(structure) == {"shop-v001-1": True}


def test_hosts_take_requests_only_once_they_are_verified() -> None:
    hosts = (
        a_host(1, HostPhase.VERIFIED),
        a_host(2, HostPhase.HEALTHY),
        a_host(3, HostPhase.STARTING),
        a_host(4, HostPhase.UNHEALTHY),
        a_host(5, HostPhase.VERIFIED),
    )
    structure = wanted_structure(seen(a_state(a_group(count=4)), hosts))
    assert list(members(structure).values()) == [True, False, False, False, True]


def test_a_fresh_host_joins_in_place_of_the_one_that_is_gone() -> None:
    present = a_view(a_backend(BLUES), to=BLUE)
    hosts = (a_host(1), a_host(3, HostPhase.STARTING))
    structure = wanted_structure(seen(a_state(SERVING), hosts, present, blue=SERVED))
    assert members(structure) == {"shop-v001-1": True, "shop-v001-3": False}


def test_healing_is_gathered_into_one_change() -> None:
    present = a_view(a_backend(some_hosts(3)), to=BLUE)
    hosts = (a_host(1), a_host(4, HostPhase.STARTING), a_host(5, HostPhase.LAUNCHING))
    state = a_state(replace(SERVING, count=3))
    assert members(wanted_structure(seen(state, hosts, present))) == {
        "shop-v001-1": True,
        "shop-v001-2": False,
        "shop-v001-3": False,
    }


def test_a_host_that_is_gone_keeps_its_place_and_gets_nothing() -> None:
    """Taking it out would cost a reload; disabling it costs a command."""
    present = a_view(a_backend(BLUES), to=BLUE)
    structure = wanted_structure(seen(a_state(SERVING), some_hosts(1), present))
    assert members(structure) == {"shop-v001-1": True, "shop-v001-2": False}


def test_when_nobody_verified_is_left_all_the_unhealthy_go_on() -> None:
    present = a_view(all_disabled(a_backend(BLUES)), to=BLUE)
    all_ill = some_hosts(2, HostPhase.UNHEALTHY)
    assert all(members(wanted_structure(seen(a_state(SERVING), all_ill, present))).values())
    one_well = (a_host(1), a_host(2, HostPhase.UNHEALTHY))
    assert members(wanted_structure(seen(a_state(SERVING), one_well, present))) == {
        "shop-v001-1": True,
        "shop-v001-2": False,
    }


def test_a_bad_check_does_not_leave_the_service_to_the_first_fresh_host() -> None:
    hosts = (*some_hosts(4, HostPhase.UNHEALTHY), a_host(5))
    structure = wanted_structure(seen(a_state(replace(SERVING, count=4)), hosts, blue=PROVEN))
    assert all(members(structure).values())


def test_hosts_that_never_were_verified_do_not_serve_even_when_nobody_is_left() -> None:
    structure = wanted_structure(seen(a_state(SERVING), some_hosts(2, HostPhase.HEALTHY), blue=PROVEN))
    assert not any(members(structure).values())


def test_of_too_many_verified_hosts_the_oldest_keep_their_places() -> None:
    structure = wanted_structure(seen(a_state(SERVING), some_hosts(3)))
    assert members(structure) == {"shop-v001-1": True, "shop-v001-2": True, "shop-v001-3": False}


def test_a_retiring_group_stays_as_it_is_while_it_drains() -> None:
    present = a_view(a_backend(BLUES), a_backend(GREENS), to=GREEN, in_flight=3)
    fact = replace(SERVED, drain_since=95.0)
    state = a_state(GONE, replace(NEW, weight_bp=FULL_WEIGHT_BP))
    structure = wanted_structure(seen(state, BLUES + GREENS, present, blue=fact))
    assert structure == present.structure


def test_a_backend_with_traffic_stays_though_nobody_desires_its_group() -> None:
    present = a_view(a_backend(BLUES), to=BLUE)
    structure = wanted_structure(seen(a_state(replace(NEW, weight_bp=FULL_WEIGHT_BP)), BLUES, present))
    assert structure == present.structure


# --------------------------------------------------------------------------------------------- frontends


def test_a_port_is_opened_with_the_first_backend() -> None:
    assert wanted_structure(seen(a_state(a_group()))).frontends == ()
    assert wanted_structure(seen(a_state(a_group()), BLUES)).frontends == (Frontend(SHOP, PORT),)


def test_a_region_is_closed_in_order_first_the_route_then_the_port() -> None:
    present = a_view(a_backend(BLUES), to=BLUE)
    closing = a_state(GONE, port=0)
    observation = seen(closing, BLUES, present, blue=SERVED)
    assert wanted_routes(observation) == ((), ())
    assert wanted_structure(observation) == present.structure
    unrouted = replace(present, routes=())
    draining = seen(closing, BLUES, unrouted, blue=replace(SERVED, drain_since=100.0))
    assert wanted_structure(draining) == Structure()


# ------------------------------------------------------------------------------------------------ routes


def flip(green: Backend | None, present: Route | GroupName | None = BLUE) -> BalancerView:
    backends = (a_backend(BLUES),) if green is None else (a_backend(BLUES), green)
    return a_view(*backends, to=present)


FLIPPED = a_state(replace(SERVING, weight_bp=0), replace(NEW, weight_bp=FULL_WEIGHT_BP))
CANARY = a_state(replace(SERVING, weight_bp=9_500), replace(NEW, weight_bp=500))


def test_a_split_is_given_in_basis_points() -> None:
    assert wanted_routes(seen(CANARY, BLUES + GREENS, flip(a_backend(GREENS)))) == (
        (Route(SHOP, BLUE, GREEN, 500),),
        (),
    )


def test_a_flip_waits_until_the_group_is_behind_the_balancer() -> None:
    routes, (held,) = wanted_routes(seen(FLIPPED, BLUES, flip(None), green=PROVEN))
    assert routes == (Route(SHOP, BLUE),)
    assert held.why == "shop-v002 is not behind the balancer yet"


def test_a_flip_waits_until_somebody_is_up() -> None:
    routes, (held,) = wanted_routes(seen(FLIPPED, BLUES, flip(all_disabled(a_backend(GREENS)))))
    assert routes == (Route(SHOP, BLUE),)
    assert held.why == "no host of shop-v002 is verified and up behind the balancer"


def test_a_canary_that_goes_down_gets_no_more_and_may_lose_what_it_has() -> None:
    down = flip(all_disabled(a_backend(GREENS)), Route(SHOP, BLUE, GREEN, 500))
    _, held = wanted_routes(seen(FLIPPED, (), down))
    assert held != ()
    back = a_state(SERVING, replace(NEW, count=0))
    assert wanted_routes(seen(back, (), down)) == ((Route(SHOP, BLUE),), ())


def test_a_route_stays_when_its_own_hosts_go_down() -> None:
    """There is nobody better: the balancer's error answers are as good as no route."""
    down = a_view(all_disabled(a_backend(BLUES)), to=BLUE)
    assert wanted_routes(seen(a_state(SERVING), (), down)) == ((Route(SHOP, BLUE),), ())


def test_one_application_that_is_held_does_not_hold_another() -> None:
    other = replace(a_state(replace(SERVING, name=GroupName("till-v001"))), application=TILL)
    view = flip(a_backend(GREENS))
    routes, (held,) = wanted_routes(seen((other, FLIPPED), BLUES + GREENS, view))
    assert routes == (Route(SHOP, GREEN),)
    assert (held.state.application, held.is_blind) == (TILL, False)


def test_a_route_that_is_not_known_is_told_from_one_that_is_not_there() -> None:
    """Workers of the balancer disagree, and the new group is down: what the old route is, nobody can say."""
    view = flip(all_disabled(a_backend(GREENS)), present=None)
    _, (held,) = wanted_routes(seen(FLIPPED, BLUES, view, blue=SERVED))
    assert held.is_blind
    _, (first,) = wanted_routes(seen(FLIPPED, BLUES, view, blue=PROVEN))
    assert not first.is_blind


# ------------------------------------------------------------------------------------------------- drain


def detachable(now: float = 100.0, in_flight: int = 1, to: GroupName | None = GREEN, **fact: object) -> bool:
    view = a_view(a_backend(BLUES), a_backend(GREENS), to=to, in_flight=in_flight)
    state = a_state(GONE, replace(NEW, weight_bp=FULL_WEIGHT_BP))
    blue: GroupFact = replace(SERVED, **fact)  # type: ignore[arg-type]  # keyword arguments of the dataclass
    return may_detach(GONE, state, seen(state, BLUES + GREENS, view, now, blue=blue))


def test_requests_in_flight_have_until_the_end_of_the_drain() -> None:
    assert not detachable(now=109.9, drain_since=100.0)
    assert detachable(now=110.0, drain_since=100.0)


def test_a_drain_ends_early_when_nothing_is_in_flight() -> None:
    assert detachable(now=100.1, drain_since=100.0, in_flight=0)


def test_a_group_is_not_detached_before_its_drain_has_begun() -> None:
    assert not detachable(in_flight=0)


def test_a_group_that_has_traffic_is_never_detached() -> None:
    assert not detachable(now=1e9, drain_since=100.0, in_flight=0, to=BLUE)


def test_a_group_that_had_traffic_is_not_detached_while_no_route_is_known() -> None:
    assert not detachable(now=1e9, drain_since=100.0, in_flight=0, to=None)


def test_a_group_that_never_had_traffic_needs_no_drain_unless_requests_still_run() -> None:
    assert detachable(was_routed=False, in_flight=0)
    assert not detachable(was_routed=False, in_flight=3)  # the journal that knew better was lost
    assert detachable(now=1e9, drain_since=100.0, was_routed=False, in_flight=3)


# ------------------------------------------------------------------------------------------------ the view


def test_a_view_that_does_not_know_whom_it_sends_to_is_not_relied_on() -> None:
    assert a_view(a_backend(BLUES), to=BLUE).is_consistent
    assert not a_view(to=BLUE).is_consistent
    assert not replace(a_view(), is_running=False).is_consistent


def test_the_balancer_is_watched_closely_while_servers_come_up_or_requests_drain() -> None:
    serving, gone = a_state(SERVING), a_state(GONE)
    assert not is_awaited(serving, seen(serving, BLUES, a_view(a_backend(BLUES))))
    assert is_awaited(serving, seen(serving, BLUES, a_view(a_backend(BLUES), up=1)))
    assert is_awaited(gone, seen(gone, BLUES, a_view(a_backend(BLUES))))
