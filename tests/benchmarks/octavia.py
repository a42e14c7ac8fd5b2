"""What a switch and a new share cost on a real Octavia: calls and seconds until they are accepted. Needs
the OpenStack of `make test-rigs`, and REPAVE_TEST_RIGS=1."""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from repave_agent.balancers.cloud.balancer import CloudBalancer
from repave_agent.balancers.octavia.load_balancer import OctaviaLoadBalancer
from repave_agent.clients.openstack.api import Api
from repave_agent.clock import SystemClock
from repave_agent.core.ports import Backend, Balancer, Frontend, Route, Server, Structure
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe
from tests.benchmarks.table import Line
from tests.support.rigs import load_balancer, rig_cloud, why_no_openstack

SHOP = ApplicationName("shop")
OLD, NEW = GroupName("shop-v001"), GroupName("shop-v002")


def run(place: Path, servers: int, times: int) -> Iterator[Line]:
    if reason := why_no_openstack():
        print(f"octavia: {reason}")
        return
    yield from asyncio.run(_measured(place, servers, times))


async def _measured(place: Path, servers: int, times: int) -> list[Line]:
    async with load_balancer() as name:
        api = Api(rig_cloud(), SystemClock())
        clock = SystemClock()
        there = OctaviaLoadBalancer(api, name, clock=clock)
        balancer: CloudBalancer[Any, Any] = CloudBalancer(place / "state", there, "bench", clock=clock)
        await balancer.start()
        await balancer.arrange(
            Structure((Frontend(SHOP, 80),), (_group(OLD, 1, servers), _group(NEW, 2, servers)))
        )
        await balancer.route((Route(SHOP, OLD),))
        await balancer.observe()
        cost = Cost(api, balancer)
        switches = [await cost.of(Route(SHOP, group)) for _ in range(times) for group in (NEW, OLD)]
        await cost.of(Route(SHOP, OLD, NEW, 1_000))  # the pool for shares is made
        shares = [await cost.of(Route(SHOP, OLD, NEW, weight)) for weight in (2_000, 3_000) * times]
        await balancer.end()
    of = f"{servers} servers in each group"
    return [*_lines("a switch", of, switches), *_lines("a new share", of, shares)]


class Cost:
    """Of a route: calls and seconds until it is accepted, and calls until nothing is left to do."""

    def __init__(self, api: Api, balancer: Balancer) -> None:
        self._api, self._balancer = api, balancer

    async def of(self, route: Route) -> tuple[int, float, int]:
        calls, seconds = await self._counted(self._balancer.route((route,)))
        more, _ = await self._counted(self._balancer.observe())
        return calls, seconds, more

    async def _counted(self, work: Awaitable[object]) -> tuple[int, float]:
        before, began = self._api.calls, time.monotonic()
        await work
        return self._api.calls - before, time.monotonic() - began


def _group(name: GroupName, third: int, servers: int) -> Backend:
    hosts = (
        Server(HostName(f"{name}-{each}"), f"10.77.{third}.{each}", 8080, True)
        for each in range(1, servers + 1)
    )
    return Backend(name, tuple(hosts), Probe("http", 8080, "/health"))


def _lines(what: str, of: str, measured: list[tuple[int, float, int]]) -> Iterator[Line]:
    calls, seconds, more = (list(each) for each in zip(*measured, strict=True))
    spread = f"{len(measured)} times: {min(seconds):.2f} to {max(seconds):.2f} s; {of}"
    yield Line(f"Octavia: {what}, until it is accepted", median(seconds), "s", spread)
    yield Line(f"Octavia: calls of {what}", median(calls), "calls", f"{median(more):g} more at the next look")
