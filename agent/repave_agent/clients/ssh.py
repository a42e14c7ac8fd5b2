"""How the agent reaches a machine over SSH: one connection that is kept, words that stay words, a host key
that must be known. Needs `pip install repave[ssh]`.

What is an answer and what is not: ssh_answers.py; who the agent is: ssh_identity.py.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from repave_agent.clients.ssh_answers import Ran, enveloped, read, why_unanswered
from repave_agent.core.ports import RefusedError, TransientError

try:
    import asyncssh

    from repave_agent.clients.ssh_identity import Identity, IdentityError
except ImportError as missing:  # pragma: no cover  # an agent without the extra
    raise RefusedError(
        "this agent can't speak SSH: its extra is not installed. Do: pip install 'repave[ssh]'"
    ) from missing

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
KEEPALIVE_SECONDS = 5.0
KEEPALIVES_LOST_MAX = 3
NOISE_CHARACTERS_MAX = 300
RECEIVE = 'mkdir -p -- "${1%/*}" && cat >"$1" && wc -c <"$1"'
"""Takes a file over the session's input: no SFTP is needed."""


class UnreachableError(TransientError):
    """The machine does not answer, or the connection broke."""


class BrokenError(UnreachableError):
    """The connection broke in the middle."""


class DoorError(RefusedError):
    """The machine does not let the agent in."""


class HostKeyError(DoorError):
    """Who answers is not who was expected: nothing was said to it."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a machine listens, and who may be behind it.

    `host_keys` are lines such as "ssh-ed25519 AAAA..."; `known_hosts` a file in OpenSSH's format, which may
    name certificate authorities (@cert-authority). With neither, any host key is believed: callers
    allow that only where their user said so. With `config`, a file in ssh_config's format, that says what is
    left out here: known hosts, `user` when it is "", `port` when it is 0, bastions (ProxyJump). `sudo` None:
    where the user is not root.
    """

    address: str
    port: int
    user: str
    identity: Identity
    host_keys: tuple[str, ...] = ()
    known_hosts: Path | None = None
    config: Path | None = None
    sudo: bool | None = None

    def __str__(self) -> str:
        login = f"{self.user}@{self.address}" if self.user else self.address
        return f"{login}:{self.port}" if self.port else login


class Shell:
    """One machine. Connects when it is needed, and again after a break; `through` another one, if given."""

    def __init__(self, door: Door, through: "Shell | None" = None) -> None:
        self.door = door
        self._through = through
        self._connection: asyncssh.SSHClientConnection | None = None
        self._lock = asyncio.Lock()
        self._is_noisy = False

    async def run(
        self, words: Sequence[str], timeout_seconds: float | None, given: bytes | Path = b""
    ) -> Ran:
        """Runs exactly these words, as root where the door says sudo; `given` is their input. Raises
        TimeoutError, UnreachableError, DoorError, IdentityError."""
        connection, nonce = await self.connect(), secrets.token_hex(8)
        sudo = _user_of(connection) != "root" if self.door.sudo is None else self.door.sudo
        command = enveloped(words, nonce, sudo=sudo)
        try:
            async with asyncio.timeout(timeout_seconds):
                done = await self._session(connection, command, given)
        except TimeoutError:
            raise
        except (OSError, asyncssh.Error) as error:
            await self.close()
            raise BrokenError(f"{self.door}: the connection broke: {error}") from error
        return self._answer(connection, nonce, done)

    async def _session(
        self, connection: "asyncssh.SSHClientConnection", command: str, given: bytes | Path
    ) -> "asyncssh.SSHCompletedProcess":
        try:
            return await _run(connection, command, given)
        except asyncssh.ChannelOpenError:  # MaxSessions: another session goes on in this connection
            async with self._another() as fresh:
                try:
                    return await _run(fresh, command, given)
                except asyncssh.ChannelOpenError as error:
                    raise DoorError(
                        f"{self.door}: it opens no session ({error.reason}): set MaxSessions in its "
                        "sshd_config to 1 or more"
                    ) from error

    def _answer(
        self, connection: "asyncssh.SSHClientConnection", nonce: str, done: "asyncssh.SSHCompletedProcess"
    ) -> Ran:
        found = read(nonce, _text(done.stdout), _text(done.stderr))
        if found.noise and not self._is_noisy and (found.has_begun or done.exit_status is not None):
            self._is_noisy = True
            log.warning("machine.noise", machine=str(self.door), text=found.noise[:NOISE_CHARACTERS_MAX])
        if found.ran is not None:
            return found.ran
        if connection.is_closed() or done.exit_status is None or found.has_begun:
            raise BrokenError(f"{self.door}: the connection broke, its answer was not complete")
        why = why_unanswered(_user_of(connection), done.exit_status, found.noise)
        raise DoorError(f"{self.door}: {why}")

    async def put(self, local: Path, remote: str, timeout_seconds: float) -> Ran:
        """Copies a file, by its session's input. Code 0: all of it is there. Raises as `run` does, and
        TransientError."""
        done = await self.run(["sh", "-c", RECEIVE, "sh", remote], timeout_seconds, local)
        arrived, sent = done.out.strip(), local.stat().st_size
        if done.code == 0 and arrived != str(sent):
            raise TransientError(
                f"{self.door}: of {sent} bytes {arrived} arrived. Does its login shell read its input (as in "
                "~/.bashrc)?"
            )
        return done

    async def host_key(self) -> str:
        """The host key that is shown, as a line of OpenSSH."""
        key = (await self.connect()).get_server_host_key()
        assert key is not None, "a connection has a host key"
        return key.export_public_key().decode().strip()

    async def shown_key(self) -> str:
        """The host key that is shown to anyone who asks, known or not; "" when it does not answer."""
        door = self.door
        config = [str(door.config)] if door.config else None
        bastion = await self._through.connect() if self._through is not None else ()
        try:
            async with asyncio.timeout(2 * CONNECT_SECONDS):
                key = await asyncssh.get_server_host_key(
                    door.address, door.port or (), tunnel=bastion, config=config
                )
        except (OSError, asyncssh.Error, TimeoutError):
            return ""
        return key.export_public_key().decode().strip() if key is not None else ""

    async def connect(self) -> "asyncssh.SSHClientConnection":
        async with self._lock:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._dial()
            return self._connection

    @asynccontextmanager
    async def _another(self) -> "AsyncIterator[asyncssh.SSHClientConnection]":
        connection = await self._dial()
        try:
            yield connection
        finally:
            connection.abort()

    async def _dial(self) -> "asyncssh.SSHClientConnection":
        if self._through is None:
            return await _connect(self.door, None)
        try:
            bastion = await self._through.connect()
        except (UnreachableError, DoorError) as error:
            raise IdentityError(f"ssh_pool.jump: {error}") from error
        try:
            return await _connect(self.door, bastion)
        except UnreachableError:
            await self._through.answers_as_bastion()
            raise

    async def answers_as_bastion(self) -> None:
        """Raises IdentityError when it does not: what is behind it is not to blame then. A connection that is
        kept may look well for long."""
        try:
            async with self._another():
                pass
        except (UnreachableError, DoorError) as error:
            await self.close()
            raise IdentityError(f"ssh_pool.jump: {error}") from error

    @property
    def is_closed(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
            with contextlib.suppress(OSError, asyncssh.Error):
                await connection.wait_closed()


async def _run(
    connection: "asyncssh.SSHClientConnection", command: str, given: bytes | Path
) -> "asyncssh.SSHCompletedProcess":
    source = str(given) if isinstance(given, Path) else asyncssh.PIPE
    try:
        process = await connection.create_process(command, encoding=None, stdin=source)
    except AssertionError as error:  # what asyncssh raises when the connection is aborted just now
        raise asyncssh.ConnectionLost("it was closed as a session began") from error
    try:
        if isinstance(given, bytes):
            with contextlib.suppress(OSError):  # it may have ended without reading
                process.stdin.write(given)
                process.stdin.write_eof()
        return await process.wait(check=False)
    finally:
        process.close()  # not waited for: a command that nobody waits for any more may go on for long


def _user_of(connection: "asyncssh.SSHClientConnection") -> str:
    return str(connection.get_extra_info("username"))


async def _connect(
    door: Door, bastion: "asyncssh.SSHClientConnection | None"
) -> "asyncssh.SSHClientConnection":
    said: dict[str, Any] = {"config": [str(door.config)] if door.config else None}
    if door.user:
        said["username"] = door.user
    if door.known_hosts is not None or door.host_keys or door.config is None:
        said["known_hosts"] = _known(door)
    if keys := door.identity.keys():
        said["client_keys"] = keys
    if door.config is None or door.identity.socket is not None:
        said["agent_path"] = door.identity.socket
    try:
        return await asyncssh.connect(
            door.address,
            door.port or (),
            tunnel=bastion or (),
            connect_timeout=CONNECT_SECONDS,
            login_timeout=CONNECT_SECONDS * 2,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=KEEPALIVES_LOST_MAX,
            **said,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostKeyError(
            f"{door}: its host key is not the one that is known for it. Was it set up anew, or is it "
            f"another machine? Compare it at its console, then correct host_key ({error.reason})"
        ) from error
    except asyncssh.PermissionDenied as error:
        await door.identity.check()  # an ssh-agent that is gone is no fault of the machine
        raise DoorError(
            f"{door}: {door.identity} may not log in ({error.reason}). Put its public key into "
            "authorized_keys there; where root may not log in (PermitRootLogin), set user"
        ) from error
    except (asyncssh.ConfigParseError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise IdentityError(f"{door}: {error}") from error
    except TimeoutError as error:
        raise UnreachableError(f"{door} does not answer within {CONNECT_SECONDS:g} s") from error
    except (OSError, asyncssh.Error) as error:
        raise UnreachableError(f"{door} can't be reached: {error}") from error


def _known(door: Door) -> Any:
    """In the form that asyncssh takes: a file, or those that are trusted, certified and revoked."""
    if door.known_hosts is not None:
        return str(door.known_hosts)
    if not door.host_keys:
        return None
    return [asyncssh.import_public_key(key) for key in door.host_keys], [], []


def _text(output: "str | bytes | None") -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
