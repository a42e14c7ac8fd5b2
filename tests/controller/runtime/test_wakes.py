"""A report wakes what it speaks of: counted in decisions of the real scheduler."""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

from repave_controller.core.commands.promotion import Promote
from repave_controller.core.domain.application import Instant, Policy
from repave_controller.core.steps import Scale, Soak, Verify, Weight
from repave_controller.runtime.owner import SETTLED_SECONDS
from repave_protos.protocol.values import ApplicationName, RegionName
from tests.fakes.controller.scheduled import CART, OSLO, PARIS, SHOP, FakeRegion, World, scheduled
from tests.fakes.virtual_time import in_virtual_time

ROME = RegionName("rome")
UNREAD = ({"verified": 2, "unhealthy": 1}, {"launched_total": 9}, {"trouble": "exited"}, {"in_flight": 4})
LONG_SOAK = (Scale(100, 60.0), Verify(60.0), Weight(10_000, 60.0), Soak(10_000.0, 60.0))


async def decisions_by(world: World, act: Any) -> dict[ApplicationName, int]:
    """Those that are taken because of `act`; only applications with some."""
    await asyncio.sleep(1)
    before = world.scheduler.decisions()
    act()
    await asyncio.sleep(1)
    after = world.scheduler.decisions()
    return {name: count - before[name] for name, count in after.items() if count != before[name]}


def report(world: World, region: RegionName = PARIS, **changes: Any) -> None:
    """The region reports these fields of SHOP's newest group anew."""
    known = world.regions[region].observations.applications
    *others, last = known[SHOP].groups
    known[SHOP] = replace(known[SHOP], groups=(*others, replace(last, **changes)))
    world.scheduler.region_changed(region, {SHOP})


async def both_released(world: World) -> None:
    """SHOP is in both regions, CART in Oslo only."""
    await world.release()
    await world.ended()
    await world.release("b", CART, sizes=((OSLO, 3),))
    await world.ended(CART)


@in_virtual_time
async def test_an_application_at_rest_is_not_decided_again_because_its_hosts_come_and_go() -> None:
    async with scheduled() as world:
        await both_released(world)
        for changes in UNREAD:
            assert await decisions_by(world, lambda changes=changes: report(world, **changes)) == {}, changes
        assert await decisions_by(world, lambda: world.tell_worn(PARIS)) != {}, "worn hosts are replaced"


@in_virtual_time
async def test_what_was_left_out_is_known_to_the_next_decision() -> None:
    async with scheduled() as world:
        await both_released(world)
        report(world, verified=1, balancer_up=1)
        await asyncio.sleep(1)
        assert world.scheduler.observed(SHOP)[PARIS].group(world.application().groups[-1].name).verified == 1


@in_virtual_time
async def test_a_region_that_comes_or_goes_wakes_only_the_applications_that_have_it() -> None:
    async with scheduled() as world:
        await both_released(world)
        await world.release("c", steps=LONG_SOAK)
        await asyncio.sleep(1)
        assert set(await decisions_by(world, lambda: world.leave(PARIS))) == {SHOP}
        assert set(await decisions_by(world, lambda: world.arrive(PARIS))) == {SHOP}


@in_virtual_time
async def test_a_region_that_comes_or_goes_wakes_no_application_at_rest() -> None:
    async with scheduled() as world:
        await both_released(world)
        assert await decisions_by(world, lambda: world.leave(PARIS)) == {}
        assert await decisions_by(world, lambda: world.arrive(PARIS)) == {}


@in_virtual_time
async def test_a_region_that_no_application_has_wakes_none() -> None:
    async with scheduled() as world:
        await both_released(world)
        world.regions[ROME] = FakeRegion(ROME)
        assert await decisions_by(world, lambda: world.arrive(ROME)) == {}
        assert await decisions_by(world, lambda: world.leave(ROME)) == {}


@in_virtual_time
async def test_a_release_looks_at_each_report_but_for_what_is_for_people() -> None:
    async with scheduled() as world:
        await both_released(world)
        await world.release("c", steps=LONG_SOAK, policy=Policy(keep_seconds=600.0))
        await asyncio.sleep(1)
        assert set(await decisions_by(world, lambda: report(world, in_flight=3))) == {SHOP}
        assert await decisions_by(world, lambda: report(world, launched_total=99, oldest_at=5.0)) == {}


@in_virtual_time
async def test_many_reports_at_one_moment_are_decided_on_together() -> None:
    async with scheduled() as world:
        await both_released(world)
        await world.release("c", steps=LONG_SOAK)

        def burst() -> None:
            for number in range(100):
                report(world, in_flight=number + 1)

        counted = await decisions_by(world, burst)
        assert counted[SHOP] <= 2, counted


@in_virtual_time
async def test_what_a_command_moves_is_decided_on_again_by_itself_only_when_no_region_reports() -> None:
    async with scheduled() as world:
        await both_released(world)
        for region in (PARIS, OSLO):
            world.regions[region].is_idle = True
        before = world.scheduler.decisions()[SHOP]
        await world.release("c", steps=LONG_SOAK)
        await asyncio.sleep(SETTLED_SECONDS / 2)
        assert world.scheduler.decisions()[SHOP] == before
        assert world.scheduler.because(SHOP), "what it waits for is known"
        await asyncio.sleep(SETTLED_SECONDS)
        assert world.scheduler.decisions()[SHOP] > before


@in_virtual_time
async def test_a_release_that_waited_begins_at_once_when_the_one_before_it_has_ended() -> None:
    async with scheduled() as world:
        await world.release(steps=LONG_SOAK)
        await world.release("b", queue=True)
        await asyncio.sleep(1)
        await world.scheduler.steer(SHOP, Promote(skips=True), by="ann")
        await asyncio.sleep(SETTLED_SECONDS / 2)
        running = world.application().running
        assert running is not None
        assert running.version == "b"
        assert all(track.has_begun for track in running.tracks)


@in_virtual_time
async def test_slow_decisions_about_many_regions_leave_most_of_the_time_to_others() -> None:
    """Reports come in all the time, and each decision takes 10 ms: the next one begins 30 ms after it."""
    places = [RegionName(f"r{number:03d}") for number in range(100)]
    async with scheduled() as world:
        world.regions |= {name: FakeRegion(name) for name in places}
        await world.release(sizes=tuple((name, 2) for name in places), steps=LONG_SOAK)
        await asyncio.sleep(5)
        true, looks = world.scheduler.clock, itertools.count()
        world.scheduler.clock = lambda: Instant(true() + 0.01 * next(looks))
        before = world.scheduler.decisions()[SHOP]
        for number in range(1_000):
            report(world, places[number % 100], in_flight=number + 1)
            await asyncio.sleep(0.001)
        decided = world.scheduler.decisions()[SHOP] - before
        assert 5 <= decided <= 1 / (3 * 0.01) + 1
