"""What decisions cost grows no faster than the number of regions, whatever happens to these: counted in calls
of each function. What is copied is counted in `domain/test_by_region.py`."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import CodeType, FrameType

from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Instant
from repave_controller.core.planning.plan import never_released
from repave_protos.protocol.values import ApplicationName
from tests.benchmarks.decision import Moment, order, release

FEW, MANY = 4, 16
KEPT_SECONDS = 100_000.0
TIMES_MAX = 1.5 * MANY / FEW
"""What grows with the square makes it (MANY / FEW)**2."""


@contextmanager
def counted() -> Iterator[Counter[CodeType]]:
    """How often each function of Python is called."""
    calls: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            calls[frame.f_code] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def story(regions: int) -> None:
    """Two releases, one that is aborted while half of its regions have yet to begin, and a rollback; kept
    groups end in time."""
    moment = Moment(never_released(ApplicationName("fleet"), "fleet"), Instant(0))
    for version in ("1", "2"):
        *_, moment = release(moment, order(regions, version))
        moment = replace(moment, now=Instant(moment.now + KEPT_SECONDS))
    half = next(each for each in release(moment, order(regions, "3")) if has_begun_half(each))
    moment = steered(half, Abort())
    moment = steered(moment, Rollback())
    decided(replace(moment, now=Instant(moment.now + KEPT_SECONDS)))


def has_begun_half(moment: Moment) -> bool:
    rollout = moment.application.running
    begun = sum(track.has_begun for track in rollout.tracks) if rollout is not None else 0
    return rollout is not None and begun == len(rollout.tracks) // 2


def steered(moment: Moment, verb: Verb) -> Moment:
    application, _ = verb.apply(moment.application, moment.observed(), "ann", "", moment.now)
    assert application.running is not None
    return decided(replace(moment, application=application))


def decided(moment: Moment) -> Moment:
    """Until there is nothing to do any more."""
    while True:
        application, now = moment.decide(moment.observed())
        if application == moment.application and application.running is None:
            return moment
        moment = replace(moment, application=application, now=now)


def test_no_part_of_a_decision_is_done_once_for_each_pair_of_regions() -> None:
    calls: dict[int, Counter[CodeType]] = {}
    story(FEW)  # what is remembered of its host template costs each one that follows the same
    for regions in (FEW, MANY):
        with counted() as calls[regions]:
            story(regions)
    dearer = {
        code: (calls[FEW][code], count)
        for code, count in calls[MANY].items()
        if count > TIMES_MAX * max(calls[FEW][code], FEW)
    }
    assert not dearer
