"""What one decision costs, however many regions there are: all that an owner does for it, less the store.

A look that finds nothing new, idle and in the middle of a release, and the slowest decision of a release.
CPU time, the least of several runs: a figure of the code, not of what else the machine does.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from repave_controller.core.commands.release import request_release
from repave_controller.core.domain.application import (
    Application,
    Instant,
    Observed,
    RegionView,
    ReleaseOrder,
    Tenure,
)
from repave_controller.core.domain.rollout import Wave
from repave_controller.core.planning.plan import never_released
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.divergence import offer, offers
from repave_controller.core.rules.safety import check
from repave_controller.spec.loader import load
from repave_controller.spec.spec import compile_order
from repave_protos.protocol.values import (
    ApplicationName,
    ApplicationReport,
    DesiredGroup,
    DesiredState,
    Digest,
    GroupReport,
)
from tests.benchmarks.fleet import names, spec
from tests.benchmarks.table import Line

REGIONS = (10, 100, 1_000, 5_000)
HOSTS = 10
STEPS = "{canary: {steps: [{traffic: 1%, hold: 1m}, {traffic: 50%, hold: 1m}]}}"
LOOKS, REPEATS = 20, 3
REPEATED_REGIONS_MAX = 1_000
"""With more of them each is measured once: what counts is a second then."""
DEARER_MAX = 1.5
"""What a region of 5,000 may cost, in times what one of ten costs; with more, growth is not linear."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An application as a decision finds it; regions obey at once, but for fresh hosts."""

    application: Application
    now: Instant
    are_hosts_up: bool = True

    def decide(self, observed: Observed) -> tuple[Application, Instant]:
        """As an owner does; with the time at which it looks again."""
        decision = step(self.application, observed, self.now, Tenure(1, 1))
        broken = check(self.application, decision, observed)
        assert not broken, broken
        decided = offer(decision.application, observed.__contains__)
        offers(self.application, decided)
        return decided, Instant(max(self.now + 1, decision.wake_at or 0))

    def observed(self) -> Observed:
        silent = {region: RegionView(True, None) for region in self.application.regions}
        heard = {region: RegionView(True, self._report(state)) for region, state in self.application.desired}
        return silent | heard

    def _report(self, state: DesiredState) -> ApplicationReport:
        groups = tuple(self._group(each) for each in state.groups)
        return ApplicationReport(state.application, state.epoch, groups)

    def _group(self, desired: DesiredGroup) -> GroupReport:
        has_traffic = desired.is_proven or desired.weight_bp > 0
        up = desired.count if self.are_hosts_up or has_traffic else 0
        return GroupReport(
            desired.name,
            starting=desired.count - up,
            verified=up,
            balancer_up=up,
            weight_bp=desired.weight_bp,
        )

    def seconds(self, times: int) -> float:
        """CPU of the decision, the least of so many."""
        taken = []
        for _ in range(times):
            observed = self.observed()
            began = time.process_time()
            self.decide(observed)
            taken.append(time.process_time() - began)
        return min(taken)


def run() -> Iterator[Line]:
    first: dict[str, float] = {}
    for regions in REGIONS:
        for what, seconds in measured(regions).items():
            of_a_region = seconds * 1e6 / regions
            dearer = of_a_region / first.setdefault(what, of_a_region)
            beside = f"{of_a_region:.1f} us a region, {dearer:.2f} times what one of {REGIONS[0]} costs"
            yield Line(f"{what}, {regions} regions", seconds * 1e3, "ms", beside)
            if regions == REGIONS[-1]:
                yield Line(f"{what}, a region of {regions}", dearer, "times", "", DEARER_MAX)


def measured(regions: int) -> dict[str, float]:
    """CPU seconds of a decision, by what it is about."""
    fresh = never_released(ApplicationName("fleet"), "fleet")
    *_, served = release(Moment(fresh, Instant(0)), order(regions, "1"))
    moments = list(release(served, order(regions, "2")))
    begun = next(each for each in moments if _last_wave_step(each))
    soak = next(each for each in moments if _last_wave_step(each) == "soak")
    ended = next(each for each in moments if each.application.running is None)  # the old group is kept
    looks, repeats = (LOOKS, REPEATS) if regions <= REPEATED_REGIONS_MAX else (1, 1)
    return {
        "idle look": _at_rest(ended).seconds(looks),
        "look in verify": _at_rest(replace(begun, are_hosts_up=False)).seconds(looks),
        "look in soak": _at_rest(soak).seconds(looks),
        "slowest decision of a release": max(each.seconds(repeats) for each in moments),
    }


def order(regions: int, version: str) -> ReleaseOrder:
    """A canary in two waves."""
    read, _ = load(spec(names(regions), HOSTS, "  - {regions: rest}", STEPS), "repave.yaml")
    made = compile_order(read, Digest(version * 64), version)
    places = [region for region, _ in made.sizes]
    half = len(places) // 2
    return replace(made, waves=(Wave(tuple(places[:half])), Wave(tuple(places[half:]))))


def release(before: Moment, order: ReleaseOrder) -> Iterator[Moment]:
    """Its moments, until it has ended and there is nothing to do any more."""
    application, _ = request_release(before.application, order, False, before.now)
    moment = Moment(application, before.now)
    yield moment
    while True:
        decided, now = moment.decide(moment.observed())
        if decided == moment.application and decided.running is None:
            return
        moment = Moment(decided, now)
        yield moment


def _last_wave_step(moment: Moment) -> str:
    """The step that the last wave is in; "" before and after."""
    rollout = moment.application.running
    track = rollout.tracks[-1] if rollout is not None else None
    return rollout.step(track).kind if rollout is not None and track is not None and track.has_begun else ""


def _at_rest(moment: Moment) -> Moment:
    """A second later, with everything taken in that is to be seen."""
    while True:
        decided, _ = moment.decide(moment.observed())
        if decided == moment.application:
            return moment
        moment = replace(moment, application=decided, now=Instant(moment.now + 1))
