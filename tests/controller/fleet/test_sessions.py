"""How streams open, are taken over and end, over links in memory; test_sessions_grpc.py does it for real."""

import asyncio
from dataclasses import replace

import pytest

from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    Applied,
    Epoch,
    RegionName,
    Rejection,
)
from tests.fakes.controller.links import (
    CART,
    HELLO,
    PARIS,
    SHOP,
    WELCOME,
    MemoryLink,
    Observer,
    controlling,
    desired,
    seen,
    settle,
)
from tests.fakes.waiting import until


async def test_a_region_gets_welcome_and_then_all_that_it_shall_be() -> None:
    async with controlling() as controller:
        controller.wanted[PARIS] = [desired(3), desired(1, CART)]
        link = await controller.connect()
        assert link.heard == [WELCOME, desired(3), desired(1, CART)]
        assert controller.view.is_connected
        assert controller.view.hello == HELLO


async def test_what_an_agent_last_applied_makes_its_applications_be_looked_at() -> None:
    async with controlling() as controller:
        hello = replace(HELLO, applied=(Applied(SHOP, Epoch(1, 1, 1), "0" * 16),))
        await controller.connect(hello)
        assert controller.changes == [(PARIS, {SHOP})]
        assert controller.view.hello.applied == hello.applied


@pytest.mark.parametrize(
    ("version", "older"), [(PROTOCOL_VERSION - 1, "agent"), (PROTOCOL_VERSION + 1, "controller")]
)
async def test_another_protocol_is_rejected_with_what_to_upgrade(version: int, older: str) -> None:
    async with controlling() as controller:
        link = await controller.connect(replace(HELLO, protocol_version=version))
        (rejection,) = link.heard
        assert isinstance(rejection, Rejection)
        assert f"speaks protocol {version}" in rejection.reason
        assert rejection.reason.endswith(f"upgrade the {older}")
        assert link.is_closed
        assert not controller.sessions.views()


async def test_a_stream_must_begin_with_hello() -> None:
    async with controlling() as controller:
        link = await controller.connect(Observer().report(is_full=True))
        assert link.is_closed
        assert link.heard == []


async def test_a_stream_without_hello_is_closed_after_its_deadline() -> None:
    async with controlling(hello_deadline_seconds=0.01) as controller:
        link = MemoryLink()
        await asyncio.wait_for(controller.sessions.serve(link), 10)
        assert link.is_closed


async def test_a_second_hello_closes_the_stream() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.say(replace(HELLO, region=RegionName("berlin")))
        await settle()
        assert link.is_closed
        assert set(controller.sessions.views()) == {PARIS}
        assert not controller.view.is_connected


@pytest.mark.parametrize("message", [b"\xff", b""])
async def test_a_message_that_makes_no_sense_closes_only_its_own_stream(message: bytes) -> None:
    async with controlling() as controller:
        link = await controller.connect()
        other = await controller.connect(replace(HELLO, region=RegionName("berlin")))
        link.incoming.put_nowait(message)
        await settle()
        assert link.is_closed
        assert not other.is_closed


async def test_a_newer_stream_of_a_region_takes_over_and_the_older_hears_why() -> None:
    async with controlling() as controller:
        older = await controller.connect()
        newer = await controller.connect()
        assert older.is_closed
        assert isinstance(older.heard[-1], Rejection)
        assert "newer agent has taken over paris" in older.heard[-1].reason
        assert controller.view.is_connected
        controller.sessions.publish(PARIS, desired(1))
        await settle()
        assert newer.heard == [WELCOME, desired(1)]


async def test_a_stuck_older_stream_is_closed_all_the_same_and_counts_no_more() -> None:
    async with controlling() as controller:
        older = await controller.connect()
        older.writable.clear()
        controller.sessions.publish(PARIS, desired(1))
        await settle()
        newer = await controller.connect()
        newer.say(Observer().report(seen(SHOP, 1), is_full=True))
        await settle()
        older.say(Observer().report(seen(SHOP, 9), is_full=True))
        await until(lambda: older.is_closed)
        assert controller.view.observations.applications == {SHOP: seen(SHOP, 1)}
        assert controller.view.is_connected


async def test_a_region_that_went_away_stays_in_the_views_with_the_time_since() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.say(Observer().report(seen(SHOP, 1), is_full=True))
        await settle()
        controller.now = 42.0
        link.hang_up()
        await settle()
        assert not controller.view.is_connected
        assert controller.view.since == 42.0
        assert controller.view.observations.applications == {SHOP: seen(SHOP, 1)}
        assert controller.changes[-1] == (PARIS, {SHOP})


async def test_a_returning_region_is_not_believed_to_be_as_it_was_before_the_gap() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.say(Observer().report(seen(SHOP, 1), is_full=True))
        await settle()
        link.hang_up()
        await settle()
        await controller.connect()
        assert controller.view.is_connected
        assert controller.view.observations.applications == {}
        assert controller.changes[-1] == (PARIS, {SHOP})
