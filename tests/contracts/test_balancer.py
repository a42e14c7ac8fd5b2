"""What every balancer promises to the agent: the fake one, the HAProxy that repave runs, one that an operator
runs, a pair of these, and Octavia's API as the fake in memory and (make test-rigs) the
real one speak it.
"""

import asyncio
from dataclasses import replace

import pytest

from repave_agent.core.ports import Balancer, BalancerError, Frontend, Route, Structure, UnfitError
from repave_protos.protocol.fronts import Balance, TrafficFront, needs, plain_front
from repave_protos.protocol.values import ApplicationName, GroupName, Split
from tests.contracts.balancer_rig import Rig
from tests.contracts.balancer_worlds import aws, azure, google, rig
from tests.fakes.agent.haproxy_rig import frontend
from tests.fakes.waiting import until_async
from tests.support.ports import free_port

__all__ = ["aws", "azure", "google", "rig"]
SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
TO_BLUE, TO_GREEN = Route(SHOP, BLUE), Route(SHOP, GREEN)


@pytest.fixture
def shop() -> Frontend:
    return frontend("shop", free_port())


async def test_a_balancer_that_was_told_nothing_shows_nothing(rig: Rig) -> None:
    balancer = rig.balancer()
    await balancer.start()
    view = await balancer.observe()
    assert view.is_running
    assert (view.structure, view.routes, view.backends, view.restarts) == (Structure(), (), (), 0)


async def test_what_is_arranged_and_routed_is_read_back(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN)))
    await balancer.arrange(wanted)
    split = Route(SHOP, BLUE, GREEN, rig.share(500))
    await balancer.route((split,))
    view = await balancer.observe()
    assert view.structure == wanted
    assert view.route(SHOP) == split
    assert view.backend(BLUE) is not None


async def test_servers_may_have_addresses_of_ipv6(rig: Rig, shop: Frontend) -> None:
    rig.needs_ipv6()
    balancer = rig.balancer()
    await balancer.start()
    blue = await rig.backend(BLUE)
    blue = replace(blue, servers=tuple(replace(each, address="::1") for each in blue.servers))
    wanted = Structure((shop,), (blue, await rig.backend(GREEN)))
    await balancer.arrange(wanted)
    await balancer.route((TO_BLUE,))
    await until_async(lambda: _servers_up(balancer))
    assert (await balancer.observe()).structure == wanted
    assert await rig.sides(shop, ["X-Any: 1"]) == [BLUE]
    await balancer.arrange(Structure((shop,), (blue,)))
    assert (await balancer.observe()).route(SHOP) == TO_BLUE


async def test_only_enabled_servers_count_as_up(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    waiting = await rig.backend(BLUE, is_enabled=False)
    await balancer.arrange(Structure((shop,), (waiting,)))
    assert await _servers_up(balancer) == 0
    ready = replace(waiting, servers=tuple(replace(each, is_enabled=True) for each in waiting.servers))
    await balancer.arrange(Structure((shop,), (ready,)))
    await until_async(lambda: _servers_up(balancer))
    assert (await balancer.observe()).structure == Structure((shop,), (ready,))
    await balancer.arrange(Structure((shop,), (waiting,)))
    assert await _servers_up(balancer) == 0


async def test_a_route_to_what_is_not_arranged_is_refused_and_changes_nothing(
    rig: Rig, shop: Frontend
) -> None:
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE),)))
    await balancer.route((TO_BLUE,))
    for refused in (TO_GREEN, Route(SHOP, BLUE, GREEN, 1)):
        with pytest.raises(BalancerError, match=GREEN):
            await balancer.route((refused,))
    assert (await balancer.observe()).routes == (TO_BLUE,)


async def test_a_backend_that_takes_traffic_cannot_be_removed(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    wanted = Structure((shop,), (await rig.backend(BLUE),))
    await balancer.arrange(wanted)
    await balancer.route((TO_BLUE,))
    with pytest.raises(BalancerError, match=BLUE):
        await balancer.arrange(Structure((shop,), ()))
    assert (await balancer.observe()).structure == wanted
    await balancer.route((TO_BLUE,))
    assert (await balancer.observe()).routes == (TO_BLUE,)


async def test_requests_of_each_group_are_counted_where_the_kind_says_so(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    blue, green = await rig.backend(BLUE), await rig.backend(GREEN)
    await balancer.arrange(Structure((shop,), (blue, green)))
    await balancer.route((TO_BLUE,))
    before = (await balancer.observe()).backend(BLUE)
    assert before is not None
    if not rig.abilities.counts_requests:
        assert before.counted is None
        return
    await until_async(lambda: _servers_up(balancer))
    await rig.sides(shop, ["X-Any: 1"] * 5)
    await balancer.route((TO_GREEN,))
    await rig.sides(shop, ["X-Any: 1"] * 3)
    await balancer.arrange(Structure((shop,), (blue, green, await rig.backend("shop-v003"))))
    await rig.sides(shop, ["X-Any: 1"] * 2)
    assert before.counted is not None
    counted = {each.group: each.counted for each in (await balancer.observe()).backends}
    requests = {group: each.requests if each is not None else None for group, each in counted.items()}
    assert requests == {BLUE: before.counted.requests + 5, GREEN: 5, "shop-v003": 0}
    assert all(each is not None and each.errors == 0 for each in counted.values())


UNFIT = {
    "path": {"path": '/"a b'},
    "host": {"host": "a b"},
    "headers": {"headers": (("X", "a\nb"),)},
    "status": {"expect_status": 1000},
    "times": {"unhealthy_after": 0},
}


@pytest.mark.parametrize("asks", UNFIT)
async def test_a_check_that_it_can_not_make_is_named_and_holds_up_no_others(
    rig: Rig, shop: Frontend, asks: str
) -> None:
    balancer = rig.balancer()
    await balancer.start()
    blog, fit = frontend("blog", free_port()), await rig.backend(BLUE)
    odd = await rig.backend("blog-v001")
    odd = replace(odd, probe=replace(odd.probe, **UNFIT[asks]))  # type: ignore[arg-type]
    await balancer.arrange(Structure((shop, blog), (fit,)))
    await balancer.route((TO_BLUE,))
    with pytest.raises(UnfitError, match="blog-v001") as refused:
        await balancer.arrange(Structure((shop, blog), (fit, odd)))
    assert (list(refused.value.frontends), list(refused.value.backends)) == ([], ["blog-v001"])
    more = await rig.backend(GREEN)
    await balancer.arrange(Structure((shop, blog), (fit, more)))
    assert (await balancer.observe()).structure == Structure((shop, blog), (fit, more))


async def test_a_way_in_that_it_can_not_open_is_named_and_holds_up_no_others(
    rig: Rig, shop: Frontend
) -> None:
    balancer = rig.balancer()
    await balancer.start()
    fit, other = await rig.backend(BLUE), await rig.backend("blog-v001")
    for port in (shop.port, 65_536):
        blog = frontend("blog", port)
        with pytest.raises(UnfitError, match=f"blog.*{port}") as refused:
            await balancer.arrange(Structure((shop, blog), (fit, other)))
        assert (list(refused.value.frontends), list(refused.value.backends)) == (["blog"], [])
    await balancer.arrange(Structure((shop,), (fit,)))
    assert (await balancer.observe()).structure == Structure((shop,), (fit,))


async def test_a_port_that_is_not_to_be_had_is_named_and_holds_up_no_others(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    fit, other = await rig.backend(BLUE), await rig.backend("blog-v001")
    await balancer.arrange(Structure((shop,), (fit,)))
    with rig.taken_port() as port:
        blog = frontend("blog", port)
        with pytest.raises(UnfitError) as refused:
            await balancer.arrange(Structure((shop, blog), (fit, other)))
        assert list(refused.value.frontends) == ["blog"]
        assert str(port) in refused.value.frontends[blog.application]
        assert str(port) in (await balancer.way_in(blog)).lack
        assert (await balancer.way_in(shop)).lack == ""
        more = await rig.backend(GREEN)
        await balancer.arrange(Structure((shop,), (fit, more)))
        assert (await balancer.observe()).structure == Structure((shop,), (fit, more))
    await balancer.arrange(Structure((shop, blog), (fit, more, other)))
    assert (await balancer.observe()).structure == Structure((shop, blog), (fit, more, other))
    assert (await balancer.way_in(blog)).lack == ""


async def test_fronts_are_had_where_the_kind_says_so_and_hold_up_no_others_where_not(
    rig: Rig, shop: Frontend
) -> None:
    balancer = rig.balancer()
    await balancer.start()
    fit, other = await rig.backend(BLUE), await rig.backend("blog-v001")
    port = free_port()
    balance: Balance = "leastconn" if "balance" in rig.abilities.fronts else "roundrobin"
    fronts = (replace(plain_front(port), balance=balance), TrafficFront("echo", free_port(), "tcp"))
    blog = Frontend(ApplicationName("blog"), port, fronts=fronts)
    wanted = Structure((shop, blog), (fit, replace(other, fronts=fronts)))
    if set(needs(fronts)) <= set(rig.abilities.fronts):
        await balancer.arrange(wanted)
        assert (await balancer.way_in(blog)).lack == ""
        assert (await balancer.observe()).structure == wanted
        return
    assert "has no" in (await balancer.way_in(blog)).lack
    with pytest.raises(UnfitError, match=r"blog.*has no") as refused:
        await balancer.arrange(wanted)
    assert list(refused.value.frontends) == ["blog"]
    await balancer.arrange(Structure((shop,), (fit,)))
    assert (await balancer.observe()).structure == Structure((shop,), (fit,))


async def test_all_fronts_of_an_application_move_together(rig: Rig, shop: Frontend) -> None:
    """One of tcp where the kind has that: then it is split, too."""
    rig.needs_several_fronts()
    balancer = rig.balancer()
    await balancer.start()
    fronts = (plain_front(shop.port), TrafficFront("admin", free_port(), rig.other_protocol))
    shop = replace(shop, fronts=fronts)
    admin = frontend("shop", fronts[1].port)
    blue, green = [replace(await rig.backend(group), fronts=fronts) for group in (BLUE, GREEN)]
    wanted = Structure((shop,), (blue, green))
    await balancer.arrange(wanted)
    await balancer.route((TO_BLUE,))
    await until_async(lambda: _is_up(balancer, BLUE))
    assert [await _answers(rig, each, 3) for each in (shop, admin)] == [[BLUE] * 3] * 2
    split = Route(SHOP, BLUE, GREEN, rig.share(5_000))
    await balancer.route((split,))
    view = await balancer.observe()
    assert (view.structure, view.routes) == (wanted, (split,))
    if 0 < split.second_bp < 10_000:
        assert [set(await _answers(rig, each, 30)) for each in (shop, admin)] == [{BLUE, GREEN}] * 2
    await balancer.route((TO_GREEN,))
    assert (await balancer.observe()).routes == (TO_GREEN,)
    assert [await _answers(rig, each, 3) for each in (shop, admin)] == [[GREEN] * 3] * 2
    await balancer.arrange(Structure((shop,), (green,)))
    assert (await balancer.observe()).structure == Structure((shop,), (green,))


async def test_a_front_comes_with_the_route_that_there_is_and_goes_with_it(rig: Rig, shop: Frontend) -> None:
    """A group that lacks it gets none of its requests."""
    rig.needs_several_fronts()
    balancer = rig.balancer()
    await balancer.start()
    plain, blue, green = shop, await rig.backend(BLUE), await rig.backend(GREEN)
    fronts = (plain_front(shop.port), TrafficFront("admin", free_port()))
    shop, green, admin = (
        replace(shop, fronts=fronts),
        replace(green, fronts=fronts),
        frontend("shop", fronts[1].port),
    )
    await balancer.arrange(Structure((plain,), (blue, green)))
    split = Route(SHOP, BLUE, GREEN, rig.share(5_000))
    await balancer.route((split,))
    await balancer.arrange(Structure((shop,), (blue, green)))
    assert (await balancer.observe()).routes == (split,)
    assert set(await rig.sides(admin, [""] * 10)) == {GREEN}
    await balancer.route((TO_BLUE,))
    await balancer.arrange(Structure((plain,), (blue,)))
    view = await balancer.observe()
    assert (view.structure, view.routes) == (Structure((plain,), (blue,)), (TO_BLUE,))


async def test_a_further_port_that_is_not_to_be_had_is_named_and_holds_up_no_others(
    rig: Rig, shop: Frontend
) -> None:
    rig.needs_several_fronts()
    balancer = rig.balancer()
    await balancer.start()
    fit, more = await rig.backend(BLUE), await rig.backend(GREEN)
    await balancer.arrange(Structure((shop,), (fit,)))
    await balancer.route((TO_BLUE,))
    with rig.taken_port() as port:
        blog = frontend("blog", free_port())
        fronts = (plain_front(blog.port), TrafficFront("admin", port))
        blog, other = replace(blog, fronts=fronts), replace(await rig.backend("blog-v001"), fronts=fronts)
        with pytest.raises(UnfitError) as refused:
            await balancer.arrange(Structure((shop, blog), (fit, other)))
        assert list(refused.value.frontends) == ["blog"]
        assert (await balancer.way_in(blog)).lack
        await balancer.arrange(Structure((shop,), (fit, more)))
        view = await balancer.observe()
        assert (view.structure, view.routes) == (Structure((shop,), (fit, more)), (TO_BLUE,))
    await balancer.arrange(Structure((shop, blog), (fit, more, other)))
    assert (await balancer.observe()).structure == Structure((shop, blog), (fit, more, other))
    assert (await balancer.way_in(blog)).lack == ""


async def test_a_second_agent_adopts_all_fronts(rig: Rig, shop: Frontend) -> None:
    rig.needs_several_fronts()
    first = rig.balancer()
    await first.start()
    fronts = (plain_front(shop.port), TrafficFront("admin", free_port(), rig.other_protocol))
    blue = replace(await rig.backend(BLUE), fronts=fronts)
    wanted = Structure((replace(shop, fronts=fronts),), (blue,))
    await first.arrange(wanted)
    await first.route((TO_BLUE,))
    await first.close()
    second = rig.balancer()
    await second.start()
    view = await second.observe()
    assert (view.structure, view.routes, view.restarts) == (wanted, (TO_BLUE,), 0)
    await second.arrange(wanted)
    assert (await second.observe()).routes == (TO_BLUE,)


@pytest.mark.parametrize("split", [Split("cookie", "uid"), Split("header", "uid")], ids=lambda each: each.by)
async def test_users_stay_on_their_side_while_a_share_grows(rig: Rig, shop: Frontend, split: Split) -> None:
    rig.needs_users_apart()
    balancer = rig.balancer()
    await balancer.start()
    shop = replace(shop, split=split)
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN))))
    users = [f"Cookie: uid={user}" if split.by == "cookie" else f"uid: {user}" for user in range(100)]
    before: list[str] = [BLUE] * 100
    for share_bp, sides in [(0, {BLUE}), (2_500, {BLUE, GREEN}), (7_500, {BLUE, GREEN}), (10_000, {GREEN})]:
        await balancer.route((Route(SHOP, BLUE, GREEN, share_bp),))
        after = await rig.sides(shop, users)
        assert all(new in (old, GREEN) for old, new in zip(before, after, strict=True))
        assert set(after) == sides
        before = after


async def test_a_baseline_has_the_share_of_the_second_group_and_people_stay_where_they_are(
    rig: Rig, shop: Frontend
) -> None:
    """Those of the newer group stay with it as its share grows, those of the baseline with that."""
    rig.needs_baselines()
    balancer = rig.balancer()
    await balancer.start()
    split = Split("header", "uid")
    fresh = GroupName("shop-v003")
    backends = [await rig.backend(group) for group in (BLUE, GREEN, fresh)]
    await balancer.arrange(Structure((replace(shop, split=split),), tuple(backends)))
    assert (await balancer.observe()).takes_baselines
    users = [f"uid: {user}" for user in range(300)]
    before: list[str] = [BLUE] * len(users)
    for share_bp in (1_000, 2_500, 4_000):
        route = Route(SHOP, BLUE, GREEN, share_bp, baseline=fresh, baseline_bp=share_bp)
        await balancer.route((route,))
        assert (await balancer.observe()).routes == (route,)
        after = await rig.sides(replace(shop, split=split), users)
        assert all(new == old or old == BLUE for old, new in zip(before, after, strict=True))
        for group in (GREEN, fresh):
            assert abs(after.count(group) / len(users) - share_bp / 10_000) < 0.08
        before = after
    with pytest.raises(BalancerError, match=fresh):
        await balancer.arrange(Structure((replace(shop, split=split),), tuple(backends[:2])))
    await balancer.route((TO_BLUE,))
    assert set(await rig.sides(replace(shop, split=split), users[:20])) == {BLUE}


async def test_a_baseline_goes_beside_testers_and_a_spare(rig: Rig, shop: Frontend) -> None:
    rig.needs_baselines()
    rig.needs_testers()
    balancer = rig.balancer()
    await balancer.start()
    shop = replace(shop, split=Split("request", "", "header", "X-Tester", "yes"))
    fresh = GroupName("shop-v003")
    backends = [await rig.backend(group) for group in (BLUE, GREEN, fresh)]
    await balancer.arrange(Structure((shop,), tuple(backends)))
    await until_async(lambda: _are_up(balancer, 3))
    spare = BLUE if (await balancer.observe()).falls_back else None
    route = Route(SHOP, BLUE, GREEN, 5_000, GREEN, spare, fresh, 5_000)
    await balancer.route((route,))
    assert (await balancer.observe()).routes == (route,)
    assert set(await rig.sides(shop, [""] * 40)) == {GREEN, fresh}
    assert set(await rig.sides(shop, ["X-Tester: yes"] * 5)) == {GREEN}
    for wrong in (
        replace(route, baseline=GREEN),
        replace(route, baseline_bp=5_001),
        Route(SHOP, BLUE, baseline=fresh, baseline_bp=500),
        Route(SHOP, BLUE, GREEN, 500, baseline_bp=500),
    ):
        if spare is not None:
            with pytest.raises(BalancerError):
                await balancer.route((wrong,))


async def test_testers_reach_their_group_whatever_the_weights(rig: Rig, shop: Frontend) -> None:
    rig.needs_testers()
    balancer = rig.balancer()
    await balancer.start()
    shop = replace(shop, split=Split("request", "", "header", "X-Tester", "yes"))
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN)))
    await balancer.arrange(wanted)
    route = Route(SHOP, BLUE, testers=GREEN)
    await balancer.route((route,))
    view = await balancer.observe()
    assert (view.structure, view.routes) == (wanted, (route,))
    assert await rig.sides(shop, ["X-Tester: yes", "X-Tester: no", ""] * 5) == [GREEN, BLUE, BLUE] * 5
    with pytest.raises(BalancerError, match=GREEN):
        await balancer.arrange(Structure((shop,), wanted.backends[:1]))
    await balancer.route((TO_BLUE,))
    assert set(await rig.sides(shop, ["X-Tester: yes"] * 5)) == {BLUE}


async def test_testers_need_a_group_that_is_arranged_and_a_mark(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE),)))
    await balancer.route((TO_BLUE,))
    with pytest.raises(BalancerError, match=GREEN):
        await balancer.route((Route(SHOP, BLUE, testers=GREEN),))
    with pytest.raises(BalancerError, match="nothing says who is a tester"):
        await balancer.route((Route(SHOP, BLUE, testers=BLUE),))
    assert (await balancer.observe()).routes == (TO_BLUE,)


async def test_routes_and_structures_are_whole_states(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    blog = frontend("blog", free_port())
    shop_backend, blog_backend = await rig.backend(BLUE), await rig.backend("blog-v001")
    to_blog = Route(blog.application, blog_backend.group)
    await balancer.arrange(Structure((shop, blog), (shop_backend, blog_backend)))
    await balancer.route((TO_BLUE, to_blog))
    assert set((await balancer.observe()).routes) == {TO_BLUE, to_blog}
    await balancer.route((TO_BLUE,))
    assert (await balancer.observe()).routes == (TO_BLUE,)
    await balancer.arrange(Structure((shop,), (shop_backend,)))
    assert (await balancer.observe()).structure == Structure((shop,), (shop_backend,))


async def test_a_second_agent_adopts_what_runs(rig: Rig, shop: Frontend) -> None:
    first = rig.balancer()
    await first.start()
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN, is_enabled=False)))
    await first.arrange(wanted)
    await first.route((TO_BLUE,))
    await first.close()
    second = rig.balancer()
    await second.start()
    view = await second.observe()
    assert (view.structure, view.routes, view.restarts) == (wanted, (TO_BLUE,), 0)


async def test_requests_in_flight_are_counted_until_they_end(rig: Rig, shop: Frontend) -> None:
    rig.needs_requests()
    balancer = rig.balancer()
    await balancer.start()
    blue, green = await rig.backend(BLUE), await rig.backend(GREEN)
    await balancer.arrange(Structure((shop,), (blue,)))
    await balancer.route((TO_BLUE,))
    for _ in range(3):
        await rig.begin_request(shop, BLUE)
    await until_async(lambda: _has_in_flight(balancer, BLUE, 3))
    await balancer.arrange(Structure((shop,), (blue, green)))  # after it an old worker has them
    await balancer.route((TO_GREEN,))
    assert await _has_in_flight(balancer, BLUE, 3)
    assert await _has_in_flight(balancer, GREEN, 0)
    await rig.end_requests()
    await until_async(lambda: _has_in_flight(balancer, BLUE, 0))


@pytest.mark.parametrize("share_bp", [100, 500, 3_300, 5_000, 9_900])
async def test_shares_are_read_back_as_they_were_given(rig: Rig, shop: Frontend, share_bp: int) -> None:
    rig.needs_share(share_bp)
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN))))
    for route in (TO_BLUE, Route(SHOP, BLUE, GREEN, share_bp), TO_GREEN):
        await balancer.route((route,))
        assert (await balancer.observe()).routes == (route,)


async def test_a_switch_is_one_step_or_said_not_to_be(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN))))
    await until_async(lambda: _are_up(balancer, 2))
    if not rig.abilities.switches_at_once:
        pytest.skip("this balancer says that its switches take a moment")
    for before, after in ((TO_BLUE, TO_GREEN), (TO_GREEN, TO_BLUE)) * 3:
        await balancer.route((before,))
        switch = asyncio.create_task(balancer.route((after,)))
        answers = []
        while not switch.done():
            answers += await rig.sides(shop, [""])
            await asyncio.sleep(0)
        answers += await rig.sides(shop, [""] * 3)
        assert answers == sorted(answers, key=lambda each: each != before.first), "one went back"
        assert set(answers[-3:]) == {after.first}


async def test_a_spare_answers_for_as_long_as_no_host_of_the_group_is_up(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN))))
    if not (await balancer.observe()).falls_back:
        pytest.skip("this balancer takes no spare, and says so")
    spared = Route(SHOP, GREEN, spare=BLUE)
    await until_async(lambda: _are_up(balancer, 2))
    await balancer.route((spared,))

    async def is_answered_by(group: GroupName) -> bool:
        view = await balancer.observe()
        assert view.routes == (spared,), "what was asked for holds"
        return await rig.sides(shop, ["", ""]) == [group] * 2

    assert await is_answered_by(GREEN)
    await rig.fall_ill(GREEN)
    await until_async(lambda: is_answered_by(BLUE))
    told = (await balancer.observe()).fallen_back
    assert [(each.group, each.spare, each.requests > 0) for each in told] == [(GREEN, BLUE, True)]
    await rig.recover(GREEN)
    await until_async(lambda: is_answered_by(GREEN))


async def test_a_group_is_not_detached_from_the_requests_that_it_has(rig: Rig, shop: Frontend) -> None:
    rig.needs_requests()
    balancer = rig.balancer()
    await balancer.start()
    blue, green = await rig.backend(BLUE), await rig.backend(GREEN)
    await balancer.arrange(Structure((shop,), (blue, green)))
    await balancer.route((TO_BLUE,))
    for _ in range(3):
        await rig.begin_request(shop, BLUE)
    await until_async(lambda: _has_in_flight(balancer, BLUE, 3))
    await balancer.route((TO_GREEN,))
    await balancer.arrange(Structure((shop,), (green,)))
    assert (await balancer.observe()).structure == Structure((shop,), (green,))
    await rig.end_requests()
    await balancer.arrange(Structure((shop,), (blue, green)))  # there is room for it again


async def test_what_a_restart_lost_is_there_again_and_told(rig: Rig, shop: Frontend) -> None:
    balancer = rig.balancer()
    await balancer.start()
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN)))
    await balancer.arrange(wanted)
    route = Route(SHOP, BLUE, GREEN, rig.share(2_500))
    await balancer.route((route,))
    before = (await balancer.observe()).restarts
    await rig.restart()

    async def is_told() -> bool:
        return (await balancer.observe()).restarts > before

    await until_async(is_told)
    view = await balancer.observe()
    assert (view.structure, view.routes) == (wanted, (route,))


async def test_two_agents_can_not_both_own_it(rig: Rig, shop: Frontend) -> None:
    first, second = rig.balancer(), rig.rival()
    await first.start()
    wanted = Structure((shop,), (await rig.backend(BLUE), await rig.backend(GREEN)))
    await first.arrange(wanted)
    await first.route((TO_BLUE,))

    async def take_over() -> None:
        await second.start()
        await second.arrange(wanted)

    with pytest.raises(BalancerError):
        await take_over()
    view = await first.observe()
    assert (view.structure, view.routes) == (wanted, (TO_BLUE,))


async def _are_up(balancer: Balancer, count: int) -> bool:
    return await _servers_up(balancer) == count


async def _answers(rig: Rig, way: Frontend, count: int) -> list[str]:
    """On a connection for each: where connections are split, one has one group's answers."""
    return [answer for _ in range(count) for answer in await rig.sides(way, [""])]


async def _is_up(balancer: Balancer, group: GroupName) -> bool:
    view = (await balancer.observe()).backend(group)
    return view is not None and view.servers_up > 0


async def _servers_up(balancer: Balancer) -> int:
    return sum(each.servers_up for each in (await balancer.observe()).backends)


async def _has_in_flight(balancer: Balancer, group: GroupName, count: int) -> bool:
    view = (await balancer.observe()).backend(group)
    return view is not None and view.in_flight == count
