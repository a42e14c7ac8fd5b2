"""What decisions cost grows no faster than the number of regions, whatever happens to these: counted in calls
of each function. What is copied is counted in `domain/test_by_region.py`."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import CodeType, FrameType
from typing import Any

import pytest

from repave_controller.core.analysis.values import JudgeConfig, Metric
from repave_controller.core.analysis.values import Outcome as JudgementOutcome
from repave_controller.core.commands.promotion import Promote
from repave_controller.core.commands.release import request_release
from repave_controller.core.commands.renewal import request_renewal
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.analyses import AnalysisPlan, Finding, Reading
from repave_controller.core.domain.application import Application, Drained, Instant, Observed, ReleaseOrder
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.overlays import Overlay
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.planning.plan import extra_hosts, never_released, plan_release
from repave_controller.core.rollout.gates import approvals
from repave_controller.core.rules.looks import due, looked_at, next_due_at
from repave_controller.core.steps import Analyse, Approve, Retire, Scale, Verify, Weight
from repave_protos.protocol.values import ApplicationName, ApplicationReport, HostName, RegionName, Worn
from tests.benchmarks.decision import Moment, order, release

FEW, MANY = 4, 16
KEPT_SECONDS = 100_000.0
TIMES_MAX = 1.5 * MANY / FEW
"""What grows with the square makes it (MANY / FEW)**2."""


class Named(str):
    """The name of a region, of which each comparison is a call."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()


COMPARISONS = frozenset({Named.__eq__.__code__, Named.__hash__.__code__})


@contextmanager
def counted() -> Iterator[Counter[CodeType]]:
    """How often each function of Python is called, and how many names of regions it compares itself."""
    calls: Counter[CodeType] = Counter()

    def count(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            by = frame.f_back if frame.f_code in COMPARISONS else frame
            calls[by.f_code if by is not None else frame.f_code] += 1

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


# ------------------------------------------------------------------------------------- what people add to it


def named(asked: ReleaseOrder, **changes: Any) -> ReleaseOrder:
    """The order with such regions, each with a price and with something of its own; the waves not by name."""
    name = {region: RegionName(Named(region)) for region, _ in asked.sizes}
    waves = [replace(wave, regions=tuple(map(name.__getitem__, wave.regions[::-1]))) for wave in asked.waves]
    return replace(
        asked,
        sizes=tuple((name[region], size) for region, size in asked.sizes),
        waves=tuple(replace(wave, **changes) for wave in waves),
        prices=ByRegion((each, 1.0) for each in name.values()),
        currency="EUR",
        overlays=ByRegion((each, Overlay(environment=(("AT", each),))) for each in name.values()),
    )


def served(regions: int, **changes: Any) -> tuple[Moment, ReleaseOrder]:
    """An application, and its next release."""
    fresh = Moment(never_released(ApplicationName("fleet"), "fleet"), Instant(0))
    *_, moment = release(fresh, named(order(regions, "1")))
    return moment, named(order(regions, "2"), **changes)


def judged_and_approved(regions: int, **changes: Any) -> Application:
    """Where each region waits for looks, then for a person who lets those go on that wait."""
    moment, asked = served(regions, **changes)
    plan = AnalysisPlan(JudgeConfig(), (Reading(Metric("errors"), "balancer", ""),), 10.0, 2)
    steps = (
        Scale(100.0, 60.0),
        Verify(60.0),
        Weight(1_000, 60.0),
        Analyse(plan, 60.0),
        Approve("sre", 60.0),
        Weight(10_000, 60.0),
        Retire(0.0, 60.0),
    )
    application, _ = request_release(
        moment.application, replace(asked, steps=steps), False, moment.now, moment.observed()
    )
    moment = replace(moment, application=application)
    while moment.application.running is not None:
        application, now = moment.decide(moment.observed())
        for look in due(application, now):
            application, _, _ = looked_at(application, look, Finding(VERDICT), now)
        if approvals(application, now):
            asked_for = Promote(role="sre")
            application, _ = asked_for.apply(application, moment.observed(), "ann", "", now)
        at = next_due_at(application, now)
        moment = Moment(application, Instant(max(now, at)) if at is not None and at < now + 60 else now)
    assert moment.application.rollout is not None
    assert moment.application.rollout.phase is Phase.SUCCEEDED
    return moment.application


def missed_and_caught_up(regions: int) -> None:
    """All regions but the first are away, and return."""
    moment, asked = served(regions)
    asked = replace(asked, policy=replace(asked.policy, unreachable="skip"))
    application, _ = request_release(moment.application, asked, False, moment.now, {})
    moment = replace(moment, application=application)
    while moment.application.running is not None:
        there = min(moment.application.regions)
        observed = {
            region: view if region == there else replace(view, is_connected=False)
            for region, view in moment.observed().items()
        }
        application, now = moment.decide(observed)
        moment = Moment(application, now)
    assert len(moment.application.missed) == regions - 1
    application = decided(replace(moment, now=Instant(moment.now + 1))).application
    assert not application.missed


def worn_out(regions: int) -> None:
    """All hosts are renewed: each region names its own, then has others."""
    moment, _ = served(regions)
    renewed, _ = request_renewal(moment.application, "ann", "", moment.now)
    moment = replace(moment, application=renewed)
    moment = decided_once(moment, {})
    worn = {
        region: replace(view, report=_worn(view.report, region)) for region, view in moment.observed().items()
    }
    moment = decided_once(moment, worn)
    assert len(moment.application.replacing) == regions
    worn = {
        region: replace(view, report=_worn(view.report, region)) for region, view in moment.observed().items()
    }
    moment = decided_once(moment, worn)
    moment = decided_once(moment, moment.observed())
    assert not moment.application.replacing


def _worn(report: ApplicationReport | None, region: RegionName) -> ApplicationReport | None:
    assert report is not None
    first, *others = report.groups
    worn = replace(first, worn=(Worn(HostName(f"{region}-1"), "renewal"),))
    return replace(report, groups=(worn, *others))


def decided_once(moment: Moment, observed: Observed) -> Moment:
    application, now = moment.decide(observed or moment.observed())
    return Moment(application, now)


def planned(regions: int) -> None:
    """Of a fleet whose regions are out of DNS."""
    moment, asked = served(regions)
    drained = ByRegion(Drained(region, moment.now) for region, _ in asked.sizes)
    application = replace(moment.application, drained=drained)
    found = plan_release(application, asked, moment.observed(), moment.now)
    assert len(found.drained) == len(found.regions) == regions
    assert extra_hosts(application, asked, moment.now) == {each.name: each.extra for each in found.regions}
    decided_once(replace(moment, application=application), {})


VERDICT = JudgementOutcome.PASS
STORIES: dict[str, Callable[[int], object]] = {
    "released, aborted and rolled back": story,
    "judged together": judged_and_approved,
    "judged one by one": lambda regions: judged_and_approved(regions, is_lockstep=False),
    "missed": missed_and_caught_up,
    "worn out": worn_out,
    "planned": planned,
}


@pytest.mark.parametrize("told", STORIES.values(), ids=STORIES)
def test_no_part_of_a_decision_is_done_once_for_each_pair_of_regions(told: Callable[[int], object]) -> None:
    calls: dict[int, Counter[CodeType]] = {}
    told(FEW)  # what is remembered of its host template costs each one that follows the same
    for regions in (FEW, MANY):
        with counted() as calls[regions]:
            told(regions)
    dearer = {
        code: (calls[FEW][code], count)
        for code, count in calls[MANY].items()
        if count > TIMES_MAX * max(calls[FEW][code], FEW)
    }
    assert not dearer
