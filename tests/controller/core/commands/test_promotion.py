"""An approval or a skip ends the wait that was shown, in the regions that were shown; more only with `--all`.
A hold is gone past, or the refusal says what works."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repave_controller.core.commands.promotion import Object, Override, Promote
from repave_controller.core.commands.steering import Abort, Pause, Resume, Retry
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Instant, Tenure
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.domain.rollout import Phase, TrackPhase
from repave_controller.core.rollout.gates import Gate, gates
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.guards import OVERRIDABLE
from repave_controller.core.steps import Approve
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import done, serving
from tests.scenarios.world import World

LIMA, OSLO, PARIS = (RegionName(name) for name in ("lima", "oslo", "paris"))
ONE_BY_ONE = "waves:\n  - {regions: [paris, oslo, lima], parallel: 1}\n"
THREE = "paris:2, oslo:2, lima:2"
SOAKS = "{blue_green: {warm: 3m}}"
ASKS = "{blue_green: {approve: ops, warm: 0s}}"
NEW = GroupName("shop-v002")


def released(strategy: str, extra: str = ONE_BY_ONE, regions: str = THREE) -> World:
    world = serving("gates", spec(strategy, regions, extra))
    world.release("1.2")
    return world


def waiting(world: World) -> tuple[Gate, ...]:
    return gates(world.application, Instant(world.now))


def in_gate(world: World, *regions: str) -> bool:
    return tuple(region for gate in waiting(world) for region in gate.regions) == regions


# ----------------------------------------------------------------------------------- where it was shown


@pytest.mark.parametrize("strategy", [SOAKS, ASKS])
def test_a_pass_counts_in_the_region_that_waits_and_the_next_one_waits_again(strategy: str) -> None:
    world = released(strategy)
    for region in ("paris", "oslo", "lima"):
        world.until(lambda each, region=region: in_gate(each, region))  # type: ignore[misc]
        assert done(world, Promote("ops", skips=True)) is None
        assert not in_gate(world, region)
    assert world.until_over() is Phase.SUCCEEDED
    assert [each.regions for each in world.rollout.passes] == [(PARIS,), (OSLO,), (LIMA,)]


@pytest.mark.parametrize("strategy", [SOAKS, ASKS])
def test_with_all_the_regions_to_come_pass_as_well(strategy: str) -> None:
    world = released(strategy)
    world.until(lambda each: in_gate(each, "paris"))
    assert done(world, Promote("ops", skips=True, is_everywhere=True)) is None
    began = world.now
    assert world.until_over() is Phase.SUCCEEDED
    assert world.now - began < 180
    assert len(world.rollout.passes) == 1


def test_regions_that_wait_together_pass_together_or_one_alone() -> None:
    world = released(SOAKS, extra="waves:\n  - {regions: rest, lockstep: false}\n")
    world.until(lambda each: len(waiting(each)[:1] and waiting(each)[0].regions) == 3)
    assert done(world, Promote(skips=True, regions=(OSLO,))) is None
    assert in_gate(world, "lima", "paris") or in_gate(world, "paris", "lima")
    assert done(world, Promote(skips=True)) is None
    assert waiting(world) == ()
    assert world.until_over() is Phase.SUCCEEDED


def test_a_wait_that_is_over_when_the_command_arrives_is_not_taken_for_the_next_one() -> None:
    steps = "[{traffic: 10%, hold: 5m}, {traffic: 50%, hold: 5m}]"
    world = released(f"{{canary: {{steps: {steps}}}}}", "", "paris:4")
    world.until(lambda each: in_gate(each, "paris"))
    (seen,) = waiting(world)
    stale = Promote(skips=True, gates=(seen.name,), regions=seen.regions)
    world.run(400)
    (now,) = waiting(world)
    assert now.name != seen.name
    refused = done(world, stale)
    assert refused is not None
    assert (refused.kind, text_of(refused.reason)) == (
        Refusal.GATE_LEFT,
        f"the rollout of shop does not wait at {seen.name} now; it waits at: {now.name} in paris",
    )
    assert waiting(world) == (now,)
    assert done(world, Promote(skips=True, gates=(now.name,), regions=now.regions)) is None


def test_a_region_that_left_the_wait_in_between_is_told() -> None:
    world = released(SOAKS)
    world.until(lambda each: in_gate(each, "paris"))
    (seen,) = waiting(world)
    done(world, Promote(skips=True))
    world.until(lambda each: in_gate(each, "oslo"))
    refused = done(world, Promote(skips=True, gates=(seen.name,), regions=seen.regions))
    assert refused is not None
    assert f"does not wait at {seen.name} in paris now" in text_of(refused.reason)
    assert in_gate(world, "oslo")


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        (Promote(skips=True, gates=("step 9.9",)), Refusal.UNKNOWN_GATE),
        (Promote(skips=True, gates=("step 1.1",)), Refusal.UNKNOWN_GATE),
        (Promote(skips=True, regions=(RegionName("rome"),)), Refusal.UNKNOWN_REGION_OF_ROLLOUT),
        (Promote(skips=True, regions=(OSLO,)), Refusal.NO_GATE),
        (Promote(gates=("step 1.4",)), Refusal.NO_GATE_BUT_TIME),
        (Abort(RegionName("rome")), Refusal.UNKNOWN_REGION_OF_ROLLOUT),
        (Override("nonsense"), Refusal.UNKNOWN_GUARD),
        (Override("traffic"), Refusal.UNKNOWN_GUARD),
    ],
)
def test_what_is_not_there_is_refused_by_its_name(verb: Verb, kind: Refusal) -> None:
    world = released(SOAKS)
    world.until(lambda each: in_gate(each, "paris"))
    refused = done(world, verb)
    assert refused is not None
    assert refused.kind is kind
    assert text_of(refused.reason)


def test_all_that_is_to_come_is_let_through_once() -> None:
    world = released(ASKS)
    world.until(lambda each: in_gate(each, "paris"))
    assert done(world, Promote("ops", is_full=True)) is None
    refused = done(world, Promote("ops", is_full=True))
    assert refused is not None
    assert refused.kind is Refusal.ALL_PASSED
    assert world.until_over() is Phase.SUCCEEDED


# ------------------------------------------------------------------------------------------------- holds


def held(strategy: str, trouble: str) -> World:
    """In oslo one of four hosts is ill, or all of them are gone for good."""
    world = released(strategy, "rollback: {on: []}\n", "paris:4, oslo:4")
    world.until(lambda each: in_gate(each, "paris", "oslo"))
    if trouble == "ill":
        world.regions[OSLO].ill[NEW] = 1
    else:
        world.regions[OSLO].broken.add(NEW)
    world.until(lambda each: each.rollout.pause is not None)
    return world


def test_a_soak_in_which_a_region_fell_ill_is_gone_past() -> None:
    world = held("{canary: {steps: [{traffic: 50%, hold: 5m}]}}", "ill")
    refused = done(world, Resume())
    assert refused is not None
    assert "repave promote shop --skip goes past it" in text_of(refused.reason)
    assert done(world, Promote(skips=True)) is None
    track = world.rollout.track(OSLO)
    assert track is not None
    assert world.rollout.pause is None
    assert [(each.gate, each.regions, each.is_despite_failure) for each in world.rollout.passes] == [
        ("step 1.4", (OSLO,), True)
    ]
    world.regions[OSLO].ill.clear()
    assert world.until_over() is Phase.SUCCEEDED


def test_hosts_that_do_not_run_can_not_be_gone_past_and_the_refusal_says_what_works() -> None:
    world = held(SOAKS, "broken")
    refused = done(world, Promote(skips=True))
    assert refused is not None
    assert text_of(refused.reason) == (
        "repave holds it itself: oslo: exited with code 1; repave retry shop tries again, repave rollback "
        "shop goes back"
    )
    world.regions[OSLO].broken.clear()
    assert done(world, Retry()) is None
    assert world.rollout.pause is None


def test_an_approval_that_comes_too_late_still_counts() -> None:
    world = released(ASKS, "rollback: {on: []}\n", "paris:2")
    steps = (
        replace(each, expires_seconds=60.0) if isinstance(each, Approve) else each
        for each in world.rollout.steps
    )
    world.application = replace(world.application, rollout=replace(world.rollout, steps=tuple(steps)))
    world.until(lambda each: each.rollout.pause is not None)
    refused = done(world, Promote())
    assert refused is not None
    assert refused.kind is Refusal.ROLE_MISSING
    assert done(world, Promote("ops")) is None
    assert world.until_over() is Phase.SUCCEEDED


def test_a_region_that_is_taken_out_ends_the_hold_it_was_the_cause_of() -> None:
    world = held(SOAKS, "ill")
    assert done(world, Abort(OSLO)) is None
    assert world.rollout.pause is None
    assert world.until_over() is Phase.SUCCEEDED
    assert world.weights("oslo") == {"shop-v001": 10_000}


def test_a_region_that_is_taken_out_in_a_pause_goes_back_at_once() -> None:
    world = released(SOAKS, "", "paris:2, oslo:2")
    world.until(lambda each: in_gate(each, "paris", "oslo"))
    assert done(world, Pause()) is None
    assert done(world, Abort(OSLO)) is None
    world.run(30)
    track = world.rollout.track(OSLO)
    assert track is not None
    assert track.phase is TrackPhase.UNDONE
    assert world.rollout.pause is not None


def test_a_pause_of_what_is_paused_is_refused_with_the_one_who_did_it() -> None:
    world = released(SOAKS)
    assert done(world, Pause()) is None
    refused = done(world, Pause())
    assert refused is not None
    assert text_of(refused.reason) == "it is paused already, by ann: so; repave resume shop lets it go on"


def test_a_guard_with_a_wrong_name_is_answered_with_those_that_stand() -> None:
    world = released(SOAKS)
    refused = done(world, Override("nonsense").among(["window", "window"]))
    assert refused is not None
    assert text_of(refused.reason) == (
        "no guard is called 'nonsense'; those that stand now: window; there are: "
        + ", ".join(sorted(OVERRIDABLE))
    )


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_time_after_a_wave_is_no_gate_while_an_earlier_region_goes_back(is_stopped: bool) -> None:
    baked = "waves:\n  - {regions: [paris]}\n  - {regions: rest, bake: 10m}\n"
    world = released("{blue_green: {warm: 0s}}", baked, "paris:2, oslo:2")
    world.until(lambda each: [gate.name for gate in waiting(each)] == ["bake 2"])
    track = world.rollout.track(PARIS)
    assert track is not None
    back = track.entered(TrackPhase.UNDOING, Instant(world.now))
    rollout = replace(world.rollout, tracks=world.rollout.tracks.put(back), is_stopped=is_stopped)
    assert gates(replace(world.application, rollout=rollout), Instant(world.now)) == ()


# ------------------------------------------------------------------------------------ unless a person objects


def open_in_a_step(expires: str = "0s") -> World:
    gate = f"{{role: ops, unless_objected: 5m, expires: {expires}}}"
    world = released(f"{{blue_green: {{approve: {gate}, warm: 0s}}}}", "", "paris:2, oslo:2")
    world.until(lambda each: [gate.kind for gate in waiting(each)] == ["objection"])
    return world


def open_before_a_wave(expires: str = "0s") -> World:
    gate = f"{{unless_objected: 5m, expires: {expires}}}"
    gated = f"waves:\n  - {{regions: [paris], bake: 1m}}\n  - {{regions: rest, approve: {gate}}}\n"
    world = released("{blue_green: {warm: 0s}}", gated, "paris:2, oslo:2")
    world.until(lambda each: [gate.kind for gate in waiting(each)] == ["objection"])
    return world


OPEN = [open_in_a_step, open_before_a_wave]


@pytest.mark.parametrize("made", OPEN)
def test_it_goes_on_by_itself_when_no_person_objects_in_time(made: Callable[[], World]) -> None:
    world = made()
    world.run(298)
    assert len(waiting(world)) == 1
    world.run(4)
    assert waiting(world) == ()
    assert world.until_over() is Phase.SUCCEEDED
    assert world.rollout.passes == ()


@pytest.mark.parametrize("made", OPEN)
def test_an_objection_makes_it_wait_for_approval(made: Callable[[], World]) -> None:
    world = made()
    world.run(100)
    assert done(world, Object()) is None
    world.run(1000)
    assert [gate.kind for gate in waiting(world)] == ["approval"]
    decision = step(world.application, world.observed, Instant(world.now), Tenure(1, 1))
    assert "approve: ann objects: so; a person" in text_of(decision.because[0].reason)
    refused = done(world, Object())
    assert refused is not None
    assert text_of(refused.reason) == (
        "nothing of shop waits for objections now; repave pause shop stops it where it is"
    )
    assert done(world, Promote("ops")) is None
    assert world.until_over() is Phase.SUCCEEDED


@pytest.mark.parametrize("made", OPEN)
def test_a_pause_holds_it_as_well_and_its_time_does_not_count(made: Callable[[], World]) -> None:
    world = made()
    world.run(200)
    assert done(world, Pause()) is None
    world.run(1000)
    assert done(world, Resume()) is None
    world.run(90)
    assert len(waiting(world)) == 1
    world.run(20)
    assert waiting(world) == ()


@pytest.mark.parametrize("made", OPEN)
def test_it_may_be_approved_at_once(made: Callable[[], World]) -> None:
    world = made()
    assert done(world, Promote("ops")) is None
    assert waiting(world) == ()
    assert world.until_over() is Phase.SUCCEEDED


def test_the_time_for_objections_to_a_wave_is_given_once_however_many_regions_it_has() -> None:
    gated = "waves:\n  - {regions: rest, parallel: 1, approve: {unless_objected: 5m}}\n"
    world = released("{blue_green: {warm: 0s}}", gated, "paris:2, oslo:2")
    world.until(lambda each: waiting(each) == ())
    assert world.until_over() is Phase.SUCCEEDED
    assert world.now - world.rollout.started_at < 2 * 300


# -------------------------------------------------------------------------------- not approved in time


def before_a_wave(rules: str = "", approve: str = "{role: ops, expires: 5m}") -> World:
    gated = f"waves:\n  - {{regions: [paris]}}\n  - {{regions: rest, approve: {approve}}}\n"
    world = released("{blue_green: {warm: 0s}}", gated + rules, "paris:2, oslo:2")
    world.until(lambda each: bool(waiting(each)))
    return world


@pytest.mark.parametrize(
    ("rules", "phase", "served"),
    [
        ("", Phase.ROLLED_BACK, {"paris": "shop-v001", "oslo": "shop-v001"}),
        ("rollback: {scope: wave}\n", Phase.HELD, {"paris": "shop-v002", "oslo": "shop-v001"}),
        ("rollback: {scope: region, failures: 1}\n", Phase.HELD, {"paris": "shop-v002", "oslo": "shop-v001"}),
    ],
)
def test_a_wave_that_is_not_approved_in_time_fails_the_release(
    rules: str, phase: Phase, served: dict[str, str]
) -> None:
    world = before_a_wave(rules)
    world.run(297)
    assert [gate.name for gate in waiting(world)] == ["wave 2"]
    assert world.until_over() is phase
    assert "no approval of wave 2 within 300 s" in text_of(world.rollout.undo_reason)
    found = {region: world.application.serving_in(region) for region in (PARIS, OSLO)}
    assert {region: group.name for region, group in found.items() if group is not None} == served


def test_where_deadlines_do_not_send_it_back_it_is_held_and_a_retry_waits_anew() -> None:
    world = before_a_wave("rollback: {on: [health]}\n")
    world.run(310)
    assert world.rollout.pause is not None
    assert done(world, Retry()) is None
    world.run(200)
    assert done(world, Promote("ops")) is None
    assert world.until_over() is Phase.SUCCEEDED


@pytest.mark.parametrize("made", [open_in_a_step, open_before_a_wave])
def test_after_an_objection_the_time_to_approve_counts_from_there(made: Callable[[str], World]) -> None:
    world = made("10m")
    world.run(200)
    assert done(world, Object()) is None
    world.run(100)
    assert done(world, Pause()) is None
    world.run(1000)
    assert done(world, Resume()) is None
    world.run(490)
    assert [gate.kind for gate in waiting(world)] == ["approval"]
    world.run(20)
    assert waiting(world) == ()
    assert world.until_over() is Phase.ROLLED_BACK


# ----------------------------------------------------------------------------------------- four eyes


ASKS_ONE = "{blue_green: {approve: {role: ops, distinct: false}, warm: 0s}}"
ASKS_IN_A_WAVE = "waves:\n  - {regions: rest, approve: {role: ops, distinct: %s}}\n"
GATES: dict[str, tuple[str, str, bool]] = {
    "a step": (ASKS, "", True),
    "a step that one may do": (ASKS_ONE, "", False),
    "an own step": ("{steps: [{scale: 100%}, {verify: {}}, {approve: ops}, {weight: 100%}]}", "", True),
    "a stage": ("{canary: {steps: [{traffic: 50%, approve: ops}]}}", "", True),
    "a phase": ("{phased: {steps: [{traffic: 50%, approve: ops}]}}", "", True),
    "a share of hosts": ("{rolling: {steps: [{traffic: 50%, approve: ops}, {traffic: 100%}]}}", "", True),
    "an objection": ("{blue_green: {approve: {role: ops, unless_objected: 1h}, warm: 0s}}", "", True),
    "a wave": (SOAKS, ASKS_IN_A_WAVE % "true", True),
    "a wave that one may do": (SOAKS, ASKS_IN_A_WAVE % "false", False),
}


@pytest.mark.parametrize(("strategy", "extra", "takes_two"), GATES.values(), ids=GATES)
def test_who_released_does_not_approve_too_unless_the_spec_says_so(
    strategy: str, extra: str, takes_two: bool
) -> None:
    world = released(strategy, extra, "paris:4")
    world.until(lambda each: bool([gate for gate in waiting(each) if gate.kind != "time"]))
    assert [gate.takes_two for gate in waiting(world)] == [takes_two]
    own = replace(world.application, rollout=replace(world.rollout, started_by="ann"))
    others = replace(world.application, rollout=replace(world.rollout, started_by="ben"))
    for verb in (Promote("ops"), Promote("ops", skips=True), Promote("ops", is_full=True)):
        for application, is_refused in ((own, takes_two), (others, False)):
            world.application = application
            recognised = replace(verb, is_recognised=True)
            refused = refused_by(world, recognised)
            assert (refused is not None and refused.kind is Refusal.OWN_RELEASE) is is_refused, verb
            assert refused_by(world, verb) is None, "where no one has an account, names prove nothing"


def refused_by(world: World, verb: Verb) -> Refused | None:
    """The world stays as it is."""
    try:
        verb.apply(world.application, world.observed, "ann", "so", Instant(world.now))
    except Refused as refused:
        return refused
    return None
