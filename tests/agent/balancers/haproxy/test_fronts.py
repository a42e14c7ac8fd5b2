"""The real HAProxy with every kind of front: real clients of each, held through switches between groups."""

import asyncio
import itertools
import socket
import ssl
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

import grpc
import grpc.aio
import pytest

from repave_agent.core.ports import Frontend, Route, UnfitError
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import ApplicationName, GroupName
from tests.fakes.agent.front_site import ON_FILE, WEBSOCKET, FrontSite, call, connected, get
from tests.fakes.agent.haproxy_rig import needs_haproxy
from tests.fakes.waiting import until
from tests.support.load import Load
from tests.support.ports import free_port

pytestmark = needs_haproxy
SETTINGS, PING, GOAWAY = 4, 6, 7


async def test_all_fronts_of_an_application_switch_together_and_streams_live_through_it(
    stage: FrontSite,
) -> None:
    """HTTP, TCP and gRPC at three ports; what was open stays with its host, what is new goes on."""
    web, echo, rpc = free_port(), free_port(), free_port()
    fronts = (
        TrafficFront("web", web),
        TrafficFront("echo", echo, "tcp"),
        TrafficFront("rpc", rpc, "grpc", has_http2=True),
    )
    await stage.add("shop", *fronts)
    async with (
        connected(echo) as tcp,
        connected(web) as tunnel,
        grpc.aio.insecure_channel(f"127.0.0.1:{rpc}") as channel,
    ):
        stream = call(channel)
        await tunnel.ask("/ws", headers=WEBSOCKET)
        for number, version in enumerate((2, 1, 2)):
            await stream.write(b"a")
            assert await stream.read() == b"shop-blue a"
            assert await tcp.say("b") == "shop-blue b"
            assert await tunnel.say("c") == "shop-blue c"
            await stage.switch("shop", version)
            side = "shop-green" if version == 2 else "shop-blue"
            fresh = call(channel)
            await fresh.write(b"d")
            assert await fresh.read() == f"{side} d".encode()
            await fresh.done_writing()
            assert await get(web) == side
            async with connected(echo) as other:
                assert await other.say("e") == f"{side} e"
            await stage.add(f"other{number}", TrafficFront("web", free_port()))  # a reload
        await stream.write(b"f")
        assert await stream.read() == b"shop-blue f"
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        assert await tcp.say("g") == "shop-blue g"
        assert await tunnel.say("h") == "shop-blue h"
        view = (await stage.balancer.observe()).backend(GroupName("shop-v002"))
        assert view is not None
        assert view.counted is not None
        assert view.counted.requests >= 6


async def test_a_client_that_connects_in_the_moment_of_a_reload_is_not_told_to_leave_at_once(
    stage: FrontSite,
) -> None:
    """Clients of gRPC's library hang when the farewell comes with the greeting. It is said by chance, and the
    chance is one in thousands so soon: one of six may have had that."""
    rpc = free_port()
    await stage.add("shop", TrafficFront("rpc", rpc, "grpc", has_http2=True))
    async with AsyncExitStack() as held:
        lines = [await held.enter_async_context(connected(rpc)) for _ in range(6)]
        await stage.add("other", TrafficFront("web", free_port()))  # a reload
        greetings = [await greeting(each.reader, each.writer) for each in lines]
    assert all(SETTINGS in each for each in greetings)
    assert sum(GOAWAY in each for each in greetings) <= 1


async def greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> list[int]:
    """The types of frames of HTTP/2 with which a server answers a client that has said nothing before; all
    that it sends of its own have been sent when its second answer to a ping has come."""
    empty, ping = b"\0\0\0\4\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0" + bytes(8)
    kinds: list[int] = []
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + empty)
    for pings in (1, 2):
        writer.write(ping)
        while kinds.count(PING) < pings:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            kinds.append(head[3])
    return kinds


async def test_connections_to_a_group_that_leaves_are_closed_and_counted_then_and_not_before(
    stage: FrontSite,
) -> None:
    web, echo = free_port(), free_port()
    await stage.add("shop", TrafficFront("web", web), TrafficFront("echo", echo, "tcp"))
    async with connected(web) as tunnel, connected(echo) as tcp, connected(echo) as later:
        await tunnel.ask("/ws", headers=WEBSOCKET)
        assert await tcp.say("a") == "shop-blue a"
        await stage.switch("shop", 2)
        assert await later.say("a") == "shop-blue a"
        views = {each.group: each for each in (await stage.balancer.observe()).backends}
        assert views[GroupName("shop-v001")].in_flight >= 2
        assert await tunnel.say("b") == "shop-blue b"
        await stage.remove("shop-v001")
        assert await tunnel.reader.read() == b""
        assert await tcp.reader.read() == b""
        closed = (await stage.balancer.observe()).closed
        assert [(each.group, each.connections >= 2) for each in closed] == [("shop-v001", True)]


async def test_a_group_that_lacks_a_front_gets_none_of_its_requests(stage: FrontSite) -> None:
    web, old, echo = free_port(), free_port(), free_port()
    fronts = TrafficFront("web", web), TrafficFront("old", old), TrafficFront("echo", echo, "tcp")
    await stage.add("shop", *fronts)
    blue, green = stage.structure.backends
    without = replace(green, fronts=green.fronts[:1])
    await stage.balancer.arrange(replace(stage.structure, backends=(blue, without)))
    await stage.balancer.route((Route(ApplicationName("shop"), blue.group, green.group, 9_900),))
    assert "shop-green" in {await get(web) for _ in range(10)}
    for _ in range(10):
        assert await get(old) == "shop-blue"
        async with connected(echo) as line:
            assert await line.say("a") == "shop-blue a"


async def test_two_applications_share_a_port_by_the_names_that_clients_say(stage: FrontSite) -> None:
    """Each with its own certificate; the mistake of one does not touch the other."""
    port, plain = free_port(), free_port()
    shop = TrafficFront("web", port, "https", 0, ON_FILE, "shop.example", redirect_from=plain, has_http2=True)
    await stage.add("shop", shop)
    await stage.add("blog", replace(shop, host="blog.example", path="/posts"))
    trust = stage.trust
    assert await get(port, "/", "shop.example", trust) == "shop-blue"
    await get(port, "/", "shop.example", trust, headers="X-Forwarded-Proto: http\r\n")
    for told in stage.hosts["shop-blue"].heads[-2:]:
        assert b"\r\nx-forwarded-proto: https\r\n" in told.lower()
    assert await get(port, "/posts/1", "blog.example", trust) == "blog-blue"
    assert await get(port, "/postscript", "blog.example", trust) == "404"
    await stage.switch("blog", 2)
    assert await get(port, "/posts", "blog.example", trust) == "blog-green"
    assert await get(port, "/", "shop.example", trust) == "shop-blue"
    async with connected(plain) as line:
        status, head, _ = await line.ask("/a?b=c", "shop.example:80")
        assert status == 301
        assert f"location: https://shop.example:{port}/a?b=c" in head
    broken = replace(shop, host="late.example")
    with pytest.raises(UnfitError) as caught:
        await stage.add("late", broken, has_certificates=False)
    assert list(caught.value.frontends) == ["late"]
    assert await get(port, "/", "shop.example", trust) == "shop-blue"


async def test_clients_of_https_are_offered_http2_and_grpc_runs_through_tls(stage: FrontSite) -> None:
    port, rpc = free_port(), free_port()
    await stage.add(
        "shop",
        TrafficFront("web", port, "https", 0, ON_FILE, "shop.example", has_http2=True),
        TrafficFront("rpc", rpc, "grpc", 0, ON_FILE, "shop.example", has_http2=True),
    )
    trust = stage.trust
    trust.set_alpn_protocols(["h2", "http/1.1"])
    async with connected(port, "shop.example", trust) as line:
        spoken = line.writer.get_extra_info("ssl_object").selected_alpn_protocol()
        assert spoken == "h2"
    credentials = grpc.ssl_channel_credentials(stage.authority.pem.encode())
    options = (("grpc.ssl_target_name_override", "shop.example"),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{rpc}", credentials, options) as channel:
        stream = call(channel)
        await stream.write(b"a")
        assert await stream.read() == b"shop-blue a"
        await stage.switch("shop", 2)
        await stream.write(b"b")
        assert await stream.read() == b"shop-blue b"
        stream.cancel()


async def test_tcp_under_a_certificate_is_told_apart_by_the_name_in_the_hello(
    stage: FrontSite,
) -> None:
    port = free_port()
    front = TrafficFront("tls", port, "tcp", 0, ON_FILE, "shop.example")
    await stage.add("shop", front)
    await stage.add("blog", replace(front, host="blog.example"))
    trust = ssl.create_default_context(cadata=stage.authority.pem)
    for name in ("shop", "blog"):
        async with connected(port, f"{name}.example", trust) as line:
            assert await line.say("a") == f"{name}-blue a"
    await stage.switch("blog", 2)
    async with connected(port, "blog.example", trust) as line:
        assert await line.say("a") == "blog-green a"


async def test_a_front_without_tls_keeps_what_a_balancer_before_it_says_of_its_clients(
    stage: FrontSite,
) -> None:
    web = free_port()
    await stage.add("shop", TrafficFront("web", web))
    await get(web)
    await get(web, headers="X-Forwarded-Proto: https\r\n")
    shown = [head.lower() for head in stage.hosts["shop-blue"].heads]
    assert [b"x-forwarded-proto: https" in head for head in shown] == [False, True]
    assert [b"x-forwarded-proto: http\r\n" in head for head in shown] == [True, False]


async def test_a_client_stays_on_its_host_and_hosts_are_told_its_address(stage: FrontSite) -> None:
    web, echo = free_port(), free_port()
    await stage.add(
        "shop",
        TrafficFront("web", web, sticky="cookie", accepts_proxy=True),
        TrafficFront("echo", echo, "tcp", sends_proxy=True),
    )
    async with connected(web) as line:
        line.writer.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")
        status, head, _ = await line.ask()
        assert status == 200
        assert "set-cookie: repave-host=" in head
    assert b"\r\nx-forwarded-for: 192.0.2.7\r\n" in stage.hosts["shop-blue"].heads[-1].lower()
    async with connected(echo) as line:
        line.writer.write(b"\n")
        assert await line.reader.readline() == b"shop-blue \r\n"  # the first of the header's signature


async def test_a_client_that_stays_on_its_host_leaves_one_that_takes_no_more_requests(
    stage: FrontSite,
) -> None:
    web = free_port()
    await stage.add("shop", TrafficFront("web", web, sticky="cookie"))
    blue, green = stage.structure.backends
    blue = replace(blue, fronts=tuple(replace(each, to=0) for each in blue.fronts))
    both = (*blue.servers, *green.servers)

    async def answered(name: str) -> str:
        async with connected(web) as line:
            return (await line.ask(headers=f"Cookie: repave-host={name}\r\n"))[2]

    await stage.balancer.arrange(replace(stage.structure, backends=(replace(blue, servers=both), green)))
    assert [await answered(name) for name in stage.hosts] == list(stage.hosts)
    for leaving, other in itertools.permutations(stage.hosts):
        some = tuple(replace(each, is_enabled=each.host != leaving) for each in both)
        await stage.balancer.arrange(replace(stage.structure, backends=(replace(blue, servers=some), green)))
        assert [await answered(name) for name in stage.hosts] == [other, other]


@pytest.mark.parametrize("stage", [1], indirect=True)
async def test_one_host_gets_no_more_at_a_time_than_it_takes(stage: FrontSite) -> None:
    """The second waits its time in the queue, and is then answered with 503."""
    web = free_port()
    await stage.add("shop", TrafficFront("web", web, host_connections=1, queue_seconds=0.05))
    async with connected(web) as first:
        await first.ask("/ws", headers=WEBSOCKET)
        assert await get(web) == "503"


async def test_a_front_whose_port_another_program_has_is_refused_alone(stage: FrontSite) -> None:
    await stage.add("shop", TrafficFront("web", free_port()))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        front = Frontend(
            ApplicationName("blog"),
            81,
            fronts=(TrafficFront("web", free_port()), TrafficFront("x", port, "tcp")),
        )
        front = replace(front, port=front.fronts[0].port)
        assert f"port {port} on 127.0.0.1 is taken" in (await stage.balancer.way_in(front)).lack
        with pytest.raises(UnfitError, match=f"port {port}"):
            await stage.balancer.arrange(
                replace(stage.structure, frontends=(*stage.structure.frontends, front))
            )


@pytest.mark.rig
@pytest.mark.timeout(300)
async def test_nothing_is_cut_or_lost_through_many_switches_and_reloads_under_load(stage: FrontSite) -> None:
    """Requests at a rate, and streams, connections and websockets that speak all the time: 40 switches, of
    which each fourth comes with a reload. What is open is never cut; its group stays."""
    web, echo, rpc = free_port(), free_port(), free_port()
    await stage.add(
        "shop",
        TrafficFront("web", web),
        TrafficFront("echo", echo, "tcp"),
        TrafficFront("rpc", rpc, "grpc", has_http2=True),
    )
    load = Load(f"http://127.0.0.1:{web}/", rate=100, keepalive=0)
    said, is_over = Counter[str](), asyncio.Event()

    async def speak(port: int, path: str) -> None:
        async with connected(port) as line:
            if path:
                await line.ask(path, headers=WEBSOCKET)
            first = await line.say("a")
            while not is_over.is_set():
                assert await line.say("a") == first
                said[f"at {port}"] += 1

    async def stream(channel: grpc.aio.Channel) -> None:
        made = call(channel)
        await made.write(b"a")
        first = await made.read()
        while not is_over.is_set():
            await made.write(b"a")
            assert await made.read() == first
            said["streamed"] += 1
        await made.done_writing()
        assert await made.read() is grpc.aio.EOF

    async def switch() -> None:
        for number in range(40):
            await stage.switch("shop", 1 + number % 2)
            if number % 4 == 0:
                await stage.add(f"other{number}", TrafficFront("web", free_port()))
            enough = said.total() + 100
            await until(partial(lambda least: said.total() > least, enough))
        is_over.set()

    await load.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{rpc}") as channel, asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(speak(echo, ""))
            tasks.create_task(speak(web, "/ws"))
            tasks.create_task(stream(channel))
        tasks.create_task(switch())
    result = await load.stop()
    print(len(result.requests), "requests;", dict(said))
    assert result.failures == ()
