"""The balancer gcp_lb against the stand-in for Google, whose forwarder sends real requests on by the weights
that it is given."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from repave_agent.core.ports import (
    Backend,
    BalancerError,
    Frontend,
    Route,
    Server,
    Structure,
    UnfitError,
)
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe, Split
from tests.fakes.clock import FastClock
from tests.fakes.waiting import until_async
from tests.support.google_front import AnyCloudBalancer, GoogleFront
from tests.support.rigs import CloudRig, cloud_rig, why_no_cloud, why_no_rigs

SHOP, PORT = ApplicationName("shop"), 8070
DOOR = Frontend(SHOP, PORT, Split("request", "", "header", "X-Tester", "yes"))
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")
TO_BLUE, TO_GREEN = Route(SHOP, BLUE), Route(SHOP, GREEN)
CANARY = Route(SHOP, BLUE, GREEN, 500, testers=GREEN)
SHARE_CALLS = 4
"""The mark of the owner, the change, its end, and the map as it is then."""
Make = Callable[..., AnyCloudBalancer]


@pytest.fixture(scope="module")
def rig() -> Iterator[CloudRig]:
    if reason := why_no_cloud("gcp"):
        pytest.skip(reason)
    with TemporaryDirectory(prefix="rg") as directory, cloud_rig("gcp", Path(directory), 97) as made:
        yield made


@pytest.fixture
def front(request: pytest.FixtureRequest, rig: CloudRig) -> Iterator[GoogleFront]:
    """The parameter: the region of an internal address."""
    made = GoogleFront(rig, region=getattr(request, "param", ""))
    made.begin()
    yield made
    assert rig.state()["violations"] == []


@pytest.fixture
async def make(front: GoogleFront, tmp_path: Path) -> AsyncIterator[Make]:
    async with AsyncExitStack() as opened:

        def made(agent: str = "agent", **more: Any) -> AnyCloudBalancer:
            balancer = front.balancer(tmp_path / agent, **more)
            opened.push_async_callback(balancer.close)
            return balancer

        yield made


def behind(front: GoogleFront, group: GroupName, hosts: int = 2) -> Backend:
    servers = tuple(
        Server(HostName(f"{group}-{n}"), front.add_machine(f"{group}-{n}"), 8080) for n in range(hosts)
    )
    return Backend(group, servers, Probe("http", 8080, "/health"))


async def begun(balancer: AnyCloudBalancer, front: GoogleFront, route: Route = TO_BLUE) -> Structure:
    wanted = Structure((DOOR,), (behind(front, BLUE), behind(front, GREEN)))
    await balancer.start()
    await balancer.arrange(wanted)
    await balancer.route((route,))
    return wanted


async def asked(front: GoogleFront, requests: int, header: str = "") -> Counter[str]:
    """How often each group answered."""
    return Counter(each.rpartition("-")[0] for each in await front.ask(PORT, [header] * requests))


@pytest.mark.parametrize("front", ["", "europe-west1"], ids=["global", "internal"], indirect=True)
async def test_a_share_is_exact_testers_pass_it_by_and_nothing_is_left_at_the_end(
    front: GoogleFront, make: Make
) -> None:
    balancer = make(clock=FastClock(1.0))  # nothing is read anew meanwhile because it is old
    wanted = await begun(balancer, front, CANARY)
    view = await balancer.observe()
    assert (view.structure, view.routes) == (wanted, (CANARY,))
    assert await asked(front, 100) == {BLUE: 95, GREEN: 5}
    assert await asked(front, 5, "X-Tester: yes") == {GREEN: 5}
    calls = front.calls()
    await balancer.route((replace(CANARY, second_bp=2_000, testers=None),))
    assert front.calls() - calls <= SHARE_CALLS
    assert await asked(front, 50) == {BLUE: 40, GREEN: 10}
    await balancer.route((TO_GREEN,))
    assert await asked(front, 5) == {GREEN: 5}
    await balancer.end()
    assert front.all_listed() == []
    assert front.labels() == {}


async def test_a_group_without_a_healthy_host_gives_its_traffic_to_the_spare_until_it_has_one(
    front: GoogleFront, rig: CloudRig, make: Make
) -> None:
    balancer, spared = make(), replace(CANARY, spare=BLUE, testers=None)
    await begun(balancer, front, spared)
    assert (await balancer.observe()).falls_back

    async def share_is(share: dict[str, int]) -> bool:
        assert (await balancer.observe()).routes == (spared,), "what was asked for holds"
        return await asked(front, 20) == share

    for health, share in (("unhealthy", {BLUE: 20}), ("healthy", {BLUE: 19, GREEN: 1})):
        for number in range(2):
            rig.act(f"{GREEN}-{number}", health)
        await until_async(lambda share=share: share_is(share))  # type: ignore[misc]
    (told,) = (await balancer.observe()).fallen_back
    assert (told.group, told.spare, told.requests) == (GREEN, BLUE, 1)


async def test_a_group_that_loses_its_traffic_gets_its_time_to_drain(front: GoogleFront, make: Make) -> None:
    balancer = make()
    wanted = await begun(balancer, front)
    waiting = {each.group: each.in_flight for each in (await balancer.observe()).backends}
    assert waiting == {BLUE: 1, GREEN: 0}, "Google does not tell how many there are"
    await balancer.route((TO_GREEN,))
    assert {each.group: each.in_flight for each in (await balancer.observe()).backends} == {BLUE: 1, GREEN: 1}
    await balancer.arrange(replace(wanted, backends=wanted.backends[1:]))
    assert not [each for each in front.all_listed() if BLUE in each]


async def test_a_change_by_another_is_seen_and_put_right(front: GoogleFront, make: Make) -> None:
    balancer = make()
    wanted = await begun(balancer, front, CANARY)
    (url_map,) = front.listed("urlMaps")
    (matcher,) = url_map["pathMatchers"]
    matcher["defaultRouteAction"]["weightedBackendServices"].reverse()
    weights = matcher["defaultRouteAction"]["weightedBackendServices"]
    for each, weight in zip(weights, (0, 500, 500), strict=True):
        each["weight"] = weight
    path = f"{front.scope}/urlMaps/{url_map['name']}"
    front.call("PATCH", path, {"fingerprint": url_map["fingerprint"], "pathMatchers": [matcher]})

    async def is_seen() -> bool:
        return (await balancer.observe()).routes != (CANARY,)

    await balancer.route((replace(CANARY, second_bp=1_000),))  # the fingerprint is stale: it is read again
    assert (await balancer.observe()).routes == (replace(CANARY, second_bp=1_000),)
    (url_map,) = front.listed("urlMaps")
    front.call("PATCH", path, {"fingerprint": url_map["fingerprint"], "pathMatchers": [matcher]})
    await until_async(is_seen)
    await balancer.route((CANARY,))
    assert (await balancer.observe()).structure == wanted
    assert await asked(front, 20) == {BLUE: 19, GREEN: 1}


async def test_strangers_at_the_same_address_and_in_the_project_are_never_touched(
    front: GoogleFront, make: Make
) -> None:
    with front.stranger(PORT + 1):
        before = front.all_listed()
        balancer = make()
        wanted = await begun(balancer, front)
        with pytest.raises(UnfitError, match=f"port {PORT + 1} of front is that of the forwarding rule web"):
            await balancer.arrange(replace(wanted, frontends=(replace(DOOR, port=PORT + 1),)))
        assert await asked(front, 3) == {BLUE: 3}, "the former way in stays"
        await balancer.end()
        assert front.all_listed() == before


@pytest.mark.rig
async def test_listings_that_are_behind_hold_up_no_change(
    front: GoogleFront, rig: CloudRig, make: Make
) -> None:
    if reason := why_no_rigs():
        pytest.skip(reason)
    backends = behind(front, BLUE), behind(front, GREEN)
    rig.set(list_lag_seconds=0.2)
    balancer = make()
    await until_async(lambda: asyncio.to_thread(lambda: len(front.instances()) == 4))
    await balancer.start()
    wanted = Structure((DOOR,), backends)
    await balancer.arrange(wanted)
    await balancer.route((CANARY,))
    assert (await balancer.observe()).routes == (CANARY,)
    assert await asked(front, 20) == {BLUE: 19, GREEN: 1}
    await balancer.end()
    await until_async(lambda: asyncio.to_thread(lambda: not front.all_listed()))


async def test_an_agent_of_the_region_takes_over_with_the_lease_and_others_are_refused(
    front: GoogleFront, make: Make
) -> None:
    first = make()
    wanted = await begun(first, front, CANARY)
    with pytest.raises(
        BalancerError, match=r"gcloud compute addresses update front --global --remove-labels"
    ):
        await make("rival").start()
    with pytest.raises(BalancerError, match="belongs to another agent"):
        await make("elsewhere", region="there", has_lease=lambda: True).start()
    second = make("second", has_lease=lambda: True)
    await second.start()
    view = await second.observe()
    assert [each.group for each in view.structure.backends] == [each.group for each in wanted.backends]
    assert view.routes == (CANARY,)
    assert {each.host for one in view.structure.backends for each in one.servers} == {
        each.host for one in wanted.backends for each in one.servers
    }
    with pytest.raises(BalancerError, match="belongs to another agent"):
        await first.route((TO_BLUE,))


async def test_a_host_whose_instance_vanished_holds_up_no_others(
    front: GoogleFront, rig: CloudRig, make: Make
) -> None:
    balancer = make()
    wanted = await begun(balancer, front)
    rig.act(f"{BLUE}-0", "vanish")
    more = replace(
        wanted.backends[0],
        servers=(*wanted.backends[0].servers, *behind(front, GroupName("late"), 1).servers),
    )
    await balancer.arrange(replace(wanted, backends=(more, wanted.backends[1])))
    (blue, _) = (await balancer.observe()).structure.backends
    assert [each.is_enabled for each in blue.servers] == [False, True, True]


@pytest.mark.parametrize(
    ("door", "said"),
    [
        ({"split": Split("cookie", "uid")}, "can't split by cookie"),
        ({"split": Split("request", "", "cookie", "t", "1")}, "by a header, not by a cookie"),
        ({"client_seconds": 90.0}, "leave out timeouts.client"),
    ],
)
async def test_what_google_can_not_do_is_said_before_a_release(
    front: GoogleFront, make: Make, door: dict[str, Any], said: str
) -> None:
    balancer = make()
    await balancer.start()
    assert said in (await balancer.way_in(replace(DOOR, **door))).lack
    with pytest.raises(UnfitError, match=said):
        await balancer.arrange(Structure((replace(DOOR, **door),)))


async def test_an_address_that_is_not_there_is_named_with_what_to_do(rig: CloudRig, tmp_path: Path) -> None:
    rig.reset()
    for name, said in (
        ("", "gcp_lb.address is not set"),
        ("front", "gcloud compute addresses create front --global"),
    ):
        balancer = GoogleFront(rig, name).balancer(tmp_path / (name or "none"))
        with pytest.raises(BalancerError, match=said):
            await balancer.start()
        await balancer.close()
