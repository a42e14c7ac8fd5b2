"""What a switch and a new share cost at Google's load balancer, on its stand-in: calls and seconds until they
are accepted and read back. Octavia's, in the same terms, are octavia.py's."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from repave_agent.clock import SystemClock
from repave_agent.core.ports import Backend, Frontend, Route, Server, Structure
from repave_protos.protocol.values import ApplicationName, GroupName, HostName, Probe
from tests.benchmarks.table import Line
from tests.support.google_front import GoogleFront
from tests.support.rigs import cloud_rig, why_no_cloud

SHOP = ApplicationName("shop")
OLD, NEW = GroupName("shop-v001"), GroupName("shop-v002")
OPERATION_SECONDS = 0.2
"""A change of the stand-in's takes so long: the rest is the agent's, and the network's."""


def run(place: Path, servers: int, times: int) -> Iterator[Line]:
    if reason := why_no_cloud("gcp"):
        print(f"gcp_lb: {reason}")
        return
    with tempfile.TemporaryDirectory(prefix="rg") as state, cloud_rig("gcp", Path(state), 118) as rig:
        front = GoogleFront(rig)
        front.begin()
        groups = [_group(front, name, servers) for name in (OLD, NEW)]
        rig.set(operation_seconds=OPERATION_SECONDS)
        yield from asyncio.run(_measured(place, front, groups, times))


async def _measured(place: Path, front: GoogleFront, groups: list[Backend], times: int) -> list[Line]:
    balancer = front.balancer(place / "state", SystemClock())
    calls = front.calls
    await balancer.start()
    before, began = calls(), time.monotonic()
    await balancer.arrange(Structure((Frontend(SHOP, 8070),), tuple(groups)))
    made = calls() - before, time.monotonic() - began
    await balancer.route((Route(SHOP, OLD),))
    found: dict[str, list[tuple[int, float, int]]] = {"a switch": [], "a new share": []}
    for _ in range(times):
        for what, route in (
            ("a switch", Route(SHOP, NEW)),
            ("a switch", Route(SHOP, OLD)),
            ("a new share", Route(SHOP, OLD, NEW, 500)),
            ("a new share", Route(SHOP, OLD, NEW, 2_500)),
        ):
            before, began = calls(), time.monotonic()
            await balancer.route((route,))
            taken, seconds, looked = calls() - before, time.monotonic() - began, calls()
            await balancer.observe()
            found[what].append((taken, seconds, calls() - looked))
    await balancer.end()
    of = f"{len(groups[0].servers)} servers in each of two groups, in two zones"
    lines = [
        Line("Google: calls for two new groups and a way in", made[0], "calls", f"{made[1]:.2f} s; {of}")
    ]
    for what, costs in found.items():
        taken_calls, took, more = (list(each) for each in zip(*costs, strict=True))
        spread = (
            f"{len(costs)} times: {min(took):.2f} to {max(took):.2f} s, {OPERATION_SECONDS:g} s are Google's"
        )
        lines.append(Line(f"Google: {what}, until it is read back", median(took), "s", spread))
        told = f"{median(more):g} more at the next look"
        lines.append(Line(f"Google: calls of {what}", median(taken_calls), "calls", told))
    return lines


def _group(front: GoogleFront, name: GroupName, servers: int) -> Backend:
    hosts = (
        Server(HostName(f"{name}-{each}"), front.add_machine(f"{name}-{each}"), 8080)
        for each in range(servers)
    )
    return Backend(name, tuple(hosts), Probe("http", 8080, "/health"))
