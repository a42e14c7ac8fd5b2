"""Certificates in files and directories of the agent's machine, below one folder.

A link is followed, as certbot and Kubernetes make them, when it stays below the folder. Only who may write
there can make one, and that is the operator.
"""

import asyncio
import os
from pathlib import Path, PurePosixPath

from repave_agent.core.host_secrets import VALUE_BYTES_MAX, Lack, SecretError
from repave_agent.secrets.files import content_of, fault_of
from repave_agent.secrets.source import Found

PAIRS = (("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key"))
"""What a directory may hold: as certbot, and as cert-manager and Kubernetes write it."""


class FilesBelow:
    """Implements Source for `file`, and for `directory` where `is_directory`."""

    def __init__(self, folder: Path, rules: tuple[str, ...], *, is_directory: bool = False) -> None:
        self.name = "directory" if is_directory else "file"
        self.rules = rules
        self._folder = folder
        self._is_directory = is_directory

    def ruled(self, where: str) -> str:
        path = PurePosixPath(where)
        if not path.is_relative_to(self._folder) or path == PurePosixPath(self._folder):
            why = f"it is not below {self._folder}: put it there, or change certificates.folder of the agent"
            raise SecretError(Lack.NOT_ALLOWED, why)
        return str(path.relative_to(self._folder))

    async def find(self, where: str) -> Found:
        return Found(await asyncio.to_thread(self._read, Path(where)))

    def _read(self, path: Path) -> bytes:
        if not self._is_directory:
            return self._content(path)
        for chain, key in PAIRS:
            if (path / chain).exists():
                return self._content(path / chain) + b"\n" + self._content(path / key)
        if not path.is_dir():
            raise SecretError(Lack.MISSING, "there is no such directory on the agent's machine")
        wanted = " nor ".join(" with ".join(pair) for pair in PAIRS)
        raise SecretError(Lack.MISSING, f"there is neither {wanted} in it")

    def _content(self, path: Path) -> bytes:
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._folder.resolve()):
                why = f"{path.name} is a link to {real}, which is not below {self._folder}: copy it there"
                raise SecretError(Lack.NOT_ALLOWED, why)
            file = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                found = content_of(file)
            finally:
                os.close(file)
        except OSError as error:
            fault = fault_of(error)
            of = f"{path.name}: " if self._is_directory else ""
            raise SecretError(fault.lack, f"{of}{fault}") from None
        if len(found) > VALUE_BYTES_MAX:
            raise SecretError(Lack.UNFIT, f"{path.name} is larger than {VALUE_BYTES_MAX // 1024} KiB")
        return found

    def trouble(self) -> str:
        return ""

    async def run(self) -> None:
        return

    async def close(self) -> None:
        return
