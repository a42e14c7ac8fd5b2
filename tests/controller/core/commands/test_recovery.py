"""What regions have accepted, made an application again: each is afterwards desired to be what it is."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.core.commands.recovery import KEEP_SECONDS_MIN, Adoption, Said, adopt
from repave_controller.core.commands.release import request_release
from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.domain.application import Application, GroupState, Instant, Policy, Tenure
from repave_controller.core.domain.naming import format_group
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import GroupNumber, Phase
from repave_controller.core.rollout.desired_state import desired_state
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.safety import check
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import (
    FULL_WEIGHT_BP,
    ApplicationName,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    RegionName,
)
from tests.fakes.controller.scheduled import OSLO, PARIS, SHOP, an_order
from tests.fakes.templates import a_template
from tests.support.refusals import refused

NOW = Instant(5000.0)
ROME = RegionName("rome")
REGIONS = (OSLO, PARIS, ROME)


def a_group(number: int = 1, count: int = 2, weight_bp: int = 0, digest: str = "") -> DesiredGroup:
    return DesiredGroup(
        name=format_group("shop", number),
        digest=Digest((digest or "abcdef"[number % 6]) * 64),
        count=count,
        weight_bp=weight_bp,
        template=a_template(("./app",)),
        is_proven=True,  # what is adopted has served, or may again
        released_at=float(number),
    )


def test_a_failed_group_that_is_looked_at_is_adopted_as_such() -> None:
    kept = replace(a_group(2, 0), is_proven=False, keeps_failed=True)
    application = adopted({PARIS: serving(1, kept), OSLO: serving(1)}).application
    assert [group.state for group in application.groups] == [GroupState.SERVING, GroupState.FAILED]


def a_state(*groups: DesiredGroup, rev: int = 9, port: int = 8000) -> DesiredState:
    return DesiredState(SHOP, Epoch(1, 5, rev), port, groups)


def serving(number: int, *others: DesiredGroup, count: int = 2) -> DesiredState:
    groups = (*others, a_group(number, count, FULL_WEIGHT_BP))
    return a_state(*sorted(groups, key=lambda each: each.name))


def adopted(said: Said, stored: Application | None = None, chosen: str = "") -> Adoption:
    return adopt(SHOP, stored, said, NOW, chosen)


# -------------------------------------------------------------------------------- nothing moves by adopting


def with_own_environment(group: DesiredGroup) -> DesiredGroup:
    """In a region whose hosts are not made as those of the others are."""
    return replace(group, template=replace(group.template, environment=(("WHERE", "here"),)))


def with_own_machines(group: DesiredGroup) -> DesiredGroup:
    return replace(group, template=replace(group.template, machine_image="other", machine_sizes=("xl",)))


OWN = (lambda group: group, with_own_environment, with_own_machines)


@st.composite
def worlds(draw: st.DrawFn) -> dict[RegionName, DesiredState]:
    """Regions between two releases, or in one that has not moved traffic: who serves is the same in all."""
    numbers = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True))
    server, *others = numbers
    retiring = set(draw(st.lists(st.sampled_from(others), unique=True))) if others else set()
    said = {}
    for region in draw(st.lists(st.sampled_from(REGIONS), min_size=1, unique=True)):
        groups = [
            a_group(number, 0 if number in retiring else draw(st.integers(1, 5)))
            for number in others
            if draw(st.booleans())
        ]
        groups.append(a_group(server, draw(st.integers(1, 5)), FULL_WEIGHT_BP))
        groups = sorted(map(draw(st.sampled_from(OWN)), groups), key=lambda each: each.name)
        said[region] = a_state(*groups, rev=draw(st.integers(1, 50)))
    return said


def an_older_copy() -> Application:
    """As a store has it that was restored: shop-v001 serves everywhere."""
    application, _ = request_release(
        Application(SHOP, "shop", GroupNumber(1)), an_order("b"), False, Instant(1.0)
    )
    decision = step(application, {}, Instant(1.0), Tenure(1, 2))
    (group,) = decision.application.groups
    assert decision.application.rollout is not None
    ended = replace(decision.application.rollout, phase=Phase.SUCCEEDED, ended_at=Instant(2.0))
    known = replace(decision.application, rollout=ended)
    for part in group.parts:
        serves = replace(part, state=GroupState.SERVING, percent=100.0, weight_bp=10_000)
        group = group.with_part(serves)
    known = known.with_group(group)
    return step(known, {}, Instant(2.0), Tenure(1, 2)).application


@settings(deadline=None, max_examples=200)
@given(said=worlds(), knows=st.booleans())
def test_each_region_is_desired_to_be_what_it_is(said: dict[RegionName, DesiredState], knows: bool) -> None:
    stored = an_older_copy() if knows else None
    application = adopted(said, stored).application
    for region, state in said.items():
        assert desired_state(application, region, state.epoch) == state


@settings(deadline=None, max_examples=200)
@given(said=worlds())
def test_the_first_decision_after_it_keeps_every_promise_and_changes_epochs_only(
    said: dict[RegionName, DesiredState],
) -> None:
    application = adopted(said).application
    decision = step(application, {}, NOW, Tenure(2, 7))
    assert check(application, decision, {}) == []
    for region, state in said.items():
        after = decision.application.desired_in(region)
        assert after is not None
        assert after.epoch == Epoch(2, 7, state.epoch.rev + 1)
        assert replace(after, epoch=state.epoch) == state
    again = step(decision.application, {}, Instant(NOW + KEEP_SECONDS_MIN - 1), Tenure(2, 7))
    assert again.desired == (), "no group goes soon after it"


@settings(deadline=None)
@given(said=worlds())
def test_numbers_go_on_above_all_that_were_seen(said: dict[RegionName, DesiredState]) -> None:
    names = {group.name for state in said.values() for group in state.groups}
    assert format_group("shop", adopted(said).application.next_number) > max(names)
    later = replace(an_older_copy(), next_number=GroupNumber(77))
    assert adopted(said, later).application.next_number == 77, "and above those that are gone"


# ------------------------------------------------------------------------------------------------- who serves


def test_who_has_the_traffic_serves_and_the_others_are_kept_warm() -> None:
    application = adopted(
        {PARIS: serving(2, a_group(1), a_group(3)), OSLO: serving(2, a_group(1))}
    ).application
    states = {group.name: group.state for group in application.groups}
    assert states == {
        "shop-v001": GroupState.WARM,
        "shop-v002": GroupState.SERVING,
        "shop-v003": GroupState.WARM,
    }
    assert application.policy.keep_groups == 2
    left = {group.number: group.left_traffic_at for group in application.groups}
    assert left[GroupNumber(1)] == NOW, "the way back is the one that may have served"
    assert left[GroupNumber(3)] == NOW - 1.0


def test_a_group_that_is_being_destroyed_goes_on_to_be() -> None:
    application = adopted({PARIS: serving(2, a_group(1, count=0))}).application
    assert application.groups[0].state is GroupState.RETIRING
    (group, _) = desired_state(application, PARIS, Epoch(2, 1, 1)).groups
    assert group.count == 0


def test_where_nobody_serves_yet_nobody_does_afterwards() -> None:
    adoption = adopted({PARIS: a_state(a_group(1))})
    assert adoption.application.serving is None
    assert "no group serves it in any region yet" in adoption.notes
    assert not desired_state(adoption.application, PARIS, Epoch(2, 1, 1)).is_serving


def test_a_closed_region_has_no_say_in_who_serves_and_stays_closed() -> None:
    closed = a_state(a_group(3, count=0), port=0)
    application = adopted({PARIS: serving(2), ROME: closed}).application
    assert desired_state(application, ROME, closed.epoch) == closed


@pytest.mark.parametrize(
    "other",
    [
        serving(1, a_group(2)),
        a_state(a_group(1, weight_bp=5000), a_group(2, weight_bp=5000)),
    ],
    ids=["another server", "a split"],
)
def test_regions_that_do_not_agree_on_who_serves_are_refused_with_what_each_says(other: DesiredState) -> None:
    said = {PARIS: serving(2, a_group(1)), OSLO: other}
    with pytest.raises(Refused) as refused:
        adopted(said)
    assert refused.value.rule == "regions-disagree"
    assert "oslo: shop-v001" in text_of(refused.value.reason)
    assert "paris: shop-v002 100 %" in text_of(refused.value.reason)
    assert "repave controller recover --application shop --serving GROUP" in text_of(refused.value.reason)
    chosen = adopted(said, chosen="shop-v001")
    assert chosen.application.serving == 1
    assert any("paris" in note and "shop-v001 gets all the traffic" in note for note in chosen.notes)


def test_only_who_has_hosts_everywhere_can_be_chosen() -> None:
    said = {PARIS: serving(2), OSLO: serving(1)}
    with refused(match="no hosts in paris"):
        adopted(said, chosen="shop-v001")


def test_one_name_for_two_things_is_refused() -> None:
    with refused(match="shop-v001 is not the same in oslo, paris"):
        adopted({PARIS: serving(2, a_group(1)), OSLO: serving(2, a_group(1, digest="9"))})
    other = replace(a_group(1), template=replace(a_group(1).template, run=("./other",)))
    with refused(match="shop-v001 is not the same in oslo, paris"):
        adopted({PARIS: serving(2, a_group(1)), OSLO: serving(2, other)})
    with refused(match="different ports"):
        adopted({PARIS: serving(2), OSLO: replace(serving(2), frontend_port=8001)})
    stranger = replace(a_group(), name="shop")  # type: ignore[arg-type]  # no group's name
    with refused(match="that repave did not make"):
        adopted({PARIS: a_state(stranger)})


# ------------------------------------------------------------------------------- what agents can't know


def test_what_the_older_copy_knows_is_kept_and_the_rest_is_told() -> None:
    stored = replace(an_older_copy(), policy=Policy(keep_seconds=90_000.0, ready_percent=80.0))
    adoption = adopted({PARIS: serving(2, a_group(1)), OSLO: serving(2, a_group(1))}, stored)
    first, second = adoption.application.groups
    assert (first.version, first.created_at) == ("b", 1.0)
    assert second.version == second.digest[:12]
    assert adoption.application.policy == stored.policy
    assert adoption.application.rollouts_total == stored.rollouts_total
    assert any("shop-v002: its version is shown by its digest" in note for note in adoption.notes)


def test_a_rollout_of_the_older_copy_is_held_and_its_queue_is_dropped_and_both_are_told() -> None:
    running, _ = request_release(an_older_copy(), an_order("c"), False, NOW)
    stored = replace(running, queue=(an_order("d"), an_order("e")))
    adoption = adopted({PARIS: serving(1), OSLO: serving(1)}, stored)
    rollout = adoption.application.rollout
    assert rollout is not None
    assert (rollout.phase, rollout.ended_at) == (Phase.HELD, NOW)
    assert adoption.application.queue == ()
    assert any("the release of c that ran in the store is held" in note for note in adoption.notes)
    assert any("2 queued releases are dropped" in note for note in adoption.notes)
    with refused(match="no rollout of shop is running"):
        request_abort(adoption.application, "ann", "", NOW)


def test_an_application_that_the_store_never_knew_gets_a_history() -> None:
    application = adopted({PARIS: serving(4)}).application
    assert application.cluster == "shop"
    assert application.rollout is not None
    assert (application.rollouts_total, application.rollout.phase) == (1, Phase.SUCCEEDED)
    assert application.next_number == 5


def test_a_region_that_does_not_answer_is_taken_to_follow_the_others() -> None:
    """Its clients must not be left with nobody, and it is not sent anything before it speaks (gate.py)."""
    stored = an_older_copy()
    adoption = adopted({PARIS: serving(2, a_group(1))}, stored)
    state = desired_state(adoption.application, OSLO, Epoch(2, 1, 1))
    assert [(each.name, each.count, each.weight_bp) for each in state.groups] == [
        ("shop-v001", 3, 0),
        ("shop-v002", 3, FULL_WEIGHT_BP),
    ]
    assert adoption.application.offered_to(OSLO) == stored.offered_to(OSLO)
    assert any(note.startswith("oslo did not answer") for note in adoption.notes)


def test_what_is_adopted_counts_as_offered() -> None:
    said = {PARIS: serving(2)}
    offer = adopted(said).application.offered_to(PARIS)
    assert offer is not None
    assert offer.epoch == said[PARIS].epoch
    assert adopted(said).application.name == ApplicationName("shop")
