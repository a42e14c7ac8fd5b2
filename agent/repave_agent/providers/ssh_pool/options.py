"""What settings say of the pool of machines, and how one is reset."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from repave_agent.settings import Words
from repave_protos.daemon.settings import Settings

Proof = Literal["boot-id", "host-key", "marker"]
POOL_USAGE = "list | quarantine NAME | return NAME | release NAME"


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


class SshPoolOptions(Settings):
    inventory: Path = Path("/etc/repave/pool.yaml")
    user: str = "root"
    key: Path = Path("/etc/repave/pool-key")
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    host_keys: Literal["pinned", "first-use"] = "pinned"
    known_hosts: Path | None = None
    root: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9]$")] = "/var/lib/repave/host"
    parallel: Annotated[int, Field(ge=1, le=200)] = 10
    unreachable_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    stop_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    reset: ResetOptions = ResetOptions()
