"""A wire to a server that can be cut at the worst moment: what was sent is held back, or the answer lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

CHUNK_BYTES = 65536


class Fate(Enum):
    """Of the next message with the mark in it. The client's connection is closed in both cases."""

    ANSWER_LOST = "it arrives, and the first word of the answer does not come back"
    HELD = "it arrives when the wire is told to deliver it"


@dataclass
class Wire:
    """Carries connections to 127.0.0.1:target."""

    target: int
    mark: bytes = b""
    fate: Fate | None = None
    port: int = 0
    struck: asyncio.Event = field(default_factory=asyncio.Event)
    _held: list[tuple[asyncio.StreamWriter, bytes]] = field(default_factory=list)

    def strike(self, mark: str, fate: Fate) -> None:
        self.mark, self.fate = mark.encode(), fate
        self.struck.clear()

    async def deliver(self) -> None:
        """What was held back arrives now."""
        for sink, chunk in self._held:
            sink.write(chunk)
            await sink.drain()

    async def carry(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        far_in, far_out = await asyncio.open_connection("127.0.0.1", self.target)
        is_lost = asyncio.Event()

        async def up() -> None:
            while chunk := await near_in.read(CHUNK_BYTES):
                if self.fate is not None and self.mark in chunk:
                    fate, self.fate = self.fate, None
                    if fate is Fate.HELD:
                        self._held.append((far_out, chunk))
                        near_out.close()
                        self.struck.set()
                        return
                    is_lost.set()
                far_out.write(chunk)
                await far_out.drain()
            far_out.close()

        async def down() -> None:
            while chunk := await far_in.read(CHUNK_BYTES):
                if is_lost.is_set():
                    near_out.close()
                    self.struck.set()
                    return
                near_out.write(chunk)
                await near_out.drain()
            near_out.close()

        await asyncio.gather(up(), down(), return_exceptions=True)


@asynccontextmanager
async def wire(target: int) -> AsyncIterator[Wire]:
    made = Wire(target)
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
