"""Carries TCP connections from one address to another, port by port.

    python -m tests.support.relay 198.18.101.1 127.0.0.1 7400 7443

prints "ready" once it listens and runs until it is ended.
"""

import asyncio
import sys
from functools import partial

CONNECT_SECONDS = 5.0
CHUNK_BYTES = 65536


async def _serve(listen: str, target: str, ports: list[int]) -> None:
    for port in ports:
        await asyncio.start_server(partial(_relay, target, port), listen, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _relay(
    target: str, port: int, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter
) -> None:
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            far_in, far_out = await asyncio.open_connection(target, port)
        await asyncio.gather(_copy(near_in, far_out), _copy(far_in, near_out))
    except OSError:  # TimeoutError too: the client sees a closed connection and knows what to do
        pass
    finally:
        near_out.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while chunk := await source.read(CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()


if __name__ == "__main__":
    listen, target, *ports = sys.argv[1:]
    asyncio.run(_serve(listen, target, [int(port) for port in ports]))
