"""Serves the API within bounds: how many connections, how long each may be silent, what is no HTTP.

At the bound a newcomer takes the place of the connection that has been idle for longest, so clients that
connect and say nothing, or say it slowly, keep no one out; those that never end their TLS handshake are of
them. Connections that are in the middle of a request are never closed for a newcomer: if all are, the
newcomer is. The same holds within the quarter of the bound that one peer from elsewhere may have.
"""

import asyncio
import errno
import os
import ssl
import sys
from asyncio import sslproto
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from repave_controller.api.web.handshakes import Refusals
from repave_controller.api.web.problems import Handler, Problem, problem_of
from repave_protos.daemon.peers import peer_of
from repave_protos.protocol.channel import join

URL_BYTES_MAX = 8000
"""Less than a header may have, so that the one can be told from the other."""
IDLE_SECONDS = 15.0
"""So long a connection may take for its request's header, and be idle after a request."""
LINGER_SECONDS = 1.0
"""So long what still comes of a request that was answered is read, for the client to see the answer."""
HANDSHAKE_SECONDS = 10.0
STOP_SECONDS = 1.0
CONNECTIONS_MAX = 2000
BACKLOG = 1024
"""Connections that the kernel holds until they are accepted: beyond them a herd waits for seconds."""
TLS_READ_BYTES = 32 * 1024
"""asyncio reserves 256 KiB for each connection over TLS as soon as it is accepted: half a gigabyte for 2,000
clients who say nothing. A record of TLS has 16 KiB."""
PEERS_AT_THE_BOUND = 4
"""So many peers at least share the connections: none may have more than its part."""
RESERVED_DESCRIPTORS = 64
"""For the store, packages and logs."""

log = structlog.get_logger()


def connections_within(limit: int) -> int:
    """Of `limit` descriptors the API takes at most half: the other half is the agents'."""
    return max(8, min(CONNECTIONS_MAX, (limit - RESERVED_DESCRIPTORS) // 2))


class Connections:
    """Those that are open, the one that has been idle for longest first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: dict[_Connection, None] = {}
        self._busy: set[_Connection] = set()
        self._of_peers: Counter[str] = Counter()

    def admit(self, newcomer: "_Connection") -> bool:
        """Makes room for one more; False if every connection that could give way is in the middle of a
        request."""
        peer = newcomer.peer
        if peer and self._of_peers[peer] >= max(1, self._most // PEERS_AT_THE_BOUND):
            room = self._make_room(next((each for each in self._idle if each.peer == peer), None), peer)
        elif len(self._idle) + len(self._busy) >= self._most:
            room = self._make_room(next(iter(self._idle), None), "")
        else:
            room = True
        if room:
            self._idle[newcomer] = None
            self._of_peers[peer] += 1
        return room

    def _make_room(self, oldest: "_Connection | None", peer: str) -> bool:
        closed = "new ones" if oldest is None else "idle ones"
        log.warning("api.connections_full", most=self._most, closed=closed, of=peer or "all")
        if oldest is not None:
            self.forget(oldest)
            oldest.force_close()
        return oldest is not None

    def forget(self, connection: "_Connection") -> None:
        """Repeatable."""
        if connection in self._idle or connection in self._busy:
            self._idle.pop(connection, None)
            self._busy.discard(connection)
            self._of_peers[connection.peer] -= 1
            if not self._of_peers[connection.peer]:
                del self._of_peers[connection.peer]

    def close(self) -> None:
        """Those that are idle: their handshakes are not waited for."""
        for each in list(self._idle):
            each.force_close()

    @web.middleware
    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A connection is busy from its request's header on until it is answered."""
        connection = request.protocol
        if not isinstance(connection, _Connection) or connection not in self._idle:
            return await handler(request)
        del self._idle[connection]
        self._busy.add(connection)
        try:
            return await handler(request)
        finally:
            if connection in self._busy:
                self._busy.discard(connection)
                self._idle[connection] = None


class _Connection(web.RequestHandler):
    """One connection of a client."""

    def __init__(self, manager: web.Server, connections: Connections) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=URL_BYTES_MAX,
        )
        self._connections = connections
        self._beneath: asyncio.Transport | None = None
        self._early = b""
        self._is_lost = False
        self.peer = ""

    def is_admitted(self, transport: asyncio.Transport) -> bool:
        """Whether there is room. `transport`: that of TCP."""
        self._beneath = transport
        self.peer = peer_of(str((transport.get_extra_info("peername") or ("",))[0]))
        return self._connections.admit(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It was admitted, and its handshake, if any, is over."""
        if self._is_lost:
            transport.close()
            return
        super().connection_made(transport)
        if self._early:
            super().data_received(self._early)

    def data_received(self, data: bytes) -> None:
        """TLS hands on what came with the end of its handshake before it says that this is over."""
        if self.transport is None and not self._is_lost:
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._is_lost = True
        self._connections.forget(self)
        super().connection_lost(exc)

    def force_close(self) -> None:
        super().force_close()
        if self._beneath is not None and not self._beneath.is_closing():
            self._beneath.close()

    def log_exception(self, *told: Any, **more: Any) -> None:
        """A body that is not packed as it says is no fault of ours, and worth a line a minute."""
        error = sys.exc_info()[1]
        if isinstance(error, web.RequestPayloadError):
            log.warning("api.body_broken", peer=self.peer, error=str(error))
        else:
            super().log_exception(*told, **more)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP is the client's fault; all else is ours, and logged."""
        if status != 400:
            log.error("request.failed", exc_info=exc)
        if request.writer.output_size:
            raise ConnectionError("the answer was begun")
        response = problem_of(status, _too_long(exc))
        response.force_close()
        return response


def _too_long(error: BaseException | None) -> str:
    """Which part of the request; "" if none is."""
    if not isinstance(error, LineTooLong):
        return ""
    return "address" if URL_BYTES_MAX in error.args else "header"


class _Doorman(asyncio.Protocol):
    """Admits a connection before any work is done for it; with TLS, sees it through its handshake."""

    def __init__(self, connection: _Connection, tls: ssl.SSLContext | None, refusals: Refusals) -> None:
        self._connection, self._tls, self._refusals = connection, tls, refusals
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._connection.is_admitted(transport):
            transport.close()
        elif self._tls is None:
            transport.set_protocol(self._connection)
            self._connection.connection_made(transport)
        else:
            transport.pause_reading()  # what comes is for TLS
            self._handshake = asyncio.ensure_future(self._shake_hands(transport, self._tls))

    async def _shake_hands(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                transport, self._connection, tls, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except OSError as error:  # no TLS, an impostor, or one who took too long
            address = str((transport.get_extra_info("peername") or ("",))[0])
            self._refusals.tell(address, self._connection.peer, error)
            secured = None
        if secured is not None:
            self._connection.connection_made(secured)
        else:  # closed for a newcomer, or the client has left
            self._connection.connection_lost(None)


Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _as_expected(handler: Answer) -> Answer:
    """aiohttp answers an unknown Expect by itself, as text, before any route is asked."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return Problem(417, "expectation-failed", "Expect: only 100-continue is understood").response()
        return await handler(request)

    return handle


@asynccontextmanager
async def serve(
    app: web.Application,
    host: str,
    port: int,
    connections_max: int = CONNECTIONS_MAX,
    tls: ssl.SSLContext | None = None,
    setting: str = "http.listen",
) -> AsyncIterator[int]:
    """Listens until the block ends; gives the port. Without `tls`, in plaintext. Raises OSError when it is
    taken, with the setting that named it."""
    connections = Connections(connections_max)
    sslproto.SSLProtocol.max_size = TLS_READ_BYTES
    app.middlewares.insert(0, connections.watch)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=STOP_SECONDS)
    await runner.setup()
    try:
        manager = runner.server
        assert manager is not None  # set up above
        manager.request_handler = _as_expected(manager.request_handler)
        loop = asyncio.get_running_loop()
        refusals = Refusals(setting, loop.time)
        try:
            server = await loop.create_server(
                lambda: _Doorman(_Connection(manager, connections), tls, refusals),
                host,
                port,
                backlog=BACKLOG,
            )
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            who = "; is another controller running there?" if error.errno == errno.EADDRINUSE else ""
            raise OSError(f"{setting}: can't listen on {join(host, port)}: {why}{who}") from error
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            connections.close()
    finally:
        await runner.cleanup()
