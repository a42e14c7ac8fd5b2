"""How far a target was told, and what a try that failed leads to."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repave_controller.notices.progress import (
    DEAD_KEPT_MAX,
    GIVE_UP_SECONDS,
    REFUSALS_MAX,
    WAIT_SECONDS_MAX,
    Dead,
    Failure,
    Progress,
    delivered,
    failed,
    progress_of,
    replayed,
    text_of,
    wait_seconds,
)

DEAD = st.builds(Dead, at=st.floats(0, 4e9), error=st.text())
AWAY, NO = Failure("away"), Failure("400", is_refused=True)


def test_the_waits_grow_to_a_bound_and_chance_takes_up_to_a_half() -> None:
    assert [wait_seconds(tries, 0, 1.0) for tries in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert wait_seconds(4, 0, 0.0) == 4
    assert wait_seconds(500, 0, 1.0) == WAIT_SECONDS_MAX


@pytest.mark.parametrize(("asked", "waited"), [(0.0, 1.0), (120.0, 120.0), (1e9, 3600.0)])
def test_a_target_may_ask_for_patience_within_a_bound(asked: float, waited: float) -> None:
    assert wait_seconds(1, asked, 1.0) == waited


def test_one_that_is_away_is_tried_for_a_day_and_then_the_next_one_is() -> None:
    progress, now, dead = Progress(6), 0.0, None
    while dead is None:
        progress, dead = failed(progress, 7, "release.failed", AWAY, now, 0.5)
        now = max(now + 1, progress.retry_at)
    assert dead == Dead(7, "release.failed", progress.dead[0].at, dead.tries, "away")
    assert GIVE_UP_SECONDS <= dead.at <= GIVE_UP_SECONDS + WAIT_SECONDS_MAX
    assert (progress.cursor, progress.tries, progress.dead_total) == (7, 0, 1)
    assert progress.retry_at > dead.at, "the target is no better for it"


def test_one_that_is_refused_is_tried_a_few_times_only_and_holds_up_no_other() -> None:
    progress, dead = Progress(6), None
    for tries in range(1, REFUSALS_MAX + 1):
        assert dead is None
        progress, dead = failed(progress, 7, "release.failed", NO, float(tries), 0.5)
    assert dead is not None
    assert (progress.cursor, progress.retry_at) == (7, float(REFUSALS_MAX))


def test_a_delivery_forgets_what_failed_before_and_keeps_the_dead() -> None:
    dead = (Dead(3, "x", 1.0, 5, "400"),)
    tried = Progress(6, 4, 1.0, 2, 5.0, 9.0, "away", dead, 1)
    assert delivered(tried, 7, 20.0) == Progress(7, 5, 20.0, dead=dead, dead_total=1)


def test_only_the_last_dead_are_kept_and_all_are_counted() -> None:
    progress = Progress(0)
    for sequence in range(1, DEAD_KEPT_MAX + 11):
        for _ in range(REFUSALS_MAX):
            progress, _ = failed(progress, sequence, "x", NO, 1.0, 0.5)
    assert (len(progress.dead), progress.dead_total) == (DEAD_KEPT_MAX, DEAD_KEPT_MAX + 10)


def test_a_replay_begins_at_its_event_and_what_is_sent_again_is_dead_no_longer() -> None:
    dead = (Dead(3, "x", 1.0, 5, "400"), Dead(8, "x", 1.0, 5, "400"))
    after = replayed(Progress(20, 4, 1.0, 2, 5.0, 9e9, "away", dead, 2), 5)
    assert (after.cursor, after.tries, after.retry_at, after.dead) == (4, 0, 0.0, dead[:1])
    assert replayed(Progress(20), 0).cursor == 0


@given(st.builds(Progress, st.integers(0), error=st.text(), dead=st.lists(DEAD, max_size=3).map(tuple)))
def test_it_is_kept_as_it_is(progress: Progress) -> None:
    assert progress_of(text_of(progress)) == progress


def test_what_a_newer_version_wrote_is_read() -> None:
    assert progress_of(json.dumps({"cursor": 7, "colour": "red"})) == Progress(7)
