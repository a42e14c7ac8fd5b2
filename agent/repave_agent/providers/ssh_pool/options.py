"""What settings say of the pool of machines, and how one is reset."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from repave_agent.settings import Words
from repave_protos.daemon.settings import Settings, of_form

Proof = Literal["boot-id", "host-key", "marker"]
POOL_USAGE = "list | quarantine NAME | return NAME | return --all | release NAME"


class ResetOptions(Settings):
    """How a machine of the pool is reset, and what proves it.

    `command` runs on the agent's machine, with REPAVE_MACHINE, REPAVE_ADDRESS, REPAVE_NONCE and each variable
    of the inventory as REPAVE_VARIABLE_NAME; `remote` runs on the machine itself, which may go away under it.
    `marker`: a file in which the reset leaves REPAVE_NONCE.
    """

    command: Words = ()
    remote: Words = ()
    proof: Proof = "boot-id"
    marker: str = ""
    seconds: Annotated[float, Field(ge=1, le=1500)] = 900.0

    @model_validator(mode="after")
    def _has_a_marker(self) -> "ResetOptions":
        if self.proof == "marker" and not self.marker.startswith("/"):
            raise ValueError("with proof: marker, name the file in marker, such as /run/repave-reset")
        return self


DEFAULT_KEY = Path("/etc/repave/pool-key")


class SshPoolOptions(Settings):
    """`user`, `port` and `key` left out are root, 22 and /etc/repave/pool-key; or, with `config`, what that
    file in ssh_config's format says. `identity_agent`: the socket of an ssh-agent, or SSH_AUTH_SOCK. `jump`:
    a bastion, as USER@HOST:PORT. `sudo` left out: wherever the user is not root.
    """

    inventory: Path = Path("/etc/repave/pool.yaml")
    user: Annotated[str, of_form("([a-z_][a-z0-9_.-]{0,31})?", "a name of a Linux user")] = ""
    sudo: bool | None = None
    key: Path | None = None
    passphrase_file: Path | None = None
    identity_agent: str = ""
    config: Path | None = None
    jump: Annotated[str, of_form(r"([^@\s]+@[^@\s]+)?", "USER@HOST, without spaces")] = ""
    jump_host_key: str = ""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    host_keys: Literal["pinned", "first-use"] = "pinned"
    known_hosts: Path | None = None
    root: Annotated[
        str, of_form("/[A-Za-z0-9._/-]*[A-Za-z0-9]", "an absolute path of letters, digits, dots, _ and -")
    ] = "/var/lib/repave/host"
    parallel: Annotated[int, Field(ge=1, le=200)] = 10
    unreachable_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    stop_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    reset: ResetOptions = ResetOptions()

    @property
    def key_file(self) -> Path | None:
        """None where keys come from an ssh-agent or from `config`."""
        return self.key or (None if self.identity_agent or self.config else DEFAULT_KEY)
