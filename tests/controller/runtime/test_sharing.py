"""Two schedulers that share a store: one decides, the other one knows and sends; never both decide."""

import asyncio

import pytest

from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.domain.application import Application
from repave_controller.core.domain.freezes import Command, Freezes, FullFreeze
from repave_controller.core.domain.limits import Limits
from repave_controller.core.domain.rollout import Phase
from repave_controller.core.ports import StoreError
from repave_controller.peers.ports import NotOwner
from repave_controller.runtime.owner import DECISIONS_MAX
from repave_protos.protocol.values import ApplicationName
from tests.fakes.controller.plural import Controller, two_controllers
from tests.fakes.controller.scheduled import CART, OSLO, PARIS, SHOP
from tests.fakes.virtual_time import in_virtual_time

EVERYWHERE = {"shop-v001": 10_000}


async def ended(controller: Controller, application: ApplicationName = SHOP) -> Phase:
    async with asyncio.timeout(300):
        return await controller.ended(application)


@in_virtual_time
async def test_the_owner_decides_and_the_other_one_sends_to_its_own_regions() -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        await first.release()
        assert await ended(first) is Phase.SUCCEEDED
        assert await ended(second) is Phase.SUCCEEDED
        assert {region for region, _ in first.published} == {OSLO}
        assert {region for region, _ in second.published} == {PARIS}
        assert first.weights(region=OSLO) == first.weights(region=PARIS) == EVERYWHERE
        assert second.application() == first.application()


@in_virtual_time
async def test_a_command_for_an_application_of_another_controller_names_that_one_and_changes_nothing() -> (
    None
):
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        with pytest.raises(NotOwner) as caught:
            await second.release()
        assert (caught.value.application, caught.value.owner) == (SHOP, "first")
        assert SHOP not in first.shared.shelf.applications


@in_virtual_time
async def test_a_release_goes_on_at_the_controller_that_takes_it_over() -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        await first.release()
        await asyncio.sleep(5.0)  # in the soak
        assert first.application().running is not None
        await first.lose(SHOP)
        await second.take(SHOP)
        assert await ended(second) is Phase.SUCCEEDED
        assert await ended(first) is Phase.SUCCEEDED  # as its mirror tells
        terms = {state.epoch.term for _, state in second.published}
        assert terms == {1, 2}


@in_virtual_time
async def test_an_owner_that_has_lost_its_shard_saves_and_publishes_nothing_before_it_knows() -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        await first.release()
        await asyncio.sleep(5.0)
        published, before = len(first.published), first.shared.shelf.applications[SHOP]
        await second.take(SHOP)
        with pytest.raises(NotOwner):
            await first.scheduler.steer(SHOP, Rollback(), by="ann")
        assert len(first.published) == published
        assert first.application() == before
        await first.lose(SHOP)
        assert await ended(second) is Phase.SUCCEEDED
        assert await ended(first) is Phase.SUCCEEDED
        assert second.application().rollouts_total == 1


@in_virtual_time
async def test_a_zombie_whose_ownership_is_stale_is_fenced_by_the_store(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        await first.release()
        assert await ended(first) is Phase.SUCCEEDED
        stale = first.scheduler.tenure_of(SHOP)
        await second.take(SHOP)
        with monkeypatch.context() as patch:
            patch.setattr(first.scheduler, "tenure_of", lambda application: stale)
            with pytest.raises(NotOwner):
                await first.release("b")
            assert second.application().rollouts_total == 1
        await second.release("b")
        await asyncio.sleep(5.0)
        saved = first.shared.shelf.change
        await first.lose(SHOP)
        await asyncio.sleep(2.0)
        assert first.application() == second.application()
        assert first.shared.shelf.change > saved, "its region, which hears of it only now, lets it go on"
        assert await ended(second) is Phase.SUCCEEDED
        assert second.application().rollouts_total == 2


@in_virtual_time
async def test_what_was_saved_though_its_answer_was_lost_is_known_and_published_afterwards() -> None:
    async with two_controllers() as (first, _):
        await first.take(SHOP)
        first.shared.fails_after_saving = StoreError("the connection broke")
        with pytest.raises(StoreError):
            await first.release()
        assert await ended(first) is Phase.SUCCEEDED
        assert first.application().rollouts_total == 1
        assert first.weights(region=OSLO) == first.weights(region=PARIS) == EVERYWHERE


@in_virtual_time
async def test_two_releases_that_begin_at_once_do_not_pass_a_limit_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with two_controllers() as (first, second):
        for each in (first, second):
            monkeypatch.setattr(each.scheduler, "_limits", Limits(releases=1))
        await first.take(SHOP)
        await second.take(CART)
        shelf, most = first.shared.shelf, 0
        await asyncio.gather(first.release(), second.release(application=CART))
        await first.release("b", queue=True)
        async with asyncio.timeout(600):
            while any(each.running is not None or each.queue for each in shelf.applications.values()):
                most = max(most, sum(has_begun(each) for each in shelf.applications.values()))
                await asyncio.sleep(0.01)
        assert most == 1
        assert [shelf.applications[name].rollouts_total for name in (SHOP, CART)] == [2, 1]


def has_begun(application: Application) -> bool:
    rollout = application.running
    return rollout is not None and any(track.has_begun for track in rollout.tracks)


@in_virtual_time
async def test_a_freeze_at_one_controller_holds_what_another_one_decides() -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        await second.scheduler.change_freezes(
            lambda _, now: (Freezes(FullFreeze("ann", "no power", now)), ())
        )
        await asyncio.sleep(0.1)
        await first.release()
        await asyncio.sleep(60.0)
        assert "no power" in first.waits_for()
        assert first.published == []


@in_virtual_time
async def test_the_other_controller_tells_what_a_release_waits_for_as_its_owner_does() -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        first.regions[PARIS].is_idle = True
        await first.release()
        await asyncio.sleep(5.0)
        assert first.waits_for() == second.waits_for() != ""


@in_virtual_time
async def test_events_of_one_controller_are_followed_at_the_other_one() -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        await first.release()
        kinds = []
        async with asyncio.timeout(300):
            async for event in second.scheduler.follow(0, SHOP):
                kinds.append(event.kind)
                if event.kind == "release.succeeded":
                    break
        assert kinds == first.shared_kinds()


@pytest.mark.parametrize("is_saved", [False, True])
@in_virtual_time
async def test_a_shard_is_given_up_though_a_commit_hangs_and_what_comes_of_that_changes_nothing(
    *, is_saved: bool
) -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        await first.release()
        assert await ended(first) is Phase.SUCCEEDED
        first.shared.hang(is_saved=is_saved)
        asking = [asyncio.create_task(first.release(version)) for version in ("b", "c")]
        await asyncio.sleep(1.0)
        async with asyncio.timeout(2.0):
            await first.lose(SHOP)
        await second.take(SHOP)
        await second.release("d", queue=True)
        assert await ended(second) is Phase.SUCCEEDED
        await second.lose(SHOP)
        await first.take(SHOP)  # that has an end though the commit has none
        first.shared.go_on()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert [isinstance(each, NotOwner) for each in answers] == [not is_saved, True]
        await first.release("e", queue=True)
        await asyncio.sleep(120.0)
        assert first.application().running is None
        assert first.application().rollouts_total == 3 + is_saved
        assert first.application() == first.shared.shelf.applications[SHOP]


@in_virtual_time
async def test_a_first_release_that_hangs_is_not_decided_on_beside_one_at_another_controller() -> None:
    async with two_controllers() as (first, second):
        await first.take(SHOP)
        first.shared.hang(is_saved=False)
        asking = [asyncio.create_task(first.release(version)) for version in ("a", "b")]
        await asyncio.sleep(1.0)
        await first.lose(SHOP)
        await second.take(SHOP)
        await second.release("c")
        assert await ended(second) is Phase.SUCCEEDED
        await second.lose(SHOP)
        await first.take(SHOP)
        first.shared.go_on()
        for each in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(each, NotOwner)
        await asyncio.sleep(2.0)
        assert first.application() == first.shared.shelf.applications[SHOP]
        assert first.application().rollouts_total == 1


@in_virtual_time
async def test_a_freeze_whose_answer_comes_late_takes_the_place_of_no_later_one() -> None:
    async with two_controllers() as (first, second):
        first.shared.hang(is_saved=True)
        freezing = asyncio.create_task(first.scheduler.change_freezes(frozen_for("moving")))
        await asyncio.sleep(2.0)
        await second.scheduler.change_freezes(frozen_for("no power"))
        await asyncio.sleep(2.0)
        first.shared.go_on()
        await freezing
        assert first.scheduler.freezes == second.scheduler.freezes == first.shared.shelf.freezes


def frozen_for(reason: str) -> Command:
    return lambda _, now: (Freezes(FullFreeze("ann", reason, now)), ())


@in_virtual_time
async def test_a_release_begins_though_other_controllers_were_faster_many_times() -> None:
    async with two_controllers() as (first, _):
        await first.take(SHOP)
        await first.scheduler.change_freezes(frozen_for("moving"))
        await first.release()
        await first.scheduler.change_freezes(lambda _, now: (Freezes(), ()))
        first.shared.conflicts = 2 * DECISIONS_MAX
        assert await ended(first) is Phase.SUCCEEDED
        assert not first.shared.conflicts
        assert "bug" not in first.shared_kinds()
