"""The ways to the runtime socket of an operator's HAProxy: a path on this machine, host:port, or a path on
another machine that is reached over SSH. Blocking: for the balancer's own thread.

One connection per question; the write side is shut down after it, HAProxy waits for more otherwise.
"""

import asyncio
import contextlib
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from repave_agent.balancers.haproxy.socket import ANSWER_SECONDS_MAX
from repave_agent.core.ports import BalancerError, ProviderError

if TYPE_CHECKING:
    from repave_agent.clients.ssh import Shell

_SSH = re.compile(r"ssh://(?P<user>[^@/:]+)@(?P<host>\[[^\]]+\]|[^/:@]+)(:(?P<port>\d+))?(?P<path>/.+)")
_HOST_AND_PORT = re.compile(r"(?P<host>[^/]+):(?P<port>\d+)")


@dataclass(frozen=True, slots=True)
class Keys:
    """Who the agent is over SSH, and a file in OpenSSH's format with those it believes."""

    private: Path
    known_hosts: Path


class Transport(Protocol):
    """Asks one runtime socket."""

    def ask(self, text: str) -> bytes:
        """Raises OSError when there is no answer."""

    def close(self) -> None: ...


def transport_to(address: str, keys: Keys | None) -> Transport:
    """Raises BalancerError when the address can't be meant."""
    if address.startswith("ssh:"):
        return _over_ssh(address, keys)
    if address.startswith("/"):
        return UnixTransport(address)
    if match := _HOST_AND_PORT.fullmatch(address):
        return TcpTransport(match["host"].strip("[]"), int(match["port"]))
    raise BalancerError(f"{address}: name a socket by /PATH, HOST:PORT, or ssh://USER@HOST[:PORT]/PATH")


def _over_ssh(address: str, keys: Keys | None) -> "SshTransport":
    match = _SSH.fullmatch(address)
    if match is None:
        raise BalancerError(f"{address}: write ssh://USER@HOST[:PORT]/PATH")
    if keys is None:
        raise BalancerError(f"{address}: there is no key for it")
    try:
        from repave_agent.clients.ssh import Door, Shell
        from repave_agent.clients.ssh_identity import Identity
    except ProviderError as error:
        raise BalancerError(str(error)) from error
    port = int(match["port"] or 22)
    identity = Identity("haproxy_runtime", keys.private)
    door = Door(match["host"].strip("[]"), port, match["user"], identity, known_hosts=keys.known_hosts)
    return SshTransport(Shell(door), match["path"])


class UnixTransport:
    """Implements Transport on this machine."""

    def __init__(self, path: str) -> None:
        self._path = path

    def ask(self, text: str) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_SECONDS_MAX)
            connection.connect(self._path)
            return _ask(connection, text)

    def close(self) -> None:
        """Nothing is kept open."""


class TcpTransport:
    """Implements Transport over TCP. Only the agent may be able to reach such a port."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)

    def ask(self, text: str) -> bytes:
        with socket.create_connection(self._address, ANSWER_SECONDS_MAX) as connection:
            return _ask(connection, text)

    def close(self) -> None:
        """Nothing is kept open."""


def _ask(connection: socket.socket, text: str) -> bytes:
    connection.sendall(text.encode())
    connection.shutdown(socket.SHUT_WR)
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


class SshTransport:
    """Implements Transport over one SSH connection, which is kept. It has a loop of its own that runs only
    while something is asked: the balancer's thread has none."""

    def __init__(self, shell: "Shell", path: str) -> None:
        self._shell, self._path = shell, path
        self._runner = asyncio.Runner()

    def ask(self, text: str) -> bytes:
        return self._runner.run(self._ask(text))

    async def _ask(self, text: str) -> bytes:
        import asyncssh

        try:
            async with asyncio.timeout(2 * ANSWER_SECONDS_MAX):
                connection = await self._shell.connect()
                reader, writer = await connection.open_unix_connection(self._path)
                try:
                    writer.write(text.encode())
                    writer.write_eof()
                    answer: bytes = await reader.read()
                    return answer
                finally:
                    writer.close()
        except ProviderError as error:
            raise ConnectionError(str(error)) from error
        except asyncssh.ChannelOpenError as error:
            raise ConnectionError(f"{self._path} is not reached there: {error.reason}") from error
        except (OSError, asyncssh.Error) as error:
            await self._shell.close()
            raise ConnectionError(f"{self._shell.door}: the connection broke: {error}") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._runner.run(self._shell.close())
        self._runner.close()
