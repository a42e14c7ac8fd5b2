"""Clients by the hundred that connect and say nothing, or half of it: the others are served meanwhile."""

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from repave_protos.protocol import wire
from repave_protos.protocol.certificates import new_key, read_join_word, request_for
from repave_protos.protocol.channel import dial
from repave_protos.protocol.values import Welcome
from tests.controller.fleet.test_sessions_tls import secured
from tests.fakes.controller.door import DIGEST, standing
from tests.fakes.controller.links import HELLO
from tests.fakes.waiting import until

HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 32
"""The first bytes of a TLS ClientHello that never ends."""
SAID = {"nothing": b"", "half a hello": HELLO_BEGUN}


@contextmanager
def flood(port: int, count: int, said: bytes) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            client.sendall(said)
            client.setblocking(False)
            opened.append(client)
        yield opened


def is_closed(client: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True
    return False


@pytest.mark.parametrize("said", SAID)
async def test_handshakes_that_never_end_keep_no_machine_from_joining(tmp_path: Path, said: str) -> None:
    async with standing(tmp_path, connections_max=40) as door:
        agent = await door.enrolled.agent()
        with ExitStack() as stack:
            attackers = await asyncio.to_thread(stack.enter_context, flood(door.port, 300, SAID[said]))
            await until(lambda: sum(map(is_closed, attackers)) >= 260)
            word = read_join_word(await door.enrolled.token())
            body = {"secret": word.secret, "request": request_for(new_key())}
            assert (await door.ask("POST", "/v1/join", body)).status == 200
            assert (await door.ask("GET", f"/v1/images/{DIGEST}", shown=agent.shown)).status == 200


@pytest.mark.rig
async def test_nor_do_they_by_the_thousand(tmp_path: Path) -> None:
    """A few seconds alone, and so many descriptors."""
    async with standing(tmp_path) as door:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, flood(door.port, 5000, HELLO_BEGUN))
            began = time.monotonic()
            assert (await door.ask("GET", "/v1/authorities")).status == 200
            assert time.monotonic() - began < 5
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 400 * 1024, "KiB; of both ends of 5,000 connections"


async def test_clients_that_leave_in_the_middle_of_their_handshakes_end_no_controller(tmp_path: Path) -> None:
    """gRPC's core did end the process, by a check of its own: see changes_of in channel.py."""
    async with secured(tmp_path) as controller:
        agent = await controller.enrolled.agent()
        for _ in range(5):
            with ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, flood(controller.port, 60, b""))
        link = await dial(f"127.0.0.1:{controller.port}", shown=agent.shown)
        await link.close()


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.rig)])
@pytest.mark.parametrize("said", [b"", HELLO_BEGUN], ids=["nothing", "half a hello"])
async def test_handshakes_that_never_end_keep_no_agent_out(tmp_path: Path, count: int, said: bytes) -> None:
    """gRPC's own listener: it gives each handshake a time, and has half of the descriptors."""
    async with secured(tmp_path) as controller:
        agent = await controller.enrolled.agent()
        with ExitStack() as stack:
            await asyncio.to_thread(stack.enter_context, flood(controller.port, count, said))
            link = await dial(f"127.0.0.1:{controller.port}", shown=agent.shown)
            await link.send(wire.encode_from_agent(HELLO))
            first = await asyncio.wait_for(anext(link.receive()), 10)
            assert isinstance(wire.decode_from_controller(first), Welcome)
            await link.close()
