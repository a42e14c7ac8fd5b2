"""The floor for a rollback of many regions: what it takes over gRPC and onto the disks, with nothing decided.

python -m tests.benchmarks.fleet_bare serve DIRECTORY
python -m tests.benchmarks.fleet_bare agents ADDRESS DIRECTORY REGION...

`serve` writes its address, then a line for each line that it reads: it saves a row, as large as an
application of so many regions, with fsync, sends each agent an order as large as repave's, and says when the
last answer came (monotonic clock) and how many did. An agent reads the order as JSON, writes it over a file
with fdatasync and answers.
"""

import asyncio
import json
import os
import sqlite3
import sys
import time
from pathlib import Path

from repave_protos.daemon import loading
from repave_protos.protocol.channel import Link, bind, dial

ROW_BYTES_EACH = 700
ORDER = json.dumps({"application": "fleet", "weight_bp": 10_000, "text": "x" * 360})
REPORT_BYTES = 100
PLACE_BYTES = 4096


class Bare:
    """All streams, and how many have yet to answer."""

    def __init__(self, directory: Path) -> None:
        self.links: list[Link] = []
        self.left = 0
        self.done = asyncio.Event()
        self.store = sqlite3.connect(directory / "bare.db", check_same_thread=False, isolation_level=None)
        self.store.execute("PRAGMA journal_mode = WAL")
        self.store.execute("PRAGMA synchronous = FULL")
        self.store.execute("CREATE TABLE application (value TEXT)")

    async def serve(self, link: Link, _: bytes | None) -> None:
        messages = link.receive()
        await anext(messages)
        self.links.append(link)
        async for _message in messages:
            self.left -= 1
            if not self.left:
                self.done.set()

    async def order(self) -> float:
        """When the last agent was heard."""
        self.done.clear()
        self.left = len(self.links)
        row = "x" * (ROW_BYTES_EACH * len(self.links))
        await asyncio.to_thread(self.store.execute, "INSERT INTO application VALUES (?)", (row,))
        await asyncio.gather(*(link.send(ORDER.encode()) for link in self.links))
        if self.links:
            await self.done.wait()
        return time.monotonic()


async def serve(directory: str) -> None:
    bare = Bare(Path(directory))
    server, port = bind(bare.serve, "127.0.0.1:0", "ADDRESS")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(f"{await bare.order():.6f} {len(bare.links)}", flush=True)


async def agent(address: str, path: Path) -> None:
    link = await dial(address)
    await link.send(b"x" * REPORT_BYTES)
    target = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(target, b" " * PLACE_BYTES, 0)
    async for message in link.receive():
        order = json.loads(message)
        os.pwrite(target, json.dumps(order).encode().ljust(PLACE_BYTES), 0)
        os.fdatasync(target)
        await link.send(b"x" * REPORT_BYTES)


async def agents(address: str, directory: str, *regions: str) -> None:
    await asyncio.gather(*(agent(address, Path(directory) / region) for region in regions))


if __name__ == "__main__":
    loading.finish()
    what, *arguments = sys.argv[1:]
    asyncio.run(serve(*arguments) if what == "serve" else agents(*arguments))
