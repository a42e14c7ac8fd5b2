"""Where the secrets of one host lie on the agent's machine: in a folder of its own on a file system in
memory, which only the agent's user may enter, and which goes with the host or with the machine's next start.

    repave-secrets.XXXXXXXX/env/NAME    what is a variable of the host's command
    repave-secrets.XXXXXXXX/file/NAME   what the command reads at $NAME_FILE

Everything here blocks for a moment. machine.sh does the same on a machine that is reached over SSH.
"""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from repave_agent.core.host_secrets import HostSecrets
from repave_agent.core.ports import RefusedError
from repave_protos.daemon.files import open_file
from repave_protos.package.archive import remove
from repave_protos.protocol.values import SecretReference

PREFIX = "repave-secrets."
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # mkdtemp makes a folder of this user's alone there
IN_MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True, slots=True)
class Memory:
    """The folder of one host."""

    path: Path

    def write(self, secrets: HostSecrets) -> None:
        for each in secrets:
            place = self._place(each.as_file) / each.name
            with open(open_file(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                file.write(each.value)
                os.fchmod(file.fileno(), 0o400)

    def variables(self) -> dict[bytes, bytes]:
        """Those that hold secrets themselves. Raises OSError."""
        return {os.fsencode(file.name): file.read_bytes() for file in sorted(self._place(False).iterdir())}

    def paths(self, references: Iterable[SecretReference]) -> dict[str, str]:
        """The variables with paths."""
        return paths_in(self.path, references)

    def remove(self) -> None:
        if self.path.name.startswith(PREFIX):
            remove(self.path)

    def _place(self, as_file: bool) -> Path:
        place = self.path / ("file" if as_file else "env")
        place.mkdir(mode=0o700, exist_ok=True)
        return place


def paths_in(folder: Path, references: Iterable[SecretReference]) -> dict[str, str]:
    return {each.variable: str(folder / "file" / each.name) for each in references if each.as_file}


def make_memory(below: Path = SHARED_MEMORY) -> Memory:
    """Raises RefusedError where nothing is in memory, OSError."""
    kind = _file_system(below)
    if kind not in IN_MEMORY:
        raise RefusedError(
            f"host.secrets: {below} is no file system in memory (it is {kind or 'missing'}), and secrets are "
            f"never written to a disk: mount -t tmpfs tmpfs {below}"
        )
    return Memory(Path(tempfile.mkdtemp(prefix=PREFIX, dir=below)))


def _file_system(folder: Path) -> str:
    """Its kind, as the kernel calls it; "" where there is none."""
    if not folder.is_dir():
        return ""
    found, kind = -1, ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, each, *_ = line.split(" ")
        if folder.is_relative_to(place) and len(place) >= found:
            found, kind = len(place), each
    return kind
