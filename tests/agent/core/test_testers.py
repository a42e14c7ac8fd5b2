"""The promises about testers: they reach a group once somebody of it is up, nobody waits for them, and a
group that they reach is drained before it ends."""

from dataclasses import replace

from repave_agent.core.fence import Refuse, admit
from repave_agent.core.observation import Limits, Observation
from repave_agent.core.ports import Backend, BalancerView, Frontend, Route
from repave_agent.core.reconcile import Action, Arrange, BeginDrain, Plan, Steer, reconcile
from repave_agent.core.reports import with_troubles
from repave_agent.core.traffic import has_traffic, may_detach, wanted_routes, wanted_structure
from repave_protos.protocol.values import BY_REQUEST, FULL_WEIGHT_BP, DesiredGroup, DesiredState, Split
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
    PORT,
    PROVEN,
    SERVED,
    SHOP,
    a_backend,
    a_group,
    a_state,
    a_view,
    all_disabled,
    seen,
    some_hosts,
)

MARKED = Split("request", "", "header", "X-Tester", "yes")
SERVING = a_group(BLUE, weight_bp=FULL_WEIGHT_BP)
TESTED = a_group(GREEN, takes_testers=True)
BLUES, GREENS = some_hosts(2), some_hosts(2, group=GREEN)
TO_BLUE, WITH_TESTERS = Route(SHOP, BLUE), Route(SHOP, BLUE, testers=GREEN)


def a_marked_state(*groups: DesiredGroup, split: Split = MARKED) -> DesiredState:
    return replace(a_state(*groups), split=split)


def view(green: Backend | None, to: Route = TO_BLUE, split: Split = MARKED) -> BalancerView:
    """What the balancer shows; its way in knows the testers' mark."""
    shown = a_view(a_backend(BLUES), *([green] if green else []), to=to)
    return replace(shown, structure=replace(shown.structure, frontends=(Frontend(SHOP, PORT, split),)))


def actions(observation: Observation) -> tuple[Action, ...]:
    return reconcile(observation, Limits()).actions


# -------------------------------------------------------------------------------------------- on the way in


def test_testers_are_let_in_when_somebody_is_up() -> None:
    state = a_marked_state(SERVING, TESTED)
    assert wanted_routes(seen(state, BLUES + GREENS, view(a_backend(GREENS)))) == ((WITH_TESTERS,), ())
    assert actions(seen(state, BLUES + GREENS, view(a_backend(GREENS)))) == (Steer((WITH_TESTERS,)),)


def test_until_then_they_are_held_and_everybody_else_is_not() -> None:
    share = a_marked_state(replace(SERVING, weight_bp=9_500), replace(TESTED, weight_bp=500, ready_count=1))
    serves = Route(SHOP, BLUE, GREEN, 500)
    down = all_disabled(a_backend(GREENS))
    routes, (held,) = wanted_routes(seen(share, BLUES, view(down, to=serves)))
    assert routes == (serves,)
    assert held.why == "testers wait: no host of shop-v002 is verified and up behind the balancer"
    routes, (held,) = wanted_routes(seen(a_marked_state(SERVING, TESTED), BLUES, view(None)))
    assert (routes, held.why) == ((TO_BLUE,), "testers wait: shop-v002 is not behind the balancer yet")


def test_testers_come_in_while_the_share_of_their_group_is_held() -> None:
    wants_more = replace(TESTED, weight_bp=FULL_WEIGHT_BP, ready_count=2)
    one_up = a_backend(GREENS, 1)
    state = a_marked_state(replace(SERVING, weight_bp=0), wants_more)
    routes, (held,) = wanted_routes(seen(state, BLUES + GREENS, view(one_up)))
    assert routes == (WITH_TESTERS,)
    assert held.why == "only 1 of 2 hosts of shop-v002 are up behind the balancer"


def test_it_is_told_of_their_group_alone_that_they_wait() -> None:
    state = a_marked_state(SERVING, TESTED)
    observation = seen(state, BLUES, view(None))
    plan = Plan((), wanted_routes(observation)[1], None)
    troubles = with_troubles(observation, plan, {}, ())
    assert troubles == {BLUE: "", GREEN: "testers wait: shop-v002 is not behind the balancer yet"}


def test_testers_wait_until_the_balancer_knows_their_mark() -> None:
    state = a_marked_state(SERVING, TESTED)
    observation = seen(state, BLUES + GREENS, view(a_backend(GREENS), split=BY_REQUEST))
    routes, (held,) = wanted_routes(observation)
    assert (routes, held.why) == ((TO_BLUE,), "testers wait: the balancer does not know their mark yet")
    (arrange,) = actions(observation)
    assert isinstance(arrange, Arrange)
    assert arrange.structure.frontends == (Frontend(SHOP, PORT, MARKED),)


def test_before_anybody_serves_there_is_no_route_for_testers_either() -> None:
    state = a_marked_state(replace(TESTED, name=BLUE))
    shown = replace(view(None), routes=())
    assert wanted_routes(seen(state, BLUES, shown)) == ((), ())


def test_the_split_of_an_application_is_that_of_its_way_in() -> None:
    sticky = Split("cookie", "uid")
    structure = wanted_structure(seen(a_marked_state(SERVING, split=sticky), BLUES, blue=PROVEN))
    assert structure.frontends == (Frontend(SHOP, PORT, sticky),)


# ------------------------------------------------------------------------------------------- on the way out


GONE = replace(TESTED, count=0, takes_testers=False)


def test_testers_whose_group_goes_down_see_that_it_is_down() -> None:
    """The answer of another group would be taken for that of the new one."""
    down = view(all_disabled(a_backend(GREENS)), to=WITH_TESTERS)
    assert wanted_routes(seen(a_marked_state(SERVING, TESTED), BLUES, down)) == ((WITH_TESTERS,), ())


def test_a_group_that_ends_first_loses_its_testers_and_then_drains() -> None:
    state = a_marked_state(SERVING, GONE)
    reached = view(a_backend(GREENS), to=WITH_TESTERS)
    observation = seen(state, BLUES + GREENS, reached, blue=SERVED, green=SERVED)
    assert not may_detach(GONE, state, observation)
    assert actions(observation) == (Steer((TO_BLUE,)),)
    left = seen(state, BLUES + GREENS, view(a_backend(GREENS)), blue=SERVED, green=SERVED)
    assert actions(left) == (BeginDrain(GREEN),)


def test_testers_leave_also_while_the_route_of_all_others_is_held() -> None:
    back = a_marked_state(SERVING, GONE)
    all_down = replace(view(a_backend(GREENS), to=Route(SHOP, GREEN, testers=GREEN)), backends=())
    routes, (held,) = wanted_routes(seen(back, GREENS, all_down))
    assert (routes, held.why) == ((Route(SHOP, GREEN),), "shop-v001 is not behind the balancer yet")


def test_a_group_that_only_testers_reach_has_traffic() -> None:
    reached = view(a_backend(GREENS), to=WITH_TESTERS)
    assert has_traffic(GREEN, seen(a_marked_state(SERVING), BLUES, reached))
    assert a_backend(GREENS) in wanted_structure(seen(a_marked_state(SERVING), BLUES, reached)).backends
    assert not view(None, to=WITH_TESTERS).is_consistent


def test_a_region_that_is_closed_has_no_testers() -> None:
    closing = replace(a_marked_state(replace(SERVING, count=0, weight_bp=0), TESTED), frontend_port=0)
    observation = seen(closing, BLUES + GREENS, view(a_backend(GREENS), to=WITH_TESTERS))
    assert wanted_routes(observation) == ((), ())


# -------------------------------------------------------------------------------------- what nobody can mean


def test_a_split_or_testers_that_nobody_can_mean_are_refused() -> None:
    wrong = [
        (a_marked_state(SERVING, replace(TESTED, count=0)), "shop-v002 shall take testers with no hosts"),
        (a_marked_state(replace(SERVING, takes_testers=True), TESTED), "more than one server group takes"),
        (a_marked_state(SERVING, TESTED, split=BY_REQUEST), "nothing says who is one"),
        (a_marked_state(SERVING, split=Split("cookie")), "'' can't name a cookie"),
        (a_marked_state(SERVING, split=Split("request", "uid")), "needs no name"),
        (a_marked_state(SERVING, split=Split(tester_name="x")), "named without a cookie or a header"),
        (a_marked_state(SERVING, split=Split("request", "", "header", "", "v")), "can't name the testers'"),
        (
            a_marked_state(SERVING, split=Split("request", "", "cookie", "t", "")),
            "can't be what testers send",
        ),
        (a_marked_state(SERVING, split=Split("request", "", "cookie", "t", "v v")), "can't be what testers"),
    ]
    for state, why in wrong:
        answer = admit(None, state)
        assert isinstance(answer, Refuse)
        assert why in answer.why
    assert not isinstance(admit(None, a_marked_state(SERVING, TESTED)), Refuse)
