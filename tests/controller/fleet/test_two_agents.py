"""Two agents of one region: the first acts by lease once the second stands by. Over links in memory."""

from dataclasses import replace
from typing import Any

import pytest

from repave_controller.core.ports import StoreError
from repave_controller.fleet.holders import FREE_SECONDS, LEASE_SECONDS, RELEASED_SECONDS, Holder
from repave_protos.protocol.values import (
    Applied,
    AskLease,
    Epoch,
    Hello,
    Lease,
    RegionName,
    Rejection,
    Welcome,
)
from tests.fakes.controller.links import HELLO, PARIS, SHOP, Controller, MemoryLink, controlling, settle

A_MINUTE = LEASE_SECONDS


def of(instance: str, **changes: Any) -> Hello:
    """An agent whose hosts and balancer are a cloud's."""
    return replace(HELLO, **{"capabilities": ("take_over",), "leases": True, **changes}, instance=instance)


class Kept:
    """What the store has; it may not take more."""

    def __init__(self) -> None:
        self.holders: dict[RegionName, Holder] = {}
        self.is_full = False
        self.took_over = 0

    async def save(self, holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
        if self.is_full:
            raise StoreError("no space left on device")
        self.holders[holder.region] = holder
        for region in gone:
            self.holders.pop(region, None)
        self.took_over += is_other


async def two(controller: Controller) -> tuple[MemoryLink, Rejection]:
    """One that acts, and one that stands by."""
    first = await controller.connect(of("one"))
    return first, await refused(controller, of("two"))


async def refused(controller: Controller, hello: Hello) -> Rejection:
    (rejection,) = (await controller.connect(hello)).heard
    assert isinstance(rejection, Rejection)
    return rejection


async def admitted(controller: Controller, hello: Hello) -> Welcome:
    welcome = (await controller.connect(hello)).heard[0]
    assert isinstance(welcome, Welcome)
    return welcome


async def ask(link: MemoryLink, number: int = 1) -> None:
    link.say(AskLease(number))
    await settle()


async def test_an_agent_alone_has_no_lease_and_one_with_a_stand_by_is_told_on_its_open_stream() -> None:
    async with controlling() as controller:
        first, rejection = await two(controller)
        assert rejection.stands_by
        assert "this one stands by" in rejection.reason
        alone, bound = first.heard
        assert isinstance(alone, Welcome)
        assert isinstance(bound, Welcome)
        assert (alone.lease_seconds, alone.term) == (0.0, 1)
        assert (bound.lease_seconds, bound.term) == (LEASE_SECONDS, 1)
        assert not controller.sessions.is_bound(PARIS), "not before it has confirmed"
        await ask(first, 7)
        assert first.heard[-1] == Lease(7, LEASE_SECONDS, 1)
        assert controller.sessions.is_bound(PARIS)
        rival = controller.sessions.rivals()[PARIS]
        assert (rival.hello.instance, rival.can_follow) == ("two", True)


async def test_the_stand_by_gets_the_region_when_the_last_lease_has_surely_ended_and_not_before() -> None:
    async with controlling() as controller:
        first, _ = await two(controller)
        for minute in range(5):
            controller.now = minute * A_MINUTE
            await ask(first, minute)
        first.hang_up()
        await settle()
        for seconds in (0.0, LEASE_SECONDS, FREE_SECONDS - 0.1):
            controller.now = 4 * A_MINUTE + seconds
            assert "its lease ends in" in (await refused(controller, of("two"))).reason
        controller.now = 4 * A_MINUTE + FREE_SECONDS
        welcome = await admitted(controller, of("two"))
        assert (welcome.term, welcome.lease_seconds) == (2, LEASE_SECONDS)
        assert (await refused(controller, of("one"))).stands_by


async def test_one_that_is_connected_and_asks_for_no_lease_any_more_has_lost_the_region() -> None:
    """Its process is half dead, or its lease goes unheard: it has stopped by its own clock."""
    async with controlling() as controller:
        first, _ = await two(controller)
        await ask(first)
        controller.now = FREE_SECONDS
        assert (await admitted(controller, of("two"))).term == 2
        await settle()
        last = first.heard[-1]
        assert isinstance(last, Rejection)
        assert last.stands_by


async def test_one_that_was_cut_off_before_it_knew_of_the_other_has_the_region_until_a_person_says_so() -> (
    None
):
    async with controlling() as controller:
        first = await controller.connect(of("one"))
        first.hang_up()
        await settle()
        controller.now = 1_000_000.0
        assert "may act on there" in (await refused(controller, of("two"))).reason
        controller.sessions.let_take_over(PARIS)
        assert (await admitted(controller, of("two"))).term == 2


async def test_one_that_was_told_but_has_not_confirmed_is_not_taken_for_bound() -> None:
    async with controlling() as controller:
        first, _ = await two(controller)
        first.hang_up()
        await settle()
        controller.now = 1_000_000.0
        assert "may act on there" in (await refused(controller, of("two"))).reason


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (of("one", capabilities=()), of("two")),
        (of("one"), of("two", capabilities=())),
        (replace(of("one"), leases=False), of("two")),
        (of("one"), replace(of("two"), leases=False)),
    ],
)
async def test_without_leases_on_both_sides_nothing_is_taken_over_by_itself(
    first: Hello, second: Hello
) -> None:
    async with controlling() as controller:
        link = await controller.connect(first)
        await refused(controller, second)
        assert len(link.heard) == 1, "the first one goes on as one that is alone"
        await ask(link)
        link.hang_up()
        await settle()
        controller.now = 1_000_000.0
        await refused(controller, second)


async def test_who_has_a_region_outlives_the_controller_and_so_do_leases() -> None:
    kept = Kept()
    async with controlling() as controller:
        controller.sessions.recall([], kept.save)
        first, _ = await two(controller)
        await ask(first)
        assert kept.holders[PARIS] == Holder(PARIS, "one", 1, is_bound=True)
    async with controlling() as controller:
        controller.now = 5_000.0
        controller.sessions.recall(kept.holders.values(), kept.save)
        assert "its lease ends in" in (await refused(controller, of("two"))).reason
        controller.now += FREE_SECONDS - 1
        await refused(controller, of("two"))
        first = await controller.connect(of("one"))
        assert first.heard[0] == replace(WELCOME_BY_LEASE, term=1)
        controller.now += FREE_SECONDS
        assert (await admitted(controller, of("two"))).term == 2
    assert kept.took_over == 1
    assert kept.holders[PARIS] == Holder(PARIS, "two", 2, is_bound=True)


async def test_a_region_alone_is_kept_for_its_agent_over_a_restart_of_the_controller() -> None:
    """The other one may come first; and the agent may be cut off and heal on."""
    async with controlling() as controller:
        controller.sessions.recall([Holder(PARIS, "one", 3)], Kept().save)
        assert "may act on there" in (await refused(controller, of("two"))).reason
        assert (await admitted(controller, of("one"))).term == 3


async def test_nobody_gets_what_could_not_be_written_down() -> None:
    kept = Kept()
    async with controlling() as controller:
        controller.sessions.recall([], kept.save)
        first, _ = await two(controller)
        await ask(first)
        controller.now = FREE_SECONDS
        kept.is_full = True
        assert "can't be written down: no space left" in (await refused(controller, of("two"))).reason
        kept.is_full = False
        assert (await admitted(controller, of("two"))).term == 2


async def test_of_two_stand_bys_one_gets_the_region() -> None:
    async with controlling() as controller:
        first, _ = await two(controller)
        await ask(first)
        controller.now = FREE_SECONDS
        links = [MemoryLink(), MemoryLink()]
        for link, name in zip(links, ("two", "three"), strict=True):
            controller.tasks.append(controller.serve(link))
            link.say(of(name))
        await settle()
        assert sorted(type(link.heard[0]).__name__ for link in links) == ["Rejection", "Welcome"]


async def test_without_a_stand_by_for_long_the_agent_acts_without_leases_again() -> None:
    kept = Kept()
    async with controlling() as controller:
        controller.sessions.recall([], kept.save)
        first, _ = await two(controller)
        await ask(first)
        controller.now = RELEASED_SECONDS
        await ask(first, 2)
        last = first.heard[-1]
        assert isinstance(last, Welcome)
        assert last.lease_seconds == 0.0
        assert not kept.holders[PARIS].is_bound
        await refused(controller, of("two"))
        assert first.heard[-1] == replace(last, lease_seconds=LEASE_SECONDS), "and with a new one as before"


async def test_terms_go_on_above_what_an_agent_knows_when_the_store_was_restored() -> None:
    async with controlling() as controller:
        controller.sessions.recall([Holder(PARIS, "one", 2)], Kept().save)
        assert (await admitted(controller, of("one", term=5))).term == 5
        controller.sessions.let_take_over(PARIS)
        assert (await admitted(controller, of("two", term=9))).term == 10


async def test_a_former_agent_that_comes_back_with_all_it_had_pushes_nobody_out() -> None:
    applied = (Applied(SHOP, Epoch(1, 1, 1), "f" * 16),)
    async with controlling() as controller:
        first = await controller.connect(of("one", applied=applied))
        await refused(controller, of("two"))
        await ask(first)
        first.hang_up()
        await settle()
        controller.now = FREE_SECONDS
        await admitted(controller, of("two"))
        assert (await refused(controller, of("one", applied=applied))).stands_by


async def test_a_region_that_is_forgotten_is_anyones_again_and_its_record_goes() -> None:
    kept = Kept()
    async with controlling() as controller:
        controller.sessions.recall([], kept.save)
        link = await controller.connect(of("one"))
        link.hang_up()
        await settle()
        assert controller.sessions.forget(PARIS)
        await admitted(controller, of("two", region=RegionName("oslo")))
        assert set(kept.holders) == {"oslo"}
        assert (await admitted(controller, of("two"))).term == 1


WELCOME_BY_LEASE = Welcome("0.1.0", "store-1", "http://127.0.0.1:7400/v1/images", lease_seconds=LEASE_SECONDS)
