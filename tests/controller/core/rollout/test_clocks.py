"""Every wait has a clock of its own: hosts that are missing for a moment, that are replaced, regions that are
silent. None of it counts from the beginning of something else."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.core.commands.promotion import request_promote
from repave_controller.core.commands.steering import request_pause, request_resume
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.reasons import Reason, Why
from repave_controller.core.domain.rollout import LOOK_SECONDS, Phase
from repave_controller.core.rollout.step import after_suspension
from repave_controller.core.steps import Soak
from repave_controller.stores.codec import decode_application, encode_application
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.world import World

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
OLD, NEW = GroupName("shop-v001"), GroupName("shop-v002")
BLUE_GREEN = "{blue_green: {warm: 5m}}"
CANARY = "{canary: {steps: [{traffic: 50%, hold: 10m}]}}"
ROLLING = "{rolling: {steps: [{traffic: 50%, hold: 10m}]}}"
APPROVED = "{phased: {steps: [{traffic: 50%, approve: sre}]}}"


def releasing(strategy: str, regions: str = "paris:10, oslo:10", extra: str = "") -> World:
    world = World(spec(strategy, regions, extra), "clocks")
    world.release("1.1")
    if "sre" in strategy:
        world.ask("", lambda app, now: request_promote(app, "ann", "sre", "", now, is_full=True))
    assert world.until_over() is Phase.SUCCEEDED
    world.release("1.2")
    return world


def is_in(kind: str, share: int | None = None) -> Callable[[World], bool]:
    def is_so(world: World) -> bool:
        rollout = world.rollout
        at = world.weights("paris").get(NEW, 0)
        return rollout.steps[rollout.cursor].kind == kind and (share is None or at == share)

    return is_so


def phase_of(world: World) -> Phase:
    return world.rollout.phase


def waits(world: World) -> list[Reason]:
    return [each.reason for each in world.because]


# ------------------------------------------------------------------------------- hosts missing for a moment


@pytest.mark.parametrize(("strategy", "step"), [(CANARY, "soak"), (ROLLING, "soak"), (APPROVED, "approve")])
@pytest.mark.parametrize("seconds", [5, 50])
def test_a_flicker_as_a_step_begins_does_not_go_back(strategy: str, step: str, seconds: int) -> None:
    world = releasing(strategy)
    world.until(is_in(step, 5000))
    world.run(598)
    world.regions[PARIS].ill[NEW] = 1
    if step == "approve":
        world.ask("", lambda app, now: request_promote(app, "ann", "sre", "", now))
    world.run(seconds)
    assert world.rollout.phase is Phase.RUNNING, world.transcript()
    world.regions[PARIS].ill.clear()
    assert world.until_over() is Phase.SUCCEEDED, world.transcript()


def test_old_hosts_that_are_missing_hold_a_step_up_for_as_long_as_they_may_be_replaced() -> None:
    world = releasing(
        "{rolling: {first: old, steps: [{traffic: 50%}]}}", extra="guards: {min_capacity: 50%}\n"
    )
    world.until(lambda each: each.rollout.cursor > 2)
    world.until_over()
    world.regions[PARIS].ill[NEW] = 6
    world.release("1.3")
    began = world.now
    world.run(55)
    assert world.rollout.phase is Phase.RUNNING
    assert Why.GUARD in [each.kind for each in waits(world)]
    assert world.until_over() is Phase.ROLLED_BACK
    assert world.now - began < 120, "the first step has a deadline too"
    assert "hosts" in text_of(world.rollout.undo_reason)


# ----------------------------------------------------------------------------------------------- healing


@pytest.mark.parametrize("lost", [1, 10])
def test_a_few_hosts_that_are_replaced_in_time_are_no_failure(lost: int) -> None:
    world = releasing(BLUE_GREEN, "paris:100, oslo:10")
    world.until(is_in("soak"))
    world.run(10)
    world.regions[PARIS].ill[NEW] = lost
    world.run(55)
    assert Why.HEALS in [each.kind for each in waits(world)]
    world.regions[PARIS].ill.clear()
    world.run(2)
    assert Why.HEALS not in [each.kind for each in waits(world)]
    assert world.until_over() is Phase.SUCCEEDED, world.transcript()


@pytest.mark.parametrize(
    ("lost", "regions", "extra", "seconds"),
    [
        (1, "paris:10", "", 60),  # not replaced within the launch deadline
        (1, "paris:10", "health.heal_within: 20s", 20),
        (2, "paris:10", "", 0),  # more than a tenth
        (1, "paris:2", "", 0),  # half of what there is
        (1, "paris:10", "health.heal_within: 0s", 0),
        (1, "paris:10", "guards: {min_capacity: 100%}\n", 0),  # the spec says it in so many words
        (1, "paris:10", "guards: {min_hosts: 10}\n", 0),
    ],
)
def test_too_many_or_too_long_is_a_failure(lost: int, regions: str, extra: str, seconds: int) -> None:
    text = spec(BLUE_GREEN, regions, "" if extra.startswith("health") else extra)
    if extra.startswith("health"):
        text = text.replace("launch_deadline", extra.removeprefix("health.") + ", launch_deadline")
    world = World(text, "healing")
    world.release("1.1")
    world.until_over()
    world.release("1.2")
    world.until(is_in("soak"))
    world.run(3)
    world.regions[PARIS].ill[NEW] = lost
    began = world.now
    world.until(lambda each: each.rollout.phase is not Phase.RUNNING)
    assert seconds <= world.now - began <= seconds + 2
    assert world.until_over() is Phase.ROLLED_BACK
    assert f"{int(regions[6:]) - lost} of {regions[6:]} hosts are healthy" in text_of(
        world.rollout.undo_reason
    )


def test_a_soak_does_not_end_while_a_host_is_missing() -> None:
    world = releasing("{blue_green: {warm: 30s}}")
    world.until(is_in("soak"))
    world.run(25)
    world.regions[PARIS].ill[NEW] = 1
    world.run(30)
    assert world.rollout.phase is Phase.RUNNING
    world.regions[PARIS].ill.clear()
    world.run(2)
    assert phase_of(world) is Phase.SUCCEEDED


def test_a_region_that_finished_heals_before_the_next_wave_begins_or_the_release_ends() -> None:
    waves = "waves:\n  - {regions: [paris], bake: 1m}\n  - {regions: [oslo]}\n"
    world = releasing("{blue_green: {warm: 10s}}", extra=waves)
    world.until_told("region.done")
    world.run(50)
    world.regions[PARIS].ill[NEW] = 1
    world.run(40)
    assert NEW not in world.counts("oslo"), "the bake is over, but not the healing"
    world.regions[PARIS].ill.clear()
    world.until(lambda each: NEW in each.counts("oslo"))
    world.run(25)
    world.regions[PARIS].ill[NEW] = 1
    world.run(20)
    assert world.rollout.phase is Phase.RUNNING
    world.regions[PARIS].ill.clear()
    assert world.until_over() is Phase.SUCCEEDED


def test_a_pause_and_a_controller_that_was_away_do_not_count_as_time_to_heal() -> None:
    world = releasing(BLUE_GREEN)
    world.until(is_in("soak"))
    world.regions[PARIS].ill[NEW] = 1
    world.run(50)
    world.ask("", lambda app, now: request_pause(app, "ann", "", now))
    world.run(600)
    world.ask("", lambda app, now: request_resume(app, "ann", "", now))
    world.run(5)
    assert world.rollout.phase is Phase.RUNNING
    world.now += 600
    world.application = after_suspension(world.application, Instant(world.now))
    world.run(5)
    assert world.rollout.phase is Phase.RUNNING
    world.regions[PARIS].ill.clear()
    assert world.until_over() is Phase.SUCCEEDED


# ------------------------------------------------------------------------------------------------ silence


def silent(world: World, seconds: int) -> None:
    region = world.regions[PARIS]
    region.is_connected, region.since = False, world.now
    world.run(seconds)
    region.is_connected, region.since = True, world.now


def test_a_soak_counts_only_the_time_in_which_its_region_is_seen() -> None:
    world = releasing(BLUE_GREEN, "paris:4")
    world.until(is_in("soak"))
    began = world.now
    world.run(20)
    region = world.regions[PARIS]
    region.is_connected, region.since = False, world.now
    world.run(60)
    told = [text_of(each) for each in waits(world)]
    assert told == ["soak: stands still, 279 s of it are left: its agent is not connected"]
    world.run(140)
    region.is_connected, region.since = True, world.now
    world.run(2)
    silent(world, 50)
    assert world.until_over() is Phase.SUCCEEDED
    assert 550 <= world.now - began <= 555


def test_a_region_that_stays_silent_in_a_soak_fails_it() -> None:
    world = releasing(BLUE_GREEN, "paris:4")
    world.until(is_in("soak"))
    world.run(290)
    region = world.regions[PARIS]
    region.is_connected, region.since = False, world.now
    world.run(329)
    assert world.rollout.phase is Phase.RUNNING, "its silence has a clock of its own"
    world.run(3)
    assert phase_of(world) is Phase.UNDOING
    assert "soak: no progress for 330 s" in text_of(world.rollout.undo_reason)


def test_a_step_goes_on_where_it_was_when_a_region_is_heard_again() -> None:
    world = releasing(BLUE_GREEN, "paris:4")
    world.until(is_in("verify"))
    world.regions[PARIS].sick.add(NEW)
    world.run(80)  # of 95 s
    silent(world, 60)
    world.run(5)
    assert world.rollout.phase is Phase.RUNNING, world.transcript()
    world.regions[PARIS].sick.clear()
    assert world.until_over() is Phase.SUCCEEDED


def test_a_bake_stands_still_while_a_region_of_its_wave_is_silent() -> None:
    waves = "waves:\n  - {regions: [paris], bake: 2m}\n  - {regions: [oslo]}\n"
    world = releasing("{blue_green: {warm: 10s}}", extra=waves)
    world.until_told("region.done")
    world.run(60)
    region = world.regions[PARIS]
    region.is_connected, region.since = False, world.now
    world.run(300)
    assert NEW not in world.counts("oslo")
    told = "bake: stands still, wave 1 of 2 can't be watched: no word from paris"
    assert told in [text_of(each) for each in waits(world)]
    region.is_connected, region.since = True, world.now
    world.run(50)
    assert NEW not in world.counts("oslo")
    assert world.until_over() is Phase.SUCCEEDED


# ------------------------------------------------------------------------------------------- one rounding


@pytest.mark.parametrize(("size", "percent"), [(8, 90), (3, 60), (9, 50), (40, 99)])
def test_a_group_gets_no_traffic_with_which_it_would_be_below_its_floor(size: int, percent: int) -> None:
    text = spec("{blue_green: {warm: 1m}}", f"paris:{size}")
    world = World(text.replace("launch_deadline", f"ready_percent: {percent}%, launch_deadline"), "rounding")
    world.release("1.1")
    world.until_over()
    policy = world.application.policy
    world.regions[PARIS].ill[NEW] = size - policy.needed(size)
    world.release("1.2")
    assert world.until_over() is Phase.SUCCEEDED, "what is enough for traffic is enough to the end"
    world.regions[PARIS].ill[GroupName("shop-v003")] = size - policy.floor(size) + 1
    world.release("1.3")
    world.until(lambda each: each.rollout.phase is not Phase.RUNNING)
    assert "verify: no progress" in text_of(world.rollout.undo_reason), "it never had traffic"


# ------------------------------------------------------------------------------- no controller that looks


def unwatched(world: World, seconds: int) -> None:
    """The controller dies and is started again; what it had saved is what it goes on from."""
    world.now += seconds
    world.application = after_suspension(
        decode_application(encode_application(world.application)), Instant(world.now)
    )


@given(st.lists(st.tuples(st.integers(1, 25), st.integers(1, 2000)), max_size=5))
@settings(max_examples=15, deadline=None)
def test_a_soak_counts_only_the_time_in_which_a_controller_looked(spells: list[tuple[int, int]]) -> None:
    world = releasing("{blue_green: {warm: 1m}}", "paris:1")
    world.until(is_in("soak"))
    soak = next(step.seconds for step in world.rollout.steps if isinstance(step, Soak))
    looked = 0
    for alive, away in (*spells, (10_000, 0)):
        until = looked + alive
        while looked < until and world.application.running is not None:
            world.tick()
            looked += 1
        if world.application.running is not None:
            unwatched(world, away)
    assert soak <= looked <= soak + (LOOK_SECONDS + 2) * (len(spells) + 1)
    assert world.rollout.phase is Phase.SUCCEEDED


def test_a_bake_and_a_time_for_objections_stand_still_without_a_controller() -> None:
    gated = "waves:\n  - {regions: [paris], bake: 5m}\n  - {regions: rest, approve: {unless_objected: 5m}}\n"
    world = releasing("{blue_green: {warm: 0s}}", "paris:2, oslo:2", gated)
    world.until(lambda each: any(because.reason.kind is Why.BAKE for because in each.because))
    unwatched(world, 3600)
    world.run(280)
    assert any(because.reason.kind is Why.BAKE for because in world.because)
    world.until(lambda each: any(because.reason.kind is Why.APPROVE_WAVE_UNLESS for because in each.because))
    unwatched(world, 3600)
    world.run(280)
    assert any(because.reason.kind is Why.APPROVE_WAVE_UNLESS for because in world.because)
    assert world.until_over() is Phase.SUCCEEDED
