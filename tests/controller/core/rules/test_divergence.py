"""Whether a region has accepted what its store does not hold, and what may be sent to it."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.core.domain.application import Application
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.rollout import GroupNumber
from repave_controller.core.rules.divergence import Ahead, judge, offer, offer_of, offers
from repave_controller.wording.render import text_of
from repave_protos.protocol import wire
from repave_protos.protocol.values import (
    ApplicationName,
    Applied,
    DesiredGroup,
    DesiredState,
    Digest,
    Epoch,
    GroupName,
    RegionName,
    fingerprint_of_state,
)
from tests.fakes.templates import a_template, changed

SHOP, CART = ApplicationName("shop"), ApplicationName("cart")
PARIS, OSLO = RegionName("paris"), RegionName("oslo")
STORED = Epoch(1, 5, 3)
EPOCHS = st.builds(Epoch, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))


def a_state(epoch: Epoch = STORED, count: int = 2) -> DesiredState:
    group = DesiredGroup(GroupName("shop-v001"), Digest("a" * 64), count, 10_000, a_template(port=80))
    return DesiredState(SHOP, epoch, 8000, (group,))


def a_store(offered: DesiredState | None) -> dict[ApplicationName, Application]:
    shop = Application(SHOP, "shop", GroupNumber(2))
    return {SHOP: replace(shop, offered=ByRegion(((PARIS, offer_of(offered)),))) if offered else shop}


def applied(state: DesiredState) -> Applied:
    return Applied(state.application, state.epoch, fingerprint_of_state(state))


@settings(deadline=None)
@given(known=EPOCHS, accepted=EPOCHS, count=st.integers(1, 2))
def test_a_region_is_ahead_when_it_has_accepted_what_it_was_never_offered(
    known: Epoch, accepted: Epoch, count: int
) -> None:
    found = judge(PARIS, [applied(a_state(accepted, count))], a_store(a_state(known, 2)))
    is_other = accepted == known and count != 2
    assert bool(found) == (accepted > known or is_other)


def test_an_application_that_the_store_does_not_know_there_shows_that_it_is_older() -> None:
    (found,) = judge(PARIS, [applied(a_state())], {})
    assert found == Ahead(SHOP, Epoch(1, 5, 3), None)
    assert text_of(found.reason) == "it runs shop (epoch 1.5.3), which this store does not know there"
    assert judge(OSLO, [applied(a_state())], a_store(a_state())), "it was offered to paris only"
    assert judge(PARIS, [applied(a_state())], a_store(None))


def test_content_is_not_compared_between_versions_that_may_write_it_differently() -> None:
    other = fingerprint_of_state(a_state(count=3))
    assert judge(PARIS, [Applied(SHOP, STORED, other)], a_store(a_state()))
    assert not judge(PARIS, [Applied(SHOP, STORED, other)], a_store(a_state()), compares_content=False)
    with_other_fields = f"{'0000' if other[:4] != '0000' else '1111'}{other[4:]}"
    assert not judge(PARIS, [Applied(SHOP, STORED, with_other_fields)], a_store(a_state()))


def test_an_offer_names_the_content_as_the_agent_gets_it_from_the_wire() -> None:
    (group,) = a_state().groups
    probe = replace(group.template.probe, interval_seconds=2)
    whole = changed(group, {"min_healthy_seconds": 1, "drain_seconds": 10, "probe": probe})
    state = replace(a_state(), groups=(whole,))
    arrived = wire.decode_from_controller(wire.encode_from_controller(state))
    assert isinstance(arrived, DesiredState)
    assert offer_of(state).fingerprint == fingerprint_of_state(arrived)


def test_only_what_is_noted_as_offered_is_due_and_only_once() -> None:
    state = a_state()
    shop = replace(a_store(None)[SHOP], desired=ByRegion(((OSLO, state), (PARIS, state))))
    after = offer(shop, {PARIS}.__contains__)
    assert offers(shop, after) == [(PARIS, state)]
    assert offers(after, offer(after, {PARIS}.__contains__)) == []
    assert offers(after, offer(after, {PARIS, OSLO}.__contains__)) == [(OSLO, state)]
    newer = replace(after, desired=ByRegion(((OSLO, state), (PARIS, a_state(Epoch(1, 5, 4))))))
    assert offers(after, newer) == [], "what is decided and not offered stays here"
