"""The way back is right in every case: each region has a past of its own, it is open whatever else is shut,
it brings the hosts that are needed, and asking twice is no surprise."""

import sys
from dataclasses import replace
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repave_controller.core.commands.rollback import request_abort, request_rollback
from repave_controller.core.commands.steering import request_pause
from repave_controller.core.domain.application import Instant
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import Phase
from repave_controller.wording.render import text_of
from repave_protos.protocol.values import GroupName, RegionName
from tests.fakes.controller.rolling_back import (
    HIGHLANDER,
    REGIONAL,
    ROME,
    V1,
    V3,
    failed_in,
    rollback,
    serves,
)
from tests.fakes.controller.stepping import KEEP_SECONDS, OSLO, PARIS, Region, World, released
from tests.support.refusals import refused

# ------------------------------------------------------------------------------------- to what was there


def test_each_region_goes_back_to_what_served_there_before() -> None:
    world = released("a")
    failed_in(world, "b", OSLO)
    world.release("c")
    world.finish()
    told = rollback(world)
    assert told == "all traffic goes back to hello-v001 in oslo, to hello-v002 in paris, asked by ann"
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert (serves(world, PARIS), serves(world, OSLO)) == ("b", "a")


def test_a_region_that_the_newest_release_never_reached_stays_as_it_is() -> None:
    world = released("a", "b")
    failed_in(world, "c", OSLO)
    told = rollback(world)
    assert told.endswith("oslo stays with hello-v002")
    world.settle()
    assert (serves(world, PARIS), serves(world, OSLO)) == ("b", "b")


def test_a_region_that_is_new_in_the_release_gets_what_the_others_go_back_to() -> None:
    world = World()
    world.release("a", sizes=((PARIS, 3),))
    world.finish()
    world.release("b")
    world.finish()
    told = rollback(world)
    assert "hello-v001 (a) is built again in oslo" in told
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert (serves(world, PARIS), serves(world, OSLO)) == ("a", "a")


def test_a_region_that_cannot_follow_is_never_called_a_success() -> None:
    world = World()
    world.release("a", sizes=((PARIS, 3),))
    world.finish()
    world.release("b")
    world.finish()
    world.regions[OSLO].broken.add(V1)
    rollback(world)
    world.settle()
    assert world.is_in(Phase.HELD)
    assert (serves(world, PARIS), serves(world, OSLO)) == ("a", "b")
    assert world.application.rollout is not None
    assert "not in oslo: oslo: exited with code 1" in text_of(world.application.rollout.undo_reason)
    world.regions[OSLO].broken.clear()
    world.settle()
    rollback(world, to="a")
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert serves(world, OSLO) == "a"


def test_one_region_alone_goes_back_and_then_the_rest() -> None:
    world = released("a", "b")
    assert rollback(world, regions=(OSLO,)).startswith("all traffic in oslo goes back to hello-v001")
    world.settle()
    assert (serves(world, PARIS), serves(world, OSLO)) == ("b", "a")
    assert rollback(world).endswith("oslo stays with hello-v001")
    world.settle()
    assert (serves(world, PARIS), serves(world, OSLO)) == ("a", "a")


def test_a_version_that_some_regions_never_had_is_launched_there() -> None:
    world = released("a")
    failed_in(world, "b", OSLO)
    world.release("c")
    world.finish()
    world.regions[OSLO].broken.clear()
    rollback(world, to="b")
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert (serves(world, PARIS), serves(world, OSLO)) == ("b", "b")


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_rollback_costs_as_much_a_region_of_many_as_of_few(is_gone: bool) -> None:
    def calls(count: int) -> int:
        world = World()
        world.regions = {RegionName(f"r{number:03d}"): Region() for number in range(count)}
        for digest in ("a", "b"):
            world.release(digest, sizes=tuple((name, 1) for name in world.regions))
            world.finish()
        if is_gone:
            world.now = Instant(world.now + KEEP_SECONDS + 1)
            world.settle()
        observed, made = world.observed, 0

        def count_call(frame: FrameType, event: str, _: object) -> None:
            nonlocal made
            made += event == "call"

        sys.setprofile(count_call)
        try:
            request_rollback(world.application, observed, "ann", "", False, world.now)
        finally:
            sys.setprofile(None)
        return made

    assert calls(80) <= 4.4 * calls(20)


def test_what_can_not_be_gone_back_to_is_refused_with_what_can() -> None:
    world = released("a", "b")
    with refused(match=r"no older group of hello is called z; there are: hello-v001 \(a\)"):
        rollback(world, to="z")
    with refused(match="hello does not serve in lima; it does in: oslo, paris"):
        rollback(world, regions=(RegionName("lima"),))
    with refused(match="b serves hello already in oslo, paris"):
        rollback(world, to="b")


def test_back_is_to_what_served_last_also_where_an_older_group_is_warm() -> None:
    """2.0 was retired by the release that followed; 1.0 is warm and is not what served last."""
    world = released("a", "b")
    world.release("c", steps=HIGHLANDER)
    world.finish()
    assert [group.name for group in world.application.groups] == [V1, V3]
    assert "hello-v002 (b) is built again as hello-v004 in oslo, paris" in rollback(world)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert {serves(world, region) for region in world.regions} == {"b"}
    world.release("d", steps=HIGHLANDER)
    world.finish()
    rollback(world, to="a")
    world.settle()
    assert {serves(world, region) for region in world.regions} == {"a"}


def test_a_group_that_is_gone_in_one_region_and_warm_in_another_is_still_one() -> None:
    world = released("a", "b")
    group = world.application.groups[0]
    oslo = group.part(OSLO)
    assert oslo is not None
    past = replace(group, parts=ByRegion((oslo,)))
    world.application = replace(world.application.with_group(group.without(OSLO)), past=(past,))
    rollback(world)
    world.settle()
    assert world.is_in(Phase.SUCCEEDED)
    assert world.weights(OSLO) == world.weights(PARIS) == {V1: 10_000}


DIGESTS = "abcdefgh"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["release", "highlander", "rollback"]), st.sets(st.sampled_from([0, 1, 2]))
        ),
        max_size=6,
    )
)
def test_after_any_past_each_region_goes_back_to_what_served_there_last(
    past: list[tuple[str, set[int]]],
) -> None:
    """The model: for each region what has served there, the latest last."""
    places = (PARIS, OSLO, ROME)
    world = World()
    world.regions[ROME] = Region()
    sizes = tuple((region, 3) for region in places)
    policy = replace(REGIONAL, keep_groups=5)
    world.release("a", sizes=sizes, policy=policy)
    world.finish()
    served: dict[RegionName, list[str]] = {region: ["a"] for region in places}
    back: set[RegionName] = set()
    for index, (what, ills) in enumerate(past):
        world.now = Instant(world.now + 1)
        if what == "rollback":
            newest = max((served[each][-1] for each in places if each not in back), default="")
            going = [each for each in places if each not in back and served[each][-1] == newest]
            possible = [each for each in going if len(served[each]) > 1]
            if not possible:
                with pytest.raises(Refused):
                    rollback(world)
                continue
            rollback(world)
            world.settle()
            assert world.is_in(Phase.SUCCEEDED)
            best = max((served[each][-2] for each in possible), key=lambda each: _number(world, each))
            for each in going:
                served[each].append(served[each][-2] if each in possible else best)
            back |= set(going)
        else:
            digest = DIGESTS[index + 1]
            name = GroupName(f"hello-v{world.application.next_number:03}")
            ill = {places[each] for each in ills}
            for each in ill:
                world.regions[each].broken.add(name)
            steps = HIGHLANDER if what == "highlander" else HIGHLANDER[:-1]
            world.release(digest, sizes=sizes, policy=policy, steps=steps)
            world.finish()
            well = [each for each in places if each not in ill]
            for each in well:
                served[each].append(digest)
            back = (back - set(well)) | ill
        assert {each: serves(world, each) for each in places} == {each: served[each][-1] for each in places}


def _number(world: World, version: str) -> int:
    groups = (*world.application.groups, *world.application.past)
    return max(group.number for group in groups if group.version == version)


# ------------------------------------------------------------------------------------------ asked twice


def test_a_second_rollback_says_what_has_happened_and_asks_where_to() -> None:
    world = released("a", "b", "c")
    rollback(world)
    world.settle()
    with refused(
        match=r"hello has gone back already: hello-v002 \(b\) serves again in oslo, paris; say where "
        r"it is to go now: repave rollback hello --to hello-v001 "
        r"\(there are: hello-v001 \(a\), hello-v003 \(c\)\)"
    ):
        rollback(world)
    rollback(world, to="c")
    world.settle()
    assert serves(world, PARIS) == "c"


def test_a_rollback_after_a_release_that_went_back_does_not_go_one_further() -> None:
    for end in ("failed", "rolled back"):
        world = released("a", "b")
        if end == "failed":
            world.regions[OSLO].broken.add(V3)
        world.release("c")
        if end == "rolled back":
            rollback(world)
        world.settle()
        assert world.application.running is None
        with refused(match="has gone back already"):
            rollback(world)
        assert {serves(world, region) for region in world.regions} == {"b"}, end


def test_an_abort_is_no_rollback() -> None:
    world = released("a", "b")
    world.release("c")
    world.application, _ = request_abort(world.application, "ann", "a typo", world.now)
    world.settle()
    rollback(world)
    world.settle()
    assert {serves(world, region) for region in world.regions} == {"a"}


def test_the_next_release_may_be_rolled_back_again() -> None:
    world = released("a", "b")
    rollback(world)
    world.settle()
    world.release("c")
    world.finish()
    rollback(world)
    world.settle()
    assert {serves(world, region) for region in world.regions} == {"a"}


def test_asking_again_while_it_goes_back_joins_it() -> None:
    world = released("a")
    world.release("b", size=5)
    world.finish()
    for region in world.regions.values():
        region.most[V1] = 3
    rollback(world)
    world.settle()
    assert world.application.running is not None
    assert rollback(world) == ""
    assert rollback(world, to="a") == ""
    assert rollback(world, to="a", regions=(PARIS,)) == ""
    with refused(match=r"hello-v001 is being rolled out; rollback --to and --region wait"):
        rollback(world, to="b")
    world.application, _ = request_pause(world.application, "ann", "", world.now)
    assert rollback(world) == "resumed by ann"
    assert world.is_in(Phase.RUNNING)
    world.application, _ = request_abort(world.application, "ann", "", world.now)
    with refused(match="going back already"):
        rollback(world)
    world.settle()
    assert serves(world, PARIS) == "b"
