#!/usr/bin/env python3
"""A web application that is worse than its health, which is good. ERROR_SHARE of its answers are 503, at
ERROR_PATH only if that is set; each takes ANSWER_SECONDS; from LEAK_AFTER_SECONDS on it holds a megabyte
more with each request, which /metrics tells in the form of Prometheus. Standard library only.
"""

import asyncio
import os
import random
import time
from pathlib import Path

VERSION = Path(__file__).with_name("version.txt").read_text().strip()
ERROR_SHARE = float(os.environ.get("ERROR_SHARE", "0"))
ERROR_PATH = os.environ.get("ERROR_PATH", "")
ANSWER_SECONDS = float(os.environ.get("ANSWER_SECONDS", "0"))
LEAK_AFTER_SECONDS = float(os.environ.get("LEAK_AFTER_SECONDS", "-1"))
BASE_BYTES, LEAK_BYTES = 200_000_000, 1_000_000
BEGAN = time.monotonic()


class Application(asyncio.Protocol):
    """One client connection."""

    leaked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, self.received = self.received.split(b"\r\n\r\n", 1)
            path = head.split(b" ", 2)[1].decode()
            closes = b"connection: close" in head.lower()
            if path == "/health":
                self.send("200 OK", "health\n", closes)
            elif path == "/metrics":
                self.send("200 OK", f"process_resident_memory_bytes {BASE_BYTES + self.leaked}\n", closes)
            else:
                asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.answer, path, closes)

    def answer(self, path: str, closes: bool) -> None:
        if 0 <= LEAK_AFTER_SECONDS <= time.monotonic() - BEGAN:
            Application.leaked += LEAK_BYTES
        is_bad = ERROR_PATH in ("", path) and random.random() < ERROR_SHARE
        self.send("503 Service Unavailable" if is_bad else "200 OK", VERSION, closes)

    def send(self, status: str, body: str, closes: bool) -> None:
        connection = "close" if closes else "keep-alive"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
        self.transport.write((head + body).encode())
        if closes:
            self.transport.close()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(
        Application, os.environ["HOST"], int(os.environ["PORT"]), backlog=256
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
