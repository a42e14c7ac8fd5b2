"""Controllers in virtual time over a store in memory: which one decides for which shard, whatever happens."""

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import pairwise

import pytest

from repave_controller.core.ports import StoreError
from repave_controller.peers.membership import AGAIN_SECONDS, JOIN_SECONDS, Membership
from repave_controller.peers.ports import (
    BEAT_SECONDS,
    LEASE_SECONDS,
    SHARDS,
    Member,
    Shard,
    Standing,
    shard_of,
)
from repave_protos.protocol.values import ApplicationName
from repave_simulation.kernel.loop import SimulatedLoop
from repave_simulation.kernel.timeline import Life
from repave_simulation.tiers.shared_members import MemoryRoll, Roster

SHOP = ApplicationName("shop")


class Watched:
    """A listener that writes down what it hears; each shard is told in turns."""

    def __init__(self) -> None:
        self.has: dict[Shard, int] = {}
        self.heard = 0
        self.newest: Standing | None = None
        self.refuses = False

    async def gained(self, terms: Mapping[Shard, int]) -> None:
        if self.refuses:
            raise StoreError("can't be read")
        assert not set(terms) & set(self.has)
        self.has.update(terms)
        self.heard += 1

    async def lost(self, shards: Collection[Shard]) -> None:
        for each in shards:
            self.has.pop(each, None)

    def standing(self, standing: Standing) -> None:
        self.newest = standing


class Controller:
    def __init__(self, world: "World", name: str, instance: str, has_locks: bool = True) -> None:
        self.member = Member(name, instance, f"http://{name}", f"{name}:7443", "1.0", world.loop.now)
        self.roll = MemoryRoll(world.roster, has_locks)
        self.listener = Watched()
        self.life = Life(instance)
        self.membership = Membership(self.roll, self.member, self.listener, world.loop.time)

    def decides_for(self) -> set[Shard]:
        return {each for each in range(SHARDS) if self.membership.tenure_of(NAMED[each]) is not None}


NAMED = {shard_of(ApplicationName(f"app-{n}")): ApplicationName(f"app-{n}") for n in range(2000)}


class World:
    def __init__(self) -> None:
        self.loop = SimulatedLoop(1)
        self.roster = Roster(self.loop.time)
        self._instances = 0

    def start(self, name: str, has_locks: bool = True) -> Controller:
        self._instances += 1
        made = Controller(self, name, f"{name}-{self._instances}", has_locks)
        self.loop.spawn(made.life, made.membership.run(), made.member.instance)
        return made

    def kill(self, controller: Controller) -> None:
        controller.life.is_over = True
        self.roster.died(controller.member)

    def freeze(self, controller: Controller) -> None:
        controller.life.is_frozen = True

    def after(self, seconds: float) -> None:
        self.loop.run(self.loop.now + seconds)
        assert not self.loop.failures, self.loop.failures

    def seconds_until(self, holds: Callable[[], bool], limit: float = 30.0) -> float:
        begun = self.loop.now
        while not holds():
            assert self.loop.now - begun < limit, "it never comes to that"
            self.after(0.01)
        return self.loop.now - begun


@pytest.fixture
def world() -> Iterator[World]:
    assert len(NAMED) == SHARDS
    made = World()
    yield made
    made.loop.end()


def are_balanced(*controllers: Controller) -> bool:
    sizes = [len(each.decides_for()) for each in controllers]
    return sum(sizes) == SHARDS and max(sizes) - min(sizes) <= 1


def test_one_alone_decides_for_everything_at_once(world: World) -> None:
    alone = world.start("a")
    assert world.seconds_until(lambda: len(alone.decides_for()) == SHARDS) <= 0.1
    assert len(alone.listener.has) == SHARDS
    assert alone.membership.owner_of(SHOP) in (None, "a")


def test_others_are_given_their_part_and_then_nothing_moves(world: World) -> None:
    three = [world.start(each) for each in "abc"]
    world.seconds_until(lambda: are_balanced(*three))
    late = world.start("d")
    world.seconds_until(lambda: are_balanced(*three, late))
    world.after(0.5)
    moves = [each.membership.take_overs for each in (*three, late)]
    world.after(30.0)
    assert [each.membership.take_overs for each in (*three, late)] == moves
    for each in (*three, late):
        assert set(each.listener.has) == each.decides_for()
        owner = {each.membership.owner_of(NAMED[n]) for n in late.decides_for()}
        assert owner == {"d"}


def test_what_a_killed_one_had_is_taken_with_the_next_beat(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    world.after(1.0)
    world.kill(a)
    assert world.seconds_until(lambda: len(b.decides_for()) == SHARDS) <= 0.12


def test_shards_that_a_last_commit_holds_are_asked_for_again_before_the_next_beat(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    world.after(1.0)
    held, asked = set(list(a.decides_for())[:8]), 0
    take = b.roll.take

    async def take_but_those(member: Member, shards: Collection[Shard]) -> Mapping[Shard, int]:
        nonlocal asked
        asked += 1
        return await take(member, [each for each in shards if each not in held or asked > 2])

    b.roll.take = take_but_those  # type: ignore[method-assign]
    world.kill(a)
    world.seconds_until(lambda: len(b.decides_for()) == SHARDS - len(held))
    assert world.seconds_until(lambda: len(b.decides_for()) == SHARDS) <= 4 * AGAIN_SECONDS
    assert asked == 3
    world.after(1.0)
    assert asked == 3


def test_shards_that_are_not_to_be_had_for_long_are_asked_for_with_each_beat(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    world.after(1.0)
    asked: list[float] = []
    take = b.roll.take

    async def refuse(member: Member, shards: Collection[Shard]) -> Mapping[Shard, int]:
        asked.append(world.loop.now)
        return {}

    b.roll.take = refuse  # type: ignore[method-assign]
    world.kill(a)
    world.after(5.0)
    assert len(asked) <= 1.2 * 5.0 / BEAT_SECONDS
    assert max(later - sooner for sooner, later in pairwise(asked)) <= 1.01 * BEAT_SECONDS
    b.roll.take = take  # type: ignore[method-assign]
    assert world.seconds_until(lambda: len(b.decides_for()) == SHARDS) <= 1.2 * BEAT_SECONDS


def test_where_locks_do_not_tell_it_is_taken_when_the_lease_ends(world: World) -> None:
    a, b = world.start("a", has_locks=False), world.start("b", has_locks=False)
    world.seconds_until(lambda: are_balanced(a, b))
    world.after(1.0)
    world.kill(a)
    seconds = world.seconds_until(lambda: len(b.decides_for()) == SHARDS)
    assert LEASE_SECONDS - 0.2 <= seconds <= LEASE_SECONDS + 0.12


def test_a_frozen_one_that_wakes_decides_nothing_until_it_has_a_lease_and_shards_again(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    world.freeze(a)
    assert world.seconds_until(lambda: len(b.decides_for()) == SHARDS) <= LEASE_SECONDS + 0.12
    assert not a.decides_for(), "by its own clock its lease has ended"
    former = dict(a.membership.held)
    world.loop.thaw(a.life)
    for _ in range(500):
        world.after(0.01)
        assert not a.decides_for() & b.decides_for()
    assert are_balanced(a, b)
    for shard, term in former.items():
        assert not world.roster.may_commit("a", shard, term), "what it decided before it slept is refused"


def test_one_whose_store_is_away_decides_nothing_and_goes_on_when_it_is_back(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    before = a.decides_for(), b.decides_for()
    for each in (a, b):
        each.roll.trouble = "the database does not answer."
    world.after(LEASE_SECONDS + 0.01)
    assert not a.decides_for()
    assert not b.decides_for()
    assert not a.listener.has
    assert a.membership.trouble == "the database does not answer."
    world.after(60.0)
    a.roll.trouble = ""
    world.after(0.2)
    b.roll.trouble = ""
    world.after(0.2)
    assert (a.decides_for(), b.decides_for()) == before, "each has what it had"
    assert a.membership.trouble == ""
    assert a.membership.lapses == 1


def test_one_that_alone_is_cut_off_is_succeeded(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    a.roll.trouble = "the database does not answer."
    for _ in range(200):
        world.after(0.01)
        assert not a.decides_for() & b.decides_for(), "never two"
    assert len(b.decides_for()) == SHARDS
    a.roll.trouble = ""
    world.seconds_until(lambda: are_balanced(a, b))


def test_one_that_stops_hands_over_before_its_lease_ends(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    stopping = world.loop.spawn(a.life, a.membership.stop(), "stop")
    assert world.seconds_until(lambda: len(b.decides_for()) == SHARDS) <= 0.12
    assert stopping.done()
    assert not a.decides_for()
    assert not a.listener.has
    assert set(world.roster.members) == {"b"}
    world.after(5.0)
    assert set(world.roster.members) == {"b"}, "it does not come back by itself"


def test_a_new_incarnation_makes_every_shard_new(world: World) -> None:
    a = world.start("a")
    world.seconds_until(lambda: len(a.decides_for()) == SHARDS)
    heard, terms = a.listener.heard, dict(a.membership.held)
    world.roster.incarnation = 7
    world.after(0.3)
    tenure = a.membership.tenure_of(SHOP)
    assert tenure is not None
    assert tenure.incarnation == 7
    assert a.listener.heard == heard + 1, "all was read again"
    assert all(a.membership.held[each] > terms[each] for each in terms)


@pytest.mark.parametrize("step", [-3600.0, -2.0, 2.0, 3600.0])
def test_a_clock_of_the_database_that_jumps_makes_no_two_owners(world: World, step: float) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    world.roster.clock_step = step
    for _ in range(300):
        world.after(0.01)
        for shard in a.decides_for() & b.decides_for():
            may = [
                world.roster.may_commit(each.member.id, shard, each.membership.held[shard]) for each in (a, b)
            ]
            assert may != [True, True]
    world.seconds_until(lambda: are_balanced(a, b))


def test_a_clock_of_the_database_that_was_set_back_does_not_keep_a_dead_one_alive(world: World) -> None:
    a, b = world.start("a", has_locks=False), world.start("b", has_locks=False)
    world.seconds_until(lambda: are_balanced(a, b))
    world.kill(a)
    world.roster.clock_step = -3600.0
    assert world.seconds_until(lambda: len(b.decides_for()) == SHARDS) <= LEASE_SECONDS


def test_a_restart_takes_the_name_of_one_that_was_killed_and_all_its_shards(world: World) -> None:
    a, b = world.start("a"), world.start("b")
    world.seconds_until(lambda: are_balanced(a, b))
    b.roll.trouble = "away"  # so that it does not take them first
    world.kill(a)
    again = world.start("a")
    world.after(0.3)
    assert len(again.decides_for()) >= SHARDS / 2
    assert not set(again.membership.held.items()) & set(a.membership.held.items()), "under new terms"


def test_a_second_process_of_one_name_is_refused_while_the_first_is_there(world: World) -> None:
    first = world.start("a")
    world.seconds_until(lambda: len(first.decides_for()) == SHARDS)
    second = Controller(world, "a", "a-other")
    joining = world.loop.spawn(second.life, second.membership.join(), "join")
    with pytest.raises(AssertionError, match=r"another controller calls itself .*'a.*' and is there"):
        world.after(JOIN_SECONDS + 0.5)
    world.loop.failures.clear()
    assert isinstance(joining.exception(), StoreError)
    assert len(first.decides_for()) == SHARDS


def test_shards_that_could_not_be_read_are_taken_anew(world: World) -> None:
    a = world.start("a")
    a.listener.refuses = True
    world.after(1.0)
    a.listener.refuses = False
    world.seconds_until(lambda: len(a.listener.has) == SHARDS)
    assert a.decides_for() == set(a.listener.has)


def test_at_no_instant_two_decide_under_terms_that_the_store_takes(world: World) -> None:
    """Kills, freezes, cuts and stops, one after the other, over three controllers."""
    there = {each: world.start(each) for each in "abc"}
    for turn in range(24):
        name = "abc"[turn % 3]
        other = there[name]
        fault = turn % 4
        if fault == 0:
            world.kill(other)
        elif fault == 1:
            world.freeze(other)
        elif fault == 2:
            other.roll.trouble = "away"
        else:
            world.loop.spawn(other.life, other.membership.stop(), "stop")
        for _ in range(20 + 17 * (turn % 11)):
            world.after(0.01)
            allowed = [
                (shard, each.member.instance)
                for each in there.values()
                for shard, term in each.membership.held.items()
                if each.membership.has_lease and world.roster.may_commit(each.member.id, shard, term)
            ]
            assert len({shard for shard, _ in allowed}) == len(allowed)
        if fault == 1:
            world.loop.thaw(other.life)
        elif fault == 2:
            other.roll.trouble = ""
        else:
            there[name] = world.start(name)
    world.seconds_until(lambda: are_balanced(*there.values()))
