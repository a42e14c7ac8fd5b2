"""What sessions make of reports, and which desired state they send, over links in memory."""

import asyncio
from dataclasses import replace

from repave_protos.protocol.values import (
    Notice,
    Resync,
)
from tests.fakes.controller.links import (
    CART,
    PARIS,
    SHOP,
    WELCOME,
    Observer,
    controlling,
    desired,
    seen,
    settle,
)


async def test_reports_are_merged_and_the_changed_applications_are_told() -> None:
    async with controlling() as controller:
        link, observer = await controller.connect(), Observer()
        link.say(observer.report(seen(SHOP, 1), seen(CART, 1), is_full=True))
        link.say(observer.report(seen(CART, 2)))
        link.say(observer.report(seen(CART, 2)))
        link.say(observer.report(seen(SHOP, 1), is_full=True))
        await settle()
        assert [names for _, names in controller.changes[1:]] == [{SHOP, CART}, {CART}, {CART}]
        assert controller.view.observations.applications == {SHOP: seen(SHOP, 1)}
        assert Resync() not in link.heard


async def test_a_digest_that_differs_is_asked_to_be_mended_once_until_everything_came() -> None:
    async with controlling() as controller:
        link, observer = await controller.connect(), Observer()
        for verified in range(3):
            link.say(replace(observer.report(seen(SHOP, verified)), digest="f" * 16))
            await settle()
        assert link.heard[1:] == [Resync()]
        link.say(observer.report(seen(SHOP, 9), is_full=True))
        link.say(replace(observer.report(seen(SHOP, 10)), digest="f" * 16))
        await settle()
        assert link.heard[1:] == [Resync(), Resync()]


async def test_a_full_report_whose_digest_differs_is_not_asked_for_in_a_circle() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        for _ in range(3):
            link.say(replace(Observer().report(seen(SHOP, 1), is_full=True), digest="f" * 16))
        await settle()
        assert link.heard == [WELCOME]


async def test_notices_are_handed_on() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        notice = Notice("host.failed", "exit code 1", "shop", "shop-v001", "h-1")
        link.say(replace(Observer().report(is_full=True), notices=(notice,)))
        await settle()
        assert controller.noticed == [(PARIS, [notice])]


async def test_a_slow_stream_gets_only_the_newest_desired_state_of_each_application() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.writable.clear()
        for rev in range(100):
            controller.sessions.publish(PARIS, desired(rev))
            controller.sessions.publish(PARIS, desired(rev, CART))
            await asyncio.sleep(0)
        link.writable.set()
        await settle()
        assert link.heard[-2:] == [desired(99, CART), desired(99)] or link.heard[-2:] == [
            desired(99),
            desired(99, CART),
        ]
        assert len(link.heard) <= 4


async def test_a_desired_state_that_no_agent_would_take_is_held_back_and_costs_nothing_else() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        controller.sessions.publish(PARIS, replace(desired(1), frontend_port=65_536))
        controller.sessions.publish(PARIS, desired(1, CART))
        await settle()
        assert link.heard == [WELCOME, desired(1, CART)]


async def test_publishing_to_a_region_that_is_away_is_fine() -> None:
    async with controlling() as controller:
        controller.sessions.publish(PARIS, desired(1))
        assert not controller.sessions.views()


async def test_a_sum_that_differs_is_asked_to_be_mended_as_a_digest_is() -> None:
    async with controlling() as controller:
        link, observer = await controller.connect(), Observer()
        link.say(observer.summed(seen(SHOP, 1), seen(CART, 1), is_full=True))
        link.say(observer.summed(seen(CART, 2)))
        await settle()
        assert link.heard == [WELCOME]
        link.say(replace(observer.summed(seen(SHOP, 2)), sum="f" * 16))
        await settle()
        assert link.heard[1:] == [Resync()]
        link.say(observer.summed(seen(SHOP, 3), seen(CART, 2), is_full=True))
        link.say(observer.report(seen(SHOP, 4)))
        await settle()
        assert link.heard[1:] == [Resync()], "an agent may say either"
        assert controller.view.observations.applications == {SHOP: seen(SHOP, 4), CART: seen(CART, 2)}
