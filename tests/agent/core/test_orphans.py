"""Who is an orphan and what becomes of it: by what is known, in two listings, out of traffic, in bounds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_agent.core.observation import Claims, HostFact, Limits, Observation, Sighting
from repave_agent.core.orphans import is_orphan, list_at, room_at, sighted, suspects, to_end
from repave_agent.core.ports import Frontend
from repave_agent.core.reconcile import Arrange, Destroy, Steer, reconcile
from repave_agent.core.traffic import wanted_routes, wanted_structure
from repave_protos.protocol.values import FULL_WEIGHT_BP, ApplicationName, GroupName, HostPhase
from tests.fakes.agent.region_values import (
    BLUE,
    GREEN,
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

LIMITS = Limits(unclaimed_grace_seconds=10.0, orphans_per_minute=3)
GREEN_SERVES = a_state(a_group(GREEN, weight_bp=FULL_WEIGHT_BP))
TWICE = Sighting(99.0, "unclaimed", 100.0, 110.0)
ONCE = replace(TWICE, last_at=100.0)


def stray(number: int = 1, sighting: Sighting | None = TWICE, **changes: object) -> HostFact:
    host = replace(a_host(number), sighting=sighting)
    return replace(host, **changes)  # type: ignore[arg-type]  # keyword arguments of the dataclass


def fates(observation: Observation) -> dict[str, str]:
    return {host.name: fate for host, fate in suspects(observation, LIMITS)}


def fate(host: HostFact, **changes: object) -> str:
    observation = replace(seen(GREEN_SERVES, [host], now=106.0), **changes)  # type: ignore[arg-type]  # as above
    return fates(observation)[host.name]


# ------------------------------------------------------------------------------------------ what is known


applications = st.sampled_from([SHOP, TILL, ApplicationName("cart")])
groups = st.sampled_from([BLUE, GREEN, GroupName("till-v001")])


@given(
    st.frozensets(groups),
    st.frozensets(applications),
    st.none() | st.frozensets(applications),
    applications,
    groups,
)
def test_nobody_is_unwanted_but_by_what_is_known(
    wanted: frozenset[GroupName],
    accepted: frozenset[ApplicationName],
    named: frozenset[ApplicationName] | None,
    application: ApplicationName,
    group: GroupName,
) -> None:
    why = Claims(wanted, accepted, named).why_unclaimed(application, group)
    is_dropped = application in accepted and group not in wanted
    is_of_nobody = application not in accepted and named is not None and application not in named
    assert bool(why) == (is_dropped or (is_of_nobody and group not in wanted))
    if not accepted and named is None:
        assert not why, "an agent that knows nothing knows nothing against anybody"


@given(st.lists(st.tuples(st.sampled_from(["", "unclaimed"]), st.floats(0.0, 9.0), st.booleans())))
def test_an_orphan_was_shown_by_two_listings_a_grace_apart_and_wanted_by_nobody_meanwhile(
    looks: list[tuple[str, float, bool]],
) -> None:
    """Each look: whether somebody wants the host, how long after the last one, after a listing or not."""
    now, listed_at, sighting = 100.0, None, None
    shown: list[float] = []  # by listings begun since it is unclaimed
    for why, pause, is_fresh in looks:
        now += pause
        listed_at = now if is_fresh else listed_at
        was_unwanted = sighting is not None
        sighting = sighted(sighting, why, listed_at, now + 0.01)
        shown = [*shown, now] if is_fresh and why and was_unwanted else shown if why else []
        now += 0.01
        is_proven = is_orphan(stray(sighting=sighting), LIMITS)
        assert is_proven == (bool(shown) and shown[-1] - shown[0] >= LIMITS.unclaimed_grace_seconds)


def test_a_listing_that_was_begun_before_nobody_wanted_the_host_does_not_count() -> None:
    first = sighted(None, "why", 100.0, 101.0)
    assert first == Sighting(101.0, "why")
    assert sighted(first, "why", 100.9, 130.0) == first
    assert sighted(first, "why", 101.0, 130.0) == Sighting(101.0, "why", 101.0, 101.0)


def test_the_provider_is_asked_at_once_and_again_after_the_grace() -> None:
    assert list_at(seen(GREEN_SERVES, [stray(sighting=Sighting(99.0, "why"))]), LIMITS) == 100.0
    assert list_at(seen(GREEN_SERVES, [stray(sighting=ONCE)]), LIMITS) == 110.0
    assert list_at(seen(GREEN_SERVES, [stray(), a_host(2, group=GREEN)]), LIMITS) is None


# ---------------------------------------------------------------------------------------------- the bounds


def test_what_nobody_wants_for_longest_goes_first_and_no_more_than_so_many_in_a_minute() -> None:
    strays = [stray(number, replace(TWICE, since=90.0 + number)) for number in range(5, 0, -1)]
    observation = replace(seen(GREEN_SERVES, strays, now=200.0), orphans_ended=(139.0, 145.0))
    assert [host.name for host in to_end(observation, LIMITS)] == ["shop-v001-1", "shop-v001-2"]
    full = replace(observation, orphans_ended=(145.0, 150.0, 160.0))
    assert to_end(full, LIMITS) == []
    assert room_at(full, LIMITS) == reconcile(full, LIMITS).wake_at == 205.0
    assert fates(full)["shop-v001-1"] == "waits: 3 were ended in a minute"
    assert to_end(replace(full, now=205.0), LIMITS) != []


def test_destroys_in_flight_are_bounded_with_those_of_orphans() -> None:
    strays = [stray(number) for number in range(1, 4)]
    observation = seen(GREEN_SERVES, strays, now=200.0)
    plan = reconcile(observation, replace(LIMITS, destroys_in_flight=2))
    assert sum(isinstance(action, Destroy) for action in plan.actions) == 2


# ------------------------------------------------------------------------------------------------ in words


@pytest.mark.parametrize(
    ("sighting", "expected"),
    [
        (Sighting(99.0, "why"), "found, looked at soon"),
        (ONCE, "seen once, looked at again in 4 s"),
        (TWICE, "will be ended now"),
    ],
)
def test_each_look_is_told(sighting: Sighting, expected: str) -> None:
    assert fate(stray(sighting=sighting)) == expected


def test_what_keeps_an_orphan_is_told_and_does_keep_it() -> None:
    served = a_view(a_backend([stray()]), to=BLUE)
    enabled = a_view(a_backend([stray()]))
    nowhere = replace(a_view(), is_running=False)
    for changes, told in (
        ({"balancer": served}, "kept: it has traffic"),
        ({"balancer": enabled}, "kept: it is still behind the balancer"),
        ({"balancer": nowhere}, "kept: the balancer does not say whom it sends requests to"),
    ):
        observation = replace(seen(GREEN_SERVES, [stray()], now=1e3), **changes)  # type: ignore[arg-type]
        assert fates(observation) == {"shop-v001-1": told}
        assert to_end(observation, LIMITS) == []
    for phase, told in (
        (HostPhase.LAUNCHING, "kept: it is still being made"),
        (HostPhase.DESTROYING, "is being ended"),
    ):
        assert fate(stray(phase=phase)) == told
        assert to_end(seen(GREEN_SERVES, [stray(phase=phase)], now=1e3), LIMITS) == []


def test_what_is_not_known_is_told() -> None:
    unknown = stray(sighting=None, application=TILL)
    assert fate(unknown) == "kept: the controller has not spoken since the agent began"
    named = frozenset({SHOP, TILL})
    assert fate(unknown, named=named) == "kept: the desired state of till has not come yet"
    assert fates(seen(GREEN_SERVES, [a_host(2, group=GREEN)])) == {}


# ------------------------------------------------------------------------------------------------- balancer


def forgetful(named: frozenset[ApplicationName] | None) -> Observation:
    """An agent without any accepted state, over a region that serves: blue has the traffic, green is warm."""
    view = a_view(a_backend(some_hosts(2)), all_disabled(a_backend(some_hosts(2, group=GREEN))), to=BLUE)
    hosts = some_hosts(2) + some_hosts(2, group=GREEN)
    return replace(seen((), hosts, view), named=named)


@pytest.mark.parametrize("named", [None, frozenset({SHOP}), frozenset({SHOP, TILL})])
def test_what_may_be_wanted_stays_behind_the_balancer(named: frozenset[ApplicationName] | None) -> None:
    observation = forgetful(named)
    assert reconcile(observation, LIMITS).actions == ()
    assert wanted_structure(observation) == observation.balancer.structure
    gone = replace(forgetful(None), hosts=())
    assert wanted_structure(gone) == gone.balancer.structure, "the provider does not list them yet"


def test_of_a_forgotten_application_only_what_has_traffic_stays() -> None:
    observation = forgetful(frozenset())
    (arranged,) = reconcile(observation, LIMITS).actions
    assert isinstance(arranged, Arrange)
    assert [backend.group for backend in arranged.structure.backends] == [BLUE]
    assert arranged.structure.frontends == observation.balancer.structure.frontends
    assert wanted_routes(observation)[0] == observation.balancer.routes


def test_of_a_forgotten_application_without_traffic_nothing_stays() -> None:
    view = replace(forgetful(None).balancer, routes=())
    observation = replace(forgetful(frozenset()), balancer=view)
    assert wanted_structure(observation).frontends == ()
    assert wanted_structure(observation).backends == ()


def test_one_application_that_is_not_known_does_not_disturb_another() -> None:
    view = forgetful(None).balancer
    till = replace(a_state(a_group(GroupName("till-v001"), count=0), port=8_001), application=TILL)
    observation = replace(forgetful(None), desired=(till,))
    assert not any(isinstance(action, Steer | Arrange) for action in reconcile(observation, LIMITS).actions)
    assert wanted_structure(observation).frontends == (Frontend(SHOP, 8000),)
    assert wanted_routes(observation)[0] == view.routes
