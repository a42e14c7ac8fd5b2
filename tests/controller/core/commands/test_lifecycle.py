"""How applications, regions and groups end when a person says so."""

from dataclasses import replace

import pytest

from repave_controller.core.commands.lifecycle import Delete, LeaveRegion, RetireGroup
from repave_controller.core.commands.verb import Verb
from repave_controller.core.domain.application import GroupState
from repave_controller.core.domain.reasons import Refusal, Refused
from repave_controller.core.rollout.start import hint_of_kept
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import RegionName
from tests.fakes.controller.stepping import OSLO, PARIS, World, an_order
from tests.support.refusals import refused


def serving(*digests: str) -> World:
    """A world in which these were released one after the other."""
    world = World()
    for digest in digests:
        world.release(digest)
        world.finish()
    return world


def ask(world: World, verb: Verb) -> list[str]:
    """The kinds of the events that the command brings about."""
    world.application, events = verb.apply(world.application, world.observed, "ann", "", world.now)
    world.decide()
    return [event.kind for event in events]


def refusal(world: World, verb: Verb) -> Refused:
    before = world.application
    with pytest.raises(Refused) as caught:
        verb.apply(world.application, world.observed, "ann", "", world.now)
    assert world.application == before
    return caught.value


# ------------------------------------------------------------------------------------------ an application


def test_a_deleted_application_closes_its_port_and_leaves_nothing_but_its_history() -> None:
    world = serving("a", "b")
    assert ask(world, Delete()) == ["application.deleting"]
    for region in (PARIS, OSLO):
        state = world.application.desired_in(region)
        assert state is not None
        assert (state.frontend_port, state.is_serving) == (0, False)
        assert [each.count for each in state.groups] == [0, 0]
    world.settle()
    assert world.application.is_gone
    assert world.application.regions == ()
    assert world.kinds[-2:] == ["group.destroyed", "application.deleted"]
    assert world.application.rollout is not None
    assert ask(world, Delete()) == []


def test_a_region_that_is_away_is_waited_for_before_the_application_is_gone() -> None:
    world = serving("a")
    world.regions[OSLO].is_connected = False
    ask(world, Delete())
    world.settle()
    assert not world.application.is_gone
    assert world.application.regions == (OSLO,)
    assert {each.region for each in world.because} == {OSLO}
    world.regions[OSLO].is_connected = True
    world.settle()
    assert world.application.is_gone


def test_it_is_released_again_only_once_every_region_has_heard_of_its_end() -> None:
    world = serving("a")
    world.regions[OSLO].is_connected = False
    ask(world, Delete())
    world.settle()
    with refused("hello is being deleted, and oslo has yet to hear of it; .*: repave why hello"):
        world.release("b")
    world.regions[OSLO].is_connected = True
    world.settle()
    world.release("b")
    world.finish()
    assert world.application.serving is not None


def test_a_deleted_application_can_be_released_again_with_new_names() -> None:
    world = serving("a", "b")
    ask(world, Delete())
    world.settle()
    world.release("c")
    world.finish()
    assert not world.application.is_gone
    assert world.application.deletion is None
    assert [group.name for group in world.application.groups] == ["hello-v003"]
    state = world.application.desired_in(PARIS)
    assert state is not None
    assert state.frontend_port == 8000


@pytest.mark.parametrize("verb", [Delete(), LeaveRegion(OSLO)])
def test_nothing_ends_while_a_rollout_runs(verb: Verb) -> None:
    world = serving("a")
    world.release("b")
    refused = refusal(world, verb)
    assert refused.kind is Refusal.ROLLOUT_RUNNING_AT_DELETION
    assert "repave abort hello" in text_of(refused.reason)


def test_releases_that_wait_are_dropped_with_the_application() -> None:
    world = serving("a")
    world.application = replace(world.application, queue=(an_order("b"),))
    ask(world, Delete())
    world.settle()
    assert world.application.is_gone


# ----------------------------------------------------------------------------------------------- a region


def test_an_application_leaves_a_region_and_serves_on_in_the_others() -> None:
    world = serving("a", "b")
    assert ask(world, LeaveRegion(OSLO)) == ["region.left"]
    state = world.application.desired_in(OSLO)
    assert state is not None
    assert (state.frontend_port, state.is_serving) == (0, False)
    world.settle()
    assert world.application.regions == (PARIS,)
    kept = world.application.desired_in(PARIS)
    assert kept is not None
    assert kept.is_serving
    assert kept.frontend_port == 8000
    world.release("c", sizes=((PARIS, 3),))  # what was refused before it had left
    world.finish()
    assert world.application.serving is not None


def test_a_region_that_is_lost_is_forgotten_and_not_waited_for() -> None:
    world = serving("a")
    lost = world.regions.pop(OSLO)
    ask(world, LeaveRegion(OSLO, is_lost=True))
    assert world.application.regions == (PARIS,)
    assert world.application.desired_in(OSLO) is None
    assert world.application.offered_to(OSLO) is None
    assert lost.desired is not None


def test_the_last_region_is_left_by_deleting_the_application() -> None:
    world = serving("a")
    ask(world, LeaveRegion(OSLO))
    world.settle()
    refused = refusal(world, LeaveRegion(PARIS))
    assert refused.kind is Refusal.LAST_REGION
    assert text_of(refused.reason).endswith("repave delete hello")


def test_a_region_that_it_is_not_in_is_refused_with_those_that_it_is_in() -> None:
    refused = refusal(serving("a"), LeaveRegion(RegionName("rome")))
    assert text_of(refused.reason) == "hello does not serve in rome; it does in: oslo, paris"


def test_a_spec_without_a_region_is_refused_with_the_command_that_leaves_it() -> None:
    world = serving("a")
    with pytest.raises(Refused) as caught:
        world.release("b", sizes=((PARIS, 3),))
    assert text_of(caught.value.reason).endswith("or leave it first: repave regions leave oslo hello")


# ------------------------------------------------------------------------------------------------ a group


@pytest.mark.parametrize("name", ["hello-v001", "a"])
def test_a_group_that_is_kept_goes_before_its_time(name: str) -> None:
    world = serving("a", "b")
    assert ask(world, RetireGroup(name)) == ["group.retiring"]
    world.settle()
    assert [group.name for group in world.application.groups] == ["hello-v002"]
    assert [group.name for group in world.application.past] == ["hello-v001"]  # it can be built again


def test_a_group_goes_in_one_region_only() -> None:
    world = serving("a", "b")
    ask(world, RetireGroup("hello-v001", (OSLO,)))
    world.settle()
    group = world.application.groups[0]
    assert [(part.region, part.state) for part in group.parts] == [(PARIS, GroupState.WARM)]
    assert ask(world, RetireGroup("hello-v001", (PARIS,))) == ["group.retiring"]


def test_a_group_that_serves_does_not_go() -> None:
    refused = refusal(serving("a", "b"), RetireGroup("hello-v002"))
    assert refused.kind is Refusal.GROUP_SERVES
    assert "oslo, paris" in text_of(refused.reason)


def test_the_way_back_of_a_rollout_does_not_go() -> None:
    world = serving("a")
    world.release("b")
    for name in ("hello-v001", "hello-v002"):
        assert refusal(world, RetireGroup(name)).kind is Refusal.GROUP_IN_ROLLOUT


def test_an_unknown_group_is_refused_with_those_that_there_are() -> None:
    refused = refusal(serving("a"), RetireGroup("hello-v009"))
    assert text_of(refused.reason) == "hello has no group 'hello-v009'; there are: hello-v001"


def test_a_group_is_retired_once() -> None:
    world = serving("a", "b")
    world.regions[OSLO].is_connected = False
    ask(world, RetireGroup("hello-v001"))
    assert ask(world, RetireGroup("hello-v001")) == []


def test_a_region_begins_once_the_groups_that_give_way_are_gone() -> None:
    world = serving("a", "b")
    world.regions[OSLO].draining.add(world.application.groups[0].name)
    world.release("c", gives_way=(OSLO,))
    world.settle()
    rollout = world.application.running
    assert rollout is not None
    counts = {each.name: each.count for each in world.regions[OSLO].desired.groups}  # type: ignore[union-attr]
    assert counts == {"hello-v001": 0, "hello-v002": 3}
    assert [text_of(each.reason) for each in world.because if each.region == OSLO] == [
        "hello-v001 make room first: they are drained and destroyed"
    ]
    world.regions[OSLO].draining.clear()
    world.finish()
    assert world.application.serving == 3
    assert "hello-v001" in [group.name for group in world.application.past]


# ------------------------------------------------------------------------------------- kept already


def test_a_release_of_what_is_kept_warm_is_told_of_the_shorter_way() -> None:
    world = serving("a", "b")
    hint = hint_of_kept(world.application, an_order("a"))
    told = "hello-v001 has this package already and is kept warm: repave rollback hello --to hello-v001"
    assert text_of(hint).startswith(told)
    world.release("a")
    assert "release.hint" in world.kinds


def test_there_is_no_shorter_way_to_what_serves_or_is_kept_in_part() -> None:
    world = serving("a", "b")
    assert hint_of_kept(world.application, an_order("b")) is None
    assert hint_of_kept(world.application, an_order("c")) is None
    ask(world, RetireGroup("hello-v001", (OSLO,)))
    world.settle()
    assert hint_of_kept(world.application, an_order("a")) is None
    assert hint_of_kept(world.application, an_order("a", sizes=((PARIS, 3),))) is not None
