"""A tiny HTTP application in this process: answers with its version, keeps connections, can be slow."""

import asyncio
from typing import cast


class Web:
    """`version` is the body of its answers. `hold()` keeps requests for /slow waiting until `release()`."""

    def __init__(self, version: str, addresses: tuple[str, ...] = ("127.0.0.1", "::1")) -> None:
        self.version, self._addresses = version, addresses
        self.port = 0
        self.waiting = 0
        self.last_request = b""
        self._released = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Transport] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for address in self._addresses:
            server = await loop.create_server(lambda: _Connection(self), address, self.port, backlog=512)
            self.port = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def stop(self) -> None:
        """Dies like a host: the port is closed and every connection is reset."""
        while self._servers:
            self._servers.pop().close()
        for transport in list(self._connections):
            transport.abort()
        await asyncio.sleep(0)

    def release(self) -> None:
        self._released.set()

    async def answer(self, request: bytes, transport: asyncio.Transport) -> None:
        if b" /slow" in request:
            self.waiting += 1
            await self._released.wait()
            self.waiting -= 1
        self.say(request, transport)

    def say(self, request: bytes, transport: asyncio.Transport) -> None:
        if b" /health" not in request:
            self.last_request = request
        is_last = b"\r\nconnection: close" in request.lower()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.version) + 1}\r\n"
        transport.write(
            f"{head}{'Connection: close' if is_last else 'Served: well'}\r\n\r\n{self.version}\n".encode()
        )
        if is_last:
            transport.close()

    def opened(self, transport: asyncio.Transport) -> None:
        self._connections.add(transport)

    def closed(self, transport: asyncio.Transport) -> None:
        self._connections.discard(transport)


class _Connection(asyncio.Protocol):
    def __init__(self, web: Web) -> None:
        self._web = web
        self._request = b""
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._web.opened(self._transport)

    def data_received(self, data: bytes) -> None:
        self._request += data
        if not self._request.endswith(b"\r\n\r\n"):
            return
        request, self._request = self._request, b""
        if b" /slow" in request:
            self._answering = asyncio.create_task(self._web.answer(request, self._transport))
        else:
            self._web.say(request, self._transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._web.closed(self._transport)
