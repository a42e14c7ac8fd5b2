"""What `repave why` foretells is what `step` does: over random strategies, waves, policies, first releases,
rollbacks, troubles and failures.

Regions obey at once unless a trouble holds them up, so a rollout stands still at each of its waits. There
each thing that is foretold is made to happen on a copy: a region fails, or a wait comes to its end.
"""

from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from repave_controller.core.commands.promotion import request_promote
from repave_controller.core.domain.application import (
    Application,
    Because,
    Decision,
    Expiry,
    Instant,
    Policy,
)
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Fact, Forecast, Refused
from repave_controller.core.domain.rollout import Phase, Rollout, Track, TrackPhase, Wave
from repave_controller.core.domain.steps import Step
from repave_controller.core.planning.forecast import Outlook
from repave_controller.core.rollout.failure import BACKWARD, FailureKind
from repave_controller.core.rollout.protection import Effects
from repave_controller.core.rollout.step import step
from repave_controller.core.rollout.waves import gate_of_wave
from repave_protos.protocol.values import GroupReport, RegionName
from tests.fakes.controller.random_rollouts import (
    SIZE,
    TENURE,
    TROUBLES,
    World,
    begun,
    policies,
    wave_lists,
    ways,
)

MOMENTS_MAX = 20
Facts = dict[str, Fact]


# ------------------------------------------------------------------------------------- what is foretold


def foretold(world: World, because: Because) -> tuple[Forecast | None, Facts]:
    reason = Outlook(world.application, world.views).of(because)
    return (reason.kind, dict(reason.facts)) if reason is not None else (None, {})  # type: ignore[return-value]


def check_moment(world: World, decision: Decision) -> None:
    """The rollout stands still, and `decision` says why."""
    rollout = world.application.running
    if rollout is None or rollout.pause is not None:
        return
    for because in decision.because:
        check_end_of_wait(world, because)
        check_falls_ill(world, because)
    for track in rollout.tracks:
        check_illness(world, track)


def check_falls_ill(world: World, because: Because) -> None:
    """What is said of a region in case that it falls ill comes true when half of its new hosts do."""
    rollout, (kind, facts) = world.application.running, foretold(world, because)
    if rollout is None or kind is not Forecast.STEP or facts["failure"] != "health":
        return
    track, view = rollout.track(RegionName(because.region)), world.views[RegionName(because.region)]
    target = world.application.group(rollout.target_of(track)) if track is not None else None
    if target is None or view.report is None or not view.is_connected:
        return
    known = view.group(target.name)
    there = known.verified + known.unhealthy
    if not there or known.unhealthy or because.expiry is not Expiry.PROGRESS:
        return
    up = there // 2
    ill = replace(known, verified=up, unhealthy=there - up, balancer_up=up)
    groups = tuple(ill if each.group == target.name else each for each in view.report.groups)
    observed = {**world.views, track.region: replace(view, report=replace(view.report, groups=groups))}  # type: ignore[union-attr]
    after = step(world.application, observed, world.now, TENURE).application
    now = after.rollout
    assert now is not None
    if any(each.ill_at is not None for each in now.tracks):
        return  # it heals
    compare(rollout, after, *effect_in(kind, facts))


def effect_in(kind: Forecast | None, facts: Facts) -> tuple[FailureKind, Any]:
    """What is foretold to happen, and which regions are said to go back."""
    effect = FailureKind(str(facts["effect"]))
    is_back = kind is Forecast.WAVE or effect is FailureKind.KEEP
    return effect, facts["back"] if is_back else facts["regions"]


def check_illness(world: World, track: Track) -> None:
    """The region's hosts are given up, or fall ill after it was done: what `effect_of` says becomes true."""
    application, rollout, view = world.application, world.application.running, world.views[track.region]
    state = application.desired_in(track.region)
    target = application.group(rollout.target) if rollout is not None else None
    if rollout is None or target is None or state is None or view.report is None or not view.is_connected:
        return
    if track.phase is TrackPhase.RUNNING:
        failing = GroupReport(target.name, failed=SIZE, has_given_up=True)
    elif track.phase is TrackPhase.DONE and rollout.phase is Phase.RUNNING and rollout.kind == "release":
        if view.report.epoch != state.epoch:
            return
        failing = GroupReport(target.name, unhealthy=SIZE, weight_bp=10_000)
    else:
        return
    others = tuple(each for each in view.report.groups if each.group != target.name)
    report = replace(view.report, groups=(*others, failing))
    observed = {**world.views, track.region: replace(view, report=report)}
    effect = Effects(application, rollout, observed).of(track, "health")
    after = step(application, observed, world.now, TENURE).application
    back = effect.back if effect.kind is FailureKind.KEEP else effect.regions
    compare(rollout, after, effect.kind, back)


def check_end_of_wait(world: World, because: Because) -> None:
    """Nothing changes until its end, but for the waits of other regions, and a region's for that of a wave:
    they begin again then."""
    rollout, until = world.application.running, because.until
    if because.expiry is None:
        assert Outlook(world.application, world.views).of(because) is None
        return
    if rollout is None or until is None:
        return
    application = world.application
    kind, facts = foretold(world, because)
    fresh = ByRegion(
        track
        if track.region == because.region
        else replace(track, ill_at=None)
        if track.phase is TrackPhase.DONE
        else track.entered(track.phase, until)
        for track in rollout.tracks
    )
    asked_at = until if because.region and rollout.asked_at is not None else rollout.asked_at
    application = replace(application, rollout=replace(rollout, tracks=fresh, asked_at=asked_at))
    after = step(application, world.views, until, TENURE).application
    event(f"{because.expiry}: {kind}")
    now = after.rollout
    assert now is not None
    track = now.track(RegionName(because.region))
    match because.expiry:
        case Expiry.DEADLINE | Expiry.ILLNESS:
            compare(rollout, after, *effect_in(kind, facts))
        case Expiry.SKIP:
            assert kind is Forecast.REGION_SKIPPED
            assert track is not None
            assert track.phase is TrackPhase.SKIPPED
        case Expiry.LEAVE:
            assert kind is Forecast.END_WITHOUT_REGION
            former = rollout.track(RegionName(because.region))
            assert track is not None
            assert former is not None
            follows = (TrackPhase.DONE, TrackPhase.SKIPPED)  # a rollback does
            is_back = former.phase is TrackPhase.UNDOING
            assert track.phase in ((TrackPhase.UNDONE,) if is_back else follows)
        case Expiry.PROGRESS:
            former = rollout.track(RegionName(because.region))
            if (
                former is None
                or track is None
                or (track.phase, track.cursor) == (former.phase, former.cursor)
            ):
                assert not newly_backward(rollout, now)
                assert now.pause is None
            if kind is Forecast.SUCCESS:
                assert now.phase is Phase.SUCCEEDED
            elif kind is Forecast.WAVE:
                check_wave(world, rollout, now, facts)


def check_wave(world: World, rollout: Rollout, after: Rollout, facts: Facts) -> None:
    """After the bake the wave waits for its approver, or its regions begin as far as they are there."""
    started = {track.region for track in after.tracks if track.has_begun}
    started -= {track.region for track in rollout.tracks if track.has_begun}
    expected = {RegionName(str(region)) for region in facts["regions"]}  # type: ignore[union-attr]  # names
    assert started <= expected
    if facts["approver"] is not None:
        assert not started
    elif not any(world.trouble.get(region) == "away" for region in expected):
        assert started


def newly_backward(before: Rollout, after: Rollout) -> set[RegionName]:
    was = {track.region for track in before.tracks if track.phase in BACKWARD}
    return {track.region for track in after.tracks if track.phase in BACKWARD} - was


def compare(before: Rollout, after: Application, kind: FailureKind, regions: Any) -> None:
    now = after.rollout
    assert now is not None
    event(f"failure: {kind}")
    if kind is FailureKind.END:
        assert now.phase is Phase.HELD
        return
    if kind in (FailureKind.PAUSE, FailureKind.KEEP):
        assert now.pause is not None
        assert now.pause.is_hold
        assert newly_backward(before, now) == (set(regions) if kind is FailureKind.KEEP else set())
        return
    assert now.pause is None
    if kind is FailureKind.STAY:
        assert not newly_backward(before, now)
        assert {track.region for track in now.tracks if track.phase is TrackPhase.HELD} >= set(regions)
        return
    left_out = {track.region for track in now.tracks if track.phase is TrackPhase.SKIPPED}  # away until then
    assert newly_backward(before, now) == set(regions) - left_out
    assert now.is_stopped == (kind is FailureKind.STOP or before.is_stopped)
    assert (now.phase is Phase.UNDOING or now.phase.is_over) or kind is not FailureKind.UNDO
    assert now.phase is not Phase.UNDOING or kind is FailureKind.UNDO or before.phase is Phase.UNDOING


class Watcher:
    """Remembers what was foretold at each stand-still, and holds the next moves to it."""

    def __init__(self) -> None:
        self.before: Rollout | None = None
        self.regions: dict[str, Facts] = {}
        self.wave: Facts = {}

    def remember(self, world: World, decision: Decision) -> None:
        self.before, self.regions, self.wave = world.application.running, {}, {}
        for because in decision.because:
            kind, facts = foretold(world, because)
            if kind is Forecast.STEP:
                self.regions[because.region] = facts
            elif kind is Forecast.WAVE:
                self.wave = facts

    def hold(self, after: Rollout) -> None:
        """No region has moved in a way that was not foretold. To be asked after each single decision."""
        if self.before is None or after.number != self.before.number:
            return  # it is over, and regions that were away catch up
        for track in self.before.tracks:
            now = after.track(track.region)
            assert now is not None
            if now.phase not in (TrackPhase.RUNNING, TrackPhase.DONE) or now.cursor < track.cursor:
                self.regions.pop(track.region, None)
            elif (now.phase, now.cursor) != (track.phase, track.cursor):
                self._check(track, now, after)

    def _check(self, track: Track, now: Track, after: Rollout) -> None:
        facts = self.regions.pop(track.region, None)
        following = track.cursor + 1 if track.has_begun else 0
        if facts is not None:
            entered = after.steps[following] if following < len(after.steps) else None
            assert facts["step"] == (entered.kind if entered is not None else "")
            assert facts["share_bp"] == (entered.share_bp if entered is not None else None)
        if self.wave and not track.has_begun and self.wave["wave"] == track.wave + 1:
            assert isinstance(self.wave["regions"], tuple)
            assert track.region in self.wave["regions"]
            assert self.wave["approver"] is None or after.may_pass(gate_of_wave(track.wave))


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    st.randoms(use_true_random=True),
    wave_lists(),
    ways(),
    policies,
    st.sampled_from(("first", "later", "later", "rollback")),
)
def test_what_is_foretold_comes_true(
    chance: Random, waves: tuple[Wave, ...], way: tuple[Step, ...], policy: Policy, kind: str
) -> None:
    total = sum(len(wave.regions) for wave in waves)
    world, watcher = begun(waves, way, policy, kind, old=chance.randint(1, total)), Watcher()
    for _ in range(MOMENTS_MAX):
        decision = world.settle()
        if world.application.rollout is not None:
            watcher.hold(world.application.rollout)
        if world.application.running is None:
            return
        check_moment(world, decision)
        watcher.remember(world, decision)
        act(world, decision, chance)


def act(world: World, decision: Decision, chance: Random) -> None:
    match chance.choice(("time", "time", "trouble", "promote", "promote")):
        case "time":
            ends = [each.until for each in decision.because if each.until is not None]
            world.now = Instant(max(world.now + 7, min(ends, default=0.0)))
        case "trouble":
            world.strike(chance.choice(sorted(world.views)), chance.choice(TROUBLES))
        case _:
            skips = chance.random() < 0.5
            with suppress(Refused):
                world.application, _ = request_promote(
                    world.application, "ann", "ops", "", world.now, skips=skips
                )
