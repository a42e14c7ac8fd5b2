"""How many hosts follow from a load: more at once, fewer after a steady time, none for what is not known."""

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.scaling import Scaling
from repave_controller.core.rules.scaling import Choice, Measured, choose
from repave_protos.protocol.values import RegionName

PARIS = RegionName("paris")
NOW = Instant(1000.0)
LONG_AGO = Instant(0.0)
RULE = Scaling(
    PARIS,
    2,
    20,
    "requests",
    target=50.0,
    window_seconds=10.0,
    steady_seconds=60.0,
    tolerance_percent=10.0,
    step_percent=50.0,
)
AVERAGE = Scaling(PARIS, 2, 20, "metric", 60.0, "prom", "q", True, 5.0, 10.0, 60.0)


def load(*values: float, up: int | None = 20, running_since: float = 0.0) -> Measured:
    """Steps of 5 s, of which the last one ends now; those before are as the first of `values`."""
    first = values[0] if values else nan
    whole = (first,) * max(0, 12 - len(values)) + values
    return Measured(whole, 5.0, NOW, up, running=up, running_since=Instant(running_since))


def chosen(
    hosts: int,
    measured: Measured,
    rule: Scaling = RULE,
    changed_at: Instant = LONG_AGO,
    *,
    is_rolling: bool = False,
) -> Choice:
    return choose(rule, hosts, changed_at, measured, NOW, is_rolling=is_rolling)


@pytest.mark.parametrize(
    ("hosts", "requests", "wanted"),
    [
        (4, (100.0, 300.0, 300.0), 6),  # the mean of the last 10 s asks for 6
        (4, (210.0, 210.0), 4),  # 4.2 hosts are within the tolerance
        (4, (5000.0, 5000.0), 6),  # at most half as many more at once
        (3, (160.0, 180.0), 4),  # 3.4 hosts: rounded up
        (19, (1200.0, 1200.0), 20),  # never more than the bounds
        (1, (0.0,), 2),  # never fewer
    ],
)
def test_more_hosts_come_as_soon_as_the_mean_asks_for_them(
    hosts: int, requests: tuple[float, ...], wanted: int
) -> None:
    assert chosen(hosts, load(*requests)).hosts == wanted


@pytest.mark.parametrize(
    ("hosts", "requests", "wanted"),
    [
        (10, (160.0,), 5),  # 3.2 hosts, and at most half of them go at once
        (10, (460.0,), 10),  # 9.2 hosts: within the tolerance
        (10, (480.0,) * 4 + (10.0,) * 8, 10),  # a busy time within the steady time
        (3, (10.0,), 2),  # never fewer than the bounds
    ],
)
def test_hosts_end_only_when_fewer_would_have_done_for_a_steady_time(
    hosts: int, requests: tuple[float, ...], wanted: int
) -> None:
    assert chosen(hosts, load(*requests)).hosts == wanted


def test_hosts_do_not_end_within_the_steady_time_after_the_number_was_changed() -> None:
    assert chosen(10, load(50.0), changed_at=Instant(NOW - 59)).hosts == 10
    assert chosen(10, load(50.0), changed_at=Instant(NOW - 60)).hosts == 5


def test_hosts_do_not_end_within_the_steady_time_after_none_served() -> None:
    assert chosen(10, replace(load(50.0), up_since=Instant(NOW - 59))).hosts == 10
    assert chosen(10, replace(load(50.0), up_since=Instant(NOW - 60))).hosts == 5


def test_no_host_ends_for_numbers_that_are_missing() -> None:
    gap = load(50.0, nan, *(50.0,) * 5)
    short = Measured((50.0,) * 11, 5.0, NOW, 20)
    for measured in (gap, short, load(50.0, up=None), Measured(trouble="away")):
        assert chosen(10, measured).hosts == 10
    blind = chosen(10, Measured(trouble="away"))
    assert blind.needed is None
    assert blind.trouble is not None
    assert blind.trouble.kind is Why.SIZE_UNKNOWN


def test_one_known_step_of_the_short_time_is_enough_for_more() -> None:
    assert chosen(4, load(50.0, 300.0, nan)).hosts == 6


def test_no_host_ends_while_a_rollout_is_under_way_and_more_may_come() -> None:
    assert chosen(10, load(50.0), is_rolling=True).hosts == 10
    assert chosen(10, load(900.0), is_rolling=True).hosts == 15


def test_no_more_hosts_end_than_leaves_those_that_are_up() -> None:
    """8 are to stay, 7 are up: it is healed first."""
    assert chosen(10, load(390.0, up=7)).hosts == 10
    assert chosen(10, load(390.0, up=8)).hosts == 8


def test_a_load_beyond_the_most_is_told_until_it_is_within_the_bounds() -> None:
    over, between, within = (chosen(20, load(each)) for each in (1200.0, 1050.0, 990.0))
    assert over.trouble is not None
    assert over.trouble.kind is Why.SIZE_AT_MOST
    assert (between.trouble, between.is_open) == (None, True)
    assert (within.trouble, within.is_open) == (None, False)


def test_an_average_tells_of_the_hosts_that_run() -> None:
    assert chosen(4, load(90.0, up=4), AVERAGE).hosts == 6
    assert chosen(4, load(90.0, up=3), AVERAGE).hosts == 5  # 3 hosts with 90 % are 4.5 with 60 %


def test_an_average_of_before_the_hosts_were_as_many_says_nothing() -> None:
    """Else those that have just come would be counted with the load of those that were too few."""
    assert chosen(6, load(90.0, 90.0, 60.0, up=6, running_since=NOW - 5), AVERAGE).hosts == 6
    assert chosen(6, load(90.0, up=6, running_since=NOW - 1), AVERAGE).needed is None


VALUES = st.lists(st.one_of(st.just(nan), st.floats(0, 1e6)), max_size=30)


@given(
    VALUES,
    st.integers(2, 20),
    st.integers(1, 3),
    st.floats(0, 1000),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 30)),
)
def test_whatever_is_measured_the_number_stays_within_its_bounds(
    values: list[float], hosts: int, step: int, changed_at: float, is_rolling: bool, up: int | None
) -> None:
    measured = Measured(tuple(values), float(step), NOW, up)
    choice = choose(RULE, hosts, Instant(changed_at), measured, NOW, is_rolling=is_rolling)
    assert 2 <= choice.hosts <= 20
    assert choice.hosts >= hosts or not is_rolling
    assert abs(choice.hosts - hosts) <= max(1, -(-hosts // 2))
    if all(each != each for each in values):
        assert choice.hosts == hosts
