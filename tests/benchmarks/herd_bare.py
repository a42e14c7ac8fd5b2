"""The floor for streams of agents: a bare grpc.aio server that says Welcome and reads, and does nothing else.

python -m tests.benchmarks.herd_bare ADDRESS STATE

STATE is as for herd_agents.py; "" is plaintext. It has the options of the controller's server,
and writes a line when it listens.
"""

import asyncio
import sys
from pathlib import Path

from repave_protos import __version__
from repave_protos.protocol import wire
from repave_protos.protocol.channel import BEAT_SECONDS, Link, bind
from repave_protos.protocol.values import Welcome
from tests.benchmarks.herd_agents import authority_in

WELCOME = wire.encode_from_controller(Welcome(__version__, "bare", "http://127.0.0.1", (), BEAT_SECONDS))


async def serve(link: Link, _: bytes | None) -> None:
    messages = link.receive()
    await anext(messages)
    await link.send(WELCOME)
    async for _ in messages:
        pass


async def main(address: str, state: str) -> None:
    shown = authority_in(Path(state)).shown if state else None
    server, _ = bind(serve, address, "ADDRESS", shown)
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
