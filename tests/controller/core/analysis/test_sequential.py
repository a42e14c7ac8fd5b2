"""How the chance of a false alarm is shared."""

import random

import pytest

from repave_controller.core.analysis.sequential import FIRST_STEPS, holm, staged, stages


def test_all_tests_there_can_ever_be_have_no_more_than_the_whole_chance() -> None:
    every = list(stages(10**9))
    assert sum(part for _, part in every) < 1
    assert [at for at, _ in every[:6]] == [5, 6, 7, 8, 10, 12]
    assert all(b >= a for (_, a), (_, b) in zip(every[1:], every, strict=False))


def test_how_often_is_looked_changes_no_test() -> None:
    """What a look sees are the same tests on the same first steps, and those of before."""
    seen: list[tuple[int, int]] = []

    def p_of(begin: int, end: int) -> float:
        seen.append((begin, end))
        return 1 / end

    first = staged(10, 1, 100, p_of)
    before = list(seen)
    seen.clear()
    assert staged(11, 2, 100, p_of) == first
    assert seen == before == [(0, 5), (0, 6), (0, 7), (0, 8), (0, 10), (5, 10)]


def test_the_last_look_sees_everything_and_a_single_one_has_the_whole_chance() -> None:
    assert staged(4, 2, 3, lambda *_: 0.01) == 1.0
    assert staged(4, 3, 3, lambda begin, end: 0.01 if (begin, end) == (0, 4) else 1.0) == pytest.approx(0.02)
    assert staged(1000, 1, 1, lambda *_: 0.03) == 0.03
    assert staged(FIRST_STEPS, 1, 9, lambda *_: 0.003) == pytest.approx(0.003 * 6 / 0.5)


def test_of_metrics_that_are_all_good_holm_lets_one_count_in_alpha_of_all_cases() -> None:
    chance = random.Random(9)
    alarms = 0
    for _ in range(4000):
        ps = [chance.random() for _ in range(5)]
        alarms += any(p <= t for p, t in zip(ps, holm(ps, 0.05), strict=True))
    assert 120 < alarms < 280


def test_holm_gives_the_next_more_room_only_while_each_counts() -> None:
    assert holm([0.001, 0.02, 0.3], 0.05) == pytest.approx((0.05 / 3, 0.05 / 2, 0.05))
    assert holm([0.1, 0.02, 0.3], 0.05) == pytest.approx((0.05 / 3,) * 3)
    assert holm([], 0.05) == ()
