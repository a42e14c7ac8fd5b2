"""Who the agent is over SSH: its private key, read once and kept, or the keys of an ssh-agent."""

import os
import pwd
from pathlib import Path

import asyncssh
import structlog

from repave_agent.core.ports import TransientError

log = structlog.get_logger()

FROM_ENVIRONMENT = "SSH_AUTH_SOCK"
"""As `IdentityAgent` of ssh_config has it: the socket that this variable names."""


class IdentityError(TransientError):
    """The agent can't say who it is, or not get to any machine: no machine is to blame."""


class Identity:
    """`key` is None where the agent's keys are those of `socket`, or those that an ssh_config names.

    A key that was usable once is kept: one that is replaced by a file that can't be used changes nothing.
    """

    def __init__(
        self, section: str, key: Path | None, passphrase: Path | None = None, socket: str = ""
    ) -> None:
        self._section, self._key, self._passphrase = section, key, passphrase  # section: of the settings
        self._socket = socket
        self._loaded: asyncssh.SSHKey | None = None
        self._seen: tuple[int, int] | None = None

    def __str__(self) -> str:
        names = [f"the key {self._key}" if self._key else "", "ssh-agent" if self._socket else ""]
        return " and ".join(filter(None, names)) or "its default keys"

    @property
    def socket(self) -> str | None:
        """Where the ssh-agent listens; None without one. Raises IdentityError."""
        if self._socket != FROM_ENVIRONMENT:
            return self._socket or None
        found = os.environ.get(FROM_ENVIRONMENT)
        if not found:
            raise IdentityError(f"{self._section}.identity_agent: {FROM_ENVIRONMENT} is not set")
        return found

    def keys(self) -> list[asyncssh.SSHKey]:
        """The private key; [] when none is named. Raises IdentityError."""
        if self._key is None:
            return []
        try:
            found = self._key.stat()
            if (found.st_mtime_ns, found.st_ino) != self._seen:
                self._loaded = self._read(self._key)
                self._seen = (found.st_mtime_ns, found.st_ino)
        except (OSError, IdentityError) as error:
            if self._loaded is None:
                raise self._as_identity_error(self._key, error) from error
            log.warning("ssh_key.unusable", text=f"{error}; the key of before goes on")
        return [self._loaded] if self._loaded is not None else []

    def _read(self, key: Path) -> asyncssh.SSHKey:
        try:
            secret = self._passphrase.read_text().rstrip("\n") if self._passphrase else None
            return asyncssh.read_private_key(key, secret)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise IdentityError(self._unusable(key, str(error))) from error

    def _unusable(self, key: Path, why: str) -> str:
        field = f"{self._section}.key: {key}"
        if "assphrase" not in why and "decrypt" not in why:
            return f"{field} is no private key that can be used: {why}"
        if self._passphrase is not None:
            return f"{field} does not open by the passphrase in {self._passphrase}: {why}"
        return (
            f"{field} has a passphrase. Name a file that holds it in {self._section}.passphrase_file, or use "
            f"an ssh-agent: {self._section}.identity_agent"
        )

    def _as_identity_error(self, key: Path, error: OSError | IdentityError) -> IdentityError:
        if isinstance(error, IdentityError):
            return error
        place = Path(error.filename or key)
        setting = "passphrase_file" if place == self._passphrase else "key"
        return IdentityError(f"{self._section}.{setting}: {place}: {_why_not_read(place, error)}")

    def exposed(self) -> list[str]:
        """Files that are no secret on this machine, as notes. ssh itself would not use such a key."""
        files = {"key": self._key, "passphrase_file": self._passphrase}
        modes = {
            setting: file.stat().st_mode & 0o777 for setting, file in files.items() if file and file.exists()
        }
        return [
            f"note: {self._section}.{setting}: {files[setting]} has mode {mode:04o}: others may read it. Do: "
            f"chmod 600 {files[setting]}"
            for setting, mode in modes.items()
            if mode & 0o077
        ]

    async def check(self) -> None:
        """Raises IdentityError when nothing can be proved by it now."""
        self.keys()
        if (socket := self.socket) is None:
            return
        try:
            async with await asyncssh.connect_agent(socket) as agent:
                held = await agent.get_keys()
        except (OSError, asyncssh.Error, ValueError) as error:
            raise IdentityError(f"ssh-agent does not answer at {socket}: {error}") from error
        if not held and self._key is None:
            raise IdentityError(f"ssh-agent at {socket} holds no key: do ssh-add")


def _why_not_read(place: Path, error: OSError) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case PermissionError():
            return f"{error.strerror}{_whose(place)}"
    return str(error.strerror)


def _whose(place: Path) -> str:
    """Of a file that the agent may not read, with the remedy; "" where that is not known."""
    try:
        owner, me = place.owner(), pwd.getpwuid(os.geteuid()).pw_name
    except (OSError, KeyError):
        return ""
    return f": it belongs to {owner}, and this agent runs as {me}. Do: chown {me} {place}"
