"""An analysis passes by looks of that very run that find the new group no worse; all else goes back, waits or
is held for a person."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import pytest

from repave_controller.core.analysis.values import Outcome
from repave_controller.core.commands.judging import Judged
from repave_controller.core.commands.promotion import Promote
from repave_controller.core.commands.steering import Pause, Resume, Retry
from repave_controller.core.domain.analyses import Ending, Finding
from repave_controller.core.domain.application import Decision, Instant
from repave_controller.core.domain.reasons import Why
from repave_controller.core.domain.rollout import Pass, Phase, TrackPhase
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.rollout.gates import gates
from repave_controller.core.rollout.step import after_suspension
from repave_controller.core.rules.looks import DueLook, analysis_of, due
from repave_controller.core.rules.safety import check
from repave_controller.core.rules.verdicts import gate_of
from repave_controller.core.steps import Analyse
from repave_controller.stores.codec import decode_application, encode_application
from repave_controller.wording.render import remedy_of, text_of
from repave_protos.protocol.values import GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import away, back, done, serving
from tests.scenarios.world import World

PARIS, OSLO = RegionName("paris"), RegionName("oslo")
NEW = GroupName("shop-v002")
PASS, FAIL, MARGINAL, UNSURE, ERROR = (
    Outcome.PASS,
    Outcome.FAIL,
    Outcome.MARGINAL,
    Outcome.INCONCLUSIVE,
    Outcome.ERROR,
)


COME_SO_FAR: dict[str, World] = {}


def canary(options: str = "", hold: str = "hold: 50s, ") -> str:
    return f"{{canary: {{steps: [{{traffic: 50%, {hold}analyse: {{{options}}}}}]}}}}"


def analysed(
    options: str = "", extra: str = "", regions: str = "paris:4, oslo:4", hold: str = "hold: 50s, "
) -> World:
    """A release that has come to its analysis: five looks, one each ten seconds."""
    text = spec(canary(options, hold), regions, "analysis: {interval: 10s}\n" + extra)
    if text not in COME_SO_FAR:
        world = COME_SO_FAR[text] = serving("analysis", text)
        world.release("1.2")
        world.until(in_analysis)
    return deepcopy(COME_SO_FAR[text])


def in_analysis(world: World) -> bool:
    rollout = world.rollout
    return isinstance(rollout.steps[rollout.cursor], Analyse) and rollout.phase is Phase.RUNNING


def looks(world: World) -> tuple[DueLook, ...]:
    return due(world.application, Instant(world.now))


def judged(world: World, look: DueLook, outcome: Outcome, *, is_final: bool = False) -> None:
    finding = Finding(outcome, 50.0, is_final)
    assert done(world, Judged.of(look, finding)) is None


def say(world: World, outcomes: Sequence[Outcome], seconds: int = 60) -> None:
    """Each of them at its time; each region's or wave's analysis is told the same."""
    for outcome in outcomes:
        world.until(lambda each: bool(looks(each)))
        for look in looks(world):
            judged(world, look, outcome)


def test_it_goes_on_once_the_last_look_has_passed_and_not_before() -> None:
    world = analysed()
    entered = world.now
    say(world, [PASS] * 4)
    assert world.now == entered + 40
    world.run(9)
    assert in_analysis(world)
    say(world, [PASS])
    assert world.now == entered + 50
    assert world.until_over() is Phase.SUCCEEDED
    (analysis,) = world.rollout.analyses
    assert (analysis.gate, analysis.region, analysis.ending) == ("step 1.4", "", Ending.PASSED)


def test_without_a_look_nothing_passes() -> None:
    world = analysed()
    world.run(300)
    assert in_analysis(world)


@pytest.mark.parametrize("outcomes", [[FAIL], [PASS, PASS, FAIL], [UNSURE, FAIL], [ERROR, ERROR, FAIL]])
def test_a_canary_that_is_worse_goes_back_at_once(outcomes: list[Outcome]) -> None:
    world = analysed()
    say(world, outcomes)
    assert world.until_over() is Phase.ROLLED_BACK
    assert world.rollout.undo_reason is not None
    assert world.rollout.undo_reason.kind is Why.ANALYSIS_FAILED
    assert world.weights("paris")[NEW] == 0 if NEW in world.weights("paris") else True


@pytest.mark.parametrize(
    ("options", "outcomes", "ending"),
    [
        ("", [PASS, UNSURE, MARGINAL, UNSURE, PASS], Ending.PASSED),
        ("", [PASS, PASS, PASS, PASS, UNSURE], Ending.UNDECIDED),
        ("", [PASS, PASS, PASS, PASS, MARGINAL], Ending.UNDECIDED),
        ("failure_limit: 1", [PASS, FAIL, PASS, PASS, PASS], Ending.PASSED),
        ("failure_limit: 1", [PASS, PASS, PASS, PASS, FAIL], Ending.PASSED),
        ("failure_limit: 1", [UNSURE, UNSURE, UNSURE, UNSURE, FAIL], Ending.FAILED),
        ("failure_limit: 1", [FAIL, PASS, FAIL], Ending.FAILED),
        ("inconclusive_limit: 0", [PASS, UNSURE], Ending.UNDECIDED),
        ("inconclusive_limit: 1", [PASS, UNSURE, PASS, MARGINAL], Ending.UNDECIDED),
        ("inconclusive_limit: 1", [PASS, PASS, PASS, PASS, UNSURE], Ending.PASSED),
        ("inconclusive_limit: 9", [UNSURE, UNSURE, UNSURE, UNSURE, UNSURE], Ending.UNDECIDED),
        ("", [ERROR, ERROR, ERROR, ERROR, ERROR], Ending.UNJUDGED),
        ("error_limit: 0", [ERROR], Ending.UNJUDGED),
        ("", [ERROR, ERROR, ERROR, PASS, ERROR, ERROR, PASS, PASS, PASS, PASS], Ending.PASSED),
        ("error_limit: 2", [ERROR, ERROR, PASS, ERROR, ERROR, ERROR], Ending.UNJUDGED),
    ],
)
def test_limits_mean_what_they_mean_elsewhere(options: str, outcomes: list[Outcome], ending: Ending) -> None:
    world = analysed(options, regions="paris:4")
    say(world, outcomes)
    (analysis,) = world.rollout.analyses
    assert analysis.ending is ending
    assert analysis.looks == len(outcomes)


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ("", UNSURE),
        ("", MARGINAL),
        ("", ERROR),
        ("on_inconclusive: pass", ERROR),
        ("on_inconclusive: pass", MARGINAL),
    ],
)
def test_what_can_not_be_told_is_held_for_a_person(options: str, outcome: Outcome) -> None:
    world = analysed(options)
    say(world, [outcome] * 5)
    pause = world.rollout.pause
    assert pause is not None
    assert pause.is_hold
    world.run(100)
    assert in_analysis(world)
    assert world.weights("paris")[NEW] == 5000
    assert done(world, Promote(skips=True)) is None
    assert world.until_over() is Phase.SUCCEEDED


def test_a_person_may_try_the_analysis_again_and_what_was_seen_counts_no_more() -> None:
    world = analysed()
    say(world, [PASS, PASS, PASS, PASS, UNSURE])
    assert done(world, Retry()) is None
    world.until(lambda each: bool(looks(each)))
    (look,) = looks(world)
    assert (look.run, look.look, look.judged) == (2, 1, 0)
    say(world, [PASS] * 4)
    world.run(8)
    assert in_analysis(world)
    say(world, [PASS])
    assert world.until_over() is Phase.SUCCEEDED


def test_what_can_not_be_told_goes_back_or_on_where_the_spec_says_so() -> None:
    returns = analysed("on_inconclusive: rollback")
    say(returns, [PASS, PASS, PASS, PASS, UNSURE])
    assert returns.until_over() is Phase.ROLLED_BACK
    on = analysed("on_inconclusive: pass")
    say(on, [PASS, PASS, PASS, PASS, UNSURE])
    assert on.until_over() is Phase.SUCCEEDED


def test_a_clearly_good_one_ends_early_only_where_the_spec_allows_it() -> None:
    for options, is_early in (("ends_early: true", True), ("", False)):
        world = analysed(options)
        world.until(lambda each: bool(looks(each)))
        judged(world, looks(world)[0], PASS, is_final=True)
        world.run(5)
        assert in_analysis(world) is not is_early


@pytest.mark.parametrize(("hold", "looks"), [("25s", 2), ("60s", 6), ("5s", 1), ("4h", 1000)])
def test_a_stage_is_watched_for_as_long_as_it_holds(hold: str, looks: int) -> None:
    """Also where that is no whole number of intervals, or more of them than there may be looks."""
    world = analysed(hold=f"hold: {hold}, ")
    plan = next(step.plan for step in world.rollout.steps if isinstance(step, Analyse))
    assert plan.count == looks
    assert plan.seconds == pytest.approx({"25s": 25, "60s": 60, "5s": 5, "4h": 14_400}[hold])


# ------------------------------------------------------------------------------------------ which look counts


def test_a_look_counts_once_and_only_at_its_time() -> None:
    world = analysed()
    world.until(lambda each: bool(looks(each)))
    (first,) = looks(world)
    stale = [
        replace(first, look=2),
        replace(first, look=0),
        replace(first, run=2),
        replace(first, rollout=1),
        replace(first, gate="step 1.3"),
        replace(first, region=PARIS),
    ]
    for other in stale:
        judged(world, other, FAIL)
    assert world.rollout.analyses[0].looks == 0
    judged(world, first, PASS)
    judged(world, first, FAIL)
    judged(world, replace(first, look=2), FAIL)  # not due yet
    assert (world.rollout.analyses[0].looks, world.rollout.analyses[0].failed) == (1, 0)


def test_what_comes_after_the_analysis_is_over_changes_nothing() -> None:
    world = analysed()
    world.until(lambda each: bool(looks(each)))
    (first,) = looks(world)
    judged(world, first, FAIL)
    assert world.until_over() is Phase.ROLLED_BACK
    before = world.application
    judged(world, first, PASS)
    assert world.application == before


# ------------------------------------------------------------------------------------- time, silence, health


def test_a_pause_is_no_time_and_no_look_is_made_in_it() -> None:
    world = analysed()
    say(world, [PASS])
    assert done(world, Pause()) is None
    world.run(60)
    assert looks(world) == ()
    assert done(world, Resume()) is None
    resumed = world.now
    say(world, [PASS])
    assert 8 <= world.now - resumed <= 10


def test_the_time_without_a_controller_is_no_time() -> None:
    world = analysed()
    say(world, [PASS])
    world.run(5)
    later = Instant(world.now + 3600)
    resumed = after_suspension(world.application, later)
    assert due(resumed, later) == ()
    assert due(resumed, Instant(later + 6 + 10))  # to within a look's time


def test_a_source_that_never_answers_is_waited_for_and_then_held() -> None:
    world = analysed("source_deadline: 1m")
    entered = world.now
    say(world, [PASS])
    world.until(lambda each: each.rollout.pause is not None)
    assert world.now == entered + 10 + 10 + 60
    pause = world.rollout.pause
    assert pause is not None
    assert pause.reason is not None
    assert pause.reason.kind is Why.ANALYSIS_SILENT
    assert text_of(pause.reason) == "shop-v002 could not be judged for 60 s"


def test_illness_fails_it_at_once() -> None:
    world = analysed()
    say(world, [PASS])
    world.regions[PARIS].sick.add(NEW)
    assert world.until_over() is Phase.ROLLED_BACK


def test_a_silent_region_keeps_no_bad_canary_from_being_found() -> None:
    world = analysed()
    away(world, OSLO)
    world.run(5)
    world.until(lambda each: bool(looks(each)))
    (look,) = looks(world)
    assert [each.region for each in look.regions] == [PARIS]
    judged(world, look, FAIL)
    assert world.rollout.undo_reason is not None


def test_a_silent_region_has_to_be_seen_as_long_as_the_others() -> None:
    world = analysed()
    away(world, OSLO)
    say(world, [PASS] * 5)
    world.run(5)
    assert in_analysis(world)
    back(world, OSLO)
    world.run(30)
    assert in_analysis(world)
    assert world.until_over() is Phase.SUCCEEDED


# ---------------------------------------------------------------------------------------- where, and whose


def test_regions_that_do_not_go_together_are_judged_alone() -> None:
    world = analysed(extra="waves:\n  - {regions: [oslo, paris], lockstep: false}\n")
    world.until(lambda each: len(looks(each)) == 2)
    by_region = {look.region: look for look in looks(world)}
    assert set(by_region) == {PARIS, OSLO}
    judged(world, by_region[PARIS], PASS)
    assert {each.region: each.looks for each in world.rollout.analyses} == {PARIS: 1, OSLO: 0}


def test_in_lockstep_each_region_alone_if_the_spec_says_so() -> None:
    world = analysed("by: region", extra="rollback: {scope: region}\n")
    world.until(lambda each: len(looks(each)) == 2)
    for look in looks(world):
        judged(world, look, FAIL if look.region == OSLO else PASS)
    world.run(20)
    assert world.weights("oslo").get(NEW, 0) == 0
    assert world.weights("paris")[NEW] == 5000


def test_where_the_old_group_has_no_traffic_any_more_its_time_before_the_flip_counts() -> None:
    text = "{blue_green: {warm: 50s, analyse: {interval: 10s}}}"
    world = serving("flip", spec(text, "paris:4"))
    world.release("1.2")
    world.until(in_analysis)
    flipped = Instant(world.now)
    world.until(lambda each: bool(looks(each)))
    (look,) = looks(world)
    (region,) = look.regions
    assert (region.target, region.origin) == (NEW, "shop-v001")
    assert region.baseline_until == flipped < look.until
    say(world, [UNSURE] * 5)
    assert done(world, Retry()) is None
    world.until(lambda each: bool(looks(each)))
    assert looks(world)[0].regions[0].baseline_until == flipped


def test_a_first_release_has_nothing_to_be_compared_with_and_is_watched_as_long() -> None:
    world = World(spec("{blue_green: {warm: 50s, analyse: true}}", "paris:4"), "first")
    world.release("1.1")
    assert [each.kind for each in world.rollout.steps] == ["scale", "verify", "weight", "soak"]
    assert world.until_over() is Phase.SUCCEEDED


# --------------------------------------------------------------------------------------- what people read


def test_why_says_which_look_it_waits_for_and_what_they_said() -> None:
    world = analysed()
    say(world, [PASS, UNSURE])
    world.run(1)
    (because, _) = [each for each in world.because if each.reason.kind is Why.ANALYSIS]
    assert text_of(because.reason) == (
        "analyse: shop-v002 is compared with the old group, look 3 of 5; so far 1 passed, 1 inconclusive"
    )
    assert remedy_of(because.reason) == (
        "repave analysis show shop shows it; repave promote shop --skip ends it"
    )
    (gate,) = gates(world.application, Instant(world.now))
    assert (gate.name, gate.kind, gate.regions) == ("step 1.4", "analysis", (PARIS, OSLO))


def test_a_person_may_skip_it_while_it_runs() -> None:
    world = analysed()
    say(world, [PASS])
    assert done(world, Promote(skips=True)) is None
    assert world.until_over() is Phase.SUCCEEDED


def test_it_is_stored_and_what_was_stored_before_opens() -> None:
    world = analysed()
    say(world, [PASS, UNSURE])
    text = encode_application(world.application)
    assert decode_application(text) == world.application
    older = text.replace(text[text.index('"analyses":') : text.index('"ended_at"')], "")
    opened = decode_application(older)
    assert opened.rollout is not None
    assert opened.rollout.analyses == ()


@pytest.mark.parametrize(
    ("options", "said", "is_broken"),
    [
        ("", [], True),
        ("", [UNSURE], True),
        ("", [PASS, ERROR], True),
        ("", [PASS, FAIL], True),
        ("failure_limit: 1", [PASS, FAIL], False),
        ("", [PASS, UNSURE, PASS], False),
        ("on_inconclusive: pass", [UNSURE], False),
        ("on_inconclusive: pass", [MARGINAL], True),
        ("on_inconclusive: pass", [ERROR], True),
    ],
)
def test_no_decision_past_it_is_saved_that_its_looks_do_not_bear_out(
    options: str, said: list[Outcome], is_broken: bool
) -> None:
    world = analysed(options, regions="paris:4")
    before, rollout = world.application, world.rollout
    (track,) = rollout.tracks
    plan, analysis = rollout.step(track).analysis, analysis_of(rollout, track)
    assert plan is not None
    for outcome in said:
        analysis = analysis.with_finding(plan, Finding(outcome), 10.0)
    past = replace(track, phase=TrackPhase.DONE)
    after = replace(before, rollout=rollout.with_analysis(analysis).with_track(past))
    broken = check(before, Decision(after, (), (), None, ()), world.observed)
    assert [each.promise for each in broken if each.promise == 11] == [11] * is_broken
    by_a_person = replace(rollout, passes=Listed((Pass(gate_of(track), "skipped", Instant(1)),))).with_track(
        past
    )
    skipped = Decision(replace(before, rollout=by_a_person), (), (), None, ())
    assert 11 not in [each.promise for each in check(before, skipped, world.observed)]
