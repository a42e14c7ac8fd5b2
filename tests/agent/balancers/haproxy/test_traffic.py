"""What HAProxy's processes count adds up, whatever becomes of them."""

from repave_agent.balancers.haproxy.traffic import Row, Traffic, added_up
from repave_agent.core.ports import Counted


def test_each_process_counts_from_0_and_none_is_counted_twice() -> None:
    traffic = Traffic()
    traffic.note({1: {"a": Row(100, 5, 9)}})
    assert traffic.of("a") == Counted(0, 0, 0.0)  # what was before was told by another agent
    traffic.note({1: {"a": Row(110, 5, 9)}})
    traffic.note({1: {"a": Row(112, 6, 8)}}, are_all=False)  # just before a reload
    traffic.note({2: {"a": Row(3, 0, 7), "b": Row(1, 1, 6)}, 1: {"a": Row(113, 6, 8)}})
    assert traffic.of("a") == Counted(16, 1, 0.008)
    assert traffic.of("b") == Counted(1, 1, 0.006)
    traffic.note({2: {"a": Row(3, 0, 7), "b": Row(1, 1, 6)}})
    assert traffic.of("a").requests == 16


def test_a_backend_that_is_gone_is_forgotten() -> None:
    traffic = Traffic()
    traffic.note({})
    traffic.note({1: {"a": Row(3, 0, 7)}})
    traffic.note({1: {}})
    assert traffic.of("a").requests == 0


def test_several_haproxys_count_together_and_their_response_times_by_requests() -> None:
    assert added_up([Counted(30, 1, 0.001), Counted(10, 0, 0.005)]) == Counted(40, 1, 0.002)
    assert added_up([]) == Counted()
