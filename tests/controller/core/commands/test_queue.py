"""Releases that wait: they stand still after anything but success, the newest may take the place of the
others, or of what runs; and sizes that a release keeps."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from repave_controller.core.commands.queue import QueueDrop, QueueMove, QueueResume
from repave_controller.core.commands.release import WhileBusy, answer, request_release
from repave_controller.core.commands.rollback import request_abort
from repave_controller.core.commands.steering import Abort, Resize
from repave_controller.core.domain.application import Instant, ReleaseOrder, Tenure
from repave_controller.core.domain.reasons import Refusal, Refused, Why, reason_of
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.planning.plan import plan_release
from repave_controller.core.rollout.draft import Turn
from repave_controller.core.rollout.queues import because, may_go_on, stand_still_after
from repave_controller.core.rollout.step import step
from repave_controller.core.rules.guards import NO_CONSTRAINTS, Room
from repave_controller.core.strategies import presets
from repave_controller.spec.spec import compile_order
from repave_controller.wording.render import event_text, text_of
from repave_protos.protocol.values import Digest, GroupName, RegionName
from tests.scenarios.specs import spec
from tests.scenarios.stage import done, serving
from tests.scenarios.world import World

OSLO, PARIS = RegionName("oslo"), RegionName("paris")
NEW = GroupName("shop-v002")
QUEUED = WhileBusy(queues=True)


def order(world: World, version: str, **changes: object) -> ReleaseOrder:
    made = compile_order(world.spec, Digest(version[-1] * 64), version, "ann")
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of the dataclass


def asked(world: World, version: str, busy: WhileBusy = QUEUED, **changes: object) -> Refused | None:
    now = Instant(world.now)
    try:
        world.application, _ = request_release(world.application, order(world, version, **changes), busy, now)
    except Refused as refused:
        return refused
    world.decide()
    return None


def busy_world(extra: str = "") -> World:
    """2.0 is on its way behind 1.1, and 3.0 and 4.0 wait for it."""
    world = serving("a queue", spec("{blue_green: {warm: 10s}}", "paris:2, oslo:2", extra))
    world.release("2.0")
    world.run(5)
    assert asked(world, "3.0") is None
    assert asked(world, "4.0") is None
    return world


def versions(world: World) -> list[str]:
    return [each.version for each in world.application.queue]


def waits_for(world: World) -> list[str]:
    decision = step(world.application, world.observed, Instant(world.now), Tenure(1, 1))
    return [text_of(each.reason) for each in decision.because if each.reason.kind is Why.QUEUE_STANDS]


# ------------------------------------------------------------------------------------------- stands still


def fails(world: World) -> None:
    world.regions[OSLO].broken.add(NEW)


def aborted(world: World) -> None:
    world.application, _ = request_abort(world.application, "ann", "", Instant(world.now))


def left_out(world: World) -> None:
    assert done(world, Abort(OSLO)) is None


@pytest.mark.parametrize(
    ("extra", "happens", "phase", "said"),
    [
        ("", fails, Phase.ROLLED_BACK, "the release of shop-v002 went back"),
        ("", aborted, Phase.ABORTED, "the release of shop-v002 was aborted"),
        ("rollback: {scope: region}\n", fails, Phase.HELD, "the release of shop-v002 is held"),
        ("", left_out, Phase.SUCCEEDED, "the release of shop-v002 did not reach every region"),
    ],
)
def test_after_anything_but_success_the_queue_stands_until_a_person_goes_on(
    extra: str, happens: Callable[[World], None], phase: Phase, said: str
) -> None:
    if phase is Phase.HELD:
        extra += "waves:\n  - {regions: [paris]}\n  - {regions: rest}\n"
    world = busy_world(extra)
    happens(world)
    assert world.until_over() is phase
    number = world.rollout.number
    world.run(300)
    assert world.rollout.number == number
    assert versions(world) == ["3.0", "4.0"]
    assert waits_for(world) == [f"queue: 2 releases wait until a person goes on, for {said}"]
    assert done(world, QueueResume()) is None
    assert (world.rollout.version, world.rollout.number) == ("3.0", number + 1)
    assert world.until_over() is Phase.SUCCEEDED
    world.until(lambda each: each.rollout.version == "4.0")
    assert waits_for(world) == []


def test_after_a_success_the_next_one_begins_by_itself() -> None:
    world = busy_world()
    world.until(lambda each: each.rollout.version == "4.0")
    assert world.until_over() is Phase.SUCCEEDED
    assert world.application.queue_stands is None


def test_neither_a_rollback_nor_another_release_lets_the_queue_go_on() -> None:
    world = busy_world()
    aborted(world)
    world.until_over()
    assert asked(world, "5.0", WhileBusy()) is None
    assert world.rollout.version == "5.0"
    assert world.until_over() is Phase.SUCCEEDED
    world.run(60)
    assert versions(world) == ["3.0", "4.0"]
    assert asked(world, "6.0") is None, "who queues stands behind the others"
    assert versions(world) == ["3.0", "4.0", "6.0"]
    assert world.application.running is None


def test_one_that_may_not_be_any_more_stops_those_behind_it() -> None:
    world = serving("a queue", spec("{blue_green: {warm: 10s}}", "paris:2, oslo:2"))
    world.release("2.0")
    assert asked(world, "3.0", frontend_port=81) is None
    assert asked(world, "4.0") is None
    world.until(lambda each: each.application.queue_stands is not None)
    assert versions(world) == ["4.0"]
    assert "the release of 3.0 was refused" in waits_for(world)[0]


# ------------------------------------------------------------------------------------------- what people do


def test_releases_are_dropped_by_number_by_version_or_all() -> None:
    world = busy_world()
    assert asked(world, "4.0") is None
    refused = done(world, QueueDrop("9.9"))
    assert refused is not None
    assert text_of(refused.reason) == (
        "no queued release of shop has the number or version 9.9; there are: 1 (3.0), 2 (4.0), 3 (4.0)"
    )
    refused = done(world, QueueDrop("4.0"))
    assert refused is not None
    assert refused.kind is Refusal.AMBIGUOUS_QUEUED
    assert done(world, QueueDrop("2")) is None
    assert done(world, QueueDrop("3.0")) is None
    assert [(each.number, each.version) for each in world.application.queue] == [(3, "4.0")]
    assert done(world, QueueDrop(is_all=True)) is None
    assert world.application.queue == ()
    for verb in (QueueDrop(is_all=True), QueueDrop("1"), QueueResume()):
        refused = done(world, verb)
        assert refused is not None
        assert refused.kind is Refusal.QUEUE_EMPTY


@pytest.mark.parametrize(
    ("name", "place", "after"),
    [
        ("3", 1, ["5.0", "3.0", "4.0"]),
        ("5.0", 2, ["3.0", "5.0", "4.0"]),
        ("1", 3, ["4.0", "5.0", "3.0"]),
        ("1", 1000, ["4.0", "5.0", "3.0"]),
        ("3.0", 1, ["3.0", "4.0", "5.0"]),
    ],
)
def test_a_release_gets_another_place_and_begins_when_it_is_first(
    name: str, place: int, after: list[str]
) -> None:
    world = busy_world()
    assert asked(world, "5.0") is None
    numbers = {each.version: each.number for each in world.application.queue}
    assert done(world, QueueMove(name, place)) is None
    assert versions(world) == after
    assert {each.version: each.number for each in world.application.queue} == numbers
    world.until(lambda each: each.rollout.version == after[0])
    assert versions(world) == after[1:]


def test_only_a_release_that_waits_gets_another_place() -> None:
    world = busy_world()
    refused = done(world, QueueMove("9.9", 1))
    assert refused is not None
    assert refused.kind is Refusal.UNKNOWN_QUEUED
    assert done(world, QueueDrop(is_all=True)) is None
    refused = done(world, QueueMove("3.0", 1))
    assert refused is not None
    assert refused.kind is Refusal.QUEUE_EMPTY


def test_what_replaces_a_rollout_stays_the_first() -> None:
    world = busy_world()
    assert asked(world, "5.0", WhileBusy(replaces=True)) is None
    assert versions(world) == ["5.0", "3.0", "4.0"]
    for verb in (QueueMove("5.0", 2), QueueMove("4.0", 1)):
        refused = done(world, verb)
        assert refused is not None
        assert text_of(refused.reason) == (
            "release 3 (5.0) replaces the rollout that goes back, and so is the first of the queue"
        )
    assert done(world, QueueMove("4.0", 2)) is None
    assert versions(world) == ["5.0", "4.0", "3.0"]


def test_a_queue_that_goes_on_is_not_resumed_and_one_that_is_empty_stands_no_more() -> None:
    world = busy_world()
    refused = done(world, QueueResume())
    assert refused is not None
    assert refused.kind is Refusal.QUEUE_GOES_ON
    aborted(world)
    world.until_over()
    assert done(world, QueueDrop(is_all=True)) is None
    assert because(world.application) is None
    assert asked(world, "5.0") is None
    assert world.rollout.version == "5.0"


def test_of_those_that_wait_only_the_newest_is_left_where_that_is_wanted() -> None:
    world = busy_world()
    assert asked(world, "5.0", WhileBusy(is_latest=True)) is None
    assert versions(world) == ["5.0"]
    world.until(lambda each: each.rollout.version == "5.0")
    assert world.until_over() is Phase.SUCCEEDED


# ------------------------------------------------------------------------------------------------- replaced


def test_a_release_that_replaces_another_begins_when_that_has_gone_back() -> None:
    world = serving("replaced", spec("{canary: {steps: [{traffic: 25%, hold: 10m}]}}", "paris:4, oslo:4"))
    world.release("2.0")
    world.until(lambda each: each.weights("oslo").get(NEW) == 2500)
    before = world.application
    assert asked(world, "3.0", WhileBusy(replaces=True)) is None
    assert answer(before, world.application).is_queued
    assert world.weights("oslo") == {"shop-v001": 10_000}
    assert text_of(world.rollout.undo_reason) == "replaced by 3.0, asked by ann"
    assert world.until_over() is Phase.ABORTED
    world.until(lambda each: each.rollout.version == "3.0")
    assert world.until_over() is Phase.SUCCEEDED
    assert world.weights("oslo") == {"shop-v003": 10_000}


def test_the_newest_that_replaces_wins_and_the_queue_stands_behind_it() -> None:
    world = busy_world()
    assert asked(world, "5.0", WhileBusy(replaces=True)) is None
    newest, now = order(world, "6.0"), Instant(world.now)
    world.application, told = request_release(world.application, newest, WhileBusy(replaces=True), now)
    assert "5.0 will not be released: 6.0 is newer" in [event_text(event) for event in told]
    assert versions(world) == ["6.0", "3.0", "4.0"]
    assert text_of(world.rollout.undo_reason) == "replaced by 6.0, asked by ann"
    world.until(lambda each: each.rollout.version == "6.0")
    assert world.until_over() is Phase.SUCCEEDED
    world.run(60)
    assert versions(world) == ["3.0", "4.0"]
    assert len(waits_for(world)) == 1


def test_what_has_not_gone_back_is_replaced_by_nothing_until_a_person_goes_on() -> None:
    world = busy_world()
    assert asked(world, "5.0", WhileBusy(replaces=True)) is None
    held = replace(world.rollout, phase=Phase.HELD)
    turn = Turn(replace(world.application, rollout=held), world.observed, Instant(world.now), NO_CONSTRAINTS)
    stand_still_after(turn, held)
    assert not may_go_on(turn.application)
    resumed, _ = QueueResume().apply(turn.application, world.observed, "ann", "", Instant(world.now))
    assert may_go_on(resumed)


def test_nothing_is_replaced_that_can_not_go_back_nor_by_what_may_not_be() -> None:
    world = World(spec("{blue_green: {warm: 10m}}", "paris:2, oslo:2"), "the first")
    world.release("1.1")
    world.until(lambda each: each.weights("oslo") == {"shop-v001": 10_000})
    refused = asked(world, "2.0", WhileBusy(replaces=True))
    assert refused is not None
    assert refused.kind is Refusal.NOTHING_TO_REPLACE
    world = busy_world()
    refused = asked(world, "5.0", WhileBusy(replaces=True), frontend_port=81)
    assert refused is not None
    assert refused.kind is Refusal.FRONTEND_PORT_CHANGED
    assert world.rollout.phase is Phase.RUNNING
    too_large = tuple((region, 500) for region in (RegionName("oslo"), RegionName("paris")))
    pace = presets.Pace(30.0, 1.0)
    single = (*presets.up(pace, 0.0, 1), presets.weight(5000), *presets.blue_green(pace, 0.0))
    refused = asked(world, "5.0", WhileBusy(replaces=True), sizes=too_large, steps=single)
    assert refused is not None
    assert refused.kind is Refusal.STEPS_DONT_FIT, "before what runs goes back"
    assert world.rollout.phase is Phase.RUNNING


def test_a_release_that_replaces_nothing_just_begins() -> None:
    world = serving("free", spec("{blue_green: {warm: 1s}}"))
    assert asked(world, "2.0", WhileBusy(replaces=True)) is None
    assert world.rollout.version == "2.0"


# --------------------------------------------------------------------------------------------------- sizes


def test_a_release_keeps_the_sizes_that_the_regions_have_when_it_begins() -> None:
    world = serving("sizes", spec("{blue_green: {warm: 5s}}", "paris:2, oslo:2"))
    world.release("2.0")
    assert asked(world, "3.0", keeps_sizes=True) is None
    assert done(world, Resize(((PARIS, 5),))) is None
    world.until(lambda each: each.rollout.version == "3.0")
    assert world.until_over() is Phase.SUCCEEDED
    assert (world.counts("paris")["shop-v003"], world.counts("oslo")["shop-v003"]) == (5, 2)
    world.release("4.0")
    assert world.until_over() is Phase.SUCCEEDED
    assert world.counts("paris")["shop-v004"] == 2


def test_the_plan_of_it_tells_the_sizes_it_keeps() -> None:
    world = serving("sizes", spec("{blue_green: {warm: 5s}}", "paris:2, oslo:2"))
    assert done(world, Resize(((PARIS, 5),))) is None
    kept, plain = (
        plan_release(world.application, order(world, "2.0", keeps_sizes=keeps)) for keeps in (True, False)
    )
    assert [each.creates for each in kept.regions] == [5, 2]
    assert [each.creates for each in plain.regions] == [2, 2]
    assert kept.id != plain.id


def test_a_region_that_is_new_has_the_size_of_the_spec() -> None:
    world = serving("sizes", spec("{blue_green: {warm: 5s}}", "paris:3", ""))
    wider = order(world, "2.0", keeps_sizes=True, sizes=((OSLO, 4), (PARIS, 9)), waves=())
    started, _ = request_release(world.application, wider, WhileBusy(), Instant(world.now))
    group = started.group(started.rollout.target) if started.rollout is not None else None
    assert group is not None
    assert dict(group.sizes) == {OSLO: 4, PARIS: 3}


# ------------------------------------------------------------------------------------------------- room


def asking(world: World, *lacks: RegionName) -> None:
    """The regions have said, of the first release that waits, that these have no room."""
    number = world.application.queue[0].number
    said = tuple((each, reason_of(Why.TEXT, text=f"{each} is full")) for each in lacks)
    world.constraints = replace(NO_CONSTRAINTS, asks_room=True, room=Room(number, said))


def at_its_turn(extra: str = "") -> World:
    """2.0 has succeeded, and 3.0 is to begin once the regions have been asked."""
    world = busy_world(extra)
    world.constraints = replace(NO_CONSTRAINTS, asks_room=True)
    world.until_over()
    world.run(3)
    return world


def test_a_queued_release_begins_once_the_regions_have_said_that_it_fits() -> None:
    world = at_its_turn()
    assert world.application.running is None
    (waits,) = [each.reason for each in world.because if each.reason.kind is Why.QUEUE_ASKS_ROOM]
    assert text_of(waits) == "queue: the regions are asked whether 3.0 has room"
    asking(world)
    world.run(1)
    assert world.application.running is not None
    assert [each.version for each in world.application.queue] == ["4.0"]


def test_one_that_does_not_fit_keeps_its_place_and_the_queue_says_why() -> None:
    world = at_its_turn()
    asking(world, OSLO)
    world.run(1)
    assert world.application.running is None
    assert [each.version for each in world.application.queue] == ["3.0", "4.0"]
    stands = because(world.application)
    assert stands is not None
    assert text_of(stands.reason).startswith(
        "queue: 2 releases wait until a person goes on, for 3.0: oslo is full;"
    )
    assert "repave groups retire shop shop-v001" in text_of(stands.reason)
    world.constraints = replace(NO_CONSTRAINTS, asks_room=True)
    assert done(world, QueueResume()) is None
    assert world.application.running is None
    asking(world)
    world.run(1)
    assert world.application.running is not None


def test_kept_groups_make_room_for_it_where_the_spec_says_so() -> None:
    world = at_its_turn("rollback: {keep: {give_way: true}}\n")
    asking(world, OSLO)
    world.run(1)
    assert world.application.running is not None
    assert any("gives way" in line for line in world.lines)


def test_a_forced_one_is_not_asked_for() -> None:
    world = busy_world()
    assert done(world, QueueDrop(is_all=True)) is None
    assert asked(world, "3.0", is_forced=True) is None
    world.constraints = replace(NO_CONSTRAINTS, asks_room=True)
    world.until(lambda each: each.application.queue == ())
    assert world.application.running is not None
