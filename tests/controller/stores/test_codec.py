"""What is saved comes back the same, whatever it was."""

import dataclasses
import json
import math
from typing import Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repave_controller.core.domain.analyses import ByGate
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.freezes import Freezes
from repave_controller.core.domain.instants import Instant
from repave_controller.core.domain.reasons import Rule, Why, cli, reason_of
from repave_controller.core.domain.rollout import GroupNumber, Phase, Rollout, RolloutKind
from repave_controller.core.domain.sequences import Listed
from repave_controller.core.domain.steps import KINDS, Step
from repave_controller.core.ports import StoreError
from repave_controller.stores.codec import (
    decode_application,
    decode_freezes,
    decode_rollout,
    encode_application,
    encode_freezes,
    encode_rollout,
)
from repave_controller.wording.render import text_of
from tests.fakes.controller.stepping import released


def finite(value: Any) -> Any:
    """The same value with 0 for what no clock and no duration is."""
    if isinstance(value, float):
        return value if math.isfinite(value) else 0.0
    if isinstance(value, (tuple, ByRegion, ByGate)):
        return type(value)(map(finite, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {each.name: finite(getattr(value, each.name)) for each in dataclasses.fields(value)}
        return dataclasses.replace(value, **changed)
    return value


def several(kind: Any) -> st.SearchStrategy[Any]:
    """None, one or two, which differ: what is not kept in order shows with two. Sequences stand in sequences,
    and longer ones would take nearly all of the time."""
    entries = get_args(kind)
    if get_origin(kind) is tuple and entries[1:] != (...,):
        return st.tuples(*map(st.from_type, entries))
    return st.lists(st.from_type(entries[0]), max_size=2).map(get_origin(kind))


for kind in (tuple, ByGate, ByRegion, Listed):
    st.register_type_strategy(kind, several)
st.register_type_strategy(Step, st.one_of([st.from_type(each) for each in KINDS.values()]))

few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@few
@given(st.from_type(Application).map(finite))
def test_an_application_comes_back_the_same(application: Application) -> None:
    assert decode_application(encode_application(application)) == application


@few
@given(st.from_type(Rollout).map(finite))
def test_a_rollout_comes_back_the_same_with_each_step_of_its_own_kind(rollout: Rollout) -> None:
    back = decode_rollout(encode_rollout(rollout))
    assert back == rollout
    assert [type(step) for step in back.steps] == [type(step) for step in rollout.steps]


@few
@given(st.from_type(Freezes).map(finite))
def test_freezes_come_back_the_same(freezes: Freezes) -> None:
    assert decode_freezes(encode_freezes(freezes)) == freezes


def test_what_is_no_application_is_refused_with_the_field_that_is_wrong() -> None:
    with pytest.raises(StoreError, match=r"cluster: .*backup"):
        decode_application('{"name": "hello", "next_number": 1}')
    with pytest.raises(StoreError, match="cannot read"):
        decode_rollout("{")


def test_reasons_come_back_with_their_kinds_and_those_of_version_0_1_as_words() -> None:
    away = reason_of(Why.AGENT_AWAY, cli("abort", "web"), region="oslo")
    unknown = reason_of(Rule.CAPACITY_UNKNOWN, *away.remedies, absent=away)
    failed = reason_of(Why.GUARD_FOR_TOO_LONG, region="oslo", seconds=60.0, answer=unknown)
    rollout = Rollout(1, RolloutKind.RELEASE, GroupNumber(1), (), ByRegion(), Phase.HELD, Instant(0), "")
    stored = encode_rollout(dataclasses.replace(rollout, undo_reason=failed))
    found = decode_rollout(stored).undo_reason
    assert found == failed
    assert text_of(found) == text_of(failed)
    plain = {**json.loads(stored), "undo_reason": "oslo: exited with code 1"}
    assert text_of(decode_rollout(json.dumps(plain)).undo_reason) == "oslo: exited with code 1"


def test_regions_that_were_missed_before_they_had_a_target_lack_that_of_the_last_rollout() -> None:
    world = released("a")
    plain = json.loads(encode_application(world.application))
    plain["missed"] = [["oslo", 2]]
    (missed,) = decode_application(json.dumps(plain)).missed
    assert (missed.region, missed.size, missed.target) == ("oslo", 2, 1)
