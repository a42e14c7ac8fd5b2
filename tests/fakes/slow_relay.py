"""A relay between an agent and its controller that holds back every byte for a while, or all of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CHUNK_BYTES = 65_536


class SlowRelay:
    """`seconds`: how long each byte is under way, in each direction. Frozen, it passes nothing."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._seconds = seconds
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of an agent."""
        onwards, back = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, back), (onwards, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop, under_way = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()
        arrives = asyncio.create_task(self._arrive(under_way, sink))
        try:
            while data := await source.read(CHUNK_BYTES):
                under_way.put_nowait((loop.time() + self._seconds, data))
        except ConnectionError:
            pass
        finally:
            under_way.put_nowait((loop.time() + self._seconds, b""))
            await arrives

    async def _arrive(
        self, under_way: "asyncio.Queue[tuple[float, bytes]]", sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                at, data = await under_way.get()
                await asyncio.sleep(at - loop.time())
                await self._flows.wait()
                if not data:
                    return
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def slow_relay(port: int, seconds: float) -> AsyncIterator[tuple[SlowRelay, int]]:
    """The relay to that port, and its own."""
    relay = SlowRelay(port, seconds)
    server = await asyncio.start_server(relay.carry, "127.0.0.1", 0)
    try:
        yield relay, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await relay.close()
