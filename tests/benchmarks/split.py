"""How exactly real HAProxy gives a share: requests counted at each share, and users by cookie."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from repave_protos.protocol.values import BY_REQUEST, Split
from tests.benchmarks.table import Line
from tests.fakes.agent.haproxy_rig import haproxy_rig
from tests.support.shares import SHARES_BP, Shop, sigmas_off

SIGMAS_MAX = 3.0  # one honest draw in 370 is further off


def run(_: Path, requests: int) -> Iterator[Line]:
    """Each share is one line: how far the count is off, in standard deviations of a fair draw."""
    yield from asyncio.run(_measured(requests))


async def _measured(requests: int) -> list[Line]:
    lines = []
    async with haproxy_rig() as rig:
        lines += await _counted(await Shop(rig, BY_REQUEST).open(), [""] * requests, "requests")
    async with haproxy_rig() as rig:
        users = [f"Cookie: uid=user-{number}" for number in range(requests // 4)]
        lines += await _counted(await Shop(rig, Split("cookie", "uid")).open(), users, "users")
    return lines


async def _counted(shop: Shop, headers: list[str], of: str) -> list[Line]:
    lines = []
    for share_bp in SHARES_BP:
        await shop.give(share_bp)
        began = time.monotonic()
        got = (await shop.sides(headers)).count("green")
        seconds = time.monotonic() - began
        wanted = len(headers) * share_bp / 10_000
        lines.append(
            Line(
                f"{share_bp / 100:g} % of {len(headers)} {of}: off by",
                sigmas_off(got, len(headers), share_bp),
                "sigma",
                f"{got}, fair is {wanted:g}; {len(headers) / seconds:,.0f} requests/s",
                goal=SIGMAS_MAX,
            )
        )
    return lines
