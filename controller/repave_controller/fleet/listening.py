"""Where agents dial in: the sessions, over gRPC."""

from collections.abc import Callable

import grpc.aio

from repave_controller.fleet.sessions import Sessions
from repave_protos.protocol.channel import Shown, bind

STOP_SECONDS = 2.0


async def start_server(
    sessions: Sessions,
    address: str,
    setting: str = "grpc.listen",
    shown: Callable[[], Shown] | None = None,
) -> tuple[grpc.aio.Server, int]:
    """Listens for agents on `address` (host:port; without TLS, `shown`, on loopback); returns the server and
    its port.

    Raises InsecureAddressError, ValueError, or OSError when the port is taken. Keep the server referenced.
    """
    server, port = bind(sessions.serve, address, setting, shown)
    await server.start()
    return server, port


async def stop_server(sessions: Sessions, server: grpc.aio.Server) -> None:
    """Says goodbye to all agents and frees the port."""
    sessions.close()
    await server.stop(STOP_SECONDS)
