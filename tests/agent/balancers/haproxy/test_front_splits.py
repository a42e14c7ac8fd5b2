"""Shares, testers, and which host of a group a client gets, at fronts that are not plain HTTP: real clients
of gRPC and TCP, and of TLS that HAProxy passes through."""

from collections import Counter
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from repave_agent.core.ports import Route
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import ApplicationName, GroupName, Split
from tests.fakes.agent.front_site import ECHO, PASSED_THROUGH, FrontSite, connected, get
from tests.fakes.agent.haproxy_rig import needs_haproxy
from tests.fakes.waiting import until_async
from tests.support.ports import free_port

pytestmark = needs_haproxy

SHOP, BLUE, GREEN = ApplicationName("shop"), GroupName("shop-v001"), GroupName("shop-v002")
TESTED = Split(tester_by="header", tester_name="x-tester", tester_value="yes")
ASKED = 200


async def called(channel: grpc.aio.Channel, *metadata: tuple[str, str]) -> str:
    """Who answers a call."""
    call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(ECHO)(metadata=metadata)
    await call.write(b"a")
    answer = await call.read()
    await call.done_writing()
    assert isinstance(answer, bytes)
    return answer.decode().split()[0]


async def said(port: int, source: str = "127.0.0.1") -> str:
    async with connected(port, source=source) as line:
        return (await line.say("a")).split()[0]


async def test_a_canary_has_its_share_of_connections_and_of_calls_on_one_connection(stage: FrontSite) -> None:
    """30 % of 200: 60, give or take 6.5; further off than five times that is no chance."""
    web, echo, rpc = free_port(), free_port(), free_port()
    fronts = (
        TrafficFront("web", web),
        TrafficFront("echo", echo, "tcp"),
        TrafficFront("rpc", rpc, "grpc", has_http2=True),
    )
    await stage.add("shop", *fronts)
    await stage.steer(Route(SHOP, BLUE, GREEN, 3_000))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc}") as channel:
        calls = Counter([await called(channel) for _ in range(ASKED)])
    connections = Counter([await said(echo) for _ in range(ASKED)])
    assert {*calls, *connections} == {"shop-blue", "shop-green"}
    assert 28 <= calls["shop-green"] <= 92
    assert 28 <= connections["shop-green"] <= 92


async def test_testers_are_known_by_a_header_of_their_calls_and_connections_have_none(
    stage: FrontSite,
) -> None:
    web, echo, rpc = free_port(), free_port(), free_port()
    fronts = (
        TrafficFront("web", web),
        TrafficFront("echo", echo, "tcp"),
        TrafficFront("rpc", rpc, "grpc", has_http2=True),
    )
    await stage.add("shop", *fronts, split=TESTED)
    await stage.steer(Route(SHOP, BLUE, testers=GREEN))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc}") as channel:
        for _ in range(5):
            assert await called(channel, ("x-tester", "yes")) == "shop-green"
            assert await called(channel, ("x-tester", "no")) == "shop-blue"
            assert await called(channel) == "shop-blue"
    assert {await said(echo) for _ in range(10)} == {"shop-blue"}
    assert await get(web) == "shop-blue"


async def test_tls_of_two_applications_is_passed_through_one_port_by_its_name(stage: FrontSite) -> None:
    """HAProxy has no certificate: clients see that of the host, through a switch of one of the two."""
    port = free_port()
    front = TrafficFront(PASSED_THROUGH, port, "tcp", host="shop.example")
    await stage.add("shop", front)
    await stage.add("blog", replace(front, host="blog.example"))
    trust = stage.trust
    async with connected(port, "shop.example", trust) as shop, connected(port, "blog.example", trust) as blog:
        for side in ("blue", "green"):
            for name in ("shop", "blog"):
                expected = side if name == "blog" else "blue"
                async with connected(port, f"{name}.example", trust) as line:
                    shown = line.writer.get_extra_info("peercert")["subjectAltName"]
                    assert ("DNS", f"{name}.example") in shown
                    assert await line.say("a") == f"{name}-{expected} a"
            await stage.switch("blog", 2)
        assert await shop.say("b") == "shop-blue b"
        assert await blog.say("b") == "blog-blue b"
    with pytest.raises(OSError):  # by TLS or by TCP, as it comes
        async with connected(port, "other.example", trust):
            pass


async def test_clients_stay_on_a_host_by_their_address_while_other_hosts_leave(stage: FrontSite) -> None:
    """Also where a host before theirs is gone for good, which takes a reload."""
    web, echo = free_port(), free_port()
    fronts = (
        TrafficFront("web", web, sticky="address"),
        TrafficFront("echo", echo, "tcp", sticky="address"),
    )
    await stage.add("shop", *fronts, blue=4)
    sources = [f"127.0.1.{number}" for number in range(1, 25)]
    first = {source: await said(echo, source) for source in sources}
    assert len(set(first.values())) > 1
    assert {source: await said(echo, source) for source in sources} == first
    gone = "shop-blue-1"
    blue, green = stage.structure.backends
    rest = replace(blue, servers=tuple(each for each in blue.servers if each.host != gone))
    await stage.balancer.arrange(replace(stage.structure, backends=(rest, green)))
    after = {source: await said(echo, source) for source in sources}
    assert gone in first.values()
    assert {source: host for source, host in after.items() if first[source] != gone} == {
        source: host for source, host in first.items() if host != gone
    }


@pytest.mark.parametrize("stage", [1], indirect=True)
async def test_by_leastconn_a_host_with_open_connections_gets_no_more_than_the_others(
    stage: FrontSite,
) -> None:
    echo = free_port()
    await stage.add("shop", TrafficFront("echo", echo, "tcp", balance="leastconn"), blue=3)
    async with connected(echo) as one, connected(echo) as two:
        busy = {(await line.say("a")).split()[0] for line in (one, two)}
        assert len(busy) == 2
        idle = {"shop-blue-1", "shop-blue-2", "shop-blue-3"} - busy
        for _ in range(5):
            await until_async(lambda: are_open(stage, 2))
            assert {await said(echo)} == idle


async def are_open(stage: FrontSite, count: int) -> bool:
    """Whether the former client's connection has ended for HAProxy, too."""
    view = (await stage.balancer.observe()).backend(BLUE)
    return view is not None and view.in_flight == count
