"""How the agent reaches a machine over SSH: one connection that is kept, words that stay words, a host key
that must be known. Needs `pip install repave[ssh]`.
"""

import asyncio
import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repave_agent.core.ports import RefusedError, TransientError

try:
    import asyncssh
except ImportError as missing:  # pragma: no cover  # an agent without the extra
    raise RefusedError(
        "this agent can't speak SSH: its extra is not installed. Do: pip install 'repave[ssh]'"
    ) from missing

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 5.0
KEEPALIVES_LOST_MAX = 3
OUTPUT_CHARACTERS_MAX = 64 * 1024**2


class UnreachableError(TransientError):
    """The machine does not answer, or the connection broke."""


class DoorError(RefusedError):
    """The machine does not let the agent in."""


class HostKeyError(DoorError):
    """Who answers is not who was expected: nothing was said to it."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a machine listens, and who may be behind it.

    `host_keys` are lines such as "ssh-ed25519 AAAA..."; `known_hosts` a file in OpenSSH's format, which may
    name certificate authorities (@cert-authority). With neither, any host key is believed: callers
    allow that only where their user said so.
    """

    address: str
    port: int
    user: str
    key: Path
    host_keys: tuple[str, ...] = ()
    known_hosts: Path | None = None

    def __str__(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    error: str


class Shell:
    """One machine. Connects when it is needed, and again after a break."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._connection: asyncssh.SSHClientConnection | None = None
        self._lock = asyncio.Lock()

    async def run(self, words: Sequence[str], timeout_seconds: float | None) -> Ran:
        """Runs exactly these words. Raises TimeoutError, UnreachableError, HostKeyError, RefusedError."""
        connection = await self.connect()
        try:
            async with asyncio.timeout(timeout_seconds):
                done = await connection.run(
                    shlex.join(words), check=False, encoding="utf-8", errors="replace", stdin=asyncssh.DEVNULL
                )
        except TimeoutError:
            raise
        except (OSError, asyncssh.Error) as error:
            await self.close()
            raise UnreachableError(f"{self.door}: the connection broke: {error}") from error
        if done.exit_status is None or done.exit_status < 0:
            if connection.is_closed():
                raise UnreachableError(f"{self.door}: the connection broke")
            return Ran(128, _text(done.stdout), _text(done.stderr))
        return Ran(done.exit_status, _text(done.stdout), _text(done.stderr))

    async def put(self, local: Path, remote: str, timeout_seconds: float) -> None:
        """Copies a file by SFTP. Raises TimeoutError, UnreachableError, TransientError (no room, ...)."""
        connection = await self.connect()
        try:
            async with asyncio.timeout(timeout_seconds), connection.start_sftp_client() as sftp:
                await sftp.makedirs(str(Path(remote).parent), exist_ok=True)
                await sftp.put(str(local), remote)
        except TimeoutError:
            raise
        except asyncssh.SFTPError as error:
            raise TransientError(f"{self.door}: {remote} can't be written: {error.reason}") from error
        except (OSError, asyncssh.Error) as error:
            await self.close()
            raise UnreachableError(f"{self.door}: the connection broke: {error}") from error

    async def host_key(self) -> str:
        """The host key that is shown, as a line of OpenSSH."""
        key = (await self.connect()).get_server_host_key()
        assert key is not None, "a connection has a host key"
        return key.export_public_key().decode().strip()

    async def connect(self) -> "asyncssh.SSHClientConnection":
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await _connect(self.door)
            return self._connection

    @property
    def is_closed(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            with contextlib.suppress(OSError, asyncssh.Error):
                await connection.wait_closed()


async def _connect(door: Door) -> "asyncssh.SSHClientConnection":
    try:
        return await asyncssh.connect(
            door.address,
            door.port,
            username=door.user,
            client_keys=[str(door.key)],
            known_hosts=_known(door),
            config=None,
            agent_path=None,
            connect_timeout=CONNECT_SECONDS,
            login_timeout=CONNECT_SECONDS * 2,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=KEEPALIVES_LOST_MAX,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyError(
            f"{door}: its host key is not the one that is known for it. Was it set up anew, or is it "
            f"another machine? Compare it at its console, then correct host_key ({error.reason})"
        ) from error
    except asyncssh.PermissionDenied as error:
        raise DoorError(f"{door}: the key {door.key} may not log in ({error.reason})") from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise RefusedError(f"{door.key} is no private key that can be used: {error}") from error
    except FileNotFoundError as error:
        raise RefusedError(f"{error.filename or door.key}: there is no such file") from error
    except TimeoutError as error:
        raise UnreachableError(f"{door} does not answer within {CONNECT_SECONDS:g} s") from error
    except (OSError, asyncssh.Error) as error:
        raise UnreachableError(f"{door} can't be reached: {error}") from error


def _known(door: Door) -> "asyncssh.SSHKnownHosts | str | None":
    if door.known_hosts is not None:
        return str(door.known_hosts)
    if not door.host_keys:
        return None
    name = door.address if door.port == 22 else f"[{door.address}]:{door.port}"
    return asyncssh.import_known_hosts("".join(f"{name} {key}\n" for key in door.host_keys))


def _text(output: "str | bytes | None") -> str:
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    return text[-OUTPUT_CHARACTERS_MAX:]
