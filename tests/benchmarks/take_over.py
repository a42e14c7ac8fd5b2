"""How soon others go on with what a controller had that was killed, or stopped: real processes that share a
real PostgreSQL. The floor of a kill is how soon PostgreSQL itself lets go of the lock of the killed one."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Iterator

import asyncpg

from repave_controller.peers.ports import LEASE_SECONDS
from tests.benchmarks.table import Line
from tests.support.peer import SAVING
from tests.support.peers import Peers, Process, peers, taken_over
from tests.support.postgresql import DURABLE, binaries, has_pgbouncer, pgbouncer, server

KILL_MS, FREEZE_MS = 300.0, 2000.0
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
Took = list[tuple[float, float, float]]
"""Seconds until PostgreSQL let go of the lock, until others had all shards, until the first commit."""


def kills(count: int) -> Iterator[Line]:
    if binaries() is None:
        return
    with server(**DURABLE) as database:
        killed = asyncio.run(_killed(database.fresh(), count))
    floor = [each[0] * 1000 for each in killed]
    beside = f"PostgreSQL lets go of its lock after {_middle(floor):.0f} ms, at most {max(floor):.0f} ms"
    yield from _lines("kill -9", killed, KILL_MS, f"{beside}; load {os.getloadavg()[0]:.1f}")


def freezes(count: int) -> Iterator[Line]:
    """With a session of their own, and through a pooler, which keeps none."""
    if binaries() is None or not has_pgbouncer():
        return
    with server(**DURABLE) as database, pgbouncer(database) as port:
        url = database.fresh()
        pooled = database.fresh().replace(f":{database.port}/", f":{port}/")
        for what, place in (("SIGSTOP", url), ("SIGSTOP, through PgBouncer", pooled)):
            frozen = asyncio.run(_frozen(place, count))
            beside = f"the lease is {LEASE_SECONDS * 1000:.0f} ms; load {os.getloadavg()[0]:.1f}"
            yield from _lines(what, frozen, FREEZE_MS, beside)


async def _killed(url: str, count: int) -> Took:
    watch = await asyncpg.connect(url)
    found = []
    async with peers() as of:
        three = [await of.start(name, url) for name in "abc"]
        await of.until_all_have(*three)
        for _ in range(count):
            victim = _fullest(three)
            others = [each for each in three if each is not victim]
            found.append(await _kill(of, victim, others, watch))
            three = [*others, await of.start(victim.name, url)]
    await watch.close()
    return found


async def _frozen(url: str, count: int) -> Took:
    found = []
    async with peers() as of:
        three = [await of.start(name, url) for name in "abc"]
        await of.until_all_have(*three)
        for _ in range(count):
            victim = _fullest(three)
            had, at = set(victim.has), victim.signal(signal.SIGSTOP)
            found.append((0.0, *await taken_over([each for each in three if each is not victim], had, at)))
            victim.signal(signal.SIGCONT)
            await of.until(lambda: victim.count("gained", at))  # noqa: B023  # awaited here
    return found


async def _kill(
    of: Peers, victim: Process, others: list[Process], watch: asyncpg.Connection
) -> tuple[float, float, float]:
    had, before = set(victim.has), await watch.fetchval(LOCKS)
    at = victim.signal(signal.SIGKILL)
    while await watch.fetchval(LOCKS) >= before:  # noqa: ASYNC110  # nothing tells us
        await asyncio.sleep(0.001)
    let_go = time.monotonic() - at
    found = await taken_over(others, had, at)
    await of.end(victim)
    return let_go, *found


def _fullest(processes: list[Process]) -> Process:
    """Of the shards that are saved for."""
    return max(processes, key=lambda each: (sum(1 for shard in each.has if shard < SAVING), each.name))


def _lines(what: str, took: Took, goal: float, beside: str) -> Iterator[Line]:
    for name, place in (("all shards taken", 1), ("first commit", 2)):
        found = sorted(each[place] * 1000 for each in took)
        yield Line(f"{what}: {name}, p50 of {len(found)}", _middle(found), "ms", beside)
        yield Line(f"{what}: {name}, p99", _late(found), "ms", goal=goal)


def _middle(found: list[float]) -> float:
    return statistics.median(found)


def _late(found: list[float]) -> float:
    return found[min(len(found) - 1, round(0.99 * len(found)))]
