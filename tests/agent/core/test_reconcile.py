"""The promises about what the agent does: how many hosts it makes, which ones it ends, and in which order a
group leaves. Single decisions here; any interleaving of them is in test_region.py."""

from dataclasses import replace

import pytest

from repave_agent.core.observation import GroupFact, HostFact, Limits, Observation, Sighting
from repave_agent.core.ports import Route
from repave_agent.core.reconcile import Action, Arrange, BeginDrain, Destroy, Launch, Steer, reconcile
from repave_protos.protocol.values import FULL_WEIGHT_BP, HostName, HostPhase
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
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

LIMITS = Limits(launches_in_flight=4, destroys_in_flight=4, unclaimed_grace_seconds=10.0)
SERVING = a_group(BLUE, weight_bp=FULL_WEIGHT_BP)
GONE = replace(SERVING, count=0, weight_bp=0)
GREEN_SERVES = a_group(GREEN, weight_bp=FULL_WEIGHT_BP)
BLUES = some_hosts(2)
GREENS = some_hosts(2, group=GREEN)


def actions(observation: Observation) -> tuple[Action, ...]:
    return reconcile(observation, LIMITS).actions


def launched(observation: Observation) -> int:
    return sum(action.count for action in actions(observation) if isinstance(action, Launch))


def destroyed(observation: Observation) -> list[HostName]:
    return [action.host for action in actions(observation) if isinstance(action, Destroy)]


# ---------------------------------------------------------------------------------------------- launching


def test_missing_hosts_are_launched() -> None:
    state = a_state(a_group(count=3))
    assert actions(seen(state, some_hosts(1))) == (Launch(state.groups[0], state, 2),)


def test_launches_in_flight_are_bounded_over_all_groups() -> None:
    state = a_state(a_group(BLUE, count=3), a_group(GREEN, count=30))
    assert [action.count for action in actions(seen(state)) if isinstance(action, Launch)] == [3, 1]
    assert launched(seen(state, some_hosts(3, HostPhase.LAUNCHING))) == 1
    assert launched(seen(state, some_hosts(4, HostPhase.LAUNCHING, GREEN))) == 0


@pytest.mark.parametrize("phase", ["launching", "starting", "healthy", "verified"])
def test_a_host_that_is_on_its_way_holds_its_place(phase: str) -> None:
    assert launched(seen(a_state(a_group()), some_hosts(2, HostPhase(phase)))) == 0


@pytest.mark.parametrize("phase", ["failed", "destroying"])
def test_a_host_that_is_over_holds_no_place(phase: str) -> None:
    assert launched(seen(a_state(a_group()), some_hosts(2, HostPhase(phase)), blue=PROVEN)) == 2


def test_after_a_failure_launches_wait_for_their_time() -> None:
    state = a_state(a_group())
    waiting = GroupFact(is_proven=True, retry_at=105.0)
    assert launched(seen(state, now=104.9, blue=waiting)) == 0
    assert reconcile(seen(state, now=104.9, blue=waiting), LIMITS).wake_at == 105.0
    assert launched(seen(state, now=105.0, blue=waiting)) == 2


def test_unhealthy_hosts_are_replaced_a_tenth_at_a_time() -> None:
    state = a_state(replace(SERVING, count=20))
    ill = some_hosts(8, HostPhase.UNHEALTHY)
    assert launched(seen(state, ill + some_hosts(12, first=9), blue=SERVED)) == 2
    # The two that were launched are on their way: no more until they have taken places.
    on_their_way = some_hosts(2, HostPhase.STARTING, first=21)
    assert launched(seen(state, ill + some_hosts(12, first=9) + on_their_way, blue=SERVED)) == 0


def test_when_every_check_turns_bad_the_fleet_is_not_replaced_at_once() -> None:
    state = a_state(replace(SERVING, count=20))
    assert launched(seen(state, some_hosts(20, HostPhase.UNHEALTHY), blue=SERVED)) == 2
    small = a_state(SERVING)
    assert launched(seen(small, some_hosts(2, HostPhase.UNHEALTHY), blue=SERVED)) == 1


def test_healing_goes_on_until_every_unhealthy_host_is_replaced() -> None:
    """20 hosts, 8 unhealthy: four rounds of two, whatever else happens."""
    state = a_state(replace(SERVING, count=20))
    hosts = {host.name: host for host in some_hosts(8, HostPhase.UNHEALTHY) + some_hosts(12, first=9)}
    for number in range(21, 61):
        observation = seen(state, hosts.values(), a_view(), blue=SERVED)
        for action in actions(observation):
            match action:
                case Launch(count=count):
                    for each in some_hosts(count, first=number * 100):
                        hosts[each.name] = each
                case Destroy(host):
                    del hosts[host]
    assert [host.phase for host in hosts.values()] == [HostPhase.VERIFIED] * 20


@pytest.mark.parametrize(
    ("count", "chosen", "spare"),
    [
        (1, None, 5),
        (4, None, 5),
        (20, None, 5),
        (40, None, 8),  # one of five hosts
        (1, 0, 0),
        (40, 2, 2),
        (2, 30, 30),
    ],
)
def test_an_unproven_group_gives_up_once_too_many_of_its_hosts_have_failed(
    count: int, chosen: int | None, spare: int
) -> None:
    state = a_state(a_group(count=count, launch_failures=chosen))
    assert launched(seen(state, blue=GroupFact(failures=spare))) > 0
    assert launched(seen(state, blue=GroupFact(failures=spare + 1))) == 0


def test_a_group_that_can_not_work_gives_up_at_once_and_a_proven_one_never() -> None:
    state = a_state(a_group())
    assert launched(seen(state, blue=GroupFact(refused="the port is taken"))) == 0
    assert launched(seen(state, blue=GroupFact(is_proven=True, failures=99, refused="x"))) == 2


# ------------------------------------------------------------------------------------------------ ending


def test_a_failed_host_is_destroyed_once_it_takes_no_requests() -> None:
    hosts = (a_host(1), a_host(2, HostPhase.FAILED))
    enabled = a_view(a_backend(BLUES), to=BLUE)
    assert destroyed(seen(a_state(SERVING), hosts, enabled, blue=SERVED)) == []
    disabled = a_view(a_backend(BLUES, 1), to=BLUE)
    assert destroyed(seen(a_state(SERVING), hosts, disabled, blue=SERVED)) == ["shop-v001-2"]


def test_an_unhealthy_host_stays_until_a_fresh_one_has_its_place() -> None:
    view = a_view(a_backend(some_hosts(2), 1), to=BLUE)
    ill = (a_host(1), a_host(2, HostPhase.UNHEALTHY))
    on_its_way = (*ill, a_host(3, HostPhase.HEALTHY))
    assert destroyed(seen(a_state(SERVING), on_its_way, view, blue=SERVED)) == []
    there = (*ill, a_host(3))
    assert destroyed(seen(a_state(SERVING), there, view, blue=SERVED)) == ["shop-v001-2"]


def test_a_replaced_host_finishes_its_requests_first() -> None:
    hosts = (*some_hosts(2), replace(a_host(3), idle_since=95.0))
    busy = a_view(a_backend(hosts, 1, 2), to=BLUE, in_flight=1)
    assert destroyed(seen(a_state(SERVING), hosts, busy, now=104.9, blue=SERVED)) == []
    assert reconcile(seen(a_state(SERVING), hosts, busy, now=104.9, blue=SERVED), LIMITS).wake_at == 105.0
    assert destroyed(seen(a_state(SERVING), hosts, busy, now=105.0, blue=SERVED)) == ["shop-v001-3"]


def test_hosts_that_only_finish_their_requests_do_not_delay_the_healing() -> None:
    """20 hosts, 8 unhealthy, 2 of them replaced and busy: the next 2 are launched."""
    state = a_state(replace(SERVING, count=20))
    ill = tuple(replace(host, idle_since=99.0) for host in some_hosts(8, HostPhase.UNHEALTHY))
    hosts = ill + some_hosts(14, first=9)
    busy = a_view(a_backend(hosts, *range(9, 23)), to=BLUE, in_flight=5)
    assert actions(seen(state, hosts, busy, blue=SERVED)) == (Launch(state.groups[0], state, 2),)


def test_a_host_that_recovered_after_it_was_replaced_leaves_traffic_first() -> None:
    hosts = some_hosts(3)
    enabled = a_view(a_backend(hosts), to=BLUE)
    assert destroyed(seen(a_state(SERVING), hosts, enabled, blue=SERVED)) == []
    disabled = a_view(a_backend(hosts, 1, 2), to=BLUE)
    assert destroyed(seen(a_state(SERVING), hosts, disabled, blue=SERVED)) == ["shop-v001-3"]


def test_nothing_is_destroyed_while_the_balancer_is_being_changed() -> None:
    """What is under way may be putting the very host into traffic."""
    hosts = some_hosts(3)
    disabled = a_view(a_backend(hosts, 1, 2), to=BLUE)
    assert actions(seen(a_state(SERVING), hosts, disabled, is_busy=True, blue=SERVED)) == ()


def test_launches_go_on_while_the_balancer_is_being_changed() -> None:
    assert launched(seen(a_state(SERVING), some_hosts(1), is_busy=True, blue=SERVED)) == 1


@pytest.mark.parametrize("is_running", [True, False])
def test_a_host_that_had_traffic_is_kept_while_the_balancer_can_not_say_whom_it_sends_to(
    is_running: bool,
) -> None:
    """It does not run, or it runs with something that it can't read back."""
    view = replace(a_view(to=GREEN), is_running=is_running)
    state = a_state(GONE, GREEN_SERVES)
    fact = replace(SERVED, drain_since=0.0)
    assert destroyed(seen(state, BLUES + GREENS, view, blue=fact, green=SERVED)) == []
    assert destroyed(seen(a_state(SERVING), some_hosts(3), view, blue=SERVED)) == []
    failed = (*BLUES, a_host(3, HostPhase.FAILED))
    assert destroyed(seen(a_state(SERVING), failed, view, blue=SERVED)) == ["shop-v001-3"]


def test_destroys_in_flight_are_bounded() -> None:
    state = a_state(replace(GONE, count=0))
    assert len(destroyed(seen(state, some_hosts(9)))) == 4
    under_way = some_hosts(3, HostPhase.DESTROYING, first=10)
    assert len(destroyed(seen(state, some_hosts(9) + under_way))) == 1


# ---------------------------------------------------------------------------------------------- retiring


def retiring(blue: GroupFact, to: str = GREEN, in_flight: int = 2, now: float = 100.0) -> Observation:
    view = a_view(a_backend(BLUES), a_backend(GREENS), to=Route(SHOP, GREEN if to == GREEN else BLUE))
    view = replace(view, backends=tuple(replace(backend, in_flight=in_flight) for backend in view.backends))
    return seen(a_state(GONE, GREEN_SERVES), BLUES + GREENS, view, now, blue=blue, green=SERVED)


def test_a_retired_group_first_leaves_the_route() -> None:
    assert actions(retiring(SERVED, to=BLUE)) == (Steer((Route(SHOP, GREEN),)),)


def test_then_its_requests_are_drained() -> None:
    assert actions(retiring(SERVED)) == (BeginDrain(BLUE),)
    draining = replace(SERVED, drain_since=95.0)
    assert actions(retiring(draining)) == ()
    assert reconcile(retiring(draining), LIMITS).wake_at == 105.0


def test_then_it_is_detached_and_only_then_destroyed() -> None:
    drained = replace(SERVED, drain_since=90.0)
    (arrange,) = actions(retiring(drained))
    assert isinstance(arrange, Arrange)
    assert [backend.group for backend in arrange.structure.backends] == [GREEN]
    detached = a_view(a_backend(GREENS), to=GREEN)
    state = a_state(GONE, GREEN_SERVES)
    assert destroyed(seen(state, BLUES + GREENS, detached, blue=drained, green=SERVED)) == [
        "shop-v001-1",
        "shop-v001-2",
    ]


def test_a_host_that_is_still_being_made_is_destroyed_once_it_is_there() -> None:
    making = some_hosts(1, HostPhase.LAUNCHING)
    assert actions(seen(a_state(GONE), making)) == ()
    assert destroyed(seen(a_state(GONE), some_hosts(1, HostPhase.STARTING))) == ["shop-v001-1"]


# ---------------------------------------------------------------------------------------------- unclaimed


def stray(**changes: object) -> HostFact:
    host = replace(a_host(1), sighting=Sighting(99.0, "nobody names it", 100.0, 110.0))
    return replace(host, **changes)  # type: ignore[arg-type]  # keyword arguments of the dataclass


def test_a_host_whose_group_nobody_names_is_destroyed_once_two_listings_have_shown_it() -> None:
    state = a_state(a_group(GREEN, count=0))
    once = stray(sighting=Sighting(99.0, "nobody names it", 100.0, 100.0))
    assert destroyed(seen(state, [once], now=1e3)) == []
    waiting = reconcile(seen(state, [once], now=105.0), LIMITS)
    assert (waiting.list_at, waiting.wake_at) == (110.0, 110.0)
    assert destroyed(seen(state, [stray()], now=110.0)) == ["shop-v001-1"]


def test_an_unclaimed_host_is_not_destroyed_while_it_takes_requests() -> None:
    present = a_view(a_backend([stray()]), to=BLUE)
    assert destroyed(seen(a_state(GREEN_SERVES), [stray()], present, now=1e3, blue=SERVED)) == []


def test_an_unclaimed_host_waits_until_it_is_made() -> None:
    making = stray(phase=HostPhase.LAUNCHING)
    assert destroyed(seen(a_state(a_group(GREEN, count=0)), [making], now=1e3)) == []


# ------------------------------------------------------------------------------------------- the balancer


def test_a_flip_is_one_steer() -> None:
    view = a_view(a_backend(BLUES), a_backend(GREENS), to=BLUE)
    state = a_state(replace(SERVING, weight_bp=0), GREEN_SERVES)
    flip = seen(state, BLUES + GREENS, view, blue=SERVED, green=PROVEN)
    assert actions(flip) == (Steer((Route(SHOP, GREEN),)),)


def test_no_route_is_changed_while_one_of_them_is_not_known() -> None:
    """To give all routes but that one would take it away."""
    view = a_view(all_disabled(a_backend(BLUES)), a_backend(GREENS), to=None)
    other = replace(a_state(replace(GREEN_SERVES)), application=TILL)
    observation = seen((a_state(SERVING), other), GREENS, view, blue=SERVED, green=PROVEN)
    assert not any(isinstance(action, Steer) for action in actions(observation))
    never_routed = seen((a_state(SERVING), other), GREENS, view, blue=PROVEN, green=PROVEN)
    assert Steer((Route(TILL, GREEN),)) in actions(never_routed)


def test_a_balancer_that_does_not_run_is_told_nothing() -> None:
    view = replace(a_view(), is_running=False)
    assert actions(seen(a_state(SERVING), BLUES, view, blue=SERVED)) == ()


def test_a_region_that_is_as_desired_is_left_alone() -> None:
    view = a_view(a_backend(BLUES), a_backend(GREENS), to=BLUE)
    observation = seen(a_state(SERVING, a_group(GREEN)), BLUES + GREENS, view, blue=SERVED, green=PROVEN)
    plan = reconcile(observation, LIMITS)
    assert (plan.actions, plan.held, plan.wake_at) == ((), (), None)


def test_the_same_observation_gives_the_same_plan() -> None:
    observation = retiring(SERVED)
    assert reconcile(observation, LIMITS) == reconcile(observation, LIMITS)


# ------------------------------------------------------------------------------------- to be looked at


def test_a_failed_group_that_is_kept_is_drained_and_none_of_its_hosts_is_ended_or_replaced() -> None:
    kept = replace(a_group(GREEN, count=0), keeps_failed=True)
    hosts = (
        a_host(1, HostPhase.FAILED, GREEN),
        a_host(2, HostPhase.UNHEALTHY, GREEN),
        a_host(3, HostPhase.VERIFIED, GREEN),
        a_host(4, HostPhase.STARTING, GREEN),
    )
    observation = seen(a_state(SERVING, kept), (*BLUES, *hosts))
    assert (launched(observation), destroyed(observation)) == (0, [])
    ended = seen(a_state(SERVING, replace(kept, keeps_failed=False)), (*BLUES, *hosts))
    assert len(destroyed(ended)) == 4


def test_of_a_group_that_shall_be_kept_the_hosts_that_made_it_give_up_stay() -> None:
    kept = replace(a_group(GREEN), keeps_failed=True)
    hosts = (a_host(1, HostPhase.FAILED, GREEN),)
    observation = seen(a_state(SERVING, kept), (*BLUES, *hosts))
    assert destroyed(observation) == [hosts[0].name]
    given_up = replace(observation, groups={GREEN: GroupFact(failures=9)})
    assert (launched(given_up), destroyed(given_up)) == (0, [])
