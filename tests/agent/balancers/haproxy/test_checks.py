"""The checks of the real HAProxy: they send what the probe sends, and count as it does."""

import asyncio
import os
import signal
from dataclasses import replace
from typing import Any

import pytest

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.core.host_health import ProbeResult
from repave_agent.core.ports import Backend, Structure
from repave_agent.health.prober import probe
from repave_protos.protocol.health_requests import HEADER_LENGTH_MAX, HEADERS_MAX, PATH_LENGTH_MAX
from tests.fakes.agent.haproxy_rig import HaproxyRig, backend, frontend, needs_haproxy
from tests.fakes.agent.haproxy_site import BLUE, Site
from tests.fakes.waiting import until, until_async
from tests.fakes.web import Web
from tests.support.ports import free_port

pytestmark = needs_haproxy


class Choosy(Web):
    """An application that answers only to what it likes: 400 otherwise. Keeps what it was asked."""

    def __init__(self, likes: bytes = b"") -> None:
        super().__init__("choosy")
        self.likes, self.asked = likes, list[bytes]()

    def say(self, request: bytes, transport: asyncio.Transport) -> None:
        self.asked.append(request)
        if self.likes in request:
            super().say(request, transport)
            return
        transport.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        transport.close()


LONGEST = tuple((f"X-{number}", "'" * HEADER_LENGTH_MAX) for number in range(HEADERS_MAX))
ODD = ' it\'s "$HOME" ${PATH} %[src] \\ # {a,b} <c> `d` | & ; % %% '.strip()


@pytest.mark.parametrize(
    "asks",
    [
        {},
        {"path": "/-/ready?full=1&of=a,b;c:@!*~%20%"},
        {"host": "shop.example:8443"},
        {"host": "[::1]:80"},
        {"headers": (("User-Agent", ODD), ("ACCEPT", "text/plain"), ("X-A.b_c", "1"))},
        {"path": "/" + "p" * (PATH_LENGTH_MAX - 1), "headers": LONGEST},
    ],
    ids=lambda each: " ".join(each) or "plain",
)
async def test_its_check_and_the_probe_send_the_same_request(rig: HaproxyRig, asks: dict[str, Any]) -> None:
    web = Choosy()
    rig.webs.append(web)
    await web.start()
    wanted = backend(BLUE, web.port)
    wanted = replace(wanted, probe=replace(wanted.probe, port=web.port, **asks))
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((frontend("shop", free_port()),), (wanted,)))
    await until(lambda: len(web.asked) > 0)
    by_haproxy = web.asked.pop()

    async def nothing(command: tuple[str, ...], timeout_seconds: float) -> int:
        raise AssertionError("no command is to be run")

    assert await probe(wanted.probe, "127.0.0.1", nothing) == ProbeResult(True)
    assert web.asked[-1] == by_haproxy
    await until_async(lambda: _are_up(balancer, 1))


@pytest.mark.parametrize("likes", [b"host: shop.example\r\n", b"user-agent: choosy\r\n"])
async def test_a_server_that_fails_its_check_never_counts_as_up(rig: HaproxyRig, likes: bytes) -> None:
    """Neither just enabled, nor enabled again, nor after a reload, nor to the next agent. One that is not
    enabled is asked, too."""
    web = Choosy(likes)
    rig.webs.append(web)
    await web.start()
    plain = backend(BLUE, web.port)
    plain = replace(plain, probe=replace(plain.probe, interval_seconds=0.3, unhealthy_after=1))
    asks = replace(plain.probe, host="shop.example", headers=(("User-Agent", "choosy"),))
    liked = replace(plain, probe=asks)
    shop = frontend("shop", free_port())
    balancer = rig.balancer()
    await balancer.start()

    async def counts(wanted: Backend) -> set[int]:
        """How many were up at any look since it was arranged, until both HAProxys have checked twice."""
        web.asked.clear()
        await balancer.arrange(Structure((shop,), (wanted,)))
        seen = set[int]()
        while not seen or len(web.asked) < 4:
            seen |= {each.servers_up for each in (await balancer.observe()).backends}
        return seen

    assert await counts(plain) == {0}
    await balancer.arrange(Structure((shop,), (disabled(plain),)))
    assert await counts(plain) == {0}
    await balancer.arrange(Structure((shop,), (liked,)))
    await until_async(lambda: _are_up(balancer, 1))
    await balancer.arrange(Structure((shop,), (disabled(liked),)))
    web.likes = b"something else"
    await until(lambda: len(web.asked) > 8)
    web.asked.clear()
    await until(lambda: len(web.asked) > 8)  # both have called it down by now
    assert await counts(liked) == {0}
    second = rig.balancer()
    await second.start()
    assert await _are_up(second, 0)


async def test_a_host_that_is_enabled_was_asked_before_and_is_up_at_once(rig: HaproxyRig) -> None:
    """The first look finds it up: none of its checks had to be waited for."""
    web = Choosy()
    rig.webs.append(web)
    await web.start()
    wanted = backend(BLUE, web.port)
    wanted = replace(wanted, probe=replace(wanted.probe, interval_seconds=1.0))
    shop = frontend("shop", free_port())
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(Structure((shop,), (disabled(wanted),)))

    def passed() -> list[bool]:
        sides = (side.instance.process.socket for side in balancer._sides)
        states = [each.worker_state(each.workers().newest or 0) for each in sides]
        return [each.has_passed for state in states for each in state.servers if each.group == BLUE]

    await until(lambda: passed() == [True, True])
    assert (await balancer.observe()).backends[0].servers_up == 0, "it takes no requests yet"
    await balancer.arrange(Structure((shop,), (wanted,)))
    assert (await balancer.observe()).backends[0].servers_up == 1


async def test_a_server_that_an_operator_put_into_maintenance_is_brought_back(rig: HaproxyRig) -> None:
    web = Choosy()
    rig.webs.append(web)
    await web.start()
    wanted = Structure((frontend("shop", free_port()),), (backend(BLUE, web.port),))
    balancer = rig.balancer()
    await balancer.start()
    await balancer.arrange(wanted)
    for side in balancer._sides:
        socket = side.instance.process.socket
        socket.command(
            socket.workers().newest or 0,
            [f"set server {BLUE}/{wanted.backends[0].servers[0].host} state maint"],
        )
    assert (await balancer.observe()).structure != wanted
    await balancer.arrange(wanted)
    assert (await balancer.observe()).structure == wanted
    await until_async(lambda: _are_up(balancer, 1))


async def test_its_own_processes_are_looked_for_first_where_they_were(site: Site) -> None:
    process = site.process
    known = process.look_up()
    assert known is not None
    assert {known.master, known.newest} == set(process.watched)
    assert next(process.processes()) in process.watched


async def test_servers_with_traffic_stay_up_over_reloads_and_restarts(site: Site) -> None:
    """A new process has made no check yet; what it was told of them is still true."""
    await until_async(lambda: _are_up(site.balancer, 2))
    more = (*site.structure.frontends, frontend("blog", free_port()))
    await site.balancer.arrange(Structure(more, site.structure.backends))
    assert (await site.balancer.observe()).backends[0].servers_up == 1
    second = site.rig.balancer()
    os.kill(site.process.socket.workers().master, signal.SIGKILL)
    await second.start()
    view = await second.observe()
    assert [(each.group, each.servers_up) for each in view.backends if each.group == BLUE] == [(BLUE, 1)]


def disabled(backend: Backend) -> Backend:
    return replace(backend, servers=tuple(replace(each, is_enabled=False) for each in backend.servers))


async def _are_up(balancer: HaproxyBalancer, count: int) -> bool:
    return sum(each.servers_up for each in (await balancer.observe()).backends) == count
