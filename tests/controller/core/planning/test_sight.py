"""The plan warns where an analysis can't see what is bad in its time, at the traffic that is expected."""

from functools import cache

import pytest

from repave_controller.core.planning.plan import plan_release
from repave_controller.spec.loader import load
from repave_controller.spec.spec import compile_order
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import Digest
from tests.scenarios.specs import spec
from tests.scenarios.stage import serving
from tests.scenarios.world import World

PLACES = "paris:60, oslo:20"
ERRORS = "metrics: [{name: errors}]"
LATENCY = "metrics: [{name: latency}]"


@cache
def in_service() -> World:
    return serving("sight", spec("{blue_green: {}}", PLACES))


def warnings(strategy: str, analysis: str, world: World | None = None) -> list[str]:
    text = spec(strategy, PLACES, f"analysis: {{{analysis}}}")
    loaded, _ = load(text, "repave.yaml")
    application = (world or in_service()).application
    order = compile_order(loaded, Digest("b" * 64), "2", "ann")
    return [text_of(each) for each in plan_release(application, order).warnings]


def canary(share: str = "5%", hold: str = "5m", analyse: str = "true") -> str:
    return f"{{canary: {{steps: [{{traffic: {share}, hold: {hold}, analyse: {analyse}}}]}}}}"


def test_too_few_requests_are_told_with_the_time_that_they_need_and_what_is_seen_instead() -> None:
    assert warnings(canary(), f"expected_rate: 20/s, {ERRORS}") == [
        "step 4: at 5 % of 20 requests a second you need 7.1 min to see 1 % errors; this analysis takes 5 "
        "min, which is enough for 1.4 %"
    ]


@pytest.mark.parametrize(
    ("strategy", "analysis"),
    [
        (canary(), ERRORS),  # no rate is expected
        (canary(hold="10m"), f"expected_rate: 20/s, {ERRORS}"),
        (canary(share="20%"), f"expected_rate: 20/s, {ERRORS}"),
        (canary(), f"expected_rate: 200/s, {ERRORS}"),
        (canary(analyse="{judge: kayenta-v1}"), f"expected_rate: 20/s, {ERRORS}"),  # its power is not known
        ("{blue_green: {}}", f"expected_rate: 0.01/s, {ERRORS}"),  # nothing is analysed
        (canary(), "expected_rate: 20/s, metrics: [{name: errors, muted: true}, {name: requests}]"),
        (canary(), f"expected_rate: 20/s, {LATENCY}"),
    ],
)
def test_nothing_is_told_where_it_is_enough_or_not_known(strategy: str, analysis: str) -> None:
    assert warnings(strategy, analysis) == []


def test_a_first_release_is_compared_with_nothing() -> None:
    first = World(spec("{blue_green: {}}", PLACES), "first")
    assert warnings(canary(), f"expected_rate: 0.1/s, {ERRORS}", first) == []


def test_the_warm_up_is_no_time_to_see_anything_and_a_look_sees_only_its_window() -> None:
    enough = f"expected_rate: 20/s, {ERRORS}"
    assert warnings(canary(hold="10m"), enough) == []
    assert "this analysis takes 5 min" in warnings(canary(hold="10m"), f"warm_up: 5m, {enough}")[0]
    assert "this analysis takes 3 min" in warnings(canary(hold="10m"), f"look_back: 3m, {enough}")[0]


def test_a_region_that_is_judged_alone_has_only_its_own_requests() -> None:
    together = f"expected_rate: 40/s, {ERRORS}"
    assert warnings(canary(), together) == []
    alone = warnings(canary(), f"by: region, {together}")
    assert len(alone) == 1
    assert "of 10 requests a second in oslo" in alone[0]


def test_a_fresh_baseline_of_equal_traffic_knows_less_of_what_is_usual() -> None:
    current = warnings(canary(hold="8m"), f"expected_rate: 20/s, {ERRORS}")
    fresh = warnings(canary(hold="8m"), f"baseline: fresh, expected_rate: 20/s, {ERRORS}")
    assert current == []
    assert "at 5 % of 20 requests a second" in fresh[0]


def test_more_metrics_and_fewer_false_alarms_take_longer() -> None:
    barely = f"expected_rate: 20/s, {ERRORS}"
    more = ", ".join(f"{{name: {name}, query: errors}}" for name in ("e1", "e2", "e3"))
    assert warnings(canary(hold="8m"), barely) == []
    assert warnings(canary(hold="8m", analyse="{judge: {false_alarms: 0.01%}}"), barely) != []
    # Three errors are the least in any case.
    assert warnings(canary(hold="8m"), f"expected_rate: 20/s, metrics: [{more}]") == []
    assert warnings(canary(hold="8m", analyse="{metrics: [{name: errors, min_samples: 900}]}"), barely) != []


def test_answers_that_are_slower_are_told_too() -> None:
    found = warnings(canary(hold="1m", analyse="{interval: 10s}"), f"expected_rate: 20/s, {LATENCY}")
    assert len(found) == 1
    assert "to see answers that are 20 % slower; this analysis takes 60 s" in found[0]


def test_where_the_new_group_has_all_of_it_the_old_one_counts_by_its_last_while() -> None:
    soaked = "{blue_green: {warm: 5m, analyse: true}}"
    assert warnings(soaked, f"expected_rate: 20/s, {ERRORS}") == []
    assert "at 100 % of 0.1 requests a second" in warnings(soaked, f"expected_rate: 0.1/s, {ERRORS}")[0]


def test_with_hardly_any_request_it_says_so() -> None:
    found = warnings(canary(), f"expected_rate: 1/h, {ERRORS}")
    assert "you need more than a year to see 1 % errors" in found[0]
