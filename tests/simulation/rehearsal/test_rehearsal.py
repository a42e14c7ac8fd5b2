"""Rehearsals of users' specs: what they measure, what they find, and that following their advice helps."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest

from repave_controller.spec.loader import load
from repave_controller.spec.strategy import Strategy
from repave_protos.protocol.values import RegionName
from repave_simulation.rehearsal.advice import settings_for
from repave_simulation.rehearsal.rehearsal import Rehearsal, rehearse_release
from repave_simulation.rehearsal.sampling import Sample, within
from repave_simulation.rehearsal.trials import Trial, rehearse
from repave_simulation.scenarios.faults import NAMES, NO_FAULTS, Fault, chosen
from repave_simulation.scenarios.scenario import STRIKES
from repave_simulation.scenarios.staging import Stage, order_of, patience_of

SPEC = """\
repave: 1
app: hello
artifact: {uri: .}
host: {image: local, run: ./serve}
health: {http: {port: 8080, path: /}, min_healthy_time: 2s, launch_deadline: 1m}
traffic: {port: 8000, drain: 2s}
regions:
  - {name: paris, size: 2}
  - {name: oslo, size: 3}
strategy: {blue_green: {warm: 30s}}
"""
ONE_REGION = SPEC.replace("  - {name: oslo, size: 3}\n", "")
"""Half of the work of a rehearsal."""


def stage(text: str = SPEC, **changes: float) -> Stage:
    spec, _ = load(text, "repave.yaml")
    sizes = tuple((RegionName(region.name), region.hosts) for region in spec.regions)
    made = Stage(spec, sizes, sizes, boot_seconds=5.0, ill_after_seconds=20.0, outage_seconds=20.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def rehearsed(on: Stage, faults: Sequence[str] = (), seeds: int = 0) -> Rehearsal:
    return rehearse_release(on, faults, seeds, lambda *_: None)


@cache
def plain() -> Rehearsal:
    return rehearsed(stage())


def test_the_calm_run_has_the_steps_of_the_spec_and_their_lengths() -> None:
    rehearsal = plain()
    steps = {span.step: span.ends - span.begins for span in rehearsal.calm.steps}
    assert (rehearsal.calm.ended, list(steps)) == ("succeeded", ["scale", "verify", "weight", "soak"])
    assert 29.0 < steps["soak"] < 32.0
    assert rehearsal.is_fine
    assert rehearsal.is_whole_code


def test_capacity_never_falls_when_nothing_goes_wrong_and_doubles_at_the_peak() -> None:
    for region in plain().calm.regions:
        assert region.lowest == region.size
        assert region.peak_hosts_percent == 200.0
        assert region.below_floor_seconds == 0.0


def test_it_is_rehearsed_at_a_time_when_the_release_may_move() -> None:
    never = "windows:\n  - {from: '03:00', to: '03:01'}\nfreezes:\n  - {from: 2020-01-01, to: 2099-01-01}\n"
    plan = order_of(stage(SPEC + never))
    assert (plan.policy.windows, plan.policy.freezes) == ((), ())
    assert plan == order_of(stage())


def test_secrets_and_machines_of_a_choice_make_no_other_rehearsal() -> None:
    secret = "secrets: {URL: {vault: 'kv/shop#url'}}"
    host = f"host: {{size: [xl, l], spot: true, {secret}, run: ./serve}}"
    on = stage(SPEC.replace("host: {image: local, run: ./serve}", host))
    assert order_of(on) == order_of(stage())


def test_both_tiers_measure_the_same_release() -> None:
    on = stage()
    seconds = patience_of(order_of(on)) + 60.0
    cores, whole = (rehearse(on, Trial(seconds, tier=tier)) for tier in (1, 2))
    assert [span.step for span in cores.steps] == [span.step for span in whole.steps]
    assert abs(cores.seconds - whole.seconds) < 5.0


def test_going_back_is_measured_at_each_step_and_after() -> None:
    backs = plain().backs
    assert [each.step for each in backs] == ["scale", "verify", "weight", "soak", "after"]
    for each in backs:
        assert each.rollback.traffic_seconds is not None
        assert each.rollback.traffic_seconds < 2.0
        assert each.rollback.settled_seconds is not None


def test_a_deadline_shorter_than_a_boot_gets_advice_and_following_it_helps() -> None:
    short = ONE_REGION.replace("launch_deadline: 1m", "launch_deadline: 10s")
    rehearsal = rehearsed(stage(short, boot_seconds=30.0), ["host-dies"])
    assert not rehearsal.is_fine
    assert rehearsal.calm.ended == "rolled-back"
    assert rehearsal.broken == ()
    (advice,) = rehearsal.advice
    assert (advice.field, advice.now) == ("health.launch_deadline", "10s")
    followed = short.replace("launch_deadline: 10s", f"launch_deadline: {advice.value}")
    assert rehearsed(stage(followed, boot_seconds=30.0)).is_fine


def test_an_image_that_falls_ill_in_the_soak_goes_back() -> None:
    (struck,) = rehearsed(stage(ONE_REGION), ["image-falls-ill"]).struck
    assert (struck.verdict, struck.ended) == ("went-back", "rolled-back")


def test_an_image_that_falls_ill_after_the_soak_is_not_seen_and_a_longer_soak_sees_it() -> None:
    rehearsal = rehearsed(stage(ONE_REGION, ill_after_seconds=100.0), ["image-falls-ill"])
    (struck,) = rehearsal.struck
    assert (struck.verdict, struck.lowest_percent, rehearsal.is_fine) == ("not-seen", 0.0, False)
    (advice,) = rehearsal.advice
    assert (advice.field, advice.now, advice.value) == ("strategy.blue_green.warm", "30s", "2m")
    followed = stage(ONE_REGION.replace("warm: 30s", f"warm: {advice.value}"), ill_after_seconds=100.0)
    assert rehearsed(followed, ["image-falls-ill"]).is_fine


def test_a_host_lost_in_the_soak_is_survived_with_a_lower_share_and_that_is_advised() -> None:
    rehearsal = rehearsed(stage(ONE_REGION), ["host-dies"])
    verdicts = {(each.step, each.group): each.verdict for each in rehearsal.struck}
    assert verdicts["soak", "new"] == "went-back"
    assert verdicts["soak", "old"] == "came-through"
    advice = {each.field: each for each in rehearsal.advice}
    assert "host-dies (new) at soak" in advice["health.ready_percent"].helps


def test_what_is_not_kept_is_built_again_which_takes_as_long_as_a_launch() -> None:
    kept = plain().backs[-1].rollback
    built = rehearsed(stage(ONE_REGION + "rollback: {keep: {for: 0s}}\n")).backs[-1].rollback
    assert not built.is_refused
    assert (kept.traffic_seconds or 0) < 2 < (built.traffic_seconds or 0)


def test_a_first_release_has_no_way_back_and_no_capacity_to_lose() -> None:
    rehearsal = rehearsed(stage(old_sizes=()), ["region-cut"])  # type: ignore[arg-type]
    assert rehearsal.backs == ()
    assert rehearsal.calm.ended == "succeeded"
    assert rehearsal.broken == ()


def test_every_strike_of_the_simulation_can_be_rehearsed_and_is_told_in_words() -> None:
    assert set(STRIKES) - set(NO_FAULTS) <= set(NAMES)
    assert all(" " in Fault(name).text for name in NAMES)


def test_two_rehearsals_are_the_same() -> None:
    first, second = (rehearsed(stage(ONE_REGION), ["region-cut"], seeds=2) for _ in range(2))
    assert first == second
    assert first.swarms.seeds == 2


def test_an_unknown_fault_names_those_there_are() -> None:
    assert chosen("none") == ()
    assert chosen("host-dies, region-cut") == ("host-dies", "region-cut")
    with pytest.raises(ValueError, match=r"no fault is called host-dys; there are: all, none, .*host-dies"):
        chosen("host-dys")


def test_samples_are_cut_to_the_time_that_is_looked_at() -> None:
    region = RegionName("paris")
    samples = [
        Sample(at, region, answering, 0, 0, 0, 0, 0, 0) for at, answering in ((0.0, 1), (5.0, 2), (9.0, 3))
    ]
    assert [(each.answering, seconds) for each, seconds in within(samples, 4.0, 8.0)] == [(1, 1.0), (2, 3.0)]
    assert within([], 0.0, 1.0) == []


STRATEGIES = {
    "{blue_green: {warm: 5s, approve: sre}}": "strategy.blue_green.warm",
    "{red_black: {warm: 5s}}": "strategy.red_black.warm",
    "{highlander: {warm: 5s}}": "strategy.highlander.warm",
    "{canary: {steps: [{traffic: 5%}, {traffic: 50%, hold: 5s}]}}": "strategy.canary.steps.1.hold",
    "{rolling: {steps: [{traffic: 50%, hold: 5s}]}}": "strategy.rolling.steps.0.hold",
    "{rolling: {first: old, steps: [{traffic: 50%}]}}": "strategy.rolling.steps.0.hold",
    "{phased: {steps: [{traffic: 50%, hold: 5s}]}}": "strategy.phased.steps.0.hold",
    "{steps: [{scale: 1}, {verify: {}}, {soak: 5s}, {scale: 2}, {verify: {}}, {weight: 100%}]}": (
        "strategy.steps.2.soak"
    ),
    "{steps: [{scale: 100%}, {verify: {}}, {weight: 100%}, {keep: 5s}]}": "",
}


@pytest.mark.parametrize(("strategy", "watch"), STRATEGIES.items())
def test_every_strategy_is_rehearsed_and_has_settings_to_try(strategy: str, watch: str) -> None:
    text = ONE_REGION.replace("{blue_green: {warm: 30s}}", strategy)
    on = stage(text + "guards: {min_capacity: 50%}\n")
    calm = rehearse(on, Trial(patience_of(order_of(on)) + 60.0))
    assert (calm.ended, calm.broken) == ("succeeded", "")
    ill = Trial(1.0, "image-falls-ill")
    assert [each.field for each in settings_for(on.spec, ill, calm)] == ([watch] if watch else [])
    dies = settings_for(on.spec, Trial(1.0, "host-dies"), calm)
    backs = settings_for(on.spec, Trial(1.0, rollback_at=1.0), calm)
    for setting in (*dies, *backs, *settings_for(on.spec, Trial(1.0), calm)):
        for value in setting.values(on.spec):
            assert setting.of(setting.put(on.spec, value)) == value


def test_a_longer_last_stage_of_a_canary_is_advised_and_going_back_is_measured_at_each_step() -> None:
    strategy = "{canary: {steps: [{traffic: 50%, hold: 5s}]}}"
    text = ONE_REGION.replace("{blue_green: {warm: 30s}}", strategy)
    rehearsal = rehearsed(stage(text, ill_after_seconds=30.0), ["image-falls-ill"])
    assert [each.rollback.is_refused for each in rehearsal.backs] == [False] * len(rehearsal.backs)
    (advice,) = rehearsal.advice
    assert (advice.field, advice.now) == ("strategy.canary.steps.0.hold", "5s")


def test_every_strategy_of_the_spec_is_rehearsed() -> None:
    known = {strategy.strip("{").partition(":")[0] for strategy in STRATEGIES}
    assert known == set(Strategy.model_fields)
