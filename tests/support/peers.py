"""Several real processes over one real database, what is done to them, and what they tell (see peer.py)."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from repave_controller.peers.ports import SHARDS
from tests.fakes.waiting import until
from tests.support.paths import ROOT

Told = dict[str, Any]


@dataclass
class Process:
    """One of them. `told`: what it told, in order."""

    name: str
    process: asyncio.subprocess.Process
    told: list[Told] = field(default_factory=list)
    has: set[int] = field(default_factory=set)  # shards
    reading: asyncio.Task[None] | None = None

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said = json.loads(line)
            self.told.append(said)
            if said["what"] == "gained":
                self.has |= set(said["shards"])
            elif said["what"] == "lost":
                self.has -= set(said["shards"])

    def signal(self, how: signal.Signals) -> float:
        """Returns when."""
        at = time.monotonic()
        self.process.send_signal(how)
        return at

    def count(self, what: str, after: float = 0.0) -> int:
        return sum(1 for each in self.told if each["what"] == what and each["at"] > after)


@dataclass
class Peers:
    processes: dict[str, Process] = field(default_factory=dict)
    all_told: list[list[Told]] = field(default_factory=list)

    async def start(self, name: str, url: str, *words: str) -> Process:
        made = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.support.peer", url, name, *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            limit=1 << 22,
        )
        started = self.processes[name] = Process(name, made)
        started.reading = asyncio.create_task(started.read())
        self.all_told.append(started.told)
        await until(lambda: started.count("joined") or made.returncode is not None)
        if made.returncode is not None:
            assert made.stderr is not None
            raise AssertionError(f"{name} did not start: {(await made.stderr.read()).decode()[-2000:]}")
        return started

    async def end(self, process: Process) -> None:
        if process.process.returncode is None:
            process.process.kill()
        await process.process.wait()
        if process.reading is not None:
            await process.reading

    async def kill(self, process: Process) -> float:
        """Returns when."""
        at = process.signal(signal.SIGKILL)
        await self.end(process)
        return at

    async def until(self, condition: Callable[[], object]) -> None:
        await until(condition)

    async def until_all_have(self, *processes: Process) -> None:
        """Every shard is with one of them, in equal parts."""

        def are_balanced() -> bool:
            sizes = [len(each.has) for each in processes]
            return sum(sizes) == SHARDS and max(sizes) - min(sizes) <= 1

        await until(are_balanced)


async def taken_over(successors: list[Process], shards: set[int], since: float) -> tuple[float, float]:
    """Seconds until each of the shards has another owner, and until the first commit for one of them."""

    def found(what: str) -> list[Told]:
        return [each for of in successors for each in of.told if each["what"] == what and each["at"] > since]

    # Some may have been handed over, and taken, just before.
    await until(lambda: shards <= {shard for each in successors for shard in each.has})
    at = max((each["at"] for each in found("gained") if shards & set(each["shards"])), default=since)
    await until(lambda: any(each["shard"] in shards for each in found("saved")))
    saved = min(each["at"] for each in found("saved") if each["shard"] in shards)
    return at - since, saved - since


@asynccontextmanager
async def peers() -> AsyncIterator[Peers]:
    made = Peers()
    try:
        yield made
    finally:
        for each in made.processes.values():
            if each.process.returncode is None:
                each.process.send_signal(signal.SIGCONT)
            await made.end(each)


@dataclass
class Cut:
    """A relay before a port that can be cut: what is under way stays there, as when a cable is pulled."""

    target: int
    port: int = 0
    _open: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self) -> float:
        """Returns when."""
        self._open.clear()
        return time.monotonic()

    def mend(self) -> None:
        self._open.set()

    async def carry(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        await self._open.wait()
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            near_out.close()
            return
        await asyncio.gather(
            self._copy(near_in, far_out), self._copy(far_in, near_out), return_exceptions=True
        )

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65536):
                await self._open.wait()
                sink.write(chunk)
                await sink.drain()
        finally:
            await self._open.wait()
            sink.close()


@asynccontextmanager
async def cuttable(target: int) -> AsyncIterator[Cut]:
    made = Cut(target)
    made.mend()
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.mend()
        server.close()
