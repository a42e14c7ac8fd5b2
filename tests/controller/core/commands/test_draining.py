"""How a region leaves the world's traffic and comes back, whatever else goes on."""

import pytest

from repave_controller.core.commands.draining import DrainRegion, UndrainRegion
from repave_controller.core.commands.lifecycle import Delete, LeaveRegion
from repave_controller.core.commands.recovery import adopt
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.reasons import Refusal, Refused, Why
from repave_controller.core.rollout.drains import waits
from repave_controller.core.rollout.step import step
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import Drain, RecordReport, RecordState, RegionName
from tests.fakes.controller.stepping import OSLO, PARIS, World

TTL_SECONDS = 60
NAME = "hello.example.com"


def serving(*regions: RegionName) -> World:
    """A world that serves in all of its regions, and is in DNS in these."""
    world = World()
    world.release("a")
    world.finish()
    for region in (PARIS, OSLO):
        recorded(world, region, "in" if region in regions else "out")
    return world


def recorded(
    world: World, region: RegionName, state: RecordState, left_at: float = 0.0, why: str = ""
) -> None:
    """Its agent reports this of its record."""
    report(world, region, RecordReport(NAME, state, TTL_SECONDS, left_at, why))


def report(world: World, region: RegionName, record: RecordReport | None) -> None:
    there = world.regions[region]
    there.record = record
    there.work()


def ask(world: World, verb: Verb, reason: str = "flood") -> list[str]:
    world.application, events = verb.apply(world.application, world.observed, "ann", reason, world.now)
    world.decide()
    return [event.kind for event in events]


def refusal(world: World, verb: Verb, reason: str = "") -> Refused:
    with pytest.raises(Refused) as caught:
        verb.apply(world.application, world.observed, "ann", reason, world.now)
    return caught.value


def drain_of(world: World, region: RegionName) -> Drain:
    state = world.application.desired_in(region)
    assert state is not None
    return state.drain


def waited_for(world: World) -> list[str]:
    return [text_of(each.reason) for each in waits(world.application, world.observed, world.now)]


def test_a_drained_region_is_desired_to_be_out_until_it_is_asked_back() -> None:
    world = serving(PARIS, OSLO)
    assert ask(world, DrainRegion(PARIS)) == ["region.drained"]
    assert (drain_of(world, PARIS), drain_of(world, OSLO)) == ("unless_last", "none")
    assert ask(world, DrainRegion(PARIS)) == []
    assert ask(world, UndrainRegion(PARIS)) == ["region.undrained"]
    assert drain_of(world, PARIS) == "none"
    assert ask(world, UndrainRegion(PARIS)) == []


def test_what_is_waited_for_ends_when_resolvers_have_forgotten_it() -> None:
    world = serving(PARIS, OSLO)
    ask(world, DrainRegion(PARIS))
    assert waited_for(world) == [f"drain: {NAME} still leads to paris"]
    recorded(world, PARIS, "in", why="REFUSED")
    assert waited_for(world) == [f"drain: {NAME} still leads to paris (REFUSED)"]
    recorded(world, PARIS, "out", left_at=world.now)
    (wait,) = waits(world.application, world.observed, world.now)
    assert (wait.reason.kind, wait.until) == (Why.DRAIN_REMEMBERED, Instant(world.now + TTL_SECONDS))
    decision = step(world.application, world.observed, world.now, world.tenure)
    assert decision.wake_at == wait.until
    assert wait in decision.because
    assert list(waits(world.application, world.observed, Instant(world.now + TTL_SECONDS))) == []
    ask(world, UndrainRegion(PARIS))
    assert waited_for(world) == [f"undrain: {NAME} does not lead to paris"]


def test_a_region_whose_agent_is_away_says_that_its_record_stays() -> None:
    world = serving(PARIS, OSLO)
    world.regions[PARIS].is_connected = False
    assert ask(world, DrainRegion(PARIS)) == ["region.drained"]
    (wait,) = waits(world.application, world.observed, world.now)
    assert wait.reason.kind is Why.DRAIN_AWAY
    recorded(world, PARIS, "out")
    assert waited_for(world) == []


@pytest.mark.parametrize("others", ["drained", "out", "unknown", "silent"])
def test_the_last_region_in_dns_is_drained_only_by_an_override_with_a_reason(others: str) -> None:
    world = serving(PARIS, OSLO)
    if others == "drained":
        ask(world, DrainRegion(OSLO))
    elif others == "silent":
        world.regions[OSLO].reported = None
    else:
        recorded(world, OSLO, "out" if others == "out" else "unknown")
    refused = refusal(world, DrainRegion(PARIS))
    assert refused.kind is Refusal.LAST_IN_DNS
    assert "repave regions drain paris hello --override --reason TEXT" in text_of(refused.reason)
    assert refusal(world, DrainRegion(PARIS, is_even_last=True)).kind is Refusal.REASON_MISSING
    assert ask(world, DrainRegion(PARIS, is_even_last=True)) == ["region.drained"]
    assert drain_of(world, PARIS) == "even_last"


def test_an_override_follows_a_drain_that_found_itself_the_last() -> None:
    world = serving(PARIS, OSLO)
    ask(world, DrainRegion(PARIS))
    recorded(world, OSLO, "out")
    assert ask(world, DrainRegion(PARIS, is_even_last=True)) == ["region.drained"]
    assert drain_of(world, PARIS) == "even_last"


def test_a_region_without_records_can_not_be_drained() -> None:
    world = serving(PARIS, OSLO)
    report(world, PARIS, None)
    assert refusal(world, DrainRegion(PARIS)).kind is Refusal.NO_RECORD
    assert refusal(world, DrainRegion(RegionName("rome"))).kind is Refusal.UNKNOWN_REGION_OF_SERVICE


def test_a_release_leaves_a_drained_region_out() -> None:
    world = serving(PARIS, OSLO)
    ask(world, DrainRegion(PARIS))
    world.release("b")
    world.finish()
    assert world.application.serving_in(PARIS) is not None
    assert drain_of(world, PARIS) == "unless_last"


def test_a_region_is_left_only_once_clients_have_left_it() -> None:
    world = serving(PARIS, OSLO)
    refused = refusal(world, LeaveRegion(PARIS))
    assert refused.kind is Refusal.IN_DNS
    assert "repave regions drain paris hello" in text_of(refused.reason)
    ask(world, DrainRegion(PARIS))
    recorded(world, PARIS, "out", left_at=world.now)
    assert refusal(world, LeaveRegion(PARIS)).kind is Refusal.IN_DNS_UNTIL
    world.now = Instant(world.now + TTL_SECONDS)
    assert ask(world, LeaveRegion(PARIS)) == ["region.left"]
    recorded(world, PARIS, "out", left_at=world.now)
    assert ask(world, LeaveRegion(PARIS)) == []  # asked again


def test_a_region_that_is_lost_is_forgotten_whatever_its_record_says() -> None:
    world = serving(PARIS, OSLO)
    LeaveRegion(PARIS, is_lost=True).apply(world.application, world.observed, "ann", "", world.now)


def test_what_ends_is_drained_no_longer() -> None:
    world = serving(PARIS, OSLO)
    ask(world, DrainRegion(PARIS))
    recorded(world, PARIS, "out")
    left = LeaveRegion(PARIS).apply(world.application, world.observed, "ann", "", world.now)[0]
    assert left.drained == ()
    assert Delete().apply(world.application, world.observed, "ann", "", world.now)[0].drained == ()


def test_a_store_that_lost_it_learns_of_a_drain_from_the_region() -> None:
    world = serving(PARIS, OSLO)
    ask(world, DrainRegion(PARIS))
    adopted = adopt(world.application.name, None, dict(world.application.desired), world.now).application
    assert [(each.region, each.is_even_last) for each in adopted.drained] == [(PARIS, False)]
