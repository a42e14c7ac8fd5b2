"""Limits over all applications: what the others have under way, and what one more rollout may add."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.domain.application import Application, GroupState, Instant
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.limits import Limits, Load, Wants, load_of, refusals, wants_of, with_region
from repave_controller.core.domain.rollout import GroupNumber, Phase, TrackPhase
from repave_controller.core.rollout.start import start_release
from repave_controller.wording.render import remedy_of, text_of
from repave_protos.protocol.values import ApplicationName, RegionName
from tests.fakes.controller.scheduled import OSLO, PARIS, an_order

ROME = RegionName("rome")
NOW = Instant(1000.0)


def released(name: str, *sizes: tuple[RegionName, int], phase: Phase = Phase.RUNNING) -> Application:
    """An application whose first release is under way, or has ended with `phase`."""
    application = Application(ApplicationName(name), name, GroupNumber(1))
    application, _ = start_release(application, an_order(sizes=sizes or ((OSLO, 3), (PARIS, 3))), NOW)
    assert application.rollout is not None
    if not phase.is_over:
        return begun(application)
    served = with_state(application, GroupState.SERVING)
    return replace(served, rollout=replace(application.rollout, phase=phase))


def begun(application: Application) -> Application:
    """Its release has begun in every region."""
    rollout = application.rollout
    assert rollout is not None
    tracks = ByRegion(replace(track, phase=TrackPhase.RUNNING) for track in rollout.tracks)
    return replace(application, rollout=replace(rollout, tracks=tracks))


def with_state(application: Application, state: GroupState) -> Application:
    """Its only group is this everywhere."""
    (group,) = application.groups
    for part in group.parts:
        group = group.with_part(replace(part, state=state, percent=100.0))
    return application.with_group(group)


def again(application: Application) -> Application:
    """A second release of it under way."""
    sizes = application.groups[0].sizes
    return begun(start_release(application, an_order("b", sizes=sizes), NOW)[0])


def test_what_is_under_way_is_counted_over_all_applications() -> None:
    calm = released("calm", (OSLO, 10), phase=Phase.SUCCEEDED)
    moving = again(released("moving", (OSLO, 4), (PARIS, 2), phase=Phase.SUCCEEDED))
    first = released("first", (ROME, 5))
    assert load_of([calm, moving, first]) == Load(
        releasing=(ApplicationName("first"), ApplicationName("moving")),
        regions=frozenset({OSLO, PARIS, ROME}),
        hosts_in_flight=6 + 5,
        hosts=10 + 12 + 5,
        extra_hosts=6 + 5,
    )


def test_hosts_that_leave_are_in_flight_when_the_rollout_is_over_too() -> None:
    calm = released("calm", (OSLO, 10), phase=Phase.SUCCEEDED)
    load = load_of([with_state(calm, GroupState.RETIRING)])
    assert (load.releasing, load.regions) == ((), frozenset())
    assert (load.hosts_in_flight, load.hosts, load.extra_hosts) == (10, 0, 0)


def test_a_release_that_has_yet_to_begin_is_no_load() -> None:
    waiting, _ = start_release(
        released("web", (OSLO, 4), phase=Phase.SUCCEEDED), an_order("b", sizes=((OSLO, 4),)), NOW
    )
    assert load_of([waiting]) == Load(hosts=4)


def test_nothing_under_way_is_no_load() -> None:
    assert load_of([]) == Load()
    warm = released("calm", (OSLO, 10), phase=Phase.SUCCEEDED)
    assert load_of([warm]) == Load(hosts=10)


def test_what_one_wants_is_counted_like_what_others_have() -> None:
    application = again(released("web", (OSLO, 4), phase=Phase.SUCCEEDED))
    wants = Wants(1, 1, hosts_in_flight=4, hosts=8, extra_hosts=4, begins=False)
    assert wants_of(application, Load()) == wants
    assert wants_of(application, Load(regions=frozenset({OSLO}))) == replace(wants, regions_alone=0)


def test_a_region_that_is_to_begin_is_counted_with_the_hosts_that_it_will_have() -> None:
    served = released("web", (OSLO, 4), (PARIS, 2), phase=Phase.SUCCEEDED)
    waiting, _ = start_release(served, an_order("b", sizes=((OSLO, 4), (PARIS, 2))), NOW)
    wants = wants_of(waiting, Load())
    for region in (OSLO, PARIS):
        wants = with_region(wants, waiting, region, Load())
    assert replace(wants, begins=False) == wants_of(begun(waiting), Load())
    others = Load(regions=frozenset({OSLO}))
    assert with_region(wants_of(waiting, others), waiting, OSLO, others).regions_alone == 0


OTHERS = Load(
    releasing=(ApplicationName("cart"), ApplicationName("shop")),
    regions=frozenset({OSLO, PARIS}),
    hosts_in_flight=90,
    hosts=970,
    extra_hosts=90,
)
WANTS = Wants(1, 1, hosts_in_flight=30, hosts=30, extra_hosts=30)


@pytest.mark.parametrize(
    ("limits", "rule", "text", "remedy"),
    [
        (
            Limits(releases=2),
            "limits.releases",
            "2 other rollouts under way (cart, shop), 2 may be",
            "wait for cart, shop, or raise the controller's limits.releases",
        ),
        (
            Limits(regions_in_flight=2),
            "limits.regions_in_flight",
            "a rollout runs in 2 regions (cart, shop), this one would make them 3, 2 may be in flight",
            "wait for cart, shop, or raise the controller's limits.regions_in_flight",
        ),
        (
            Limits(hosts_in_flight_percent=11.5),
            "limits.hosts_in_flight_percent",
            "90 hosts of others are not proven yet or leave (cart, shop), with the 30 of this one that is "
            "12.0 % of 1000, 11.5 % may be in flight",
            "wait for cart, shop, or raise the controller's limits.hosts_in_flight_percent",
        ),
        (
            Limits(hosts_in_flight_percent=2),
            "limits.hosts_in_flight_percent",
            "90 hosts of others are not proven yet or leave (cart, shop), with the 30 of this one that is "
            "12.0 % of 1000, 2 % may be in flight",
            "it is too much also alone: release in smaller steps, or raise the controller's "
            "limits.hosts_in_flight_percent",
        ),
        (
            Limits(extra_hosts=119),
            "limits.extra_hosts",
            "90 extra hosts of others (cart, shop), with the 30 of this one that is 120, 119 may be there",
            "wait for cart, shop, or raise the controller's limits.extra_hosts",
        ),
    ],
)
def test_a_refusal_names_the_limit_the_numbers_and_what_would_do(
    limits: Limits, rule: str, text: str, remedy: str
) -> None:
    (refusal,) = refusals(limits, OTHERS, WANTS)
    assert (refusal.kind.root, text_of(refusal), remedy_of(refusal)) == (rule, text, remedy)


def test_up_to_the_limit_everything_is_allowed_and_0_is_no_limit() -> None:
    assert refusals(Limits(), OTHERS, WANTS) == []
    assert refusals(Limits(3, 3, 12.0, 120), OTHERS, WANTS) == []


def test_every_limit_that_would_be_broken_is_told() -> None:
    found = refusals(Limits(1, 1, 1.0, 1), OTHERS, WANTS)
    assert [each.kind.root.removeprefix("limits.") for each in found] == [
        "releases",
        "regions_in_flight",
        "hosts_in_flight_percent",
        "extra_hosts",
    ]


def test_a_region_in_which_others_release_already_counts_once() -> None:
    assert refusals(Limits(regions_in_flight=2), OTHERS, replace(WANTS, regions_alone=0)) == []


def test_a_move_that_brings_no_hosts_is_not_held_by_limits_on_hosts() -> None:
    switch = Wants(1, 0, hosts=30)
    assert refusals(Limits(0, 0, 1.0, 1), OTHERS, switch) == []


def test_many_names_are_not_all_told() -> None:
    names = tuple(ApplicationName(f"app{number}") for number in range(9))
    (refusal,) = refusals(Limits(releases=9), Load(releasing=names), Wants())
    assert text_of(refusal) == "9 other rollouts under way (app0, app1, app2 and 6 more), 9 may be"


counts = st.integers(0, 300)
loads = st.builds(
    Load,
    st.lists(st.sampled_from(["a", "b", "c"]).map(ApplicationName), unique=True).map(tuple),
    st.frozensets(st.sampled_from([OSLO, PARIS, ROME])),
    counts,
    counts,
    counts,
)
wanted = st.integers(0, 3).flatmap(
    lambda regions: st.builds(Wants, st.just(regions), st.integers(0, regions), counts, counts, counts)
)
some_limits = st.builds(Limits, st.integers(0, 4), st.integers(0, 4), st.floats(0, 100), counts)


@given(some_limits, loads, wanted)
def test_less_load_is_never_refused_where_more_was_allowed(limits: Limits, load: Load, wants: Wants) -> None:
    if not refusals(limits, load, wants):
        lighter = replace(load, releasing=load.releasing[1:], hosts_in_flight=0, extra_hosts=0)
        assert refusals(limits, lighter, wants) == []


@given(some_limits, wanted)
def test_waiting_is_advised_only_where_it_helps(limits: Limits, wants: Wants) -> None:
    without = replace(wants, regions_alone=wants.regions)
    alone = {each.kind.root for each in refusals(limits, Load(), without)}
    others = replace(OTHERS, hosts=0)
    for refusal in refusals(limits, others, wants):
        assert ("alone" in remedy_of(refusal)) == (refusal.kind.root in alone)
