"""Clients that hold connections and ask nothing: what they can't take from others."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from repave_agent.balancers.haproxy.host import conditions
from repave_agent.balancers.haproxy.options import HaproxyOptions
from repave_agent.core.ports import BalancerError, Frontend, Route, Structure
from repave_protos.protocol.fronts import TrafficFront
from repave_protos.protocol.values import ApplicationName, GroupName
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, frontend, get, haproxy_rig, needs_haproxy
from tests.fakes.waiting import until_async
from tests.support.ports import free_port

SHOP, BLOG = ApplicationName("shop"), ApplicationName("blog")
IDLE = 30
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def two_applications(**options: Any) -> AsyncIterator[tuple[HaproxyRig, int, int]]:
    """The rig, and their ports."""
    async with haproxy_rig() as rig:
        balancer = rig.balancer(**options)
        await balancer.start()
        shop, blog = await rig.web("shop"), await rig.web("blog")
        ports = free_port(), free_port()
        groups = GroupName("shop-v001"), GroupName("blog-v001")
        frontends = tuple(frontend(name, port) for name, port in zip((SHOP, BLOG), ports, strict=True))
        backends = tuple(backend(group, web.port) for group, web in zip(groups, (shop, blog), strict=True))
        await balancer.arrange(Structure(frontends, backends))
        await balancer.route((Route(SHOP, groups[0]), Route(BLOG, groups[1])))
        yield rig, *ports


async def idle_clients(port: int, text: bytes = b"", count: int = IDLE) -> list[Streams]:
    """Each sends just that."""
    made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    for _, writer in made:
        writer.write(text)
        await writer.drain()
    return made


async def close(clients: list[Streams]) -> None:
    for _, writer in clients:
        writer.close()


@needs_haproxy
@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slow: "], ids=["idle", "slow"])
async def test_clients_that_ask_nothing_starve_no_other_application_and_are_ended(text: bytes) -> None:
    """There are so many of them that both processes are full for the shop."""
    limits = {"connections": 20, "connections_per_application": 10, "header_seconds": 0.5}
    async with two_applications(**limits) as (_, shop, blog):
        clients = await idle_clients(shop, text)
        assert [await asyncio.wait_for(get(blog), 1.0) for _ in range(8)] == ["blog"] * 8
        waiting = asyncio.create_task(get(shop))
        answers = await asyncio.gather(*(reader.read() for reader, _ in clients))
        assert await waiting == "shop", "their time was over"
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
        await close(clients)


@needs_haproxy
async def test_one_client_can_be_held_to_a_number_of_connections() -> None:
    async with two_applications(connections_per_client=2, processes=1) as (_, shop, blog):
        clients: list[Streams] = []
        while await get(blog) == "blog":
            assert len(clients) < 6, "HAProxy is a few out when connections come at the same instant"
            clients += await idle_clients(shop, count=1)
        assert len(clients) >= 2
        assert await from_elsewhere(blog) == b"HTTP/1.1 200"
        await close(clients)
        await until_async(lambda: answers(blog, "blog"))


@needs_haproxy
async def test_an_application_that_hangs_takes_no_connections_from_another_one_at_its_port() -> None:
    async with haproxy_rig() as rig:
        balancer = rig.balancer(connections=20, connections_per_application=10, processes=1)
        await balancer.start()
        port, frontends, backends, routes = free_port(), [], [], []
        for name in (SHOP, BLOG):
            web = await rig.web(name)
            fronts = (TrafficFront("web", port, host=f"{name}.example"),)
            frontends.append(Frontend(name, port, fronts=fronts))
            backends.append(replace(backend(f"{name}-v001", web.port), fronts=fronts))
            routes.append(Route(name, GroupName(f"{name}-v001")))
        await balancer.arrange(Structure(tuple(frontends), tuple(backends)))
        await balancer.route(tuple(routes))
        slow = b"GET /slow HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
        clients = await idle_clients(port, slow)
        reading = [asyncio.create_task(reader.read()) for reader, _ in clients]
        done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
        turned_away = done.pop().result()
        assert turned_away.startswith(b"HTTP/1.1 503")
        assert b"shop has 10 requests under way" in turned_away
        for _ in range(8):
            assert await from_elsewhere(port, "blog.example") == b"HTTP/1.1 200"
        rig.webs[0].release()
        answers = await asyncio.gather(*reading)
        assert sum(each.startswith(b"HTTP/1.1 200") for each in answers) == 10
        await close(clients)


async def answers(port: int, expected: str) -> bool:
    return await get(port) == expected


async def from_elsewhere(port: int, host: str = "blog") -> bytes:
    """The beginning of what another client is answered."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer[:12]


def test_connections_fit_the_limit_of_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = resource.RLIM_INFINITY
    for descriptors, affordable in ((1024, 112), (4096, 1648), (65_536, 10_000), (unlimited, 10_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, most=descriptors: (most, most))
        fit = conditions(tmp_path, None, HaproxyOptions())
        assert fit.connections_max == affordable
        assert fit.connections_per_application_max == affordable * 3 // 4
    assert conditions(tmp_path, None, HaproxyOptions(connections=50_000)).connections_max == 50_000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    with pytest.raises(
        BalancerError, match="2000 connections need 4800 open files, and the agent's limit is 4096"
    ):
        conditions(tmp_path, None, HaproxyOptions(connections=2_000))
