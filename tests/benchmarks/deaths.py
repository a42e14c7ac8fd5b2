"""What the death of an HAProxy's worker costs, with one process and with two, and what two cost otherwise."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from repave_agent.balancers.haproxy.balancer import HaproxyBalancer
from repave_agent.core.ports import Route, Structure
from repave_protos.protocol.values import ApplicationName, GroupName
from tests.benchmarks.table import Line
from tests.fakes.agent.haproxy_rig import backend, frontend, haproxy_rig
from tests.support.load import Load
from tests.support.load_result import LoadResult
from tests.support.ports import free_port

RATE = 1000
CALM_SECONDS = 1.0  # between two kills
SHOP = ApplicationName("shop")
BLUE, GREEN = GroupName("shop-v001"), GroupName("shop-v002")


def run(_: Path, kills: int) -> Iterator[Line]:
    for processes in (1, 2):
        yield from asyncio.run(_measured(processes, kills))


async def _measured(processes: Literal[1, 2], kills: int) -> list[Line]:
    """The agent is away while workers are killed: nothing waits for it."""
    async with haproxy_rig() as rig:
        balancer, port = rig.balancer(processes=processes), free_port()
        await balancer.start()
        webs = [await rig.web("blue") for _ in range(4)]
        backends = (
            backend(BLUE, *(web.port for web in webs[:2])),
            backend(GREEN, *(web.port for web in webs[2:])),
        )
        await balancer.arrange(Structure((frontend(SHOP, port),), backends))
        switches = await _switched(balancer, 4 * kills)
        await balancer.close()
        load = Load(f"http://127.0.0.1:{port}/", RATE, keepalive=16, closing=16)
        await load.start()
        killed = [await _kill(balancer, number % processes) for number in range(kills)]
        result = await load.stop()
    return _lines(processes, switches, killed, result)


async def _switched(balancer: HaproxyBalancer, count: int) -> list[float]:
    spent = []
    for number in range(count):
        began = time.monotonic()
        await balancer.route((Route(SHOP, (BLUE, GREEN)[number % 2]),))
        spent.append(time.monotonic() - began)
    return spent


async def _kill(balancer: HaproxyBalancer, side: int) -> float:
    await asyncio.sleep(CALM_SECONDS)
    workers = await asyncio.to_thread(balancer._sides[side].instance.process.look_up)
    assert workers is not None
    assert workers.newest is not None
    os.kill(workers.newest, signal.SIGKILL)
    return time.monotonic()


def _lines(processes: int, switches: list[float], killed: list[float], result: LoadResult) -> list[Line]:
    name = "one process" if processes == 1 else "two processes"
    per_kill = len(result.failures) / len(killed)
    late = [(at, each.ended) for at in killed for each in result.failures]
    gap = max((ended - at for at, ended in late if 0 < ended - at < CALM_SECONDS), default=0.0) * 1000
    return [
        Line(f"{name}: a switch", statistics.median(switches) * 1000, "ms", f"of {len(switches)}"),
        Line(f"{name}: requests a killed worker costs", per_kill, "", f"{len(killed)} kills, {RATE}/s"),
        Line(f"{name}: the longest time in which some failed", gap, "ms"),
        Line(
            f"{name}: the latency of 99 %",
            result.latency_ms(0.99),
            "ms",
            f"half {result.latency_ms(0.5):.1f}",
        ),
    ]
