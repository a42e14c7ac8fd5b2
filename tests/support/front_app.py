#!/usr/bin/env python3
"""An application for all kinds of fronts: HTTP with websockets at $PORT, lines of TCP at 9001, gRPC at 9002.
All answer with its version and its host. MISTAKE is one that it makes over HTTP; its health is good for all
that. Needs grpc, and nothing else that is not in the standard library.
"""

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import grpc.aio

VERSION = Path(__file__).with_name("version.txt").read_text().strip()
HOST, PORT, TCP_PORT, GRPC_PORT = os.environ["HOST"], int(os.environ["PORT"]), 9001, 9002
NAME = f"{VERSION} {HOST}"
MISTAKE = os.environ.get("MISTAKE", "")
BOMB_BYTES = 1_000_000
OF_WEBSOCKETS = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if key := re.search(rb"sec-websocket-key:\s*(\S+)", head, re.IGNORECASE):
                await websocket(reader, writer, key[1])
                break
            if head.startswith(b"GET /health "):
                writer.write(answer("200 OK", "health"))
            elif MISTAKE == "hangs":
                await reader.read()
                break
            else:
                writer.write(answer_of_mistake())
    writer.close()


def answer_of_mistake() -> bytes:
    if MISTAKE == "redirects to itself":
        return answer("302 Found", VERSION, "Location: /\r\n")
    if MISTAKE == "sends headers without end":
        return answer("200 OK", VERSION, f"X-Bomb: {'x' * BOMB_BYTES}\r\n")
    return answer("200 OK", VERSION)


def answer(status: str, body: str, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body) + 1}\r\n{more}\r\n{body}\n".encode()


async def websocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> None:
    """Each short message comes back with the host's name."""
    accepted = base64.b64encode(hashlib.sha1(key + OF_WEBSOCKETS, usedforsecurity=False).digest()).decode()
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    writer.write(f"HTTP/1.1 101 Switching\r\n{upgrade}Sec-WebSocket-Accept: {accepted}\r\n\r\n".encode())
    while True:
        kind, length = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(length & 127)
        if kind & 15 == 8:  # it is closed
            return
        text = NAME.encode() + b" " + bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        writer.write(bytes((0x81, len(text))) + text)


async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while line := await reader.readline():
            writer.write(f"{NAME} ".encode() + line)
    writer.close()


async def echo(messages: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
    async for message in messages:
        yield f"{NAME} ".encode() + message


async def main() -> None:
    rpc = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(echo)
    rpc.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("chat.Chat", {"Echo": handler}),))
    assert rpc.add_insecure_port(f"{HOST}:{GRPC_PORT}")
    await rpc.start()
    ways = ((lines, TCP_PORT), (http, PORT))  # health is asked at the last one
    servers = [await asyncio.start_server(way, HOST, port) for way, port in ways]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(main())
