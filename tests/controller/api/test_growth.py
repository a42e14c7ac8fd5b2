"""What an answer about an application costs grows no faster than the number of its regions, whatever they
wait for: counted in calls of each function, and in entries of regions that each goes through."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from types import CodeType
from typing import Any

import pytest

from repave_controller.api.answers import live, summary, views
from repave_controller.core.domain.application import (
    Application,
    Because,
    Expiry,
    Instant,
    Observed,
    Policy,
    RegionView,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.reasons import Why, reason_of
from repave_controller.core.domain.rollout import Rollout, TrackPhase
from repave_controller.core.planning.plan import never_released
from repave_controller.core.steps import Approve, Soak, Verify, Weight
from repave_protos.protocol.values import ApplicationName
from tests.benchmarks.decision import Moment, order, release
from tests.controller.core.rollout.test_growth import TIMES_MAX, counted

FEW, MANY = 4, 16
PER_REGION_MAX = 4
"""So many calls for each region are no square, also of a function that a few regions do not call."""

Question = tuple[str, Application, Observed, tuple[Because, ...]]
Shaped = Callable[[Rollout], Rollout]
Answered = Callable[[Application, Observed, tuple[Because, ...]], object]


def status(application: Application, observed: Observed, because: tuple[Because, ...]) -> object:
    return views.application_status(application, observed, because, {}, Instant(9))


def why(application: Application, observed: Observed, because: tuple[Because, ...]) -> object:
    return views.why(application, observed, because, {})


def summed_up(application: Application, observed: Observed, because: tuple[Because, ...]) -> object:
    summary.why_summary(application, observed, because, {})
    return summary.summary(application, observed, because, {}, Instant(9))


def live_topics(application: Application, observed: Observed, because: tuple[Because, ...]) -> object:
    known = {application.name: application}
    world = live.World(
        known, lambda _: observed, lambda _: because, {}, (), Freezes(), Instant(9), live.FleetRows()
    )
    return [live.application(world, application.name), live.fleet(world, "")]


def in_step(rollout: Rollout, cursor: int, phase: TrackPhase = TrackPhase.RUNNING) -> Rollout:
    """All of its regions are there."""
    steps = (Verify(60.0), Weight(5_000, 60.0), Soak(60.0, 90.0), Approve("sre", 60.0, 60.0))
    tracks = ByRegion(replace(track, phase=phase, cursor=cursor) for track in rollout.tracks)
    return replace(rollout, steps=steps, tracks=tracks)


SHAPES: dict[str, tuple[Shaped, tuple[Expiry, ...]]] = {
    "verify": (lambda rollout: in_step(rollout, 0), (Expiry.DEADLINE, Expiry.ILLNESS)),
    "soak": (lambda rollout: in_step(rollout, 2), (Expiry.PROGRESS, Expiry.ILLNESS)),
    "approve": (lambda rollout: in_step(rollout, 3), (Expiry.DEADLINE,)),
    "undoing": (lambda rollout: in_step(rollout, 1, TrackPhase.UNDOING), (Expiry.DEADLINE,)),
    "waiting": (lambda rollout: in_step(rollout, 0, TrackPhase.WAITING), (Expiry.SKIP, Expiry.LEAVE)),
}
POLICIES = (
    *(Policy(scope=scope) for scope in ("release", "wave", "region")),
    Policy(failures_max=10_000),
    Policy(goes_back_on=()),
)


def moments(regions: int) -> Iterable[tuple[str, Application, Observed]]:
    """A first release and a second one in which each region has begun, with all hosts up, and with few."""
    moment = Moment(never_released(ApplicationName("fleet"), "fleet"), Instant(0))
    for version in ("1", "2"):
        *before, after = release(moment, order(regions, version))
        begun = next(each for each in before if has_begun_all(each))
        observed = begun.observed()
        yield f"release {version}", begun.application, observed
        yield (
            f"release {version}, few hosts",
            begun.application,
            {region: with_few_hosts(view) for region, view in observed.items()},
        )
        moment = after


def has_begun_all(moment: Moment) -> bool:
    rollout = moment.application.running
    return rollout is not None and all(track.has_begun for track in rollout.tracks)


def with_few_hosts(view: RegionView) -> RegionView:
    if view.report is None:
        return view
    groups = tuple(replace(group, verified=3, balancer_up=3) for group in view.report.groups)
    return replace(view, report=replace(view.report, groups=groups))


@cache
def questions(regions: int) -> tuple[Question, ...]:
    return tuple(asked(regions))


def asked(regions: int) -> Iterable[Question]:
    """Each shape, failure policy and expiry, with every region waiting for something."""
    for said, application, observed in moments(regions):
        rollout = application.running
        assert rollout is not None
        for shape, (shaped, expiries) in SHAPES.items():
            for policy in POLICIES:
                shown = replace(application, rollout=shaped(rollout), policy=policy)
                for expiry in expiries:
                    because = tuple(
                        Because(
                            reason_of(Why.UNCONFIRMED, refusal=""), region, until=Instant(9), expiry=expiry
                        )
                        for region in shown.regions
                    )
                    yield f"{said}, {shape}, {policy.scope}, {expiry}", shown, observed, because


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Counter[CodeType]:
    """How many entries of regions each function goes through."""
    found: Counter[CodeType] = Counter()
    plain = ByRegion.__iter__

    def visited(entries: ByRegion[Any]) -> Iterator[Any]:
        by = sys._getframe(1).f_code
        found[by] += len(entries)
        return plain(entries)

    monkeypatch.setattr(ByRegion, "__iter__", visited)
    return found


@pytest.mark.parametrize("answered", [status, why, summed_up, live_topics])
def test_no_part_of_an_answer_is_made_once_for_each_pair_of_regions(
    answered: Answered, visits: Counter[CodeType]
) -> None:
    counts: dict[int, dict[str, Counter[CodeType]]] = {FEW: {}, MANY: {}}
    for regions, told in counts.items():
        for number, (what, application, observed, because) in enumerate(questions(regions)):
            visits.clear()
            with counted() as made:
                answered(application, observed, because)
            told[f"{number}: {what}"] = made + visits
    dearer = {
        (what, code): (counts[FEW][what][code], count)
        for what, made in counts[MANY].items()
        for code, count in made.items()
        if count > max(TIMES_MAX * counts[FEW][what][code], PER_REGION_MAX * MANY)
    }
    assert not dearer
