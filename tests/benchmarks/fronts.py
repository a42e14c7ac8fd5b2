"""What releases and deaths cost real clients of each kind of front: requests that failed, and streams that
were cut. Rounds of a canary and a rollback in which the agent is killed, then of releases after which the old
group leaves, then of kills of a host and of HAProxy's workers."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.table import Line
from tests.fakes.waiting import until
from tests.support.certificates import new_authority
from tests.support.faults import Moment, is_connected, leader_of
from tests.support.fronts import CANARY, REGION, REQUESTS, STREAMS, FrontApp, FrontClients, agent_settings
from tests.support.stage import Stage, staged

CLIENTS = 6  # of each kind
DRAIN_SECONDS = 2.0


def run(directory: Path, rounds: int) -> Iterator[Line]:
    kept = directory / "kept"
    kept.mkdir()
    with staged(directory / "s", regions=(REGION,), agent_environment=agent_settings(kept)) as stage:
        app = FrontApp(stage, new_authority(), kept)
        yield from asyncio.run(_measured(stage, app, rounds))


async def _measured(stage: Stage, app: FrontApp, rounds: int) -> list[Line]:
    await app.released("first")
    lines: list[Line] = []
    async with FrontClients(app, CLIENTS).running() as clients:
        for number in range(rounds):
            await _back_and_forth(stage, app, clients, f"canary-{number}")
        lines += _lines(clients, f"{rounds} canaries, rolled back; agent killed in each", is_kept=True)
    async with FrontClients(app, CLIENTS).running() as clients:
        early = 0
        for number in range(rounds):
            early += await _left(app, clients, f"left-{number}")
        lines += _lines(clients, f"{rounds} releases that keep no old group")
        lines.append(Line("streams cut before their drain was over", early, "", "", 0))
    async with FrontClients(app, CLIENTS).running() as clients:
        for _ in range(rounds):
            await _killed_host(stage, clients)
        lines += _lines(clients, f"{rounds} times a host of two is killed")
    async with FrontClients(app, CLIENTS).running() as clients:
        for number in range(rounds):
            os.kill(stage.haproxy_worker(REGION, ("haproxy", "haproxy/2")[number % 2]), signal.SIGKILL)
            await clients.more(50)
        lines += _lines(clients, f"{rounds} times a worker of one HAProxy of two is killed")
    return lines


async def _back_and_forth(stage: Stage, app: FrontApp, clients: FrontClients, version: str) -> None:
    app.issue()
    shown = len(clients.serials)
    moved = Moment(stage, "traffic.moved", application=app.name)
    await app.release(version, strategy=CANARY)
    await asyncio.to_thread(moved.wait)
    stage.kill_agent(REGION)
    await clients.more(20)
    stage.start_agent(REGION)
    await until(lambda: is_connected(stage, REGION))
    ended = await app.ended()
    assert ended["phase"] == "succeeded", ended["outcome"]
    await clients.more(20)
    await asyncio.to_thread(stage.call, "POST", f"applications/{app.name}/rollback", {"by": "bench"})
    assert (await app.ended())["phase"] == "succeeded"
    await until(lambda: len(clients.serials) > shown)
    await clients.more(20)


async def _left(app: FrontApp, clients: FrontClients, version: str) -> int:
    """How many streams were cut before the time that they have to drain."""
    known, former = len(clients.cut), {answer.split()[0] for answer in clients.open.values()}
    await app.released(version, keeps=0, drain=f"{DRAIN_SECONDS:g}s")
    await until(lambda: all(answer.split()[0] == version for answer in clients.open.values()))
    await clients.more(20)
    last_begun = max(clients.seen[each] for each in former)
    return sum(each.ended < last_begun + DRAIN_SECONDS for each in clients.cut[known:])


async def _killed_host(stage: Stage, clients: FrontClients) -> None:
    name = stage.hosts()[REGION][0]
    os.kill(leader_of(stage, REGION, name).pid, signal.SIGKILL)
    await until(lambda: name not in stage.hosts()[REGION] and len(stage.hosts()[REGION]) == 2)
    await clients.more(50)


def _lines(clients: FrontClients, what: str, *, is_kept: bool = False) -> Iterator[Line]:
    """For each kind what was asked, and what was lost. `is_kept`: nothing may be."""
    failed = Counter(each.kind for each in clients.failed)
    cut = Counter(each.kind for each in clients.cut)
    for kind in REQUESTS:
        yield Line(
            f"{what}: {kind}, failed", failed[kind], "", f"of {clients.asked[kind]:,}", 0 if is_kept else None
        )
    for kind in STREAMS:
        beside = (
            f"of {clients.opened[kind]} opened, {clients.asked[kind]:,} messages; {failed[kind]} not opened"
        )
        yield Line(f"{what}: {kind}, cut", cut[kind], "", beside, 0 if is_kept else None)
