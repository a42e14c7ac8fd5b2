"""What an operator can set about secrets of hosts: where they are kept, and which application reads which."""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from repave_protos.daemon.settings import Settings


def _rules(given: object) -> object:
    """A list, or words in one line."""
    return tuple(given.split()) if isinstance(given, str) else given


Rules = Annotated[tuple[str, ...], BeforeValidator(_rules)]


def _address(text: str) -> str:
    parts = urlsplit(text)
    if not text:
        return text
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.username:
        raise ValueError("write https://HOST:PORT")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError("must be https: tokens and secrets go over this connection; http only on loopback")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class VaultOptions(Settings):
    """`address` "": none. `auth`: how the agent logs in; `token` reads `token_file` again each time it is
    needed, `approle` shows `role_id` and what `secret_id_file` holds, `cert` a client certificate: that of
    `certificate` and `key`, or the one with which the agent has joined.

    `auth_mount` "": as the method is called. `role`: of cert. `kv_version` 0: Vault is asked.
    `allow`: which paths an application may name.
    """

    address: Annotated[str, AfterValidator(_address)] = ""
    ca: Path | None = None
    namespace: str = ""
    auth: Literal["token", "approle", "cert"] = "token"
    auth_mount: str = ""
    token_file: Path | None = None
    role_id: str = ""
    secret_id_file: Path | None = None
    role: str = ""
    certificate: Path | None = None
    key: Path | None = None
    kv_version: Literal[0, 1, 2] = 0
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    allow: Rules = (
        "kv/{application}",
        "kv/{application}/*",
        "secret/{application}",
        "secret/{application}/*",
    )

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that only the agent may read."""
        named = (self.token_file, self.secret_id_file, self.key)
        return tuple(path for path in named if path is not None)


class FileOptions(Settings):
    """Files below `folder`, which no host sees. `allow`: which of them an application may name."""

    enabled: bool = False
    folder: Path = Path("/etc/repave/secrets")
    allow: Rules = ("{application}/*",)


class EnvOptions(Settings):
    """Variables of the agent. {APPLICATION} is in capitals, with _ for -. Two _ tell shop from shop-eu."""

    enabled: bool = False
    allow: Rules = ("REPAVE_SECRET_{APPLICATION}__*",)


class SecretsOptions(Settings):
    """A source without settings is not used."""

    vault: VaultOptions = VaultOptions()
    file: FileOptions = FileOptions()
    env: EnvOptions = EnvOptions()

    @property
    def sources(self) -> tuple[str, ...]:
        """Those that are used."""
        used = {"vault": bool(self.vault.address), "file": self.file.enabled, "env": self.env.enabled}
        return tuple(name for name, is_used in used.items() if is_used)

    @property
    def private(self) -> tuple[Path, ...]:
        """Files and folders of the agent's own that no host may see."""
        folder = (self.file.folder,) if self.file.enabled else ()
        return (*self.vault.files, *folder)
