"""The scheduler over a store in memory and regions that obey, in virtual time: hours take milliseconds, and
whatever is published is compared with what is on disk at that moment."""

import asyncio
from dataclasses import replace

import pytest

from repave_controller.api.answers.views import rollout_item
from repave_controller.core.commands.rollback import Rollback
from repave_controller.core.commands.steering import Abort
from repave_controller.core.domain.application import Application, Decision, Event, Instant
from repave_controller.core.domain.by_region import ByRegion
from repave_controller.core.domain.reasons import Refused
from repave_controller.core.domain.rollout import Phase, TrackPhase
from repave_controller.core.planning.plan import never_released, plan_id
from repave_controller.core.ports import StoreError
from repave_controller.core.steps import Scale, Verify, Weight
from repave_controller.runtime import owner as module
from repave_controller.runtime.event_log import NOTICES_WAITING_MAX
from repave_controller.runtime.owner import STORE_RETRY_SECONDS
from repave_protos.protocol.values import Epoch, Notice, RegionName
from tests.fakes.controller.scheduled import (
    BEGAN,
    CART,
    COMMIT_SECONDS,
    MISSING,
    OSLO,
    PARIS,
    SHOP,
    World,
    an_order,
    scheduled,
)
from tests.fakes.virtual_time import in_virtual_time
from tests.support.refusals import refused

FULL = "the disk is full: free some space"


# ------------------------------------------------------------------------------------ saved, then published


@in_virtual_time
async def test_a_release_goes_from_command_to_traffic_and_every_word_was_saved_before() -> None:
    async with scheduled() as world:
        accepted = await world.release()
        assert (accepted.group, accepted.rollout, accepted.kind) == ("shop-v001", 1, "release")
        assert await world.ended() is Phase.SUCCEEDED
        assert world.weights(region=PARIS) == world.weights(region=OSLO) == {"shop-v001": 10_000}
        assert world.store.shelf.applications[SHOP] == world.application()
        assert world.store.shelf.specs[SHOP, "shop-v001"].text == "spec of a"


@in_virtual_time
async def test_a_command_that_cannot_be_saved_is_not_acknowledged_and_leaves_nothing() -> None:
    async with scheduled() as world:
        world.store.trouble = FULL
        with pytest.raises(StoreError, match=FULL):
            await world.release()
        await asyncio.sleep(60)
        assert world.published == []
        assert world.scheduler.applications() == {}
        world.store.trouble = ""
        assert (await world.release("b")).group == "shop-v001"


@in_virtual_time
async def test_a_decision_that_cannot_be_saved_waits_says_so_and_is_made_later() -> None:
    async with scheduled() as world:
        world.regions[OSLO].is_idle = True
        await world.release()
        await asyncio.sleep(1)
        world.store.trouble = FULL
        told = len(world.published)
        world.obey(OSLO, SHOP)
        await asyncio.sleep(2 * STORE_RETRY_SECONDS)
        assert len(world.published) == told
        assert world.waits_for() == f"the store does not take decisions: {FULL}"
        assert "traffic.moved" not in world.kinds()
        world.store.trouble = ""
        world.regions[OSLO].is_idle = False
        await asyncio.sleep(STORE_RETRY_SECONDS + COMMIT_SECONDS)
        assert FULL not in world.waits_for()
        assert await world.ended() is Phase.SUCCEEDED


@in_virtual_time
async def test_a_region_that_connects_hears_only_what_is_on_disk() -> None:
    async with scheduled() as world:
        releasing = asyncio.create_task(world.release())
        await asyncio.sleep(COMMIT_SECONDS / 2)
        assert world.scheduler.desired_for(PARIS) == []
        await releasing
        (state,) = world.scheduler.desired_for(PARIS)
        assert state == world.store.shelf.applications[SHOP].desired_in(PARIS)
        assert world.scheduler.desired_for(RegionName("rome")) == []


# -------------------------------------------------------------------------------------- the same key again


@in_virtual_time
async def test_the_same_key_gets_the_same_answer_and_has_one_effect() -> None:
    async with scheduled() as world:
        first = await world.release(key="ci-7")
        await world.ended()
        assert await world.release(key="ci-7") == replace(first, is_joined=True)
        assert world.application().rollouts_total == 1
        assert world.kinds().count("release.started") == 1


@in_virtual_time
async def test_the_same_key_for_something_else_is_refused() -> None:
    async with scheduled() as world:
        await world.release(key="ci-7")
        await world.ended()
        for changes in ({"digest": "b"}, {"queue": True}, {"reason": "another"}):
            with pytest.raises(Refused) as caught:
                await world.release(**{"digest": "a", "key": "ci-7", **changes})  # type: ignore[arg-type]
            assert caught.value.rule == "key-reused"
        assert world.application().rollouts_total == 1


@in_virtual_time
async def test_duplicates_at_the_same_moment_have_one_effect() -> None:
    async with scheduled() as world:
        answers = await asyncio.gather(*(world.release(key="ci-7") for _ in range(5)))
        assert sorted(each.is_joined for each in answers) == [False, True, True, True, True]
        assert {(each.group, each.rollout) for each in answers} == {("shop-v001", 1)}
        assert world.kinds().count("release.started") == 1


@in_virtual_time
async def test_without_a_key_the_second_of_two_at_the_same_moment_is_refused() -> None:
    async with scheduled() as world:
        first, second = await asyncio.gather(world.release("a"), world.release("b"), return_exceptions=True)
        assert not isinstance(first, BaseException)
        assert isinstance(second, Refused)
        assert second.rule == "rollout-running"


@in_virtual_time
async def test_a_key_is_remembered_by_the_next_controller_even_while_no_agent_has_connected() -> None:
    async with scheduled() as world:
        first = await world.release(key="ci-7")
        queued = await world.release("b", queue=True, key="ci-8")
        assert queued.is_queued
    async with scheduled(world.store.shelf) as later:
        later.regions.clear()
        assert await later.release(key="ci-7") == replace(first, is_joined=True)
        assert await later.release("b", queue=True, key="ci-8") == replace(queued, is_joined=True)
        assert len(later.application().queue) == 1


@in_virtual_time
async def test_a_repeat_with_the_plan_it_was_accepted_under_gets_its_answer() -> None:
    """The accepted release has changed the plan's id; the client that lost the answer can't know."""
    async with scheduled() as world:
        plan = plan_id(never_released(SHOP, SHOP), an_order())
        first = await world.release(key="ci-7", plan=plan)
        assert await world.release(key="ci-7", plan=plan) == replace(first, is_joined=True)
        await world.ended()
        with pytest.raises(Refused) as caught:
            await world.release(plan=plan)
        assert caught.value.rule == "plan-changed"


@in_virtual_time
async def test_one_key_for_two_applications_or_two_verbs_is_two_commands() -> None:
    async with scheduled() as world:
        world.regions[OSLO].is_idle = True
        await world.release(key="k")
        assert not (await world.release(application=CART, key="k")).is_joined
        assert not (await world.scheduler.steer(SHOP, Abort(), by="", key="k")).is_joined
        await world.ended()
        assert (await world.scheduler.steer(SHOP, Abort(), by="", key="k")).is_joined


# ----------------------------------------------------------------------------------------- what is refused


@in_virtual_time
async def test_a_refused_first_release_leaves_no_application() -> None:
    async with scheduled() as world:
        await world.release(application=CART)
        for rule, changes in {
            "unknown-image": {"digest": MISSING[0]},
            "unknown-region": {"sizes": ((RegionName("rome"), 1),)},
            "port-taken": {"frontend_port": 8001},
        }.items():
            with pytest.raises(Refused) as caught:
                await world.scheduler.release(SHOP, SHOP, an_order(**changes), "", queue=False)  # type: ignore[arg-type]
            assert caught.value.rule == rule
        assert set(world.scheduler.applications()) == {CART}
        with refused(match="no application is called shop; there are: cart"):
            await world.scheduler.steer(SHOP, Rollback(), by="", key="")


@in_virtual_time
async def test_a_queued_release_begins_by_itself_and_its_spec_is_kept() -> None:
    async with scheduled() as world:
        await world.release()
        with refused(match="shop-v001 is being rolled out"):
            await world.release("b")
        queued = await world.release("b", queue=True)
        assert (queued.group, queued.rollout, queued.is_queued) == ("", 0, True)
        await asyncio.sleep(60)
        assert await world.ended() is Phase.SUCCEEDED
        assert world.weights() == {"shop-v002": 10_000}
        assert world.store.shelf.specs[SHOP, "shop-v002"].text == "spec of b"


# ---------------------------------------------------------------------------- two applications, one mistake


@in_virtual_time
async def test_an_application_that_fails_does_not_disturb_another() -> None:
    async with scheduled() as world:
        world.regions[OSLO].sick.add("cart-v001")
        await asyncio.gather(world.release(), world.release(application=CART))
        assert await world.ended(SHOP) is Phase.SUCCEEDED
        assert await world.ended(CART) is Phase.ROLLED_BACK
        assert world.weights(SHOP) == {"shop-v001": 10_000}


@in_virtual_time
async def test_a_mistake_of_ours_with_one_application_stops_that_one_only_and_says_so() -> None:
    async with scheduled() as world:
        await world.release()
        await world.ended()
    damaged = replace(world.application(), name=CART, groups=(), frontend_port=8001)
    assert damaged.rollout is not None
    running = replace(damaged.rollout.tracks[0], phase=TrackPhase.RUNNING)
    rollout = replace(damaged.rollout, phase=Phase.RUNNING, tracks=ByRegion((running,)))
    damaged = replace(damaged, rollout=rollout, desired=ByRegion())
    world.store.shelf.applications[CART] = damaged
    async with scheduled(world.store.shelf) as later:
        await asyncio.sleep(5)
        assert "mistake of repave's own" in later.waits_for(CART)
        assert later.kinds(CART) == ["bug"]
        later.connect(PARIS)
        later.connect(OSLO)
        await later.release("b")
        assert await later.ended() is Phase.SUCCEEDED
        assert later.kinds(CART) == ["bug"]


# --------------------------------------------------------------------------------------- broken promises


async def of_another_life() -> World:
    """What a store looks like whose regions were told a higher epoch by another controller."""
    async with scheduled() as world:
        await world.release()
        await world.ended()
    application = world.application()
    desired = ByRegion((name, replace(state, epoch=Epoch(1, 99, 1))) for name, state in application.desired)
    world.store.shelf.applications[SHOP] = replace(application, desired=desired)
    return world


@in_virtual_time
async def test_a_decision_that_would_break_a_promise_is_not_taken_and_told_once() -> None:
    shelf = (await of_another_life()).store.shelf
    before = shelf.applications[SHOP]
    async with scheduled(shelf) as world:
        for _ in range(20):
            world.scheduler.region_changed(PARIS, {SHOP})
            await asyncio.sleep(1)
        assert world.published == []
        assert shelf.applications[SHOP] == before
        assert world.waits_for().startswith("stopped: promise 7: oslo: epoch 1.2.2 does not follow 1.99.1")
        assert world.kinds().count("promise.broken") == 1


@in_virtual_time
async def test_a_rollout_that_would_break_a_promise_is_held_and_says_so() -> None:
    async with scheduled() as world:
        await world.release()
        await world.ended()
        await world.release("b", steps=(Scale(0.0, 60.0, count=1), Verify(60.0), Weight(5_000, 60.0)))
        await asyncio.sleep(10)
        running = world.application().running
        assert running is not None
        view = rollout_item(running, "shop")
        assert view.phase == "held", "never running"
        assert "promise 1: " in view.outcome
        assert "serves 50 % with 1 of 3 hosts" in world.waits_for()
        assert world.kinds().count("release.held") == 1
        assert world.weights() == {"shop-v001": 10_000}
        await world.scheduler.steer(SHOP, Rollback(), by="ann", key="")
        assert await world.ended() is Phase.ROLLED_BACK


@in_virtual_time
async def test_a_command_that_would_break_a_promise_is_refused_and_not_remembered() -> None:
    shelf = (await of_another_life()).store.shelf
    before = shelf.applications[SHOP]
    async with scheduled(shelf) as world:
        with pytest.raises(Refused) as caught:
            await world.release("b", key="k")
        assert caught.value.rule == "promise"
        assert (shelf.applications[SHOP], shelf.receipts, world.published) == (before, {}, [])


@in_virtual_time
async def test_a_step_that_would_leave_nobody_serving_never_gets_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scheduled() as world:
        await world.release()
        await world.ended()

        def mistaken(application: Application, *rest: object) -> Decision:
            desired = ByRegion(
                (name, replace(state, epoch=replace(state.epoch, rev=99), groups=()))
                for name, state in application.desired
            )
            return Decision(replace(application, desired=desired), tuple(desired), (), None, ())

        told = len(world.published)
        monkeypatch.setattr(module, "step", mistaken)
        world.tell_worn(PARIS)
        await asyncio.sleep(1)
        assert "paris: no group would serve" in world.waits_for()
        assert len(world.published) == told


# ------------------------------------------------------------------------------------------------ restart


@in_virtual_time
async def test_the_next_controller_goes_on_with_the_release_under_a_higher_term() -> None:
    async with scheduled() as world:
        await world.release()
        await world.ended()
        world.regions[OSLO].is_idle = True
        await world.release("b")
        await asyncio.sleep(1)
        assert world.application().running is not None
    before = dict(world.application().desired)
    async with scheduled(world.store.shelf) as later:
        await asyncio.sleep(1)
        for region in (PARIS, OSLO):
            epoch = later.regions[region].desired[SHOP].epoch
            assert (epoch.term, epoch > before[region].epoch) == (2, True)
        assert await later.ended() is Phase.SUCCEEDED
        assert later.weights() == {"shop-v002": 10_000}
        assert later.application().rollouts_total == 2


# ------------------------------------------------------------------------------------------- time passes


@in_virtual_time
async def test_the_soak_ends_and_the_old_group_goes_at_their_times_though_nobody_reports() -> None:
    async with scheduled() as world:
        for digest in "ab":
            await world.release(digest)
            began = world.clock()
            await world.ended()
            assert 20.0 <= world.clock() - began < 21.0
        assert [group.name for group in world.application().groups] == ["shop-v001", "shop-v002"]
        await asyncio.sleep(599)
        assert "group.retiring" not in world.kinds()
        await asyncio.sleep(2)
        assert world.kinds()[-2:] == ["group.retiring", "group.destroyed"]


@in_virtual_time
async def test_a_step_fails_at_its_deadline_though_nobody_reports() -> None:
    async with scheduled() as world:
        world.regions[OSLO].is_idle = True
        await world.release()
        await asyncio.sleep(59)
        assert world.application().running is not None
        assert "paris" not in {each.region for each in world.scheduler.because(SHOP)}
        await asyncio.sleep(2)
        assert "release.failed" in world.kinds()


# ------------------------------------------------------------------------------------------ notices, events


@in_virtual_time
async def test_what_a_region_tells_becomes_events_in_order_at_the_controllers_time() -> None:
    async with scheduled() as world:
        texts = [f"host {number}" for number in range(1200)]
        world.scheduler.notices(PARIS, [Notice("host.launched", text, SHOP, "g", "h") for text in texts])
        await asyncio.sleep(1)
        events = world.store.shelf.events
        assert [event.text for event in events] == texts
        assert events[0] == Event("host.launched", "host 0", SHOP, "paris", "g", "h", "", Instant(BEGAN), 1)


@in_virtual_time
async def test_notices_are_bounded_and_the_newest_are_dropped() -> None:
    world = World()
    await world.open()
    notices = [Notice("host.launched", str(number)) for number in range(NOTICES_WAITING_MAX + 5)]
    world.scheduler.notices(PARIS, notices)
    work = asyncio.create_task(world.scheduler.run())
    await asyncio.sleep(1)
    work.cancel()
    assert len(world.store.shelf.events) == NOTICES_WAITING_MAX
    assert world.store.shelf.events[-1].text == str(NOTICES_WAITING_MAX - 1)


@in_virtual_time
async def test_notices_that_cannot_be_saved_yet_end_nothing_and_are_saved_later() -> None:
    async with scheduled() as world:
        world.store.trouble = FULL
        world.scheduler.notices(PARIS, [Notice("host.launched", "early")])
        await asyncio.sleep(1)
        world.store.trouble = ""
        world.scheduler.notices(PARIS, [Notice("host.launched", "late")])
        await asyncio.sleep(2)
        assert [event.text for event in world.store.shelf.events] == ["early", "late"]


@in_virtual_time
async def test_a_follower_gets_each_event_once_in_order_from_old_to_new() -> None:
    async with scheduled() as world:
        await world.release()
        seen: list[int] = []
        only_cart: list[str] = []

        async def follow() -> None:
            async for event in world.scheduler.follow(1):
                seen.append(event.sequence)
                await asyncio.sleep(0.3 * COMMIT_SECONDS)  # slower than some commits come

        async def follow_cart() -> None:
            async for event in world.scheduler.follow(0, CART):
                only_cart.append(event.application)

        followers = [asyncio.create_task(follow()), asyncio.create_task(follow_cart())]
        for number in range(300):
            world.scheduler.notices(PARIS, [Notice("host.launched", str(number), CART)])
            await asyncio.sleep(0.4 * COMMIT_SECONDS)
        await world.ended()
        await asyncio.sleep(1)
        for follower in followers:
            follower.cancel()
        assert seen == list(range(2, len(world.store.shelf.events) + 1))
        assert only_cart == [CART] * 300


@in_virtual_time
async def test_a_follower_misses_nothing_that_is_saved_while_it_is_busy() -> None:
    async with scheduled() as world, asyncio.timeout(60):
        world.scheduler.notices(PARIS, [Notice("host.launched", "first")])
        async for event in world.scheduler.follow(0):
            if event.text == "second":
                break
            world.scheduler.notices(PARIS, [Notice("host.launched", "second")])
            await asyncio.sleep(1)


@in_virtual_time
async def test_a_change_wakes_who_waits_for_it() -> None:
    async with scheduled() as world:
        await world.release()
        version = world.scheduler.version
        waiting = asyncio.create_task(world.scheduler.changed(version))
        world.scheduler.region_changed(PARIS, {SHOP})
        assert await waiting > version
