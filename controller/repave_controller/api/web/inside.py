"""Puts a request to the API from within this process: over a pair of sockets that no other one can reach."""

import asyncio
import http.client
import io
import socket
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware

from repave_controller.api.web.tracing import traced


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of the API."""

    status: int
    headers: dict[str, str]
    body: bytes


class Inside:
    """The same routes as people have, behind `layer` alone. `begin` makes them reachable."""

    def __init__(self, layer: Middleware) -> None:
        self._layer = layer
        self._runner: web.AppRunner | None = None

    def app(self, bytes_max: int) -> web.Application:
        """An application for the routes."""
        return web.Application(middlewares=[traced, self._layer], client_max_size=bytes_max)

    async def begin(self, app: web.Application) -> None:
        """Before the first request."""
        self._runner = web.AppRunner(app, handle_signals=False, access_log=None)
        await self._runner.setup()

    async def end(self, _: web.Application) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Raises ConnectionError when this controller stops."""
        server = self._runner.server if self._runner is not None else None
        if server is None:
            raise ConnectionError("this controller stops")
        ours, theirs = socket.socketpair()
        await asyncio.get_running_loop().connect_accepted_socket(server, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(_request(method, path, headers, body))
            answer = await reader.read(-1)
        finally:
            writer.close()
        return _reply(answer)


def _request(method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    own = {"Host": "127.0.0.1", "Connection": "close", "Content-Length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**headers, **own}.items())]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def _reply(answer: bytes) -> Reply:
    response = http.client.HTTPResponse(_Socket(answer))  # type: ignore[arg-type]  # all that it uses
    response.begin()
    if response.status < 200:
        raise ConnectionError(f"an answer {response.status}")
    return Reply(response.status, dict(response.getheaders()), response.read())


class _Socket:
    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._answer)
