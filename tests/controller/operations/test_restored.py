"""A controller over an older copy of its store, with regions that have gone on: in virtual time."""

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort
from repave_controller.core.domain.rollout import Phase
from repave_controller.fleet.questions import RegionUnreachable
from repave_controller.operations.recovery import Recovery
from repave_controller.wording.render import event_text, remedy_of
from repave_protos.protocol.values import (
    ApplicationName,
    Applied,
    DesiredState,
    Epoch,
    GroupName,
    Hello,
    RegionName,
)
from repave_simulation.tiers.store import Shelf
from tests.fakes.controller.scheduled import CART, OSLO, PARIS, SHOP, Packages, World, scheduled
from tests.fakes.virtual_time import in_virtual_time
from tests.support.refusals import refused

MOMENT = 1.0
FOR_EVER = 10_000.0
"""Longer than all that anything here is waited for."""


@dataclass
class Introduced:
    hello: Hello


@dataclass
class Asked:
    """The sessions, as far as a recovery needs them."""

    world: World

    def views(self) -> Mapping[RegionName, Introduced]:
        return {name: Introduced(self.world.hello(name)) for name in self.world.regions}

    async def accepted(self, region: RegionName, application: ApplicationName) -> DesiredState | None:
        await asyncio.sleep(0)
        if not self.world.regions[region].is_connected:
            raise RegionUnreachable(f"the agent of {region} is not connected")
        return self.world.regions[region].desired.get(application)


def recovery(world: World) -> Recovery:
    return Recovery(world.scheduler, Asked(world), Packages(), world.clock)


async def history(*, between: int = 0) -> tuple[Shelf, World]:
    """v1 released, a backup taken, v2 released by a later life: the backup, and the world as it is then."""
    async with scheduled() as first:
        await first.release("a")
        await first.ended()
        backup = copy.deepcopy(first.store.shelf)
        regions = first.regions
    for _ in range(between):
        await World(backup).store.open()  # lives that did nothing
    world = World(first.store.shelf)
    world.regions = regions
    await world.open()
    work = asyncio.create_task(world.scheduler.run())
    await asyncio.sleep(MOMENT)
    await world.release("b")
    assert await world.ended() is Phase.SUCCEEDED
    work.cancel()
    await asyncio.wait({work})
    return backup, world


@asynccontextmanager
async def restored(*arriving: RegionName, between: int = 0) -> AsyncIterator[World]:
    """The controller over the backup, begun with no agent there; then these arrive."""
    backup, later = await history(between=between)
    async with scheduled(backup, later.regions) as world:
        await asyncio.sleep(MOMENT)
        world.published.clear()
        world.arrive(*arriving)
        await asyncio.sleep(MOMENT)
        yield world


# ----------------------------------------------------------------------------------- noticed, harmless


@in_virtual_time
async def test_nothing_is_sent_to_regions_that_are_ahead_and_they_go_on_as_they_are() -> None:
    async with restored(PARIS, OSLO) as world:
        await asyncio.sleep(3600)
        assert world.published == []
        assert world.weights(region=PARIS) == world.weights(region=OSLO) == {"shop-v002": 10_000}
        assert world.application().serving == 1, "the older copy"


@pytest.mark.parametrize("between", [0, 1, 5])
@in_virtual_time
async def test_it_is_noticed_whatever_terms_the_older_copy_went_through(between: int) -> None:
    """Also when the controller's own epochs are higher by now than those that the region has accepted."""
    async with restored(PARIS, OSLO, between=between) as world:
        assert sorted(world.scheduler.fence.ahead) == [OSLO, PARIS]
        assert world.published == []


@in_virtual_time
async def test_a_region_that_was_away_is_noticed_after_more_restarts_of_the_restored_store() -> None:
    async with restored(PARIS) as world:
        shelf, regions = world.store.shelf, world.regions
        world.leave(PARIS)
    for _ in range(4):
        async with scheduled(shelf, regions) as world:
            await asyncio.sleep(MOMENT)
    async with scheduled(shelf, regions) as world:
        await asyncio.sleep(MOMENT)
        saved = world.application().desired_in(OSLO)
        assert saved is not None
        assert saved.epoch > regions[OSLO].desired[SHOP].epoch, "or this shows nothing"
        world.arrive(OSLO)
        await asyncio.sleep(MOMENT)
        assert list(world.scheduler.fence.ahead) == [OSLO]
        assert world.published == []


@in_virtual_time
async def test_it_is_told_once_and_every_word_names_the_way_on() -> None:
    async with restored(PARIS, OSLO) as world:
        world.leave(PARIS)
        world.arrive(PARIS)
        await asyncio.sleep(MOMENT)
        told = [event for event in world.store.shelf.events if event.kind == "region.ahead"]
        assert [event.region for event in told] == [PARIS, OSLO]
        assert all(event_text(event).endswith("until: repave controller recover") for event in told)
        assert all("it has accepted epoch 1.2." in event_text(event) for event in told)
        waits = world.scheduler.because(SHOP)
        assert [each.region for each in waits] == [OSLO, PARIS]
        assert all(remedy_of(each.reason).startswith("repave controller recover") for each in waits)


@in_virtual_time
async def test_commands_that_would_be_decided_by_the_older_copy_are_refused() -> None:
    async with restored(PARIS, OSLO) as world:
        with refused(match="repave controller recover") as caught:
            await world.release("c")
        assert caught.value.rule == "region-ahead"
        with refused(match="repave controller recover"):
            await world.scheduler.steer(SHOP, Rollback(), by="ann", key="")
        with refused(match="paris is ahead"):
            await world.release("c", CART, sizes=((PARIS, 1),))


@in_virtual_time
async def test_a_release_asked_for_before_the_agents_return_waits_for_ever_and_says_for_what() -> None:
    async with restored() as world:
        await world.release("c")
        world.arrive(PARIS, OSLO)
        await asyncio.sleep(FOR_EVER)
        rollout = world.application().rollout
        assert rollout is not None
        assert rollout.phase is Phase.RUNNING
        assert "the store was restored from an older backup" in world.waits_for()
        assert world.published == []
        await recovery(world).adopt()
        held = world.application().rollout
        assert held is not None
        assert held.phase is Phase.HELD
        assert world.weights() == {"shop-v002": 10_000}


@in_virtual_time
async def test_a_queued_release_does_not_begin_by_itself_where_its_number_may_be_taken() -> None:
    async with restored() as world:
        await world.release("c")
        await world.release("d", queue=True)
        world.arrive(PARIS, OSLO)
        await world.scheduler.steer(SHOP, Abort(), by="ann", key="")
        assert await world.ended() is Phase.ABORTED, "a person can end it all the same"
        await asyncio.sleep(3600)
        assert world.application().rollouts_total == 2
        assert len(world.application().queue) == 1
        assert world.published == []


@in_virtual_time
async def test_a_region_that_is_ahead_in_one_application_is_sent_nothing_and_its_reports_do_not_count() -> (
    None
):
    async with scheduled() as world:
        await world.release("a")
        await world.ended()
        assert len(world.scheduler.desired_for(PARIS)) == 1
        stranger = Applied(CART, Epoch(1, 1, 1), "0" * 16)
        known = world.hello(PARIS)
        world.scheduler.greet(replace(known, applied=(*known.applied, stranger)))
        assert world.scheduler.desired_for(PARIS) == []
        assert world.scheduler.observed(SHOP)[PARIS].report is None
        assert world.scheduler.fence.seen(SHOP)[PARIS].report is not None, "people see it all the same"
        assert world.scheduler.observed(SHOP)[OSLO].report is not None


@in_virtual_time
async def test_other_applications_and_regions_go_on() -> None:
    async with restored(OSLO) as world:
        del world.regions[PARIS].desired[SHOP]  # rebuilt since: it has accepted nothing
        world.arrive(PARIS)
        await world.release("c", CART, sizes=((PARIS, 2),))
        assert await world.ended(CART) is Phase.SUCCEEDED
        assert {region for region, _ in world.published} == {PARIS}


@in_virtual_time
async def test_a_region_that_was_merely_away_hears_what_it_missed() -> None:
    async with scheduled() as world:
        await world.release("a")
        await world.ended()
        world.leave(OSLO)
        await world.release("b")
        await asyncio.sleep(MOMENT)
        assert world.weights(region=OSLO) == {"shop-v001": 10_000}
        world.arrive(OSLO)
        assert await world.ended() is Phase.SUCCEEDED
        assert world.weights(region=OSLO) == {"shop-v002": 10_000}
        assert world.scheduler.fence.ahead == {}


@in_virtual_time
async def test_a_controller_that_died_at_any_moment_is_no_restored_one() -> None:
    """Offers are saved before they are sent, so that the next life knows of all that a region may have."""
    async with scheduled() as world:
        await world.release("a")
        await world.ended()
        shelf, regions = world.store.shelf, world.regions
    for step in range(12):
        for region in regions.values():
            region.is_connected = False
        async with scheduled(shelf, regions) as world:
            world.arrive(PARIS, OSLO)
            if step % 4 == 0:
                await world.release("bcd"[step // 4], queue=True)
            await asyncio.sleep(0.0025 * step)
            assert world.scheduler.fence.ahead == {}


# ----------------------------------------------------------------------------------------------- and a way on


@in_virtual_time
async def test_recover_adopts_what_runs_and_sends_it_back_unchanged_under_a_new_life() -> None:
    async with restored(PARIS, OSLO) as world:
        before = {name: region.desired[SHOP] for name, region in world.regions.items()}
        found = await recovery(world).adopt(by="ann")
        await asyncio.sleep(MOMENT)
        assert found.incarnation == 2
        assert found.waiting == {}
        assert [each.is_adopted for each in found.candidates] == [True]
        for name, region in world.regions.items():
            after = region.desired[SHOP]
            assert after.epoch.incarnation == 2
            assert replace(after, epoch=before[name].epoch) == before[name]
        assert world.waits_for() == ""
        assert "application.recovered" in world.kinds()
        await world.release("c")
        assert await world.ended() is Phase.SUCCEEDED
        assert world.weights() == {"shop-v003": 10_000}


@in_virtual_time
async def test_the_new_life_outranks_every_life_that_a_region_has_seen() -> None:
    """As after a recovery that is in no backup."""
    async with restored() as world:
        for region in world.regions.values():
            state = region.desired[SHOP]
            region.desired[SHOP] = replace(state, epoch=replace(state.epoch, incarnation=7))
        world.arrive(PARIS, OSLO)
        found = await recovery(world).adopt()
        await asyncio.sleep(MOMENT)
        assert found.incarnation == 8
        assert {region.desired[SHOP].epoch.incarnation for region in world.regions.values()} == {8}


@in_virtual_time
async def test_looking_changes_nothing_and_what_changed_since_is_not_adopted_unseen() -> None:
    async with restored(PARIS, OSLO) as world:
        shown = await recovery(world).look()
        assert shown.candidates[0].application is not None
        assert world.store.shelf.incarnation == 1
        state = world.regions[PARIS].desired[SHOP]
        world.regions[PARIS].desired[SHOP] = replace(state, epoch=Epoch(1, 9, 9))
        with refused(match="look again"):
            await recovery(world).adopt(expected=shown.id)
        assert world.store.shelf.incarnation == 1


@in_virtual_time
async def test_a_region_that_is_away_at_the_recovery_stays_ahead_and_is_adopted_later() -> None:
    async with restored(PARIS) as world:
        await recovery(world).adopt()
        await asyncio.sleep(MOMENT)
        assert world.weights() == {"shop-v002": 10_000}
        published = len(world.published)
        world.arrive(OSLO)
        await asyncio.sleep(MOMENT)
        assert list(world.scheduler.fence.ahead) == [OSLO]
        assert {region for region, _ in world.published[published:]} <= {PARIS}
        again = await recovery(world).adopt()
        await asyncio.sleep(MOMENT)
        assert again.incarnation == 3
        assert world.weights(region=OSLO) == {"shop-v002": 10_000}
        await world.release("c")
        assert await world.ended() is Phase.SUCCEEDED


@in_virtual_time
async def test_a_region_away_that_had_missed_the_newer_release_too_gets_it_behind_its_own_proof() -> None:
    async with restored(PARIS) as world:
        older = world.application().desired_in(OSLO)
        assert older is not None
        offered = world.application().offered_to(OSLO)
        assert offered is not None
        world.regions[OSLO].desired[SHOP] = replace(older, epoch=offered.epoch)
        await recovery(world).adopt()
        world.regions[OSLO].desired[SHOP] = replace(older, epoch=Epoch(0, 9, 9))  # older than the offer
        world.arrive(OSLO)
        await asyncio.sleep(MOMENT)
        assert world.scheduler.fence.ahead == {}
        assert world.weights(region=OSLO) == {"shop-v002": 10_000}
        assert [each.count for each in world.regions[OSLO].desired[SHOP].groups] == [3, 3]


@in_virtual_time
async def test_a_store_that_knew_nothing_learns_the_application_with_a_history() -> None:
    _, later = await history()
    for region in later.regions.values():
        region.is_connected = False
    async with scheduled(Shelf(), later.regions) as world:
        world.arrive(PARIS, OSLO)
        await asyncio.sleep(MOMENT)
        with refused(match="paris runs it"):
            await world.scheduler.steer(SHOP, Abort(), by="ann", key="")
        await recovery(world).adopt()
        await asyncio.sleep(MOMENT)
        assert world.application().rollouts_total == 1
        assert world.weights() == {"shop-v002": 10_000}
        await world.release("c")
        assert await world.ended() is Phase.SUCCEEDED
        assert world.application().rollouts_total == 2


@in_virtual_time
async def test_one_application_can_be_adopted_alone_and_its_region_waits_for_the_rest() -> None:
    _, later = await history()
    for region in later.regions.values():
        region.is_connected = False
        state = region.desired[SHOP]
        groups = tuple(
            replace(each, name=GroupName(each.name.replace("shop", "cart"))) for each in state.groups
        )
        region.desired[CART] = replace(state, application=CART, frontend_port=8001, groups=groups)
    async with scheduled(Shelf(), later.regions) as world:
        world.arrive(PARIS, OSLO)
        found = await recovery(world).adopt(only=CART)
        await asyncio.sleep(MOMENT)
        assert [each.name for each in found.candidates] == [CART]
        assert sorted(found.waiting) == [OSLO, PARIS]
        assert world.published == []
        await recovery(world).adopt()
        await asyncio.sleep(MOMENT)
        assert world.scheduler.fence.ahead == {}
        assert {state.application for _, state in world.published} == {SHOP, CART}


@in_virtual_time
async def test_regions_that_disagree_are_refused_until_a_person_chooses() -> None:
    async with restored(PARIS, OSLO) as world:
        state = world.regions[OSLO].desired[SHOP]
        first, second = state.groups
        swapped = (replace(first, weight_bp=10_000), replace(second, weight_bp=0))
        world.regions[OSLO].desired[SHOP] = replace(state, groups=swapped)
        world.arrive(OSLO)
        found = await recovery(world).adopt()
        assert found.incarnation is None
        (candidate,) = found.candidates
        assert "oslo: shop-v001 100 %; paris: shop-v002 100 %" in candidate.refusal
        assert world.published == []
        chosen = await recovery(world).adopt(only=SHOP, serving="shop-v002")
        await asyncio.sleep(MOMENT)
        assert chosen.candidates[0].is_adopted
        assert world.weights(region=OSLO) == world.weights(region=PARIS) == {"shop-v002": 10_000}


@in_virtual_time
async def test_nothing_needs_recovery_where_no_region_is_ahead() -> None:
    async with scheduled() as world:
        await world.release("a")
        found = await recovery(world).adopt()
        assert (found.candidates, found.incarnation) == ((), None)
        assert world.store.shelf.incarnation == 1
