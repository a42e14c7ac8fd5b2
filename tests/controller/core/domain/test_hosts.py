"""The one rounding of hosts: what is enough, ready, a floor or a surge never contradict each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.core.domain.application import Policy
from repave_controller.core.domain.hosts import hosts_of

sizes, percents = st.integers(0, 1000), st.integers(0, 10_000).map(lambda each: each / 100)


@pytest.mark.parametrize(
    ("size", "percent", "hosts"),
    [(8, 90.0, 8), (8, 5.0, 1), (10, 90.0, 9), (3, 33.33, 1), (1000, 99.9, 999), (7, 0.0, 0), (0, 50.0, 0)],
)
def test_a_share_of_hosts_is_rounded_up(size: int, percent: float, hosts: int) -> None:
    assert hosts_of(size, percent) == hosts


@pytest.mark.parametrize(
    ("size", "min_capacity", "weight_bp", "hosts"),
    [
        (40, 100.0, 500, 2),
        (40, 50.0, 500, 1),
        (4, 75.0, 6667, 2),  # 2.0001: a basis point is no host
        (9, 75.0, 5714, 4),  # not 75 % of 6, which are 5: rounded once
        (8, 0.0, 5000, 0),
    ],
)
def test_a_share_of_the_traffic_is_rounded_once(
    size: int, min_capacity: float, weight_bp: int, hosts: int
) -> None:
    assert Policy(min_capacity_percent=min_capacity).carrying(size, weight_bp) == hosts


@given(size=sizes, percent=percents, more=st.integers(0, 100))
def test_more_hosts_or_a_larger_share_never_need_fewer(size: int, percent: float, more: int) -> None:
    assert hosts_of(size, percent) <= hosts_of(size + more, percent) <= size + more
    assert hosts_of(size, percent) <= hosts_of(size, min(100.0, percent + more)) <= size
    assert hosts_of(size, percent, 5000) <= hosts_of(size, percent)


@given(
    size=sizes, ready=percents, share=percents, min_hosts=st.integers(0, 20), weight_bp=st.integers(0, 10_000)
)
def test_a_group_that_is_ready_is_at_its_floor_and_carries_any_share(
    size: int, ready: float, share: float, min_hosts: int, weight_bp: int
) -> None:
    policy = Policy(ready_percent=ready, min_capacity_percent=min(ready, share), min_hosts=min_hosts)
    assert policy.carrying(size, weight_bp) <= policy.floor(size) <= policy.needed(size) <= size
    assert (policy.needed(size) == 0) == (size == 0)
    assert policy.needed(size) >= min(size, min_hosts)
