"""The output of hosts that failed and are gone, for a day: a file for each, bounded for each application.

    logs/APPLICATION/GROUP/HOST.log

Nothing is decided by it; what can't be written is lost, and told.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from repave_agent.runtime.remains import Remain
from repave_protos.daemon import files
from repave_protos.protocol.queries import HostOutput
from repave_protos.protocol.values import ApplicationName, GroupName, HostName

log = structlog.get_logger()

KEPT_SECONDS = 86_400.0
HOST_BYTES_MAX = 256 * 1024
APPLICATION_BYTES_MAX = 4 * 1024 * 1024
FILES_MAX = 100  # of an application
SUFFIX = ".log"


@dataclass(frozen=True, slots=True)
class KeptLogs:
    """Of one region; `wall` is Unix time."""

    directory: Path
    wall: Callable[[], float]

    def keep(self, remain: Remain, text: str) -> None:
        """Blocks. Takes the place of what was kept longest."""
        folder = self.directory / remain.application / remain.group
        content = text.encode(errors="replace")[-HOST_BYTES_MAX:]
        try:
            for each in (self.directory, folder.parent, folder):
                files.make_folder(each, files.DIRECTORY_MODE)
            files.replace(folder / f"{remain.host}{SUFFIX}", content, durable=False)
        except OSError as error:
            log.warning("log.not_kept", host=remain.host, why=str(error))
        self.prune()

    def prune(self) -> None:
        """Blocks. Lets go of what is too old, and of what is too much of an application."""
        with contextlib.suppress(OSError):
            for application in list(self.directory.iterdir()):
                self._prune(application)

    def _prune(self, application: Path) -> None:
        now, size, count = self.wall(), 0, 0
        for at, path in sorted(_files(application), reverse=True):
            size, count = size + path.stat().st_size, count + 1
            if now - at >= KEPT_SECONDS or size > APPLICATION_BYTES_MAX or count > FILES_MAX:
                path.unlink(missing_ok=True)
        for folder in (*application.iterdir(), application):
            with contextlib.suppress(OSError):  # something is in it
                folder.rmdir()

    def read(
        self, application: ApplicationName, group: str, host: str, lines: int, bytes_max: int
    ) -> list[HostOutput]:
        """Blocks. The newest first."""
        self.prune()
        found = []
        for at, path in sorted(_files(self.directory / application), reverse=True):
            if group in ("", path.parent.name) and host in ("", path.stem):
                with contextlib.suppress(OSError):
                    raw = files.read_file(path)[-bytes_max:].decode(errors="replace")
                    text = "".join(raw.splitlines(keepends=True)[-lines:]) if lines else ""
                    name, of = HostName(path.stem), GroupName(path.parent.name)
                    found.append(HostOutput(name, of, text, gone_at=at))
        return found


def _files(application: Path) -> Iterator[tuple[float, Path]]:
    """(when it was kept, the file)."""
    for path in application.glob(f"*/*{SUFFIX}"):
        with contextlib.suppress(OSError):
            yield path.stat().st_mtime, path
