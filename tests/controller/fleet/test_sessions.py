"""How streams open, are taken over and end, over links in memory; test_sessions_grpc.py does it for real."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from repave_controller.fleet.holders import TAKE_OVER_SECONDS, Holder
from repave_controller.fleet.regions import (
    UNUSED_REGIONS_MAX,
    UNUSED_SECONDS,
)
from repave_controller.fleet.sessions import ADMITTED_AT_ONCE_MAX, RETURN_SECONDS_MAX
from repave_protos.protocol.values import (
    PROTOCOL_VERSION,
    Applied,
    Beat,
    DesiredGroup,
    Digest,
    Epoch,
    GroupName,
    Hello,
    Observations,
    RegionName,
    Rejection,
    Report,
    SecretReference,
    Welcome,
)
from tests.fakes.controller.links import (
    CART,
    HELLO,
    PARIS,
    SHOP,
    WELCOME,
    Controller,
    MemoryLink,
    Observer,
    controlling,
    desired,
    seen,
    settle,
)
from tests.fakes.templates import a_template
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


# ------------------------------------------------------------------------------- two agents of one region


def welcome(term: int = 1, lease_seconds: float = 0.0) -> Welcome:
    return replace(WELCOME, term=term, lease_seconds=lease_seconds)


def of(instance: str, **changes: Any) -> Hello:
    """A Hello of an agent with this state directory."""
    return replace(HELLO, instance=instance, **changes)


APPLIED = (Applied(SHOP, Epoch(1, 1, 1), "f" * 16),)


async def test_another_agent_is_refused_while_the_known_one_is_there() -> None:
    async with controlling() as controller:
        first = await controller.connect(of("one"))
        other = await controller.connect(of("two"))
        assert isinstance(other.heard[0], Rejection)
        assert "repave regions take-over paris" in other.heard[0].reason
        assert controller.view.hello.instance == "one"
        assert not any(isinstance(message, Rejection) for message in first.heard)
        assert controller.sessions.rivals()[PARIS].hello.instance == "two"


async def test_the_same_agent_takes_over_its_own_older_stream() -> None:
    async with controlling() as controller:
        await controller.connect(of("one"))
        again = await controller.connect(of("one"))
        assert again.heard == [welcome()]
        assert controller.sessions.rivals() == {}


async def test_what_cannot_be_taken_over_waits_for_a_person_however_long_its_agent_is_away() -> None:
    """Its hosts and HAProxy are of a machine; and its agent heals on there, cut off as it may be."""
    async with controlling() as controller:
        first = await controller.connect(of("one"))
        first.hang_up()
        await settle()
        controller.now = 100_000.0
        (refused,) = (await controller.connect(of("two"))).heard
        assert isinstance(refused, Rejection)
        assert refused.stands_by
        assert "(local, haproxy) can't be taken over from another machine" in refused.reason
        controller.sessions.let_take_over(PARIS)
        assert (await controller.connect(of("two"))).heard == [welcome(term=2)]
        assert controller.sessions.rivals() == {}


async def test_a_person_lets_another_agent_take_over_once() -> None:
    async with controlling() as controller:
        first = await controller.connect(of("one"))
        controller.sessions.let_take_over(PARIS)
        second = await controller.connect(of("two"))
        await settle()
        assert second.heard == [welcome(term=2)]
        assert isinstance(first.heard[-1], Rejection)
        assert first.heard[-1].stands_by, "the first one changes nothing there any more"
        assert isinstance((await controller.connect(of("one"))).heard[0], Rejection)


async def test_a_take_over_is_not_possible_for_ever_nor_of_an_unknown_region() -> None:
    async with controlling() as controller:
        await controller.connect(of("one"))
        controller.sessions.let_take_over(PARIS)
        controller.now = TAKE_OVER_SECONDS
        assert isinstance((await controller.connect(of("two"))).heard[0], Rejection)
        with pytest.raises(KeyError):
            controller.sessions.let_take_over(RegionName("rome"))


async def test_an_agent_that_has_what_the_region_was_sent_comes_before_an_empty_one() -> None:
    """After a restart of the controller the wrong one may have been first."""
    async with controlling() as controller:
        await controller.connect(of("empty"))
        heir = await controller.connect(of("one", applied=APPLIED))
        assert heir.heard == [welcome(term=2)]
        assert isinstance((await controller.connect(of("empty"))).heard[0], Rejection)


# -------------------------------------------------------------------------------------- regions by name only


async def come_and_go(controller: Controller, name: str) -> None:
    link = await controller.connect(replace(HELLO, region=RegionName(name)))
    link.hang_up()
    await settle()


async def test_a_region_that_was_only_a_name_is_forgotten_after_a_while() -> None:
    async with controlling() as controller:
        controller.named = {PARIS: (SHOP,)}
        await come_and_go(controller, "ghost")
        await come_and_go(controller, "paris")
        assert list(controller.sessions.unused()) == ["ghost"]
        controller.now = UNUSED_SECONDS
        controller.sessions.forget_unused()
        assert list(controller.sessions.views()) == [PARIS]


async def test_many_names_leave_few_regions_and_none_that_is_connected_or_used() -> None:
    async with controlling() as controller:
        controller.named = {PARIS: (SHOP,)}
        await come_and_go(controller, "paris")
        await controller.connect(replace(HELLO, region=RegionName("fresh")))
        for number in range(UNUSED_REGIONS_MAX + 5):
            controller.now += 0.01
            await come_and_go(controller, f"ghost-{number:03}")
        controller.sessions.forget_unused()
        known = list(controller.sessions.views())
        assert len(known) == 2 + UNUSED_REGIONS_MAX
        assert {"paris", "fresh", f"ghost-{UNUSED_REGIONS_MAX + 4:03}"} <= set(known)


async def test_what_a_returning_agent_costs_does_not_grow_with_the_fleet() -> None:
    """A controller that starts again, and one whose agents were all cut off for a moment."""
    async with controlling() as controller:
        for count in (50, 200):
            controller.now += 10.0
            links, before = [], controller.asked
            for number in range(count):
                hello = replace(HELLO, region=RegionName(f"r{count}-{number:03}"))
                links.append(await controller.connect(hello))
            assert controller.asked - before <= 3 * count
            for link in links:
                link.hang_up()
            await settle()
            controller.now, before = controller.now + 10.0, controller.asked
            for number in range(count):
                await controller.connect(replace(HELLO, region=RegionName(f"r{count}-{number:03}")))
            assert controller.asked - before <= 3 * count


async def test_a_region_is_forgotten_on_demand_once_its_agent_has_gone() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        assert not controller.sessions.forget(PARIS)
        link.hang_up()
        await settle()
        assert controller.sessions.forget(PARIS)
        assert controller.sessions.views() == {}


async def test_a_region_tells_what_is_wrong_with_it_and_whether_it_can_act() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        link.say(Report(1, True, (seen(SHOP, 1),), Observations({SHOP: seen(SHOP, 1)}).digest()))
        await settle()
        changes = len(controller.changes)
        digest = Observations({SHOP: seen(SHOP, 1)}).digest()
        link.say(Report(2, False, (), digest, troubles=("Keystone: no answer",), is_starting=True))
        await settle()
        assert (controller.view.troubles, controller.view.is_starting) == (("Keystone: no answer",), True)
        assert controller.changes[changes:] == [(PARIS, {SHOP})]
        link.say(Report(3, False, (), digest))
        await settle()
        assert (controller.view.troubles, controller.view.is_starting) == ((), False)
        link.say(Report(4, False, (), digest, troubles=("Nova: 503",)))
        link.hang_up()
        await until(lambda: not controller.view.is_connected)
        assert controller.view.troubles == (), "of one that is away nothing is known"


@pytest.mark.parametrize(
    ("template", "words", "what"),
    [
        (
            {"machine_sizes": ("xl",)},
            ("host.size=any",),
            "sizes of machines, which the agent (0.1.0, provider local)",
        ),
        ({"is_spot": True}, ("host.spot=any",), "spot machines, which the agent (0.1.0, provider local)"),
        (
            {"health_by": "balancer"},
            ("health.by=balancer",),
            "health by its balancer, which the agent (0.1.0",
        ),
    ],
    ids=["sizes", "spot", "health"],
)
async def test_an_agent_that_would_ignore_a_choice_is_sent_no_application_with_one(
    template: dict[str, Any], words: tuple[str, ...], what: str
) -> None:
    group = DesiredGroup(GroupName("shop-v001"), Digest("0" * 64), 1, 0, a_template(**template))
    choosy = replace(desired(3), groups=(group,))
    async with controlling() as controller:
        controller.wanted[PARIS] = [choosy, desired(1, CART)]
        link = await controller.connect()
        assert link.heard == [WELCOME, desired(1, CART)]
        (trouble,) = controller.view.troubles
        assert trouble.startswith(f"shop has {what}")
        able = await controller.connect(replace(HELLO, capabilities=words))
        await until(lambda: able.heard == [WELCOME, choosy, desired(1, CART)])
        assert controller.view.troubles == ()


async def test_an_agent_that_hands_no_secrets_to_hosts_is_sent_no_application_with_some() -> None:
    secret = SecretReference("URL", "vault", "kv/shop#url")
    group = DesiredGroup(GroupName("shop-v001"), Digest("0" * 64), 1, 0, a_template(secrets=(secret,)))
    with_secrets = replace(desired(3), groups=(group,))
    async with controlling() as controller:
        controller.wanted[PARIS] = [with_secrets, desired(1, CART)]
        link = await controller.connect()
        assert link.heard == [WELCOME, desired(1, CART)]
        (trouble,) = controller.view.troubles
        assert trouble.startswith(
            "shop has secrets, which the agent (0.1.0, provider local) hands to no host"
        )
        controller.sessions.publish(PARIS, with_secrets)
        controller.sessions.publish(PARIS, desired(2, CART))
        await until(lambda: link.heard[2:] == [desired(2, CART)])
        controller.sessions.publish(PARIS, desired(4))
        await until(lambda: link.heard[3:] == [desired(4)])
        assert controller.view.troubles == ()
        able = await controller.connect(replace(HELLO, capabilities=("secrets=vault",)))
        await until(lambda: able.heard == [WELCOME, with_secrets, desired(1, CART)])


async def nothing_kept(holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
    pass


async def test_agents_of_a_large_fleet_are_asked_to_spread_their_return() -> None:
    async with controlling() as controller:
        assert (await controller.connect()).heard == [WELCOME], "few need not"
        holders = [Holder(RegionName(f"r{number}"), "a", 1) for number in range(1_000)]
        controller.sessions.recall(holders, nothing_kept)
        link = await controller.connect(replace(HELLO, region=RegionName("oslo")))
        (welcome,) = link.heard
        assert isinstance(welcome, Welcome)
        assert welcome.return_seconds == 2.0, "also of those that have yet to come back"
        controller.sessions.recall(
            [Holder(RegionName(f"s{number}"), "a", 1) for number in range(9_000)], nothing_kept
        )
        (welcome,) = (await controller.connect(replace(HELLO, region=RegionName("rome")))).heard
        assert isinstance(welcome, Welcome)
        assert welcome.return_seconds == RETURN_SECONDS_MAX


async def test_agents_of_a_large_fleet_beat_less_often_so_that_all_together_stay_few() -> None:
    async with controlling(welcome=replace(WELCOME, beat_seconds=1.5)) as controller:
        for fleet, seconds in ((10, 1.5), (1_500, 1.5), (5_000, 5.0), (10_000, 10.0)):
            holders = [Holder(RegionName(f"r{number}"), "a", 1) for number in range(fleet)]
            controller.sessions.recall(holders, nothing_kept)
            link = await controller.connect(replace(HELLO, region=RegionName("r0"), instance="a"))
            welcome = link.heard[0]
            assert isinstance(welcome, Welcome)
            assert welcome.beat_seconds == seconds, fleet


async def test_an_agent_of_a_fleet_that_has_grown_is_told_to_beat_less_often() -> None:
    async with controlling(welcome=replace(WELCOME, beat_seconds=1.5)) as controller:
        link = await controller.connect(replace(HELLO, region=RegionName("r0"), instance="a", beats=True))
        for fleet, told in (
            (2_000, [1.5]),
            (2_500, [1.5, 2.5]),
            (3_500, [1.5, 2.5]),
            (10_000, [1.5, 2.5, 10.0]),
        ):
            holders = [Holder(RegionName(f"r{number}"), "a", 1) for number in range(fleet)]
            controller.sessions.recall(holders, nothing_kept)
            link.say(Beat())
            await settle()
            assert [each.beat_seconds for each in link.heard if isinstance(each, Welcome)] == told, fleet


async def test_of_a_fleet_that_returns_few_wait_for_the_store_at_once_and_all_are_let_in() -> None:
    under_way: list[RegionName] = []
    most, disk = 0, asyncio.Event()

    async def slow_save(holder: Holder, gone: tuple[RegionName, ...], *, is_other: bool) -> None:
        nonlocal most
        under_way.append(holder.region)
        most = max(most, len(under_way))
        await disk.wait()
        under_way.remove(holder.region)

    async with controlling() as controller:
        controller.sessions.recall([], slow_save)
        names = [RegionName(f"r{number}") for number in range(2 * ADMITTED_AT_ONCE_MAX)]
        links = [await controller.connect(replace(HELLO, region=name, instance=name)) for name in names]
        assert len(under_way) == ADMITTED_AT_ONCE_MAX
        disk.set()
        await until(lambda: all(link.heard for link in links))
        assert most == ADMITTED_AT_ONCE_MAX
        assert all(isinstance(link.heard[0], Welcome) for link in links)


async def test_agents_of_a_controller_that_is_cut_off_from_its_store_are_sent_to_another_one() -> None:
    async with controlling() as controller:
        link = await controller.connect()
        controller.sessions.cut_off(is_so=True)
        await settle()
        assert link.is_closed
        assert isinstance(link.heard[-1], Rejection)
        assert "another one may" in link.heard[-1].reason
        refused = await controller.connect()
        assert [type(each) for each in refused.heard] == [Rejection]
        controller.sessions.cut_off(is_so=False)
        again = await controller.connect()
        assert again.heard == [WELCOME]
